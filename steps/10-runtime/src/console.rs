//! A container's terminal, and its standard streams.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use rustix::fs::{Mode, OFlags};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

use crate::error::{Error, Result};
use crate::start::Streams;
use crate::users::Identity;

/// Makes a terminal in this process's own `/dev/pts`: the master, for whoever is outside, and the slave, for the program.
///
/// The slave is opened through the master (`TIOCGPTPEER`), not by a path that a container could have replaced.
fn open() -> Result<(OwnedFd, OwnedFd)> {
    let make = || -> rustix::io::Result<(OwnedFd, OwnedFd)> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = rustix::pty::openpt(flags)?;
        rustix::pty::unlockpt(&master)?;
        let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
        Ok((master, slave))
    };
    make().map_err(|errno| Error::kernel("make a terminal", errno))
}

/// Sets the size of the terminal whose master or slave `fd` is. The kernel sends SIGWINCH to what runs in it.
pub fn set_size(fd: &impl AsFd, rows: u16, columns: u16) -> Result<()> {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(fd, size).map_err(|errno| Error::kernel("set the terminal's size", errno))
}

/// Puts the container's streams in place of this process's.
///
/// With `shown`, a terminal appears as `/dev/console`.
pub(crate) fn connect(streams: Streams, identity: &Identity, shown: bool) -> Result<()> {
    let streams = match streams {
        Streams::Pipes(pipes) => pipes,
        Streams::Inherited => {
            let standard = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
            return standard.iter().try_for_each(|stream| own(stream, identity));
        }
        Streams::Terminal { socket, size } => {
            let (master, slave) = open()?;
            if let Some((rows, columns)) = size {
                set_size(&slave, rows, columns)?;
            }
            if shown {
                show_console(&slave)?;
            }
            rustix::process::ioctl_tiocsctty(&slave)
                .map_err(|errno| Error::kernel("make the terminal the session's", errno))?;
            let descriptors = [master.as_raw_fd()];
            let message = [ControlMessage::ScmRights(&descriptors)];
            sendmsg::<()>(
                socket.as_raw_fd(),
                &[std::io::IoSlice::new(b"/dev/ptmx")],
                &message,
                MsgFlags::empty(),
                None,
            )
            .map_err(|errno| Error::kernel("hand the terminal out", errno))?;
            let copy = || slave.try_clone().map_err(|error| Error::kernel("copy a descriptor", error));
            [copy()?, copy()?, slave]
        }
    };
    for (stream, place) in streams.iter().zip(0..) {
        own(stream, identity)?;
        // SAFETY: the three standard descriptors belong to nobody in this process.
        nix::errno::Errno::result(unsafe { libc::dup2(stream.as_raw_fd(), place) })
            .map_err(|errno| Error::kernel("set up the standard streams", errno))?;
    }
    Ok(())
}

/// Lets a user other than root open `/dev/stdout` and its like: they lead to these pipes, or this terminal.
fn own(stream: &impl AsFd, identity: &Identity) -> Result<()> {
    let stat =
        rustix::fs::fstat(stream).map_err(|errno| Error::kernel("look at a standard stream", errno))?;
    let null = rustix::fs::makedev(1, 3);
    if stat.st_uid == identity.uid || stat.st_rdev == null {
        return Ok(());
    }
    match rustix::fs::fchown(stream, Some(rustix::fs::Uid::from_raw(identity.uid)), None) {
        // A stream from outside may lie on a read-only file system, or belong to who is nobody here.
        Ok(()) | Err(rustix::io::Errno::ROFS | rustix::io::Errno::PERM) => Ok(()),
        Err(rustix::io::Errno::INVAL) => Err(Error::new(format!(
            "cannot run as user {}: EINVAL: the container's user namespace has no such id (it has those of \
             /etc/subuid; 'mini-docker doctor' says what is missing)",
            identity.uid
        ))),
        Err(errno) => Err(Error::kernel("give a standard stream to the user", errno)),
    }
}

/// Shows the terminal as `/dev/console`.
fn show_console(slave: &OwnedFd) -> Result<()> {
    let console = Path::new("/dev/console");
    let file = rustix::fs::open(
        console,
        OFlags::CREATE
            | OFlags::RDONLY
            | OFlags::NOFOLLOW
            | OFlags::NONBLOCK
            | OFlags::NOCTTY
            | OFlags::CLOEXEC,
        Mode::from_raw_mode(0o600),
    )
    .map_err(|errno| Error::file("make", console, errno))?;
    let tree = chroot::mount::clone_tree_at(slave.as_fd(), Path::new(""), false)?;
    Ok(chroot::mount::attach(&tree, &file, console)?)
}

/// The terminal that comes through `socket`, or `None` if its other end was closed without sending one.
pub fn receive(socket: &UnixStream) -> Result<Option<OwnedFd>> {
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut buffers = [std::io::IoSliceMut::new(&mut byte)];
    rustix::net::recvmsg(socket, &mut buffers, &mut ancillary, RecvFlags::CMSG_CLOEXEC)
        .map_err(|errno| Error::kernel("receive the terminal", errno))?;
    Ok(ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    }))
}
