//! From a container's record to what the kernel will be asked for.
//!
//! Nothing here changes the system: the same record and the same facts about the host give the same [`Launch`]. (One
//! fact is looked up on the way: the numbers of devices that limits name by path.)

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use capabilities::Set;
use cgroups::{Cgroup, Hierarchy};
use chroot::devices::Device;
use chroot::mount::{Attributes, Propagation};
use chroot::plan::Finer;
use chroot::program::DEFAULT_PATH;
use chroot::{Mount, Program, Source};
use overlay_layers::{Marks, Overlay, Upper};
use pid_namespace::Namespaces;
use runtime::hooks::{Hooks, Subject};
use runtime::schedule::Schedule;
use runtime::{Base, Given, Plan, Process, User};
use user_namespace::IdMaps;

use crate::confinement;
use crate::container::{Container, Ids, MountKind, MountPoint};
use crate::error::{Error, Result};
use crate::health::Check;
use crate::host_config::{HostConfig, Restart};
use crate::sharing::{Share, Sharing};
use crate::{delegated, devices, limits, logs, sysctls, ulimits, volumes};

/// What the plan depends on besides the container.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The container's directory.
    pub directory: PathBuf,
    /// The directory of the files that are mounted in its `/etc`: its own, or that of the container whose network it
    /// shares.
    pub etc: PathBuf,
    /// The image's layers, topmost first.
    pub layers: Vec<PathBuf>,
    /// The directory of empty mount points ([`crate::skeleton`]).
    pub skeleton: PathBuf,
    /// A directory that the root is attached to on its way to `/`.
    pub stage: PathBuf,
    /// The host's mounts.
    pub mountinfo: String,
    /// The control groups that containers' are made in; none where an ordinary user was given none.
    pub hierarchy: Option<Hierarchy>,
    /// The capabilities that this process may hand out.
    pub capabilities: Set,
    /// How soon this process is killed when memory runs out.
    pub oom_score_adj: i32,
    /// The ids of the user namespace that the engine is in, if it is an ordinary user's.
    pub own_ids: Option<IdMaps>,
}

/// Everything a shim needs to know to start a container.
#[derive(Debug, Clone, PartialEq)]
pub struct Launch {
    /// The container's ID.
    pub id: String,
    /// Whose namespaces it is in.
    pub sharing: Sharing,
    /// The container, as step 10 starts it.
    pub plan: Plan,
    /// Whether its shim may start it, or something in it, again.
    pub starts_again: bool,
    /// How its output is kept.
    pub log: logs::Settings,
    /// Whether it has a terminal.
    pub tty: bool,
    /// Whether its standard input is open.
    pub open_stdin: bool,
    /// What the user asked for and does not get in full.
    pub warnings: Vec<String>,
}

impl Launch {
    /// Whether it is not to be started by a binary that could be written to: others may look into its processes before
    /// its program starts ([`Plan::is_exposed`]); or its shim may start it again, which nobody would see fail.
    pub fn is_exposed(&self) -> bool {
        self.starts_again || self.plan.is_exposed()
    }

    /// Whether it has a network namespace of its own that belongs to the user namespace which the engine is in.
    pub fn takes_network(&self) -> bool {
        self.plan.namespaces.contains(Namespaces::NET) && self.plan.maps.is_none()
    }
}

