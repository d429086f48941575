//! `cp`: copy files between a container and the host.

use std::io::IsTerminal;
use std::path::Path;

use clap::Args;
use mini_docker::container::Container;
use mini_docker::copies::{self, Kind, Side};
use mini_docker::engine::view::{Extent, View};
use mini_docker::format::units;
use mini_docker::{Engine, Error, Result};
use overlay_layers::Ownership;
use rustix::fs::{CWD, Mode, OFlags, StatVfsMountFlags};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What `cp` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// Keep the files' owners
    #[arg(short, long)]
    archive: bool,
    /// Copy what a link leads to, in place of the link
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// Do not tell what was copied
    #[arg(short, long)]
    quiet: bool,
    /// What to copy: CONTAINER:PATH, PATH, or - for a tar from standard input
    #[arg(value_name = "SOURCE|-")]
    source: String,
    /// Where to: PATH, CONTAINER:PATH, or - for a tar to standard output
    #[arg(value_name = "DESTINATION|-")]
    destination: String,
}

impl Options {
    /// Copies.
    pub(crate) fn run(&self, engine: &Engine) -> Result<u8> {
        super::sweep(engine, false);
        let copied = match (in_container(&self.source), in_container(&self.destination)) {
            (Some(_), Some(_)) => return Err(Error::new("copying between containers is not supported")),
            (None, None) => return Err(Error::new("must specify at least one container source")),
            (Some((name, path)), None) => {
                let container = engine.containers().find(name)?;
                engine.with_view(&container, Extent::Everything, |view| self.copy_out(view, name, path))?
            }
            (None, Some((name, path))) => {
                let container = engine.containers().find(name)?;
                engine.with_view(&container, Extent::Everything, |view| {
                    self.copy_in(engine, view, &container, name, path)
                })?
            }
        };
        // As progress, for whoever looks on.
        if !self.quiet && self.destination != "-" && std::io::stderr().is_terminal() {
            eprintln!("Successfully copied {} to {}", units::decimal(copied), self.destination);
        }
        Ok(0)
    }

    /// Copies from a container; returns the archive's length.
    fn copy_out(&self, view: &View, name: &str, path: &str) -> Result<u64> {
        let path = copies::absolute(path, Path::new("/"));
        let side = Side { root: view.root(), path: &path, container: Some(name) };
        let source = side.source(self.follow_link)?;
        let owners = view.owners_inside();
        if self.destination == "-" {
            let top = copies::name(&path);
            let top = if top.is_empty() { Path::new(".").as_os_str() } else { &top };
            return copies::pack(&source, top, &owners, std::io::stdout().lock());
        }
        let root = host_root()?;
        let local = copies::absolute(&self.destination, &here()?);
        let found = Side { root: root.as_fd(), path: &local, container: None }.destination()?;
        let kind = source.kind().unwrap_or(Kind::Other);
        let (directory, top) = copies::target(&found, copies::place(&path, kind, &local, found.kind())?)?;
        let user = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        let kept = |uid, gid| (uid, gid);
        let ownership = if self.archive { Ownership::Kept(&kept) } else { Ownership::Given(user.0, user.1) };
        // A container can make any device node. Here one would open the device to whoever may open the file.
        copies::copy((&source, &owners), (&directory, &top), ownership, false)
    }

    /// Copies to a container; returns the archive's length.
    fn copy_in(
        &self,
        engine: &Engine,
        view: &View,
        container: &Container,
        name: &str,
        path: &str,
    ) -> Result<u64> {
        let path = copies::absolute(path, Path::new("/"));
        let side = Side { root: view.root(), path: &path, container: Some(name) };
        let found = side.destination()?;
        let devices = !engine.is_rootless();
        if self.source == "-" {
            if found.kind() != Some(Kind::Directory) {
                return Err(Error::new(format!("destination \"{}\" must be a directory", self.destination)));
            }
            let directory = copies::directory(&found)?;
            require_writable(view, container, directory.as_fd())?;
            let owners = view.owners_in(directory.as_fd())?;
            let ownership = Ownership::Kept(&owners);
            view.with_files_of_root(|| {
                copies::unpack(&directory, std::io::stdin().lock(), ownership, devices)
            })?;
            return Ok(0);
        }
        let root = host_root()?;
        let local = copies::absolute(&self.source, &here()?);
        let source = Side { root: root.as_fd(), path: &local, container: None }.source(self.follow_link)?;
        let kind = source.kind().unwrap_or(Kind::Other);
        let (directory, top) = copies::target(&found, copies::place(&local, kind, &path, found.kind())?)?;
        require_writable(view, container, directory.as_fd())?;
        let owners = view.owners_in(directory.as_fd())?;
        let (uid, gid) = owners(0, 0);
        let ownership = if self.archive { Ownership::Kept(&owners) } else { Ownership::Given(uid, gid) };
        view.with_files_of_root(|| {
            copies::copy((&source, &|uid, gid| (uid, gid)), (&directory, &top), ownership, devices)
        })
    }
}

/// The container and the path of `CONTAINER:PATH`. As with Docker, what begins with `/` or `.` is a path of the host's,
/// whatever it holds.
fn in_container(text: &str) -> Option<(&str, &str)> {
    let (container, path) = text.split_once(':')?;
    (!container.is_empty() && !text.starts_with(['/', '.'])).then_some((container, path))
}

fn here() -> Result<std::path::PathBuf> {
    std::env::current_dir().map_err(|error| Error::kernel("find the working directory", error))
}

fn host_root() -> Result<OwnedFd> {
    rustix::fs::openat(CWD, "/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| Error::file("open", Path::new("/"), errno))
}

/// Refuses to write where the container cannot.
fn require_writable(view: &View, container: &Container, directory: BorrowedFd<'_>) -> Result<()> {
    let state =
        rustix::fs::fstatvfs(directory).map_err(|errno| Error::kernel("look at a directory", errno))?;
    let is_layers = view.is_layers(directory)?;
    if is_layers && container.host_config.readonly_rootfs {
        return Err(Error::new("container rootfs is marked read-only"));
    }
    if state.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Err(Error::new("mounted volume is marked read-only"));
    }
    Ok(())
}
