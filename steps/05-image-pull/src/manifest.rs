//! Manifests: the documents that tie an image together.
//!
//! ```text
//! index  (one entry a platform)  -->  manifest  -->  config  (what to run; the diff IDs)
//!                                              -->  layers  (one blob each, usually compressed)
//! ```
//!
//! Docker (*schema 2*) and OCI write the same shapes under different media types. Everything here works on the **raw
//! bytes**: a digest is of the bytes as served, and JSON written again is other bytes.

use std::collections::BTreeMap;

use overlay_layers::Digest;
use serde::{Deserialize, Serialize};

use crate::platform::Platform;

/// The largest manifest or index accepted, in bytes; the registries' own limit.
pub const MAX_MANIFEST: u64 = 4 << 20;
/// The largest image config accepted, in bytes.
pub const MAX_CONFIG: u64 = 8 << 20;
/// The most layers accepted in one image: overlayfs stacks no more (`OVL_MAX_STACK` in the kernel's `fs/overlayfs`).
pub const MAX_LAYERS: usize = 500;

/// Media type of an OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Media type of an OCI image config.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// Media type of an uncompressed OCI layer; `+gzip` or `+zstd` is appended for compressed ones.
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

/// What a client can use, for the `Accept` header. A registry that holds an image in another form converts or refuses.
pub const ACCEPT: &str = concat!(
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, ",
    "application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json"
);

/// A pointer to content: what kind, which bytes, how many (OCI image spec, "Content Descriptors").
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the content is.
    #[serde(default)]
    pub media_type: String,
    /// The digest of its bytes.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
    /// In an index: what the image runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Free text by key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
}

impl Descriptor {
    /// A descriptor with nothing optional.
    pub fn of(media_type: &str, digest: &Digest, size: u64) -> Self {
        Self { media_type: media_type.to_owned(), digest: *digest, size, platform: None, annotations: None }
    }
}

/// An image of one platform.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageManifest {
    /// Always 2.
    pub schema_version: u32,
    /// May be missing in OCI manifests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The image config.
    pub config: Descriptor,
    /// The layers, lowest first.
    pub layers: Vec<Descriptor>,
    /// Free text by key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
}

/// One image for several platforms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// May be missing in OCI indexes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The images; the first that fits is taken.
    pub manifests: Vec<Descriptor>,
    /// Free text by key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
}

/// What a reference can lead to.
#[derive(Debug, Clone, PartialEq)]
pub enum Manifest {
    /// An image of one platform.
    Image(ImageManifest),
    /// One image for several platforms.
    Index(Index),
}

/// Why a document is not a manifest that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// The form that Docker stopped writing in 2017.
    #[error(
        "the image is in Docker's schema 1, which nothing writes any more; its publisher must push it again with a current tool"
    )]
    Schema1,
    /// It says it is something else.
    #[error("unsupported media type {0}: not an image manifest or index")]
    MediaType(String),
    /// Both an index and a manifest: what one tool checks, another would run (CVE-2021-41190).
    #[error(
        "the manifest has both \"manifests\" and \"layers\" or \"config\", so tools could disagree about its content (CVE-2021-41190)"
    )]
    Ambiguous,
    /// Not JSON of the right shape.
    #[error("the manifest cannot be read: {0}")]
    Json(String),
    /// It is a manifest, but not of a container image: registries also hold charts, policies and the like.
    #[error("this is not a container image: its config is of type {0}")]
    NotAnImage(String),
    /// A layer is in a form that cannot be unpacked.
    #[error("layer {digest} is of type {media_type}, which cannot be unpacked")]
    Layer {
        /// Which layer.
        digest: Digest,
        /// What it claims to be.
        media_type: String,
    },
    /// More layers than the kernel can stack.
    #[error("the image has {0} layers; the kernel stacks at most {MAX_LAYERS}")]
    TooManyLayers(usize),
}

/// Only as much of a document as is needed to tell what it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    schema_version: Option<u32>,
    media_type: Option<String>,
    manifests: Option<serde::de::IgnoredAny>,
    config: Option<serde::de::IgnoredAny>,
    layers: Option<serde::de::IgnoredAny>,
}

impl Manifest {
    /// Reads a manifest or index from its raw bytes.
    ///
    /// `content_type` is the HTTP header, or the descriptor's media type: it counts where the document itself does
    /// not say, which the OCI spec permits.
    pub fn parse(raw: &[u8], content_type: Option<&str>) -> Result<Self, ManifestError> {
        let json = |error: serde_json::Error| ManifestError::Json(error.to_string());
        let shape: Shape = serde_json::from_slice(raw).map_err(json)?;
        let outer = content_type.map(|value| value.split(';').next().unwrap_or(value).trim());
        let claimed = shape.media_type.as_deref().or(outer);
        if shape.schema_version == Some(1)
            || claimed.is_some_and(|claimed| claimed.starts_with(DOCKER_SCHEMA1))
        {
            return Err(ManifestError::Schema1);
        }
        if shape.manifests.is_some() && (shape.layers.is_some() || shape.config.is_some()) {
            return Err(ManifestError::Ambiguous);
        }
        match claimed {
            Some(OCI_INDEX | DOCKER_INDEX) => serde_json::from_slice(raw).map(Self::Index).map_err(json),
            Some(OCI_MANIFEST | DOCKER_MANIFEST) => {
                serde_json::from_slice(raw).map(Self::Image).map_err(json)
            }
            // A server that does not know the types at all, and a document that does not say: go by its shape.
            None | Some("" | "application/json" | "application/octet-stream" | "text/plain")
                if shape.manifests.is_some() =>
            {
                serde_json::from_slice(raw).map(Self::Index).map_err(json)
            }
            None | Some("" | "application/json" | "application/octet-stream" | "text/plain") => {
                serde_json::from_slice(raw).map(Self::Image).map_err(json)
            }
            Some(other) => Err(ManifestError::MediaType(other.to_owned())),
        }
    }
}

