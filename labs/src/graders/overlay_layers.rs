//! Lab 4: layers.

use std::fs;
use std::os::unix::fs::symlink;

use anyhow::{Context, Result};

use crate::bench::{Bench, Ran};
use crate::check::{Check, Failure, Verdict};

pub(super) const CHECKS: &[Check] = &[
    ("runs", runs),
    ("merged", merged),
    ("order", order),
    ("whiteout", whiteout),
    ("opaque", opaque),
    ("door", door),
    ("layers", layers),
    ("upper", upper),
    ("diff", diff),
    ("below", below),
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

/// A layer is somebody else's: a link in it may lead anywhere.
fn door(bench: &Bench) -> Verdict {
    let (victim, door) = (bench.beside("victim"), bench.beside("one/door"));
    fs::create_dir(&victim).context("cannot make a directory")?;
    for (name, text) in [("kept", "kept\n"), (".wh.other", "")] {
        fs::write(victim.join(name), text).context("cannot write a file")?;
    }
    symlink("../victim", &door).context("cannot make a link")?;
    let ran = run(bench, &["/bin/true"])?;
    let seen = bench.list("victim")?;
    fs::remove_file(door).and_then(|()| fs::remove_dir_all(victim)).context("cannot remove a link")?;
    if seen.iter().map(String::as_str).eq(["/.wh.other (0 bytes)", "/kept (5 bytes)"]) {
        return Ok(());
    }
    let expected = "one/door is a link to a directory that is in no layer, in which all stays as it is";
    let seen: Vec<String> = seen.into_iter().collect();
    Failure::verdict(&ran.command, expected, format!("in there: {}", seen.join(", ")))
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

/// What the layers know of a name, and nobody else.
fn below(bench: &Bench) -> Verdict {
    // In layer one; removed by it; on every host, and in no layer; and what looks like a mark.
    let line = "echo more >> /one; echo back > /etc/gone; mkdir /home; ln -s /etc /link; : > /empty; mknod /null c 1 3";
    prints(&sh(bench, line)?, "A /empty\nC /etc\nA /etc/gone\nA /home\nA /link\nA /null\nC /one")
}

fn code(bench: &Bench) -> Verdict {
    let ran = sh(bench, "exit 42")?;
    if ran.code() == Some(42) { Ok(()) } else { Failure::verdict(&ran.command, "exit code 42", ran.seen()) }
}
