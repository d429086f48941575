//! `bench net`: what the network carries over TCP, from the host through a published port, and from one container to
//! another.

use std::any::Any;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;

use anyhow::{Context, Result};
use networking::netns;
use testbed::network;
use testbed::registry::tar;

use super::measure::{Contender, Unit, interleave, table, time};
use super::workplace::Workplace;
use super::{DockerImage, Field, Settings, install, mini_docker, podman, require, require_docker};
use crate::command;

const ROUNDS: u32 = 5;
/// How long each contender sends.
const SECONDS: &str = "2";
/// What the image and the container that receives are called, in a daemon's store too.
const NAME: &str = "mini-docker-bench-flow";
/// Where every receiver listens, each in a network namespace of its own; and the port that is published for it.
const PORT: u16 = 5001;
/// The namespace at the far end of a cable without any engine, and its two addresses (for benchmarks, RFC 2544).
const NAMESPACE: &str = "far";
const NEAR: &str = "198.18.0.1";
const FAR: &str = "198.18.0.2";

/// Measures and prints.
pub(super) fn run(settings: &Settings) -> Result<()> {
    require(&["ip"])?;
    let engine = install("mini-docker", "mini-docker")?;
    let flow = install("testbed", "flow")?;
    let workplace = Workplace::enter(settings.on.as_deref())?;
    let host = netns::own()?;
    network::own();
    let archive = workplace.path().join("flow.tar");
    let content = fs::read(&flow).with_context(|| format!("cannot read {}", flow.display()))?;
    fs::write(&archive, tar(&[("flow", &content)])).context("cannot write an archive")?;

    let mut field = Field::new();
    field.contenders.push(loopback(&flow)?);
    field.contenders.push(cable(&flow)?);
    let folder = workplace.make("mini-docker")?;
    let ours = Engine::new(network::fresh(), flow.clone(), move || mini_docker(&engine, &folder));
    field.contenders.extend(ours.contenders("mini-docker, published", "mini-docker, between", &archive)?);
    field.enter_all("podman", &["podman"], || {
        let folder = workplace.make("podman")?;
        let mut engine = Engine::new(network::fresh(), flow.clone(), move || podman::command(&folder));
        engine.options.extend(["--cgroup-parent", podman::Cgroups::PARENT]);
        engine.options.extend(podman::LIMITS);
        engine.kept = Some(Box::new(podman::Cgroups));
        engine.contenders("podman, published", "podman, between", &archive)
    });
    field.enter_all("docker", &["docker"], || {
        require_docker()?;
        // Its daemon's networks are the host's.
        let mut engine = Engine::new(host, flow.clone(), || Command::new("docker"));
        engine.kept = Some(Box::new(DockerImage(NAME.to_owned())));
        engine.contenders("docker, published", "docker, between", &archive)
    });

    field.introduce(workplace.remarks());
    let rounds = settings.rounds.unwrap_or(ROUNDS);
    let rates = interleave(&mut field.contenders, rounds)?;
    let names: Vec<&str> = field.contenders.iter().map(|contender| contender.name).collect();
    println!("{}", table(Unit::Gigabits, &names, &rates, &[0, 1]));
    println!(
        "{rounds} interleaved rounds of {SECONDS} s, one connection; a ratio is the median of those within the rounds."
    );
    println!("loopback: within one network namespace. veth pair: between two; no bridge and no firewall.");
    println!(
        "published: from the host to 127.0.0.1. between: from one container to another, default network."
    );
    Ok(())
}

/// A receiver outside containers. Dropped, it ends.
struct Receiver(Child);

impl Receiver {
    fn start(command: &mut Command) -> Result<Self> {
        let program = Path::new(command.get_program()).display().to_string();
        let child = command.stdin(Stdio::null()).spawn().with_context(|| format!("cannot run {program}"))?;
        Ok(Self(child))
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Err(error) = self.0.kill().and_then(|()| self.0.wait()) {
            eprintln!("cannot end a receiver: {error}");
        }
    }
}

/// From a process to its neighbour.
fn loopback(flow: &Path) -> Result<Contender> {
    let receiver = Receiver::start(Command::new(flow).args(["serve", &PORT.to_string()]))?;
    let flow = flow.to_owned();
    Ok(Contender::rate("loopback", move || {
        let _kept = &receiver;
        rate(&mut sender(&flow, "127.0.0.1"))
    }))
}

