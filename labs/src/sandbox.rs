//! A copy of the host for a learner's program to spoil.
//!
//! A program that is not finished mounts in the wrong namespace, renames the machine, or changes the root of whoever is
//! about. So it is started from a thread that has a mount namespace and a UTS namespace of its own. The mounts there are
//! *shared*, as systemd makes the host's, so that a mount that leaks does so here, and can be seen.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::mpsc;

use anyhow::{Context, Result};
use nix::fcntl::{OFlag, openat};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::Mode;

/// What the copy of the host looks like, to compare before and after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// The mount points, in the kernel's order.
    pub mounts: Vec<String>,
    /// Whether what is mounted below its root is mounted for those who copied it, too.
    pub is_shared: bool,
    /// The host's name.
    pub hostname: String,
    /// The identity of its mount namespace.
    pub mount_namespace: u64,
    /// The identity of its UTS namespace.
    pub uts_namespace: u64,
}

/// Calls `start` on a thread inside a fresh copy of the host, then `observe` with what it returned on this one. Returns
/// what `observe` did, and the copy's looks before and after.
///
/// `room`, where the program's root lies, is a mount of its own there: the kernel's answers shall not depend on how this
/// host's disks are mounted.
///
/// `observe` is not inside, since a program may even take the copy's root away from those who are.
pub fn with<S: Send, T>(
    room: &Path,
    start: impl FnOnce() -> Result<S> + Send,
    observe: impl FnOnce(S, &Look) -> Result<T>,
) -> Result<(T, Look, Look)> {
    std::thread::scope(|scope| {
        let (started, starts) = mpsc::channel();
        let (over, ends) = mpsc::channel::<()>();
        let inside = scope.spawn(move || -> Result<(Look, Look)> {
            let proc = proc_of_this_thread()?;
            enter(room)?;
            let before = look(&proc)?;
            // The receiver is gone only if it has panicked, which is reported there.
            let _ = started.send((start(), before.clone()));
            let _ = ends.recv();
            Ok((before, look(&proc)?))
        });
        // Closed without a word: the thread failed before the start.
        let observed = starts.recv().ok().map(|(started, before)| observe(started?, &before));
        drop(over);
        let looks = inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match observed {
            Some(observed) => {
                let observed = observed?;
                let (before, after) = looks?;
                Ok((observed, before, after))
            }
            None => Err(looks.err().context("the sandbox ended before the start")?),
        }
    })
}

/// The mount points of the mount namespace that `process`, a directory in `/proc`, is in: of all of it, and not only of
/// what is below the process's root.
pub fn mounts_of(process: &Path) -> Result<Vec<String>> {
    let namespace = process.join("ns/mnt");
    let namespace = File::open(&namespace).with_context(|| format!("cannot open {}", namespace.display()))?;
    std::thread::scope(|scope| {
        let inside = scope.spawn(|| -> Result<Vec<String>> {
            let proc = proc_of_this_thread()?;
            // A mount namespace is entered by one who shares root and working directory with nobody.
            unshare(CloneFlags::CLONE_FS).context("cannot have a root of our own")?;
            setns(namespace.as_fd(), CloneFlags::CLONE_NEWNS).context("cannot enter a mount namespace")?;
            Ok(points(&mountinfo(&proc)?))
        });
        inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn enter(room: &Path) -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS)
        .context("cannot make namespaces to grade in")?;
    // First apart from the host, then shared again, with those who copy from here.
    for flag in [MsFlags::MS_PRIVATE, MsFlags::MS_SHARED] {
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | flag, None::<&str>)
            .context("cannot set the propagation of mounts")?;
    }
    mount(Some(room), room, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .context("cannot make a room to grade in")
}

/// This thread's directory in the host's `/proc`, which a descriptor finds wherever the root may have gone.
fn proc_of_this_thread() -> Result<File> {
    File::open("/proc/thread-self").context("cannot open /proc/thread-self")
}

fn look(proc: &File) -> Result<Look> {
    let hostname = nix::unistd::gethostname().context("cannot read the hostname")?;
    let namespace = |kind: &str| -> Result<u64> {
        let link = openat(proc, kind, OFlag::O_RDONLY, Mode::empty()).context("cannot open a namespace")?;
        Ok(File::from(link).metadata().context("cannot look at a namespace")?.ino())
    };
    let all = mountinfo(proc)?;
    Ok(Look {
        mounts: points(&all),
        is_shared: all.lines().any(|line| {
            let mut fields = line.split(' ').skip(4);
            fields.next() == Some("/") && fields.any(|field| field.starts_with("shared:"))
        }),
        hostname: hostname.to_string_lossy().into_owned(),
        mount_namespace: namespace("ns/mnt")?,
        uts_namespace: namespace("ns/uts")?,
    })
}

/// The mount points in a text like `/proc/PID/mountinfo` (proc(5)).
fn points(mountinfo: &str) -> Vec<String> {
    mountinfo.lines().filter_map(|line| line.split(' ').nth(4)).map(str::to_owned).collect()
}

fn mountinfo(proc: &File) -> Result<String> {
    let file =
        openat(proc, "mountinfo", OFlag::O_RDONLY, Mode::empty()).context("cannot open the mountinfo")?;
    let mut text = String::new();
    File::from(file).read_to_string(&mut text).context("cannot read the mountinfo")?;
    Ok(text)
}
