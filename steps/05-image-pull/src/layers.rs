//! An image's layers on their way: downloaded, verified and unpacked, three at a time, and committed in order.
//!
//! A layer's bytes pass once: what arrives is written, hashed, inflated, hashed again and unpacked at the same time.
//! Nothing has its final name before both digests were compared. Layers are committed in order, lowest first, because a
//! layer's chain ID, and the owner of a directory that its archive only implies, depend on those below.

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};

use overlay_layers::{ChainId, DiffId, Stage};

use crate::blob::{BlobReader, spoils};
use crate::config::ImageConfig;
use crate::error::{Error, Result};
use crate::files::{Locked, Token, remove, settle};
use crate::manifest::Descriptor;
use crate::progress::{Event, LayerState, Progress};
use crate::registry::Registry;
use crate::store::{Store, TOKEN};

/// Layers that are downloaded and unpacked at once, as with Docker.
const PARALLEL: usize = 3;

/// The work on an image's layers, shared by the threads that do it.
pub(crate) struct LayerPull<'a> {
    store: &'a Store,
    registry: &'a Registry,
    layers: &'a [Descriptor],
    diff_ids: &'a [DiffId],
    chain: Vec<ChainId>,
    progress: &'a dyn Progress,
    /// The first layer that nobody has begun.
    next: AtomicUsize,
    give_up: AtomicBool,
}

/// A layer that is ready to be committed.
struct Staged {
    stage: Stage,
    /// Held until the layer has its name, so that another pull of it waits and then finds it.
    token: Token,
}

impl<'a> LayerPull<'a> {
    /// The work on these layers, which are those of this config.
    pub(crate) fn new(
        store: &'a Store,
        registry: &'a Registry,
        layers: &'a [Descriptor],
        config: &'a ImageConfig,
        progress: &'a dyn Progress,
    ) -> Self {
        let (diff_ids, chain) = (config.rootfs.diff_ids.as_slice(), config.chain());
        let (next, give_up) = (AtomicUsize::new(0), AtomicBool::new(false));
        Self { store, registry, layers, diff_ids, chain, progress, next, give_up }
    }

    /// Whether there is nothing to do.
    pub(crate) fn is_done(&self) -> bool {
        (0..self.layers.len()).all(|number| self.is_complete(number))
    }

    fn is_complete(&self, number: usize) -> bool {
        self.store.layers().contains(&self.chain[number])
            && self.store.layout().has(&self.layers[number].digest)
    }

    /// Does it. Afterwards every layer is in the layer store and its blob in the layout.
    pub(crate) fn run(&self) -> Result<()> {
        for layer in self.layers {
            self.tell(layer, LayerState::PullingFsLayer);
        }
        let (sender, results) = channel();
        std::thread::scope(|scope| {
            let start = |_| {
                let sender = sender.clone();
                scope.spawn(move || self.work(&sender))
            };
            let workers: Vec<_> = (0..PARALLEL.min(self.layers.len())).map(start).collect();
            drop(sender);
            let mut waiting: Vec<Option<Option<Staged>>> = self.layers.iter().map(|_| None).collect();
            let mut committed = 0;
            let mut failure = None;
            for (number, result) in results {
                match result {
                    Ok(staged) => waiting[number] = Some(staged),
                    // The others end with this one; their "given up" is only its echo.
                    Err(error) => drop(failure.get_or_insert(error)),
                }
                while failure.is_none()
                    && let Some(staged) = waiting.get_mut(committed).and_then(Option::take)
                {
                    if let Err(error) = self.commit(committed, staged) {
                        failure = Some(error);
                    }
                    committed += 1;
                }
                if failure.is_some() {
                    self.give_up.store(true, Ordering::Relaxed);
                }
            }
            // A scope waits for its threads' work, not for their end; who clones this process afterwards, as a container's
            // start does, wants to be alone.
            for worker in workers {
                worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            }
            failure.map_or(Ok(()), Err)
        })
    }

