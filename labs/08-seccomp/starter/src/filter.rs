//! A filter: a program that the kernel runs before each system call, and that decides about it.

use std::io::{self, Error, ErrorKind};

use libc::sock_filter;

use crate::bpf::{self, ARCHITECTURE, ARGUMENTS, MACHINE, NUMBER, X32_BIT, if_at_least, if_equal, load};
use crate::rules::{Action, Condition, Rule, Rules};

/// The program for these rules: first, whose number it is that is looked at; then one rule after another.
pub fn compile(rules: &Rules) -> Vec<sock_filter> {
    let mut program = only_this_machine();
    program.extend(rules.rules.iter().flat_map(decide));
    program.push(bpf::answer(value(rules.otherwise)));
    program
}

/// The answer that stands for an action.
fn value(_action: Action) -> u32 {
    // Yours: for a failure, its errno is in the lower 16 bits. As yet everything is allowed.
    libc::SECCOMP_RET_ALLOW
}

/// The instructions of one rule. If it does not fit, the program goes on behind them.
fn decide(_rule: &Rule) -> Vec<sock_filter> {
    // Yours: an answer, if the number is the rule's and, if there is a condition, the argument as well.
    Vec::new()
}

/// The beginning: a call of another architecture, or with x32's bit, kills the process.
fn only_this_machine() -> Vec<sock_filter> {
    // Yours.
    Vec::new()
}

/// Makes the program hold for this process and whatever comes of it.
pub fn install(_program: &[sock_filter]) -> io::Result<()> {
    // Yours: no_new_privs (nix::sys::prctl), then seccomp(2), which libc::syscall calls. "Unsupported" stands for "not
    // written yet".
    Err(Error::from(ErrorKind::Unsupported))
}
