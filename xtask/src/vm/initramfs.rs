//! The machine's first root file system, which is also its last: everything it needs, in memory.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::cpio::Archive;
use super::kernel::Kernel;
use super::{Plan, Work};
use crate::command;

/// The archive's name in the machine's folder.
pub(super) const NAME: &str = "initramfs";

/// Where process 1 finds what to do.
pub(super) const PLAN: &str = "/plan.json";

/// Where programs that people call by name are.
pub(super) const PROGRAMS: &str = "/usr/local/bin";

/// Where busybox is, alone with its links: this folder is an image's too.
const BUSYBOX: &str = "/bin/busybox";

/// Files that programs take for granted. There is no network: the name server is never asked.
const FILES: &[(&str, &[u8])] = &[
    ("/etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n"),
    ("/etc/group", b"root:x:0:\n"),
    // Tests cover them: no user of the machine's has any.
    ("/etc/subuid", b""),
    ("/etc/subgid", b""),
    ("/etc/hosts", b"127.0.0.1 localhost\n"),
    ("/etc/resolv.conf", b"nameserver 127.0.0.1\n"),
];

/// Programs of the host's that ordinary users need, who start them where they are there, and whether they run as root.
const HELPERS: &[(&str, bool)] = &[("newuidmap", true), ("newgidmap", true), ("slirp4netns", false)];

/// Mount points, and folders that programs take for granted.
const DIRECTORIES: &[&str] = &["/dev", "/proc", "/root", "/run", "/sys", "/tmp", "/var/lib"];

/// Writes the archive into `folder`. Of the `files`, programs are put in the machine's PATH as well.
pub(super) fn write(folder: &Path, kernel: &Kernel, work: Work, files: &[PathBuf]) -> Result<()> {
    let path = folder.join(NAME);
    let file = fs::File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    let mut archive = Archive::new(BufWriter::new(file));
    for directory in DIRECTORIES {
        archive.directory(Path::new(directory))?;
    }
    for (path, contents) in FILES {
        archive.file(Path::new(path), contents)?;
    }
    busybox(&mut archive)?;
    helpers(&mut archive)?;

    let mut modules = Vec::new();
    for module in &kernel.modules {
        let name = module.file_name().context("a module is a file")?;
        modules.push(Path::new("/modules").join(name));
        archive.file(&Path::new("/modules").join(name), &read(module)?)?;
    }
    let plan = Plan { modules, work };
    archive.file(Path::new(PLAN), &serde_json::to_vec(&plan)?)?;

    // Cargo may have replaced this program meanwhile: this path is that of the one that runs, for this process only.
    let this = folder.join("init");
    fs::write(&this, read(Path::new("/proc/self/exe"))?).context("cannot copy this program")?;
    archive.file(Path::new("/init"), &stripped(&this, folder)?)?;
    for file in files {
        let program = file
            .extension()
            .is_none_or(|extension| !["snap", "toml", "md"].map(OsStr::new).contains(&extension));
        archive.file(file, &if program { stripped(file, folder)? } else { read(file)? })?;
        if program && let (Some(name), Some(target)) = (file.file_name(), file.to_str()) {
            archive.symlink(&Path::new(PROGRAMS).join(name), target)?;
        }
    }
    archive.finish()?;
    Ok(())
}

/// The host's static busybox, and a link for each of its programs.
fn busybox(archive: &mut Archive<impl std::io::Write>) -> Result<()> {
    let Some(busybox) = command::find("busybox") else {
        bail!("the machine's programs are those of a static busybox; run: cargo xtask setup");
    };
    archive.file(Path::new(BUSYBOX), &read(&busybox)?)?;
    for name in command::output(Command::new(&busybox).arg("--list"))?.lines() {
        if name != "busybox" {
            archive.symlink(&Path::new(BUSYBOX).with_file_name(name), "busybox")?;
        }
    }
    Ok(())
}

/// The [`HELPERS`], and the libraries that they are linked to.
fn helpers(archive: &mut Archive<impl std::io::Write>) -> Result<()> {
    let mut libraries = BTreeSet::new();
    for (name, is_set_user_id) in HELPERS {
        let Some(program) = command::find(name) else {
            bail!("ordinary users' containers need {name} in the machine; run: cargo xtask setup");
        };
        let (inside, contents) = (Path::new("/usr/bin").join(name), read(&program)?);
        if *is_set_user_id {
            archive.set_user_id(&inside, &contents)?;
        } else {
            archive.file(&inside, &contents)?;
        }
        // NAME => PATH (ADDRESS), or for the linker itself PATH (ADDRESS) (ldd(1)).
        let linked = command::output(Command::new("ldd").arg(&program))?;
        let paths = linked.split_whitespace().filter(|word| word.starts_with('/'));
        libraries.extend(paths.map(PathBuf::from));
    }
    for library in libraries {
        archive.file(&library, &read(&library)?)?;
    }
    Ok(())
}

/// A program without what only debuggers need, which is most of it.
fn stripped(program: &Path, folder: &Path) -> Result<Vec<u8>> {
    let copy = folder.join("stripped");
    command::output(Command::new("strip").arg("-o").args([&copy, program]))?;
    read(&copy)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
