//! The documents that an image is made of. Nothing is to be written here.

use serde::Deserialize;
use sha2::{Digest, Sha256};

/// The kinds of documents that this program reads, for the header `Accept`: manifests and indexes, of OCI and of Docker.
pub const ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json, \
     application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, \
     application/vnd.docker.distribution.manifest.list.v2+json";

/// This machine's processor, by the name that images have for it.
pub const ARCHITECTURE: &str = match std::env::consts::ARCH.as_bytes() {
    b"x86_64" => "amd64",
    b"aarch64" => "arm64",
    _ => std::env::consts::ARCH,
};

/// What an index has an entry for: manifests, each with its platform. What a manifest has an entry for: blobs.
#[derive(Debug, Clone, Deserialize)]
pub struct Descriptor {
    /// `sha256:` and 64 digits.
    pub digest: String,
    /// Bytes.
    pub size: u64,
    pub platform: Option<Platform>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Platform {
    /// Such as `linux`.
    pub os: String,
    /// Such as [`ARCHITECTURE`].
    pub architecture: String,
}

pub enum Document {
    Index(Vec<Descriptor>),
    Manifest(Manifest),
}

#[derive(Deserialize)]
pub struct Manifest {
    pub config: Descriptor,
    pub layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

impl Document {
    /// Reads an index or a manifest. A digest becomes the name of a file: one that is none is refused.
    pub fn read(raw: &[u8]) -> Result<Self, String> {
        let wrong = |error| format!("neither an index nor a manifest: {error}");
        let document = match serde_json::from_slice::<Index>(raw) {
            Ok(index) => Self::Index(index.manifests),
            Err(_) => Self::Manifest(serde_json::from_slice(raw).map_err(wrong)?),
        };
        let all = match &document {
            Self::Index(entries) => entries.iter().collect(),
            Self::Manifest(manifest) => {
                [&manifest.config].into_iter().chain(&manifest.layers).collect::<Vec<_>>()
            }
        };
        let is_digest = |text: &str| {
            let digits = text.strip_prefix("sha256:").unwrap_or_default();
            digits.len() == 64 && digits.chars().all(|digit| digit.is_ascii_hexdigit())
        };
        match all.iter().find(|descriptor| !is_digest(&descriptor.digest)) {
            Some(other) => Err(format!("this is no digest: {}", other.digest)),
            None => Ok(document),
        }
    }
}

/// The digest of these bytes.
pub fn digest_of(bytes: &[u8]) -> String {
    finish(Sha256::new_with_prefix(bytes))
}

/// The digest of what a hash was fed, piece by piece, by `hash.update(piece)`.
pub fn finish(hash: Sha256) -> String {
    let digits: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{digits}")
}
