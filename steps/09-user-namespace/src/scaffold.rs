//! A place to put mounts together for somebody who may not make them.
//!
//! Root in a user namespace can mount a few harmless file systems, and nothing that touches the host's: it cannot open a
//! directory that its outside id may not enter, make a device node, or show a tree under other owners. The host's root
//! can. So that one builds first, in a mount namespace that only lasts as long as the building ([`Scaffold::raise`] to
//! [`Scaffold::take_down`]), and starts the container from there: a child with a new mount namespace has a copy of
//! every mount that its parent had, and may bind them where it wants. Nobody else ever sees them.
//!
//! A mount that is attached nowhere could be handed over as a descriptor as well. But before Linux 6.15 overlayfs takes
//! no layer that is attached nowhere, and `open_tree(2)` makes no second copy of one; attached, both work on every
//! kernel.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use chroot::mount::{self, Attributes};
use chroot::{Error as KernelError, Plan, Source, plan};
use nix::mount::MsFlags;
use nix::sched::CloneFlags;
use rustix::fs::{FileType, Gid, Mode, OFlags, Uid};

use crate::error::Result;
use crate::map::IdMaps;

/// A mount namespace of this process's, until it is taken down.
#[derive(Debug)]
pub struct Scaffold {
    /// The mount namespace to return to; `None` afterwards.
    outside: Option<OwnedFd>,
    /// The working directory there, which `setns(2)` forgets.
    directory: OwnedFd,
    /// Where the tmpfs is that holds the mount points.
    at: PathBuf,
    /// How many there are.
    shown: usize,
}

impl Scaffold {
    /// Moves this process, which must have a single thread, into a copy of its mount namespace, covers the directory `at`
    /// there, and prepares `plan` for a child in a user namespace with `maps`: takes the host's trees that it binds, which
    /// the child may not be able to reach, and makes the device nodes, which it cannot.
    ///
    /// Everybody must be able to enter the directories above `at`; in `/run` that holds.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn raise(at: &Path, plan: &mut Plan, maps: &IdMaps) -> Result<Self> {
        let open = |path: &str, flags: OFlags| {
            rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty())
                .map_err(|errno| KernelError::new("open", path, errno))
        };
        let outside = open("/proc/self/ns/mnt", OFlags::RDONLY)?;
        let directory = open(".", OFlags::PATH)?;
        tracing::info!("unshare: a mount namespace to build in, below {}", at.display());
        nix::sched::unshare(CloneFlags::CLONE_NEWNS)
            .map_err(|errno| KernelError::new("make", "a mount namespace", errno))?;
        // From here on an early return leads back outside.
        let mut scaffold = Self { outside: Some(outside), directory, at: at.to_owned(), shown: 0 };
        // Nothing made here travels out; what the host mounts and unmounts meanwhile still travels in.
        let none = None::<&str>;
        nix::mount::mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none)
            .map_err(|errno| KernelError::new("separate", "the mounts of this namespace", errno))?;
        // Before there is a scaffold: a tree that holds `at` must not show it.
        let trees = take_trees(plan)?;
        scaffold.cover()?;
        for (source, tree) in trees {
            *source = Source::Bind { from: scaffold.show(&tree)?, recursive: true };
        }
        for device in std::mem::take(&mut plan.devices) {
            let node = scaffold.node(&device, maps)?;
            plan.mounts
                .push(plan::Mount { follow: false, ..plan::bind(node, device.path, Attributes::default()) });
        }
        Ok(scaffold)
    }

    /// Mounts the tmpfs that holds the mount points.
    fn cover(&self) -> Result<()> {
        let context = mount::Context::open("tmpfs")?;
        context.set("mode", Some("755"))?;
        // Device nodes will be in it, and they must work.
        let floor = context.mount(Attributes { nodev: false, ..Attributes::DATA })?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let target = rustix::fs::open(&self.at, flags, Mode::empty())
            .map_err(|errno| KernelError::new("open", self.at.display(), errno))?;
        Ok(mount::attach(&floor, &target, &self.at)?)
    }

    /// Attaches `tree`, and says where: a path for this process, and for children that it starts meanwhile.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn show(&mut self, tree: &OwnedFd) -> Result<PathBuf> {
        let stat = rustix::fs::fstat(tree)
            .map_err(|errno| KernelError::new("look at", "a mount's source", errno))?;
        let place = self.place();
        let failed = |errno| KernelError::new("make", place.display(), errno);
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            rustix::fs::mkdir(&place, Mode::from_raw_mode(0o755)).map_err(failed)?;
        } else {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            rustix::fs::open(&place, flags, Mode::from_raw_mode(0o644)).map_err(failed)?;
        }
        let target = rustix::fs::open(&place, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| KernelError::new("open", place.display(), errno))?;
        mount::attach(tree, &target, &place)?;
        Ok(place)
    }

    /// A device node that belongs to the one whom its owner inside stands for.
    fn node(&mut self, device: &chroot::devices::Device, maps: &IdMaps) -> Result<PathBuf> {
        let place = self.place();
        let failed = |errno| KernelError::new("make the device", device.path.display(), errno);
        let kind = device.kind.file_type();
        let mode = Mode::from_raw_mode(device.mode);
        let number = rustix::fs::makedev(device.major, device.minor);
        rustix::fs::mknodat(rustix::fs::CWD, &place, kind, mode, number).map_err(failed)?;
        // Who is not mapped owns nothing inside either way.
        let owner = maps.uids.to_outside(device.owner.0).map(Uid::from_raw);
        let group = maps.gids.to_outside(device.owner.1).map(Gid::from_raw);
        rustix::fs::chown(&place, owner, group).map_err(failed)?;
        // mknod(2) takes the umask off the mode; chmod does not.
        rustix::fs::chmod(&place, mode).map_err(failed)?;
        Ok(place)
    }

    /// A name that is not taken yet.
    fn place(&mut self) -> PathBuf {
        let place = self.at.join(self.shown.to_string());
        self.shown += 1;
        place
    }

    /// Returns this process to where it came from. What was built lives on in the children's copies.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn take_down(mut self) -> Result<()> {
        self.leave()
    }

    fn leave(&mut self) -> Result<()> {
        let Some(outside) = self.outside.take() else { return Ok(()) };
        tracing::info!("setns: back to the host's mounts");
        nix::sched::setns(&outside, CloneFlags::CLONE_NEWNS)
            .map_err(|errno| KernelError::new("return to", "the host's mount namespace", errno))?;
        Ok(rustix::process::fchdir(&self.directory)
            .map_err(|errno| KernelError::new("return to", "the working directory", errno))?)
    }
}

/// Copies of the host's trees that `plan` binds, attached nowhere, each with the source in whose place it will be.
fn take_trees(plan: &mut Plan) -> Result<Vec<(&mut Source, OwnedFd)>> {
    let mut trees = Vec::new();
    for mount in &mut plan.mounts {
        let tree = match &mount.source {
            // A child that could take a tree without what is mounted in it would see what that hides: the kernel
            // refuses it to other user namespaces (mount_namespaces(7), "Restrictions").
            Source::Bind { from, recursive } => {
                Some(mount::clone_part(from, mount.finer.part.take().as_deref(), *recursive)?)
            }
            Source::Filesystem { .. } | Source::Remount { .. } => None,
        };
        trees.extend(tree.map(|tree| (&mut mount.source, tree)));
    }
    Ok(trees)
}

impl Drop for Scaffold {
    fn drop(&mut self) {
        // The descriptor was open before, and this process has lost no privilege since; only a bug leads here.
        if let Err(error) = self.leave() {
            tracing::error!("{error}");
        }
    }
}
