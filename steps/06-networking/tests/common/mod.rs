//! Networks of the tests' own: no test touches the host's.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use networking::{Address, Attachment, Bridge, Mac, Socket, Subnet, link, netns};
use nix::sched::{CloneFlags, setns, unshare};

/// A network namespace. It ends with its last descriptor and the last thread or process inside.
pub(crate) struct Net {
    pub(crate) fd: OwnedFd,
}

impl Net {
    /// A new one, in which only `lo` is on, and which forwards nothing.
    pub(crate) fn new() -> Self {
        let fd = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("tests run as root");
            // It is a router if the host is, by Docker's doing say.
            std::fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap();
            link::loopback_up(&Socket::open().unwrap()).unwrap();
            netns::own().unwrap()
        });
        Self { fd: fd.join().expect("a namespace") }
    }

    /// Runs `body` in a thread inside.
    pub(crate) fn run<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(self.fd.as_fd(), CloneFlags::CLONE_NEWNET).expect("tests run as root");
                body()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// A netlink socket inside.
    pub(crate) fn socket(&self) -> Socket {
        Socket::open_in(self.fd.as_fd()).unwrap()
    }

    /// A program's output, run inside.
    pub(crate) fn stdout(&self, program: &str, arguments: &[&str]) -> String {
        self.run(|| testbed::stdout(std::process::Command::new(program).args(arguments)))
    }

    /// Answers every TCP connection to `port` with `word` and the address of who connected, for as long as the test
    /// runs.
    pub(crate) fn serve(&self, port: u16, word: &'static str) {
        self.serve_at(&format!("0.0.0.0:{port}"), word);
    }

    /// The same at any address.
    pub(crate) fn serve_at(&self, address: &str, word: &'static str) {
        let listener = self.run(|| TcpListener::bind(address).unwrap());
        std::thread::spawn(move || {
            use std::io::Write;
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let peer = stream.peer_addr().unwrap().ip();
                let _ = write!(stream, "{word} {peer}");
            }
        });
    }

    /// What a server says to a connection from inside; `None` if none can be made.
    pub(crate) fn call(&self, server: &str) -> Option<String> {
        self.call_within(Duration::from_secs(10), server)
    }

    /// The same where nobody should answer: this is not waited for as long.
    pub(crate) fn call_in_vain(&self, server: &str) -> Option<String> {
        self.call_within(Duration::from_millis(500), server)
    }

    fn call_within(&self, patience: Duration, server: &str) -> Option<String> {
        self.run(|| {
            use std::io::Read;
            let server: SocketAddr = server.parse().unwrap();
            let mut stream = TcpStream::connect_timeout(&server, patience).ok()?;
            stream.set_read_timeout(Some(patience)).unwrap();
            let mut said = String::new();
            stream.read_to_string(&mut said).ok()?;
            Some(said)
        })
    }

    /// Answers every datagram to `port` with `word`.
    pub(crate) fn serve_udp(&self, port: u16, word: &'static str) {
        let socket = self.run(|| UdpSocket::bind(("0.0.0.0", port)).unwrap());
        std::thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
                let _ = socket.send_to(word.as_bytes(), peer);
            }
        });
    }

    /// The answer to a datagram from inside.
    pub(crate) fn call_udp(&self, server: &str) -> Option<String> {
        self.run(|| {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            socket.send_to(b"?", server).ok()?;
            let mut buffer = [0; 64];
            let (length, _) = socket.recv_from(&mut buffer).ok()?;
            Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
        })
    }
}

/// A bridge with the first address of a subnet.
pub(crate) fn bridge(name: &str, subnet: &str) -> Bridge {
    let subnet: Subnet = subnet.parse().unwrap();
    Bridge {
        name: name.into(),
        addresses: vec![subnet.address(subnet.gateway())],
        internal: false,
        mtu: None,
    }
}

/// A container attached to a bridge in `host`, with the address that ends with `last`.
pub(crate) fn container(host: &Net, bridge: &Bridge, last: u8) -> Net {
    let container = Net::new();
    attach(host, bridge, last, "eth0", &container);
    container
}

/// The same, isolated from others like it.
pub(crate) fn isolated(host: &Net, bridge: &Bridge, last: u8) -> Net {
    let container = Net::new();
    let attachment = Attachment { isolated: true, ..plan(bridge, last, "eth0") };
    attachment.apply(&host.socket(), &container.socket(), container.fd.as_fd()).unwrap();
    container
}

/// Attaches a container to one more bridge.
pub(crate) fn attach(host: &Net, bridge: &Bridge, last: u8, interface: &str, container: &Net) -> Attachment {
    let attachment = plan(bridge, last, interface);
    attachment.apply(&host.socket(), &container.socket(), container.fd.as_fd()).unwrap();
    attachment
}

fn plan(bridge: &Bridge, last: u8, interface: &str) -> Attachment {
    let gateway = bridge.addresses[0];
    let IpAddr::V4(first) = gateway.ip else { panic!("the tests' bridges have IPv4") };
    let [a, b, c, _] = first.octets();
    let ip = IpAddr::from([a, b, c, last]);
    Attachment {
        host_end: format!("v{}-{last}", bridge.name),
        interface: interface.into(),
        bridge: bridge.name.clone(),
        mac: Mac::of(ip),
        isolated: false,
        mtu: bridge.mtu,
        addresses: vec![Address { ip, prefix: gateway.prefix }],
        gateways: if bridge.internal || interface != "eth0" { vec![] } else { vec![gateway.ip] },
    }
}
