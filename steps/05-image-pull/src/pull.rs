//! The pull: from a reference to an image that can be run.
//!
//! ```text
//! manifest or index --> choose platform --> config --> layers, three at a time --> name
//!                                                      |
//!            registry --> file in partial/ + SHA-256 --+--> inflate --> diff ID --> staging directory
//! ```

use overlay_layers::Digest;

use crate::config::{ConfigError, ImageConfig};
use crate::credentials::Credentials;
use crate::error::{Error, Result};
use crate::hosts::Registries;
use crate::layers::LayerPull;
use crate::manifest::{Descriptor, ImageManifest, MAX_CONFIG, MAX_MANIFEST, Manifest, ManifestError};
use crate::patience::Patience;
use crate::platform::Platform;
use crate::progress::{Event, Progress};
use crate::reference::Reference;
use crate::registry::{Registry, Served};
use crate::store::Store;

/// How deep indexes may lie in indexes.
const MAX_DEPTH: usize = 4;

/// How to pull.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The platform to choose; without one, this machine's.
    pub platform: Option<Platform>,
    /// Mirrors, and hosts without TLS.
    pub registries: Registries,
    /// The user's logins.
    pub credentials: Credentials,
    /// How long to put up with failures.
    pub patience: Patience,
}

/// A pull that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// What was pulled, with the tag that was defaulted.
    pub reference: Reference,
    /// The digest of what the registry serves under it: a manifest, or an index. Docker's line `Digest:`.
    pub digest: Digest,
    /// The image ID.
    pub id: Digest,
    /// The image's platform, which may differ from this machine's if the image has only one and none was asked for.
    pub platform: Platform,
    /// Whether the name means another image than before.
    pub newer: bool,
}

impl Pulled {
    /// Docker's last line, without `Status: `.
    pub fn status(&self) -> String {
        let name = self.reference.familiar();
        if self.newer {
            format!("Downloaded newer image for {name}")
        } else {
            format!("Image is up to date for {name}")
        }
    }
}

