//! The rules on a real kernel: who reaches whom. `nft` says what the kernel has understood.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::net::{SocketAddr, UdpSocket};

use common::{Net, bridge, container, isolated};
use networking::nftables::{self, Family};
use networking::{
    Bridge, Error, Firewall, Mapping, NetworkRules, Port, Protocol, Publication, Reservation, Socket,
    firewall,
};

/// A host with two networks and an internal one, in a LAN with another machine, and with a container in each.
struct World {
    host: Net,
    outside: Net,
    red: [Net; 2],
    blue: Net,
    lonely: [Net; 2],
    networks: Vec<NetworkRules>,
    firewall: Firewall,
    filter: nftables::Socket,
}

fn rules(bridge: &Bridge) -> NetworkRules {
    let subnets = bridge.addresses.iter().map(|address| address.subnet()).collect();
    NetworkRules { bridge: bridge.name.clone(), subnets, internal: bridge.internal }
}

/// Makes the rules in a namespace, which must be the thread's own: whether it forwards packets is looked up.
fn ensure(net: &Net, firewall: &Firewall, networks: &[NetworkRules]) {
    net.run(|| firewall.ensure(&nftables::Socket::open().unwrap(), networks).unwrap());
}

/// A cable between two namespaces, with an address at each end.
fn cable(one: &Net, one_end: (&str, &str), other: &Net, other_end: (&str, &str)) {
    use std::os::fd::AsFd;
    // `ip` knows namespaces by name or process; a descriptor of ours can be given as a path.
    let path =
        format!("/proc/{}/fd/{}", std::process::id(), std::os::fd::AsRawFd::as_raw_fd(&other.fd.as_fd()));
    let ip = |net: &Net, line: &str| net.stdout("ip", &line.split(' ').collect::<Vec<_>>());
    ip(one, &format!("link add {} type veth peer name {} netns {path}", one_end.0, other_end.0));
    for (net, (device, address)) in [(one, one_end), (other, other_end)] {
        ip(net, &format!("addr add {address} dev {device}"));
        ip(net, &format!("link set {device} up"));
    }
}

impl World {
    fn new() -> Self {
        Self::with_bridge_netfilter(true)
    }

    /// Whether packets that a bridge passes from port to port go through the rules as well: the kernel module
    /// `br_netfilter` does that, and many hosts have it.
    fn with_bridge_netfilter(on: bool) -> Self {
        let host = Net::new();
        for switch in ["bridge-nf-call-iptables", "bridge-nf-call-ip6tables"] {
            let path = format!("/proc/sys/net/bridge/{switch}");
            let present = std::path::Path::new(&path).exists();
            let value = if on { "1" } else { "0" };
            host.run(|| assert!(!present || std::fs::write(&path, value).is_ok()));
        }
        let outside = Net::new();
        cable(&host, ("lan0", "192.168.9.1/24"), &outside, ("eth0", "192.168.9.2/24"));
        let bridges = [
            bridge("red", "172.18.0.0/16"),
            bridge("blue", "172.19.0.0/16"),
            Bridge { internal: true, ..bridge("lonely", "172.20.0.0/16") },
        ];
        let networks: Vec<NetworkRules> = bridges.iter().map(rules).collect();
        let firewall = Firewall::new("steps");
        let filter = host.run(|| nftables::Socket::open().unwrap());
        ensure(&host, &firewall, &networks);
        let [red, blue, lonely] = &bridges;
        host.run(|| bridges.iter().for_each(|bridge| drop(bridge.ensure(&Socket::open().unwrap()).unwrap())));
        let red = [container(&host, red, 2), container(&host, red, 3)];
        let blue = container(&host, blue, 2);
        let lonely = [container(&host, lonely, 2), container(&host, lonely, 3)];
        for (net, name) in [(&red[0], "red2"), (&red[1], "red3"), (&blue, "blue"), (&lonely[0], "lonely")] {
            net.serve(80, name);
        }
        outside.serve(80, "outside");
        // What a machine of the LAN can do by itself: send to the containers through the host.
        outside.stdout("ip", &["route", "add", "172.16.0.0/12", "via", "192.168.9.1"]);
        Self { host, outside, red, blue, lonely, networks, firewall, filter }
    }

    fn publish(&self, host: &str, target: &str, protocol: Protocol) -> Publication {
        let publication =
            Publication { protocol, host: host.parse().unwrap(), target: target.parse().unwrap() };
        self.firewall.publish(&self.filter, &[publication]).unwrap();
        publication
    }
}