/// What a program in a terminal is told about that.
pub const TERM: &str = "TERM=xterm";

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
        marks: if facts.own_ids.is_some() { Marks::User } else { Marks::Trusted },
    };
    let sharing = Sharing::of(host)?;
    let (devices, rules) = devices::of(host)?;
    let mut limits = limits::from_host_config(host)?;
    limits.devices.extend(rules);
    let rootless = facts.own_ids.is_some();
    let maps = container.ids.as_ref().map(Ids::maps).transpose()?;
    // In a user namespace nobody may raise what belongs to the host.
    let may_raise = maps.is_none() && !rootless && facts.capabilities.contains(Set::of("CAP_SYS_RESOURCE")?);
    let (ulimits, mut warnings) = ulimits::settle(&host.ulimits, may_raise, ulimits::present);
    if host.network_mode == "host" && (!host.port_bindings.is_empty() || host.publish_all_ports) {
        warnings.push("Published ports are discarded when using host network mode".to_owned());
    }
    let mut oom_score_adj = Some(host.oom_score_adj).filter(|&score| score != 0);
    if rootless {
        // What is written to a container's files in /proc belongs to the host's root.
        if oom_score_adj.take().is_some() {
            warnings.push("The OOM score is not set: that takes root".to_owned());
        }
        warnings.extend(delegated::reduce(&mut limits, facts.hierarchy.as_ref()));
    }
    if host.oom_score_adj < facts.oom_score_adj && oom_score_adj.is_some() && !may_raise {
        warnings.push(format!(
            "The OOM score cannot be lowered to {}, and is {}: EACCES (the engine lacks CAP_SYS_RESOURCE itself)",
            host.oom_score_adj, facts.oom_score_adj
        ));
        oom_score_adj = None;
    }
    let (confinement, system_paths_shown) = confinement::from_host_config(host, facts.capabilities)?;
    let own_names = sharing.uts == Share::Own;
    let mut root = root(
        container,
        facts,
        devices,
        &sharing,
        system_paths_shown,
        maps.as_ref().or(facts.own_ids.as_ref()),
    )?;
    let given = give(&mut root);
    let plan = Plan {
        namespaces: sharing.own() | sharing.own_cgroup(),
        joined: Vec::new(),
        clocks: None,
        hostname: own_names.then(|| config.hostname.clone()),
        domainname: Some(config.domainname.clone()).filter(|name| own_names && !name.is_empty()),
        base: Base::Overlay(overlay),
        stage: facts.stage.clone(),
        root,
        limits,
        writes: Vec::new(),
        given,
        sysctls: sysctls::plan(
            host,
            sharing.network == Share::Own,
            sharing.ipc == Share::Own,
            rootless || maps.is_some(),
        )?,
        own_keyring: true,
        process: Process {
            program: Program { args: container.command(), env: environment(container) },
            user: User::Named { user: config.user.clone(), groups: host.group_add.clone() },
            working_dir: PathBuf::from(if config.working_dir.is_empty() { "/" } else { &config.working_dir }),
            umask: None,
            rlimits: ulimits::rlimits(&ulimits),
            oom_score_adj,
            schedule: Schedule::default(),
            confinement,
            descriptors: 0,
        },
        in_user_namespace: rootless || maps.is_some(),
        maps,
        cgroup: facts.hierarchy.as_ref().map(|hierarchy| cgroup(container, hierarchy)).transpose()?,
        init: host.init,
        dies_with_parent: true,
        hooks: Hooks::default(),
        subject: Subject {
            id: container.id.clone(),
            bundle: facts.directory.clone(),
            annotations: BTreeMap::new(),
        },
    };
    Ok(Launch {
        id: container.id.clone(),
        sharing,
        plan,
        starts_again: host.restart_policy.name != Restart::No || Check::of(config).is_some(),
        log: logs::Settings::of(container)?,
        tty: config.tty,
        open_stdin: config.open_stdin,
        warnings,
    })
}

/// The standard mounts, then the files that the engine writes and the user's mounts, outer ones first. One of the user's
/// replaces ours at the same place, and the kernel's file systems below it too.
fn root(
    container: &Container,
    facts: &Facts,
    devices: Vec<Device>,
    sharing: &Sharing,
    system_paths_shown: bool,
    maps: Option<&IdMaps>,
) -> Result<chroot::Plan> {
    let host = &container.host_config;
    let mut plan = chroot::Plan::container(&facts.mountinfo);
    plan.readonly = host.readonly_rootfs;
    if system_paths_shown {
        plan.unmask();
    }
    if host.privileged {
        plan.unlock_sys();
    }
    plan.devices.retain(|standard| devices.iter().all(|device| device.path != standard.path));
    plan.devices.extend(devices);
    share_memory(&mut plan, host, sharing);

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
            let attributes = Attributes { readonly: host.readonly_rootfs, ..Attributes::default() };
            inner.push(chroot::plan::bind(facts.etc.join(name), target, attributes));
        }
    }
    inner.sort_by_key(|mount| mount.target.components().count());
    plan.mounts.extend(inner);
    if let Some(maps) = maps {
        // What belongs to another of a user's containers is in the same user namespace, and its file systems may be
        // mounted too: bound from the host, /proc would show the host's processes.
        let joined = sharing.joined().iter().fold(Namespaces::NONE, |set, (kind, _)| set | *kind);
        user_namespace::root::adapt(&mut plan, maps, sharing.own() | joined | sharing.own_cgroup());
    }
    if facts.own_ids.is_some() {
        user_namespace::root::host_devices(&mut plan);
    }
    Ok(plan)
}

