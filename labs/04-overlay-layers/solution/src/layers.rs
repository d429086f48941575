//! Layers: from an image's form to the kernel's, stacked, and what was written on top.

use std::fs::{self, Metadata};
use std::io::Result;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::mount::MsFlags;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use crate::opaque;

/// Turns the marks of an image's layer into the kernel's, in the directory `layer` and all below it.
pub fn convert(layer: &Path) -> Result<()> {
    for entry in fs::read_dir(layer)? {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type()?.is_dir() {
            convert(&entry.path())?;
        } else if name == ".wh..wh..opq" {
            opaque::make(layer)?;
            fs::remove_file(entry.path())?;
        } else if let Some(gone) = name.to_string_lossy().strip_prefix(".wh.") {
            mknod(&layer.join(gone), SFlag::S_IFCHR, Mode::empty(), makedev(0, 0))?;
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Mounts `layers`, the lowest first, and `upper` on top of them, as one tree at `merged`.
pub fn mount(layers: &[PathBuf], upper: &Path, work: &Path, merged: &Path) -> nix::Result<()> {
    // The kernel takes them from the top down.
    let lowers: Vec<String> = layers.iter().rev().map(|layer| layer.display().to_string()).collect();
    let (lowers, upper, work) = (lowers.join(":"), upper.display(), work.display());
    let options = format!("lowerdir={lowers},upperdir={upper},workdir={work}");
    nix::mount::mount(Some("overlay"), merged, Some("overlay"), MsFlags::empty(), Some(options.as_str()))
}

/// Lists what is in the directory `inside` of `upper`, and below it, as `docker diff` does.
pub fn changes(
    upper: &Path,
    layers: &[PathBuf],
    inside: &Path,
    changes: &mut Vec<(char, PathBuf)>,
) -> Result<()> {
    for entry in fs::read_dir(at(upper, inside))? {
        let path = inside.join(entry?.file_name());
        let file = fs::symlink_metadata(at(upper, &path))?;
        let kind = match (is_whiteout(&file), is_below(layers, &path)) {
            (true, _) => 'D',
            (false, true) => 'C',
            (false, false) => 'A',
        };
        changes.push((kind, path.clone()));
        if file.is_dir() {
            self::changes(upper, layers, &path, changes)?;
        }
    }
    Ok(())
}

/// Whether `path` is seen in the layers: what the topmost one says counts.
fn is_below(layers: &[PathBuf], path: &Path) -> bool {
    let found = layers.iter().rev().find_map(|layer| fs::symlink_metadata(at(layer, path)).ok());
    found.is_some_and(|file| !is_whiteout(&file))
}

fn is_whiteout(file: &Metadata) -> bool {
    file.file_type().is_char_device() && file.rdev() == 0
}

/// Where `path`, which begins with a slash, is in the directory `tree`.
fn at(tree: &Path, path: &Path) -> PathBuf {
    tree.join(path.strip_prefix("/").unwrap_or(path))
}