impl ImageManifest {
    /// Checks that this is a container image whose every layer can be unpacked.
    pub fn check(&self) -> Result<(), ManifestError> {
        if !matches!(self.config.media_type.as_str(), OCI_CONFIG | DOCKER_CONFIG) {
            return Err(ManifestError::NotAnImage(self.config.media_type.clone()));
        }
        if self.layers.len() > MAX_LAYERS {
            return Err(ManifestError::TooManyLayers(self.layers.len()));
        }
        match self.layers.iter().find(|layer| !is_layer(&layer.media_type)) {
            None => Ok(()),
            Some(layer) => {
                Err(ManifestError::Layer { digest: layer.digest, media_type: layer.media_type.clone() })
            }
        }
    }
}

/// Whether a media type is a tar, plain or in a compression that unpacking knows. Which one is told by the data.
fn is_layer(media_type: &str) -> bool {
    let kinds = [
        "application/vnd.oci.image.layer.v1.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.docker.image.rootfs.diff.tar",
        "application/vnd.docker.image.rootfs.foreign.diff.tar",
    ];
    kinds
        .iter()
        .any(|kind| matches!(media_type.strip_prefix(kind), Some("" | "+gzip" | "+zstd" | ".gzip" | ".zstd")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

    fn image(media_type: &str, config: &str, layer: &str) -> String {
        format!(
            r#"{{"schemaVersion":2{media_type},"config":{{"mediaType":"{config}","digest":"{DIGEST}","size":2}},
            "layers":[{{"mediaType":"{layer}","digest":"{DIGEST}","size":2}}]}}"#
        )
    }

    fn verdict(raw: &str, content_type: Option<&str>) -> String {
        match Manifest::parse(raw.as_bytes(), content_type) {
            Ok(Manifest::Index(index)) => format!("index of {}", index.manifests.len()),
            Ok(Manifest::Image(image)) => match image.check() {
                Ok(()) => format!("image of {}", image.layers.len()),
                Err(error) => error.to_string(),
            },
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_a_document_is() {
        let layer = "application/vnd.oci.image.layer.v1.tar+gzip";
        let typed = |kind: &str| format!(r#","mediaType":"{kind}""#);
        let docker_layer = "application/vnd.docker.image.rootfs.diff.tar.gzip";
        let index = r#"{"schemaVersion":2,"manifests":[]}"#;
        let rows = [
            ("OCI image", verdict(&image(&typed(OCI_MANIFEST), OCI_CONFIG, layer), None)),
            ("OCI image by header", verdict(&image("", OCI_CONFIG, layer), Some(OCI_MANIFEST))),
            ("by shape", verdict(&image("", OCI_CONFIG, layer), Some("application/json; charset=utf-8"))),
            ("Docker image", verdict(&image(&typed(DOCKER_MANIFEST), DOCKER_CONFIG, docker_layer), None)),
            ("zstd layer", verdict(&image("", OCI_CONFIG, &format!("{OCI_LAYER}+zstd")), None)),
            ("index", verdict(index, Some(OCI_INDEX))),
            ("index by shape", verdict(index, None)),
            ("list", verdict(index, Some(DOCKER_INDEX))),
            ("schema 1", verdict(r#"{"schemaVersion":1,"fsLayers":[]}"#, None)),
            (
                "schema 1 by header",
                verdict("{}", Some("application/vnd.docker.distribution.manifest.v1+prettyjws")),
            ),
            ("both", verdict(r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#, Some(OCI_INDEX))),
            ("chart", verdict(&image("", "application/vnd.cncf.helm.config.v1+json", layer), None)),
            ("encrypted layer", verdict(&image("", OCI_CONFIG, &format!("{layer}+encrypted")), None)),
            ("web page", verdict("<html>", Some("text/html"))),
            ("other type", verdict("{}", Some("application/vnd.example+json"))),
            ("empty", verdict("{}", None)),
            ("negative size", verdict(&image("", OCI_CONFIG, layer).replace(":2}", ":-2}"), None)),
            ("sha512", verdict(&image("", OCI_CONFIG, layer).replace("sha256", "sha512"), None)),
        ];
        let table: String = rows.iter().map(|(what, verdict)| format!("{what:<20} {verdict}\n")).collect();
        insta::assert_snapshot!(table);
    }
}