/// From one network namespace to another, by a cable between the two.
fn cable(flow: &Path) -> Result<Contender> {
    let lines = [
        format!("netns add {NAMESPACE}"),
        format!("link add near type veth peer name far netns {NAMESPACE}"),
        format!("address add {NEAR}/30 dev near"),
        format!("-netns {NAMESPACE} address add {FAR}/30 dev far"),
        "link set near up".to_owned(),
        format!("-netns {NAMESPACE} link set far up"),
    ];
    for line in lines {
        time(Command::new("ip").args(line.split(' ')))?;
    }
    let mut serve = Command::new("ip");
    serve.args(["netns", "exec", NAMESPACE]).arg(flow).args(["serve", &PORT.to_string()]);
    let receiver = Receiver::start(&mut serve)?;
    let flow = flow.to_owned();
    Ok(Contender::rate("veth pair", move || {
        let _kept = &receiver;
        rate(&mut sender(&flow, FAR))
    }))
}

/// The program that sends, for the host.
fn sender(flow: &Path, address: &str) -> Command {
    let mut command = Command::new(flow);
    command.arg("send").arg(format!("{address}:{PORT}")).arg(SECONDS);
    command
}

/// How many bytes arrived in a second, as the command prints.
fn rate(command: &mut Command) -> Result<f64> {
    let printed = command::output(command)?;
    printed.trim().parse().with_context(|| format!("this is no rate: {printed:?}"))
}

/// An engine, and the container in it that receives. Dropped, the container is removed.
struct Engine {
    command: Box<dyn Fn() -> Command>,
    /// What `run` needs for the engine's sake.
    options: Vec<&'static str>,
    /// The network namespace that is the host for its containers. Each engine has one, since the firewall of one may
    /// drop what another forwards.
    host: OwnedFd,
    flow: PathBuf,
    /// What ends with the engine.
    kept: Option<Box<dyn Any>>,
}

impl Engine {
    fn new(host: OwnedFd, flow: PathBuf, command: impl Fn() -> Command + 'static) -> Self {
        Self { command: Box::new(command), options: Vec::new(), host, flow, kept: None }
    }

    /// Starts the container that receives; those that send to it, through a port and from another container.
    fn contenders(
        self,
        published: &'static str,
        between: &'static str,
        archive: &Path,
    ) -> Result<Vec<Contender>> {
        let address = self.within(|| {
            time(self.command().arg("import").arg(archive).arg(NAME))?;
            let mut receive = self.run();
            receive.args(["--detach", "--name", NAME, "--publish", &format!("{PORT}:{PORT}")]);
            time(receive.args([NAME, "/flow", "serve", &PORT.to_string()]))?;
            let mut inspect = self.command();
            inspect.args(["inspect", "--format", "{{.NetworkSettings.IPAddress}}", NAME]);
            command::output(&mut inspect)
        })?;
        let engine = Rc::new(self);
        let other = Rc::clone(&engine);
        Ok(vec![
            Contender::rate(published, move || engine.through_port()),
            Contender::rate(between, move || other.to_neighbour(address.trim())),
        ])
    }

    fn command(&self) -> Command {
        (self.command)()
    }

    fn run(&self) -> Command {
        let mut command = self.command();
        command.arg("run").args(&self.options);
        command
    }

    fn through_port(&self) -> Result<f64> {
        self.within(|| rate(&mut sender(&self.flow, "127.0.0.1")))
    }

    fn to_neighbour(&self, address: &str) -> Result<f64> {
        let mut command = self.run();
        command.args(["--rm", NAME, "/flow", "send", &format!("{address}:{PORT}"), SECONDS]);
        self.within(|| rate(&mut command))
    }

    /// Does something in the engine's network namespace.
    fn within<T>(&self, body: impl FnOnce() -> Result<T>) -> Result<T> {
        netns::within(self.host.as_fd(), || Ok(body()))?
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Err(error) = self.within(|| time(self.command().args(["rm", "--force", NAME]))) {
            eprintln!("{error:#}");
        }
    }
}
