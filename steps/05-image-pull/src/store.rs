//! The images on this machine.
//!
//! ```text
//! ROOT/
//!   images/    the OCI image layout: names, manifests, configs, compressed layers
//!   layers/    the same layers unpacked, by chain ID (step 4)
//!   partial/   downloads under way or interrupted, for the next pull to go on with
//!   use.lock   held shared by whoever is about to use something that no name holds yet
//! ```

use std::cmp::Reverse;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

use overlay_layers::{ChainId, Digest, LayerStore, Marks};

use crate::config::ImageConfig;
use crate::error::{Error, Result};
use crate::files::{Flock, lock_shared, make_directory, remove, remove_unlocked, try_lock_exclusive};
use crate::layout::Layout;
use crate::manifest::{Descriptor, ImageManifest, MAX_CONFIG, MAX_MANIFEST, Manifest};
use crate::names::{name_of, source_of};
use crate::reference::Reference;

/// How the lock of a layer that a pull is at work on ends; it begins with the digits of the chain ID.
pub(crate) const TOKEN: &str = ".layer";
/// How the name of a layer's blob begins that is being made here.
pub(crate) const MADE: &str = "made-";

/// The image store. Any number of processes may use it at once.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
    layout: Layout,
    layers: LayerStore,
}

/// As long as this lives, nothing is removed as garbage.
///
/// A pull holds one, since the blobs it finds present are not yet named by its image; and so does whoever starts a
/// container, until the container's own record says which layers it uses. A child that is cloned meanwhile and does not
/// execute another program shares the hold: it must not drop its copy, and `_exit` does not.
#[derive(Debug)]
pub struct Hold(#[expect(dead_code, reason = "dropping it ends the lock")] Flock);

/// An image: a config and its layers, under any number of names.
#[derive(Debug, Clone)]
pub struct Image {
    /// The digest of the config.
    pub id: Digest,
    /// The manifest. If several manifests share the config, the first.
    pub manifest: Descriptor,
    /// `REPOSITORY:TAG`, all that mean this image.
    pub names: Vec<Reference>,
    /// `REPOSITORY@DIGEST`, as pulled.
    pub sources: Vec<Reference>,
    /// The config, typed.
    pub config: ImageConfig,
    /// The config as it came.
    pub raw_config: Vec<u8>,
    /// The layers' names in the layer store, lowest first.
    pub chain: Vec<ChainId>,
    /// Bytes of its unpacked layers, including those it shares.
    pub size: u64,
}

/// One thing that a removal did; prints as Docker's line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removal {
    /// A name or source is gone.
    Untagged(Reference),
    /// An image is gone.
    Image(Digest),
    /// A layer that nothing else uses is gone.
    Layer(ChainId),
}

impl std::fmt::Display for Removal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Untagged(name) => write!(f, "Untagged: {}", name.familiar()),
            Self::Image(id) => write!(f, "Deleted: {id}"),
            Self::Layer(chain) => write!(f, "Deleted: {chain}"),
        }
    }
}

impl Store {
    /// Opens the store below `root`, and makes it if it is missing.
    pub fn open(root: &Path) -> Result<Self> {
        make_directory(&root.join("partial"))?;
        Ok(Self {
            root: root.to_owned(),
            layout: Layout::open(&root.join("images"))?,
            layers: LayerStore::open(&root.join("layers"))?,
        })
    }

    /// The same store with layers as a user namespace needs them.
    pub fn with_marks(self, marks: Marks) -> Self {
        Self { layers: self.layers.with_marks(marks), ..self }
    }

    /// The OCI image layout.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The unpacked layers.
    pub fn layers(&self) -> &LayerStore {
        &self.layers
    }

    /// Keeps everything that is here from being removed as garbage.
    pub fn hold(&self) -> Result<Hold> {
        lock_shared(&self.root.join("use.lock")).map(Hold)
    }

    pub(crate) fn partial(&self, name: &str) -> PathBuf {
        self.root.join("partial").join(name)
    }

    /// All images, in the order they came.
    pub fn images(&self) -> Result<Vec<Image>> {
        loop {
            let names = self.layout.names()?;
            match self.gather(&names.0) {
                // Somebody removed an image between our look at the names and our look at it.
                Err(_) if self.layout.names()? != names => {}
                result => return result,
            }
        }
    }

    /// Groups entries into images.
    fn gather(&self, entries: &[Descriptor]) -> Result<Vec<Image>> {
        let mut images: Vec<Image> = Vec::new();
        for entry in entries {
            // Only what tools other than this one put here is no image manifest; it is not ours to show.
            let Some(manifest) = self.manifest(entry)? else { continue };
            let id = manifest.config.digest;
            if !images.iter().any(|image| image.id == id) {
                images.push(self.image(entry, &manifest)?);
            }
            let image =
                images.iter_mut().find(|image| image.id == id).expect("it was there or has just come");
            image.names.extend(name_of(entry));
            image.sources.extend(source_of(entry).filter(|source| !image.sources.contains(source)));
        }
        Ok(images)
    }

