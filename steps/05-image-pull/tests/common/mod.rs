//! What the tests of pulling share.
#![allow(dead_code, unreachable_pub, reason = "each test file is a crate of its own that uses a part")]

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use image_pull::{Event, LayerState, Options, Patience, Progress, Pulled, Reference, Result, Store, pull};
use tempfile::TempDir;
use testbed::registry::{Compression, Image, noise, tar};

/// An empty store in a directory of its own.
pub struct Bench {
    pub directory: TempDir,
    pub store: Store,
}

impl Bench {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = Store::open(directory.path()).expect("a fresh store");
        Self { directory, store }
    }

    pub fn pull(&self, reference: &str) -> Result<Pulled> {
        self.pull_with(reference, &hurried())
    }

    pub fn pull_with(&self, reference: &str, options: &Options) -> Result<Pulled> {
        pull(&self.store, &reference_to(reference), options, &())
    }

    /// The error that a pull must end with.
    pub fn refused(&self, reference: &str) -> String {
        self.pull(reference).expect_err("the pull must fail").to_string()
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The content of a file in the topmost layer that has it.
    pub fn file(&self, image: &str, path: &str) -> Vec<u8> {
        let image = self.store.resolve(image).expect("the image is here");
        let layers = image.chain.iter().rev().map(|chain| self.store.layers().path(chain).join(path));
        let found: PathBuf = layers.into_iter().find(|path| path.exists()).expect("some layer has the file");
        std::fs::read(found).expect("a readable file")
    }

    /// Everything in the store, as paths, sorted: blobs, layers, partial files.
    pub fn content(&self) -> Vec<String> {
        let mut content = Vec::new();
        for directory in ["images/blobs/sha256", "layers", "partial"] {
            let entries = std::fs::read_dir(self.path().join(directory)).expect("the store's directories");
            content.extend(
                entries
                    .map(|entry| format!("{directory}/{}", entry.expect("an entry").file_name().display())),
            );
        }
        content.sort();
        content
    }
}

pub fn reference_to(text: &str) -> Reference {
    text.parse().expect(text)
}

/// Options that do not wait long for what will not come.
pub fn hurried() -> Options {
    let patience =
        Patience { attempts: 3, first_wait: Duration::from_millis(10), silence: Duration::from_secs(20) };
    Options { patience, platform: Some("linux/amd64".parse().expect("a platform")), ..Options::default() }
}

/// Layers with one file each, `layer-0` and so on; the gzip of each has about so many bytes.
pub fn image_of(sizes: &[usize]) -> Image {
    let layer = |(number, size): (usize, &usize)| {
        let content = noise(*size, number as u64 + *size as u64);
        (tar(&[(&format!("layer-{number}"), &content)]), Compression::Gzip)
    };
    Image { layers: sizes.iter().enumerate().map(layer).collect(), ..Image::default() }
}

/// Notes the states of layers that are not about single pieces.
#[derive(Default)]
pub struct Notes(pub Mutex<Vec<(String, LayerState)>>);

impl Progress for Notes {
    fn event(&self, event: Event<'_>) {
        if let Event::Layer { blob, state } = event
            && !matches!(state, LayerState::Downloading { .. })
        {
            self.0.lock().expect("no panic while it is held").push((blob.to_string(), state));
        }
    }
}

impl Notes {
    /// How many layers went through this state.
    pub fn count(&self, wanted: LayerState) -> usize {
        self.0.lock().expect("no panic while it is held").iter().filter(|(_, state)| *state == wanted).count()
    }
}
