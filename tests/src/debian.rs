//! A real Debian root file system, made once and kept below the target directory.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::engine::Engine;
use crate::{network, output};

/// Uncompressed layers of images: Debian, and what installing a server in it adds.
pub struct Debian {
    /// The base system.
    pub base: PathBuf,
    /// A second layer with Redis.
    pub redis: PathBuf,
    /// Another one with PostgreSQL.
    pub postgres: PathBuf,
}

/// What is done in a container to install Redis.
const REDIS: &str = "apt-get install -y -qq --no-install-recommends redis-server";
/// The same for PostgreSQL, without a database, which is to lie in a volume, and without the compiler for its queries,
/// which is most of it.
const POSTGRES: &str = "mkdir /etc/postgresql-common && \
    echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf && \
    apt-get install -y -qq --no-install-recommends postgresql && \
    rm -r /usr/lib/*/libLLVM* /usr/lib/postgresql/*/lib/bitcode";

/// What is done in a container to install the programs that show processes.
const PROCPS: &str = "apt-get install -y -qq --no-install-recommends procps";

/// The layers, made on first use. That takes a minute or two and Debian's packages.
pub fn debian() -> &'static Debian {
    static MADE: OnceLock<Debian> = OnceLock::new();
    MADE.get_or_init(|| Debian { base: base(), redis: redis(), postgres: postgres() })
}

/// The base system alone.
pub fn base() -> PathBuf {
    made("base", |fresh| {
        let mut make = Command::new("mmdebstrap");
        make.args(["--variant=minbase", &codename()]).arg(fresh);
        let done = network::of_the_host(|| output(&mut make));
        assert!(done.status.success(), "mmdebstrap: {}", String::from_utf8_lossy(&done.stderr));
    })
}

/// The layer with Redis alone.
pub fn redis() -> PathBuf {
    added("redis", REDIS)
}

/// The layer with PostgreSQL alone.
pub fn postgres() -> PathBuf {
    added("postgres", POSTGRES)
}

/// A layer with `ps` and `top`.
pub fn procps() -> PathBuf {
    added("procps", PROCPS)
}

/// The layer that `line` adds to the base system.
fn added(name: &str, line: &str) -> PathBuf {
    let base = base();
    made(name, |fresh| network::of_the_host(|| install(&base, line, fresh)))
}

/// A layer that `make` makes unless it is there.
fn made(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let cache = Engine::program().with_file_name("testbed-debian");
    fs::create_dir_all(&cache).expect("a folder below the target directory");
    let layer = cache.join(name).with_extension("tar");
    // Several test programs may come here at once.
    let lock = File::create(cache.join("lock")).expect("our own folder");
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).expect("our own lock");
    if !layer.exists() {
        let fresh = cache.join("fresh.tar");
        make(&fresh);
        fs::rename(&fresh, &layer).expect("our own folder");
    }
    layer
}

/// Runs `line` in a container of `base`, with the host's packages at hand, and packs what it wrote into `layer`.
fn install(base: &Path, line: &str, layer: &Path) {
    let engine = Engine::new();
    engine.ok(&["import", base.to_str().expect("a plain path"), "debian"]);
    let line = format!(
        "cp -r /mnt/. /etc/apt && apt-get update -qq && {line} && apt-get clean && rm -rf /var/lib/apt/lists/*"
    );
    // The host's sources, since they are known to work here; in memory, since packages write beside them.
    engine.ok(&[
        "run",
        "--name",
        "apt",
        "--network",
        "host",
        "-v",
        "/etc/apt:/mnt:ro",
        "--tmpfs",
        "/etc/apt",
        "debian",
        "sh",
        "-c",
        &line,
    ]);
    let driver = |field: &str| engine.inspect("apt", &format!("{{{{.GraphDriver.Data.{field}}}}}"));
    let lowers: Vec<PathBuf> = driver("LowerDir").split(':').map(PathBuf::from).collect();
    let out = File::create(layer).expect("our own folder");
    overlay_layers::write_layer(Path::new(&driver("UpperDir")), &lowers, overlay_layers::Marks::Trusted, out)
        .expect("a layer");
}

/// This host's Debian, or else the one this was written on.
fn codename() -> String {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let is_debian = release.lines().any(|line| line == "ID=debian");
    let name = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    name.filter(|_| is_debian).unwrap_or("bookworm").to_owned()
}
