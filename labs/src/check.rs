//! One check, and how it failed.

use crate::bench::Bench;

/// Looks at one thing that a learner's program should do.
///
/// The identifier is that of the check in `lab.toml`, which has its name, its section of the book and its likely causes.
pub type Check = (&'static str, fn(&Bench) -> Verdict);

/// What comes of a check.
pub type Verdict = Result<(), Stop>;

/// Why a check did not pass.
#[derive(Debug)]
pub enum Stop {
    /// The program does something else than it should.
    Failed(Failure),
    /// It could not be found out.
    Unable(anyhow::Error),
}

/// What was done, what should have come of it, and what did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The command, to be repeated by hand.
    pub command: String,
    /// What should have come of it.
    pub expected: String,
    /// What did.
    pub seen: String,
}

impl<E: Into<anyhow::Error>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Unable(error.into())
    }
}

impl Failure {
    /// A failure, as a verdict.
    pub fn verdict(
        command: impl Into<String>,
        expected: impl Into<String>,
        seen: impl Into<String>,
    ) -> Verdict {
        Err(Stop::Failed(Self { command: command.into(), expected: expected.into(), seen: seen.into() }))
    }
}