    /// Takes one layer after another until none is left.
    fn work(&self, results: &Sender<(usize, Result<Option<Staged>>)>) {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.layers.len() || self.give_up.load(Ordering::Relaxed) {
                return;
            }
            let result = self.fetch(number);
            if result.is_err() {
                self.give_up.store(true, Ordering::Relaxed);
            }
            results.send((number, result)).expect("the receiver outlives the threads");
        }
    }

    /// Brings one layer as far as it goes without those below it. None if it is complete already.
    fn fetch(&self, number: usize) -> Result<Option<Staged>> {
        let (layer, chain) = (&self.layers[number], &self.chain[number]);
        let layers = self.store.layers();
        if self.is_complete(number) {
            self.tell(layer, LayerState::AlreadyExists);
            return Ok(None);
        }
        // Locks are taken upwards along the chain, and a blob's lock, which is held for the download only, after the
        // layer's: two pulls cannot wait for each other.
        let waiting = || self.tell(layer, LayerState::Waiting);
        let token = Token::take(&self.store.partial(&format!("{}{TOKEN}", chain.0.hex())), waiting)?;
        if self.is_complete(number) {
            self.tell(layer, LayerState::AlreadyExists);
            return Ok(None);
        }
        let mut stage = if layers.contains(chain) { None } else { Some(layers.stage()?) };
        self.fetch_blob(number, stage.as_mut())?;
        self.tell(layer, LayerState::DownloadComplete);
        if stage.is_none() {
            self.tell(layer, LayerState::PullComplete);
        }
        Ok(stage.map(|stage| Staged { stage, token }))
    }

    /// Makes the blob complete, and unpacks it on the way if there is a stage to unpack it to.
    fn fetch_blob(&self, number: usize, stage: Option<&mut Stage>) -> Result<()> {
        let layer = &self.layers[number];
        let place = self.store.layout().blob_path(&layer.digest);
        let partial = self.store.partial(&layer.digest.hex());
        let lock = Locked::exclusive(&partial, || self.tell(layer, LayerState::Waiting))?;
        if place.exists() {
            let blob = File::open(&place).map_err(Error::system("open", &place))?;
            let length = blob.metadata().map_err(Error::system("inspect", &place))?.len();
            if length != layer.size {
                // Whether the file or the manifest is wrong cannot be told, and other images may need the file.
                let reason = format!(
                    "it has {length} bytes, the manifest says {}; remove it if it is damaged",
                    layer.size
                );
                return Err(Error::Damaged { path: place, reason });
            }
            tracing::info!("layer {} is here already: unpacking it from disk", layer.digest);
            let result = self.read_through(number, (&blob, &place), stage);
            if matches!(result, Err(Error::WrongDigest { .. })) {
                remove(&place)?;
            }
            lock.remove()?;
            return result;
        }
        match self.read_through(number, (lock.file(), &partial), stage) {
            Ok(()) => {
                lock.file().set_len(layer.size).map_err(Error::system("set the length of", &partial))?;
                settle(lock.file(), &partial, &place)
            }
            // What is here is no beginning of the blob: going on with it would fail for ever.
            Err(error) if spoils(&error) => {
                lock.remove()?;
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Reads the blob once from its first byte to its last, and compares both digests.
    fn read_through(&self, number: usize, file: (&File, &Path), stage: Option<&mut Stage>) -> Result<()> {
        let layer = &self.layers[number];
        let tell = |state| self.tell(layer, state);
        let mut reader = BlobReader::new(self.registry, layer, file, &self.give_up, &tell)?;
        let unpacked = stage.map(|stage| stage.unpack(&mut reader));
        if let Some(error) = reader.take_error() {
            return Err(error);
        }
        // If the bytes are not those promised, that is why they could not be unpacked.
        self.tell(layer, LayerState::VerifyingChecksum);
        reader.finish()?;
        let expected = &self.diff_ids[number];
        match unpacked.transpose()? {
            Some(unpacked) if unpacked.diff_id != *expected => Err(overlay_layers::Error::WrongDiffId {
                expected: expected.to_string(),
                actual: unpacked.diff_id.to_string(),
            }
            .into()),
            _ => Ok(()),
        }
    }

    fn commit(&self, number: usize, staged: Option<Staged>) -> Result<()> {
        let Some(Staged { stage, token }) = staged else { return Ok(()) };
        let layer = &self.layers[number];
        self.tell(layer, LayerState::Extracting);
        let parent = number.checked_sub(1).map(|below| &self.chain[below]);
        stage.commit(parent, &self.diff_ids[number])?;
        drop(token);
        self.tell(layer, LayerState::PullComplete);
        Ok(())
    }

    fn tell(&self, layer: &Descriptor, state: LayerState) {
        self.progress.event(Event::Layer { blob: &layer.digest, state });
    }
}
