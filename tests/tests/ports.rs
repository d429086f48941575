//! Published ports: who reaches them, how they are shown, and whose they are.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use testbed::engine::Engine;
use testbed::network::hear;
use testbed::{stdout, until};

/// Runs `line` in a container with these options; what it prints.
fn sh(engine: &Engine, options: &[&str], line: &str) -> String {
    engine.ok(&[&["run", "--rm"], options, &["busybox", "sh", "-c", line]].concat())
}

/// What a container hears at an address and port.
fn hear_inside(engine: &Engine, options: &[&str], place: &str) -> String {
    sh(engine, options, &format!("nc -w 2 {place} 2>/dev/null; true"))
}

/// The elements of the firewall's maps of published ports.
fn published() -> usize {
    stdout(Command::new("nft").args(["list", "ruleset"])).matches(" : 172.").count()
}

#[test]
fn a_published_port_is_reached_from_everywhere() {
    let engine = Engine::with_busybox();
    engine.greeter("web", &["-p", "8080:80"]);
    assert_eq!(hear("127.0.0.1:8080"), "web");
    assert_eq!(hear("172.17.0.1:8080"), "web", "the host's address on the bridge");
    assert_eq!(hear("172.17.0.2:80"), "web", "the container itself");
    assert_eq!(hear_inside(&engine, &[], "172.17.0.1 8080"), "web", "a neighbour, by the host's port");
    assert_eq!(hear_inside(&engine, &[], "172.17.0.2 80"), "web", "a neighbour");
    engine.ok(&["network", "create", "other"]);
    assert_eq!(hear_inside(&engine, &["--network", "other"], "172.17.0.1 8080"), "web", "another network");
    assert_eq!(
        hear_inside(&engine, &["--network", "other"], "172.17.0.2 80"),
        "",
        "but only by the published port"
    );
    assert_eq!(engine.ok(&["port", "web"]), "80/tcp -> 0.0.0.0:8080");
    assert_eq!(engine.ok(&["ps", "--format", "{{.Ports}}"]), "0.0.0.0:8080->80/tcp");
    engine.ok(&["rm", "-f", "web"]);
    assert_eq!(hear("127.0.0.1:8080"), "(connection refused)");
    assert_eq!(published(), 0);
}

#[test]
fn a_published_port_follows_the_default_route() {
    let engine = Engine::with_busybox();
    engine.ok(&["network", "create", "first"]);
    engine.ok(&["network", "create", "second"]);
    engine.greeter("web", &["--network", "first", "-p", "8080:80", "-p", "8080:80/udp"]);
    engine.ok(&["network", "connect", "second", "web"]);
    engine.ok(&["network", "disconnect", "first", "web"]);
    assert_eq!(hear("127.0.0.1:8080"), "web", "by its address in the other network");
    assert_eq!(engine.ok(&["port", "web"]), "80/tcp -> 0.0.0.0:8080\n80/udp -> 0.0.0.0:8080");
    assert!(engine.fails(&["run", "--rm", "-p", "8080:80", "busybox"]).contains("already allocated"));
    // Without any network that leads out, nothing leads in.
    engine.ok(&["network", "disconnect", "second", "web"]);
    assert_eq!(engine.ok(&["port", "web"]), "");
    assert_eq!(published(), 0);
    engine.ok(&["rm", "-f", "web"]);
    assert_eq!(hear("127.0.0.1:8080"), "(connection refused)");
    engine.ok(&["run", "--rm", "-p", "8080:80", "busybox", "true"]);
}

