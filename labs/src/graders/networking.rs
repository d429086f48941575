//! Lab 6: a network of its own.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use networking::{Socket, address, link};

use crate::bench::{Bench, HOLD, Held};
use crate::check::{Check, Failure, Verdict};
use crate::process::Process;
use crate::world::{CLIENT, HOST, World};

pub(super) const CHECKS: &[Check] = &[
    ("runs", runs),
    ("devices", devices),
    ("address", address),
    ("bridge", bridge),
    ("gateway", gateway),
    ("reach", reach),
    ("route", route),
    ("outside", outside),
    ("published", published),
    ("visitor", visitor),
    ("itself", itself),
    ("others", others),
    ("removed", removed),
    ("code", code),
];

/// The host's port, and that of the server inside.
const OPTIONS: &[&str] = &["8080:80"];
const PUBLISHED: u16 = 8080;
const SERVED: u16 = 80;
/// A server inside, whose only document is [`DOCUMENT`].
const SERVER: &str = "httpd -p 80 -h /etc; echo ready; read line";
const DOCUMENT: &str = "This is the root that you were given.";
/// What learners' programs make.
const BRIDGE: &str = "box0";
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);
const PREFIX: u8 = 24;
/// How long something may take that needs no time.
const SOON: Duration = Duration::from_secs(3);
/// A table that is not the program's.
const OTHERS: &str = "others";
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);

fn runs(bench: &Bench) -> Verdict {
    World::new()?.host.run(|| super::runs_with(bench, OPTIONS))?
}

fn devices(bench: &Bench) -> Verdict {
    hold(bench, HOLD, |held, _| {
        let found = link::list(&socket_in(held.inside)?)?;
        let expected = "inside there are lo and eth0, and both are on";
        for name in ["lo", "eth0"] {
            match found.iter().find(|link| link.name == name) {
                Some(link) if link.up => {}
                Some(_) => return Failure::verdict(&held.command, expected, format!("{name} is off")),
                None => return Failure::verdict(&held.command, expected, format!("there is no {name}")),
            }
        }
        Ok(())
    })
}

fn address(bench: &Bench) -> Verdict {
    hold(bench, HOLD, |held, _| {
        let seen = addresses(&socket_in(held.inside)?, "eth0")?;
        is_only(held, "eth0", &seen, ADDRESS)
    })
}

fn bridge(bench: &Bench) -> Verdict {
    hold(bench, HOLD, |held, world| {
        let all = link::list(&world.host.socket()?)?;
        let bridge = all.iter().find(|link| link.name == BRIDGE);
        let plugged = |link: &&link::Link| bridge.is_some_and(|bridge| link.bridge == Some(bridge.index));
        let seen = match (bridge, all.iter().find(plugged)) {
            (None, _) => format!("there is no {BRIDGE}"),
            (Some(bridge), _) if !bridge.up => format!("{BRIDGE} is off"),
            (Some(_), None) => format!("nothing is plugged into {BRIDGE}"),
            (Some(_), Some(cable)) if !cable.up => {
                format!("{}, which is plugged into it, is off", cable.name)
            }
            (Some(_), Some(_)) => return Ok(()),
        };
        let expected = format!("on the host there is {BRIDGE}, with a cable plugged in, and both are on");
        Failure::verdict(&held.command, expected, seen)
    })
}

fn gateway(bench: &Bench) -> Verdict {
    hold(bench, HOLD, |held, world| {
        let seen = addresses(&world.host.socket()?, BRIDGE)?;
        is_only(held, BRIDGE, &seen, GATEWAY)
    })
}

fn reach(bench: &Bench) -> Verdict {
    hold(bench, SERVER, |held, world| {
        let seen = world.host.run(|| fetch((ADDRESS, SERVED).into()))?;
        is_document(held, &format!("from the host, http://{ADDRESS}/motd"), seen)
    })
}

fn route(bench: &Bench) -> Verdict {
    hold(bench, HOLD, |held, _| {
        let table = fs::read_to_string(held.inside.path().join("net/route"))?;
        // Device, destination, gateway: numbers in hexadecimal, the first byte last.
        let gateways: Vec<String> = table
            .lines()
            .filter_map(|line| {
                let mut fields = line.split('\t').skip(1);
                let (destination, gateway) = (fields.next()?, fields.next()?);
                let gateway = u32::from_be(u32::from_str_radix(gateway, 16).ok()?);
                (destination == "00000000").then(|| Ipv4Addr::from(gateway).to_string())
            })
            .collect();
        if gateways == [GATEWAY.to_string()] {
            return Ok(());
        }
        let seen = if gateways.is_empty() {
            "there is no default route".to_owned()
        } else {
            format!("it leads to {}", gateways.join(", "))
        };
        Failure::verdict(&held.command, format!("inside, the default route leads to {GATEWAY}"), seen)
    })
}