/// Pulls an image into the store.
///
/// What an interrupted or failed pull leaves is verified blobs, verified layers, and beginnings of blobs; the next pull
/// goes on from there. Two pulls at once share the work: each blob and layer is done by one of them, and the other waits.
pub fn pull(
    store: &Store,
    reference: &Reference,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Pulled> {
    let reference = reference.clone().or_latest();
    let _hold = store.hold()?;
    store.sweep()?;
    let registry =
        Registry::new(&reference, &options.registries, options.credentials.clone(), options.patience);

    tracing::info!("asking {} for the manifest of {}", reference.host(), reference.familiar());
    let served = registry.manifest(&reference.tag_or_digest())?;
    progress.event(Event::Resolved { tag: &reference.tag_or_digest(), repository: reference.path() });
    let chosen = choose(store, &registry, &reference, options, &served)?;
    tracing::info!(
        "the manifest is {} and has {} layers",
        chosen.descriptor.digest,
        chosen.manifest.layers.len()
    );
    let was_here = store.layout().has(&chosen.manifest.config.digest);
    let (raw_config, config) = fetch_config(store, &registry, &reference, &chosen.manifest)?;
    let platform = config.platform();
    if let Some(wanted) = &options.platform
        && !wanted.runs().contains(&platform)
    {
        let (wanted, actual) = (wanted.to_string(), platform.to_string());
        return Err(Error::WrongPlatform { reference: reference.familiar(), wanted, actual });
    }

    // Of an image that is here, under whatever name, there is nothing to tell.
    let layers = LayerPull::new(store, &registry, &chosen.manifest.layers, &config, progress);
    if !was_here || !layers.is_done() {
        layers.run()?;
    }

    let layout = store.layout();
    layout.write_blob(&raw_config)?;
    layout.write_blob(&chosen.raw)?;
    let name = reference.tag().filter(|_| reference.digest().is_none()).map(|_| &reference);
    let source = reference.with_digest(served.digest);
    let manifest = Descriptor { platform: Some(platform.clone()), ..chosen.descriptor };
    let newer = layout.update(|names| {
        let before = names.find(&reference).map(|entry| entry.digest);
        names.point(name, &manifest, Some(&source));
        Ok(before != Some(manifest.digest))
    })?;
    tracing::info!("{} now means image {}", reference.familiar(), chosen.manifest.config.digest);
    Ok(Pulled { reference, digest: served.digest, id: chosen.manifest.config.digest, platform, newer })
}

/// The manifest of one platform, and its bytes.
struct Chosen {
    descriptor: Descriptor,
    manifest: ImageManifest,
    raw: Vec<u8>,
}

/// Goes from what the registry served to the manifest of one platform.
fn choose(
    store: &Store,
    registry: &Registry,
    reference: &Reference,
    options: &Options,
    served: &Served,
) -> Result<Chosen> {
    let platform = options.platform.clone().unwrap_or_else(Platform::host);
    let unusable = |reason| Error::Manifest { reference: reference.familiar(), reason };
    let mut served = served.clone();
    for _ in 0..MAX_DEPTH {
        match Manifest::parse(&served.raw, served.content_type.as_deref()).map_err(unusable)? {
            Manifest::Image(manifest) => {
                manifest.check().map_err(unusable)?;
                let kind = manifest.media_type.clone().or(served.content_type).unwrap_or_default();
                let descriptor = Descriptor::of(&kind, &served.digest, served.raw.len() as u64);
                return Ok(Chosen { descriptor, manifest, raw: served.raw });
            }
            Manifest::Index(index) => {
                let Some(entry) = platform.choose(&index.manifests) else {
                    let platforms = index.manifests.iter().filter_map(|entry| entry.platform.as_ref());
                    let mut offered: Vec<String> = platforms.map(ToString::to_string).collect();
                    offered.retain(|platform| platform != "unknown/unknown");
                    let offered = if offered.is_empty() { "none".to_owned() } else { offered.join(", ") };
                    let (reference, platform) = (reference.familiar(), platform.to_string());
                    return Err(Error::NoPlatform { reference, platform, offered });
                };
                tracing::info!(
                    "it is an index: {} of its {} entries fits {platform}",
                    entry.digest,
                    index.manifests.len()
                );
                let media_type = Some(entry.media_type.clone()).filter(|kind| !kind.is_empty());
                served = if store.layout().has(&entry.digest) {
                    let raw = store.layout().read(&entry.digest, MAX_MANIFEST)?;
                    Served { raw, digest: entry.digest, content_type: None }
                } else {
                    registry.manifest(&entry.digest.to_string())?
                };
                check_size("the manifest", entry, served.raw.len() as u64)?;
                served.content_type = media_type.or(served.content_type);
            }
        }
    }
    Err(unusable(ManifestError::Json(format!("indexes lie more than {MAX_DEPTH} deep in each other"))))
}

fn check_size(what: &str, promised: &Descriptor, actual: u64) -> Result<()> {
    if promised.size == actual {
        return Ok(());
    }
    Err(Error::WrongSize { what: format!("{what} {}", promised.digest), expected: promised.size, actual })
}

/// The config's bytes, from here or from the registry, and what they say.
fn fetch_config(
    store: &Store,
    registry: &Registry,
    reference: &Reference,
    manifest: &ImageManifest,
) -> Result<(Vec<u8>, ImageConfig)> {
    let descriptor = &manifest.config;
    if descriptor.size > MAX_CONFIG {
        let what = format!("config {}", descriptor.digest);
        return Err(Error::WrongSize { what, expected: MAX_CONFIG, actual: descriptor.size });
    }
    let raw = if store.layout().has(&descriptor.digest) {
        store.layout().read(&descriptor.digest, MAX_CONFIG)?
    } else {
        registry.small_blob(descriptor)?
    };
    let unusable = |reason| Error::Config { reference: reference.familiar(), reason };
    let config = ImageConfig::parse(&raw).map_err(unusable)?;
    let (diff_ids, layers) = (config.rootfs.diff_ids.len(), manifest.layers.len());
    if diff_ids != layers {
        return Err(unusable(ConfigError::LayerCount { diff_ids, layers }));
    }
    Ok((raw, config))
}