#[test]
fn ports_as_they_are_shown() {
    let engine = Engine::with_busybox();
    engine.ok(&[
        "run",
        "-d",
        "--name",
        "many",
        "-p",
        "9000-9002:9000-9002",
        "-p",
        "127.0.0.1:53:53/udp",
        "-p",
        "9100:91",
        "-p",
        "9101:92",
        "--expose",
        "443",
        "busybox",
        "sleep",
        "1000",
    ]);
    insta::assert_snapshot!(engine.ok(&["ps", "--format", "{{.Ports}}"]), @"127.0.0.1:53->53/udp, 443/tcp, 0.0.0.0:9000-9002->9000-9002/tcp, 0.0.0.0:9100->91/tcp, 0.0.0.0:9101->92/tcp");
    insta::assert_snapshot!(engine.inspect("many", "{{json .NetworkSettings.Ports}}"), @r#"{"443/tcp":null,"53/udp":[{"HostIp":"127.0.0.1","HostPort":"53"}],"9000/tcp":[{"HostIp":"0.0.0.0","HostPort":"9000"}],"9001/tcp":[{"HostIp":"0.0.0.0","HostPort":"9001"}],"9002/tcp":[{"HostIp":"0.0.0.0","HostPort":"9002"}],"91/tcp":[{"HostIp":"0.0.0.0","HostPort":"9100"}],"92/tcp":[{"HostIp":"0.0.0.0","HostPort":"9101"}]}"#);
    // Every exposed port, each at one that is free.
    engine.ok(&["run", "-d", "--name", "all", "-P", "--expose", "80-81", "busybox", "sleep", "1000"]);
    let random: u16 = engine.ok(&["port", "all", "80"]).rsplit(':').next().unwrap().parse().unwrap();
    assert!(random >= 1024, "{random}");
    assert_eq!(engine.ok(&["port", "all"]).lines().count(), 2);
    engine.ok(&["kill", "all"]);
    assert_eq!(engine.ok(&["port", "all"]), "");
}

#[test]
fn a_port_in_use_is_an_error_before_anything_starts() {
    let engine = Engine::with_busybox();
    let listener = TcpListener::bind("0.0.0.0:8080").unwrap();
    let command = ["run", "--name", "web", "-p", "8080:80", "busybox", "true"];
    insta::assert_snapshot!(engine.fails(&command), @"125 Error: driver failed programming external connectivity on endpoint web: Bind for 0.0.0.0:8080 failed: port is already allocated");
    assert_eq!(engine.inspect("web", "{{.State.Status}}"), "created");
    assert!(engine.leases().is_empty(), "{:?}", engine.leases());
    drop(listener);
    engine.ok(&["rm", "web"]);
    engine.ok(&["run", "-d", "--name", "first", "-p", "8080:80", "busybox", "sleep", "1000"]);
    let second = engine.fails(&["run", "--rm", "-p", "127.0.0.1:8080:80", "busybox", "true"]);
    assert!(second.contains("Bind for 127.0.0.1:8080 failed: port is already allocated"), "{second}");
    // Nor can a program of the host's take it.
    TcpListener::bind("0.0.0.0:8080").unwrap_err();
    assert_eq!(engine.ok(&["ps", "-aq"]).lines().count(), 1);
}

#[test]
fn a_flushed_firewall_is_made_again() {
    let engine = Engine::with_busybox();
    engine.greeter("first", &["-p", "8080:80"]);
    stdout(Command::new("nft").args(["flush", "ruleset"]));
    engine.greeter("second", &["-p", "8081:80"]);
    assert_eq!(hear("127.0.0.1:8081"), "second");
}

#[test]
fn what_was_said_over_a_published_port_is_whole() {
    let engine = Engine::with_busybox();
    engine.ok(&[
        "run",
        "-d",
        "--name",
        "echo",
        "-p",
        "127.0.0.1:7777:7",
        "busybox",
        "nc",
        "-ll",
        "-p",
        "7",
        "-e",
        "cat",
    ]);
    until("it listens", || TcpStream::connect("127.0.0.1:7777").is_ok());
    let sent: Vec<u8> = (0..1_000_000_u32).map(|number| number as u8).collect();
    let mut stream = TcpStream::connect("127.0.0.1:7777").unwrap();
    let mut reader = stream.try_clone().unwrap();
    let expected = sent.len();
    let reading = std::thread::spawn(move || {
        let mut received = vec![0; expected];
        reader.read_exact(&mut received).unwrap();
        received
    });
    stream.write_all(&sent).unwrap();
    assert!(reading.join().unwrap() == sent);
}
