//! The moment in which a child becomes its program, seen from its parent.
//!
//! What the kernel runs for a path can be another file than its last link names: a script's interpreter, a dynamic
//! program's loader, what a link of `/proc` leads to (CVE-2019-5736); and who shares the container's files may change
//! them until the last moment. So nothing is guessed before: the child is traced across its `execve(2)`, after which
//! the kernel stops it ahead of the program's first instruction (`PTRACE_O_TRACEEXEC`, `ptrace(2)`). What is mapped
//! into it then is what runs, and the parent looks whether this binary is among it.

use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use nix::unistd::Pid;
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions, waitid};

use crate::error::{Error, Result};
use crate::own_program;

/// A child that is held at its `execve`. If this process ends before that, so does the child.
#[derive(Debug)]
pub(crate) struct Tracer {
    child: Pid,
    /// What it must not become, once that is known.
    own: Option<File>,
}

impl Tracer {
    /// Begins to trace `child`, which has a while to go until its program.
    ///
    /// # Errors
    /// [`own_program::AGAIN`] where tracing is not allowed, as with Yama's `ptrace_scope` 3.
    pub(crate) fn follow(child: Pid) -> Result<Self> {
        let options = libc::PTRACE_O_TRACEEXEC | libc::PTRACE_O_EXITKILL;
        match ptrace(libc::PTRACE_SEIZE, child, options) {
            Ok(()) => Ok(Self { child, own: None }),
            Err(error) => Err(own_program::again(&lost(error).to_string())),
        }
    }

    /// Finds out which file this binary is.
    pub(crate) fn look_round(self) -> Result<Self> {
        Ok(Self { own: Some(own()?), ..self })
    }

    /// Waits until the child is its program, and lets that begin; or until it has ended, which is told to whoever waits
    /// for its end.
    ///
    /// # Errors
    /// [`own_program::AGAIN`] if this binary is part of what would run. The child stays stopped.
    pub(crate) fn let_go(self) -> Result<()> {
        // Without NOWAIT, an end would be ours, and nobody else could wait for it.
        let options = WaitIdOptions::EXITED | WaitIdOptions::STOPPED | WaitIdOptions::NOWAIT;
        let pid = rustix::process::Pid::from_raw(self.child.as_raw()).expect("a child's number is not 0");
        loop {
            let status = match waitid(WaitId::Pid(pid), options) {
                Err(Errno::INTR) => continue,
                status => status.map_err(lost)?,
            };
            match status.and_then(|status| status.trapping_signal()) {
                None => return Ok(()),
                Some(stop) if stop >> 8 == libc::PTRACE_EVENT_EXEC => break,
                // A signal is on its way to the child, and is passed on. A group's stop is none.
                Some(stop) => {
                    let signal = if stop >> 8 == 0 { stop } else { 0 };
                    ptrace(libc::PTRACE_CONT, self.child, signal).map_err(lost)?;
                }
            }
        }
        let own = self.own.map_or_else(own, Ok)?;
        if mapped(self.child)?.contains(&own) {
            return Err(own_program::again("the program would be run by this binary"));
        }
        ptrace(libc::PTRACE_DETACH, self.child, 0).map_err(lost)
    }
}

/// A file, as `/proc/PID/maps` tells it from others: its device and its inode.
type File = (String, String);

/// This binary: the file that this very code is mapped from.
fn own() -> Result<File> {
    let code = own as fn() -> Result<File> as usize;
    let maps = read(Path::new("/proc/self/maps"))?;
    let here = maps.lines().filter_map(mapping).find(|(addresses, _)| addresses.contains(&code));
    here.map(|(_, file)| file).ok_or_else(|| Error::new("/proc/self/maps does not say where this program is"))
}

/// The files that are mapped into a process.
fn mapped(process: Pid) -> Result<Vec<File>> {
    let path = PathBuf::from(format!("/proc/{process}/maps"));
    Ok(read(&path)?.lines().filter_map(mapping).map(|(_, file)| file).collect())
}

/// Reads one of the kernel's files, whose size is told by none of them, with room for most.
fn read(path: &Path) -> Result<String> {
    let mut text = String::with_capacity(1 << 14);
    let read = std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text));
    read.map(|_| text).map_err(|error| Error::file("read", path, error))
}

/// Reads a line of `proc_pid_maps(5)`: `08048000-08056000 r-xp 00000000 03:0c 64593 /usr/sbin/gpm`.
fn mapping(line: &str) -> Option<(Range<usize>, File)> {
    let mut fields = line.split_whitespace();
    let (from, to) = fields.next()?.split_once('-')?;
    let address = |text| usize::from_str_radix(text, 16).ok();
    Some((address(from)?..address(to)?, (fields.nth(2)?.to_owned(), fields.next()?.to_owned())))
}

fn ptrace(request: libc::c_uint, process: Pid, data: i32) -> io::Result<()> {
    // SAFETY: the requests of this module take numbers only.
    match unsafe { libc::ptrace(request, process.as_raw(), 0_usize, data as usize) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn lost(error: impl Into<io::Error>) -> Error {
    Error::kernel("trace the container's start", error)
}

#[cfg(test)]
mod tests {
    use super::mapping;

    #[test]
    fn lines_of_maps() {
        let lines = [
            "00200000-0025f000 r--p 00000000 fe:00 3146321                            /usr/bin/mini-docker",
            "7ffd5c9f6000-7ffd5ca17000 rw-p 00000000 00:00 0                          [stack]",
            "no mapping",
        ];
        insta::assert_debug_snapshot!(lines.map(mapping));
    }
}
