//! Everything about one object, in the shape of `docker inspect`.

use image_pull::Image;
use serde_json::{Map, Value, json};

use crate::container::{Container, MountKind, MountPoint, State, Status};
use crate::engine::Engine;
use crate::error::Result;

/// What Go prints for a time that never was.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// A container.
pub fn container(engine: &Engine, container: &Container) -> Result<Value> {
    let state = engine.state(container)?;
    let directory = engine.containers().directory(&container.id);
    let Value::Object(mut object) = value(container) else { unreachable!("a record is an object") };
    // The engine's own, not Docker's.
    object.remove("Layers");
    object.insert("Name".to_owned(), format!("/{}", container.name).into());
    object.insert("State".to_owned(), self::state(&state));
    object.insert("Config".to_owned(), config(container));
    object.insert("Mounts".to_owned(), mounts(container));
    for (key, file) in
        [("ResolvConfPath", "resolv.conf"), ("HostnamePath", "hostname"), ("HostsPath", "hosts")]
    {
        object.insert(key.to_owned(), directory.join(file).display().to_string().into());
    }
    object.insert("LogPath".to_owned(), engine.containers().log(&container.id).display().to_string().into());
    object.insert("RestartCount".to_owned(), 0.into());
    object.insert("Driver".to_owned(), "overlay2".into());
    let lowers: Vec<String> =
        engine.layers(container)?.iter().map(|lower| lower.display().to_string()).collect();
    object.insert(
        "GraphDriver".to_owned(),
        json!({
            "Data": {
                "LowerDir": lowers.join(":"),
                "UpperDir": directory.join("upper").display().to_string(),
                "WorkDir": directory.join("work").display().to_string(),
            },
            "Name": "overlay2",
        }),
    );
    Ok(Value::Object(object))
}

fn value(record: &impl serde::Serialize) -> Value {
    serde_json::to_value(record).expect("the engine's records have text keys only")
}

fn state(state: &State) -> Value {
    let mut object = Map::new();
    let at = |text: &str| if text.is_empty() { NEVER } else { text }.to_owned();
    object.insert("Status".to_owned(), state.status.word().into());
    object.insert("Running".to_owned(), (state.status == Status::Running).into());
    for key in ["Paused", "Restarting"] {
        object.insert(key.to_owned(), false.into());
    }
    object.insert("OOMKilled".to_owned(), state.oom_killed.into());
    object.insert("Dead".to_owned(), false.into());
    object.insert("Pid".to_owned(), state.pid.into());
    object.insert("ExitCode".to_owned(), state.exit_code.into());
    object.insert("Error".to_owned(), state.error.clone().into());
    object.insert("StartedAt".to_owned(), at(&state.started_at).into());
    object.insert("FinishedAt".to_owned(), at(&state.finished_at).into());
    Value::Object(object)
}

/// Docker writes null for a missing list or map of a config.
fn config(container: &Container) -> Value {
    let mut config = value(&container.config);
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
    container.mounts.iter().filter(|mount| !told(mount)).map(value).collect()
}

/// A set as Go writes it.
fn set<'a>(items: impl IntoIterator<Item = &'a String>) -> Value {
    Value::Object(items.into_iter().map(|item| (item.clone(), json!({}))).collect())
}

/// An image.
pub fn image(image: &Image) -> Value {
    let config = &image.config;
    let run = &config.config;
    json!({
        "Id": image.id.to_string(),
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
        },
        "Architecture": config.architecture,
        "Variant": config.variant.clone().unwrap_or_default(),
        "Os": config.os,
        "Size": image.size,
        "RootFS": { "Type": "layers", "Layers": config.rootfs.diff_ids.iter().map(ToString::to_string).collect::<Vec<_>>() },
    })
}
