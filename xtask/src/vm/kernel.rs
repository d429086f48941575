//! The kernel: Debian's for virtual machines, which has cgroup v2 and few drivers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command;

/// Depends on the newest one.
const METAPACKAGE: &str = "linux-image-cloud-amd64";

/// What this kernel has as modules and the machine needs, each after those that it depends on.
const MODULES: &[&str] = &[
    "virtio_ring",
    "virtio",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio_pci",
    "virtio_blk",
    "overlay",
    // Bridges and veth pairs.
    "llc",
    "stp",
    "bridge",
    "veth",
    // What slirp4netns connects an ordinary user's network by.
    "tun",
    // The firewall.
    "libcrc32c",
    "nf_defrag_ipv6",
    "nf_defrag_ipv4",
    "nf_conntrack",
    "nf_nat",
    "nfnetlink",
    "nf_tables",
    "nft_ct",
    "nft_chain_nat",
    "nft_nat",
    "nft_masq",
    "nft_fib",
    "nft_fib_ipv4",
    "nft_fib_ipv6",
];

/// A kernel's files.
pub(super) struct Kernel {
    pub(super) image: PathBuf,
    /// In the order in which they must be loaded.
    pub(super) modules: Vec<PathBuf>,
}

/// The kernel kept in `cache`, or a new one put there.
pub(super) fn get(cache: &Path) -> Result<Kernel> {
    let folder = cache.join("kernel");
    if !folder.exists() {
        download(cache, &folder)?;
    }
    let boot = fs::read_dir(folder.join("boot")).context("the package has no /boot")?;
    let mut images = boot.filter_map(|entry| Some(entry.ok()?.path()));
    let image = images
        .find(|path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"vmlinuz")));
    let image = image.with_context(|| format!("there is no kernel in {}", folder.display()))?;
    let mut found = Vec::new();
    files_below(&folder.join("lib/modules"), &mut found)?;
    let modules = MODULES.iter().map(|name| {
        let file = format!("{name}.ko");
        let path = found.iter().find(|path| path.file_name().is_some_and(|name| name == file.as_str()));
        path.cloned().with_context(|| format!("there is no module {name} in {}", folder.display()))
    });
    Ok(Kernel { image, modules: modules.collect::<Result<_>>()? })
}

/// Downloads the package as any user can, with apt's check of its signature, and unpacks it into `folder`.
fn download(cache: &Path, folder: &Path) -> Result<()> {
    if command::find("apt-get").is_none() {
        bail!("the machine's kernel is Debian's package {METAPACKAGE}, and there is no apt-get here");
    }
    let depends = command::output(Command::new("apt-cache").args(["depends", METAPACKAGE]));
    let depends =
        depends.context("cannot find out the kernel's version; perhaps run: sudo apt-get update")?;
    let package = depends.lines().find_map(|line| line.trim().strip_prefix("Depends: "));
    let package = package.with_context(|| format!("{METAPACKAGE} names no kernel: {depends}"))?;
    eprintln!(
        "The machine's kernel is Debian's package {package}: it is downloaded once, and not installed."
    );
    // Renamed at the end: a folder of that name is complete.
    let temporary = tempfile::tempdir_in(cache).context("cannot make a temporary directory")?;
    command::run(Command::new("apt-get").args(["download", "-qq", package]).current_dir(temporary.path()))
        .context("cannot download the kernel; perhaps run: sudo apt-get update")?;
    let archive = fs::read_dir(temporary.path())?.next().context("apt-get downloaded nothing")??.path();
    let unpacked = temporary.path().join("unpacked");
    command::run(Command::new("dpkg-deb").arg("-x").args([&archive, &unpacked]))?;
    fs::rename(&unpacked, folder).with_context(|| format!("cannot make {}", folder.display()))
}

fn files_below(directory: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            files_below(&entry.path(), found)?;
        } else {
            found.push(entry.path());
        }
    }
    Ok(())
}
