//! What can go wrong, each on one line.

/// The result of this crate's calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A map that the kernel would not take.
    #[error("invalid id map: {0}")]
    Map(String),
    /// A user or group that there is not.
    #[error("unknown {kind} \"{name}\": {file} has no such entry{advice}")]
    Unknown {
        /// `user` or `group`.
        kind: &'static str,
        /// Its name or number.
        name: String,
        /// Where it was looked for.
        file: &'static str,
        /// What to do, in brackets with a space before; may be empty.
        advice: String,
    },
    /// A user without ids of its own to give to containers.
    #[error("{file} gives no ids to {name} ({advice})")]
    NoIds {
        /// `/etc/subuid` or `/etc/subgid`.
        file: &'static str,
        /// The user's or group's name or number.
        name: String,
        /// What gives them some.
        advice: String,
    },
    /// A text that does not name a user as `--userns-remap` takes it.
    #[error("invalid user \"{0}\": expected default, USER[:GROUP] or UID[:GID]")]
    Remap(String),
    /// A program that sets maps for ordinary users, and cannot.
    #[error("cannot set the id map of process {pid} with {program}: {reason} ({advice})")]
    Helper {
        /// The process whose map it was.
        pid: i32,
        /// `newuidmap` or `newgidmap`.
        program: &'static str,
        /// Why.
        reason: String,
        /// What to do.
        advice: String,
    },
    /// Nothing says where this user's files are.
    #[error("cannot find a folder for containers: set XDG_DATA_HOME or HOME to an absolute path")]
    Folder,
    /// What a child process could not do, in its words.
    #[error("{0}")]
    Outside(String),
    /// An overlay with a shape that cannot be shown under other owners.
    #[error("cannot mount the overlay under other owners: {0}")]
    Overlay(String),
    /// What step 4 could not do.
    #[error(transparent)]
    Layers(#[from] overlay_layers::Error),
    /// What the kernel refused.
    #[error(transparent)]
    Kernel(#[from] chroot::Error),
}
