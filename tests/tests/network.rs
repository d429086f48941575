//! Containers and networks: what reaches whom, by which address and name, and what is left afterwards.

use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

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

/// The devices of this test's network.
fn links() -> Vec<String> {
    let text = stdout(Command::new("ip").args(["-o", "link"]));
    text.lines().filter_map(|line| Some(line.split(": ").nth(1)?.split('@').next()?.to_owned())).collect()
}

/// The elements of the firewall's maps of published ports.
fn published() -> usize {
    stdout(Command::new("nft").args(["list", "ruleset"])).matches(" : 172.").count()
}

#[test]
fn the_first_container_has_the_addresses_that_docker_gives() {
    let engine = Engine::with_busybox();
    engine.ok(&["run", "-d", "--name", "web", "--hostname", "web", "busybox", "sleep", "1000"]);
    let settings = engine.inspect(
        "web",
        "{{.NetworkSettings.IPAddress}}/{{.NetworkSettings.IPPrefixLen}} {{.NetworkSettings.Gateway}} {{.NetworkSettings.MacAddress}} {{json .NetworkSettings.Networks.bridge.Aliases}}",
    );
    assert_eq!(settings, "172.17.0.2/16 172.17.0.1 02:42:ac:11:00:02 null");
    let network = engine.ok(&["network", "inspect", "--format", "{{.Id}}", "bridge"]);
    assert_eq!(engine.inspect("web", "{{.NetworkSettings.Networks.bridge.NetworkID}}"), network);
    let pid = engine.inspect("web", "{{.State.Pid}}");
    let inside = |line: &[&str]| {
        stdout(Command::new("nsenter").args(["-t", &pid, "-n", "ip"]).args(line)).trim_end().to_owned()
    };
    assert!(
        inside(&["-o", "-4", "address", "show", "eth0"]).contains("inet 172.17.0.2/16 brd 172.17.255.255")
    );
    assert!(inside(&["route"]).starts_with("default via 172.17.0.1 dev eth0"));
    let etc = engine.data().join("containers").join(engine.inspect("web", "{{.Id}}"));
    let hosts = std::fs::read_to_string(etc.join("hosts")).unwrap();
    assert!(hosts.starts_with("127.0.0.1\tlocalhost\n") && hosts.ends_with("172.17.0.2\tweb\n"), "{hosts}");
    // The next one has the next address, and one that has ended gives its address back.
    let look = "ip -o -4 address show eth0 | awk '{print $4}'";
    assert_eq!(sh(&engine, &[], look), "172.17.0.3/16");
    assert_eq!(sh(&engine, &[], look), "172.17.0.3/16");
    engine.ok(&["kill", "web"]);
    assert_eq!(engine.inspect("web", "{{json .NetworkSettings.IPAddress}}"), "\"\"");
    assert_eq!(sh(&engine, &[], look), "172.17.0.2/16");
}

#[test]
fn names_are_known_in_networks_of_ones_own() {
    let engine = Engine::with_busybox();
    engine.ok(&["network", "create", "--subnet", "172.30.0.0/24", "back"]);
    engine.greeter("db", &["--network", "back", "--network-alias", "postgres", "--ip", "172.30.0.9"]);
    let inside = |line: &str| sh(&engine, &["--network", "back"], line);
    let short = engine.inspect("db", "{{.Id}}")[..12].to_owned();
    for name in ["db", "postgres", "DB", &short] {
        assert!(inside(&format!("nslookup {name}")).contains("Address: 172.30.0.9"), "{name}");
    }
    assert!(inside("nslookup 172.30.0.9").contains("name = db"));
    assert_eq!(inside("nc -w 2 db 80"), "db");
    assert_eq!(
        inside("cat /etc/resolv.conf | head -1; grep ndots /etc/resolv.conf"),
        "nameserver 127.0.0.11\noptions ndots:0"
    );
    // One that ends is forgotten, and on the default network there are no names.
    let default = engine.run(&["run", "--rm", "busybox", "nslookup", "-type=a", "db"]);
    assert!(!String::from_utf8_lossy(&default.stdout).contains("172.30"), "{default:?}");
    engine.ok(&["kill", "db"]);
    let forgotten = engine.run(&["run", "--rm", "--network", "back", "busybox", "nslookup", "-type=a", "db"]);
    assert!(!String::from_utf8_lossy(&forgotten.stdout).contains("172.30.0.9"), "{forgotten:?}");
}

