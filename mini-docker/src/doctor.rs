//! What this host can do, chapter by chapter, found out by trying.

use std::fs;
use std::path::{Path, PathBuf};

use cgroups::Hierarchy;
use overlay_layers::{Overlay, Upper};

use crate::error::{Error, Result};

/// One thing looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The chapter it matters for.
    pub chapter: &'static str,
    /// What.
    pub what: &'static str,
    /// How it is.
    pub finding: Finding,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// It works; in detail.
    Works(String),
    /// It does not, for this reason; and what to do about it.
    Missing {
        /// Why.
        why: String,
        /// What to do.
        advice: String,
    },
}

impl Finding {
    fn of<E: std::fmt::Display>(result: Result<impl Into<String>, E>, advice: &str) -> Self {
        match result {
            Ok(detail) => Self::Works(detail.into()),
            Err(error) => Self::Missing { why: error.to_string(), advice: advice.to_owned() },
        }
    }
}

/// Looks at everything. Nothing is changed: what is tried is gone at once.
pub fn examine() -> Vec<Check> {
    let newer = "use a kernel of version 5.12 or newer";
    let checks: [(&'static str, &'static str, Finding); 9] = [
        ("", "privileges", Finding::of(privileges(), "run it as root")),
        ("01-chroot", "openat2", Finding::of(openat2(), newer)),
        ("01-chroot", "mount API", Finding::of(mount_api(), newer)),
        (
            "02-pid-namespace",
            "namespaces",
            Finding::of(namespaces(), "use a kernel with all CONFIG_*_NS options"),
        ),
        ("03-cgroups", "hierarchy", Finding::of(hierarchy(), "mount cgroup2 on /sys/fs/cgroup")),
        (
            "03-cgroups",
            "controllers",
            Finding::of(controllers(), "enable them in the kernel's configuration or command line"),
        ),
        ("04-overlay-layers", "overlayfs", Finding::of(overlay(), "load it: modprobe overlay")),
        (
            "05-image-pull",
            "names",
            Finding::of(
                resolver(),
                "put a name server into /etc/resolv.conf; registries on this machine work without",
            ),
        ),
        (
            "05-image-pull",
            "logins",
            Finding::of(logins(), "mend the file, or set DOCKER_CONFIG to another directory"),
        ),
    ];
    checks.into_iter().map(|(chapter, what, finding)| Check { chapter, what, finding }).collect()
}

fn privileges() -> Result<String> {
    if nix::unistd::geteuid().is_root() {
        return Ok("root".to_owned());
    }
    Err(Error::new(format!("user {} may not make mounts and namespaces", nix::unistd::geteuid())))
}

fn openat2() -> Result<String> {
    use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
    rustix::fs::openat2(CWD, "/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::IN_ROOT)
        .map(|_| "resolves paths inside a root".to_owned())
        .map_err(|errno| Error::kernel("resolve a path", errno))
}

fn mount_api() -> Result<String> {
    let tree = chroot::mount::Context::open("tmpfs")?.mount(chroot::mount::Attributes::DATA)?;
    chroot::mount::set_attributes(&tree, chroot::mount::Attributes::DATA.read_only(), true)?;
    Ok("fsopen, fsmount and mount_setattr".to_owned())
}

fn namespaces() -> Result<String> {
    let inodes = pid_namespace::namespaces::inodes(Path::new("/proc/self"))?;
    Ok(inodes.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "))
}

fn hierarchy() -> Result<String> {
    Ok(if Hierarchy::detect()?.is_v2() {
        "cgroup v2"
    } else {
        "cgroup v1: limits work, pressure is not told"
    }
    .to_owned())
}

fn controllers() -> Result<String> {
    let hierarchy = Hierarchy::detect()?;
    let (available, lacking): (Vec<&str>, Vec<&str>) =
        ["memory", "cpu", "pids", "cpuset", "blkio", "devices"]
            .into_iter()
            .partition(|name| hierarchy.has(name));
    if lacking.is_empty() {
        return Ok(available.join(", "));
    }
    Err(Error::new(format!("no {}: their limits cannot be set", lacking.join(", no "))))
}

/// Mounts an overlay of three empty directories.
fn overlay() -> Result<String> {
    let scratch = Scratch::make()?;
    let directory = |name: &str| -> Result<PathBuf> {
        let path = scratch.0.join(name);
        fs::create_dir(&path).map_err(|error| Error::file("make", &path, error))?;
        Ok(path)
    };
    let overlay = Overlay {
        lowers: vec![directory("lower")?],
        upper: Some(Upper { upper: directory("upper")?, work: directory("work")? }),
        ..Overlay::default()
    };
    overlay.mount()?;
    Ok("a writable overlay".to_owned())
}

/// A directory that is removed when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn make() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("mini-docker-doctor-{}", std::process::id()));
        fs::create_dir(&path).map_err(|error| Error::file("make", &path, error))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::info!("{} stays behind: {error}", self.0.display());
        }
    }
}

fn resolver() -> Result<String> {
    let path = Path::new("/etc/resolv.conf");
    let text = fs::read_to_string(path).map_err(|error| Error::file("read", path, error))?;
    let servers: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("nameserver")).map(str::trim).collect();
    if servers.is_empty() { Err(Error::new("no name server is set")) } else { Ok(servers.join(", ")) }
}

fn logins() -> Result<String> {
    image_pull::Credentials::of_user()?;
    Ok("the registry logins can be read".to_owned())
}
