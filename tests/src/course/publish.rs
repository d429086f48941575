//! Filling the registry.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::catalogue::{Layer, StandIn};
use super::roots;
use crate::registry::{Compression, Registry, compress, descriptor, digest};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

/// A layer that is in the registry.
struct Stored {
    /// Of its tar.
    diff_id: String,
    /// How manifests point to it.
    descriptor: Value,
    /// A repository that has it.
    repository: &'static str,
}

/// Makes all images, each layer once, and pushes them to a registry with its content in `content`.
pub(super) fn all(images: &[StandIn], content: &Path) {
    // In a thread, whose network may become another one.
    std::thread::scope(|scope| {
        let filled = scope.spawn(|| {
            let registry = Registry::fill(content);
            let mut stored = BTreeMap::new();
            for image in images {
                push(&registry, image, &mut stored);
            }
        });
        filled.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

fn push(registry: &Registry, image: &StandIn, stored: &mut BTreeMap<Layer, Stored>) {
    for layer in image.layers {
        let known = stored.entry(*layer).or_insert_with(|| {
            let tar = roots::layer(*layer);
            let blob = registry.push_blob(image.repository, compress(&tar, Compression::Zstd));
            Stored {
                diff_id: digest(&tar),
                descriptor: descriptor(LAYER, &blob),
                repository: image.repository,
            }
        });
        let blob = known.descriptor["digest"].as_str().expect("a digest");
        registry.mount_blob(image.repository, blob, known.repository);
    }
    for tag in image.tags {
        let layers: Vec<&Stored> = image.layers.iter().map(|layer| &stored[layer]).collect();
        let config = config(image, &layers).to_string().into_bytes();
        let config = registry.push_blob(image.repository, config);
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor(CONFIG, &config),
            "layers": layers.iter().map(|layer| &layer.descriptor).collect::<Vec<_>>(),
        });
        registry.push_manifest(image.repository, tag, MANIFEST, manifest.to_string().into_bytes());
    }
}

/// The image's config, the same for each of its tags.
fn config(image: &StandIn, layers: &[&Stored]) -> Value {
    let name = format!("{}:{}", image.repository.trim_start_matches("library/"), image.tags[0]);
    let empty = |names: &[&str]| {
        names.iter().map(|name| ((*name).to_owned(), json!({}))).collect::<serde_json::Map<_, _>>()
    };
    let mut config = json!({
        "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
        "Cmd": image.command,
        "Labels": {
            "org.opencontainers.image.title": format!("a stand-in for {name}"),
            "mini-docker.stand-in": format!("{} stands in for {name}", image.really),
        },
    });
    if !image.ports.is_empty() {
        config["ExposedPorts"] = empty(image.ports).into();
    }
    if let Some(data) = image.data {
        config["Volumes"] = empty(&[data]).into();
        config["WorkingDir"] = data.into();
    }
    let made =
        image.layers.iter().map(|layer| json!({"created": image.created, "created_by": layer.made_by()}));
    let last = json!({"created": image.created, "created_by": format!("CMD {:?}", image.command), "empty_layer": true});
    json!({
        "created": image.created, "os": "linux", "architecture": architecture(), "config": config,
        "rootfs": { "type": "layers", "diff_ids": layers.iter().map(|layer| &layer.diff_id).collect::<Vec<_>>() },
        "history": made.chain([last]).collect::<Vec<_>>(),
    })
}

/// This machine's architecture in Go's words.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
