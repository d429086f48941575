//! The tree that a layer becomes, written through directory descriptors.
//!
//! Every path comes from the archive and is hostile. It is resolved by the kernel under the tree's root with
//! `openat2(RESOLVE_IN_ROOT)`, as if the process had changed its root there, so that neither `..` nor a symlink can
//! lead out; checking the path as a string and opening it afterwards is the bug behind most tar CVEs.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, XattrFlags};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::metadata::Metadata;

/// How an overlay layer marks a directory that hides everything below it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Marks {
    /// `trusted.overlay.*` attributes, which only the host's root can set or see.
    #[default]
    Trusted,
    /// `user.overlay.*` attributes, for overlays mounted in a user namespace (mount option `userxattr`).
    User,
}

impl Marks {
    /// The attribute of an opaque directory (kernel: Documentation/filesystems/overlayfs.rst).
    pub fn opaque(self) -> &'static str {
        match self {
            Self::Trusted => "trusted.overlay.opaque",
            Self::User => "user.overlay.opaque",
        }
    }
}

/// Whether this is overlay's whiteout: a character device 0/0.
pub(crate) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// A member's path, taken apart: relative, and without `.`, `..` and empty components. The root itself is empty.
pub(crate) fn member_path(member: &OsStr) -> Result<PathBuf> {
    if member.as_bytes().contains(&0) {
        return Err(Error::member(member, "its path contains a NUL byte"));
    }
    let mut path = PathBuf::new();
    for component in Path::new(member).components() {
        match component {
            // As docker: an absolute path means the layer's root.
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            Component::ParentDir => return Err(Error::member(member, "its path contains '..'")),
            Component::Normal(name) => path.push(name),
        }
    }
    Ok(path)
}

/// Opens a path under `root` as a process whose root it is would: symlinks are followed, and none leads out.
pub(crate) fn open_in_root(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    loop {
        match rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            // The kernel could not exclude a race with a rename somewhere on the system: openat2(2) says try again.
            Err(Errno::AGAIN) => {}
            result => return result,
        }
    }
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);

/// A tree being written.
pub(crate) struct Tree<'a> {
    root: BorrowedFd<'a>,
    marks: Marks,
    /// The directory of the last member, open: archives list a directory's members together.
    cached: Option<(PathBuf, Rc<OwnedFd>)>,
    /// Every directory made, with what its own member says about it; `None` where no member named it.
    directories: BTreeMap<PathBuf, Option<Metadata>>,
    /// What directories are like that no member names.
    implied: Metadata,
    /// Whether it was there before, with things in it: then a directory gives way to nothing else, and nothing else to a
    /// directory, and there are no layers below.
    merges: bool,
    /// Whether devices are made.
    devices: bool,
    /// Bytes that files and symlinks hold.
    size: u64,
}

impl<'a> Tree<'a> {
    /// Whether devices are made here.
    pub(crate) fn takes_devices(&self) -> bool {
        self.devices
    }

    pub(crate) fn new(root: BorrowedFd<'a>, marks: Marks) -> Self {
        // The root exists before the archive speaks of it, and many archives never do.
        let directories = BTreeMap::from([(PathBuf::new(), None)]);
        let implied = Metadata { mode: 0o755, ..Metadata::default() };
        // In a user namespace mknod(2) refuses them to everybody.
        let devices = marks == Marks::Trusted;
        Self { root, marks, cached: None, directories, implied, merges: false, devices, size: 0 }
    }

    /// A tree that exists and gets more; directories that are made on the way are as `implied` says.
    pub(crate) fn merging(root: BorrowedFd<'a>, devices: bool, implied: Metadata) -> Self {
        let directories = BTreeMap::new();
        Self { directories, implied, merges: true, devices, ..Self::new(root, Marks::default()) }
    }

