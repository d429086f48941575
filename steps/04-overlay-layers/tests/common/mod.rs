//! What the tests share: archives made by hand, and trees compared in every respect.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write;
use std::fs;
use std::io::Cursor;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use overlay_layers::{Contents, Marks, Result};
use tar::{EntryType, Header};

/// An archive in the making. Names go in as they are, however hostile.
#[derive(Default)]
pub(crate) struct Archive(Vec<u8>);

impl Archive {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn member(self, name: &str, kind: EntryType, link: &str, data: &[u8]) -> Self {
        self.with(name, kind, link, data, |_| {})
    }

    pub(crate) fn with(
        mut self,
        name: &str,
        kind: EntryType,
        link: &str,
        data: &[u8],
        change: impl FnOnce(&mut Header),
    ) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000_000);
        header.set_size(data.len() as u64);
        header.set_device_major(0).unwrap();
        header.set_device_minor(0).unwrap();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        change(&mut header);
        header.set_cksum();
        self.0.extend(header.as_bytes());
        self.0.extend(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn file(self, name: &str, data: &str) -> Self {
        self.member(name, EntryType::Regular, "", data.as_bytes())
    }

    pub(crate) fn directory(self, name: &str) -> Self {
        self.member(name, EntryType::Directory, "", b"")
    }

    pub(crate) fn symlink(self, name: &str, target: &str) -> Self {
        self.member(name, EntryType::Symlink, target, b"")
    }

    pub(crate) fn hard_link(self, name: &str, target: &str) -> Self {
        self.member(name, EntryType::Link, target, b"")
    }

    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut data = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let length = (1..99_999).find(|n| *n == rest + n.to_string().len()).unwrap();
            data.extend(format!("{length} {key}=").as_bytes());
            data.extend(*value);
            data.push(b'\n');
        }
        self.member("pax", EntryType::XHeader, "", &data)
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.0.clone();
        bytes.resize(bytes.len() + 1024, 0);
        bytes
    }

    /// The archive so far, without an end.
    pub(crate) fn open_ended(&self) -> Vec<u8> {
        self.0.clone()
    }
}

pub(crate) fn open(path: &Path) -> OwnedFd {
    fs::File::open(path).unwrap().into()
}

/// Unpacks into a directory.
pub(crate) fn unpack(directory: &Path, tar: &[u8]) -> Result<Contents> {
    overlay_layers::unpack(open(directory).as_fd(), Cursor::new(tar), Marks::Trusted)
}

/// Where the root of a mount without a place can be reached.
pub(crate) fn through(mount: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", mount.as_raw_fd())).join(".")
}

/// Everything that can be said about a file, on one line.
pub(crate) fn describe(path: &Path) -> String {
    let meta = fs::symlink_metadata(path).unwrap();
    let kind = meta.file_type();
    let mut line = format!(
        "{:06o} {}:{} {}.{:09}",
        meta.mode(),
        meta.uid(),
        meta.gid(),
        meta.mtime(),
        meta.mtime_nsec()
    );
    if kind.is_symlink() {
        write!(line, " -> {}", fs::read_link(path).unwrap().display()).unwrap();
    } else if kind.is_file() {
        write!(line, " {} {}", meta.len(), overlay_layers::Digest::of(&fs::read(path).unwrap())).unwrap();
    } else if kind.is_char_device() || kind.is_block_device() {
        write!(line, " {:x}", meta.rdev()).unwrap();
    }
    for (name, value) in xattrs(path) {
        write!(line, " {name}={value:?}").unwrap();
    }
    line
}

pub(crate) fn xattrs(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut names = Vec::with_capacity(65536);
    rustix::fs::llistxattr(path, rustix::buffer::spare_capacity(&mut names)).unwrap();
    let names = names.split(|&b| b == 0).filter(|name| !name.is_empty());
    names
        .map(|name| {
            let mut value = Vec::with_capacity(65536);
            let name = OsStr::from_bytes(name);
            rustix::fs::lgetxattr(path, name, rustix::buffer::spare_capacity(&mut value)).unwrap();
            (name.to_string_lossy().into_owned(), value)
        })
        .collect()
}

/// A whole tree: every path with its description, and hard links as groups of paths.
pub(crate) fn tree(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut links: BTreeMap<u64, Vec<PathBuf>> = BTreeMap::new();
    let mut directories = vec![PathBuf::new()];
    found.insert(PathBuf::from("."), describe(root));
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(root.join(&directory)).unwrap() {
            let entry = entry.unwrap();
            let path = directory.join(entry.file_name());
            let meta = entry.metadata().unwrap();
            if meta.is_dir() {
                directories.push(path.clone());
            } else if meta.nlink() > 1 {
                links.entry(meta.ino()).or_default().push(path.clone());
            }
            found.insert(path, describe(&entry.path()));
        }
    }
    for mut group in links.into_values() {
        group.sort();
        for path in &group {
            write!(found.get_mut(path).unwrap(), " links {group:?}").unwrap();
        }
    }
    found
}

/// Fails with the differences only.
pub(crate) fn assert_same(left: &BTreeMap<PathBuf, String>, right: &BTreeMap<PathBuf, String>) {
    let mut differences = String::new();
    for path in left.keys().chain(right.keys()).collect::<std::collections::BTreeSet<_>>() {
        if left.get(path) != right.get(path) {
            writeln!(differences, "{}\n  {:?}\n  {:?}", path.display(), left.get(path), right.get(path))
                .unwrap();
        }
    }
    assert!(differences.is_empty(), "the trees differ:\n{differences}");
}
