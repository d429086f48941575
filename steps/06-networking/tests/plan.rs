//! What is decided without the kernel: subnets, ports, plans.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fmt::Write;
use std::net::IpAddr;

use networking::names::{self, ExtraHost, Resolver};
use networking::subnet::{choose, pools};
use networking::{Address, Attachment, Bridge, Error, Mac, Subnet, ports};

fn subnet(text: &str) -> Subnet {
    text.parse().unwrap()
}

#[test]
fn subnets_and_their_addresses() {
    let mut table = String::new();
    for text in [
        "172.18.0.0/16",
        "10.0.0.0/30",
        "10.0.0.2/31",
        "10.0.0.1/32",
        "0.0.0.0/0",
        "fd00::/64",
        "fd00::1/128",
        "::/0",
    ] {
        let subnet = subnet(text);
        let first: Vec<String> = subnet.hosts().take(3).map(|host| host.to_string()).collect();
        let broadcast = subnet.broadcast().map_or("-".to_owned(), |address| address.to_string());
        writeln!(
            table,
            "{text:<14} gateway {:<11} broadcast {broadcast:<16} hosts {}",
            subnet.gateway(),
            first.join(" ")
        )
        .unwrap();
    }
    for text in [
        "172.18.0.0",
        "172.18.0.5/16",
        "172.18.0.0/33",
        "172.18.0/16",
        "172.18.0.0/+8",
        "fd00::/129",
        "",
        "/",
    ] {
        writeln!(table, "{text:<14} {}", text.parse::<Subnet>().unwrap_err()).unwrap();
    }
    insta::assert_snapshot!(table);
    assert_eq!(subnet("10.0.0.0/30").hosts().count(), 2);
    assert_eq!(subnet("10.0.0.0/24").hosts().count(), 254);
}

#[test]
fn overlaps() {
    let yes = [("10.0.0.0/8", "10.1.0.0/16"), ("0.0.0.0/0", "172.18.0.0/16"), ("fd00::/8", "fd00:1::/64")];
    let no = [("10.0.0.0/16", "10.1.0.0/16"), ("0.0.0.0/0", "::/0"), ("172.17.0.0/16", "172.18.0.0/16")];
    for (list, expected) in [(yes, true), (no, false)] {
        for (one, other) in list {
            assert_eq!(subnet(one).overlaps(subnet(other)), expected, "{one} {other}");
            assert_eq!(subnet(other).overlaps(subnet(one)), expected, "{other} {one}");
        }
    }
}

#[test]
fn a_network_gets_the_first_pool_that_is_free() {
    assert_eq!(choose(&[]).unwrap(), subnet("172.17.0.0/16"));
    // One network of the host's in a pool, one around several pools.
    let used = [subnet("172.17.5.0/24"), subnet("172.16.0.0/12")];
    assert_eq!(choose(&used[..1]).unwrap(), subnet("172.18.0.0/16"));
    assert_eq!(choose(&used).unwrap(), subnet("192.168.0.0/20"));
    assert_eq!(pools().count(), 31);
    assert_eq!(pools().last().unwrap(), subnet("192.168.240.0/20"));
    let error = choose(&pools().collect::<Vec<_>>()).unwrap_err();
    assert!(matches!(error, Error::NoSubnetLeft), "{error}");
}

#[test]
fn what_publish_means() {
    let mut table = String::new();
    for text in [
        "80",
        "80/udp",
        "8080:80",
        "8080:80/UDP",
        "127.0.0.1:8080:80/udp",
        "127.0.0.1::80",
        "[::1]:8080:80",
        "[::1]::80",
        "::1:8080:80",
        "8000-8010:80",
        "8000-8002:80-82/tcp",
        "80-82",
        "0:80",
        "0.0.0.0:8080:80",
        "80/sctp",
        "",
        ":80",
        ":",
        "8080:",
        "0",
        "abc",
        "80:abc",
        "abc:80",
        "80/xyz",
        "65536",
        "70000:80",
        "8000-8010:80-81",
        "82-80",
        "example.com:80:80",
        "256.0.0.1:80:80",
        "[::1:80:80",
        "1:2:3:4",
        "-80",
        "+80",
        "80-",
        "80/",
        "/tcp",
        "8080:80/tcp/udp",
    ] {
        match ports::parse(text) {
            Ok(mappings) => {
                let all: Vec<String> = mappings.iter().map(ToString::to_string).collect();
                writeln!(table, "{text:<22} {}", all.join(", ")).unwrap();
            }
            Err(error) => writeln!(table, "{text:<22} error: {error}").unwrap(),
        }
    }
    insta::assert_snapshot!(table);
}