#[test]
fn a_program_inside_may_have_port_53_to_itself() {
    let engine = Engine::with_busybox();
    engine.ok(&["network", "create", "back"]);
    let line = "nc -l -p 53 & for i in $(seq 500); do \
                grep -q ':0035 ' /proc/net/tcp /proc/net/tcp6 && break; usleep 10000; done; \
                cat /proc/net/tcp /proc/net/tcp6 | grep -c ':0035 '; \
                nslookup $(hostname) | grep -c 'Address: 172'; kill %1";
    assert_eq!(sh(&engine, &["--network", "back"], line), "1\n1");
}

#[test]
fn other_names_are_passed_on() {
    let engine = Engine::with_busybox();
    // A name server of the host's, on a loopback address: only the engine can reach it.
    let server = std::net::UdpSocket::bind("127.0.0.1:53").unwrap();
    let answering = std::thread::spawn(move || {
        let mut question = [0; 512];
        let (length, from) = server.recv_from(&mut question).unwrap();
        // The question again, as an answer with one address.
        let mut answer = question[..length].to_vec();
        answer[2..4].copy_from_slice(&[0x81, 0x80]);
        answer[6..8].copy_from_slice(&[0, 1]);
        answer[10..12].copy_from_slice(&[0, 0]);
        let end = 12 + answer[12..].iter().position(|&byte| byte == 0).unwrap() + 5;
        answer.truncate(end);
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7]);
        server.send_to(&answer, from).unwrap();
    });
    engine.ok(&["network", "create", "back"]);
    let options = ["--network", "back", "--dns", "127.0.0.1"];
    let said = sh(&engine, &options, "nslookup -type=a example.test");
    answering.join().unwrap();
    assert!(said.contains("Address: 192.0.2.7"), "{said}");
}

#[test]
fn an_internal_network_leads_nowhere() {
    let engine = Engine::with_busybox();
    engine.ok(&["network", "create", "--internal", "inner"]);
    engine.greeter("inner-web", &["--network", "inner", "-p", "8080:80"]);
    engine.greeter("outer-web", &[]);
    let inner = ["--network", "inner"];
    assert_eq!(hear_inside(&engine, &inner, "inner-web 80"), "inner-web");
    assert_eq!(hear_inside(&engine, &inner, "172.17.0.2 80"), "");
    assert_eq!(sh(&engine, &inner, "ip route | grep -c default; true"), "0");
    assert_eq!(hear("127.0.0.1:8080"), "(connection refused)", "nothing is published");
}

