//! A program for graders that makes one system call, as it is told to, and says what came of it.
//!
//! Such a program must be one file that needs no other, since few calls may be allowed where it runs. This program itself
//! is such a file: started under the name [`NAME`], it calls.

use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use seccomp::{Architecture, calls};

/// The name under which this program calls.
pub const NAME: &str = "call";
/// What it prints if the call was made.
pub const MADE: &str = "it was made";
/// How long a call may take that takes no time.
const SOON: Duration = Duration::from_secs(1);

/// Makes the call `[--i386|--x32] NAME [ARGUMENT...]`, which by i386's numbers is to have no arguments.
///
/// That is left to a second thread: a filter may kill just the one that calls.
pub fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (architecture, words) = match words.split_first() {
        Some((option, rest)) if option == "--i386" => (Architecture::X86, rest),
        Some((option, rest)) if option == "--x32" => (Architecture::X32, rest),
        _ => (Architecture::NATIVE, words.as_slice()),
    };
    let Some((number, arguments)) = parse(architecture, words) else {
        println!("there is no such call");
        return ExitCode::FAILURE;
    };
    // Whoever is really to be killed is not asked.
    let catch = SigAction::new(SigHandler::Handler(caught), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler does nothing that a signal may not interrupt.
    if unsafe { sigaction(Signal::SIGSYS, &catch) }.is_err() {
        println!("signals cannot be caught");
        return ExitCode::FAILURE;
    }
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(make(architecture, number, arguments)));
    match receiver.recv_timeout(SOON) {
        Ok(Ok(())) => println!("{MADE}"),
        Ok(Err(errno)) => println!("{}", failed(errno)),
        Err(_) => println!("only the thread that called is gone"),
    }
    ExitCode::SUCCESS
}

/// Says that there was a signal, and that the process is alive.
extern "C" fn caught(_: i32) {
    let said = b"SIGSYS came, and the process caught it\n";
    // SAFETY: both functions may be called here, and what is written is memory of that length.
    unsafe {
        libc::write(1, said.as_ptr().cast(), said.len());
        libc::_exit(0);
    }
}

/// What it prints if the call failed.
pub fn failed(errno: Errno) -> String {
    format!("it failed with {errno:?} ({})", errno as i32)
}

fn parse(architecture: Architecture, words: &[String]) -> Option<(u32, [u64; 6])> {
    let (name, rest) = words.split_first()?;
    let mut arguments = [0; 6];
    for (argument, word) in arguments.iter_mut().zip(rest) {
        *argument = match word.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok()?,
            None => word.parse().ok()?,
        };
    }
    Some((calls::find(name)?.number(architecture)?, arguments))
}

fn make(architecture: Architecture, number: u32, arguments: [u64; 6]) -> Result<(), Errno> {
    #[cfg(target_arch = "x86_64")]
    if architecture == Architecture::X86 {
        let result: i32;
        // SAFETY: the kernel takes no memory from a call without arguments, and keeps all registers but these.
        unsafe {
            std::arch::asm!(
                "int 0x80",
                inlateout("eax") number => result,
                lateout("r8") _, lateout("r9") _, lateout("r10") _, lateout("r11") _,
            );
        }
        return if result < 0 { Err(Errno::from_raw(-result)) } else { Ok(()) };
    }
    if architecture == Architecture::X86 {
        return Err(Errno::ENOSYS);
    }
    let [first, second, third, fourth, fifth, sixth] = arguments;
    // SAFETY: graders choose calls that are given no memory.
    let result = unsafe { libc::syscall(i64::from(number), first, second, third, fourth, fifth, sixth) };
    Errno::result(result).map(drop)
}
