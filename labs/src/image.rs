//! An image for registries to serve. Its layers are noise: nobody runs it.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// How documents are called in the header `Content-Type`.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Of an index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// An image.
#[derive(Debug, Clone)]
pub struct Image {
    /// Names the blobs.
    pub manifest: Vec<u8>,
    /// The configuration, and the layers.
    pub blobs: Vec<Vec<u8>>,
}

impl Image {
    /// An image for `architecture` of `os`, with two layers.
    pub fn new(os: &str, architecture: &str) -> Self {
        let config = json!({ "os": os, "architecture": architecture, "rootfs": { "type": "layers" } });
        let layer = |length, name: &str| noise(length, &format!("{os} {architecture} {name}"));
        let blobs = vec![config.to_string().into_bytes(), layer(1000, "lower"), layer(300_000, "upper")];
        Self { manifest: manifest(&blobs, 0), blobs }
    }

    /// The same, but the manifest promises this many bytes more of the uppermost layer than there are.
    pub fn promising_more(self, bytes: usize) -> Self {
        Self { manifest: manifest(&self.blobs, bytes), ..self }
    }

    /// The uppermost layer.
    pub fn upper(&self) -> &[u8] {
        self.blobs.last().map_or(&[], Vec::as_slice)
    }

    /// The digests of all that belongs to it.
    pub fn digests(&self) -> Vec<String> {
        [&self.manifest].into_iter().chain(&self.blobs).map(|bytes| digest(bytes)).collect()
    }
}

fn manifest(blobs: &[Vec<u8>], more: usize) -> Vec<u8> {
    let kind = |name: &str| format!("application/vnd.oci.image.{name}");
    let mut layers: Vec<Value> =
        blobs.iter().skip(1).map(|layer| descriptor(&kind("layer.v1.tar+gzip"), layer)).collect();
    if let (Some(upper), Some(layer)) = (layers.last_mut(), blobs.last()) {
        upper["size"] = (layer.len() + more).into();
    }
    let config = descriptor(&kind("config.v1+json"), blobs.first().map_or(&[], Vec::as_slice));
    json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers })
        .to_string()
        .into_bytes()
}

/// An index of images, each with its system and processor, behind an entry for neither: builders put a statement there of
/// how an image was made.
pub fn index(entries: &[(&str, &str, &Image)]) -> Vec<u8> {
    let images = entries.iter().map(|(os, architecture, image)| {
        let mut entry = descriptor(MANIFEST, &image.manifest);
        entry["platform"] = json!({ "os": os, "architecture": architecture });
        entry
    });
    let entries: Vec<Value> = [descriptor(MANIFEST, b"made by hand")].into_iter().chain(images).collect();
    json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries }).to_string().into_bytes()
}

/// How one document points to another, or to a blob.
fn descriptor(kind: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": kind, "digest": digest(bytes), "size": bytes.len() })
}

/// `sha256:` and 64 digits.
pub fn digest(bytes: &[u8]) -> String {
    let digits: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{digits}")
}

/// Bytes in which no two places look alike; the same for the same name.
fn noise(length: usize, name: &str) -> Vec<u8> {
    let blocks = (0..length).step_by(32).flat_map(|block| Sha256::digest(format!("{name} {block}")));
    blocks.take(length).collect()
}
