//! Bridges and veth pairs, made over netlink and looked at with `ip`.

mod common;

use std::os::fd::AsFd;

use common::{Net, attach, bridge, container};
use networking::{Address, Attachment, Bridge, Error, Mac, Socket, Subnet, link, netns, route};

#[test]
fn two_containers_on_a_bridge_reach_each_other_and_the_host() {
    let host = Net::new();
    let bridge = bridge("br0", "172.18.0.0/16");
    host.run(|| bridge.ensure(&Socket::open().unwrap()).unwrap());
    let (one, two) = (container(&host, &bridge, 2), container(&host, &bridge, 3));
    two.serve(80, "two");
    host.serve(80, "host");
    assert_eq!(one.call("172.18.0.3:80").as_deref(), Some("two 172.18.0.2"));
    assert_eq!(one.call("172.18.0.1:80").as_deref(), Some("host 172.18.0.2"));
    assert_eq!(host.call("172.18.0.3:80").as_deref(), Some("two 172.18.0.1"));
}

#[test]
fn ip_shows_what_was_asked_for() {
    let host = Net::new();
    let bridge = Bridge { mtu: Some(1400), ..bridge("br0", "172.18.0.0/16") };
    host.run(|| bridge.ensure(&Socket::open().unwrap()).unwrap());
    let one = container(&host, &bridge, 2);
    // The number behind the @ is the other end's, in the other namespace.
    let brief = |text: &str| {
        let line = text.lines().find(|line| line.starts_with("eth0")).unwrap();
        line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        brief(&one.stdout("ip", &["-br", "link"])),
        "UP 02:42:ac:12:00:02 <BROADCAST,MULTICAST,UP,LOWER_UP>"
    );
    assert_eq!(
        brief(&one.stdout("ip", &["-br", "addr"])),
        "UP 172.18.0.2/16",
        "and no IPv6 address of its own"
    );
    let shown = one.stdout("ip", &["addr", "show", "dev", "eth0"]);
    assert!(shown.contains("mtu 1400") && shown.contains("brd 172.18.255.255 scope global eth0"), "{shown}");
    assert_eq!(
        one.stdout("ip", &["route"]),
        "default via 172.18.0.1 dev eth0 \n172.18.0.0/16 dev eth0 proto kernel scope link src 172.18.0.2 \n"
    );
    assert!(one.stdout("ip", &["addr", "show", "lo"]).contains("inet 127.0.0.1/8"), "loopback is on");
    let far = link::find(&one.socket(), "eth0").unwrap().unwrap();
    let near = link::find(&host.socket(), "vbr0-2").unwrap().unwrap();
    assert_eq!((far.up, far.bridge), (true, None));
    assert_eq!(
        (near.up, near.bridge),
        (true, Some(link::find(&host.socket(), "br0").unwrap().unwrap().index))
    );
    assert_eq!(link::list(&host.socket()).unwrap().len(), 3, "the far end never was on the host");
}

#[test]
fn ipv6_works_at_once() {
    let host = Net::new();
    let (v4, v6): (Subnet, Subnet) = ("172.18.0.0/16".parse().unwrap(), "fd00:18::/64".parse().unwrap());
    let addresses = vec![v4.address(v4.gateway()), v6.address(v6.gateway())];
    let bridge = Bridge { name: "br0".into(), addresses, internal: false, mtu: None };
    host.run(|| bridge.ensure(&Socket::open().unwrap()).unwrap());
    let containers: Vec<Net> = (2..4_u8)
        .map(|last| {
            let container = Net::new();
            let ips = [format!("172.18.0.{last}"), format!("fd00:18::{last}")].map(|ip| ip.parse().unwrap());
            let attachment = Attachment {
                host_end: format!("veth{last}"),
                interface: "eth0".into(),
                bridge: "br0".into(),
                mac: Mac::of(ips[0]),
                isolated: false,
                mtu: None,
                addresses: ips.map(|ip| Address { ip, prefix: if ip.is_ipv4() { 16 } else { 64 } }).to_vec(),
                gateways: vec![v4.gateway(), v6.gateway()],
            };
            attachment.apply(&host.socket(), &container.socket(), container.fd.as_fd()).unwrap();
            container
        })
        .collect();
    let listener = containers[1].run(|| std::net::TcpListener::bind("[fd00:18::3]:80").unwrap());
    let connected = containers[0].run(|| std::net::TcpStream::connect("[fd00:18::3]:80").map(drop));
    assert!(connected.is_ok(), "{connected:?}");
    drop(listener);
    let routes = containers[0].stdout("ip", &["-6", "route", "show", "default"]);
    assert!(routes.starts_with("default via fd00:18::1 dev eth0"), "{routes}");
}

