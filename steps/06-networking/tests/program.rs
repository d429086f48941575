//! This step's program, as a user runs it, on a host of the test's own.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::process::{Command, Stdio};

use common::Net;
use networking::link;
use testbed::rootfs::Rootfs;

const PROGRAM: &str = env!("CARGO_BIN_EXE_networking");

fn run(host: &Net, root: &Rootfs, options: &[&str], line: &str) -> (Option<i32>, String) {
    let output = host.run(|| {
        testbed::output(Command::new(PROGRAM).args(options).arg(root.path()).args(["/bin/sh", "-c", line]))
    });
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

fn assert_nothing_is_left(host: &Net) {
    let links: Vec<String> = link::list(&host.socket()).unwrap().into_iter().map(|link| link.name).collect();
    assert_eq!(links, ["lo"]);
    assert_eq!(host.stdout("nft", &["list", "ruleset"]), "");
}

#[test]
fn a_container_has_an_address_and_reaches_the_host() {
    let (host, root) = (Net::new(), Rootfs::busybox());
    host.serve(80, "host");
    let line = "ip -o -4 addr show eth0 | awk '{print $4}'; ip route; nc 172.17.0.1 80; exit 7";
    let expected = "172.17.0.2/16\ndefault via 172.17.0.1 dev eth0 \n\
                    172.17.0.0/16 dev eth0 scope link  src 172.17.0.2 \nhost 172.17.0.2";
    assert_eq!(run(&host, &root, &[], line), (Some(7), expected.to_owned()));
    assert_nothing_is_left(&host);
}

#[test]
fn a_published_port() {
    let (host, root) = (Net::new(), Rootfs::busybox());
    let mut program = host.run(|| {
        Command::new(PROGRAM)
            .args(["-p", "8080:80", "-p", "127.0.0.1:8081:80"])
            .arg(root.path())
            .args(["/bin/sh", "-c", "nc -l -p 80 -e echo one; nc -l -p 80 -e echo two"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    });
    testbed::until("the port answers", || host.call("127.0.0.1:8080").as_deref() == Some("one\n"));
    testbed::until("the port answers", || host.call("127.0.0.1:8081").as_deref() == Some("two\n"));
    assert!(program.wait().unwrap().success());
    assert_nothing_is_left(&host);
}

#[test]
fn no_network() {
    let (host, root) = (Net::new(), Rootfs::busybox());
    let line = "ip -o link | wc -l; ip -o -4 addr | awk '{print $4}'";
    assert_eq!(run(&host, &root, &["--network", "none"], line), (Some(0), "1\n127.0.0.1/8\n".to_owned()));
}

#[test]
fn what_cannot_be_done_is_said_and_leaves_nothing() {
    let (host, root) = (Net::new(), Rootfs::busybox());
    let _taken = host.run(|| std::net::TcpListener::bind("0.0.0.0:8080").unwrap());
    let failed = |text: &str| (Some(125), format!("networking: {text}\n"));
    let publish = |port: &str| run(&host, &root, &["-p", port], "echo it ran");
    assert_eq!(publish("8080:80"), failed("Bind for 0.0.0.0:8080 failed: port is already allocated"));
    assert_eq!(publish("8081:x"), failed("invalid containerPort: x"));
    assert_nothing_is_left(&host);
}
