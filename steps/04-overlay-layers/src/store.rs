//! Layers on disk, each kept once however many images and containers use it.
//!
//! ```text
//! layers/
//!   4f2c…/            a layer, named by the hexadecimal digits of its chain ID
//!     fs/             its unpacked tree: a lower directory for overlayfs
//!     layer.json      diff ID, parent, size
//!   .stage-…/         a layer being unpacked by some process, which holds a lock on the directory
//!   .gone-…/          a layer being removed, likewise
//! ```
//!
//! A layer appears by one `rename` and disappears by one, so it is there whole or not at all, whenever the process or
//! the machine stops. What a crash leaves begins with a dot and is locked by nobody: [`LayerStore::sweep`] removes it.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Dir, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::digest::{ChainId, DiffId};
use crate::error::{Error, Result};
use crate::lowers::{Lowers, is_directory};
use crate::metadata::Metadata;
use crate::pipeline::{self, Unpacked};
use crate::tree::{self, Marks, open_in_root};

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What is recorded beside a layer's tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerInfo {
    /// The digest of the layer's uncompressed tar.
    pub diff_id: DiffId,
    /// The layer below, if any.
    pub parent: Option<ChainId>,
    /// Bytes that its files hold, counted once an inode.
    pub size: u64,
}

/// The directory `layers/`. Any number of processes may use it at once.
#[derive(Clone, Debug)]
pub struct LayerStore {
    root: PathBuf,
    marks: Marks,
}

