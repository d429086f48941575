//! Images that are made here and not pulled: from a root file system, a container's changes, or this very program.

use std::fs::File;
use std::io::{self, Read, Write};

use overlay_layers::{ChainId, Compression, DiffId, Digest, Hasher};

use crate::config::{ConfigError, ImageConfig};
use crate::error::{Error, Result};
use crate::files::{Locked, settle};
use crate::manifest::{Descriptor, ImageManifest, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST};
use crate::reference::Reference;
use crate::store::{Hold, MADE, Store};

/// A layer that is in the store, unpacked and as a blob.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// The blob.
    pub blob: Descriptor,
    /// The digest of its uncompressed tar, for the config's `rootfs.diff_ids`.
    pub diff_id: DiffId,
    /// Its name in the layer store.
    pub chain: ChainId,
}

impl Store {
    /// Puts a layer into the store: a tar, plain or compressed, lying on `parent`.
    ///
    /// The hold keeps it from being removed until an image names it.
    pub fn add_layer(&self, _hold: &Hold, parent: Option<&ChainId>, tar: impl Read) -> Result<Layer> {
        // Its digest is known only at the end, so it is written under a name that only this process has.
        let path = self.partial(&format!("{MADE}{}-{:?}", std::process::id(), std::thread::current().id()));
        let lock = Locked::exclusive(&path, || {})?;
        lock.file().set_len(0).map_err(Error::system("empty", &path))?;
        let mut stage = self.layers().stage()?;
        let mut copy = Copying { tar, file: lock.file(), hasher: Hasher::new(), size: 0 };
        let unpacked = stage.unpack(&mut copy)?;
        // What follows the archive belongs to the blob as well.
        io::copy(&mut copy, &mut io::sink()).map_err(Error::system("copy a layer into", &path))?;
        let (digest, size) = (copy.hasher.finish(), copy.size);
        let place = self.layout().blob_path(&digest);
        if place.exists() {
            lock.remove()?;
        } else {
            settle(lock.file(), &path, &place)?;
        }
        let suffix = match unpacked.compression {
            Compression::None => "",
            Compression::Gzip => "+gzip",
            Compression::Zstd => "+zstd",
        };
        let chain = stage.commit(parent, &unpacked.diff_id)?;
        let blob = Descriptor::of(&format!("{OCI_LAYER}{suffix}"), &digest, size);
        Ok(Layer { blob, diff_id: unpacked.diff_id, chain })
    }

    /// Makes an image of a config and layers that are in the store, and gives it a name. Returns the image ID.
    ///
    /// `config` is kept byte for byte; its `rootfs.diff_ids` must be those of the layers.
    pub fn add_image(
        &self,
        _hold: &Hold,
        name: Option<&Reference>,
        config: &[u8],
        layers: &[Layer],
    ) -> Result<Digest> {
        let label = name.map_or("the new image".to_owned(), Reference::familiar);
        let unusable = |reason| Error::Config { reference: label.clone(), reason };
        let typed = ImageConfig::parse(config).map_err(unusable)?;
        if !typed.rootfs.diff_ids.iter().eq(layers.iter().map(|layer| &layer.diff_id)) {
            let (diff_ids, layers) = (typed.rootfs.diff_ids.len(), layers.len());
            return Err(unusable(ConfigError::LayerCount { diff_ids, layers }));
        }
        let id = self.layout().write_blob(config)?;
        let manifest = ImageManifest {
            schema_version: 2,
            media_type: Some(OCI_MANIFEST.to_owned()),
            config: Descriptor::of(OCI_CONFIG, &id, config.len() as u64),
            layers: layers.iter().map(|layer| layer.blob.clone()).collect(),
            annotations: None,
        };
        let raw = serde_json::to_vec(&manifest).expect("plain data serialises");
        let digest = self.layout().write_blob(&raw)?;
        let descriptor = Descriptor {
            platform: Some(typed.platform()),
            ..Descriptor::of(OCI_MANIFEST, &digest, raw.len() as u64)
        };
        let name = name.cloned().map(Reference::or_latest);
        self.layout().update(|names| {
            names.point(name.as_ref(), &descriptor, None);
            Ok(())
        })?;
        tracing::info!("made image {id} of {} layers", layers.len());
        Ok(id)
    }
}

/// Hands a stream on, and keeps a copy and its digest.
struct Copying<'a, R> {
    tar: R,
    file: &'a File,
    hasher: Hasher,
    size: u64,
}

impl<R: Read> Read for Copying<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.tar.read(buffer)?;
        self.file.write_all(&buffer[..length])?;
        self.hasher.update(&buffer[..length]);
        self.size += length as u64;
        Ok(length)
    }
}
