//! A real Debian root file system, made once and kept below the target directory.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::engine::Engine;
use crate::{network, output};

/// Uncompressed layers of an image: Debian, and what installing Redis in it adds.
pub struct Debian {
    /// The base system.
    pub base: PathBuf,
    /// The second layer.
    pub redis: PathBuf,
}

/// The layers, made on first use. That takes the better part of a minute and Debian's packages.
pub fn debian() -> &'static Debian {
    static MADE: OnceLock<Debian> = OnceLock::new();
    MADE.get_or_init(|| {
        let cache = Engine::program().with_file_name("testbed-debian");
        fs::create_dir_all(&cache).expect("a folder below the target directory");
        // Several test programs may come here at once.
        let lock = File::create(cache.join("lock")).expect("our own folder");
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).expect("our own lock");
        let made = Debian { base: cache.join("base.tar"), redis: cache.join("redis.tar") };
        if !made.base.exists() {
            let fresh = cache.join("fresh.tar");
            let mut make = Command::new("mmdebstrap");
            make.args(["--variant=minbase", &codename()]).arg(&fresh);
            let done = network::of_the_host(|| output(&mut make));
            assert!(done.status.success(), "mmdebstrap: {}", String::from_utf8_lossy(&done.stderr));
            fs::rename(&fresh, &made.base).expect("our own folder");
        }
        if !made.redis.exists() {
            let fresh = cache.join("fresh.tar");
            network::of_the_host(|| install_redis(&made.base, &fresh));
            fs::rename(&fresh, &made.redis).expect("our own folder");
        }
        made
    })
}

/// Runs apt in a container, and packs what it wrote.
fn install_redis(base: &Path, layer: &Path) {
    let engine = Engine::new();
    engine.ok(&["import", base.to_str().expect("a plain path"), "debian"]);
    let line = "apt-get update -qq && apt-get install -y -qq --no-install-recommends redis-server && \
                apt-get clean && rm -rf /var/lib/apt/lists/*";
    // The host's sources, since they are known to work here.
    engine.ok(&[
        "run",
        "--name",
        "apt",
        "--network",
        "host",
        "-v",
        "/etc/apt:/etc/apt:ro",
        "debian",
        "sh",
        "-c",
        line,
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
