//! What the learner reads.

use std::fmt::Write;

use anyhow::Result;

use crate::grader::Grade;
use crate::lab::Lab;

/// Where the hints of a failed check begin. Further lines of a value are below its first.
const INDENT: &str = "              ";

/// What comes before the checks.
pub fn heading(lab: &Lab) -> String {
    format!("Lab {}: {}\n", lab.number(), lab.card.title)
}

/// A check that passed.
pub fn passed(lab: &Lab, id: &str) -> Result<String> {
    Ok(format!("  ✓ {}\n", lab.about(id)?.name))
}

/// What comes after the checks that passed: the one that failed, with the hint number `hint` (from 0), or that none did.
pub fn end(lab: &Lab, grade: &Grade, hint: usize) -> Result<String> {
    let mut text = String::new();
    let Some((id, failure)) = &grade.failed else {
        writeln!(text, "\nAll {} checks pass.", grade.passed.len())?;
        return Ok(text);
    };
    let about = lab.about(id)?;
    writeln!(text, "  ✗ {}\n", about.name)?;
    let mut line = |key: &str, value: &str| {
        writeln!(text, "    {key:<9} {}", value.trim_end().replace('\n', &format!("\n{INDENT}")))
    };
    line("command", &failure.command)?;
    line("expected", &failure.expected)?;
    line("seen", &failure.seen)?;
    if let Some(cause) = lab.cause(id, failure) {
        line("cause", cause)?;
    }
    let hints = lab.topic(id, failure).map_or(&[][..], |topic| lab.hints(topic));
    let hint = hint.min(hints.len().saturating_sub(1));
    if let Some(text) = hints.get(hint) {
        line("hint", &format!("{} of {}: {text}", hint + 1, hints.len()))?;
    }
    line("read", &format!("Chapter {}, {}", lab.number(), about.section))?;
    match grade.rest {
        0 => {}
        1 => writeln!(text, "\n1 more check comes after it.")?,
        rest => writeln!(text, "\n{rest} more checks come after it.")?,
    }
    Ok(text)
}