#[test]
fn the_hosts_own_services_stay_its_own() {
    let engine = Engine::with_busybox();
    let listener = TcpListener::bind("127.0.0.1:7000").unwrap();
    engine.greeter("web", &["-p", "8080:80"]);
    // The way to 127.0.0.1 is open for the host alone: a container that sends there over the bridge is not heard.
    let line = "ip route del 127.0.0.0/8 table local 2>/dev/null; ip address del 127.0.0.1/8 dev lo; \
                ip route add 127.0.0.0/8 via 172.17.0.1; nc -w 1 127.0.0.1 7000; echo $?";
    let said = sh(&engine, &["--cap-add", "net_admin"], line);
    assert_eq!(said.lines().last(), Some("1"), "{said}");
    listener.set_nonblocking(true).unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn an_address_that_is_given_again_is_not_answered_for_by_the_last_one() {
    let engine = Engine::with_busybox();
    let mut hosts = 0;
    for _ in 0..20 {
        engine.ok(&["run", "--rm", "busybox", "true"]);
        // The same address as the one that has just ended, whose namespace the kernel has yet to take apart.
        engine.greeter("web", &[]);
        hosts += usize::from(engine.inspect("web", "{{.NetworkSettings.IPAddress}}") == "172.17.0.2");
        assert_eq!(hear("172.17.0.2:80"), "web");
        engine.ok(&["rm", "-f", "web"]);
    }
    assert_eq!(hosts, 20);
}

#[test]
fn a_new_name_is_known_at_once() {
    let engine = Engine::with_busybox();
    engine.ok(&["network", "create", "net"]);
    engine.greeter("old", &["--network", "net", "--network-alias", "alias"]);
    engine.ok(&["run", "-d", "--name", "asker", "--network", "net", "busybox", "sleep", "1000"]);
    let ask = |name: &str| {
        let line = format!("nc -w 5 {name} 80 < /dev/null 2>/dev/null || echo unknown");
        engine.ok(&["exec", "asker", "sh", "-c", &line])
    };
    assert_eq!([ask("old"), ask("new")], ["old", "unknown"]);
    engine.ok(&["rename", "old", "new"]);
    assert_eq!([ask("old"), ask("new"), ask("alias")], ["unknown", "old", "old"]);
    engine.ok(&["rename", "asker", "other"]);
}

#[test]
fn a_running_container_changes_networks() {
    let engine = Engine::with_busybox();
    engine.ok(&["network", "create", "one"]);
    engine.ok(&["network", "create", "two"]);
    engine.greeter("web", &["--network", "one"]);
    let hear = |network: &str| hear_inside(&engine, &["--network", network], "web 80");
    assert_eq!((hear("one"), hear("two")), ("web".to_owned(), String::new()));
    engine.ok(&["network", "connect", "--alias", "more", "two", "web"]);
    assert_eq!((hear("one"), hear("two")), ("web".to_owned(), "web".to_owned()));
    assert!(sh(&engine, &["--network", "two"], "nslookup more").contains("Address: 172."));
    let twice = engine.fails(&["network", "connect", "two", "web"]);
    assert_eq!(twice, "1 Error: endpoint with name web already exists in network two");
    engine.ok(&["network", "disconnect", "one", "web"]);
    assert_eq!((hear("one"), hear("two")), (String::new(), "web".to_owned()));
    let said = engine.fails(&["network", "rm", "two"]);
    assert!(
        said.starts_with(
            "1 Error: error while removing network: network two has active endpoints (name:\"web\""
        ),
        "{said}"
    );
    engine.ok(&["network", "rm", "one"]);
    // One that began on the default network learns names when it comes into a network that has them.
    engine.ok(&["run", "-d", "--name", "late", "busybox", "sleep", "1000"]);
    engine.ok(&["network", "connect", "two", "late"]);
    let pid = engine.inspect("late", "{{.State.Pid}}");
    until("it finds web by its name", || {
        let mut inside = Command::new("nsenter");
        inside.args(["-t", &pid, "-n", "-m", "busybox", "nslookup", "web"]);
        testbed::output(&mut inside).status.success()
    });
}

#[test]
fn the_default_route_moves_when_its_network_is_left() {
    let engine = Engine::with_busybox();
    for (number, name, option) in
        [("1", "left", "-dbridge"), ("2", "inner", "--internal"), ("3", "next", "-dbridge")]
    {
        let subnet = format!("10.7.{number}.0/24");
        engine.ok(&["network", "create", option, "--subnet", &subnet, name]);
    }
    engine.ok(&["run", "-d", "--name", "one", "--network", "left", "busybox", "sleep", "1000"]);
    engine.ok(&["network", "connect", "inner", "one"]);
    engine.ok(&["network", "connect", "next", "one"]);
    let pid = engine.inspect("one", "{{.State.Pid}}");
    let route = || {
        let mut inside = Command::new("nsenter");
        stdout(inside.args(["-t", &pid, "-n", "ip", "route", "show", "default"])).trim_end().to_owned()
    };
    assert_eq!(route(), "default via 10.7.1.1 dev eth0");
    // Not through the network that nothing leads out of, whose name comes first.
    engine.ok(&["network", "disconnect", "left", "one"]);
    assert_eq!(route(), "default via 10.7.3.1 dev eth2");
    engine.ok(&["network", "disconnect", "next", "one"]);
    assert_eq!(route(), "");
    // And the next one that leads out has it again.
    engine.ok(&["network", "connect", "left", "one"]);
    assert_eq!(route(), "default via 10.7.1.1 dev eth0");
}

#[test]
fn force_forgives_only_what_does_not_exist() {
    let engine = Engine::with_busybox();
    let silent = engine.run(&["network", "rm", "-f", "none-such"]);
    assert_eq!((silent.status.code(), silent.stdout, silent.stderr), (Some(0), Vec::new(), Vec::new()));
    engine.ok(&["network", "disconnect", "-f", "bridge", "none-such"]);
    engine.ok(&["network", "create", "good"]);
    engine.ok(&["network", "create", "-o", "com.docker.network.bridge.name=badbridge", "bad"]);
    let record = engine.data().join("networks/bad.json");
    let kept = fs::read_to_string(&record).expect("its record");
    let put = |text: &str| fs::write(&record, text).expect("the test's own engine");
    put("nonsense");
    let said = engine.fails(&["network", "rm", "-f", "bad"]);
    assert!(said.starts_with("1 Error: cannot read "), "{said}");

    // A network that cannot be removed, as the loopback device cannot, does not keep another one.
    put(&kept.replace("badbridge", "lo"));
    let pruned = engine.run(&["network", "prune", "-f"]);
    assert_eq!(pruned.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&pruned.stdout), "Deleted Networks:\ngood\n\n");
    let said = String::from_utf8_lossy(&pruned.stderr).into_owned();
    assert!(said.starts_with("Error: cannot remove lo: ") && said.lines().count() == 1, "{said}");
    put(&kept);
    assert_eq!(engine.ok(&["network", "prune", "-f"]), "Deleted Networks:\nbad");
}

