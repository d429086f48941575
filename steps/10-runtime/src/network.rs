//! A network namespace, made ahead of the container that gets it.
//!
//! Of all namespaces it is by far the most expensive: half a millisecond, a sixth of a start, in which the kernel makes the
//! tables of all its protocols. But a namespace belongs to a thread, and whoever has a descriptor of it can join it. So a
//! thread makes it on another processor, while this one does all else that comes before the child.

use std::os::fd::OwnedFd;
use std::sync::mpsc::channel;
use std::thread::JoinHandle;

use networking::{Socket, link, netns};
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};

use crate::error::{Error, Result};
use crate::processor;

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
        let (sender, sent) = channel::<()>();
        let maker = rustix::thread::sched_getcpu();
        let thread = std::thread::Builder::new().spawn(move || {
            processor::leave(maker);
            let made = make();
            // Until it has been sent away: what is asked of a thread that has ended, the kernel does to whoever asks.
            while sent.recv().is_ok() {}
            made
        });
        let thread = thread.map_err(|error| Error::kernel("start a thread", error))?;
        processor::send_thread_away(&thread);
        drop(sender);
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

/// Makes it for this thread.
fn make() -> Result<OwnedFd> {
    tracing::info!("unshare: a network namespace, for the child to join");
    unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| {
        let error = chroot::Error::new("make", "a network namespace", errno);
        match errno {
            Errno::ENOSPC => error.hint("the limit in /proc/sys/user/max_net_namespaces is reached"),
            Errno::EINVAL => error.hint("this kernel may lack them: `ls /proc/self/ns` lists what it has"),
            _ => error,
        }
    })?;
    link::loopback_up(&Socket::open()?)?;
    Ok(netns::own()?)
}
