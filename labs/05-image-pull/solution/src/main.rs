//! `box DIRECTORY HOST/NAME:TAG`: fetches an image from a registry into DIRECTORY/blobs/sha256, and prints the digest of its
//! manifest. For instance `box images 127.0.0.1:5000/library/busybox:latest`.
//!
//! Nothing is to be written here; `registry.rs` has the gaps.

// Not all of it is used before the gaps are filled.
#[allow(dead_code)]
mod document;
#[allow(dead_code)]
mod http;
#[allow(dead_code)]
mod registry;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use document::{Descriptor, Document};
use registry::Registry;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [directory, image] = arguments.as_slice() else {
        eprintln!("usage: box DIRECTORY HOST/NAME:TAG");
        return ExitCode::from(125);
    };
    match pull(&Path::new(directory).join("blobs/sha256"), image) {
        Ok(digest) => {
            println!("{digest}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("box: {error}");
            ExitCode::from(125)
        }
    }
}

/// Walks from the tag down to the layers, and returns the digest of the manifest.
fn pull(blobs: &Path, image: &str) -> Result<String, String> {
    let parts = image.split_once('/').and_then(|(host, rest)| Some((host, rest.rsplit_once(':')?)));
    let (host, (name, tag)) = parts.ok_or_else(|| format!("{image} is not HOST/NAME:TAG"))?;
    fs::create_dir_all(blobs).map_err(|error| format!("{}: {error}", blobs.display()))?;
    let mut registry = Registry::new(host, name);

    let top = registry.get(&format!("manifests/{tag}")).map_err(|error| format!("get: {error}"))?;
    let top = top.read().map_err(|error| format!("the document of {tag} cannot be read: {error}"))?;
    let (digest, manifest) = match Document::read(&top)? {
        Document::Manifest(manifest) => {
            let digest = document::digest_of(&top);
            let path = blobs.join(digest.trim_start_matches("sha256:"));
            fs::write(&path, top).map_err(|error| format!("{}: {error}", path.display()))?;
            (digest, manifest)
        }
        Document::Index(entries) => {
            let entry = registry::choose(&entries).ok_or("choose: no manifest is for this machine")?;
            let path = fetch(&mut registry, "manifests", entry, blobs)?;
            let raw = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            match Document::read(&raw)? {
                Document::Manifest(manifest) => (entry.digest.clone(), manifest),
                Document::Index(_) => return Err("there is an index in the index".into()),
            }
        }
    };
    for blob in [&manifest.config].into_iter().chain(&manifest.layers) {
        fetch(&mut registry, "blobs", blob, blobs)?;
    }
    Ok(digest)
}

/// Fetches what `wanted` describes, unless it is there, and returns where it is.
fn fetch(registry: &mut Registry, kind: &str, wanted: &Descriptor, blobs: &Path) -> Result<PathBuf, String> {
    let path = blobs.join(wanted.digest.trim_start_matches("sha256:"));
    registry::fetch(registry, kind, wanted, &path).map_err(|error| format!("fetch: {error}"))?;
    Ok(path)
}
