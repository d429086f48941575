//! Images made of one archive: a root file system becomes the only layer.

use std::io::Read;

use image_pull::config::{History, ImageConfig, RootFs, RunConfig};
use image_pull::{Platform, Reference, Store};
use overlay_layers::Digest;

use crate::error::Result;
use crate::{changes, logs};

/// Makes an image out of `archive`, a tar, plain or compressed, and gives it `name`. Returns its ID.
pub fn import(
    store: &Store,
    archive: impl Read,
    name: Option<&Reference>,
    instructions: &[String],
    message: Option<&str>,
) -> Result<Digest> {
    let mut config = RunConfig::default();
    changes::apply_all(&mut config, instructions)?;
    make(store, archive, name, config, message.unwrap_or("Imported from -"))
}

/// Makes an image of one layer.
pub(crate) fn make(
    store: &Store,
    archive: impl Read,
    name: Option<&Reference>,
    config: RunConfig,
    comment: &str,
) -> Result<Digest> {
    let hold = store.hold()?;
    let layer = store.add_layer(&hold, None, archive)?;
    let Platform { os, architecture, variant } = Platform::host();
    let created = Some(logs::now());
    let config = ImageConfig {
        created: created.clone(),
        architecture,
        variant,
        os,
        config,
        rootfs: RootFs { diff_ids: vec![layer.diff_id], ..RootFs::default() },
        history: vec![History { created, comment: Some(comment.to_owned()), ..History::default() }],
        ..ImageConfig::default()
    };
    let raw = serde_json::to_vec(&config).expect("plain data is JSON");
    Ok(store.add_image(&hold, name, &raw, &[layer])?)
}
