//! Lab 9: root that is not root.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use anyhow::{Context, Result};
use nix::errno::Errno;
use rustix::process::Gid;

use crate::bench::{Bench, HOLD, Held};
use crate::call;
use crate::check::{Check, Failure, Verdict};
use crate::process::Process;

pub(super) const CHECKS: &[Check] = &[
    ("runs", runs),
    ("namespace", namespace),
    ("map", map),
    ("numbers", numbers),
    ("groups", groups),
    ("owner", owner),
    ("nobody", nobody),
    ("root", root),
    ("clock", clock),
    ("alone", alone),
    ("refused", refused),
    ("code", code),
];

/// Who is who, for a program that root starts.
const MAP: &[&str] = &["0:100000:65536,0:200000:65536"];
const ROOT: (u32, u32) = (100_000, 200_000);
/// Who is who, for a program that an ordinary user starts: only that user.
const ALONE: &[&str] = &["0:4242:1,0:4343:1"];
const USER: (u32, u32) = (4242, 4343);
/// A group of whoever starts the program.
const GROUP: u32 = 4;

fn runs(bench: &Bench) -> Verdict {
    with_a_group(|| super::runs_with(bench, MAP))?
}

fn namespace(bench: &Bench) -> Verdict {
    hold(bench, HOLD, |held| {
        if held.inside.namespace("user")? != Process::own().namespace("user")? {
            return Ok(());
        }
        Failure::verdict(
            &held.command,
            "the link /proc/PID/ns/user has another number than that of whoever started the program",
            "it has the same: its root is the host's",
        )
    })
}

fn map(bench: &Bench) -> Verdict {
    hold(bench, HOLD, |held| {
        is(held, "uid_map", "0 100000 65536")?;
        is(held, "gid_map", "0 200000 65536")
    })
}

fn numbers(bench: &Bench) -> Verdict {
    hold(bench, HOLD, |held| {
        let all = |number: u32| [number; 4].map(|number| number.to_string()).join(" ");
        for (key, expected) in [("Uid", all(ROOT.0)), ("Gid", all(ROOT.1))] {
            // Real, effective, saved, and that of file systems.
            let numbers = held.inside.status(key).replace('\t', " ");
            if numbers != expected {
                let expected = format!("in /proc/PID/status, {key}: {expected}");
                return Failure::verdict(&held.command, expected, format!("{key}: {numbers}"));
            }
        }
        Ok(())
    })
}

fn groups(bench: &Bench) -> Verdict {
    hold(bench, HOLD, |held| {
        let groups = held.inside.status("Groups");
        if groups.is_empty() {
            return Ok(());
        }
        let setgroups = words(held, "setgroups")?;
        let expected = "in /proc/PID/status, Groups: none";
        Failure::verdict(
            &held.command,
            expected,
            format!("Groups: {groups}; /proc/PID/setgroups: {setgroups}"),
        )
    })
}

fn owner(bench: &Bench) -> Verdict {
    makes_a_file(bench, MAP, ROOT)
}

fn nobody(bench: &Bench) -> Verdict {
    let secret = bench.root().join("etc/secret");
    fs::write(&secret, "for root only\n").context("cannot write a file")?;
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).context("cannot set a mode")?;
    let line = "stat -c '%u %g' /etc/secret; cat /etc/secret 2> /dev/null || echo refused";
    let ran = with_a_group(|| bench.run_with(MAP, &["/bin/sh", "-c", line]))??;
    let expected = "65534 65534\nrefused";
    if ran.stdout.trim() == expected {
        return Ok(());
    }
    Failure::verdict(&ran.command, expected, format!("{}{}", ran.stdout, ran.stderr))
}

fn root(bench: &Bench) -> Verdict {
    let line = "mount -t tmpfs none /tmp && echo mounted; hostname other && hostname; \
                mknod /tmp/disk b 8 0 2> /dev/null || echo no disk";
    let ran = with_a_group(|| bench.run_with(MAP, &["/bin/sh", "-c", line]))??;
    let expected = "mounted\nother\nno disk";
    if ran.stdout.trim() == expected {
        return Ok(());
    }
    Failure::verdict(&ran.command, expected, format!("{}{}", ran.stdout, ran.stderr))
}

