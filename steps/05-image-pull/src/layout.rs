//! The OCI image layout: a directory that any tool can read (OCI image spec, "Image Layout").
//!
//! ```text
//! images/
//!   oci-layout          {"imageLayoutVersion": "1.0.0"}
//!   index.json          one entry a name: its manifest, with the name as an annotation
//!   blobs/sha256/HEX    manifests, configs and layers, each under its own digest
//! ```
//!
//! `skopeo inspect oci:DIR:docker.io/library/debian:12` reads it.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use overlay_layers::Digest;

use crate::error::{Error, Result};
use crate::files::{Locked, TEMPORARY, make_directory, remove, replace};
use crate::manifest::{Descriptor, Index, OCI_INDEX};
use crate::names::Names;

/// An image layout in a directory. Any number of processes may use it at once.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// Opens the layout, and makes it if it is missing.
    pub fn open(root: &Path) -> Result<Self> {
        let layout = Self { root: root.to_owned() };
        make_directory(&root.join("blobs/sha256"))?;
        if !root.join("oci-layout").exists() {
            let lock = layout.lock()?;
            replace(&root.join("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#)?;
            if !layout.index_path().exists() {
                layout.write(&Names::default())?;
            }
            drop(lock);
        }
        Ok(layout)
    }

    /// Where the layout is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the blob is, or would be.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs/sha256").join(digest.hex())
    }

    /// Whether the blob is here. A blob gets its name only when it is complete and verified.
    pub fn has(&self, digest: &Digest) -> bool {
        self.blob_path(digest).exists()
    }

    /// Reads a small blob, a manifest or config, and checks its digest again: disks forget too.
    pub fn read(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>> {
        let path = self.blob_path(digest);
        let mut content = Vec::new();
        File::open(&path)
            .and_then(|file| file.take(limit).read_to_end(&mut content))
            .map_err(Error::system("read", &path))?;
        if Digest::of(&content) != *digest {
            return Err(Error::Damaged {
                path,
                reason: "its content has another digest; remove the file and pull again".to_owned(),
            });
        }
        Ok(content)
    }

    /// Stores a small blob and returns its digest.
    pub fn write_blob(&self, content: &[u8]) -> Result<Digest> {
        let digest = Digest::of(content);
        let path = self.blob_path(&digest);
        if !path.exists() {
            let _lock = self.lock()?;
            replace(&path, content)?;
        }
        Ok(digest)
    }

    /// The digests of all blobs. What has no digest for a name is a temporary file or a stranger's.
    pub fn blobs(&self) -> Result<Vec<Digest>> {
        let digest = |path: PathBuf| format!("sha256:{}", path.file_name()?.to_str()?).parse().ok();
        Ok(self.blob_files()?.into_iter().filter_map(digest).collect())
    }

    fn blob_files(&self) -> Result<Vec<PathBuf>> {
        let directory = self.root.join("blobs/sha256");
        let list = |error: io::Error| Error::system("list the directory", &directory)(error);
        let entries = std::fs::read_dir(&directory).map_err(list)?;
        entries.map(|entry| entry.map(|entry| entry.path()).map_err(list)).collect()
    }

    /// Removes temporary files that commands that were killed left. The caller sees to it that no other is at work.
    pub(crate) fn sweep(&self) -> Result<()> {
        let _lock = self.lock()?;
        for path in self.blob_files()? {
            if path.extension().is_some_and(|extension| extension == TEMPORARY) {
                remove(&path)?;
            }
        }
        Ok(())
    }

    /// The names, as they are now.
    pub fn names(&self) -> Result<Names> {
        let path = self.index_path();
        let json = std::fs::read(&path).map_err(Error::system("read", &path))?;
        let index: Index = serde_json::from_slice(&json)
            .map_err(|error| Error::Damaged { path, reason: error.to_string() })?;
        Ok(Names(index.manifests))
    }

    /// Changes the names, under a lock. Nothing is written if nothing changes or the change fails.
    pub fn update<T>(&self, change: impl FnOnce(&mut Names) -> Result<T>) -> Result<T> {
        let _lock = self.lock()?;
        let before = self.names()?;
        let mut names = before.clone();
        let result = change(&mut names)?;
        if names != before {
            self.write(&names)?;
        }
        Ok(result)
    }

    fn write(&self, names: &Names) -> Result<()> {
        let manifests: Vec<Descriptor> = names.0.clone();
        let index =
            Index { schema_version: 2, media_type: Some(OCI_INDEX.to_owned()), manifests, annotations: None };
        let json = serde_json::to_vec_pretty(&index).expect("plain data serialises");
        replace(&self.index_path(), &json)
    }

    fn index_path(&self) -> PathBuf {
        self.root.join("index.json")
    }

    fn lock(&self) -> Result<Locked> {
        Locked::exclusive(&self.root.join("index.lock"), || {})
    }
}
