//! What can go wrong, each on one line: what was attempted, on what, and why it failed.
//!
//! Where Docker has a wording that people search for, it is kept.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use overlay_layers::Digest;

use crate::config::ConfigError;
use crate::manifest::ManifestError;
use crate::platform::PlatformError;
use crate::reference::ReferenceError;

/// The result of this crate's calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A text that is no image reference.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// A text that is no platform.
    #[error(transparent)]
    Platform(#[from] PlatformError),
    /// A manifest that cannot be used.
    #[error("cannot use {reference}: {reason}")]
    Manifest {
        /// Of which image.
        reference: String,
        /// Why not.
        reason: ManifestError,
    },
    /// A config that cannot be used.
    #[error("cannot use {reference}: {reason}")]
    Config {
        /// Of which image.
        reference: String,
        /// Why not.
        reason: ConfigError,
    },
    /// The layer store or the unpacking of a layer failed.
    #[error(transparent)]
    Layers(#[from] overlay_layers::Error),
    /// A system call failed.
    #[error("cannot {action} {}: {errno}", path.display())]
    System {
        /// What was attempted, as it reads after "cannot": `create the directory`.
        action: &'static str,
        /// The object of the attempt.
        path: PathBuf,
        /// What the kernel said.
        errno: Errno,
    },
    /// No HTTP answer came.
    #[error("cannot get {url}: {reason}")]
    Connection {
        /// From where.
        url: String,
        /// What happened, and what to do about it.
        reason: String,
        /// Whether the same request may succeed later.
        transient: bool,
    },
    /// An HTTP answer that ends the attempt.
    #[error("cannot get {url}: the registry answered {status}{message}")]
    Status {
        /// From where.
        url: String,
        /// The status code and its name.
        status: String,
        /// The registry's own words, led by `: `, or nothing.
        message: String,
        /// Whether the same request may succeed later.
        transient: bool,
    },
    /// Docker's words for a repository that is private or missing; registries do not tell which.
    #[error(
        "pull access denied for {repository}, repository does not exist or may require 'docker login'{message}"
    )]
    Denied {
        /// The repository.
        repository: String,
        /// The registry's own words, led by `: `, or nothing.
        message: String,
    },
    /// The repository has no such tag or digest.
    #[error("manifest for {reference} not found{message}")]
    ManifestUnknown {
        /// What was asked for.
        reference: String,
        /// The registry's own words, led by `: `, or nothing.
        message: String,
    },
    /// The registry does not serve this client now.
    #[error(
        "{host} refuses more requests for now (429 Too Many Requests){message}; try again later or log in"
    )]
    TooManyRequests {
        /// Which registry.
        host: String,
        /// The registry's own words, led by `: `, or nothing.
        message: String,
        /// How long it asks us to wait, if it says.
        retry_after: Option<Duration>,
    },
    /// The registry sent us somewhere we do not go.
    #[error("refused to follow {from} to {to}: {reason}")]
    Redirect {
        /// From where.
        from: String,
        /// To where.
        to: String,
        /// Why not.
        reason: &'static str,
    },
    /// The registry's way to log in failed or is unknown.
    #[error("cannot log in to {host}: {reason}")]
    Login {
        /// Which registry.
        host: String,
        /// Why not.
        reason: String,
    },
    /// A setting that cannot be used.
    #[error("cannot use {setting}: {reason}")]
    Setting {
        /// Which one.
        setting: String,
        /// Why not.
        reason: String,
    },
    /// Content that is not what its name promises.
    #[error(
        "{what} {expected} was refused: what came has digest {actual}, so it is damaged or forged; nothing of it was kept"
    )]
    WrongDigest {
        /// `blob`, `manifest`.
        what: &'static str,
        /// The digest asked for.
        expected: Digest,
        /// The digest of what came.
        actual: Digest,
    },
    /// Content that is shorter or longer than its descriptor.
    #[error("{what} was refused: {actual} bytes came where {expected} were promised; nothing of it was kept")]
    WrongSize {
        /// What it is.
        what: String,
        /// The size promised, in bytes.
        expected: u64,
        /// The size of what came, as far as it was read.
        actual: u64,
    },
    /// An index without an image for the platform.
    #[error(
        "no matching manifest for {platform} in the manifest list entries of {reference}; it has {offered}"
    )]
    NoPlatform {
        /// Which image.
        reference: String,
        /// The platform asked for.
        platform: String,
        /// The platforms there are.
        offered: String,
    },
    /// An image of one platform, and not the one asked for.
    #[error(
        "image with reference {reference} was found but its platform ({actual}) does not match the specified platform ({wanted})"
    )]
    WrongPlatform {
        /// Which image.
        reference: String,
        /// The platform asked for.
        wanted: String,
        /// Its platform.
        actual: String,
    },
    /// Docker's words for an image that is not in the store.
    #[error("No such image: {0}")]
    NoSuchImage(String),
    /// Docker's words for a name that nobody may choose: a digest is what it is.
    #[error("refusing to create a tag with a digest reference")]
    TagWithDigest,
    /// More than one image's ID begins so.
    #[error("image ID {prefix} is ambiguous: it begins {count} images' IDs; give more digits")]
    AmbiguousId {
        /// What was given.
        prefix: String,
        /// How many it fits.
        count: usize,
    },
    /// Docker's words for an ID that several names share.
    #[error(
        "conflict: unable to delete {id} (must be forced) - image is referenced in multiple repositories"
    )]
    SeveralNames {
        /// The short image ID.
        id: String,
    },
    /// A file of the store that does not hold what it should.
    #[error("the image store's {} is damaged: {reason}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Another layer of the same pull failed, so this one was given up.
    #[error("given up because another layer of the pull failed")]
    GivenUp,
}

impl Error {
    /// For `map_err`: an I/O error with what was attempted and on which file.
    pub(crate) fn system<E: Into<io::Error>>(action: &'static str, path: &Path) -> impl FnOnce(E) -> Self {
        let path = path.to_owned();
        move |error| Self::System { action, path, errno: errno(&error.into()) }
    }

    /// Whether the same request may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Connection { transient: true, .. } | Self::Status { transient: true, .. })
    }
}

/// The error number inside an I/O error. Errors that std makes up itself have none and become EIO.
pub(crate) fn errno(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}
