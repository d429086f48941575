//! A process in a new user namespace, with its maps set.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::BorrowedFd;

use chroot::{Error as KernelError, Result as KernelResult};
use pid_namespace::{Child, Namespaces};
use rustix::pipe::PipeFlags;

use crate::assign::assign;
use crate::error::Result;
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
