//! `bench pull`: from a registry on this machine to an unpacked Debian.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;
use testbed::registry::{Compression, Image, Registry};

use super::measure::{Contender, Unit, interleave, table, time};
use super::workplace::Workplace;
use super::{DockerImage, Field, Settings, install, mini_docker, podman, require, require_docker};
use crate::command;

const ROUNDS: u32 = 5;
const SUITE: &str = "bookworm";
/// The image's layers, lowest first, as the words of `tar` that choose what is in each: everything but the two big
/// directories, and each of those with the directory above it.
const LAYERS: [(&str, &[&str]); 3] = [
    ("base", &["--exclude=./usr/lib", "--exclude=./usr/share", "."]),
    ("lib", &["--no-recursion", "./usr", "--recursion", "./usr/lib"]),
    ("share", &["--no-recursion", "./usr", "--recursion", "./usr/share"]),
];

/// Measures and prints.
pub(super) fn run(settings: &Settings) -> Result<()> {
    require(&["docker-registry", "mmdebstrap", "tar"])?;
    let engine = install("mini-docker", "mini-docker")?;
    let cache = command::target_directory()?.join("bench");
    let workplace = Rc::new(Workplace::enter(settings.on.as_deref())?);
    let layers = debian(&cache, &workplace)?;
    let registry = Registry::start();
    let unpacked: usize = layers.iter().map(Vec::len).sum();
    let layers = layers.into_iter().map(|tar| (tar, Compression::Gzip)).collect();
    let pushed = registry.push(
        "debian",
        "12",
        &Image { layers, config: json!({"Cmd": ["bash"]}), ..Image::default() },
    );
    let compressed: usize = pushed.layers.iter().map(|layer| layer.content.len()).sum();
    let image = format!("{}/debian:12", registry.host());

    let mut field = Field::new();
    let rounds = Rounds { workplace: Rc::clone(&workplace), image };
    field.contenders.push(rounds.with_mini_docker(&engine));
    field.enter("skopeo + umoci", &["skopeo", "umoci"], || Ok(rounds.with_skopeo()));
    field.enter("podman pull", &["podman"], || Ok(rounds.with_podman()));
    field.enter("docker pull", &["docker"], || rounds.with_docker());

    println!(
        "Debian {SUITE} (minbase): {} layers, {} MB as gzip, {} MB as tar; docker-registry on this machine.",
        pushed.layers.len(),
        compressed / 1_000_000,
        unpacked / 1_000_000
    );
    field.introduce(workplace.remarks());
    let rounds = settings.rounds.unwrap_or(ROUNDS);
    // Those that entered later have run once already.
    field.contenders[0].once()?;
    let times = interleave(&mut field.contenders, rounds)?;
    let names: Vec<&str> = field.contenders.iter().map(|contender| contender.name).collect();
    println!("{}", table(Unit::Milliseconds, &names, &times, &[0]));
    println!(
        "{rounds} interleaved rounds, each into fresh directories; a ratio is the median of those within the rounds."
    );
    println!("skopeo + umoci: `skopeo copy docker://… oci:…`, then `umoci unpack`.");
    Ok(())
}

/// The layers of a Debian, as tars. Made once, and kept in `cache`.
fn debian(cache: &Path, workplace: &Workplace) -> Result<Vec<Vec<u8>>> {
    let directory = cache.join(format!("debian-{SUITE}"));
    if !directory.exists() {
        let root = workplace.path().join("debian");
        let mut mmdebstrap = Command::new("mmdebstrap");
        mmdebstrap.args(["--quiet", "--mode=root", "--variant=minbase", SUITE]).arg(&root);
        command::run(&mut mmdebstrap)?;
        // Made under another name, so that it is there whole or not at all.
        let fresh = cache.join(format!("debian-{SUITE}.{}", std::process::id()));
        fs::create_dir_all(&fresh).with_context(|| format!("cannot make {}", fresh.display()))?;
        for (name, chosen) in LAYERS {
            let mut tar = Command::new("tar");
            tar.arg("-C").arg(&root).args(["--numeric-owner", "-cf"]).arg(layer(&fresh, name)).args(chosen);
            command::run(&mut tar)?;
        }
        fs::rename(&fresh, &directory).with_context(|| format!("cannot make {}", directory.display()))?;
        workplace.discard(&root)?;
    }
    let read = |(name, _): &(&str, &[&str])| {
        let path = layer(&directory, name);
        fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    LAYERS.iter().map(read).collect()
}

fn layer(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.tar"))
}

/// What all contenders pull, and where they put it.
struct Rounds {
    workplace: Rc<Workplace>,
    image: String,
}

impl Rounds {
    /// A contender that gets an empty directory for each run.
    fn contender(
        &self,
        name: &'static str,
        mut pull: impl FnMut(&Path) -> Result<Duration> + 'static,
    ) -> Contender {
        let workplace = Rc::clone(&self.workplace);
        let mut run = 0;
        Contender::new(name, move || {
            run += 1;
            let directory = workplace.make(format!("{name}-{run}").replace([' ', '+'], "-"))?;
            let elapsed = pull(&directory)?;
            workplace.discard(&directory)?;
            Ok(elapsed)
        })
    }

    fn with_mini_docker(&self, engine: &Path) -> Contender {
        let (engine, image) = (engine.to_owned(), self.image.clone());
        self.contender("mini-docker pull", move |folder| {
            time(mini_docker(&engine, folder).args(["pull", "--quiet", &image]))
        })
    }

    /// Two programs, one after the other: umoci reads what skopeo has written.
    fn with_skopeo(&self) -> Contender {
        let image = self.image.clone();
        self.contender("skopeo + umoci", move |folder| {
            let layout = format!("{}:12", folder.join("oci").display());
            let mut copy = Command::new("skopeo");
            copy.args(["--insecure-policy", "copy", "--quiet", "--src-tls-verify=false"]);
            copy.arg(format!("docker://{image}")).arg(format!("oci:{layout}"));
            let mut unpack = Command::new("umoci");
            unpack.args(["unpack", "--image", &layout]).arg(folder.join("bundle"));
            Ok(time(&mut copy)? + time(&mut unpack)?)
        })
    }

    fn with_podman(&self) -> Contender {
        let image = self.image.clone();
        self.contender("podman pull", move |folder| {
            time(podman::command(folder).args(["pull", "--quiet", "--tls-verify=false", &image]))
        })
    }

    fn with_docker(&self) -> Result<Contender> {
        require_docker()?;
        let image = self.image.clone();
        Ok(self.contender("docker pull", move |_| {
            // The daemon keeps what it pulled until it is told to forget it.
            let pulled = DockerImage(image.clone());
            time(Command::new("docker").args(["pull", "--quiet", &pulled.0]))
        }))
    }
}
