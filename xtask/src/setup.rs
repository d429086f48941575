//! `cargo xtask setup`: what the host lacks.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::command;

/// What `setup` takes.
#[derive(Args, Default)]
pub(crate) struct Options {
    /// Also install what the tests need, and the virtual machine: a browser, other engines, an emulator
    #[arg(long)]
    tests: bool,
    /// Also install the engines that `bench` compares with
    #[arg(long)]
    pub(crate) bench: bool,
    /// Say what is missing, and install nothing
    #[arg(long)]
    dry_run: bool,
}

/// A program, the Debian package that has it, and what it is for.
struct Need {
    program: &'static str,
    package: &'static str,
    purpose: &'static str,
}

const fn need(program: &'static str, package: &'static str, purpose: &'static str) -> Need {
    Need { program, package, purpose }
}

/// What chapters and labs use.
const READERS: &[Need] = &[
    need("busybox", "busybox-static", "a shell in one static file: the smallest root"),
    need("docker-registry", "docker-registry", "a real registry on this machine, to pull from"),
    need("mmdebstrap", "mmdebstrap", "makes Debian root file systems"),
    need("setcap", "libcap2-bin", "files with capabilities, for layers that have them"),
    need("curl", "curl", "asks servers in containers"),
    need("ip", "iproute2", "shows network devices, to compare with what we made"),
    need("nft", "nftables", "shows firewall rules, likewise"),
    need("newuidmap", "uidmap", "sets the id maps of ordinary users"),
    need("slirp4netns", "slirp4netns", "connects an ordinary user's containers to the outside"),
    need("strace", "strace", "shows the system calls that the book speaks of"),
    need("skopeo", "skopeo", "reads our store, and pushes images to a registry"),
    need("psql", "postgresql-client", "asks a database in a container"),
];

const TESTS: &[Need] = &[
    need("umoci", "umoci", "makes images layer by layer"),
    need("htpasswd", "apache2-utils", "makes the password file of a registry with logins"),
    need("setfattr", "attr", "files with extended attributes, for layers that have them"),
    need("dig", "bind9-dnsutils", "asks our name server"),
    need("runc", "runc", "an OCI runtime, to compare with ours"),
    need("podman", "podman", "an engine that uses our runtime"),
    need("ctr", "containerd", "another one"),
    need("chromedriver", "chromium-driver", "a real browser, for the book"),
    need("qemu-system-x86_64", "qemu-system-x86", "a virtual machine with cgroup v2"),
];

const PEERS: &[Need] =
    &[need("crun", "crun", "to compare with"), need("bwrap", "bubblewrap", "to compare with")];

impl Options {
    /// Installs what is missing, and makes the busybox image.
    pub(crate) fn run(&self) -> Result<()> {
        // The benchmark's contenders are among what the tests need, too.
        let tests = TESTS.iter().filter(|_| self.tests || self.bench);
        let peers = PEERS.iter().filter(|_| self.bench);
        let installed = install(READERS.iter().chain(tests).chain(peers), self.dry_run);
        if self.dry_run {
            return installed;
        }
        // Also where packages are out of reach.
        busybox_image()?;
        installed
    }
}

/// Installs what chapters and labs use.
pub(crate) fn for_readers() -> Result<()> {
    install(READERS, false)
}

/// Installs what the tests need.
pub(crate) fn for_tests() -> Result<()> {
    install(READERS.iter().chain(TESTS), false)
}

/// Installs, with apt, the packages of those programs that are missing, or says which ones are needed.
fn install(needs: impl IntoIterator<Item = &'static Need>, dry_run: bool) -> Result<()> {
    let missing: Vec<&Need> =
        needs.into_iter().filter(|need| command::find(need.program).is_none()).collect();
    if missing.is_empty() {
        eprintln!("Nothing is missing.");
        return Ok(());
    }
    eprintln!("Missing on this host:");
    for need in &missing {
        eprintln!("  {:<20} (package {}): {}", need.program, need.package, need.purpose);
    }
    if dry_run {
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    if command::find("apt-get").is_none() {
        bail!("this is not Debian or Ubuntu; please install: {}", packages.join(" "));
    }
    eprintln!("They are installed now, from Debian's packages.");
    command::run(command::as_root("apt-get").arg("update").arg("-qq"))?;
    // A service that a package would start is not wanted: the tests start their own.
    let mut apt = command::as_root("env");
    apt.args(["DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1", "apt-get"]);
    command::run(apt.args(["install", "-qq", "-y", "--no-install-recommends"]).args(packages))
}

/// Makes an image `busybox` from the host's static busybox, so that there is a shell without any registry: root's, as the
/// examples run most containers as root.
fn busybox_image() -> Result<()> {
    let Some(busybox) = command::find("busybox") else { return Ok(()) };
    let engine = command::build("mini-docker", "mini-docker", true)?;
    let images = command::output(command::as_root(&engine).args(["images", "--quiet", "busybox"]))?;
    if !images.trim().is_empty() {
        return Ok(());
    }
    let root = tempfile::tempdir().context("cannot make a temporary directory")?;
    let bin = root.path().join("bin");
    fs::create_dir(&bin)?;
    fs::copy(&busybox, bin.join("busybox"))?;
    for applet in
        command::output(Command::new(&busybox).arg("--list"))?.lines().filter(|name| *name != "busybox")
    {
        std::os::unix::fs::symlink("busybox", bin.join(applet))?;
    }
    for directory in ["root", "tmp", "var"] {
        fs::create_dir(root.path().join(directory))?;
    }
    let archive = root.path().with_extension("tar");
    let mut tar = Command::new("tar");
    tar.args(["--owner=0", "--group=0", "-C"]).arg(root.path()).arg("-cf").arg(&archive).arg(".");
    command::run(&mut tar)?;
    let mut import = command::as_root(&engine);
    import.args(["import", "--change", "CMD [\"sh\"]"]).arg(&archive).arg("busybox");
    let imported = command::run(&mut import);
    fs::remove_file(&archive)?;
    imported
}
