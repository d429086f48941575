//! # Step 1: a process with another root
//!
//! A container's first illusion is its file system: `/` is not the host's `/`. `chroot(2)` gives that illusion
//! and nothing more; a process with privileges walks out of it (`examples/escape.rs` does). This crate builds
//! the real thing: a mount namespace, a tree of mounts made for the container, and `pivot_root(2)`.
//!
//! | module | what it holds |
//! |---|---|
//! | [`plan`] | what a root consists of, as data: [`Plan`], decided before anything is done |
//! | [`mount`] | the mount API by file descriptor |
//! | [`resolve`] | paths inside a root that cannot lead out of it |
//! | [`devices`] | the contents of `/dev` |
//! | `copy` | what a new file system takes over from the directory below it |
//! | `pivot` | the change of root |
//! | [`program`] | the last thing: become the container's program |
//!
//! The flow: decide a [`Plan`], take a tree ([`mount::clone_tree`] of a directory here, an overlay in step 4),
//! and [`enter`] it.

mod copy;
pub mod devices;
mod error;
pub mod mount;
mod pivot;
pub mod plan;
pub mod program;
pub mod resolve;

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use rustix::fs::{FileType, OFlags};

pub use error::{Error, Kernel, Result};
use mount::{Attributes, Propagation};
pub use pivot::private_mounts;
pub use plan::{Mount, Plan, Source};
pub use program::Program;
use resolve::Rooted;

/// Makes `tree` the root of this process's mount namespace, furnished as `plan` says.
///
/// The namespace must be this process's own ([`private_mounts`], or a clone with `CLONE_NEWNS`), and `tree` a
/// mount attached nowhere. `at` is any directory to attach it to on the way; it is not visible afterwards.
pub fn enter(tree: &OwnedFd, at: &Path, plan: &Plan) -> Result<()> {
    build(tree, at, plan, &[])?;
    change_root(tree, plan)
}

/// The first half of [`enter`]: everything is in its place, and the host's files are still there, with the new root at
/// `at`. `given` are trees that mounts of the plan count on, attached nowhere ([`plan::Finer::given`]).
pub fn build(tree: &OwnedFd, at: &Path, plan: &Plan, given: &[OwnedFd]) -> Result<()> {
    // Copies of host trees are taken first: a shared one stays in its peer group only if it is copied before
    // this namespace's mounts are made private.
    let trees = plan.mounts.iter().map(|mount| open_mount(mount, given)).collect::<Result<Vec<_>>>()?;
    pivot::isolate_mounts()?;

    let directory =
        rustix::fs::open(at, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, rustix::fs::Mode::empty())
            .map_err(|errno| Error::new("open", at.display(), errno))?;
    mount::attach(tree, &directory, at)?;

    let root = Rooted::new(tree);
    for (mount, tree) in plan.mounts.iter().zip(&trees) {
        tracing::info!("mount {mount}");
        if let Some(tree) = tree {
            furnish(root, mount, tree)?;
        }
    }
    if !plan.devices.is_empty() {
        devices::populate(root, &plan.devices)?;
    }
    seal(&plan.mounts, &trees)?;
    plan.mounts.iter().try_for_each(|mount| remount(root, mount))?;
    for path in &plan.readonly_paths {
        make_readonly(root, path)?;
    }
    mask(root, &plan.masked_paths)?;
    if plan.readonly {
        tracing::info!("make the root read-only");
        mount::set_attributes(tree, Attributes { readonly: true, ..Attributes::default() }, false)?;
    }
    Ok(())
}

/// The second half of [`enter`]: what was built becomes the root, and nothing else is left.
pub fn change_root(tree: &OwnedFd, plan: &Plan) -> Result<()> {
    if plan.no_pivot {
        pivot::move_root(tree)?;
    } else {
        pivot::pivot(tree)?;
    }
    match plan.propagation {
        // As `build` left it.
        Propagation::Private => Ok(()),
        other => mount::set_propagation(tree, other, false),
    }
}