impl LayerStore {
    /// Opens the store, and makes its directory (0700: layers hold setuid files of foreign making) if it is missing.
    pub fn open(root: &Path) -> Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(root)
            .map_err(Error::io("make the directory", root))?;
        Ok(Self { root: root.to_owned(), marks: Marks::Trusted })
    }

    /// The same store with overlay's marks as a user namespace needs them.
    pub fn with_marks(self, marks: Marks) -> Self {
        Self { marks, ..self }
    }

    fn directory(&self, chain: &ChainId) -> PathBuf {
        self.root.join(chain.0.hex())
    }

    /// Whether the layer is here, whole.
    pub fn contains(&self, chain: &ChainId) -> bool {
        self.directory(chain).join("layer.json").exists()
    }

    /// The layer's tree, usable as a lower directory. Never write to it: containers share it.
    pub fn path(&self, chain: &ChainId) -> PathBuf {
        self.directory(chain).join("fs")
    }

    /// What is recorded about the layer.
    pub fn info(&self, chain: &ChainId) -> Result<LayerInfo> {
        let path = self.directory(chain).join("layer.json");
        let json = std::fs::read(&path).map_err(Error::io("read", &path))?;
        serde_json::from_slice(&json).map_err(|e| Error::Damaged { path, reason: e.to_string() })
    }

    /// The trees of a layer and of those it lies on, topmost first: the lowers of its overlay.
    pub fn lowers(&self, top: &ChainId) -> Result<Vec<PathBuf>> {
        let mut lowers = Vec::new();
        let mut next = Some(*top);
        while let Some(chain) = next {
            let tree = self.path(&chain);
            let root =
                rustix::fs::open(&tree, DIRECTORY, Mode::empty()).map_err(Error::system("open", &tree))?;
            // Overlayfs looks for opaque marks on what it looks up, and nobody looks up a layer's root: a layer that
            // hides all of those below it is simply the last one.
            let last = self.marks.is_opaque(&root).map_err(Error::system("look at", &tree))?;
            lowers.push(tree);
            next = if last { None } else { self.info(&chain)?.parent };
        }
        Ok(lowers)
    }

    /// Bytes that the layer's files hold, counted once an inode.
    pub fn size(&self, chain: &ChainId) -> Result<u64> {
        Ok(self.info(chain)?.size)
    }

    /// The layers here, sorted by name.
    pub fn list(&self) -> Result<Vec<ChainId>> {
        let names = self.names()?;
        let mut layers: Vec<ChainId> =
            names.iter().filter_map(|name| format!("sha256:{}", name.to_str()?).parse().ok()).collect();
        layers.sort();
        Ok(layers)
    }

    /// Starts a new layer in a place of its own.
    pub fn stage(&self) -> Result<Stage> {
        // Holding the store's lock while the directory exists without a lock of its own keeps `sweep` from it.
        let _store = self.lock(FlockOperation::LockShared)?;
        let (path, lock) = self.make_locked()?;
        let tree = path.join("fs");
        rustix::fs::mkdirat(&lock, "fs", Mode::RWXU).map_err(Error::system("make the directory", &tree))?;
        let tree = rustix::fs::openat(&lock, "fs", DIRECTORY, Mode::empty())
            .map_err(Error::system("open the directory", &tree))?;
        Ok(Stage { store: self.clone(), path, lock, tree, unpacked: None, committed: false })
    }

    /// Makes a directory with a name that nobody has, and locks it.
    fn make_locked(&self) -> Result<(PathBuf, OwnedFd)> {
        for attempt in 0_u32.. {
            let path = self.root.join(format!(".stage-{}-{attempt}", std::process::id()));
            match rustix::fs::mkdir(&path, Mode::RWXU) {
                Err(Errno::EXIST) => continue,
                result => result.map_err(Error::system("make the directory", &path))?,
            }
            let lock = rustix::fs::open(&path, DIRECTORY, Mode::empty())
                .map_err(Error::system("open the directory", &path))?;
            rustix::fs::flock(&lock, FlockOperation::LockExclusive).map_err(Error::system("lock", &path))?;
            return Ok((path, lock));
        }
        unreachable!("some number is free")
    }

    /// Removes a layer. A layer that is not there is fine.
    ///
    /// The caller makes sure that no image, container or other layer needs it.
    pub fn remove(&self, chain: &ChainId) -> Result<()> {
        let path = self.directory(chain);
        let lock = match rustix::fs::open(&path, DIRECTORY, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(()),
            result => result.map_err(Error::system("open the directory", &path))?,
        };
        rustix::fs::flock(&lock, FlockOperation::LockExclusive).map_err(Error::system("lock", &path))?;
        let gone = loop {
            let gone = self.root.join(format!(".gone-{}-{}", chain.0.hex(), std::process::id()));
            match rustix::fs::rename(&path, &gone) {
                Ok(()) => break gone,
                // Another process was faster.
                Err(Errno::NOENT) => return Ok(()),
                // One that had our number left this when it was killed.
                Err(Errno::EXIST | Errno::NOTEMPTY) => remove_directory(&gone)?,
                Err(e) => return Err(Error::system("rename for removal", &path)(e)),
            }
        };
        tracing::info!("removed layer {chain}: renamed away first, so that nobody sees half of it");
        remove_directory(&gone)
    }

    /// Removes what crashed commands left: staging directories, and layers half removed.
    pub fn sweep(&self) -> Result<()> {
        let _store = self.lock(FlockOperation::LockExclusive)?;
        for name in self.names()? {
            if ![&b".stage-"[..], b".gone-"].iter().any(|prefix| name.as_bytes().starts_with(prefix)) {
                continue;
            }
            let path = self.root.join(&name);
            let lock = match rustix::fs::open(&path, DIRECTORY, Mode::empty()) {
                Err(Errno::NOENT) => continue,
                result => result.map_err(Error::system("open the directory", &path))?,
            };
            match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {
                    tracing::info!(
                        "removing {}, which a command that was killed left behind",
                        path.display()
                    );
                    remove_directory(&path)?;
                }
                Err(Errno::WOULDBLOCK) => {}
                Err(e) => return Err(Error::system("lock", &path)(e)),
            }
        }
        Ok(())
    }

    fn open_root(&self) -> Result<OwnedFd> {
        rustix::fs::open(&self.root, DIRECTORY, Mode::empty())
            .map_err(Error::system("open the directory", &self.root))
    }

    fn lock(&self, operation: FlockOperation) -> Result<OwnedFd> {
        let root = self.open_root()?;
        rustix::fs::flock(&root, operation).map_err(Error::system("lock", &self.root))?;
        Ok(root)
    }

    fn names(&self) -> Result<Vec<OsString>> {
        let read = |e| Error::system("read the directory", &self.root)(e);
        let mut names = Vec::new();
        for entry in Dir::new(self.open_root()?).map_err(read)? {
            let name = entry.map_err(read)?.file_name().to_bytes().to_owned();
            names.push(OsStr::from_bytes(&name).to_owned());
        }
        Ok(names)
    }
}

/// A layer being unpacked. Dropped without [`Stage::commit`], it leaves nothing.
#[derive(Debug)]
pub struct Stage {
    store: LayerStore,
    path: PathBuf,
    /// The staging directory itself, locked: as long as the lock is held, somebody is at work here.
    lock: OwnedFd,
    tree: OwnedFd,
    unpacked: Option<Unpacked>,
    committed: bool,
}