#[test]
fn networks_are_made_listed_and_removed() {
    let engine = Engine::with_busybox();
    let id = engine.ok(&[
        "network",
        "create",
        "--label",
        "tier=back",
        "--subnet",
        "10.9.0.0/24",
        "--gateway",
        "10.9.0.254",
        "own",
    ]);
    assert_eq!(id.len(), 64);
    let list = |options: &[&str]| {
        engine.ok(&[&["network", "ls", "--format", "{{.Name}} {{.Driver}} {{.Scope}}"], options].concat())
    };
    assert_eq!(list(&[]), "bridge bridge local\nhost host local\nnone null local\nown bridge local");
    assert_eq!(list(&["--filter", "label=tier=back"]), "own bridge local");
    assert_eq!(list(&["--filter", "type=custom"]), "own bridge local");
    assert_eq!(
        engine.ok(&[
            "network",
            "inspect",
            "-f",
            "{{(index .IPAM.Config 0).Subnet}} {{(index .IPAM.Config 0).Gateway}}",
            &id[..10]
        ]),
        "10.9.0.0/24 10.9.0.254"
    );
    assert_eq!(sh(&engine, &["--network", "own"], "ip route | head -1"), "default via 10.9.0.254 dev eth0 ");
    let refused = |arguments: &[&str]| engine.fails(&[&["network"], arguments].concat());
    let table = [
        refused(&["create", "own"]),
        refused(&["create", "--subnet", "10.9.0.128/25", "overlapping"]),
        refused(&["create", "--subnet", "10.8.0.1/24", "odd"]),
        refused(&["create", "--driver", "overlay", "far"]),
        refused(&["create", "-odd"]),
        refused(&["rm", "bridge"]),
        refused(&["rm", "none-such"]),
        refused(&["inspect", "none-such"]),
        refused(&["disconnect", "own", "none-such"]),
        engine.fails(&["run", "--rm", "--network", "none-such", "busybox", "true"]),
        engine.fails(&["run", "--rm", "--ip", "172.17.0.9", "busybox", "true"]),
        engine.fails(&["run", "--rm", "--network-alias", "x", "busybox", "true"]),
        engine.fails(&["run", "--rm", "--network", "own", "--ip", "10.9.1.1", "busybox", "true"]),
        engine.fails(&["run", "--rm", "--network", "own", "--ip", "10.9.0.254", "busybox", "true"]),
        engine.fails(&["run", "--rm", "--network", "host", "--ip", "10.9.0.7", "busybox", "true"]),
        engine.fails(&["run", "--rm", "-p", "80:80:80:80", "busybox", "true"]),
        engine.fails(&["run", "--rm", "-p", "0.0.0.0:x:80", "busybox", "true"]),
        engine.fails(&["run", "--rm", "--add-host", "odd", "busybox", "true"]),
    ];
    insta::assert_snapshot!(table.join("\n"));
    assert_eq!(engine.ok(&["network", "prune", "-f", "--filter", "label=none"]), "");
    assert_eq!(engine.ok(&["network", "prune", "-f", "--filter", "until=0s"]), "Deleted Networks:\nown");
    assert!(engine.leases().is_empty());
    assert!(links().iter().all(|link| !link.starts_with("br-")), "{:?}", links());
}

