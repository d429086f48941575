//! From a container's record to what the kernel will be asked for.
//!
//! Nothing here changes the system: the same record and the same facts about the host give the same [`Launch`]. (One
//! fact is looked up on the way: the numbers of devices that limits name by path.)

use std::path::{Path, PathBuf};

use cgroups::{Cgroup, Hierarchy, Limits};
use chroot::mount::{Attributes, Propagation};
use chroot::program::DEFAULT_PATH;
use chroot::{Mount, Plan, Program, Source};
use overlay_layers::{Overlay, Upper};
use pid_namespace::Namespaces;

use crate::container::{Container, MountKind, MountPoint};
use crate::error::{Error, Result};
use crate::limits;

/// What the plan depends on besides the container.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The container's directory.
    pub directory: PathBuf,
    /// The image's layers, topmost first.
    pub layers: Vec<PathBuf>,
    /// The directory of empty mount points ([`crate::skeleton`]).
    pub skeleton: PathBuf,
    /// A directory that the root is attached to on its way to `/`.
    pub stage: PathBuf,
    /// The host's mounts.
    pub mountinfo: String,
    /// The host's control groups.
    pub hierarchy: Hierarchy,
}

/// Everything a shim needs to know to start a container.
#[derive(Debug, Clone, PartialEq)]
pub struct Launch {
    /// The container's ID.
    pub id: String,
    /// The namespaces that `clone3` makes. The cgroup namespace is not among them: its root is the cgroup of the
    /// process that makes it, so the child makes it, inside its cgroup.
    pub namespaces: Namespaces,
    /// The hostname.
    pub hostname: String,
    /// The NIS domain name, if there is one.
    pub domainname: String,
    /// The image's layers and the writable one.
    pub overlay: Overlay,
    /// A directory that the root is attached to on its way to `/`.
    pub stage: PathBuf,
    /// What the root is furnished with.
    pub root: Plan,
    /// What it may use.
    pub limits: Limits,
    /// Its cgroup, which is not there yet.
    pub cgroup: Cgroup,
    /// What runs. `HOME` is added when the user is known.
    pub program: Program,
    /// Whether an init process runs it.
    pub init: bool,
    /// Who runs it: `USER[:GROUP]`, looked up in the image.
    pub user: String,
    /// Where it starts.
    pub working_dir: PathBuf,
    /// Whether it has a terminal.
    pub tty: bool,
    /// Whether its standard input is open.
    pub open_stdin: bool,
}

/// The cgroup below which containers are kept unless told otherwise.
const CGROUP_PARENT: &str = "mini-docker";

/// Where `container`'s cgroup is, or will be.
pub fn cgroup(container: &Container, hierarchy: &Hierarchy) -> Result<Cgroup> {
    let parent = match container.host_config.cgroup_parent.as_str() {
        "" => CGROUP_PARENT,
        parent => parent,
    };
    Ok(Cgroup::at(hierarchy, parent, &container.id)?)
}

/// Decides how `container` is started.
pub fn launch(container: &Container, facts: &Facts) -> Result<Launch> {
    let config = &container.config;
    let host = &container.host_config;
    // The volatile option saves the sync of the whole disk that unmounting an overlay makes; a layer that is
    // about to be removed needs none.
    let overlay = Overlay {
        lowers: facts.layers.iter().chain([&facts.skeleton]).cloned().collect(),
        upper: Some(Upper { upper: facts.directory.join("upper"), work: facts.directory.join("work") }),
        volatile: host.auto_remove,
        ..Overlay::default()
    };
    let mut namespaces = Namespaces::MOUNT | Namespaces::UTS | Namespaces::IPC | Namespaces::PID;
    match host.network_mode.as_str() {
        "none" => namespaces = namespaces | Namespaces::NET,
        "host" => {}
        other => return Err(Error::new(format!("network {other} not found (there are none and host)"))),
    }
    Ok(Launch {
        id: container.id.clone(),
        namespaces,
        hostname: config.hostname.clone(),
        domainname: config.domainname.clone(),
        overlay,
        stage: facts.stage.clone(),
        root: root(container, facts)?,
        limits: limits::from_host_config(host)?,
        cgroup: cgroup(container, &facts.hierarchy)?,
        program: Program { args: container.command(), env: environment(container) },
        init: host.init,
        user: config.user.clone(),
        working_dir: PathBuf::from(if config.working_dir.is_empty() { "/" } else { &config.working_dir }),
        tty: config.tty,
        open_stdin: config.open_stdin,
    })
}

/// The standard mounts, then the files that the engine writes and the user's mounts, outer ones first. One of the user's
/// replaces ours at the same place, and the kernel's file systems below it too.
fn root(container: &Container, facts: &Facts) -> Result<Plan> {
    let mut plan = Plan::container(&facts.mountinfo);
    plan.readonly = container.host_config.readonly_rootfs;

    let wanted = &container.mounts;
    // Not /proc, though: a mount on top of it would undo the masking, and step 1 refuses it.
    plan.mounts.retain(|mount| {
        mount.target == Path::new("/proc")
            || wanted.iter().all(|wanted| !mount.target.starts_with(&wanted.destination))
    });
    if wanted.iter().any(|wanted| wanted.destination == Path::new("/dev")) {
        plan.devices.clear();
    }

    let mut inner = wanted.iter().map(user_mount).collect::<Result<Vec<_>>>()?;
    for name in ["hostname", "hosts", "resolv.conf"] {
        let target = Path::new("/etc").join(name);
        if wanted.iter().all(|wanted| wanted.destination != target) {
            inner.push(chroot::plan::bind(facts.directory.join(name), target, Attributes::default()));
        }
    }
    inner.sort_by_key(|mount| mount.target.components().count());
    plan.mounts.extend(inner);
    Ok(plan)
}

fn user_mount(mount: &MountPoint) -> Result<Mount> {
    let readonly = !mount.rw;
    let (source, attributes) = match mount.kind {
        MountKind::Bind | MountKind::Volume => (
            Source::Bind { from: mount.source.clone(), recursive: true },
            Attributes { readonly, ..Attributes::default() },
        ),
        MountKind::Tmpfs => {
            let options = mount.options.iter().map(|option| match option.split_once('=') {
                Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                None => (option.clone(), None),
            });
            let attributes = Attributes { readonly, ..Attributes::DATA };
            (Source::Filesystem { fstype: "tmpfs", options: options.collect() }, attributes)
        }
    };
    let propagation = match mount.propagation.as_str() {
        "" | "private" | "rprivate" => Propagation::Private,
        "slave" | "rslave" => Propagation::Slave,
        "shared" | "rshared" => Propagation::Shared,
        other => {
            let target = mount.destination.display();
            return Err(Error::new(format!("invalid propagation mode {other} for {target}")));
        }
    };
    Ok(Mount { target: mount.destination.clone(), source, attributes, propagation, follow: true })
}

/// The program's environment: what Docker always sets, then the image's and the user's, later ones winning.
fn environment(container: &Container) -> Vec<String> {
    let mut environment =
        vec![format!("PATH={DEFAULT_PATH}"), format!("HOSTNAME={}", container.config.hostname)];
    if container.config.tty {
        environment.push("TERM=xterm".to_owned());
    }
    merge_environment(&mut environment, &container.config.env);
    environment
}

/// Adds `additions` to `environment`; a variable that is there already is replaced in its place.
pub fn merge_environment(environment: &mut Vec<String>, additions: &[String]) {
    let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    for addition in additions {
        match environment.iter_mut().find(|entry| name(entry) == name(addition)) {
            Some(entry) => addition.clone_into(entry),
            None => environment.push(addition.clone()),
        }
    }
}