    /// Takes a member's path apart: the directory that is to hold it, open, and its name there. Directories that the
    /// archive only implies are made.
    pub(crate) fn place<'p>(&mut self, path: &'p Path) -> Result<(Rc<OwnedFd>, &'p OsStr)> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Error::member(path, "the layer's root can only be a directory"));
        };
        Ok((self.directory(parent)?, name))
    }

    /// A directory, open; made if the archive only implies it.
    pub(crate) fn directory(&mut self, path: &Path) -> Result<Rc<OwnedFd>> {
        if let Some((cached, fd)) = &self.cached
            && cached == path
        {
            return Ok(Rc::clone(fd));
        }
        let fd = match open_in_root(self.root, path, DIRECTORY) {
            Err(Errno::NOENT | Errno::NOTDIR) => self.implied_directory(path)?,
            result => result.map_err(Error::system("open the directory", path))?,
        };
        let fd = Rc::new(fd);
        self.cached = Some((path.to_owned(), Rc::clone(&fd)));
        Ok(fd)
    }

    /// Makes what is missing of a path, component by component.
    fn implied_directory(&mut self, path: &Path) -> Result<OwnedFd> {
        let mut prefix = PathBuf::new();
        let mut parent = open_in_root(self.root, &prefix, DIRECTORY)
            .map_err(Error::system("open the layer's root", "/"))?;
        for name in path {
            prefix.push(name);
            parent = match open_in_root(self.root, &prefix, DIRECTORY) {
                Err(Errno::NOENT | Errno::NOTDIR) => {
                    if !self.make_directory(parent.as_fd(), name).map_err(Error::system("make", &prefix))? {
                        return Err(Error::member(path, format!("{} is no directory", prefix.display())));
                    }
                    self.directories.insert(prefix.clone(), None);
                    open_in_root(self.root, &prefix, DIRECTORY)
                }
                result => result,
            }
            .map_err(Error::system("open the directory", &prefix))?;
        }
        Ok(parent)
    }

    /// Makes a directory, over a whiteout if one is there. `false`: something else is there.
    ///
    /// Its mode is 0700 until the archive is finished: the final one may forbid us to write into it.
    fn make_directory(&self, parent: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<bool> {
        match rustix::fs::mkdirat(parent, name, Mode::RWXU) {
            Ok(()) => return Ok(true),
            Err(Errno::EXIST) => {}
            Err(e) => return Err(e),
        }
        if self.merges || !is_whiteout(&rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?) {
            return Ok(false);
        }
        // The whiteout hid a directory of the layers below, and the new directory must go on hiding its content.
        rustix::fs::unlinkat(parent, name, AtFlags::empty())?;
        rustix::fs::mkdirat(parent, name, Mode::RWXU)?;
        let flags = DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(parent, name, flags, Mode::empty())?;
        rustix::fs::fsetxattr(&fd, self.marks.opaque(), b"y", XattrFlags::empty())?;
        Ok(true)
    }

    /// A directory that has a member of its own. One that is there stays, with its content; anything else gives way.
    pub(crate) fn member_directory(&mut self, path: PathBuf, metadata: Metadata) -> Result<()> {
        if !path.as_os_str().is_empty() {
            let (parent, name) = self.place(&path)?;
            let mut made = self
                .make_directory(parent.as_fd(), name)
                .map_err(Error::system("make the directory", &path))?;
            if !made {
                let stat = rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(Error::system("look at", &path))?;
                made = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
            }
            if !made && self.merges {
                return Err(Error::Conflict { path, there: "non-directory", new: "directory" });
            }
            if !made {
                self.give_way(parent.as_fd(), name, &path)?;
                self.make_directory(parent.as_fd(), name)
                    .map_err(Error::system("make the directory", &path))?;
            }
        }
        self.directories.insert(path, Some(metadata));
        Ok(())
    }

    /// Runs `make`, which makes something new under this name; if the name is taken, removes what is there, and
    /// whatever is in it, and runs it again.
    pub(crate) fn replacing<T>(
        &mut self,
        (parent, name): (BorrowedFd<'_>, &OsStr),
        path: &Path,
        action: &'static str,
        make: impl Fn() -> rustix::io::Result<T>,
    ) -> Result<T> {
        match make() {
            Err(Errno::EXIST) => {
                self.give_way(parent, name, path)?;
                make().map_err(Error::system(action, path))
            }
            result => result.map_err(Error::system(action, path)),
        }
    }

    fn give_way(&mut self, parent: BorrowedFd<'_>, name: &OsStr, path: &Path) -> Result<()> {
        // What the cached descriptor names may be about to go.
        self.cached = None;
        if self.merges {
            // Only what unlink(2) takes: others may put a directory here at any time.
            return match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
                Err(Errno::ISDIR) => {
                    Err(Error::Conflict { path: path.to_owned(), there: "directory", new: "non-directory" })
                }
                result => result.map_err(Error::system("replace", path)),
            };
        }
        let freed = remove(parent, name).map_err(Error::system("replace", path))?;
        self.size = self.size.saturating_sub(freed);
        Ok(())
    }

    /// Counts bytes that a member brought.
    pub(crate) fn grow(&mut self, bytes: u64) {
        self.size = self.size.saturating_add(bytes);
    }

    /// The existing directory that holds a hard link's target; nothing is made.
    pub(crate) fn existing(&self, path: &Path) -> rustix::io::Result<OwnedFd> {
        open_in_root(self.root, path, DIRECTORY)
    }

    /// Hides what the layers below hold under this name.
    pub(crate) fn whiteout(&mut self, path: &Path) -> Result<()> {
        let (parent, name) = self.place(path)?;
        // A whiteout is about the layers below, wherever it stands in the archive: what this layer itself has under
        // the name stays (OCI image spec, "Whiteouts"), and only a directory would let the layers below shine through.
        match rustix::fs::mknodat(&parent, name, FileType::CharacterDevice, Mode::empty(), 0) {
            Err(Errno::EXIST) => match self.itself(path)? {
                Some(directory) => {
                    rustix::fs::fsetxattr(&directory, self.marks.opaque(), b"y", XattrFlags::empty())
                }
                None => Ok(()),
            },
            result => result,
        }
        .map_err(Error::system("white out", path))
    }

    /// Hides everything that the layers below hold in this directory.
    pub(crate) fn opaque(&mut self, path: &Path) -> Result<()> {
        let directory = self.directory(path)?;
        rustix::fs::fsetxattr(&directory, self.marks.opaque(), b"y", XattrFlags::empty())
            .map_err(Error::system("make opaque the directory", path))
    }

    /// A directory itself, and not through a symlink of its name; `None` when the name is something else.
    fn itself(&self, path: &Path) -> Result<Option<OwnedFd>> {
        match open_in_root(self.root, path, DIRECTORY | OFlags::NOFOLLOW) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(e) => Err(Error::system("open the directory", path)(e)),
        }
    }

    /// Gives the directories their owners, modes and times, now that nothing more is put into them: every new name
    /// changes its directory's time. Returns the implied directories and the tree's size.
    pub(crate) fn finish(mut self) -> Result<(Vec<PathBuf>, u64)> {
        let mut implied = Vec::new();
        for (path, metadata) in std::mem::take(&mut self.directories) {
            // A later member may have put something else in its place, which then is as that member wants it.
            let Some(fd) = self.itself(&path)? else { continue };
            let metadata = metadata.unwrap_or_else(|| {
                implied.push(path.clone());
                self.implied.clone()
            });
            metadata.apply(fd.as_fd(), &path)?;
        }
        Ok((implied, self.size))
    }
}

