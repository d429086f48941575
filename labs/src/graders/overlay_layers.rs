//! Lab 4: layers.

use std::fs;

use anyhow::Result;

use crate::bench::{Bench, Ran};
use crate::check::{Check, Failure, Verdict};

pub(super) const CHECKS: &[Check] = &[
    ("runs", runs),
    ("merged", merged),
    ("order", order),
    ("whiteout", whiteout),
    ("opaque", opaque),
    ("layers", layers),
    ("upper", upper),
    ("diff", diff),
    ("code", code),
];

/// Writes one file anew, another to its end, and removes a third.
const WORK: &str = "echo new > /new; echo more >> /etc/motd; rm /bin/wc";

/// Runs `command` on the root and the two layers, with a directory for changes that is empty.
fn run(bench: &Bench, command: &[&str]) -> Result<Ran> {
    let changes = bench.beside("changes");
    if changes.exists() {
        fs::remove_dir_all(&changes)?;
    }
    let [changes, one, two] = ["changes", "one", "two"].map(|name| bench.beside(name).display().to_string());
    let words: Vec<&str> = [one.as_str(), &two, "--"].into_iter().chain(command.iter().copied()).collect();
    bench.run_with(&[&changes], &words)
}

fn sh(bench: &Bench, line: &str) -> Result<Ran> {
    run(bench, &["/bin/sh", "-c", line])
}

/// That `ran` has printed exactly this.
fn prints(ran: &Ran, expected: &str) -> Verdict {
    let said = ran.stdout.trim();
    match said {
        _ if said == expected => Ok(()),
        "" => Failure::verdict(&ran.command, expected, ran.seen()),
        _ => Failure::verdict(&ran.command, expected, format!("{said}\n{}", ran.stderr)),
    }
}

fn runs(bench: &Bench) -> Verdict {
    let ran = run(bench, &["/bin/true"])?;
    if ran.code() == Some(0) { Ok(()) } else { Failure::verdict(&ran.command, "exit code 0", ran.seen()) }
}

fn merged(bench: &Bench) -> Verdict {
    prints(&run(bench, &["/bin/cat", "/one", "/two"])?, "in layer one\nin layer two")
}

fn order(bench: &Bench) -> Verdict {
    prints(&run(bench, &["/bin/cat", "/etc/issue"])?, "of layer two")
}

fn whiteout(bench: &Bench) -> Verdict {
    prints(&run(bench, &["/bin/ls", "-A", "/etc"])?, "issue\nmotd")
}

fn opaque(bench: &Bench) -> Verdict {
    prints(&run(bench, &["/bin/ls", "-A", "/data"])?, "new")
}

fn layers(bench: &Bench) -> Verdict {
    let trees = ["root", "one", "two"];
    // Once before, so that the layers are converted.
    run(bench, &["/bin/true"])?;
    let before = trees.map(|tree| bench.list(tree));
    let ran = sh(bench, WORK)?;
    for (tree, before) in trees.into_iter().zip(before) {
        let (before, after) = (before?, bench.list(tree)?);
        let changed: Vec<&str> = after.symmetric_difference(&before).map(String::as_str).collect();
        if !changed.is_empty() {
            return Failure::verdict(
                &ran.command,
                "nothing is written to the layers: many containers share them",
                format!("not as before in {tree}: {}", changed.join(", ")),
            );
        }
    }
    Ok(())
}

fn upper(bench: &Bench) -> Verdict {
    let ran = sh(bench, WORK)?;
    let kept = fs::read_to_string(bench.beside("changes/upper/new")).unwrap_or_default();
    if kept == "new\n" {
        return Ok(());
    }
    Failure::verdict(&ran.command, "a file changes/upper/new, in which is \"new\"", ran.seen())
}

fn diff(bench: &Bench) -> Verdict {
    prints(&sh(bench, WORK)?, "C /bin\nD /bin/wc\nC /etc\nC /etc/motd\nA /new")
}

fn code(bench: &Bench) -> Verdict {
    let ran = sh(bench, "exit 42")?;
    if ran.code() == Some(42) { Ok(()) } else { Failure::verdict(&ran.command, "exit code 42", ran.seen()) }
}
