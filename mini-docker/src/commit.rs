//! What a container changed: as a list, as an image, and with everything else as one archive.

use std::io::Write;
use std::path::{Path, PathBuf};

use image_pull::config::{History, ImageConfig, RunConfig};
use image_pull::manifest::{MAX_MANIFEST, Manifest, OCI_LAYER};
use image_pull::{Image, Layer, Reference};
use overlay_layers::{Change, Digest, write_layer, write_tree};

use crate::container::{Container, Status};
use crate::engine::Engine;
use crate::engine::view::Extent;
use crate::error::{Error, Result};
use crate::{changes, logs, pipe, skeleton};

/// Docker's media type of a layer; `.gzip` is appended for compressed ones.
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";

/// How an image is made of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Its name.
    pub name: Option<Reference>,
    /// Who made it.
    pub author: Option<String>,
    /// A remark.
    pub message: Option<String>,
    /// Dockerfile instructions that alter its config.
    pub changes: Vec<String>,
    /// Whether the container is frozen meanwhile; without a word about it, if it can be.
    pub pause: Option<bool>,
}

/// An image that was made of a container.
#[derive(Debug)]
pub struct Committed {
    /// Its ID.
    pub id: Digest,
    /// What the user gets less than in full.
    pub warning: Option<String>,
}

impl Engine {
    /// What a container changed of its image's files.
    pub fn changes(&self, container: &Container) -> Result<Vec<Change>> {
        let (upper, lowers) = self.writable(container)?;
        Ok(overlay_layers::changes(&upper, &lowers, self.marks())?)
    }

    /// A container's writable layer, and those below it. The mount points that every container has are no change.
    fn writable(&self, container: &Container) -> Result<(PathBuf, Vec<PathBuf>)> {
        let mut lowers = self.layers(container)?;
        lowers.push(skeleton::make(&self.folders().data)?);
        Ok((self.containers().directory(&container.id).join("upper"), lowers))
    }

    /// Makes an image of a container: its own, with what it changed as one more layer.
    pub fn commit(&self, container: &Container, request: &Request) -> Result<Committed> {
        let freezes = request.pause != Some(false) && self.state(container)?.status == Status::Running;
        let (mut frozen, mut warning) = (None, None);
        match freezes.then(|| self.freeze_meanwhile(container)).transpose() {
            Ok(connection) => frozen = connection,
            // An ordinary user's may have no cgroup, and nobody could make images of those.
            Err(error) if self.is_rootless() && request.pause.is_none() => {
                warning = Some(format!("The container goes on meanwhile: {error}"));
            }
            Err(error) => return Err(error),
        }
        let made = self.commit_still(container, request);
        if let Some(connection) = frozen {
            self.thaw(container, connection)?;
        }
        let id = made?;
        let (remark, image) = (request.message.as_deref().unwrap_or_default(), id.to_string());
        let name = request.name.clone().map(|name| name.or_latest().familiar()).unwrap_or_default();
        self.tell(container, "commit", &[("comment", remark), ("imageID", &image), ("imageRef", &name)]);
        Ok(Committed { id, warning })
    }

    fn commit_still(&self, container: &Container, request: &Request) -> Result<Digest> {
        // One that does not run must not start meanwhile; `None` is one that runs.
        let _held = self.hold_resting(container)?;
        let (upper, lowers) = self.writable(container)?;
        let store = self.images();
        let hold = store.hold()?;
        let image = store.resolve(&container.image)?;
        let mut layers = self.layers_of(&image)?;
        if !overlay_layers::changes(&upper, &lowers, self.marks())?.is_empty() {
            let write = |out| Ok(write_layer(&upper, &lowers, self.marks(), out)?);
            let add = |tar| Ok(store.add_layer(&hold, image.chain.last(), tar)?);
            let (_, layer) = pipe::through(write, add)?;
            layers.push(layer);
        }
        let config = config(container, &image, &layers, request)?;
        let raw = serde_json::to_vec(&config).expect("plain data is JSON");
        Ok(store.add_image(&hold, request.name.as_ref(), &raw, &layers)?)
    }

    /// An image's layers as the store has them, lowest first.
    fn layers_of(&self, image: &Image) -> Result<Vec<Layer>> {
        let raw = self.images().layout().read(&image.manifest.digest, MAX_MANIFEST)?;
        let Ok(Manifest::Image(manifest)) = Manifest::parse(&raw, Some(&image.manifest.media_type)) else {
            return Err(Error::new(format!("the manifest of image {} cannot be read", image.id)));
        };
        let mut layers = Vec::new();
        let names = image.config.rootfs.diff_ids.iter().zip(&image.chain);
        for (mut blob, (&diff_id, &chain)) in manifest.layers.into_iter().zip(names) {
            // What is made here is an OCI image, also where Docker's types were pulled.
            if let Some(kind) = blob.media_type.strip_prefix(DOCKER_LAYER) {
                blob.media_type = format!("{OCI_LAYER}{}", kind.replace('.', "+"));
            }
            layers.push(Layer { blob, diff_id, chain });
        }
        Ok(layers)
    }

    /// Writes all of a container's own files and its image's as a tar; nothing of what is mounted in it.
    pub fn export(&self, container: &Container, out: impl Write + Send) -> Result<()> {
        self.with_view(container, Extent::Layers, |view| {
            write_tree(view.root(), Path::new(""), Path::new(""), &view.owners_inside(), out)?;
            Ok(())
        })?;
        self.tell(container, "export", &[]);
        Ok(())
    }
}

/// The config of an image that is made of `container`, which was made of `image`.
fn config(container: &Container, image: &Image, layers: &[Layer], request: &Request) -> Result<ImageConfig> {
    let own = &container.config;
    let mut run = RunConfig {
        user: own.user.clone(),
        exposed_ports: own.exposed_ports.clone(),
        env: own.env.clone(),
        entrypoint: own.entrypoint.clone(),
        cmd: own.cmd.clone(),
        volumes: own.volumes.clone(),
        working_dir: own.working_dir.clone(),
        labels: own.labels.clone(),
        stop_signal: own.stop_signal.clone(),
        stop_timeout: own.stop_timeout,
        healthcheck: own.healthcheck.clone(),
        shell: own.shell.clone(),
        ..image.config.config.clone()
    };
    changes::apply_all(&mut run, &request.changes)?;
    let created = Some(logs::now());
    let mut history = image.config.history.clone();
    history.push(History {
        created: created.clone(),
        created_by: Some(container.command().join(" ")),
        author: request.author.clone(),
        comment: request.message.clone(),
        empty_layer: layers.len() == image.chain.len(),
    });
    let mut config =
        ImageConfig { created, author: request.author.clone(), config: run, history, ..image.config.clone() };
    config.rootfs.diff_ids = layers.iter().map(|layer| layer.diff_id).collect();
    Ok(config)
}
