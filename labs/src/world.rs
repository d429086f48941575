//! A host of the grader's own, with a client outside: two network namespaces with a cable between them.
//!
//! A learner's program that is started from inside the host's makes its bridges and rules there. All of them end with it.

use std::fs;
use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use networking::{Attachment, Bridge, Mac, Socket, Subnet, link, netns};
use nix::sched::{CloneFlags, setns, unshare};

use crate::host;

/// The host's address on the outside (RFC 5737: addresses that nobody has).
pub const HOST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The client's address.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// The host's devices on the outside.
const OUTSIDE: &str = "outside";
const CABLE: &str = "client";
/// How long a client may be silent.
const PATIENCE: Duration = Duration::from_secs(2);

/// A host, and a client outside.
#[derive(Debug)]
pub struct World {
    /// Where the learner's program runs.
    pub host: Net,
    /// Somewhere outside. Its way to everybody else is the host.
    pub client: Net,
}

/// A network namespace. It ends with its last process and its last descriptor.
#[derive(Debug)]
pub struct Net(OwnedFd);

impl World {
    /// A new one. The host passes no packets on.
    pub fn new() -> Result<Self> {
        let (host, client) = (Net::new()?, Net::new()?);
        let subnet = Subnet::around(HOST.into(), 24);
        let bridge = Bridge {
            name: OUTSIDE.into(),
            addresses: vec![subnet.address(HOST.into())],
            internal: true,
            mtu: None,
        };
        let attachment = Attachment {
            host_end: CABLE.into(),
            interface: "eth0".into(),
            bridge: OUTSIDE.into(),
            mac: Mac::of(CLIENT.into()),
            isolated: false,
            mtu: None,
            addresses: vec![subnet.address(CLIENT.into())],
            gateways: vec![HOST.into()],
        };
        host.run(|| -> Result<()> {
            let socket = Socket::open()?;
            bridge.ensure(&socket)?;
            attachment.apply(&socket, &client.socket()?, client.0.as_fd())?;
            // A new namespace may have it from the machine's own.
            fs::write("/proc/sys/net/ipv4/ip_forward", "0").context("cannot switch forwarding off")
        })??;
        Ok(Self { host, client })
    }

    /// What nft(8) says of the host's rules.
    pub fn nft(&self, arguments: &[&str]) -> Result<String> {
        let nft = host::program("nft").context("there is no nft")?;
        let output = self.host.run(|| Command::new(nft).args(arguments).output())?;
        let output = output.context("cannot run nft")?;
        if !output.status.success() {
            bail!("nft {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The devices on the host that are not this world's.
    pub fn other_devices(&self) -> Result<Vec<String>> {
        let own = ["lo", OUTSIDE, CABLE];
        let all = link::list(&self.host.socket()?)?.into_iter().map(|link| link.name);
        Ok(all.filter(|name| !own.contains(&name.as_str())).collect())
    }
}

impl Net {
    /// A new one, in which only `lo` is on.
    pub fn new() -> Result<Self> {
        std::thread::scope(|scope| {
            let maker = scope.spawn(|| -> Result<Self> {
                unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")?;
                link::loopback_up(&Socket::open()?)?;
                Ok(Self(netns::own()?))
            });
            maker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Does something on a thread inside. What that starts is inside as well.
    pub fn run<T: Send>(&self, act: impl FnOnce() -> T + Send) -> Result<T> {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(self.0.as_fd(), CloneFlags::CLONE_NEWNET).context("cannot enter a namespace")?;
                Ok(act())
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// A netlink socket inside.
    pub fn socket(&self) -> Result<Socket> {
        Ok(Socket::open_in(self.0.as_fd())?)
    }

    /// While `act` lasts, says to everybody who connects to `address` inside from where the connection comes.
    pub fn answering<T>(&self, address: SocketAddr, act: impl FnOnce() -> T) -> Result<T> {
        let say = |mut stream: TcpStream| {
            let from = stream.peer_addr()?.ip();
            writeln!(stream, "{from}")
        };
        self.serving(address, say, act)
    }

    /// While `act` lasts, hands to `serve` whoever connects to `address` inside, one after another. That one hangs up in
    /// the middle is no error.
    pub fn serving<T>(
        &self,
        address: SocketAddr,
        serve: impl FnMut(TcpStream) -> std::io::Result<()> + Send,
        act: impl FnOnce() -> T,
    ) -> Result<T> {
        let listener = self.run(|| TcpListener::bind(address))?.context("cannot listen")?;
        listener.set_nonblocking(true).context("cannot listen")?;
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let server = scope.spawn(|| accept(&listener, serve, &over));
            let done = act();
            over.store(true, Ordering::Relaxed);
            server.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            Ok(done)
        })
    }
}

fn accept(
    listener: &TcpListener,
    mut serve: impl FnMut(TcpStream) -> std::io::Result<()>,
    over: &AtomicBool,
) -> Result<()> {
    while !over.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((stream, _)) => {
                // Nobody is waited for longer than this.
                stream.set_read_timeout(Some(PATIENCE)).context("cannot set a timeout")?;
                stream.set_write_timeout(Some(PATIENCE)).context("cannot set a timeout")?;
                drop(serve(stream));
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_millis(2));
            }
            Err(error) => return Err(error).context("cannot accept a connection"),
        }
    }
    Ok(())
}
