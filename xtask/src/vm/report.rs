//! What the machine reports, a line for each thing that had to hold, on a serial line of its own: what a test
//! prints, and what the kernel says in between, cannot be mistaken for it.

use anyhow::{Result, bail};

/// The name under which the machine reports whether the tests cleaned up.
pub(super) const NOTHING_LEFT: &str = "nothing is left behind";

/// The line about one thing.
pub(super) fn line(name: &str, result: &Result<()>) -> String {
    match result {
        Ok(()) => format!("ok {name}"),
        Err(error) => format!("failed {name}: {error:#}"),
    }
}

/// Fails unless all `names`, and that nothing is left, are reported to be well.
pub(super) fn judge<'a>(names: impl Iterator<Item = &'a str>, reported: &str) -> Result<()> {
    // A serial line ends lines with a carriage return, too.
    let lines: Vec<&str> = reported.lines().map(str::trim_end).collect();
    let well = |name: &str| lines.contains(&line(name, &Ok(())).as_str());
    let mut faults: Vec<String> =
        lines.iter().filter(|line| !line.starts_with("ok ")).map(ToString::to_string).collect();
    let names = names.chain([NOTHING_LEFT]);
    let silent = names.filter(|name| {
        !well(name) && !faults.iter().any(|fault| fault.starts_with(&format!("failed {name}: ")))
    });
    let silent: Vec<String> = silent.map(|name| format!("nothing was reported of {name}")).collect();
    faults.extend(silent);
    if faults.is_empty() { Ok(()) } else { bail!("in the virtual machine: {}", faults.join("; ")) }
}

/// How the run of a test program ended, from its last lines and how it exited.
pub(super) fn verdict(summary: Option<&str>, status: &str, success: bool) -> Result<()> {
    let Some(summary) = summary else { bail!("it ended without a result ({status})") };
    if !success {
        bail!("{status}: {summary}");
    }
    let count = |what: &str| {
        let before = summary.split(what).next()?;
        before.trim_end().rsplit(' ').next()?.parse::<u32>().ok()
    };
    match (count("passed"), count("ignored")) {
        (Some(0), _) => bail!("no test was run: {summary}"),
        (Some(_), Some(0)) => Ok(()),
        _ => bail!("tests were skipped: {summary}"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    #[test]
    fn all_must_be_reported_and_be_well() {
        let judged =
            |reported: &str| judge(["a", "b"].into_iter(), reported).map_err(|error| error.to_string());
        assert_eq!(judged("ok a\r\nok b\r\nok nothing is left behind\r\n"), Ok(()));
        let faults = judged("ok a\r\nfailed b: exit code 101\r\n").unwrap_err();
        assert_eq!(
            faults,
            "in the virtual machine: failed b: exit code 101; nothing was reported of nothing is left behind"
        );
        assert!(judged("").unwrap_err().contains("nothing was reported of a; nothing was reported of b"));
    }

    #[test]
    fn a_run_counts_if_tests_passed_and_none_was_skipped() {
        let result = |passed, ignored| {
            format!(
                "test result: ok. {passed} passed; 0 failed; {ignored} ignored; 0 measured; 3 filtered out"
            )
        };
        assert!(verdict(Some(&result(12, 0)), "exit status: 0", true).is_ok());
        assert!(verdict(Some(&result(12, 0)), "exit status: 101", false).is_err());
        assert!(verdict(Some(&result(0, 0)), "exit status: 0", true).is_err());
        assert!(verdict(Some(&result(12, 1)), "exit status: 0", true).is_err());
        assert!(verdict(None, "exit status: 0", true).is_err());
    }
}
