//! A network for each test: what an engine makes there is nobody else's, and ends with the test.

use std::cell::Cell;
use std::fs::File;
use std::io::Read;
use std::net::TcpStream;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use networking::link::loopback_up;
use networking::{Attachment, Bridge, Mac, Socket, Subnet, netns};
use nix::sched::{CloneFlags, setns, unshare};

thread_local! {
    static IS_OWN: Cell<bool> = const { Cell::new(false) };
}

/// Gives this thread, which is this test, a network namespace of its own, once; what it starts is in it too.
pub fn own() {
    if IS_OWN.replace(true) {
        return;
    }
    unshare(CloneFlags::CLONE_NEWNET).expect("root may make a network namespace");
    // A new one is a router if the host is, by Docker's doing say.
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "0").expect("a network of our own");
    let socket = Socket::open().expect("a socket of the new namespace");
    loopback_up(&socket).expect("the loopback device of the new namespace");
}

/// Does something in the network of the whole test program, where the outside can be reached: to fetch packages.
pub fn of_the_host<T: Send>(body: impl FnOnce() -> T + Send) -> T {
    let there = || {
        // That of the main thread, which runs no test.
        let host = File::open("/proc/self/ns/net").expect("a namespace of this program's");
        setns(host, CloneFlags::CLONE_NEWNET).expect("root may join it");
        IS_OWN.set(true);
        body()
    };
    std::thread::scope(|scope| match scope.spawn(there).join() {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// A network namespace like that, in which nobody is yet.
pub fn fresh() -> OwnedFd {
    let maker = std::thread::spawn(|| {
        own();
        netns::own().expect("this thread's own namespace")
    });
    maker.join().expect("a thread that makes a namespace")
}

/// A bridge for programs that the benchmarks start without an engine.
pub fn bridge(name: &str) -> Bridge {
    let subnet = subnet();
    Bridge {
        name: name.to_owned(),
        addresses: vec![subnet.address(subnet.gateway())],
        internal: false,
        mtu: None,
    }
}

/// A plug in that bridge, like a container's. The address is always the same one: there is one plug at a time.
pub fn plug(bridge: &str) -> Attachment {
    let (subnet, address) = (subnet(), IpAddr::from([192, 0, 2, 2]));
    Attachment {
        host_end: format!("floor{}", std::process::id()),
        interface: "eth0".to_owned(),
        bridge: bridge.to_owned(),
        mac: Mac::of(address),
        isolated: false,
        mtu: None,
        addresses: vec![subnet.address(address)],
        gateways: vec![subnet.gateway()],
    }
}

/// Addresses for documentation (RFC 5737): nobody has a route to them.
fn subnet() -> Subnet {
    Subnet::around(Ipv4Addr::new(192, 0, 2, 0).into(), 24)
}

/// What the host hears at `address`; why it hears nothing, if it does.
pub fn hear(address: &str) -> String {
    let mut said = String::new();
    let heard = TcpStream::connect_timeout(&address.parse().expect("an address"), Duration::from_secs(2))
        .and_then(|mut stream| stream.read_to_string(&mut said));
    match heard {
        Ok(_) => said.trim_end().to_owned(),
        Err(error) => format!("({})", error.kind()),
    }
}