fn clock(bench: &Bench) -> Verdict {
    super::install_caller(bench)?;
    // Without a time: nothing is set, whoever asks.
    let ran = with_a_group(|| bench.run_with(MAP, &["/bin/call", "settimeofday"]))??;
    let expected = call::failed(Errno::EPERM);
    match ran.stdout.trim() {
        said if said == expected => Ok(()),
        "" => Failure::verdict(&ran.command, expected, ran.seen()),
        said => Failure::verdict(&ran.command, expected, said),
    }
}

fn alone(bench: &Bench) -> Verdict {
    let bench = bench.as_user(USER.0, USER.1)?;
    bench.hold(ALONE, HOLD, |held| {
        is(held, "uid_map", "0 4242 1")?;
        is(held, "gid_map", "0 4343 1")?;
        is(held, "setgroups", "deny")
    })?;
    makes_a_file(&bench, ALONE, USER)
}

fn refused(bench: &Bench) -> Verdict {
    // For numbers that are not the user's, whoever asks for the user.
    let ran = bench.as_user(USER.0, USER.1)?.run_with(MAP, &["/bin/echo", "it ran"])?;
    let expected = "exit code 125, the command does not run, and no process is left";
    if !ran.stdout.is_empty() {
        return Failure::verdict(&ran.command, expected, ran.stdout.trim());
    }
    if ran.code() != Some(125) {
        return Failure::verdict(&ran.command, expected, ran.seen());
    }
    if ran.left > 0 {
        return Failure::verdict(&ran.command, expected, format!("left running: {}", ran.left));
    }
    Ok(())
}

fn code(bench: &Bench) -> Verdict {
    with_a_group(|| super::exit_code_with(bench, MAP))?
}

/// That a file which the command makes in a directory for everybody, belongs to this user and group outside.
fn makes_a_file(bench: &Bench, options: &[&str], (user, group): (u32, u32)) -> Verdict {
    let shared = bench.root().join("shared");
    let made = shared.join(user.to_string());
    if !shared.exists() {
        fs::create_dir(&shared).context("cannot make a directory")?;
        fs::set_permissions(&shared, fs::Permissions::from_mode(0o777)).context("cannot set a mode")?;
    }
    let line = format!("echo > /shared/{user}");
    let ran = with_a_group(|| bench.run_with(options, &["/bin/sh", "-c", &line]))??;
    let expected = format!("outside, the file belongs to user {user} and group {group}");
    match fs::metadata(&made) {
        Ok(file) if (file.uid(), file.gid()) == (user, group) => Ok(()),
        Ok(file) => {
            let seen = format!("it belongs to user {} and group {}", file.uid(), file.gid());
            Failure::verdict(&ran.command, expected, seen)
        }
        Err(_) => Failure::verdict(&ran.command, expected, format!("there is no such file: {}", ran.seen())),
    }
}

/// That a file of the command's in `/proc` has these words.
fn is(held: &Held, file: &str, expected: &str) -> Verdict {
    let seen = words(held, file)?;
    if seen == expected {
        return Ok(());
    }
    let seen = if seen.is_empty() { "nothing".to_owned() } else { seen };
    Failure::verdict(&held.command, format!("/proc/PID/{file}: {expected}"), format!("{file}: {seen}"))
}

fn words(held: &Held, file: &str) -> Result<String> {
    let path = held.inside.path().join(file);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Calls `observe` while `line` waits inside.
fn hold(bench: &Bench, line: &str, observe: impl FnOnce(&Held) -> Verdict + Send) -> Verdict {
    with_a_group(|| bench.hold(MAP, line, observe))?
}

/// Does something as somebody who is in another group as well.
fn with_a_group<T: Send>(act: impl FnOnce() -> T + Send) -> Result<T> {
    std::thread::scope(|scope| {
        // A thread has groups of its own, and what it starts has the same ones.
        let thread = scope.spawn(|| {
            rustix::thread::set_thread_groups(&[Gid::from_raw(GROUP)]).context("cannot set groups")?;
            Ok(act())
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
