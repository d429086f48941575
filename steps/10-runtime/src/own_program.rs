//! This program's own binary, out of the reach of containers.
//!
//! Until a container's program starts, its process runs this binary, and `/proc/PID/exe` leads to that very
//! file on the host. A process 1 under `--init` keeps running it; an image whose entrypoint, or whose script's
//! interpreter, is `/proc/self/exe` runs it again. Whoever is root in the container opens it there, and what he writes
//! to it when it no longer runs is run the next time somebody starts a container (CVE-2019-5736). An ordinary user is no
//! less concerned: root in the container is that user outside, who may own the binary, say in `~/.cargo/bin`.
//!
//! So whoever starts containers runs the binary through a mount that is read-only, and attached nowhere: that leads to
//! the file too, but nobody can write through it, and nobody can find the mount to change it. It takes another
//! `execve(2)`, which is a tenth of a start. So a container whose processes nobody else can see is first tried without,
//! and its child is traced until it is another program (`tracer`). If that program turns out to be this binary after
//! all, it is ended before its first instruction, and the start is made again, this way.

use std::ffi::{CString, OsStr};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use chroot::mount::{self, Attributes};
use pid_namespace::{Namespaces, spawn};
use rustix::fs::{Mode, OFlags, StatVfsMountFlags};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};

use crate::error::{Error, Result};

/// The exit code that stands for: nothing is wrong, but the start must be made through a read-only mount.
pub const AGAIN: u8 = 2;

const EXE: &str = "/proc/self/exe";

/// Replaces this process by itself, run through the read-only mount, unless that is how it runs already. To be called
/// before anything else was done that an `execve(2)` would undo.
pub fn run_read_only() -> Result<()> {
    if is_read_only()? {
        // What `ps` shows: a program that is started by a descriptor has that one's number for a name, before Linux 6.14.
        let name =
            std::env::args_os().next().and_then(|path| Path::new(&path).file_name().map(OsStr::to_owned));
        let name = CString::new(name.unwrap_or_default().into_vec()).expect("it was a C string");
        return rustix::thread::set_name(&name).map_err(|errno| Error::kernel("name this process", errno));
    }
    let tree = if nix::unistd::geteuid().is_root() {
        read_only(Path::new(EXE))?
    } else {
        let Some(tree) = read_only_by_child()? else { return Ok(()) };
        tree
    };
    let words = |words: Vec<std::ffi::OsString>| {
        words.into_iter().map(|word| CString::new(word.into_vec()).expect("it was a C string")).collect()
    };
    let arguments: Vec<CString> = words(std::env::args_os().collect());
    let environment: Vec<CString> = words(
        std::env::vars_os()
            .map(|(mut name, value)| {
                name.push("=");
                name.push(value);
                name
            })
            .collect(),
    );
    let flags = nix::fcntl::AtFlags::AT_EMPTY_PATH;
    let Err(errno) = nix::unistd::execveat(&tree, c"", &arguments, &environment, flags);
    Err(Error::kernel("run this binary through a read-only mount", errno))
}

/// The binary, to be run inside a container: nobody can write to it there.
pub fn open() -> Result<OwnedFd> {
    open_path(Path::new(EXE))
}

fn open_path(path: &Path) -> Result<OwnedFd> {
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| Error::file("open", path, errno))
}

/// The read-only mount of an ordinary user, who may make mounts in a user namespace only. A child makes it in one of its
/// own and ends, and this process stays what it was; a descriptor is good wherever it is sent. `None` where the user may
/// not make such a namespace, which will be in the way of everything else, too, and is told then.
fn read_only_by_child() -> Result<Option<OwnedFd>> {
    let (ours, theirs) = UnixStream::pair().map_err(|error| Error::kernel("make a socket", error))?;
    let child = spawn(Namespaces::USER | Namespaces::MOUNT, None, move || {
        let sent = match read_only_by_path() {
            Ok(tree) => send(&theirs, &[0], &[tree.as_fd()]),
            Err(error) => send(&theirs, error.to_string().as_bytes(), &[]),
        };
        u8::from(sent.is_err())
    });
    let child = match child {
        Ok(child) => child,
        Err(error) => {
            tracing::info!("{error}");
            return Ok(None);
        }
    };
    let received = receive(&ours);
    child.wait()?;
    match received? {
        (_, Some(tree)) => Ok(Some(tree)),
        (reason, None) => {
            Err(Error::new(format!("{reason} ('mini-docker doctor' says what this user lacks)")))
        }
    }
}

/// In another mount namespace than the one it was started in, this process cannot copy the mount that its binary is on;
/// but the binary has a path there.
fn read_only_by_path() -> Result<OwnedFd> {
    let path = std::fs::read_link(EXE).map_err(|error| Error::file("read", Path::new(EXE), error))?;
    let tree = read_only(&path)?;
    let identity = |fd: &OwnedFd| {
        let stat = rustix::fs::fstat(fd).map_err(|errno| Error::file("look at", &path, errno))?;
        Ok::<_, Error>((stat.st_dev, stat.st_ino))
    };
    if identity(&tree)? == identity(&open_path(Path::new(EXE))?)? {
        return Ok(tree);
    }
    Err(Error::new(format!("{} is not the binary that runs here any more", path.display())))
}

/// Sends `text`, and descriptors with it, of which one is the most.
pub(crate) fn send(socket: &UnixStream, text: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    rustix::net::sendmsg(socket, &[IoSlice::new(text)], &mut ancillary, SendFlags::empty())
        .map(drop)
        .map_err(|errno| Error::kernel("send a descriptor", errno))
}

fn receive(socket: &UnixStream) -> Result<(String, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut text = [0; 4096];
    let mut buffers = [IoSliceMut::new(&mut text)];
    let received = rustix::net::recvmsg(socket, &mut buffers, &mut ancillary, RecvFlags::CMSG_CLOEXEC)
        .map_err(|errno| Error::kernel("receive a descriptor", errno))?;
    let descriptor = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    Ok((String::from_utf8_lossy(&text[..received.bytes]).into_owned(), descriptor))
}

/// A mount of the file at `path`, attached nowhere, that nobody can write through.
fn read_only(path: &Path) -> Result<OwnedFd> {
    let tree = mount::clone_tree(path, false)?;
    let attributes = Attributes { readonly: true, nosuid: true, nodev: true, noexec: false };
    mount::set_attributes(&tree, attributes, false)?;
    Ok(tree)
}

/// Fails with [`AGAIN`] unless this binary runs through a read-only mount.
pub fn require_read_only() -> Result<()> {
    if is_read_only()? {
        return Ok(());
    }
    Err(again("others may reach the container before its program starts"))
}

/// The error that asks for another start, made through a read-only mount.
pub fn again(reason: &str) -> Error {
    Error::new(reason).with_exit_code(AGAIN)
}

/// Whether this process runs through a read-only mount.
pub fn is_read_only() -> Result<bool> {
    let status = rustix::fs::statvfs(EXE).map_err(|errno| Error::file("look at", Path::new(EXE), errno))?;
    Ok(status.f_flag.contains(StatVfsMountFlags::RDONLY))
}