/// Where the parts of shared memory that are files come from.
fn share_memory(plan: &mut chroot::Plan, host: &HostConfig, sharing: &Sharing) {
    const SHM: &str = "/dev/shm";
    // Message queues need no care: their file system shows those of the namespace that it is mounted in.
    if sharing.ipc == Share::Host {
        for mount in plan.mounts.iter_mut().filter(|mount| mount.target == Path::new(SHM)) {
            *mount = Mount { follow: false, ..chroot::plan::bind(SHM, SHM, Attributes::DATA) };
        }
    } else if host.ipc_mode == "none" || matches!(sharing.ipc, Share::Container(_)) {
        // Another container's is attached by the child, since it has no path on the host.
        plan.mounts.retain(|mount| mount.target != Path::new(SHM));
    } else if host.shm_size > 0 {
        let size = format!("size={}", host.shm_size);
        for mount in plan.mounts.iter_mut().filter(|mount| mount.target == Path::new(SHM)) {
            *mount = chroot::plan::filesystem(SHM, "tmpfs", &["mode=1777", &size], Attributes::DATA);
        }
    }
}

/// Has the file systems made outside that are made of something: a disk, say, which the container may not open.
fn give(root: &mut chroot::Plan) -> Vec<Given> {
    let mut given = Vec::new();
    for mount in &mut root.mounts {
        if matches!(&mount.source, Source::Filesystem { fstype, device: Some(_), .. } if fstype != "tmpfs") {
            given.push(Given::Filesystem(mount.clone()));
            mount.finer.given = Some(given.len() - 1);
        }
    }
    given
}

fn user_mount(mount: &MountPoint) -> Result<Mount> {
    let readonly = !mount.rw;
    let finer = Finer { part: mount.subpath.clone(), ..Finer::default() };
    let (source, attributes, finer) = match mount.kind {
        MountKind::Volume if !mount.driver_options.is_empty() => {
            let own = volumes::mount(&mount.driver_options, &mount.destination)?;
            let attributes = Attributes { readonly: readonly || own.attributes.readonly, ..own.attributes };
            (own.source, attributes, Finer { part: finer.part, ..own.finer })
        }
        MountKind::Bind | MountKind::Volume => (
            Source::Bind { from: mount.source.clone(), recursive: true },
            Attributes { readonly, ..Attributes::default() },
            finer,
        ),
        MountKind::Tmpfs => {
            let (source, attributes) = tmpfs(&mount.options, readonly);
            (source, attributes, finer)
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
    Ok(Mount { target: mount.destination.clone(), source, attributes, propagation, follow: true, finer })
}

/// A tmpfs with options as mount(8) takes them: flags of the mount, and settings of the file system.
fn tmpfs(options: &[String], readonly: bool) -> (Source, Attributes) {
    let mut attributes = Attributes { readonly, ..Attributes::DATA };
    let mut settings = Vec::new();
    for option in options {
        match option.as_str() {
            "exec" => attributes.noexec = false,
            "noexec" => attributes.noexec = true,
            "suid" => attributes.nosuid = false,
            "nosuid" => attributes.nosuid = true,
            "dev" => attributes.nodev = false,
            "nodev" => attributes.nodev = true,
            other => settings.push(match other.split_once('=') {
                Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                None => (other.to_owned(), None),
            }),
        }
    }
    (Source::Filesystem { fstype: "tmpfs".into(), device: None, options: settings }, attributes)
}

/// The program's environment: what Docker always sets, then the image's and the user's, later ones winning.
fn environment(container: &Container) -> Vec<String> {
    let mut environment =
        vec![format!("PATH={DEFAULT_PATH}"), format!("HOSTNAME={}", container.config.hostname)];
    if container.config.tty {
        environment.push(TERM.to_owned());
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