    /// The manifest behind an entry; None if it is something else.
    fn manifest(&self, entry: &Descriptor) -> Result<Option<ImageManifest>> {
        let raw = self.layout.read(&entry.digest, MAX_MANIFEST)?;
        match Manifest::parse(&raw, Some(&entry.media_type)) {
            Ok(Manifest::Image(manifest)) if manifest.check().is_ok() => Ok(Some(manifest)),
            _ => Ok(None),
        }
    }

    fn image(&self, entry: &Descriptor, manifest: &ImageManifest) -> Result<Image> {
        let id = manifest.config.digest;
        let raw_config = self.layout.read(&id, MAX_CONFIG)?;
        let config = ImageConfig::parse(&raw_config).map_err(|reason| Error::Damaged {
            path: self.layout.blob_path(&id),
            reason: reason.to_string(),
        })?;
        let chain = config.chain();
        let mut size = 0;
        // A layer that somebody took away by hand must not hide the image from the commands that would mend it.
        for layer in chain.iter().filter(|layer| self.layers.contains(layer)) {
            size += self.layers.size(layer)?;
        }
        let manifest = Descriptor { annotations: None, ..entry.clone() };
        Ok(Image { id, manifest, names: Vec::new(), sources: Vec::new(), config, raw_config, chain, size })
    }

    /// The image that a user's text means: a name, a name with a digest, an image ID, or the beginning of one.
    ///
    /// A name wins over an ID that reads the same, as with Docker.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`], [`Error::AmbiguousId`].
    pub fn resolve(&self, text: &str) -> Result<Image> {
        // The usual case, and on the way of every start: a name. One entry is read, not all.
        if let Ok(name) = text.parse::<Reference>() {
            let names = self.layout.names()?;
            if let Some(entry) = names.find(&name.or_latest()) {
                let wanted = entry.digest;
                let same: Vec<Descriptor> =
                    names.0.into_iter().filter(|entry| entry.digest == wanted).collect();
                if let Some(image) = self.gather(&same)?.pop() {
                    return Ok(image);
                }
            }
        }
        self.by_id(text)?.ok_or_else(|| Error::NoSuchImage(familiar(text)))
    }

