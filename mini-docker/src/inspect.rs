//! Everything about one object, in the shape of `docker inspect`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use image_pull::Image;
use serde_json::{Map, Value, json};

use crate::confinement;
use crate::container::{Container, MountKind, MountPoint, State, Status};
use crate::engine::Engine;
use crate::error::Result;
use crate::networks::Network;
use crate::networks::membership::{Connection, Connections, Membership, PublishedPort};
use crate::volumes::{DRIVER, Volume};

/// How layers are stacked, in Docker's words.
const DRIVER_OF_LAYERS: &str = "overlay2";
/// Bytes of a container's `/dev/shm`, unless it is to have others (`chroot::plan`).
const SHM_SIZE: i64 = 64 << 20;
/// What starts containers: step 10.
const RUNTIME: &str = "runtime";
/// What Go prints for a time that never was.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// A container.
pub fn container(engine: &Engine, container: &Container) -> Result<Value> {
    let state = engine.state(container)?;
    let directory = engine.containers().directory(&container.id);
    let Value::Object(mut object) = value(container) else { unreachable!("a record is an object") };
    // The engine's own, not Docker's.
    object.remove("Layers");
    object.remove("Networks");
    object.insert("NetworkSettings".to_owned(), network_settings(engine, container)?);
    object.insert("Name".to_owned(), format!("/{}", container.name).into());
    object.insert("State".to_owned(), self::state(&state));
    object.insert("Config".to_owned(), config(container));
    object.insert("Mounts".to_owned(), mounts(container));
    for (key, file) in
        [("ResolvConfPath", "resolv.conf"), ("HostnamePath", "hostname"), ("HostsPath", "hosts")]
    {
        object.insert(key.to_owned(), directory.join(file).display().to_string().into());
    }
    let log = engine.containers().log(&container.id);
    let is_kept = container.host_config.log_config.driver != "none";
    object
        .insert("LogPath".to_owned(), if is_kept { log.display().to_string() } else { String::new() }.into());
    object.insert("RestartCount".to_owned(), state.restart_count.into());
    object.insert("Driver".to_owned(), DRIVER_OF_LAYERS.into());
    let (profile, label) = confinement::names(&container.host_config)?;
    object.insert("AppArmorProfile".to_owned(), profile.into());
    object.insert("ProcessLabel".to_owned(), label.into());
    object.insert("MountLabel".to_owned(), "".into());
    object.insert("ExecIDs".to_owned(), Value::Null);
    object.insert("HostConfig".to_owned(), host_config(container));
    let mut data = json!({
        "LowerDir": joined(&engine.layers(container)?),
        "UpperDir": directory.join("upper").display().to_string(),
        "WorkDir": directory.join("work").display().to_string(),
    });
    // No path of the host's leads to it but this one.
    if state.status.is_alive() {
        data["MergedDir"] = format!("/proc/{}/root", state.pid).into();
    }
    object.insert("GraphDriver".to_owned(), json!({ "Data": data, "Name": DRIVER_OF_LAYERS }));
    Ok(Value::Object(object))
}

/// Directories as overlayfs takes them.
fn joined(directories: &[PathBuf]) -> String {
    directories.iter().map(|directory| directory.display().to_string()).collect::<Vec<_>>().join(":")
}

/// The host's settings, with those of Docker's that can be only one thing here.
fn host_config(container: &Container) -> Value {
    let host = &container.host_config;
    let mut shown = value(host);
    let options = host.security_opt.iter().map(String::as_str);
    let whole = host.privileged || options.into_iter().any(|option| option == "systempaths=unconfined");
    for (key, paths) in
        [("MaskedPaths", chroot::plan::MASKED_PATHS), ("ReadonlyPaths", chroot::plan::READONLY_PATHS)]
    {
        shown[key] = if whole { Value::Null } else { json!(paths) };
    }
    for key in ["ContainerIDFile", "VolumeDriver", "Isolation", "Cgroup"] {
        shown[key] = "".into();
    }
    for key in ["Links", "DeviceRequests", "BlkioWeightDevice", "MemorySwappiness"] {
        shown[key] = Value::Null;
    }
    // What is left open has a value all the same, or none.
    if host.memory > 0 && host.memory_swap == 0 {
        shown["MemorySwap"] = host.memory.saturating_mul(2).into();
    }
    if host.shm_size == 0 {
        shown["ShmSize"] = SHM_SIZE.into();
    }
    if host.pids_limit == 0 {
        shown["PidsLimit"] = Value::Null;
    }
    shown["OomKillDisable"] = false.into();
    shown["Runtime"] = RUNTIME.into();
    shown
}

