//! Image configs: what to run, as whom, and which layers it lies in.
//!
//! The digest of a config's raw bytes is the **image ID**. The bytes are therefore kept and served as they came; what
//! is here is a typed view (OCI image spec, "Image Configuration", with the fields that Docker added).

use std::collections::{BTreeMap, BTreeSet};

use overlay_layers::{ChainId, DiffId, Digest, chain};
use serde::{Deserialize, Deserializer, Serialize};

use crate::platform::Platform;

/// An image config that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Not JSON of the right shape.
    #[error("the image config cannot be read: {0}")]
    Json(String),
    /// Layers as something other than a list of diff IDs.
    #[error("the image's rootfs is of type {0:?}; only \"layers\" is known")]
    RootFs(String),
    /// Config and manifest disagree.
    #[error("the image's config lists {diff_ids} layers, its manifest {layers}")]
    LayerCount {
        /// In the config.
        diff_ids: usize,
        /// In the manifest.
        layers: usize,
    },
}

/// An image config.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// When it was made, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// The processor its programs are for, in Go's names.
    #[serde(default)]
    pub architecture: String,
    /// The processor's level; see [`Platform::variant`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// The operating system its programs are for.
    #[serde(default)]
    pub os: String,
    /// How to run it.
    #[serde(default, deserialize_with = "null_as_default")]
    pub config: RunConfig,
    /// What it lies in.
    pub rootfs: RootFs,
    /// How each layer came to be, lowest first; has entries without a layer too.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
}

/// How to run an image. Docker writes `null` for what is empty; here both are the same.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RunConfig {
    /// `USER[:GROUP]`, each a name from the image's `/etc/passwd` and `/etc/group`, or a number. Empty is root.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// `PORT/PROTOCOL` that the program listens on.
    #[serde(with = "go_set", skip_serializing_if = "BTreeSet::is_empty")]
    pub exposed_ports: BTreeSet<String>,
    /// `NAME=VALUE`.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// The program and its first arguments, which a user's arguments follow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// The arguments (or, without an entrypoint, the program too) when the user gives none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// Directories whose data should outlive the container.
    #[serde(with = "go_set", skip_serializing_if = "BTreeSet::is_empty")]
    pub volumes: BTreeSet<String>,
    /// Where the program starts. Empty is `/`.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// Free text by key.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The signal that asks the program to end, by name or number. Without it, SIGTERM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// Seconds between that signal and SIGKILL. Docker's field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<i64>,
    /// How to tell whether the program is well. Docker's field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// What a command in shell form runs in. Docker's field, used by builds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
    /// Instructions for a build on top of this image. Docker's field.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub on_build: Vec<String>,
}

/// A health check. Times are in nanoseconds; 0 means the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    /// `["CMD", program, …]`, `["CMD-SHELL", command]`, `["NONE"]`; empty inherits.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    /// Between two checks.
    pub interval: i64,
    /// Until a check counts as failed.
    pub timeout: i64,
    /// In which failures do not count yet.
    pub start_period: i64,
    /// Between two checks in the start period.
    pub start_interval: i64,
    /// Failures in a row that make it unhealthy.
    pub retries: i64,
}

/// The layers, by the digests of their uncompressed tars.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Lowest first. Docker writes `null` for an image without layers.
    #[serde(default, deserialize_with = "null_as_default")]
    pub diff_ids: Vec<DiffId>,
}

impl Default for RootFs {
    fn default() -> Self {
        Self { kind: "layers".to_owned(), diff_ids: Vec::new() }
    }
}

/// One step in an image's making.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// When, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// By which command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// By whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// With what remark.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Whether it changed only the config and has no layer.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

impl ImageConfig {
    /// Reads a config from its raw bytes. Unknown fields are no error: they stay in the bytes.
    pub fn parse(raw: &[u8]) -> Result<Self, ConfigError> {
        let config: Self =
            serde_json::from_slice(raw).map_err(|error| ConfigError::Json(error.to_string()))?;
        if config.rootfs.kind != "layers" {
            return Err(ConfigError::RootFs(config.rootfs.kind));
        }
        Ok(config)
    }

    /// The image ID of a config with these bytes.
    pub fn id(raw: &[u8]) -> Digest {
        Digest::of(raw)
    }

    /// What the image runs on.
    pub fn platform(&self) -> Platform {
        Platform::new(&self.os, &self.architecture, self.variant.as_deref())
    }

    /// The layers' names in the layer store, lowest first.
    pub fn chain(&self) -> Vec<ChainId> {
        chain(&self.rootfs.diff_ids)
    }
}

/// Go writes `null` for a nil slice or map.
fn null_as_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(json: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(json)?.unwrap_or_default())
}

/// Sets as Go writes them: `{"80/tcp": {}}`, a map to nothing.
mod go_set {
    use std::collections::{BTreeMap, BTreeSet};

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(json: D) -> Result<BTreeSet<String>, D::Error> {
        // The values are read to be forgotten, whatever they are.
        let map: Option<BTreeMap<String, serde_json::Value>> = Option::deserialize(json)?;
        Ok(map.unwrap_or_default().into_keys().collect())
    }

    pub(super) fn serialize<S: Serializer>(set: &BTreeSet<String>, json: S) -> Result<S::Ok, S::Error> {
        json.collect_map(set.iter().map(|key| (key, serde_json::Map::new())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_config_with_nulls_and_extras() {
        let raw = br#"{"architecture":"arm64","variant":"v8","os":"linux","created":"2024-01-02T03:04:05Z",
            "container":"left over","docker_version":"20.10",
            "config":{"Hostname":"","User":"daemon","ExposedPorts":{"80/tcp":{}},"Env":["PATH=/bin"],"Cmd":null,
                "Entrypoint":["/bin/sh","-c"],"Volumes":null,"WorkingDir":"/srv","Labels":null,"OnBuild":null,
                "StopSignal":"SIGQUIT","Healthcheck":{"Test":["CMD","true"],"Interval":5000000000},"Shell":["/bin/bash","-c"]},
            "history":[{"created_by":"ADD x","created":"2024-01-02T03:04:05Z"},{"created_by":"ENV","empty_layer":true}],
            "rootfs":{"type":"layers","diff_ids":["sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"]}}"#;
        let config = ImageConfig::parse(raw).expect("valid");
        insta::assert_debug_snapshot!(config);
        assert_eq!(config.platform().to_string(), "linux/arm64");
        let again = serde_json::to_vec(&config).expect("serializes");
        assert_eq!(ImageConfig::parse(&again), Ok(config), "what is written is read as the same");
    }

    #[test]
    fn refused() {
        let refuse = |raw: &str| ImageConfig::parse(raw.as_bytes()).expect_err(raw).to_string();
        insta::assert_snapshot!(refuse("{}"), @"the image config cannot be read: missing field `rootfs` at line 1 column 2");
        insta::assert_snapshot!(refuse(r#"{"rootfs":{"type":"base"}}"#), @r#"the image's rootfs is of type "base"; only "layers" is known"#);
        assert!(
            refuse(r#"{"rootfs":{"type":"layers","diff_ids":["sha256:../../etc"]}}"#)
                .contains("64 lower-case")
        );
    }
}