/// The tree that `mount` will attach, attached nowhere yet; none if it only changes what is there. What is to be read-only in
/// the end may not be so yet.
pub fn open_mount(mount: &Mount, given: &[OwnedFd]) -> Result<Option<OwnedFd>> {
    if let Some(number) = mount.finer.given {
        let tree =
            given.get(number).ok_or_else(|| Error::new("find", "a tree for a mount", Errno::ENOENT))?;
        let tree = tree.try_clone().map_err(|error| Error::new("copy", "a descriptor", error))?;
        mount.finer.change.apply(&tree, false)?;
        mount.finer.change_all.apply(&tree, true)?;
        return Ok(Some(tree));
    }
    match &mount.source {
        Source::Filesystem { fstype, device, options } => {
            let context = mount::Context::of_device(fstype, device.as_deref().unwrap_or(fstype))?;
            for (key, value) in options {
                context.set(key, value.as_deref())?;
            }
            let tree = context.mount(Attributes { readonly: false, ..mount.attributes })?;
            mount.finer.change.apply(&tree, false)?;
            mount.finer.change_all.apply(&tree, true)?;
            Ok(Some(tree))
        }
        Source::Bind { from, recursive } => {
            let tree = mount::clone_part(from, mount.finer.part.as_deref(), *recursive)?;
            if mount.attributes != Attributes::default() {
                mount::set_attributes(&tree, mount.attributes, *recursive)?;
            }
            mount.finer.change.apply(&tree, false)?;
            mount.finer.change_all.apply(&tree, true)?;
            Ok(Some(tree))
        }
        Source::Remount { .. } => Ok(None),
    }
}

/// Makes the file systems read-only that are to be so. Not sooner, since others may be mounted in them, for which a
/// directory must be made first, and devices be made.
fn seal(mounts: &[Mount], trees: &[Option<OwnedFd>]) -> Result<()> {
    let read_only = Attributes { readonly: true, ..Attributes::default() };
    let sealed =
        |mount: &Mount| mount.attributes.readonly && matches!(mount.source, Source::Filesystem { .. });
    let trees =
        mounts.iter().zip(trees).filter(|(mount, _)| sealed(mount)).filter_map(|(_, tree)| tree.as_ref());
    trees.into_iter().try_for_each(|tree| mount::set_attributes(tree, read_only, false))
}

/// Changes what is mounted at a place, if that is all that `mount` is for. As late as what is sealed, since it may be
/// sealed by this, or opened again.
fn remount(root: Rooted<'_>, mount: &Mount) -> Result<()> {
    let Source::Remount { options, propagate } = &mount.source else { return Ok(()) };
    let target = root.open(&mount.target, OFlags::PATH)?;
    if let Some(options) = options {
        mount::reconfigure(&target, &mount.target, options)?;
    }
    let change = mount.finer.change;
    match change.alone().apply(&target, false) {
        // In a user namespace, flags that came from outside stay.
        Err(error) if error.errno() == Errno::EPERM => change.apply(&target, false)?,
        applied => applied.map_err(|error| match error.errno() {
            Errno::EINVAL => Error::new("change the flags of", mount.target.display(), Errno::EINVAL)
                .hint("nothing is mounted exactly there"),
            _ => error,
        })?,
    }
    mount.finer.change_all.apply(&target, true)?;
    if *propagate { mount::set_propagation(&target, mount.propagation, !mount.finer.flat) } else { Ok(()) }
}