/// What it has of networks: nothing, while it does not run, but the names of those that it will be in.
fn network_settings(engine: &Engine, container: &Container) -> Result<Value> {
    let directory = engine.containers().exec_directory(&container.id);
    let Connections { networks, ports } = Connections::read(&directory)?;
    let mut bound: BTreeMap<String, Vec<Value>> =
        container.config.exposed_ports.iter().map(|port| (port.clone(), Vec::new())).collect();
    for PublishedPort { protocol, host, target, .. } in &ports {
        let binding = json!({ "HostIp": host.ip().to_string(), "HostPort": host.port().to_string() });
        bound.entry(format!("{}/{protocol}", target.port())).or_default().push(binding);
    }
    let bound: Map<String, Value> = bound
        .into_iter()
        // Docker writes null for a port that is only exposed, and none at all for a container that does not run.
        .filter(|_| !networks.is_empty())
        .map(|(port, places)| (port, if places.is_empty() { Value::Null } else { places.into() }))
        .collect();
    let mut settings = Map::new();
    settings.insert("Bridge".to_owned(), "".into());
    settings.insert("Ports".to_owned(), bound.into());
    let each: Map<String, Value> = container
        .networks
        .iter()
        .map(|(name, membership)| (name.clone(), endpoint(membership, networks.get(name))))
        .collect();
    // The older keys repeat those of the default network.
    let first = each.get("bridge").cloned().unwrap_or_else(|| endpoint(&Membership::default(), None));
    for key in [
        "EndpointID",
        "Gateway",
        "GlobalIPv6Address",
        "GlobalIPv6PrefixLen",
        "IPAddress",
        "IPPrefixLen",
        "IPv6Gateway",
        "MacAddress",
    ] {
        settings.insert(key.to_owned(), first[key].clone());
    }
    for key in ["SecondaryIPAddresses", "SecondaryIPv6Addresses"] {
        settings.insert(key.to_owned(), Value::Null);
    }
    settings.insert("HairpinMode".to_owned(), false.into());
    settings.insert("LinkLocalIPv6Address".to_owned(), "".into());
    settings.insert("LinkLocalIPv6PrefixLen".to_owned(), 0.into());
    settings.insert("Networks".to_owned(), each.into());
    Ok(settings.into())
}

/// What a container has of one network.
fn endpoint(membership: &Membership, connection: Option<&Connection>) -> Value {
    let address = |v4: bool| {
        let mut addresses = connection.iter().flat_map(|connection| &connection.addresses);
        addresses
            .find(|(ip, _)| ip.is_ipv4() == v4)
            .map(|(ip, prefix)| (ip.to_string(), *prefix))
            .unwrap_or_default()
    };
    let gateway = |v4: bool| {
        let mut gateways = connection.iter().flat_map(|connection| &connection.gateways);
        gateways.find(|ip| ip.is_ipv4() == v4).map(ToString::to_string).unwrap_or_default()
    };
    let wanted =
        |v4: bool| membership.addresses.iter().find(|ip| ip.is_ipv4() == v4).map(ToString::to_string);
    let mut ipam = Map::new();
    for (key, v4) in [("IPv4Address", true), ("IPv6Address", false)] {
        ipam.extend(wanted(v4).map(|address| (key.to_owned(), address.into())));
    }
    let list = |names: &[String]| if names.is_empty() { Value::Null } else { names.into() };
    let names = connection.map(|connection| connection.names.as_slice()).unwrap_or_default();
    json!({
        "IPAMConfig": if ipam.is_empty() { Value::Null } else { ipam.into() },
        "Links": null,
        "Aliases": list(&membership.aliases),
        "MacAddress": connection.map(|connection| connection.mac_address.clone()).unwrap_or_default(),
        "DriverOpts": null,
        "NetworkID": connection.map(|connection| connection.network_id.clone()).unwrap_or_default(),
        "EndpointID": connection.map(|connection| connection.endpoint_id.clone()).unwrap_or_default(),
        "Gateway": gateway(true),
        "IPAddress": address(true).0,
        "IPPrefixLen": address(true).1,
        "IPv6Gateway": gateway(false),
        "GlobalIPv6Address": address(false).0,
        "GlobalIPv6PrefixLen": address(false).1,
        "DNSNames": list(names),
    })
}

/// A network, with the containers that run in it.
pub fn network(engine: &Engine, network: &Network) -> Result<Value> {
    let mut containers = Map::new();
    for container in engine.containers().list()? {
        let connections = Connections::read(&engine.containers().exec_directory(&container.id))?;
        let Some(connection) = connections.networks.get(&network.name) else { continue };
        let address = |v4: bool| {
            let found = connection.addresses.iter().find(|(ip, _)| ip.is_ipv4() == v4);
            found.map(|(ip, prefix)| format!("{ip}/{prefix}")).unwrap_or_default()
        };
        containers.insert(
            container.id.clone(),
            json!({
                "Name": container.name,
                "EndpointID": connection.endpoint_id,
                "MacAddress": connection.mac_address,
                "IPv4Address": address(true),
                "IPv6Address": address(false),
            }),
        );
    }
    let mut object = value(network);
    let pools = network.ipam.config.iter();
    object["IPAM"]["Options"] = json!({});
    object["IPAM"]["Config"] = pools
        .map(|pool| json!({ "Subnet": pool.subnet.to_string(), "Gateway": pool.gateway.to_string() }))
        .collect();
    object["EnableIPv4"] = true.into();
    object["Attachable"] = false.into();
    object["Ingress"] = false.into();
    object["ConfigFrom"] = json!({ "Network": "" });
    object["ConfigOnly"] = false.into();
    object["Containers"] = containers.into();
    Ok(object)
}