/// Removes a name and everything under it, never through a symlink. Returns the bytes that no other name holds.
pub(crate) fn remove(parent: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<u64> {
    let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        rustix::fs::unlinkat(parent, name, AtFlags::empty())?;
        return Ok(if stat.st_nlink == 1 { stat.st_size.cast_unsigned() } else { 0 });
    }
    let flags = DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut freed = 0;
    // A stack of our own: an archive can nest directories deeper than a thread's stack would allow recursion.
    let mut open = vec![(rustix::fs::openat(parent, name, flags, Mode::empty())?, name.to_owned())];
    while let Some((directory, _)) = open.last() {
        let mut deeper = None;
        for entry in Dir::read_from(directory)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                deeper = Some((rustix::fs::openat(directory, name, flags, Mode::empty())?, name.to_owned()));
                break;
            }
            rustix::fs::unlinkat(directory, name, AtFlags::empty())?;
            if stat.st_nlink == 1 {
                freed += stat.st_size.cast_unsigned();
            }
        }
        if let Some(directory) = deeper {
            open.push(directory);
            continue;
        }
        let (_, name) = open.pop().expect("the loop looked at it");
        let parent = open.last().map_or(parent, |(directory, _)| directory.as_fd());
        rustix::fs::unlinkat(parent, &name, AtFlags::REMOVEDIR)?;
    }
    Ok(freed)
}
