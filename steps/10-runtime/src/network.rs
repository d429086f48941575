//! A network namespace, made ahead of the container that gets it.
//!
//! Of all namespaces it is by far the most expensive: half a millisecond, a sixth of a start, in which the kernel makes the
//! tables of all its protocols. But a namespace belongs to a thread, and whoever has a descriptor of it can join it. So a
//! thread makes it on another processor, while this one does all else that comes before the child.

use std::os::fd::OwnedFd;
use std::os::unix::thread::JoinHandleExt;
use std::thread::JoinHandle;

use networking::{Socket, link, netns};
use nix::sched::{CloneFlags, unshare};

use crate::error::{Error, Result};

/// A new network namespace, whose loopback interface is up.
#[derive(Debug)]
pub enum Network {
    /// A thread makes it.
    Underway(JoinHandle<Result<OwnedFd>>),
    /// It is there.
    Made(OwnedFd),
}

impl Network {
    /// Begins to make it. From here until [`Self::get`] this process has one thread more.
    pub fn begin() -> Result<Self> {
        let make = || {
            tracing::info!("unshare: a network namespace, for the child to join");
            unshare(CloneFlags::CLONE_NEWNET)
                .map_err(|errno| Error::kernel("make a network namespace", errno))?;
            link::loopback_up(&Socket::open()?)?;
            Ok(netns::own()?)
        };
        let thread = std::thread::Builder::new().spawn(make);
        let thread = thread.map_err(|error| Error::kernel("start a thread", error))?;
        send_away(&thread);
        Ok(Self::Underway(thread))
    }

    /// Waits until it is there.
    pub fn get(self) -> Result<OwnedFd> {
        match self {
            Self::Made(network) => Ok(network),
            Self::Underway(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
        }
    }
}

/// Has a thread run on any processor but this one. The kernel would see to that by itself, but in a virtual machine it takes
/// a processor that sleeps for one that the host has given to others, and a new thread waits for this one. Where there is
/// no other processor, nothing changes.
fn send_away<T>(thread: &JoinHandle<T>) {
    const SIZE: usize = size_of::<libc::cpu_set_t>();
    // SAFETY: a set of processors is plain memory, and the thread has not been joined.
    let refused = unsafe {
        let mut others: libc::cpu_set_t = std::mem::zeroed();
        libc::sched_getaffinity(0, SIZE, &raw mut others);
        if let Ok(this) = usize::try_from(libc::sched_getcpu()) {
            libc::CPU_CLR(this, &mut others);
        }
        libc::pthread_setaffinity_np(thread.as_pthread_t(), SIZE, &raw const others)
    };
    if refused != 0 {
        tracing::info!("the thread stays on this processor");
    }
}