#[test]
fn a_bridge_of_somebody_elses_is_not_taken() {
    let engine = Engine::with_busybox();
    stdout(Command::new("ip").args(["link", "add", "theirs", "type", "bridge"]));
    let name = |name: &str| format!("com.docker.network.bridge.name={name}");
    let refused = engine.fails(&["network", "create", "-o", &name("theirs"), "mine"]);
    assert_eq!(refused, "1 Error: bridge name theirs is in use already");
    engine.ok(&["network", "create", "-o", &name("ours"), "a"]);
    let twice = engine.fails(&["network", "create", "-o", &name("ours"), "b"]);
    assert_eq!(twice, "1 Error: bridge name ours is in use already");
    assert_eq!(sh(&engine, &["--network", "a"], "ip route | grep -c default"), "1");
    engine.ok(&["network", "rm", "a"]);
    assert!(links().contains(&"theirs".to_owned()) && !links().contains(&"ours".to_owned()), "{:?}", links());
}

#[test]
fn a_start_that_fails_keeps_no_address() {
    let engine = Engine::with_busybox();
    engine.ok(&["network", "create", "--internal", "inner"]);
    engine.ok(&["network", "create", "--subnet", "10.7.0.0/24", "--subnet", "fd00:7::/64", "six"]);
    let cases: [&[&str]; 3] = [
        // An internal network has no gateway to be called so.
        &["--network", "inner", "--add-host", "host:host-gateway"],
        &["--network", "six", "--ip6", "fd00:8::1"],
        &["--network", "six", "--ip", "10.7.0.1"],
    ];
    for options in cases {
        engine.fails(&[&["run", "--rm"], options, &["busybox", "true"]].concat());
        assert!(engine.leases().is_empty(), "{options:?}: {:?}", engine.leases());
    }
}

#[test]
fn connecting_at_once_connects_once() {
    let engine = Engine::with_busybox();
    engine.greeter("web", &[]);
    let networks: Vec<String> = (0..6).map(|number| format!("net{number}")).collect();
    for network in &networks {
        engine.ok(&["network", "create", network]);
    }
    let all: Vec<_> = networks
        .iter()
        .map(|network| engine.command(&["network", "connect", network, "web"]).spawn().unwrap())
        .collect();
    for mut one in all {
        assert!(one.wait().unwrap().success());
    }
    for network in &networks {
        assert_eq!(hear_inside(&engine, &["--network", network], "web 80"), "web");
    }
    engine.ok(&["rm", "-f", "web"]);
    assert!(engine.leases().is_empty(), "{:?}", engine.leases());
}

#[test]
fn a_name_server_that_cannot_be_had_is_no_end() {
    let engine = Engine::with_busybox();
    engine.ok(&["network", "create", "back"]);
    let line = "ip address del 127.0.0.1/8 dev lo; echo ready; exec sleep 1000";
    engine.ok(&["run", "-d", "--name", "web", "--cap-add", "net_admin", "busybox", "sh", "-c", line]);
    until("it has done so", || engine.ok(&["logs", "web"]) == "ready");
    engine.ok(&["network", "connect", "back", "web"]);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(engine.inspect("web", "{{.State.Status}}"), "running");
}

#[test]
fn hosts_and_name_servers_of_the_users() {
    let engine = Engine::with_busybox();
    let options = [
        "--dns",
        "192.0.2.53",
        "--dns-search",
        "example.test",
        "--dns-option",
        "timeout:1",
        "--add-host",
        "db:192.0.2.1",
        "--add-host",
        "host.docker.internal:host-gateway",
        "--hostname",
        "web",
        "--domainname",
        "example.test",
    ];
    insta::assert_snapshot!(sh(&engine, &options, "cat /etc/hosts /etc/resolv.conf"));
}