/// Attaches `tree` where `mount` says, making the mount point if the root lacks it.
fn furnish(root: Rooted<'_>, mount: &Mount, tree: &OwnedFd) -> Result<()> {
    // Before it is made. What cannot be opened is not there, or is told of when it is.
    let covered = takes_mode(mount).then(|| root.open(&mount.target, OFlags::PATH).ok()).flatten();
    let make =
        || if is_directory(tree)? { root.make_dir(&mount.target) } else { root.make_file(&mount.target) };
    let target = if mount.follow {
        let target = make()?;
        refuse_inside_proc(&target, &mount.target)?;
        target
    } else {
        // The kernel's file systems must be where programs and the masking below look for them; an image that
        // makes /proc a link gets an error, not a /proc somewhere else (CVE-2019-19921).
        make()?;
        root.open_without_links(&mount.target, OFlags::PATH)
            .map_err(|error| error.hint("an image may not make this a symbolic link"))?
    };
    if let Some(covered) = covered {
        copy::mode(&covered, &mount.target, tree)?;
    }
    if mount.finer.copy_up {
        copy::contents(root, &mount.target, tree)?;
    }
    mount::attach(tree, &target, &mount.target)?;
    // A tree has the propagation of the mount it joins until it is told otherwise.
    mount::set_propagation(tree, mount.propagation, !mount.finer.flat)
}

/// Whether `mount` is a tmpfs for which no mode is asked. It has that of the directory it covers, and so shows nobody more
/// than that did; over nothing it has the kernel's, 1777.
fn takes_mode(mount: &Mount) -> bool {
    let Source::Filesystem { fstype, options, .. } = &mount.source else { return false };
    fstype == "tmpfs" && options.iter().all(|(key, _)| key != "mode")
}

/// A volume on top of `/proc`, or of a part of it, would undo the masking (CVE-2019-16884). What counts is
/// where the path ended up, not what it is called.
fn refuse_inside_proc(target: &OwnedFd, path: &Path) -> Result<()> {
    let filesystem =
        rustix::fs::fstatfs(target).map_err(|errno| Error::new("look at", path.display(), errno))?;
    if filesystem.f_type == libc::PROC_SUPER_MAGIC {
        return Err(Error::new("mount inside the container's /proc, on", path.display(), Errno::EPERM)
            .hint("choose another place for this mount"));
    }
    Ok(())
}

/// Binds `path` onto itself, read-only with all that is mounted below it. A path that is not there is skipped:
/// not every kernel has every file.
fn make_readonly(root: Rooted<'_>, path: &Path) -> Result<()> {
    let Some(target) = existing(root, path)? else { return Ok(()) };
    tracing::info!("make {} read-only", path.display());
    let tree = mount::clone_tree_at(target.as_fd(), Path::new(""), true)?;
    mount::set_attributes(&tree, Attributes { readonly: true, ..Attributes::default() }, true)?;
    mount::attach(&tree, &target, path)?;
    mount::set_propagation(&tree, Propagation::Private, true)
}

/// Hides each of `paths`: a file behind `/dev/null`, a directory behind one empty read-only tmpfs they share.
fn mask(root: Rooted<'_>, paths: &[std::path::PathBuf]) -> Result<()> {
    let mut empty: Option<OwnedFd> = None;
    for path in paths {
        let Some(target) = existing(root, path)? else { continue };
        tracing::info!("mask {}", path.display());
        let cover = if is_directory(&target)? {
            match &empty {
                Some(first) => mount::clone_tree_at(first.as_fd(), Path::new(""), false)?,
                None => mount::Context::open("tmpfs")?.mount(Attributes::DATA.read_only())?,
            }
        } else {
            let null = root.open_without_links(Path::new("/dev/null"), OFlags::PATH)?;
            mount::clone_tree_at(null.as_fd(), Path::new(""), false)?
        };
        mount::attach(&cover, &target, path)?;
        mount::set_propagation(&cover, Propagation::Private, false)?;
        if empty.is_none() && is_directory(&cover)? {
            empty = Some(cover);
        }
    }
    Ok(())
}

/// `path` inside the root, or `None` where there is nothing of that name.
fn existing(root: Rooted<'_>, path: &Path) -> Result<Option<OwnedFd>> {
    match root.open(path, OFlags::PATH) {
        Ok(fd) => Ok(Some(fd)),
        Err(error) if matches!(error.errno(), Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_directory(fd: &OwnedFd) -> Result<bool> {
    let stat = rustix::fs::fstat(fd).map_err(|errno| Error::new("look at", "a mount's source", errno))?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}
