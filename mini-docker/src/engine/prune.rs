//! What nobody uses any more, removed in one go, and how much room things take.

use std::collections::{BTreeMap, BTreeSet};

use image_pull::{Image, Removal};
use overlay_layers::ChainId;

use super::Engine;
use crate::container::{Container, State};
use crate::error::{Error, Result};
use crate::volumes::{Volume, users};

/// What a removal of many did.
#[derive(Debug)]
pub struct Pruned<T> {
    /// What is gone.
    pub removed: Vec<T>,
    /// Bytes that it held.
    pub freed: u64,
    /// Why something that was to go did not.
    pub failures: Vec<Error>,
}

impl<T> Default for Pruned<T> {
    fn default() -> Self {
        Self { removed: Vec::new(), freed: 0, failures: Vec::new() }
    }
}

/// How much room everything takes.
#[derive(Debug)]
pub struct Usage {
    /// Images.
    pub images: Vec<ImageUsage>,
    /// Containers, with what each has written.
    pub containers: Vec<(Container, State, u64)>,
    /// Volumes, with how many containers use each, and its bytes.
    pub volumes: Vec<(Volume, usize, u64)>,
    /// Bytes of all images' layers, each once.
    pub layers: u64,
    /// Bytes of those that no container's image needs, each once.
    pub unused_layers: u64,
}

/// How much room an image takes.
#[derive(Debug)]
pub struct ImageUsage {
    /// The image.
    pub image: Image,
    /// Bytes of layers that other images have too.
    pub shared: u64,
    /// How many containers were made of it.
    pub containers: usize,
}

impl Engine {
    /// Removes the containers that do not run and are `wanted`; returns their IDs.
    pub fn prune_containers(&self, wanted: impl Fn(&Container) -> bool) -> Result<Pruned<String>> {
        let mut pruned = Pruned::default();
        for container in self.containers.list()?.into_iter().filter(wanted) {
            if self.state(&container)?.status.is_alive() {
                continue;
            }
            let size = self.written(&container)?;
            match self.remove(&container, false, false) {
                Ok(()) => {
                    pruned.freed += size;
                    pruned.removed.push(container.id);
                }
                Err(error) => pruned.failures.push(error),
            }
        }
        Ok(pruned)
    }

    /// Removes the images that no container was made of and that are `wanted`.
    pub fn prune_images(&self, wanted: impl Fn(&Image) -> bool) -> Result<Pruned<Removal>> {
        let mut pruned = Pruned::default();
        let containers = self.containers.list()?;
        let is_used =
            |image: &Image| containers.iter().any(|container| container.image == image.id.to_string());
        for image in self.images.images()?.into_iter().filter(|image| !is_used(image) && wanted(image)) {
            let sizes = self.layer_sizes(&image.chain)?;
            // Name by name, without force: the last one is refused if a container has been made of it meanwhile.
            let mut names: Vec<String> = image.names.iter().map(ToString::to_string).collect();
            if names.is_empty() {
                names.push(image.id.to_string());
            }
            for name in names {
                match self.remove_image(&name, false) {
                    Ok(removed) => pruned.removed.extend(removed),
                    Err(error) => pruned.failures.push(error),
                }
            }
            let gone = pruned.removed.iter().filter_map(|removal| match removal {
                Removal::Layer(chain) => sizes.get(chain),
                Removal::Untagged(_) | Removal::Image(_) => None,
            });
            pruned.freed += gone.sum::<u64>();
        }
        Ok(pruned)
    }

    /// How much room everything takes: layers and files that several have, once.
    pub fn usage(&self) -> Result<Usage> {
        let containers = self.containers.list()?;
        let images = self.images.images()?;
        let mut owners: BTreeMap<ChainId, usize> = BTreeMap::new();
        for chain in images.iter().flat_map(|image| &image.chain) {
            *owners.entry(*chain).or_default() += 1;
        }
        let sizes = self.layer_sizes(owners.keys())?;
        let sum = |chains: &mut dyn Iterator<Item = &ChainId>| -> u64 {
            chains.filter_map(|chain| sizes.get(chain)).sum()
        };
        let made_of = |image: &Image| {
            containers.iter().filter(|container| container.image == image.id.to_string()).count()
        };
        let used: BTreeSet<&ChainId> = containers.iter().flat_map(|container| &container.layers).collect();
        let (layers, unused_layers) =
            (sum(&mut owners.keys()), sum(&mut owners.keys().filter(|chain| !used.contains(chain))));
        let shared = |image: &Image| sum(&mut image.chain.iter().filter(|chain| owners[chain] > 1));
        let images = images
            .into_iter()
            .map(|image| ImageUsage { shared: shared(&image), containers: made_of(&image), image })
            .collect();
        let mut volumes = Vec::new();
        for volume in self.volumes.list()? {
            let links = users(&containers, &volume.name).len();
            let size = overlay_layers::usage(&volume.mountpoint)?;
            volumes.push((volume, links, size));
        }
        let containers = containers
            .into_iter()
            .map(|container| Ok((self.state(&container)?, self.written(&container)?, container)))
            .map(|found: Result<_>| found.map(|(state, size, container)| (container, state, size)))
            .collect::<Result<_>>()?;
        Ok(Usage { images, containers, volumes, layers, unused_layers })
    }

    /// Bytes that a container has written.
    fn written(&self, container: &Container) -> Result<u64> {
        Ok(overlay_layers::usage(&self.containers.directory(&container.id).join("upper"))?)
    }

    /// The sizes of those layers that are there.
    fn layer_sizes<'a>(
        &self,
        chains: impl IntoIterator<Item = &'a ChainId>,
    ) -> Result<BTreeMap<ChainId, u64>> {
        let layers = self.images.layers();
        let mut sizes = BTreeMap::new();
        for chain in chains.into_iter().filter(|chain| layers.contains(chain)) {
            sizes.insert(*chain, layers.size(chain)?);
        }
        Ok(sizes)
    }
}
