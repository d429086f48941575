//! The engine's own binary, out of the reach of containers.
//!
//! Until a container's program starts, its process runs the engine's binary, and `/proc/PID/exe` leads to that very
//! file on the host. A process 1 under `--init` keeps running it; an image whose entrypoint, or whose script's
//! interpreter, is `/proc/self/exe` runs it again. Whoever is root in the container opens it there, and what he writes
//! to it when it no longer runs is run the next time somebody starts the engine (CVE-2019-5736).
//!
//! So whoever starts containers runs the binary through a mount that is read-only, and attached nowhere: that leads to
//! the file too, but nobody can write through it, and nobody can find the mount to change it. It takes another
//! `execve(2)`, which is a tenth of a start. So a container that shares nothing with others is first tried without: if
//! its program turns out not to be surely the image's own ([`crate::provenance`]), the start is made again, this way.

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use chroot::mount::{self, Attributes};
use rustix::fs::{Mode, OFlags, StatVfsMountFlags};

use crate::error::{Error, Result};
use crate::plan::Launch;

/// The exit code that stands for: nothing is wrong, but the start must be made through a read-only mount.
pub const AGAIN: u8 = 0;

const EXE: &str = "/proc/self/exe";
/// What `ps` shows: a program that is started by a descriptor has that one's number for a name, before Linux 6.14.
const NAME: &CStr = c"mini-docker";

/// Replaces this process by itself, run through the read-only mount, unless that is how it runs already. To be called
/// before anything else was done that an `execve(2)` would undo.
pub fn run_read_only() -> Result<()> {
    if is_read_only()? {
        return rustix::thread::set_name(NAME).map_err(|errno| Error::kernel("name this process", errno));
    }
    let tree = read_only(Path::new(EXE))?;
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
    Err(Error::kernel("run the engine's binary through a read-only mount", errno))
}

/// The binary, to be run inside a container: nobody can write to it there.
pub fn open() -> Result<OwnedFd> {
    let open = |path: &Path| {
        rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| Error::file("open", path, errno))
    };
    let own = open(Path::new(EXE))?;
    if is_read_only()? {
        return Ok(own);
    }
    // An ordinary user's process began before it could make mounts: its binary has a path where it is now.
    let path = std::fs::read_link(EXE).map_err(|error| Error::file("read", Path::new(EXE), error))?;
    let tree = read_only(&path)?;
    let identity = |fd: &OwnedFd| {
        let stat = rustix::fs::fstat(fd).map_err(|errno| Error::file("look at", &path, errno))?;
        Ok::<_, Error>((stat.st_dev, stat.st_ino))
    };
    if identity(&tree)? == identity(&own)? {
        return Ok(tree);
    }
    Err(Error::new(format!("{} is not the binary that runs here any more", path.display())))
}

/// A mount of the file at `path`, attached nowhere, that nobody can write through.
fn read_only(path: &Path) -> Result<OwnedFd> {
    let tree = mount::clone_tree(path, false)?;
    let attributes = Attributes { readonly: true, nosuid: true, nodev: true, noexec: false };
    mount::set_attributes(&tree, attributes, false)?;
    Ok(tree)
}

/// Fails if `launch` must be made by a binary that runs through a read-only mount, and this one does not.
pub fn protect(launch: &Launch) -> Result<()> {
    if launch.is_exposed() && is_writable(launch)? {
        return Err(again("others may reach the container before its program starts"));
    }
    Ok(())
}

/// Whether the binary could be written to by the container that `launch` starts. An ordinary user's containers have no
/// more rights to it than the user has.
pub fn is_writable(launch: &Launch) -> Result<bool> {
    Ok(!launch.is_of_a_user() && !is_read_only()?)
}

/// The error that asks for another start, made through a read-only mount.
pub fn again(reason: &str) -> Error {
    Error::new(reason).with_exit_code(AGAIN)
}

fn is_read_only() -> Result<bool> {
    let status = rustix::fs::statvfs(EXE).map_err(|errno| Error::file("look at", Path::new(EXE), errno))?;
    Ok(status.f_flag.contains(StatVfsMountFlags::RDONLY))
}
