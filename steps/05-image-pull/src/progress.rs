//! What a pull tells while it runs: plain events, for whoever prints them.

use crate::store::short;
use overlay_layers::Digest;
use std::time::Duration;

/// Something that listens to a pull. Events come from several threads at once.
pub trait Progress: Send + Sync {
    /// Called for every event; downloads send one for every piece read, so it should be quick.
    fn event(&self, event: Event<'_>);
}

/// Nobody listens.
impl Progress for () {
    fn event(&self, _: Event<'_>) {}
}

/// An event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// The registry has it. Docker: `12: Pulling from library/debian`.
    Resolved {
        /// The tag or digest.
        tag: &'a str,
        /// The repository without its host.
        repository: &'a str,
    },
    /// Something about one layer.
    Layer {
        /// The digest of its blob; [`Event::id`] is what Docker shows.
        blob: &'a Digest,
        /// What.
        state: LayerState,
    },
}

/// Where a layer is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerState {
    /// It will be downloaded.
    PullingFsLayer,
    /// It is here, from another image or an earlier pull.
    AlreadyExists,
    /// Another pull is at work on it, and this one waits.
    Waiting,
    /// Its bytes come, and are unpacked as they come.
    Downloading {
        /// Bytes that are here.
        current: u64,
        /// Bytes in all.
        total: u64,
    },
    /// All bytes are here, and the digests are compared.
    VerifyingChecksum,
    /// They are what they should be.
    DownloadComplete,
    /// It is put in its place in the layer store.
    Extracting,
    /// It is done.
    PullComplete,
    /// The connection broke and is made again.
    Retrying {
        /// After so long.
        wait: Duration,
    },
}

impl Event<'_> {
    /// The layer's short name: twelve digits of its blob's digest.
    pub fn id(&self) -> Option<String> {
        match self {
            Self::Layer { blob, .. } => Some(short(blob)),
            Self::Resolved { .. } => None,
        }
    }
}
