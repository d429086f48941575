//! A process in a new user namespace, with its maps set.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::BorrowedFd;

use chroot::{Error as KernelError, Result as KernelResult};
use nix::unistd::Pid;
use pid_namespace::{Child, Namespaces, join};
use rustix::pipe::PipeFlags;

use crate::assign::assign;
use crate::error::{Error, Result};
use crate::map::IdMaps;
use crate::root::become_root;

/// Like [`pid_namespace::spawn`], with a user namespace beside the others: `body` runs as its root.
///
/// The kernel makes the user namespace first, so that it owns the others, whatever the order of the flags (`clone(2)`).
/// The maps can only be set from outside, and until then the child is nobody: it waits.
///
/// # Errors
/// As [`IdMaps::root`], [`pid_namespace::spawn`] and [`assign`]; there is no child then.
pub fn spawn(
    namespaces: Namespaces,
    cgroup: Option<BorrowedFd<'_>>,
    maps: &IdMaps,
    body: impl FnOnce() -> u8,
) -> Result<Child> {
    maps.root()?;
    let (gate, opener) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)
        .map_err(|errno| KernelError::new("make", "a pipe", errno))?;
    let mut opener = Some(File::from(opener));
    let child = pid_namespace::spawn(namespaces | Namespaces::USER, cgroup, || {
        // The child's copy: with it gone, the pipe ends when this process does.
        opener.take();
        match wait_at(File::from(gate)) {
            // The parent has the reason, and tells it.
            Ok(false) => 125,
            Ok(true) => match become_root() {
                Ok(()) => body(),
                Err(error) => report(&error),
            },
            Err(error) => report(&error.into()),
        }
    })?;
    let opened = assign(child.pid(), maps).and_then(|()| {
        let opener = opener.as_mut().expect("only the child has taken it");
        Ok(opener.write_all(&[1]).map_err(|error| KernelError::new("wake", "a child", error))?)
    });
    drop(opener);
    if let Err(error) = opened {
        child.wait()?;
        return Err(error);
    }
    Ok(child)
}

/// Like [`spawn`], with a user namespace that is there already: `body` runs as root of `userns`, which owns the other
/// namespaces, too.
///
/// To make those takes a process that is in it, and who has gone in does not come back (`user_namespaces(7)`). So a child
/// goes, after `before`, starts the process that is asked for as a sibling of its own, and ends.
///
/// # Errors
/// What the kernel refuses, and those of `before`; there is no child then.
pub fn spawn_in(
    userns: BorrowedFd<'_>,
    namespaces: Namespaces,
    before: impl FnOnce() -> KernelResult<()>,
    body: impl FnOnce() -> u8,
) -> Result<Child> {
    let (mut heard, speaker) = std::io::pipe().map_err(|error| KernelError::new("make", "a pipe", error))?;
    let mut speaker = Some(speaker);
    let go_between = pid_namespace::spawn(Namespaces::NONE, None, || {
        let mut word = speaker.take();
        let started =
            enter(userns, before).map_err(Error::from).and_then(|()| become_root()).and_then(|()| {
                Ok(pid_namespace::spawn_sibling(namespaces, || {
                    // The parent hears until nobody is left to say more.
                    word.take();
                    body()
                })?)
            });
        let text = started.map_or_else(|error| error.to_string(), |pid| pid.to_string());
        let told = word.as_mut().map(|word| word.write_all(text.as_bytes()));
        u8::from(!matches!(told, Some(Ok(()))))
    })?;
    drop(speaker);
    let mut text = String::new();
    let told = heard.read_to_string(&mut text);
    go_between.wait()?;
    told.map_err(|error| KernelError::new("hear from", "a child in a user namespace", error))?;
    match text.parse() {
        Ok(pid) => Ok(Child::find(Pid::from_raw(pid))?),
        Err(_) => Err(Error::Outside(text)),
    }
}

/// Moves this process into a user namespace where others may be already; just `before`, something else is done.
///
/// Who is root there has privileges over it from then on, though it has still the ids, and the files, of the host's root. So
/// it hides first, and nobody there may trace it (`ptrace(2)`, "Ptrace access mode checking").
pub(crate) fn enter(userns: BorrowedFd<'_>, before: impl FnOnce() -> KernelResult<()>) -> KernelResult<()> {
    nix::sys::prctl::set_dumpable(false)
        .map_err(|errno| KernelError::new("hide", "a process from others", errno))?;
    before()?;
    join::join(userns, Namespaces::USER)
}

/// Waits for a byte; false if none comes.
fn wait_at(mut gate: File) -> KernelResult<bool> {
    match gate.read(&mut [0]) {
        Ok(length) => Ok(length > 0),
        Err(error) => Err(KernelError::new("wait for", "the maps of a user namespace", error)),
    }
}

fn report(error: &crate::Error) -> u8 {
    eprintln!("{error}");
    125
}