fn outside(bench: &Bench) -> Verdict {
    call(bench, 9000, "a server outside sees the host's address")
}

fn others(bench: &Bench) -> Verdict {
    call(bench, PUBLISHED, "port 8080 of another machine is its own, and sees the host's address")?;
    hold(bench, HOLD, |held, world| {
        let server = (CLIENT, PUBLISHED).into();
        let said = world.client.answering(server, || world.host.run(|| hear(server)))??;
        if said.trim() == HOST.to_string() {
            return Ok(());
        }
        let command = format!("{}, and from the host, nc {CLIENT} {PUBLISHED}", held.command);
        Failure::verdict(
            command,
            format!("port {PUBLISHED} of another machine is its own"),
            format!("from the host: {said}"),
        )
    })
}

/// That a server of the client's is called from inside, and sees the host's address.
fn call(bench: &Bench, port: u16, what: &str) -> Verdict {
    let world = World::new()?;
    let line = format!("nc -w 4 {CLIENT} {port} < /dev/null");
    let ran = world.client.answering((CLIENT, port).into(), || {
        world.host.run(|| bench.run_with(OPTIONS, &["/bin/sh", "-c", &line]))
    })???;
    let expected = format!("{what}: {HOST}");
    match ran.stdout.trim() {
        said if said == HOST.to_string() => Ok(()),
        "" => Failure::verdict(&ran.command, expected, format!("no answer: {}", ran.seen())),
        said => Failure::verdict(&ran.command, expected, format!("it sees {said}")),
    }
}

fn published(bench: &Bench) -> Verdict {
    hold(bench, SERVER, |held, world| {
        let seen = world.client.run(|| fetch((HOST, PUBLISHED).into()))?;
        is_document(
            held,
            &format!("from outside, http://{HOST}:{PUBLISHED}/motd"),
            seen_with_rules(world, seen)?,
        )
    })
}

fn itself(bench: &Bench) -> Verdict {
    hold(bench, SERVER, |held, world| {
        let seen = world.host.run(|| fetch((HOST, PUBLISHED).into()))?;
        is_document(
            held,
            &format!("from the host, http://{HOST}:{PUBLISHED}/motd"),
            seen_with_rules(world, seen)?,
        )
    })
}

fn visitor(bench: &Bench) -> Verdict {
    hold(bench, SERVER, |held, world| {
        let connection = world.client.run(|| connect((HOST, PUBLISHED).into()))?;
        let deadline = Instant::now() + SOON;
        let peers = loop {
            let peers = peers(held.inside, SERVED)?;
            // A connection is there on the one side a little before it is on the other.
            if !peers.is_empty() || Instant::now() > deadline {
                break peers;
            }
            std::thread::sleep(PAUSE);
        };
        // Until here, so that the connection is there to be seen.
        drop(connection);
        if peers == [CLIENT] {
            return Ok(());
        }
        let expected = format!("who comes from outside is seen inside as {CLIENT}");
        let seen = peers.iter().map(Ipv4Addr::to_string).collect::<Vec<_>>().join(", ");
        Failure::verdict(&held.command, expected, format!("connected to port {SERVED}: {seen}"))
    })
}

fn removed(bench: &Bench) -> Verdict {
    let world = World::new()?;
    world.nft(&["add", "table", "ip", OTHERS])?;
    let enter = |held: &Held| Ok((held.command.clone(), socket_in(held.inside)?));
    // The kernel takes the cable away with the container's namespace, some time after its last process. As long as we have a
    // socket in there, that time does not come.
    let ((command, inside), _) = world.host.run(|| bench.hold_to_end(OPTIONS, HOLD, enter))??;
    let mut left = world.other_devices()?;
    drop(inside);
    let others = format!("table ip {OTHERS}");
    let tables = world.nft(&["list", "tables"])?;
    left.extend(tables.lines().filter(|table| *table != others).map(str::to_owned));
    let expected = "no device and no rule is left on the host but what was there before";
    if !tables.contains(&others) {
        return Failure::verdict(
            command,
            expected,
            format!("the {others}, which somebody else has made, is gone"),
        );
    }
    if left.is_empty() {
        return Ok(());
    }
    Failure::verdict(command, expected, format!("left on the host: {}", left.join(", ")))
}

fn code(bench: &Bench) -> Verdict {
    World::new()?.host.run(|| super::exit_code_with(bench, OPTIONS))?
}