#[test]
fn what_expose_means() {
    let mut table = String::new();
    for text in ["80", "80/udp", "80-82/tcp", "8080:80", "", "0", "x", "82-80", "80/x"] {
        match ports::parse_exposed(text) {
            Ok(exposed) => {
                let all: Vec<String> = exposed.iter().map(ToString::to_string).collect();
                writeln!(table, "{text:<10} {}", all.join(", ")).unwrap();
            }
            Err(error) => writeln!(table, "{text:<10} error: {error}").unwrap(),
        }
    }
    insta::assert_snapshot!(table);
}

#[test]
fn ethernet_addresses() {
    let mac = Mac::of("172.17.0.2".parse().unwrap());
    assert_eq!(mac.to_string(), "02:42:ac:11:00:02");
    assert_eq!("02-42-AC-11-00-02".parse::<Mac>().unwrap(), mac);
    for text in ["", "02:42:ac:11:00", "02:42:ac:11:00:02:03", "02:42:ac:11:00:0g", "2:42:ac:11:00:02"] {
        assert_eq!(
            text.parse::<Mac>().unwrap_err().to_string(),
            format!("{text} is not a valid mac address")
        );
    }
}

#[test]
fn plans_can_be_read() {
    let ips: [IpAddr; 2] = [[172, 18, 0, 2].into(), "fd00::2".parse().unwrap()];
    let attachment = Attachment {
        host_end: "veth1a2b3c4".into(),
        interface: "eth0".into(),
        bridge: "docker0".into(),
        mac: Mac::of(ips[0]),
        isolated: false,
        mtu: Some(1400),
        addresses: vec![Address { ip: ips[0], prefix: 16 }, Address { ip: ips[1], prefix: 64 }],
        gateways: vec![[172, 18, 0, 1].into()],
    };
    let gateways = ["172.18.0.0/16", "fd00::/64"].map(|text| subnet(text).address(subnet(text).gateway()));
    let mut text = format!("{attachment}\n");
    for (addresses, internal) in [(&gateways[..], false), (&gateways[..1], true)] {
        let bridge = Bridge { name: "br0".into(), addresses: addresses.to_vec(), internal, mtu: None };
        writeln!(text, "{bridge}").unwrap();
        for (switch, value) in bridge.switches() {
            writeln!(text, "  {switch} = {value}").unwrap();
        }
    }
    insta::assert_snapshot!(text);
}

#[test]
fn the_hosts_file() {
    let extra: Vec<ExtraHost> =
        ["db:10.0.0.5", "v6=[fd00::5]", "old:fd00::6", "host.docker.internal:host-gateway"]
            .map(|text| ExtraHost::parse(text).unwrap())
            .to_vec();
    let own = [
        ("172.18.0.2".parse().unwrap(), vec!["28f11b8b9a45".to_owned(), "web".to_owned()]),
        ("fd00:18::2".parse().unwrap(), vec!["28f11b8b9a45".to_owned()]),
    ];
    insta::assert_snapshot!(names::hosts(&extra, &own, Some([172, 18, 0, 1].into())).unwrap());
    let mut errors: Vec<String> = ["db", ":1.2.3.4", "db:", "db:1.2.3", "db:[1.2.3.4", ""]
        .map(|text| ExtraHost::parse(text).unwrap_err().to_string())
        .to_vec();
    errors.push(names::hosts(&extra, &[], None).unwrap_err().to_string());
    insta::assert_snapshot!(errors.join("\n"), @r#"
    bad format for add-host: "db"
    bad format for add-host: ":1.2.3.4"
    invalid IP address in add-host: ""
    invalid IP address in add-host: "1.2.3"
    invalid IP address in add-host: "[1.2.3.4"
    bad format for add-host: ""
    unable to derive the IP value for host-gateway: the container has no way to the host
    "#);
}

#[test]
fn the_resolver_file() {
    let host = Resolver::parse(
        "# made by hand\ndomain old.example\nsearch lan.example corp.example ; two\nnameserver 127.0.0.53\n\
         nameserver 10.0.0.1\nnameserver fd00::53\nnameserver fe80::1%eth0\nnameserver nonsense\noptions edns0 trust-ad\n\
         options ndots:2\nsortlist 10.0.0.0\nnameserver",
    );
    let empty = Resolver::parse("nameserver 127.0.0.53\n");
    let user = Resolver {
        servers: vec![[9, 9, 9, 9].into()],
        search: vec![".".into()],
        options: vec!["timeout:1".into()],
    };
    let mut table = String::new();
    for (title, resolver) in [
        ("the host", host.clone()),
        ("a bridge", host.clone().without_loopback(false)),
        ("a bridge with IPv6", host.clone().without_loopback(true)),
        ("only loopback servers", empty.clone().without_loopback(true)),
        ("asked for", host.clone().without_loopback(false).or_user(&user)),
        ("a name server inside", host.internal()),
        ("a name server inside, nothing from the host", empty.clone().internal()),
        ("a name server inside, asked for", empty.or_user(&user).internal()),
    ] {
        write!(table, "# {title}\n{resolver}\n").unwrap();
    }
    insta::assert_snapshot!(table);
}