/// A volume.
pub fn volume(volume: &Volume) -> Value {
    let mut object = value(volume);
    for (key, is_empty) in [("Labels", volume.labels.is_empty()), ("Options", volume.options.is_empty())] {
        if is_empty {
            object[key] = Value::Null;
        }
    }
    object
}

fn value(record: &impl serde::Serialize) -> Value {
    serde_json::to_value(record).expect("the engine's records have text keys only")
}

fn state(state: &State) -> Value {
    let mut object = Map::new();
    let at = |text: &str| if text.is_empty() { NEVER } else { text }.to_owned();
    object.insert("Status".to_owned(), state.status.word().into());
    object.insert("Running".to_owned(), state.status.is_alive().into());
    for (key, status) in [("Paused", Status::Paused), ("Restarting", Status::Restarting)] {
        object.insert(key.to_owned(), (state.status == status).into());
    }
    object.insert("OOMKilled".to_owned(), state.oom_killed.into());
    object.insert("Dead".to_owned(), false.into());
    object.insert("Pid".to_owned(), state.pid.into());
    object.insert("ExitCode".to_owned(), state.exit_code.into());
    object.insert("Error".to_owned(), state.error.clone().into());
    object.insert("StartedAt".to_owned(), at(&state.started_at).into());
    object.insert("FinishedAt".to_owned(), at(&state.finished_at).into());
    if let Some(health) = &state.health {
        object.insert("Health".to_owned(), value(health));
    }
    Value::Object(object)
}

/// Docker writes null for a missing list or map of a config.
fn config(container: &Container) -> Value {
    let mut config = value(&container.config);
    config["OnBuild"] = Value::Null;
    config["ExposedPorts"] = if container.config.exposed_ports.is_empty() {
        Value::Null
    } else {
        set(&container.config.exposed_ports)
    };
    if container.config.volumes.is_empty() {
        config["Volumes"] = Value::Null;
    } else {
        config["Volumes"] = set(&container.config.volumes);
    }
    config
}

/// A `--tmpfs` is told with the host's settings, and not here.
fn mounts(container: &Container) -> Value {
    let told = |mount: &&MountPoint| {
        let target = mount.destination.to_string_lossy();
        mount.kind == MountKind::Tmpfs && container.host_config.tmpfs.contains_key(target.as_ref())
    };
    let shown = |mount: &MountPoint| {
        let mut shown = value(mount);
        if mount.kind == MountKind::Volume {
            shown["Driver"] = DRIVER.into();
        }
        shown
    };
    container.mounts.iter().filter(|mount| !told(mount)).map(shown).collect()
}

/// A set as Go writes it.
fn set<'a>(items: impl IntoIterator<Item = &'a String>) -> Value {
    Value::Object(items.into_iter().map(|item| (item.clone(), json!({}))).collect())
}

/// An image.
pub fn image(engine: &Engine, image: &Image) -> Result<Value> {
    let config = &image.config;
    let run = &config.config;
    let layers = match image.chain.last() {
        Some(top) => engine.images().layers().lowers(top)?,
        None => Vec::new(),
    };
    let mut data = Map::new();
    if let Some((top, below)) = layers.split_first() {
        data.insert("UpperDir".to_owned(), top.display().to_string().into());
        if !below.is_empty() {
            data.insert("LowerDir".to_owned(), joined(below).into());
        }
    }
    Ok(json!({
        "Id": image.id.to_string(),
        "Parent": "",
        "RepoTags": image.names.iter().map(image_pull::Reference::familiar).collect::<Vec<_>>(),
        "RepoDigests": image.sources.iter().map(image_pull::Reference::familiar).collect::<Vec<_>>(),
        "Comment": config.history.last().and_then(|step| step.comment.clone()).unwrap_or_default(),
        "Created": config.created.clone().unwrap_or_else(|| NEVER.to_owned()),
        "Author": config.author.clone().unwrap_or_default(),
        "Config": {
            "User": run.user,
            "ExposedPorts": set(&run.exposed_ports),
            "Env": run.env,
            "Cmd": run.cmd,
            "Volumes": set(&run.volumes),
            "WorkingDir": run.working_dir,
            "Entrypoint": run.entrypoint,
            "Labels": run.labels,
            "StopSignal": run.stop_signal,
            "OnBuild": null,
        },
        "DockerVersion": "",
        "GraphDriver": { "Data": data, "Name": DRIVER_OF_LAYERS },
        "Metadata": { "LastTagTime": NEVER },
        "Architecture": config.architecture,
        "Variant": config.variant.clone().unwrap_or_default(),
        "Os": config.os,
        "Size": image.size,
        "RootFS": { "Type": "layers", "Layers": config.rootfs.diff_ids.iter().map(ToString::to_string).collect::<Vec<_>>() },
    }))
}
