//! An ordinary user becomes root, of a user namespace of its own.
//!
//! A user namespace is the one kind that needs no privileges to make, and its first process has all of them in it: over
//! the namespaces that it makes from there, and over the files of the ids that its maps have. So a program that enters
//! one first can do everything else as if it were root: mount, `pivot_root`, set up a network. What stays out of reach
//! is what belongs to the host: device nodes, the host's network, cgroups that were not delegated ([`crate::obstacles`]).

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::BorrowedFd;

use chroot::Error as KernelError;
use nix::errno::Errno;
use nix::sched::CloneFlags;
use pid_namespace::{Exit, Namespaces, join as setns};
use rustix::pipe::PipeFlags;

use crate::assign::assign;
use crate::error::{Error, Result};
use crate::map::IdMaps;
use crate::root::take_ids;
use crate::subordinate::Accounts;

/// The maps that this process's user may have: with the subordinate ids, or if there are none, only itself. The error
/// is then the reason, and what to do about it.
///
/// # Errors
/// What the kernel refuses.
pub fn own_maps() -> Result<(IdMaps, Option<Error>)> {
    let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    let accounts = Accounts::read()?;
    match accounts.own_maps(&accounts.user(uid, gid)) {
        Ok(maps) => Ok((maps, None)),
        Err(reason) => Ok((IdMaps::root_only(uid, gid), Some(reason))),
    }
}

/// Moves this process, which must have a single thread, into a new user namespace with `maps` and a mount namespace that
/// belongs to it, and makes it root there. Other groups of the user's stay: what they may read, this process may.
///
/// The maps have to be set from outside, and this process is inside: a child that stays outside does it.
///
/// Mounts made afterwards stay in the new mount namespace: the kernel makes all of a namespace that belongs to another
/// user receivers only (`mount_namespaces(7)`), so that what the host mounts later still appears.
///
/// # Errors
/// What the kernel refuses, and as [`IdMaps::root`] and [`assign`].
pub fn enter(maps: &IdMaps) -> Result<()> {
    maps.root()?;
    let pipe = || {
        rustix::pipe::pipe_with(PipeFlags::CLOEXEC)
            .map(|(reader, writer)| (File::from(reader), Some(File::from(writer))))
            .map_err(|errno| KernelError::new("make", "a pipe", errno))
    };
    let ((mut gate, mut opener), (mut verdict, mut teller)) = (pipe()?, pipe()?);
    let process = nix::unistd::getpid();
    let outside = pid_namespace::spawn(Namespaces::NONE, None, || {
        opener.take();
        // No byte: the other process has failed, and knows why.
        if !matches!(gate.read(&mut [0]), Ok(1)) {
            return 0;
        }
        let Err(error) = assign(process, maps) else { return 0 };
        let told = teller.as_mut().map(|teller| teller.write_all(error.to_string().as_bytes()));
        if matches!(told, Some(Ok(()))) { 1 } else { 2 }
    })?;
    drop(teller);

    tracing::info!("unshare: a user namespace, and a mount namespace that belongs to it");
    let entered = nix::sched::unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS).map_err(refused);
    if entered.is_ok() {
        let opener = opener.as_mut().expect("only the child has taken it");
        opener.write_all(&[1]).map_err(|error| KernelError::new("wake", "a child", error))?;
    }
    drop(opener);
    let mut reason = String::new();
    verdict.read_to_string(&mut reason).map_err(|error| KernelError::new("hear from", "a child", error))?;
    let exit = outside.wait()?;
    entered?;
    match exit {
        Exit::Code(0) => take_ids(),
        // One line, made by `assign` on the other side.
        _ => Err(Error::Outside(reason)),
    }
}

/// Moves this process into the user and mount namespace of another one of the same user's, given by a descriptor of the
/// process (`pidfd_open(2)`), and makes it root there. A container's namespaces belong to the user namespace in which
/// it was started; from a second one beside it, its maker could not reach it any more.
///
/// # Errors
/// EPERM if the process belongs to another user, or has become another user in its namespace.
pub fn join(process: BorrowedFd<'_>) -> Result<()> {
    setns::join(process, Namespaces::USER | Namespaces::MOUNT)?;
    take_ids()
}

fn refused(errno: Errno) -> KernelError {
    let error = KernelError::new("make", "a user namespace", errno);
    match errno {
        Errno::EINVAL => error.hint("this process has several threads, or the kernel lacks CONFIG_USER_NS"),
        Errno::ENOSPC => error.hint("the limit in /proc/sys/user/max_user_namespaces is reached"),
        Errno::EUSERS => error.hint("user namespaces are nested 32 deep already"),
        Errno::EPERM | Errno::EACCES => error.hint(
            "this host keeps ordinary users from it, or this process is in a chroot: `mini-docker doctor` says what to do",
        ),
        _ => error,
    }
}