#[expect(clippy::unnecessary_wraps, reason = "it is compared with what was said, if anything was")]
fn said(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn networks_are_apart_and_the_world_is_reached_with_the_hosts_address() {
    let world = World::new();
    let [red2, red3] = &world.red;
    assert_eq!(red2.call("172.18.0.3:80"), said("red3 172.18.0.2"), "within a network");
    assert_eq!(red2.call("192.168.9.2:80"), said("outside 192.168.9.1"), "out, with the host's address");
    assert_eq!(red2.call_in_vain("172.19.0.2:80"), None, "another network");
    assert_eq!(world.blue.call_in_vain("172.18.0.2:80"), None, "and back");
    assert_eq!(world.outside.call_in_vain("172.18.0.2:80"), None, "from outside by a route of one's own");
    assert_eq!(red3.call_in_vain("172.20.0.2:80"), None, "into an internal network");

    let [lonely2, lonely3] = &world.lonely;
    assert_eq!(lonely3.call("172.20.0.2:80"), said("lonely 172.20.0.3"), "within an internal network");
    lonely2.stdout("ip", &["route", "add", "default", "via", "172.20.0.1"]);
    assert_eq!(lonely2.call_in_vain("192.168.9.2:80"), None, "out of an internal network, even with a route");
    assert_eq!(lonely2.call_in_vain("172.18.0.2:80"), None, "to another network");
}

#[test]
fn a_published_port_is_reached_from_everywhere() {
    for bridge_netfilter in [false, true] {
        published_everywhere(&World::with_bridge_netfilter(bridge_netfilter));
    }
}

fn published_everywhere(world: &World) {
    let [red2, red3] = &world.red;
    let published = world.publish("0.0.0.0:8080", "172.18.0.2:80", Protocol::Tcp);
    assert_eq!(world.host.call("127.0.0.1:8080"), said("red2 172.18.0.1"), "the host's loopback address");
    assert_eq!(world.host.call("127.1.2.3:8080"), said("red2 172.18.0.1"), "all of them");
    assert_eq!(
        world.host.call("192.168.9.1:8080"),
        said("red2 192.168.9.1"),
        "the host's address in the LAN"
    );
    assert_eq!(
        world.outside.call("192.168.9.1:8080"),
        said("red2 192.168.9.2"),
        "from the LAN, as who it is"
    );
    assert_eq!(world.blue.call("192.168.9.1:8080"), said("red2 172.18.0.1"), "from another network");
    assert_eq!(world.blue.call("172.19.0.1:8080"), said("red2 172.18.0.1"), "by the own gateway");
    assert_eq!(red3.call("192.168.9.1:8080"), said("red2 172.18.0.1"), "from a neighbour");
    assert_eq!(red2.call("172.18.0.1:8080"), said("red2 172.18.0.1"), "from itself");
    assert_eq!(world.outside.call_in_vain("192.168.9.1:80"), None, "and no other port");
    assert_eq!(world.outside.call_in_vain("172.18.0.2:80"), None, "nor the container itself");

    world.firewall.unpublish(&world.filter, &[published]).unwrap();
    assert_eq!(world.outside.call_in_vain("192.168.9.1:8080"), None);
    world.firewall.unpublish(&world.filter, &[published]).unwrap();
}

#[test]
fn isolated_neighbours_reach_each_other_by_published_ports_only() {
    let world = World::with_bridge_netfilter(false);
    let red = bridge("red", "172.18.0.0/16");
    let [four, five] = [4, 5].map(|last| isolated(&world.host, &red, last));
    five.serve(80, "five");
    assert_eq!(four.call_in_vain("172.18.0.5:80"), None);
    assert_eq!(four.call("172.18.0.2:80"), said("red2 172.18.0.4"), "who is not isolated");
    world.publish("0.0.0.0:8080", "172.18.0.5:80", Protocol::Tcp);
    assert_eq!(four.call("172.18.0.1:8080"), said("five 172.18.0.1"));
}

#[test]
fn a_port_of_one_address_goes_before_that_of_all() {
    let world = World::new();
    world.publish("0.0.0.0:8080", "172.18.0.2:80", Protocol::Tcp);
    world.publish("192.168.9.1:8080", "172.18.0.3:80", Protocol::Tcp);
    assert_eq!(world.outside.call("192.168.9.1:8080"), said("red3 192.168.9.2"));
    assert_eq!(world.host.call("127.0.0.1:8080"), said("red2 172.18.0.1"));
}

#[test]
fn datagrams_are_published_apart_from_streams() {
    let world = World::new();
    world.red[0].serve_udp(53, "udp");
    world.publish("0.0.0.0:5353", "172.18.0.2:53", Protocol::Udp);
    assert_eq!(world.outside.call_udp("192.168.9.1:5353"), said("udp"));
    assert_eq!(world.host.call_udp("127.0.0.1:5353"), said("udp"));
    assert_eq!(world.red[0].call_udp("172.18.0.1:5353"), said("udp"), "itself");
    assert_eq!(world.outside.call_in_vain("192.168.9.1:5353"), None);
}

/// `route_localnet` opens a door for the host; nobody else may go through it.
#[test]
fn the_hosts_loopback_services_are_its_own() {
    let world = World::new();
    let service = world.host.run(|| UdpSocket::bind("127.0.0.1:9999").unwrap());
    service.set_read_timeout(Some(std::time::Duration::from_millis(300))).unwrap();
    let knock = |from: &Net, device: &str, gateway: &str| {
        // The attack of CVE-2020-8558: a route to 127.0.0.1 through the neighbour.
        from.run(|| std::fs::write("/proc/sys/net/ipv4/conf/all/route_localnet", "1").unwrap());
        let ip = |line: &str| from.stdout("ip", &line.split(' ').collect::<Vec<_>>());
        ip("addr del 127.0.0.1/8 dev lo");
        ip("route flush table local 127.0.0.0/8");
        ip(&format!("route add 127.0.0.1 via {gateway} dev {device}"));
        from.run(|| UdpSocket::bind("0.0.0.0:0").unwrap().send_to(b"knock", "127.0.0.1:9999").unwrap());
    };
    let heard = || service.recv(&mut [0; 16]).is_ok();
    knock(&world.red[0], "eth0", "172.18.0.1");
    assert!(!heard(), "a container's packet reached a service of the host's loopback");
    knock(&world.outside, "eth0", "192.168.9.1");
    assert!(!heard(), "the kernel drops those from the LAN");

    // A port published at 127.0.0.1 is for the host only: it must not become another destination on the way in.
    world.publish("127.0.0.1:8080", "172.18.0.2:80", Protocol::Tcp);
    world.outside.stdout("ip", &["route", "replace", "127.0.0.1", "via", "192.168.9.1", "dev", "eth0"]);
    assert_eq!(world.outside.call_in_vain("127.0.0.1:8080"), None);
    assert_eq!(world.red[0].call_in_vain("127.0.0.1:8080"), None);
    assert_eq!(world.host.call("127.0.0.1:8080"), said("red2 172.18.0.1"));

    // The test's attack does work, if nothing stops it.
    world.firewall.remove(&world.filter).unwrap();
    world.red[0].run(|| UdpSocket::bind("0.0.0.0:0").unwrap().send_to(b"knock", "127.0.0.1:9999").unwrap());
    assert!(heard(), "without the rules, the packet arrives");
}

#[test]
fn the_host_does_not_become_a_router_between_others() {
    let world = World::new();
    let second = Net::new();
    cable(&world.host, ("lan1", "192.168.8.1/24"), &second, ("eth0", "192.168.8.2/24"));
    second.stdout("ip", &["route", "add", "default", "via", "192.168.8.1"]);
    world.outside.stdout("ip", &["route", "add", "default", "via", "192.168.9.1"]);
    assert_eq!(second.call_in_vain("192.168.9.2:80"), None);
    // To bring the rules up to date keeps that, although packets are forwarded by now.
    ensure(&world.host, &world.firewall, &world.networks);
    assert_eq!(second.call_in_vain("192.168.9.2:80"), None);
    assert_eq!(world.red[0].call("192.168.9.2:80"), said("outside 192.168.9.1"));

    // Where it was one before, it remains one.
    let router = Net::new();
    router.run(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap());
    ensure(&router, &world.firewall, &world.networks);
    let listed = router.stdout("nft", &["list", "ruleset"]);
    assert!(!listed.contains("policy drop"), "{listed}");
}

#[test]
fn a_port_leads_to_one_container_only() {
    let world = World::new();
    let red2 = world.publish("0.0.0.0:8080", "172.18.0.2:80", Protocol::Tcp);
    let red3 = Publication { target: "172.18.0.3:80".parse().unwrap(), ..red2 };
    let other = Publication { host: "0.0.0.0:8081".parse().unwrap(), ..red3 };
    for again in [red2, red3] {
        let error = world.firewall.publish(&world.filter, &[other, again]).unwrap_err();
        assert_eq!(error.to_string(), "Bind for 0.0.0.0:8080 failed: port is already allocated");
    }
    assert_eq!(world.host.call_in_vain("127.0.0.1:8081"), None, "all or nothing");
    // Whoever takes back what it did not get does not take it from its owner.
    world.firewall.unpublish(&world.filter, &[other, red3]).unwrap();
    assert_eq!(world.host.call("127.0.0.1:8080"), said("red2 172.18.0.1"));
}

#[test]
fn a_flushed_ruleset_is_noticed_and_made_again() {
    let world = World::new();
    world.host.stdout("nft", &["flush", "ruleset"]);
    let publication = Publication {
        protocol: Protocol::Tcp,
        host: "0.0.0.0:8080".parse().unwrap(),
        target: "172.18.0.2:80".parse().unwrap(),
    };
    let error = world.firewall.publish(&world.filter, &[publication]).unwrap_err();
    assert!(matches!(error, Error::NoFirewall { .. }), "{error}");
    world.firewall.unpublish(&world.filter, &[publication]).unwrap();
    world.firewall.remove_network(&world.filter, &world.networks[0]).unwrap();
    ensure(&world.host, &world.firewall, &world.networks);
    world.firewall.publish(&world.filter, &[publication]).unwrap();
    assert_eq!(world.outside.call("192.168.9.1:8080"), said("red2 192.168.9.2"));
}

#[test]
fn nft_reads_what_the_plan_says() {
    let net = Net::new();
    let filter = net.run(|| nftables::Socket::open().unwrap());
    for family in [Family::Ip, Family::Ip6] {
        let plan = firewall::plan(family, "steps", Some(false));
        plan.ensure(&filter).unwrap();
        plan.ensure(&filter).unwrap();
        assert_eq!(net.stdout("nft", &["list", "table", family.name(), "steps"]), plan.to_string());
        insta::assert_snapshot!(format!("plan-{}", family.name()), plan);
    }
}

#[test]
fn the_elements_of_networks_and_ports() {
    let net = Net::new();
    let filter = net.run(|| nftables::Socket::open().unwrap());
    let firewall = Firewall::new("steps");
    let both = NetworkRules {
        bridge: "red".into(),
        subnets: vec!["172.18.0.0/16".parse().unwrap(), "fd00:18::/64".parse().unwrap()],
        internal: false,
    };
    let small = NetworkRules {
        bridge: "small".into(),
        subnets: vec!["10.0.0.8/29".parse().unwrap()],
        internal: false,
    };
    let internal = NetworkRules {
        bridge: "lonely".into(),
        subnets: vec!["172.20.0.0/16".parse().unwrap()],
        internal: true,
    };
    ensure(&net, &firewall, &[both.clone(), internal.clone()]);
    ensure(&net, &firewall, &[small.clone(), both.clone()]);
    let published = [
        ("0.0.0.0:8080", "172.18.0.2:80", Protocol::Tcp),
        ("127.0.0.1:53", "172.18.0.2:53", Protocol::Udp),
        ("[::]:8080", "[fd00:18::2]:80", Protocol::Tcp),
        ("[fe80::1]:8080", "[fd00:18::2]:80", Protocol::Sctp),
    ]
    .map(|(host, target, protocol)| Publication {
        protocol,
        host: host.parse().unwrap(),
        target: target.parse().unwrap(),
    });
    firewall.publish(&filter, &published).unwrap();
    insta::assert_snapshot!("elements", net.stdout("nft", &["list", "ruleset"]));

    firewall.unpublish(&filter, &published).unwrap();
    for network in [&both, &small, &internal, &both] {
        firewall.remove_network(&filter, network).unwrap();
    }
    let listed = net.stdout("nft", &["list", "ruleset"]);
    assert!(!listed.contains("elements"), "{listed}");
    firewall.remove(&filter).unwrap();
    firewall.remove(&filter).unwrap();
    assert_eq!(net.stdout("nft", &["list", "ruleset"]), "");
}

#[test]
fn ipv6_ports_and_networks() {
    use std::os::fd::AsFd;
    let host = Net::new();
    let outside = Net::new();
    cable(&host, ("lan0", "fd00:9::1/64"), &outside, ("eth0", "fd00:9::2/64"));
    let subnet: networking::Subnet = "fd00:18::/64".parse().unwrap();
    let bridge = Bridge {
        name: "red".into(),
        addresses: vec![subnet.address(subnet.gateway())],
        internal: false,
        mtu: None,
    };
    let firewall = Firewall::new("steps");
    let filter = host.run(|| nftables::Socket::open().unwrap());
    ensure(&host, &firewall, &[rules(&bridge)]);
    host.run(|| drop(bridge.ensure(&Socket::open().unwrap()).unwrap()));
    let inside = Net::new();
    let ip = "fd00:18::2".parse().unwrap();
    let attachment = networking::Attachment {
        host_end: "veth2".into(),
        interface: "eth0".into(),
        bridge: "red".into(),
        mac: networking::Mac::of(ip),
        isolated: false,
        mtu: None,
        addresses: vec![subnet.address(ip)],
        gateways: vec![subnet.gateway()],
    };
    attachment.apply(&host.socket(), &inside.socket(), inside.fd.as_fd()).unwrap();
    inside.serve_at("[::]:80", "inside");
    outside.serve_at("[::]:80", "outside");
    firewall
        .publish(
            &filter,
            &[Publication {
                protocol: Protocol::Tcp,
                host: "[::]:8080".parse().unwrap(),
                target: "[fd00:18::2]:80".parse().unwrap(),
            }],
        )
        .unwrap();
    // The cable's own addresses must pass duplicate address detection first.
    testbed::until("the LAN works", || outside.call("[fd00:9::1]:8080").is_some());
    assert_eq!(outside.call("[fd00:9::1]:8080"), said("inside fd00:9::2"));
    assert_eq!(inside.call("[fd00:9::2]:80"), said("outside fd00:9::1"), "out, with the host's address");
    assert_eq!(inside.call("[fd00:18::1]:8080"), said("inside fd00:18::1"), "itself");
    assert_eq!(host.call("[fd00:9::1]:8080"), said("inside fd00:9::1"), "from the host");
    outside.stdout("ip", &["route", "add", "fd00:18::/64", "via", "fd00:9::1"]);
    assert_eq!(outside.call_in_vain("[fd00:18::2]:80"), None, "by a route of one's own");
    assert_eq!(host.call_in_vain("[::1]:8080"), None, "there is no route_localnet in IPv6");
}

#[test]
fn nobody_else_gets_a_reserved_port() {
    let host = Net::new();
    host.run(|| {
        let mapping = |text: &str| networking::ports::parse(text).unwrap().remove(0);
        let take = |text: &str| Reservation::take(&mapping(text));
        let message = |text: &str| take(text).unwrap_err().to_string();

        let first = take("8080:80").unwrap();
        assert_eq!(first.address.to_string(), "0.0.0.0:8080");
        assert_eq!(message("8080:80"), "Bind for 0.0.0.0:8080 failed: port is already allocated");
        assert_eq!(message("127.0.0.1:8080:80"), "Bind for 127.0.0.1:8080 failed: port is already allocated");
        assert!(take("8080:80/udp").is_ok(), "another protocol");
        let program = std::net::TcpListener::bind("127.0.0.1:8081").unwrap();
        assert_eq!(message("8081:80"), "Bind for 0.0.0.0:8081 failed: port is already allocated");
        drop(program);
        assert!(std::net::TcpListener::bind("127.0.0.1:8080").is_err(), "not even a program of the host");
        let refused = std::net::TcpStream::connect("127.0.0.1:8080").unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused, "nobody waits for an answer");

        let next = take("8080-8082:80").unwrap();
        assert_eq!(next.address.port(), 8081, "the first free one of a range");
        let random = [take("80").unwrap(), take("80").unwrap()];
        assert!(random[0].address.port() != random[1].address.port() && random[0].address.port() > 1023);
        assert!(std::net::TcpListener::bind(random[0].address).is_err());
        let random = take("53/udp").unwrap();
        assert!(random.address.port() > 1023 && UdpSocket::bind(random.address).is_err());
        assert!(take("[::1]:8080:80").is_ok());
        assert_eq!(
            message("192.168.9.9:8080:80"),
            "cannot bind 192.168.9.9:8080/tcp: EADDRNOTAVAIL: Cannot assign requested address (this host has no such address)"
        );
        drop(first);
        assert!(take("8080:80").is_ok());
        let mapping = Mapping { host: None, host_ports: 9000..=9000, container: Port { number: 80, protocol: Protocol::Udp } };
        let kept = Reservation::take(&mapping).unwrap();
        assert_eq!(kept.address, SocketAddr::from(([0, 0, 0, 0], 9000)));
        assert!(UdpSocket::bind("0.0.0.0:9000").is_err());
    });
}
