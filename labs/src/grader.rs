//! The checks of one lab, in order, up to the first that fails.

use anyhow::{Context, Result};

use crate::bench::Bench;
use crate::check::{Failure, Stop};
use crate::graders;
use crate::lab::Lab;

/// What came of a lab's checks.
#[derive(Debug)]
pub struct Grade {
    /// The checks that passed.
    pub passed: Vec<&'static str>,
    /// The one that did not. Those after it would only repeat its complaint.
    pub failed: Option<(&'static str, Failure)>,
    /// How many come after it.
    pub rest: usize,
}

/// Checks the program at `bench`, and tells `passing` of each check that passes.
pub fn grade(lab: &Lab, bench: &Bench, mut passing: impl FnMut(&str) -> Result<()>) -> Result<Grade> {
    let checks = graders::of(&lab.name)?;
    let mut passed = Vec::new();
    for (number, (id, check)) in checks.iter().enumerate() {
        match check(bench) {
            Ok(()) => {
                passed.push(*id);
                passing(id)?;
            }
            Err(Stop::Failed(failure)) => {
                let rest = checks.len() - number - 1;
                return Ok(Grade { passed, failed: Some((id, failure)), rest });
            }
            Err(Stop::Unable(error)) => {
                let name = &lab.about(id)?.name;
                return Err(error).with_context(|| format!("cannot check that {name}"));
            }
        }
    }
    Ok(Grade { passed, failed: None, rest: 0 })
}
