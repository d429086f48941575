//! Lab 8: which calls it may make.

use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use nix::errno::Errno;
use seccomp::{Architecture, calls};

use crate::bench::{Bench, Ran};
use crate::call::{self, MADE};
use crate::check::{Check, Failure, Verdict};

pub(super) const CHECKS: &[Check] = &[
    ("runs", runs),
    ("filter", filter),
    ("locked", locked),
    ("errno", errno),
    ("allow", allow),
    ("kill", kill),
    ("otherwise", otherwise),
    ("argument", argument),
    ("half", half),
    ("next", next),
    ("i386", i386),
    ("x32", x32),
    ("code", code),
];

/// A filter that allows all but a call that nobody misses.
const FILTER: &[&str] = &["allow,munlockall=13"];
/// 128 and the number of SIGSYS.
const KILLED: i32 = 159;
/// What a static program cannot do without before it makes a call of its own, and after it.
const NEEDED: &[&str] = &[
    "arch_prctl",
    "brk",
    // On machines whose clocks cannot be read without a call.
    "clock_gettime",
    "clone",
    "clone3",
    "close",
    "execve",
    "exit",
    "exit_group",
    "fstat",
    "futex",
    "getrandom",
    "gettid",
    "madvise",
    "mmap",
    "mprotect",
    "munmap",
    "newfstatat",
    "open",
    "openat",
    "poll",
    "ppoll",
    "prctl",
    "prlimit64",
    "read",
    "readlink",
    "readlinkat",
    "rseq",
    "rt_sigaction",
    "rt_sigprocmask",
    "sched_getaffinity",
    "set_robust_list",
    "set_tid_address",
    "sigaltstack",
    "write",
];

fn runs(bench: &Bench) -> Verdict {
    super::runs_with(bench, FILTER)
}

fn filter(bench: &Bench) -> Verdict {
    // Its child has what it has.
    status(bench, "sleep 100 & echo ready; read line", "Seccomp", "2")
}

fn locked(bench: &Bench) -> Verdict {
    status(bench, crate::bench::HOLD, "NoNewPrivs", "1")
}

fn errno(bench: &Bench) -> Verdict {
    says(&call(bench, "allow,munlockall=13", &["munlockall"])?, &call::failed(Errno::EACCES))
}

fn allow(bench: &Bench) -> Verdict {
    says(&call(bench, "allow,munlockall=13", &["getpid"])?, MADE)
}

fn kill(bench: &Bench) -> Verdict {
    is_killed(&call(bench, "allow,munlockall=kill", &["munlockall"])?)
}

fn otherwise(bench: &Bench) -> Verdict {
    // An older call is none on a younger machine.
    let known =
        |name: &&&str| calls::find(name).is_some_and(|call| call.number(Architecture::NATIVE).is_some());
    let needed: String = NEEDED.iter().filter(known).map(|name| format!(",{name}=allow")).collect();
    says(&call(bench, &format!("38{needed}"), &["munlockall"])?, &call::failed(Errno::ENOSYS))
}

fn argument(bench: &Bench) -> Verdict {
    // No file has this number: a call that is made fails in a way of its own.
    let filter = "allow,lseek:1:8=13";
    says(&call(bench, filter, &["lseek", "99", "8"])?, &call::failed(Errno::EACCES))?;
    says(&call(bench, filter, &["lseek", "99", "9"])?, &call::failed(Errno::EBADF))
}

fn half(bench: &Bench) -> Verdict {
    says(&call(bench, "allow,lseek:1:8=13", &["lseek", "99", "0x100000008"])?, &call::failed(Errno::EBADF))?;
    let filter = "allow,lseek:1:0x700000008=13";
    says(&call(bench, filter, &["lseek", "99", "0x700000008"])?, &call::failed(Errno::EACCES))
}

fn next(bench: &Bench) -> Verdict {
    let ran = call(bench, "allow,lseek:1:8=13,lseek:1:9=12,lseek:1:9=11", &["lseek", "99", "9"])?;
    says(&ran, &call::failed(Errno::ENOMEM))
}

fn i386(bench: &Bench) -> Verdict {
    let words = ["--i386", "munlockall"];
    // A kernel may have been built, or started, without such calls.
    let tried = Command::new(super::install_caller(bench)?).args(words).stderr(Stdio::null()).output();
    let tried = tried.context("cannot try a call")?;
    if String::from_utf8_lossy(&tried.stdout).trim() != MADE {
        return Ok(());
    }
    is_killed(&call(bench, "allow,munlockall=13", &words)?)
}

fn x32(bench: &Bench) -> Verdict {
    is_killed(&call(bench, "allow,munlockall=13", &["--x32", "munlockall"])?)
}

fn code(bench: &Bench) -> Verdict {
    super::exit_code_with(bench, FILTER)
}

/// Runs the program [`call::NAME`], with these words, under a filter.
fn call(bench: &Bench, filter: &str, words: &[&str]) -> Result<Ran> {
    super::install_caller(bench)?;
    let command: Vec<&str> = ["/bin/call"].into_iter().chain(words.iter().copied()).collect();
    bench.run_with(&[filter], &command)
}

fn says(ran: &Ran, expected: &str) -> Verdict {
    match ran.stdout.trim() {
        said if said == expected => Ok(()),
        "" => Failure::verdict(&ran.command, expected, ran.seen()),
        said => Failure::verdict(&ran.command, expected, said),
    }
}

fn is_killed(ran: &Ran) -> Verdict {
    let expected = format!("exit code {KILLED}: killed by SIGSYS");
    match ran.stdout.trim() {
        "" if ran.code() == Some(KILLED) => Ok(()),
        "" => Failure::verdict(&ran.command, expected, ran.seen()),
        said => Failure::verdict(&ran.command, expected, said),
    }
}

/// That the `status` of a shell that waits inside, and of its children, has this value.
fn status(bench: &Bench, line: &str, key: &str, expected: &str) -> Verdict {
    bench.hold(FILTER, line, |held| {
        for process in held.inside.family() {
            let seen = process.status(key);
            if seen != expected {
                let expected = format!("in /proc/PID/status, {key}: {expected}");
                return Failure::verdict(&held.command, expected, format!("{key}: {seen}"));
            }
        }
        Ok(())
    })
}
