//! `bench start`: from the command to the end of a container that does nothing, first without a network, then with the
//! default one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use networking::{Socket, link};
use serde_json::{Value, json};
use testbed::network;
use testbed::registry::tar_directory;
use testbed::rootfs::Rootfs;

use super::measure::{Contender, Unit, interleave, table, time};
use super::workplace::Workplace;
use super::{DockerImage, Field, Settings, install, mini_docker, podman, require, require_docker};

const ROUNDS: u32 = 100;
/// Rounds that do not count: caches fill, and lazily made things get made.
const WARM_UP: u32 = 3;
/// What the image is called, in a daemon's store too, where it must not replace anybody's.
const IMAGE: &str = "mini-docker-bench-busybox";
/// Where a container's mounts go.
const PLACES: &[&str] = &["dev/pts", "dev/shm", "dev/mqueue", "etc", "proc", "sys"];
/// The files among them.
const FILES: &[&str] = &["hostname", "hosts", "resolv.conf"];
/// The floor's bridge.
const BRIDGE: &str = "floor";

/// Measures and prints.
pub(super) fn run(settings: &Settings) -> Result<()> {
    require(&["busybox", "tar"])?;
    let engine = install("mini-docker", "mini-docker")?;
    let runtime = install("runtime", "runtime")?;
    let floor = install("testbed", "floor")?;
    let workplace = Workplace::enter(settings.on.as_deref())?;
    let root = Root::make(&workplace)?;

    network::own();
    let ours = workplace.make("mini-docker")?;
    time(mini_docker(&engine, &ours).arg("import").arg(&root.archive).arg(IMAGE))?;
    floor_places(&workplace)?;
    let rounds = settings.rounds.unwrap_or(ROUNDS);

    let mut field = Field::new();
    let mut least = Command::new(&floor);
    least.arg(workplace.path()).arg("true");
    field.contenders.push(Contender::command("floor", least));
    let mut run = mini_docker(&engine, &ours);
    run.args(["run", "--rm", "--network", "none", IMAGE, "true"]);
    field.contenders.push(Contender::command("mini-docker run", run));
    field.contenders.push(with_bundle("runtime", &runtime, &workplace, &root)?);
    for runtime in ["crun", "runc"] {
        field.enter(runtime, &[runtime], || with_bundle(runtime, Path::new(runtime), &workplace, &root));
    }
    field.enter("bubblewrap", &["bwrap"], || Ok(Contender::command("bubblewrap", bubblewrap(&root))));
    field.enter("podman run", &["podman"], || with_podman(&workplace, &root, &["--network", "none"]));
    field.enter("docker run", &["docker"], || with_docker(&root, &["--network", "none"]));
    field.introduce(&[workplace.remarks(), &["Without a network:".to_owned()]].concat());
    measure(field, rounds)?;

    let mut field = Field::new();
    network::bridge(BRIDGE).ensure(&Socket::open()?)?;
    let mut least = Command::new(&floor);
    least.args(["--bridge", BRIDGE]).arg(workplace.path()).arg("true");
    field.contenders.push(settling("floor", least));
    let mut run = mini_docker(&engine, &ours);
    run.args(["run", "--rm", IMAGE, "true"]);
    field.contenders.push(settling("mini-docker run", run));
    field.enter("podman run", &["podman"], || with_podman(&workplace, &root, &[]));
    field.enter("docker run", &["docker"], || with_docker(&root, &[]));
    field.introduce(&[
        "On the default network, which is a bridge in a namespace of the benchmark's own:".to_owned()
    ]);
    measure(field, rounds)?;

    println!("{rounds} interleaved rounds; a ratio is the median of the ratios within the rounds.");
    println!(
        "floor: the same namespaces, overlay and mounts, the same cable to a bridge; exec and wait. No cgroup, records, \
         log or shim, and no address claimed."
    );
    println!(
        "runtime (step 10), crun, runc: a prepared bundle with the runtime's own spec. bubblewrap: no overlay and no cgroup."
    );
    Ok(())
}

/// Runs all contenders, and prints their table.
fn measure(mut field: Field, rounds: u32) -> Result<()> {
    interleave(&mut field.contenders, WARM_UP)?;
    let times = interleave(&mut field.contenders, rounds)?;
    let names: Vec<&str> = field.contenders.iter().map(|contender| contender.name).collect();
    println!("{}", table(Unit::Milliseconds, &names, &times, &[0, 1]));
    Ok(())
}