impl Stage {
    /// Unpacks a layer stream (tar, or gzip or zstd around it) and computes its diff ID on the way.
    ///
    /// The stream is read to its very end, with whatever follows the archive, because the digest covers it. Call it
    /// once.
    pub fn unpack(&mut self, stream: impl Read) -> Result<Unpacked> {
        self.unpack_at_most(stream, u64::MAX)
    }

    /// The same, refusing layers of more than `max` bytes of uncompressed tar.
    pub fn unpack_at_most(&mut self, stream: impl Read, max: u64) -> Result<Unpacked> {
        let unpacked = pipeline::run(self.tree.as_fd(), stream, self.store.marks, max)?;
        tracing::info!(
            "unpacked a layer of {} bytes into {}: whiteouts became overlay's own",
            unpacked.size,
            self.path.display()
        );
        self.unpacked = Some(unpacked.clone());
        Ok(unpacked)
    }

    /// Makes the unpacked layer part of the store, if it is what it should be.
    ///
    /// Directories that the archive only implied take owner, mode and attributes from the nearest layer below that has
    /// them: in an overlay the topmost layer's directory counts, and the archive's maker did not mean to change it.
    ///
    /// If another process committed the same chain first, that is success.
    ///
    /// # Errors
    /// [`Error::WrongDiffId`] when the content differs from `expected`. Nothing of the layer is kept on any error.
    pub fn commit(mut self, parent: Option<&ChainId>, expected: &DiffId) -> Result<ChainId> {
        let unpacked = self.unpacked.take().ok_or_else(|| Error::Stream("nothing was unpacked".into()))?;
        if unpacked.diff_id != *expected {
            return Err(Error::WrongDiffId {
                expected: expected.to_string(),
                actual: unpacked.diff_id.to_string(),
            });
        }
        self.inherit(parent, &unpacked.implied)?;
        let info = LayerInfo { diff_id: *expected, parent: parent.copied(), size: unpacked.size };
        self.write_info(&info)?;
        // A layer that is there after a power cut must be whole. One call flushes it all; fsync of every file would
        // wait once a file.
        rustix::fs::syncfs(&self.lock).map_err(Error::system("flush", &self.path))?;

        let chain = ChainId::of(parent, expected);
        let place = self.store.directory(&chain);
        match rustix::fs::rename(&self.path, &place) {
            Ok(()) => {
                // Its old name is free, and may be another stage's by now: `drop` must keep its hands off.
                self.committed = true;
                let root = self.store.open_root()?;
                rustix::fs::fsync(&root).map_err(Error::system("flush", &self.store.root))?;
                tracing::info!("committed layer {chain} by renaming it into place");
            }
            // Another process did the same work, and was faster: its layer is as good as ours.
            Err(Errno::EXIST | Errno::NOTEMPTY) => {}
            Err(e) => return Err(Error::system("rename into place", &self.path)(e)),
        }
        Ok(chain)
    }

    fn write_info(&self, info: &LayerInfo) -> Result<()> {
        let path = self.path.join("layer.json");
        let json = serde_json::to_vec_pretty(info).expect("plain data serialises");
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.lock, "layer.json", flags, Mode::from_raw_mode(0o644))
            .map_err(Error::system("create", &path))?;
        std::fs::File::from(file).write_all(&json).map_err(Error::io("write", &path))
    }

    /// Gives implied directories the metadata that they have in the layers below.
    fn inherit(&self, parent: Option<&ChainId>, implied: &[PathBuf]) -> Result<()> {
        let mut below = Vec::new();
        let mut next = parent.copied();
        while let Some(chain) = next {
            below.push(self.store.path(&chain));
            next = self.store.info(&chain)?.parent;
        }
        let below = Lowers::open(&below, self.store.marks)?;
        for path in implied {
            if let Some((lower, stat)) = below.find(path)?
                && is_directory(&stat)
                && let Ok(own) = open_in_root(self.tree.as_fd(), path, DIRECTORY)
            {
                Metadata::with_stat(lower.as_fd(), &stat, path)?.apply(own.as_fd(), path)?;
            }
        }
        Ok(())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // What cannot be removed now is left to `sweep`, which reports it.
        if !self.committed
            && let Err(error) = remove_directory(&self.path)
        {
            tracing::warn!("{error}");
        }
    }
}

/// Removes a directory with everything in it; one that is gone already is fine.
fn remove_directory(path: &Path) -> Result<()> {
    match tree::remove(CWD, path.as_os_str()) {
        Ok(_) | Err(Errno::NOENT) => Ok(()),
        Err(e) => Err(Error::system("remove the directory", path)(e)),
    }
}