    /// The image whose ID is or begins with this text, with or without `sha256:`.
    fn by_id(&self, text: &str) -> Result<Option<Image>> {
        let prefix = text.strip_prefix("sha256:").unwrap_or(text);
        if prefix.is_empty() || !prefix.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Ok(None);
        }
        let mut images = self.images()?;
        images.retain(|image| image.id.hex().starts_with(prefix));
        match images.len() {
            0 | 1 => Ok(images.pop()),
            count => Err(Error::AmbiguousId { prefix: text.to_owned(), count }),
        }
    }

    /// Gives the image another name. A name that meant another image moves.
    ///
    /// # Errors
    /// [`Error::TagWithDigest`]; [`Error::NoSuchImage`] if it has been removed since it was resolved.
    pub fn tag(&self, image: &Image, name: &Reference) -> Result<()> {
        if name.digest().is_some() {
            return Err(Error::TagWithDigest);
        }
        let name = name.clone().or_latest();
        let digest = image.manifest.digest;
        self.layout.update(|names| {
            // It may have been removed since it was resolved, and then its blobs may be gone.
            if !names.0.iter().any(|entry| entry.digest == digest) {
                return Err(Error::NoSuchImage(image.id.to_string()));
            }
            names.point(Some(&name), &image.manifest, None);
            Ok(())
        })
    }

    /// Takes a name from its image, which stays; without a name, if that was its last.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`], if nothing has this name.
    pub fn untag(&self, name: &Reference) -> Result<Removal> {
        self.layout.update(|names| {
            let Some(entry) = names.find(name).cloned() else {
                return Err(Error::NoSuchImage(name.to_string()));
            };
            names.take(name);
            // Superfluous, and gone at once, if there is another.
            names.point(None, &entry, None);
            Ok(())
        })?;
        Ok(Removal::Untagged(name.clone()))
    }

    /// Removes what a user's text means: a name only, or with the last name or by ID the image, its blobs, and the layers
    /// that neither another image nor `in_use` needs.
    ///
    /// Whether a container forbids the removal is for the caller to decide; `in_use` are the layers that containers lie
    /// on, lowest and all.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`], [`Error::AmbiguousId`]; [`Error::SeveralNames`] by ID, unless forced.
    pub fn remove(&self, text: &str, force: bool, in_use: &[ChainId]) -> Result<Vec<Removal>> {
        let image = self.resolve(text)?;
        let named = text.parse::<Reference>().ok().map(Reference::or_latest);
        let digests: HashSet<Digest> = self.manifests_of(&image)?;
        let mut removed = self.layout.update(|names| {
            let before = names.0.clone();
            // Not a name, so it is an ID: all names go.
            if !named.as_ref().is_some_and(|name| names.take(name)) {
                let repositories: HashSet<String> = image.names.iter().map(Reference::repository).collect();
                if repositories.len() > 1 && !force {
                    return Err(Error::SeveralNames { id: short(&image.id) });
                }
                names.0.retain(|entry| !digests.contains(&entry.digest));
            }
            let gone = before.iter().filter(|entry| !names.0.contains(entry));
            let lost: Vec<Reference> = gone
                .flat_map(|entry| [name_of(entry), source_of(entry)])
                .flatten()
                .filter(|lost| {
                    !names.0.iter().any(|kept| [name_of(kept), source_of(kept)].contains(&Some(lost.clone())))
                })
                .collect();
            let mut removed: Vec<Removal> = Vec::new();
            for lost in lost.into_iter().map(Removal::Untagged) {
                if !removed.contains(&lost) {
                    removed.push(lost);
                }
            }
            if !names.0.iter().any(|entry| digests.contains(&entry.digest)) {
                removed.push(Removal::Image(image.id));
            }
            Ok(removed)
        })?;
        if removed.contains(&Removal::Image(image.id)) {
            // From the top down, as they lie.
            let (mut layers, chain) = (self.collect(in_use)?, image.config.chain());
            layers.sort_by_key(|layer| Reverse(chain.iter().position(|other| other == layer)));
            removed.extend(layers.into_iter().map(Removal::Layer));
        }
        Ok(removed)
    }

    /// The manifests whose config is the image's.
    fn manifests_of(&self, image: &Image) -> Result<HashSet<Digest>> {
        let mut digests = HashSet::new();
        for entry in self.layout.names()?.0 {
            if self.manifest(&entry)?.is_some_and(|manifest| manifest.config.digest == image.id) {
                digests.insert(entry.digest);
            }
        }
        Ok(digests)
    }

    /// Removes blobs and layers that no image and none of `in_use` needs, and what crashed commands left. Returns the
    /// layers removed.
    ///
    /// While anybody has a [`Hold`], nothing is removed: the next collection will do it.
    pub fn collect(&self, in_use: &[ChainId]) -> Result<Vec<ChainId>> {
        let Some(_alone) = try_lock_exclusive(&self.root.join("use.lock"))? else {
            tracing::info!("another command uses the store: what nobody needs is left for the next removal");
            return Ok(Vec::new());
        };
        let mut blobs: HashSet<Digest> = HashSet::new();
        let mut layers: HashSet<ChainId> = in_use.iter().copied().collect();
        for entry in self.layout.names()?.0 {
            blobs.insert(entry.digest);
            let raw = self.layout.read(&entry.digest, MAX_MANIFEST)?;
            // A stranger's entry may be an index; what it points to is kept by keeping whatever a manifest names.
            match Manifest::parse(&raw, Some(&entry.media_type)) {
                Ok(Manifest::Image(manifest)) => {
                    blobs.extend(manifest.layers.iter().map(|layer| layer.digest));
                    blobs.insert(manifest.config.digest);
                    let config = self.layout.read(&manifest.config.digest, MAX_CONFIG)?;
                    layers
                        .extend(ImageConfig::parse(&config).map(|config| config.chain()).unwrap_or_default());
                }
                Ok(Manifest::Index(index)) => blobs.extend(index.manifests.iter().map(|entry| entry.digest)),
                Err(_) => {}
            }
        }
        for digest in self.layout.blobs()?.into_iter().filter(|digest| !blobs.contains(digest)) {
            remove(&self.layout.blob_path(&digest))?;
        }
        let mut gone = self.layers.list()?;
        gone.retain(|chain| !layers.contains(chain));
        for chain in &gone {
            self.layers.remove(chain)?;
        }
        self.layout.sweep()?;
        self.sweep()?;
        Ok(gone)
    }

    /// Removes what commands that were killed left and no other goes on with: half-unpacked layers and locks. Every pull
    /// begins with it. Beginnings of blobs stay.
    pub fn sweep(&self) -> Result<()> {
        self.layers.sweep()?;
        for path in self.partials()? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.ends_with(TOKEN) || name.starts_with(MADE) {
                remove_unlocked(&path)?;
            }
        }
        Ok(())
    }

    fn partials(&self) -> Result<Vec<PathBuf>> {
        let directory = self.root.join("partial");
        let list = |error: std::io::Error| Error::system("list the directory", &directory)(error);
        let entries = std::fs::read_dir(&directory).map_err(list)?;
        entries.map(|entry| entry.map(|entry| entry.path()).map_err(list)).collect()
    }

    /// Removes interrupted downloads, as far as nobody is at work on them. Returns the bytes freed.
    pub fn prune_partial(&self) -> Result<u64> {
        let Some(_alone) = try_lock_exclusive(&self.root.join("use.lock"))? else { return Ok(0) };
        let mut freed = 0;
        for path in self.partials()? {
            freed += std::fs::metadata(&path).map_err(Error::system("inspect", &path))?.len();
            remove(&path)?;
        }
        Ok(freed)
    }
}

/// The first twelve digits of a digest, as Docker shows IDs.
pub fn short(digest: &Digest) -> String {
    digest.hex()[..12].to_owned()
}

/// A text as Docker repeats it: a reference with its tag, anything else as it is.
fn familiar(text: &str) -> String {
    text.parse::<Reference>().map_or_else(|_| text.to_owned(), |name| name.or_latest().familiar())
}