/// Calls `observe` while `line` waits inside, on a host of a new world.
fn hold(bench: &Bench, line: &str, observe: impl FnOnce(&Held, &World) -> Verdict + Send) -> Verdict {
    let world = World::new()?;
    world.host.run(|| bench.hold(OPTIONS, line, |held| observe(held, &world)))?
}

fn socket_in(process: Process) -> Result<Socket> {
    let namespace = File::open(process.path().join("ns/net")).context("cannot open a namespace")?;
    Ok(Socket::open_in(namespace.as_fd())?)
}

/// The IPv4 addresses of the device `name`.
fn addresses(socket: &Socket, name: &str) -> Result<Vec<String>> {
    let Some(device) = link::find(socket, name)? else { return Ok(Vec::new()) };
    let own = address::list(socket)?.into_iter().filter(|(index, _)| *index == device.index);
    Ok(own.filter(|(_, address)| address.ip.is_ipv4()).map(|(_, address)| address.to_string()).collect())
}

fn is_only(held: &Held, device: &str, seen: &[String], expected: Ipv4Addr) -> Verdict {
    let expected = format!("{expected}/{PREFIX}");
    if seen == [expected.as_str()] {
        return Ok(());
    }
    let seen = if seen.is_empty() { "it has none".to_owned() } else { seen.join(", ") };
    Failure::verdict(&held.command, format!("the address of {device} is {expected}"), seen)
}

fn is_document(held: &Held, what: &str, seen: String) -> Verdict {
    if seen.trim() == DOCUMENT {
        return Ok(());
    }
    Failure::verdict(format!("{}, and {what}", held.command), DOCUMENT, seen)
}

/// What was seen; if that is not the document, with the rules that lead anywhere.
fn seen_with_rules(world: &World, seen: String) -> Result<String> {
    if seen.trim() == DOCUMENT {
        return Ok(seen);
    }
    let rules = world.nft(&["list", "ruleset"])?;
    let rules: Vec<&str> = rules.lines().map(str::trim).filter(|rule| rule.contains("dnat to")).collect();
    Ok(format!(
        "{seen}; rules with dnat: {}",
        if rules.is_empty() { "none".into() } else { rules.join(", ") }
    ))
}

/// The document that a server has, or why there is none.
fn fetch(server: SocketAddr) -> String {
    let exchange = || -> std::io::Result<String> {
        let mut stream = connect(server)?;
        stream.set_read_timeout(Some(SOON))?;
        stream.write_all(b"GET /motd HTTP/1.0\r\n\r\n")?;
        let mut said = String::new();
        stream.read_to_string(&mut said)?;
        Ok(said)
    };
    match exchange() {
        Ok(said) => said.rsplit("\r\n\r\n").next().unwrap_or_default().trim().to_owned(),
        Err(error) => error.to_string(),
    }
}

/// What a server says to who connects to it, or why it says nothing.
fn hear(server: SocketAddr) -> String {
    let exchange = || -> std::io::Result<String> {
        let mut stream = connect(server)?;
        stream.set_read_timeout(Some(SOON))?;
        let mut said = String::new();
        stream.read_to_string(&mut said)?;
        Ok(said)
    };
    exchange().unwrap_or_else(|error| error.to_string())
}

fn connect(server: SocketAddr) -> std::io::Result<TcpStream> {
    TcpStream::connect_timeout(&server, SOON)
}

/// Who is connected to this port of the process's namespace.
fn peers(process: Process, port: u16) -> Result<Vec<Ipv4Addr>> {
    let end = |text: &str| -> Option<(Ipv4Addr, u16)> {
        let (address, port) = text.split_once(':')?;
        // A socket for both families has IPv4 addresses at the end of longer ones.
        let address = u32::from_str_radix(address.get(address.len().checked_sub(8)?..)?, 16).ok()?;
        Some((u32::from_be(address).into(), u16::from_str_radix(port, 16).ok()?))
    };
    let mut peers = Vec::new();
    for family in ["tcp", "tcp6"] {
        let table = process.path().join("net").join(family);
        // A kernel without IPv6 has only the first.
        let table = match fs::read_to_string(&table) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            read => read.with_context(|| format!("cannot read {}", table.display()))?,
        };
        peers.extend(table.lines().filter_map(|line| {
            // Number, this end, the other end, state (1 is "established").
            let mut fields = line.split_whitespace().skip(1);
            let (own, other, state) = (end(fields.next()?)?, end(fields.next()?)?, fields.next()?);
            (own.1 == port && state == "01").then_some(other.0)
        }));
    }
    Ok(peers)
}
