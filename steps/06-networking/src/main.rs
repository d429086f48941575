//! `networking [--publish 8080:80] [--network bridge|none] ROOTFS COMMAND`: step 2's program, with a network of its own.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use chroot::{Plan, Program, mount};
use clap::{Parser, ValueEnum};
use networking::{
    Attachment, Bridge, Firewall, Mac, NetworkRules, Publication, Reservation, Socket, link, netns, nftables,
    ports, route, subnet,
};
use pid_namespace::{Namespaces, descriptors, spawn};

/// Run a command in namespaces of its own, with an address, a way out, and ports that can be reached.
#[derive(Parser)]
struct Options {
    /// Let a port of the host lead to one of the container, such as 8080:80
    #[arg(short, long, value_name = "[[ADDRESS:]PORT:]PORT[/PROTOCOL]")]
    publish: Vec<String>,
    /// What it is connected to
    #[arg(long, value_enum, default_value = "bridge")]
    network: Network,
    /// A directory holding a root file system
    rootfs: PathBuf,
    /// The command to run inside
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Network {
    /// A bridge of its own, with a way to the world
    Bridge,
    /// Nothing but itself
    None,
}

fn main() -> ExitCode {
    chroot::program::end_when_nobody_reads();
    ExitCode::from(run(&Options::parse()).unwrap_or_else(|error| report(&error)))
}

fn run(options: &Options) -> Result<u8> {
    let root = Plan::container(&mount::mountinfo()?);
    let own = Namespaces::MOUNT | Namespaces::UTS | Namespaces::IPC | Namespaces::PID | Namespaces::NET;
    let (mut ready, mut go) = std::io::pipe().context("cannot make a pipe")?;
    let child = spawn(own, None, || {
        // The program starts when its network is there; if that fails, the pipe ends without a byte.
        let told = descriptors::keep_only(&[ready.as_fd()]).is_ok() && ready.read_exact(&mut [0]).is_ok();
        if told { enter(options, &root).unwrap_or_else(|error| report(&error)) } else { 125 }
    })?;
    let inside = Socket::open_in(child.as_fd())?;
    let mut start = || go.write_all(&[1]).context("cannot start the command");
    if options.network == Network::None {
        link::loopback_up(&inside)?;
        start()?;
        return Ok(child.wait()?.code());
    }

    // Plan: a subnet that nobody uses, its first address for the bridge, the second for the container.
    let host = Socket::open()?;
    let name = format!("steps{}", std::process::id());
    let subnet = subnet::choose(&route::list(&host)?)?;
    let gateway = subnet.gateway();
    let address = subnet.hosts().nth(1).context("the subnet has no second address")?;
    let attachment = Attachment {
        host_end: format!("v{name}"),
        interface: "eth0".to_owned(),
        bridge: name.clone(),
        mac: Mac::of(address),
        isolated: false,
        mtu: None,
        addresses: vec![subnet.address(address)],
        gateways: vec![gateway],
    };
    let bridge =
        Bridge { name: name.clone(), addresses: vec![subnet.address(gateway)], internal: false, mtu: None };
    let mut reservations = Vec::new();
    for mapping in
        options.publish.iter().map(|text| ports::parse(text)).collect::<Result<Vec<_>, _>>()?.concat()
    {
        reservations.push((Reservation::take(&mapping)?, mapping.container.number));
    }
    let published = |(reservation, port): &(Reservation, u16)| Publication {
        protocol: reservation.protocol,
        host: reservation.address,
        target: (address, *port).into(),
    };
    let published: Vec<Publication> = reservations.iter().map(published).collect();

    // Apply: rules, bridge, cable, ports; and the program may start.
    let firewall = Firewall::new(&name);
    let filter = nftables::Socket::open()?;
    let ended = (|| {
        let rules = NetworkRules { bridge: name.clone(), subnets: vec![subnet], internal: false };
        firewall.ensure(&filter, &[rules])?;
        bridge.ensure(&host)?;
        attachment.apply(&host, &inside, netns::of(child.as_fd())?.as_fd())?;
        firewall.publish(&filter, &published)?;
        start()?;
        Ok(child.wait()?.code())
    })();

    // Whatever happened, nothing stays behind.
    attachment.detach(&host)?;
    bridge.remove(&host)?;
    firewall.remove(&filter)?;
    ended
}

/// The child's way to its program.
fn enter(options: &Options, plan: &Plan) -> Result<u8> {
    nix::unistd::sethostname("container").context("cannot set the hostname")?;
    chroot::enter(&mount::clone_tree(&options.rootfs, true)?, &options.rootfs, plan)?;
    let error = Program::new(&options.command).exec();
    eprintln!("networking: {error}");
    Ok(error.exit_code())
}

fn report(error: &anyhow::Error) -> u8 {
    eprintln!("networking: {error:#}");
    125
}
