//! A network of its own keeps a container from what listens on the host.

use std::fs;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use testbed::engine::Engine;
use testbed::rootfs::Rootfs;

use crate::{import, probe, sh};

/// CVE-2020-15257: abstract sockets have no file and no permissions, only a network namespace. A shim that listens on
/// one is at the service of every container in the host's.
#[test]
fn abstract_sockets() {
    let engine = Engine::with_busybox();
    let root = Rootfs::busybox();
    fs::copy(probe(), root.join("bin/probe")).unwrap();
    import(&engine, "probe", &root);
    let name = format!("security-{}", std::process::id());
    let _listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let connect = |options: &[&str]| {
        engine.ok(&[&["run", "--rm"], options, &["probe", "probe", "unix", &name]].concat())
    };
    assert_eq!(connect(&[]), "ECONNREFUSED");
    assert_eq!(connect(&["--network", "none"]), "ECONNREFUSED");
    assert_eq!(connect(&["--network", "host"]), "connected", "the host's network was asked for");
    // Nor has the engine any such socket, not even for those who asked for the host's network.
    engine.ok(&["run", "-d", "busybox", "sleep", "1000"]);
    let sockets = sh(&engine, &["--network", "host"], "cat /proc/net/unix");
    let own = engine.exec().display().to_string();
    let abstract_ones = sockets
        .lines()
        .filter(|line| line.contains(" @"))
        .filter(|line| line.contains("md-") || line.contains("shim") || line.contains(&own));
    assert_eq!(abstract_ones.count(), 0, "{sockets}");
}

/// What listens on the host's loopback address counts on being reached from the host only.
#[test]
fn the_hosts_loopback() {
    let engine = Engine::with_busybox();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let line = format!(
        "busybox timeout 5 busybox nc -w 2 127.0.0.1 {port} < /dev/null 2>&1 && echo connected; true"
    );
    for options in [&[][..], &["--network", "none"]] {
        assert_eq!(
            sh(&engine, options, &line),
            "nc: can't connect to remote host (127.0.0.1): Connection refused"
        );
    }
    let visit = std::thread::spawn(move || listener.accept().map(drop));
    assert_eq!(sh(&engine, &["--network", "host"], &line), "connected");
    visit.join().unwrap().unwrap();
}

/// Kernel parameters of a container's network are not those of the host's.
#[test]
fn the_hosts_parameters() {
    let engine = Engine::with_busybox();
    let names = [
        "net/core/somaxconn",
        "net/ipv4/ip_unprivileged_port_start",
        "net/ipv4/ip_forward",
        "net/ipv4/ping_group_range",
    ];
    let host = || names.map(|name| fs::read_to_string(format!("/proc/sys/{name}")).unwrap());
    // The first container of a network has the host forward packets.
    engine.ok(&["run", "--rm", "busybox", "true"]);
    let before = host();
    let options = [
        "--sysctl=net.core.somaxconn=77",
        "--sysctl=net.ipv4.ip_unprivileged_port_start=77",
        "--sysctl=net.ipv4.ping_group_range=7 77",
    ];
    let line = "cat /proc/sys/net/core/somaxconn; (echo 1 > /proc/sys/net/ipv4/ip_forward) 2>&1";
    let refused = engine.run(&[&["run", "--rm"], &options[..], &["busybox", "sh", "-c", line]].concat());
    assert_eq!(
        String::from_utf8_lossy(&refused.stdout),
        "77\nsh: can't create /proc/sys/net/ipv4/ip_forward: Read-only file system\n"
    );
    assert_eq!(host(), before);
    // Those that are the host's cannot be had.
    for parameter in [
        "kernel.core_pattern=x",
        "vm.swappiness=1",
        "net.core.somaxconn/../../kernel/core_pattern=x",
        "net/../kernel.core_pattern=x",
    ] {
        let refused = engine.fails(&["run", "--rm", "--sysctl", parameter, "busybox", "true"]);
        assert!(refused.starts_with("125 "), "{refused}");
    }
    let network = engine.fails(&[
        "run",
        "--rm",
        "--network",
        "host",
        "--sysctl",
        "net.core.somaxconn=77",
        "busybox",
        "true",
    ]);
    assert!(network.starts_with("125 "), "{network}");
    assert_eq!(host(), before);
}