#[test]
fn ipv6_where_it_is_asked_for() {
    let engine = Engine::with_busybox();
    engine.ok(&["network", "create", "--ipv6", "--subnet", "fd00:9::/64", "six"]);
    engine.ok(&[
        "run",
        "-d",
        "--name",
        "web",
        "--network",
        "six",
        "busybox",
        "nc",
        "-ll",
        "-p",
        "80",
        "-e",
        "echo",
        "six",
    ]);
    assert_eq!(engine.inspect("web", "{{.NetworkSettings.Networks.six.GlobalIPv6Address}}"), "fd00:9::2");
    until("it answers over IPv6", || hear("[fd00:9::2]:80") == "six");
    assert_eq!(hear_inside(&engine, &["--network", "six"], "fd00:9::2 80"), "six");
    // Without it, there is none.
    assert_eq!(sh(&engine, &[], "ip -6 address show eth0 | wc -l"), "0");
}

#[test]
fn a_killed_shim_leaves_no_link_lease_or_rule() {
    let engine = Engine::with_busybox();
    engine.ok(&["network", "create", "back"]);
    let before = links();
    for round in 0..5 {
        let options = ["-d", "--rm", "--network", "back", "-p", "8080:80"];
        let id = engine.ok(&[&["run"], &options[..], &["busybox", "sleep", "1000"]].concat());
        let pid = engine.inspect(&id, "{{.State.Pid}}");
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let shim: i32 =
            status.lines().find_map(|line| line.strip_prefix("PPid:\t")).unwrap().parse().unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(shim), nix::sys::signal::Signal::SIGKILL).unwrap();
        // The next start may have the address and the port again.
        until("the container has ended", || !std::path::Path::new(&format!("/proc/{pid}/ns/net")).exists());
        let address = "ip -o -4 address show eth0 | awk '{print $4}'";
        let first = sh(&engine, &["--network", "back", "-p", "8080:80"], address);
        assert!(first.ends_with(".0.2/16"), "round {round}: {first}");
    }
    assert!(engine.leases().is_empty());
    assert_eq!(published(), 0);
    until("no link stays", || {
        links().iter().all(|link| before.contains(link) || link.starts_with("br-") || link.starts_with("md-"))
    });
}

#[test]
fn fifty_at_once_have_addresses_of_their_own() {
    const PROCESSES: usize = 8;
    const CONTAINERS: usize = 50;
    let engine = Engine::with_busybox();
    // The network is made by the first; here several are first at once.
    let mut running: Vec<std::process::Child> = Vec::new();
    for process in 0..PROCESSES {
        let names = (process..CONTAINERS).step_by(PROCESSES).map(|number| format!("n{number:02}"));
        let program = Engine::program();
        let line: String = names
            .map(|name| {
                format!(
                    "{} run -d --name {name} busybox nc -ll -p 80 -e echo {name} || exit 1\n",
                    program.display()
                )
            })
            .collect();
        let mut command = Command::new("sh");
        command.args(["-c", &line]).stdout(std::process::Stdio::null());
        command.env("MINI_DOCKER_DATA_ROOT", engine.data()).env("MINI_DOCKER_EXEC_ROOT", engine.exec());
        running.push(command.spawn().unwrap());
    }
    for mut process in running {
        assert!(process.wait().unwrap().success());
    }
    let mut names: Vec<&str> = vec!["inspect", "--format", "{{.Name}} {{.NetworkSettings.IPAddress}}"];
    let all: Vec<String> = (0..CONTAINERS).map(|number| format!("n{number:02}")).collect();
    names.extend(all.iter().map(String::as_str));
    let said = engine.ok(&names);
    let addresses: std::collections::BTreeSet<&str> =
        said.lines().map(|line| line.split(' ').nth(1).unwrap()).collect();
    assert_eq!(addresses.len(), CONTAINERS, "{said}");
    for line in said.lines() {
        let (name, address) = line.split_once(' ').unwrap();
        until("it answers", || hear(&format!("{address}:80")) == name.trim_start_matches('/'));
    }
    let mut remove = vec!["rm", "-f"];
    remove.extend(all.iter().map(String::as_str));
    engine.ok(&remove);
    assert!(engine.leases().is_empty(), "{:?}", engine.leases());
    until("no link stays", || links().iter().all(|link| !link.starts_with("veth")));
    assert_eq!(published(), 0);
}
