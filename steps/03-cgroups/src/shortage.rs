//! Hearing of a want of memory when it happens.
//!
//! | version | who tells |
//! |---|---|
//! | 2 | `memory.events`: `poll(2)` says POLLPRI when a count in it has changed since it was read (kernel: cgroup-v2.rst) |
//! | 1 | an eventfd, told to `cgroup.event_control` together with `memory.oom_control` (kernel: cgroup-v1/memory.rst) |

use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::cgroup::Cgroup;
use crate::error::{Error, Result};
use crate::files;

/// A watch on a cgroup's memory.
#[derive(Debug)]
pub struct Shortage(Source);

#[derive(Debug)]
enum Source {
    /// The file, its path, and how many processes had been killed when it was read.
    V2(File, PathBuf, u64),
    V1(EventFd),
}

impl Cgroup {
    /// Watches for a want of memory; `None` where nobody would tell, for lack of the controller. On v2, what has happened
    /// before is heard, too.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn watch_memory(&self) -> Result<Option<Shortage>> {
        let Some(directory) = self.in_tree("memory") else { return Ok(None) };
        let open = |path: &PathBuf| match File::open(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            file => file.map(Some).map_err(Error::io("open", path)),
        };
        if self.is_v2() {
            let path = directory.join("memory.events");
            let Some(file) = open(&path)? else { return Ok(None) };
            return Ok(Some(Shortage(Source::V2(file, path, 0))));
        }
        let path = directory.join("memory.oom_control");
        let Some(file) = open(&path)? else { return Ok(None) };
        let failed = |errno| Error::kernel("watch", &path, errno);
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK).map_err(failed)?;
        let request = format!("{} {}", event.as_fd().as_raw_fd(), file.as_raw_fd());
        files::write(&directory.join("cgroup.event_control"), &request).map_err(failed)?;
        Ok(Some(Shortage(Source::V1(event))))
    }
}

impl Shortage {
    /// What becomes ready when there may be something to hear.
    pub fn poll_fd(&self) -> PollFd<'_> {
        match &self.0 {
            Source::V2(file, ..) => PollFd::new(file.as_fd(), PollFlags::POLLPRI),
            Source::V1(event) => PollFd::new(event.as_fd(), PollFlags::POLLIN),
        }
    }

    /// Whether memory has run out since this was asked last: on v2, so that a process was killed; on v1, where this may be
    /// told a moment before, also if none is to be killed.
    ///
    /// # Errors
    /// What the kernel refuses to tell: on v2 ENODEV, if the cgroup is gone. To ask again is no use then, though the file is
    /// ready for ever.
    pub fn hear(&mut self) -> Result<bool> {
        match &mut self.0 {
            Source::V2(file, path, kills) => {
                let mut text = String::new();
                file.rewind()
                    .and_then(|()| file.read_to_string(&mut text))
                    .map_err(Error::io("read", path))?;
                let before = std::mem::replace(kills, files::value(&text, "oom_kill").unwrap_or(*kills));
                Ok(*kills > before)
            }
            Source::V1(event) => match event.read() {
                Ok(_) => Ok(true),
                Err(Errno::EAGAIN) => Ok(false),
                Err(errno) => Err(Error::kernel("read", Path::new("an eventfd"), errno)),
            },
        }
    }
}
