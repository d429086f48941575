//! `info`: this host, and what is kept on it.

use clap::Args;
use mini_docker::container::Status;
use mini_docker::format::template::Template;
use mini_docker::format::units;
use mini_docker::{Engine, Error, Result};
use serde_json::{Value, json};

/// What `info` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// Print "json", or a Go template
    #[arg(short, long)]
    format: Option<String>,
}

impl Options {
    /// Prints a line a fact.
    pub(crate) fn run(&self, engine: &Engine) -> Result<u8> {
        let facts = facts(engine)?;
        match self.format.as_deref() {
            Some("json") => println!("{facts}"),
            Some(text) => println!("{}", Template::parse(text)?.render(&facts)?),
            None => print(&facts),
        }
        Ok(0)
    }
}

fn facts(engine: &Engine) -> Result<Value> {
    let containers = engine.containers().list()?;
    let (mut running, mut paused) = (0, 0);
    for container in &containers {
        match engine.state(container)?.status {
            Status::Paused => paused += 1,
            status => running += usize::from(status.is_alive()),
        }
    }
    let system = rustix::system::uname();
    let hierarchy = cgroups::Hierarchy::detect()?;
    let processors = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    Ok(json!({
        "Containers": containers.len(),
        "ContainersRunning": running,
        "ContainersPaused": paused,
        "ContainersStopped": containers.len() - running - paused,
        "Images": engine.images().images()?.len(),
        "ServerVersion": env!("CARGO_PKG_VERSION"),
        "Driver": "overlay2",
        "LoggingDriver": "json-file",
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": if hierarchy.is_v2() { "2" } else { "1" },
        "KernelVersion": system.release().to_string_lossy(),
        "OperatingSystem": operating_system(),
        "OSType": "linux",
        "Architecture": system.machine().to_string_lossy(),
        "NCPU": processors,
        "MemTotal": memory()?,
        "Name": system.nodename().to_string_lossy(),
        "SecurityOptions": ["name=seccomp,profile=builtin"],
        "DockerRootDir": engine.folders().data.display().to_string(),
    }))
}

fn print(facts: &Value) {
    let text = |key: &str| facts[key].as_str().map_or_else(|| facts[key].to_string(), str::to_owned);
    println!("Containers: {}", text("Containers"));
    println!(" Running: {}", text("ContainersRunning"));
    println!(" Paused: {}", text("ContainersPaused"));
    println!(" Stopped: {}", text("ContainersStopped"));
    for (label, key) in [
        ("Images", "Images"),
        ("Server Version", "ServerVersion"),
        ("Storage Driver", "Driver"),
        ("Logging Driver", "LoggingDriver"),
        ("Cgroup Driver", "CgroupDriver"),
        ("Cgroup Version", "CgroupVersion"),
        ("Kernel Version", "KernelVersion"),
        ("Operating System", "OperatingSystem"),
        ("OSType", "OSType"),
        ("Architecture", "Architecture"),
        ("CPUs", "NCPU"),
    ] {
        println!("{label}: {}", text(key));
    }
    println!("Total Memory: {}", units::binary(facts["MemTotal"].as_u64().unwrap_or_default()));
    println!("Name: {}", text("Name"));
    println!("Docker Root Dir: {}", text("DockerRootDir"));
}

/// The distribution's name for itself (`os-release(5)`).
fn operating_system() -> String {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or("Linux".to_owned(), |name| name.trim_matches('"').to_owned())
}

/// Bytes of memory.
pub(super) fn memory() -> Result<u64> {
    let path = std::path::Path::new("/proc/meminfo");
    let text = std::fs::read_to_string(path).map_err(|error| Error::file("read", path, error))?;
    let kibibytes = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kibibytes
        .map(|kibibytes| kibibytes * 1024)
        .ok_or_else(|| Error::new("/proc/meminfo does not tell the memory"))
}