/// A contender that makes a cable. It is done when the kernel has taken that away again: this happens in the background,
/// under the lock that whoever comes next needs for a cable of its own.
fn settling(name: &'static str, mut command: Command) -> Contender {
    Contender::new(name, move || {
        let elapsed = time(&mut command)?;
        settle(&Socket::open()?)?;
        Ok(elapsed)
    })
}

/// Waits until no device is plugged into a bridge.
pub(super) fn settle(socket: &Socket) -> Result<()> {
    let patience = Instant::now() + Duration::from_secs(5);
    while link::list(socket)?.iter().any(|link| link.bridge.is_some()) {
        if Instant::now() > patience {
            bail!("a cable stays plugged in");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// The file system that all contenders start in.
struct Root {
    directory: PathBuf,
    archive: PathBuf,
}

impl Root {
    fn make(workplace: &Workplace) -> Result<Self> {
        let archive = workplace.path().join("busybox.tar");
        fs::write(&archive, tar_directory(Rootfs::busybox().path())).context("cannot write an archive")?;
        let directory = workplace.make("root")?;
        for place in PLACES {
            fs::create_dir_all(directory.join(place)).context("cannot make a mount point")?;
        }
        time(Command::new("tar").arg("-C").arg(&directory).arg("-xf").arg(&archive))?;
        Ok(Self { directory, archive })
    }
}

/// What the floor needs lies in the workplace itself: `root`, `places` and `etc`.
fn floor_places(workplace: &Workplace) -> Result<()> {
    for place in PLACES {
        workplace.make(Path::new("places").join(place))?;
    }
    let etc = workplace.make("etc")?;
    for name in FILES {
        for directory in [&etc, &workplace.path().join("places/etc")] {
            fs::write(directory.join(name), "").with_context(|| format!("cannot write {name}"))?;
        }
    }
    Ok(())
}

/// A bundle with the runtime's own idea of a spec, told only what to run, and where.
fn with_bundle(name: &'static str, runtime: &Path, workplace: &Workplace, root: &Root) -> Result<Contender> {
    let bundle = workplace.make(name)?;
    time(Command::new(runtime).arg("spec").current_dir(&bundle))?;
    let path = bundle.join("config.json");
    let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut spec: Value = serde_json::from_slice(&text).context("the runtime's spec is no JSON")?;
    spec["process"]["terminal"] = json!(false);
    spec["process"]["args"] = json!(["true"]);
    spec["root"]["path"] = json!(root.directory);
    fs::write(&path, spec.to_string()).with_context(|| format!("cannot write {}", path.display()))?;
    let mut command = Command::new(runtime);
    command.arg("--root").arg(bundle.join("state")).arg("run").arg("--bundle").arg(&bundle).arg("bench");
    Ok(Contender::command(name, command))
}

/// The same namespaces, and the mounts that bubblewrap has a word for.
fn bubblewrap(root: &Root) -> Command {
    let mut command = Command::new("bwrap");
    for namespace in ["pid", "net", "uts", "ipc", "cgroup"] {
        command.arg(format!("--unshare-{namespace}"));
    }
    command.arg("--bind").arg(&root.directory).arg("/");
    command.args([
        "--proc",
        "/proc",
        "--dev",
        "/dev",
        "--mqueue",
        "/dev/mqueue",
        "--ro-bind",
        "/sys",
        "/sys",
        "true",
    ]);
    command
}

fn with_podman(workplace: &Workplace, root: &Root, options: &[&str]) -> Result<Contender> {
    let folder = workplace.make("podman")?;
    time(podman::command(&folder).arg("import").arg(&root.archive).arg(IMAGE))?;
    let cgroups = podman::Cgroups;
    let mut command = podman::command(&folder);
    command.args(["run", "--rm", "--cgroup-parent", podman::Cgroups::PARENT]);
    command.args(podman::LIMITS).args(options).args([IMAGE, "true"]);
    Ok(Contender::new("podman run", move || {
        let _kept = &cgroups;
        let elapsed = time(&mut command)?;
        settle(&Socket::open()?)?;
        Ok(elapsed)
    }))
}

fn with_docker(root: &Root, options: &[&str]) -> Result<Contender> {
    require_docker()?;
    time(Command::new("docker").arg("import").arg(&root.archive).arg(IMAGE))?;
    let image = DockerImage(IMAGE.to_owned());
    let mut command = Command::new("docker");
    command.args(["run", "--rm"]).args(options).args([&image.0, "true"]);
    Ok(Contender::new("docker run", move || {
        // The image is there for as long as this contender is.
        let _kept = &image;
        time(&mut command)
    }))
}