#[test]
fn many_make_the_bridge_at_once_and_its_ethernet_address_stays() {
    let host = Net::new();
    let bridge = bridge("br0", "172.18.0.0/16");
    host.run(|| {
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| bridge.ensure(&Socket::open().unwrap()).unwrap());
            }
        });
    });
    let socket = host.socket();
    let made = link::find(&socket, "br0").unwrap().unwrap();
    assert!(made.up);
    let addresses = networking::address::list(&socket).unwrap();
    let own = addresses.iter().filter(|(index, _)| *index == made.index);
    assert_eq!(own.map(|(_, address)| address.to_string()).collect::<Vec<_>>(), ["172.18.0.1/16"]);
    assert!(route::list(&socket).unwrap().contains(&"172.18.0.0/16".parse().unwrap()));
    for switch in ["ip_forward", "conf/br0/route_localnet"] {
        let path = format!("/proc/sys/net/ipv4/{switch}");
        assert_eq!(host.run(|| std::fs::read_to_string(&path).unwrap()), "1\n", "{switch}");
    }

    let shown = || host.stdout("ip", &["-br", "link", "show", "br0"]);
    assert!(shown().contains("02:42:ac:12:00:01"), "{}", shown());
    let attachment = attach(&host, &bridge, 2, "eth0", &Net::new());
    assert!(shown().contains("02:42:ac:12:00:01"), "{}", shown());

    for _ in 0..2 {
        attachment.detach(&socket).unwrap();
        bridge.remove(&socket).unwrap();
    }
    assert_eq!(link::list(&socket).unwrap().len(), 1, "only lo is left");
}

#[test]
fn an_internal_bridge_does_not_make_the_host_a_router() {
    let host = Net::new();
    let bridge = Bridge { internal: true, ..bridge("br0", "172.18.0.0/16") };
    host.run(|| bridge.ensure(&Socket::open().unwrap()).unwrap());
    let forwards = host.run(|| std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap());
    assert_eq!(forwards, "0\n");
}

#[test]
fn a_container_in_two_networks() {
    let host = Net::new();
    let (red, blue) = (bridge("red", "172.18.0.0/16"), bridge("blue", "172.19.0.0/16"));
    host.run(|| {
        let socket = Socket::open().unwrap();
        red.ensure(&socket).unwrap();
        blue.ensure(&socket).unwrap();
    });
    let both = container(&host, &red, 2);
    attach(&host, &blue, 2, "eth1", &both);
    let other = container(&host, &blue, 3);
    other.serve(80, "blue");
    assert_eq!(both.call("172.19.0.3:80").as_deref(), Some("blue 172.19.0.2"));
    assert_eq!(both.stdout("ip", &["route", "show", "default"]), "default via 172.18.0.1 dev eth0 \n");
}

#[test]
fn errors_name_the_object_and_say_what_the_kernel_says() {
    let host = Net::new();
    let bridge = bridge("br0", "172.18.0.0/16");
    let container = Net::new();
    let mut attachment = Attachment {
        host_end: "veth2".into(),
        interface: "eth0".into(),
        bridge: "br0".into(),
        mac: Mac::of([172, 18, 0, 2].into()),
        isolated: false,
        mtu: None,
        addresses: vec![Address { ip: [172, 18, 0, 2].into(), prefix: 16 }],
        gateways: vec![[10, 0, 0, 1].into()],
    };
    let attach = |attachment: &Attachment| {
        attachment.apply(&host.socket(), &container.socket(), container.fd.as_fd()).unwrap_err().to_string()
    };
    let network_missing =
        "cannot plug into the bridge br0: ENODEV: No such device (the network must be made first)";
    assert_eq!(attach(&attachment), network_missing);
    host.run(|| bridge.ensure(&Socket::open().unwrap()).unwrap());
    // What the kernel says in brackets differs between its versions.
    let expected =
        "cannot add the default route via 10.0.0.1: ENETUNREACH: Network is unreachable (the kernel says: ";
    let error = attach(&attachment);
    assert!(error.starts_with(expected), "{error}");
    assert_eq!(link::list(&host.socket()).unwrap().len(), 2, "an attachment that failed is gone");
    attachment.host_end = "a name that is too long".into();
    let error = attach(&attachment);
    assert!(
        error.starts_with("cannot make the veth pair a name that is too long and eth0: ERANGE"),
        "{error}"
    );
    let no_namespace = std::fs::File::open("/dev/null").unwrap();
    let error = Socket::open_in(no_namespace.as_fd()).err().unwrap().to_string();
    assert_eq!(error, "cannot join a network namespace: EINVAL: Invalid argument");
}

#[test]
fn a_process_stands_for_its_namespace() {
    let net = Net::new();
    let mut sleeper = net.run(|| std::process::Command::new("sleep").arg("100").spawn().unwrap());
    let pidfd =
        pid_namespace::join::open(nix::unistd::Pid::from_raw(i32::try_from(sleeper.id()).unwrap())).unwrap();
    let inode = |fd: &std::os::fd::OwnedFd| rustix::fs::fstat(fd).unwrap().st_ino;
    let namespace = netns::of(pidfd.as_fd());
    let home = netns::own().unwrap();
    let links = Socket::open_in(pidfd.as_fd()).and_then(|socket| link::list(&socket));
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    assert_eq!(inode(&namespace.unwrap()), inode(&net.fd));
    assert_ne!(inode(&home), inode(&net.fd), "this thread is where it was");
    assert_eq!(links.unwrap().len(), 1);
    let error = netns::within(net.fd.as_fd(), || Err::<(), _>(Error::NoSubnetLeft)).unwrap_err();
    assert!(matches!(error, Error::NoSubnetLeft));
    assert_eq!(inode(&netns::own().unwrap()), inode(&home), "also after an error");
}
