//! A filter: a program that the kernel runs before each system call, and that decides about it.

use std::io;

use libc::{SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, SECCOMP_RET_KILL_PROCESS, sock_filter, sock_fprog};
use nix::errno::Errno;

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
fn value(action: Action) -> u32 {
    match action {
        Action::Allow => SECCOMP_RET_ALLOW,
        Action::Fail(errno) => SECCOMP_RET_ERRNO | u32::from(errno),
        Action::Kill => SECCOMP_RET_KILL_PROCESS,
    }
}

/// The instructions of one rule. If it does not fit, the program goes on behind them.
fn decide(rule: &Rule) -> Vec<sock_filter> {
    let answer = bpf::answer(value(rule.action));
    // The number is loaded for each rule: a condition before it has left an argument in the accumulator.
    let Some(Condition { argument, value }) = rule.condition else {
        return vec![load(NUMBER), if_equal(rule.number, 0, 1), answer];
    };
    let (low, high) = (value as u32, (value >> 32) as u32);
    let at = ARGUMENTS + 8 * argument;
    vec![
        load(NUMBER),
        if_equal(rule.number, 0, 5),
        load(at),
        if_equal(low, 0, 3),
        load(at + 4),
        if_equal(high, 0, 1),
        answer,
    ]
}

/// The beginning: a call of another architecture, or with x32's bit, kills the process.
fn only_this_machine() -> Vec<sock_filter> {
    let kill = bpf::answer(SECCOMP_RET_KILL_PROCESS);
    vec![load(ARCHITECTURE), if_equal(MACHINE, 1, 0), kill, load(NUMBER), if_at_least(X32_BIT, 0, 1), kill]
}

/// Makes the program hold for this process and whatever comes of it.
pub fn install(program: &[sock_filter]) -> io::Result<()> {
    // Else root's set-user-ID programs would run under anybody's filter, and could be led astray by calls that fail.
    nix::sys::prctl::set_no_new_privs()?;
    let program = sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
    // SAFETY: the kernel copies the program, which is as long as `len` says.
    let installed =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) };
    Errno::result(installed)?;
    Ok(())
}
