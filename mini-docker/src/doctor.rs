//! What this host can do, chapter by chapter, found out by trying.

use std::fs;
use std::path::{Path, PathBuf};

use cgroups::Hierarchy;
use networking::{Bridge, Firewall, NetworkRules, Socket, Subnet, nftables};
use overlay_layers::{Marks, Overlay, Upper};
use user_namespace::{Accounts, IdMap, IdMaps, Obstacle, rootless};

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

/// Looks at everything. Nothing is changed: what is tried is gone at once, or with this process, which an ordinary user's
/// looks take into namespaces of its own.
pub fn examine() -> Vec<Check> {
    let newer = "use a kernel of version 5.12 or newer";
    let mut checks = privileges();
    let mut look = |chapter, what, finding| checks.push(Check { chapter, what, finding });
    look("01-chroot", "openat2", Finding::of(openat2(), newer));
    look("01-chroot", "mount API", Finding::of(mount_api(), newer));
    look(
        "02-pid-namespace",
        "namespaces",
        Finding::of(namespaces(), "use a kernel with all CONFIG_*_NS options"),
    );
    look("03-cgroups", "hierarchy", Finding::of(hierarchy(), "mount cgroup2 on /sys/fs/cgroup"));
    look(
        "03-cgroups",
        "controllers",
        Finding::of(controllers(), "enable them in the kernel's configuration or command line"),
    );
    look("04-overlay-layers", "overlayfs", Finding::of(overlay(), "load it: modprobe overlay"));
    let servers = "put a name server into /etc/resolv.conf; registries on this machine work without";
    look("05-image-pull", "names", Finding::of(resolver(), servers));
    let mend = "mend the file, or set DOCKER_CONFIG to another directory";
    look("05-image-pull", "logins", Finding::of(logins(), mend));
    look(
        "07-capabilities",
        "bounding set",
        Finding::of(bounding_set(), "start the engine with more privileges"),
    );
    look("08-seccomp", "filters", Finding::of(filters(), "use a kernel with CONFIG_SECCOMP_FILTER"));
    look("08-seccomp", "other modules", Finding::Works(security_modules()));
    // Last: it takes this process to another network.
    let load = "load the kernel's modules: modprobe -a bridge veth nf_tables nft_ct nft_chain_nat nft_masq nft_fib_ipv4";
    look("06-networking", "bridge", Finding::of(bridge(), load));
    checks.sort_by_key(|check| check.chapter);
    checks
}

/// Whether this user may make containers at all; an ordinary user becomes root of a user namespace for the other looks.
fn privileges() -> Vec<Check> {
    let check = |what, finding| Check { chapter: "09-user-namespace", what, finding };
    if nix::unistd::geteuid().is_root() {
        let ids = Accounts::read().and_then(|accounts| accounts.remapped("default"));
        return vec![check(
            "remapped ids",
            Finding::Works(match ids {
                Ok(maps) => format!("--userns-remap default gives containers the ids {}", maps.uids),
                Err(error) => format!("not set up, which only --userns-remap needs: {error}"),
            }),
        )];
    }
    let obstacles = match user_namespace::examine() {
        Ok(obstacles) => obstacles,
        Err(error) => return vec![check("rootless", Finding::of(Err::<String, _>(error), "run it as root"))],
    };
    let fatal = obstacles.iter().any(|obstacle| obstacle.fatal);
    let mut checks: Vec<Check> = obstacles
        .into_iter()
        .map(|Obstacle { what, found, means, advice, .. }| {
            check(what, Finding::Missing { why: format!("{found}: {means}"), advice })
        })
        .collect();
    if !fatal {
        let entered = rootless::own_maps().and_then(|(maps, _)| rootless::enter(&maps));
        let entered = entered.map(|()| "this user can be root of containers");
        checks.push(check("rootless", Finding::of(entered, "see the lines about user namespaces")));
    }
    checks
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
        marks: if is_host_root()? { Marks::Trusted } else { Marks::User },
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

/// Whether user 0 here is the host's.
fn is_host_root() -> Result<bool> {
    Ok(IdMaps::of_process(Path::new("/proc/self"))?.uids == IdMap::identity())
}

fn bounding_set() -> Result<String> {
    let available = capabilities::assume::available()?;
    let lacking = capabilities::Set::named().without(available);
    Ok(if lacking.is_empty() {
        "every capability".to_owned()
    } else {
        format!("every capability but {lacking}")
    })
}

fn filters() -> Result<String> {
    let path = Path::new("/proc/sys/kernel/seccomp/actions_avail");
    let actions = fs::read_to_string(path).map_err(|error| Error::file("read", path, error))?;
    Ok(format!("filters may {}", actions.trim()))
}

fn security_modules() -> String {
    let word =
        |path: &str, name: &str| format!("{name} is {}", if Path::new(path).exists() { "on" } else { "off" });
    format!(
        "{}, {}",
        word("/sys/kernel/security/apparmor", "AppArmor"),
        word("/sys/fs/selinux/enforce", "SELinux")
    )
}

/// Makes a bridge with the engine's rules in a network namespace of this process's.
fn bridge() -> Result<String> {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)
        .map_err(|errno| Error::kernel("make a network namespace", errno))?;
    let subnet: Subnet = "172.17.0.0/16".parse()?;
    let bridge = Bridge {
        name: "doctor0".to_owned(),
        addresses: vec![subnet.address(subnet.gateway())],
        internal: false,
        mtu: None,
    };
    let rules = NetworkRules { bridge: bridge.name.clone(), subnets: vec![subnet], internal: false };
    Firewall::new("doctor").ensure(&nftables::Socket::open()?, &[rules])?;
    bridge.ensure(&Socket::open()?)?;
    Ok("a bridge, and a firewall with its rules".to_owned())
}
