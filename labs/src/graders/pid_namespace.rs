//! Lab 2: a process that sees only itself.

use std::fs;
use std::time::{Duration, Instant};

use crate::bench::{Bench, HOLD, Held};
use crate::check::{Check, Failure, Stop, Verdict};
use crate::process::Process;

pub(super) const CHECKS: &[Check] = &[
    ("runs", super::runs),
    ("namespaces", namespaces),
    ("numbers", numbers),
    ("proc", proc),
    ("hostname", hostname),
    ("outside", outside),
    ("code", super::exit_code),
    ("signal", signal),
    ("main", main),
    ("idle", idle),
    ("orphans", orphans),
    ("killed", killed),
];

/// How long it may take until something that needs no time has happened.
const SOON: Duration = Duration::from_secs(2);
/// What a process may take that only waits, in hundredths of a second.
const MOST_TICKS: u64 = 3;

fn namespaces(bench: &Bench) -> Verdict {
    bench.hold(&[], HOLD, |held| {
        let mut shared = Vec::new();
        for kind in ["ipc", "pid"] {
            if held.inside.namespace(kind)? == Process::own().namespace(kind)? {
                shared.push(kind);
            }
        }
        // The program was started in a copy of these.
        let (mount, uts) = (held.outside.mount_namespace, held.outside.uts_namespace);
        for (kind, outside) in [("mnt", mount), ("uts", uts)] {
            if held.inside.namespace(kind)? == outside {
                shared.push(kind);
            }
        }
        if shared.is_empty() {
            return Ok(());
        }
        Failure::verdict(
            &held.command,
            "the links in /proc/PID/ns have other numbers than those of whoever started the program",
            format!("the same number: {}", shared.join(", ")),
        )
    })
}

fn numbers(bench: &Bench) -> Verdict {
    bench.hold(&[], HOLD, |held| {
        let depth = Process::own().numbers().len();
        let inside = held.inside.numbers().split_off(depth);
        let parent = first(held).map(|first| first.numbers().split_off(depth));
        let expected =
            "in /proc/PID/status, NSpid has one number more than outside: 1, and for the command 2";
        match (parent.as_deref(), &*inside) {
            (Some([1]), [2]) => Ok(()),
            (_, [1]) => Failure::verdict(&held.command, expected, "1 is the command itself"),
            (_, more) => {
                Failure::verdict(&held.command, expected, format!("the command has these more: {more:?}"))
            }
        }
    })
}

/// The parent of the command.
fn first(held: &Held) -> Option<Process> {
    let family = held.program.family();
    family.into_iter().find(|process| process.children().contains(&held.inside))
}

fn proc(bench: &Bench) -> Verdict {
    bench.hold(&[], HOLD, |held| {
        let listed = fs::read_dir(held.inside.path().join("root/proc"))?;
        let mut pids: Vec<u32> =
            listed.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        pids.sort_unstable();
        match &*pids {
            [1, 2] => Ok(()),
            [] => Failure::verdict(&held.command, "/proc inside lists 1 and 2", "it lists none"),
            _ => Failure::verdict(
                &held.command,
                "/proc inside lists 1 and 2",
                "it lists processes from outside",
            ),
        }
    })
}

fn hostname(bench: &Bench) -> Verdict {
    let ran = bench.run(&["/bin/hostname"])?;
    match ran.stdout.trim() {
        "box" => Ok(()),
        "" => Failure::verdict(&ran.command, "box", ran.seen()),
        lines if lines.lines().count() > 1 => {
            Failure::verdict(&ran.command, "box, and nothing else", format!("more than that:\n{lines}"))
        }
        name if name == ran.before.hostname => Failure::verdict(&ran.command, "box", "the host's name"),
        name => Failure::verdict(&ran.command, "box", name),
    }
}

fn outside(bench: &Bench) -> Verdict {
    let ran = bench.run(&["/bin/true"])?;
    if ran.before.hostname == ran.after.hostname {
        return Ok(());
    }
    Failure::verdict(
        &ran.command,
        "the host keeps its name",
        format!("it is called {} now", ran.after.hostname),
    )
}

fn signal(bench: &Bench) -> Verdict {
    let ran = bench.run(&["/bin/sh", "-c", "kill -KILL $$"])?;
    if ran.code() == Some(137) { Ok(()) } else { Failure::verdict(&ran.command, "exit code 137", ran.seen()) }
}

/// The end is the command's, whoever ends before it, or lives on.
fn main(bench: &Bench) -> Verdict {
    for line in ["(sleep 0.1 &); sleep 0.5; exit 3", "(sleep 100 &); exit 3"] {
        let ran = bench.run(&["/bin/sh", "-c", line])?;
        if ran.code() != Some(3) {
            return Failure::verdict(
                &ran.command,
                "exit code 3, as soon as the command has ended",
                ran.seen(),
            );
        }
    }
    Ok(())
}

/// A shell that waits, and two processes that wait for it.
fn idle(bench: &Bench) -> Verdict {
    bench.hold(&[], HOLD, |held| {
        for (process, what) in [(held.program, "your program"), (parent(held)?, "process 1")] {
            let before = process.ticks();
            std::thread::sleep(Duration::from_millis(300));
            if process.ticks().saturating_sub(before) > MOST_TICKS {
                let seen = format!("{what} is busy, though the command sleeps");
                return Failure::verdict(&held.command, "who waits takes no processor time", seen);
            }
        }
        Ok(())
    })
}

fn orphans(bench: &Bench) -> Verdict {
    // The shell in parentheses ends at once, and leaves a child.
    bench.hold(&[], "(sleep 0.1 &); echo ready; read line", |held| {
        let first = parent(held)?;
        let deadline = Instant::now() + SOON;
        loop {
            let left: Vec<Process> =
                first.children().into_iter().filter(|child| *child != held.inside).collect();
            if left.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                let states: Vec<String> = left.iter().map(|child| child.status("State")).collect();
                return Failure::verdict(
                    &held.command,
                    "process 1 has no child but the command, once the orphan has ended",
                    format!("it has another still: {}", states.join(", ")),
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    })
}

fn parent(held: &Held) -> Result<Process, Stop> {
    first(held).ok_or_else(|| {
        Stop::Failed(Failure {
            command: held.command.clone(),
            expected: "the command is a child of process 1".into(),
            seen: "its parent is not the program's".into(),
        })
    })
}

fn killed(bench: &Bench) -> Verdict {
    let ((command, inside), ended) = bench.hold_to_end(&[], HOLD, |held| {
        parent(held)?.kill()?;
        Ok((held.command.clone(), held.inside))
    })?;
    let command = format!("{command}, and kill -KILL of process 1");
    let expected = "exit code 137, and nobody is left";
    if inside.path().exists() {
        inside.kill()?;
        return Failure::verdict(command, expected, "the command is alive");
    }
    if ended == "exit code 137" { Ok(()) } else { Failure::verdict(command, expected, ended) }
}
