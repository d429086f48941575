//! What `ip` asks the kernel for, over a socket (`netlink(7)`, `rtnetlink(7)`). Nothing is to be written here.

use std::fs::File;
use std::io::{Error, Result};
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};
use nix::unistd::Pid;

/// Flags of every request, and of one that makes something new.
const REQUEST: u16 = (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16;
const CREATE: u16 = REQUEST | (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;
/// What is nested in `IFLA_LINKINFO`: what kind of device, and for a veth pair its other end (`if_link.h`, `veth.h`).
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;

/// A socket that sees the devices, addresses and routes of one network namespace: that in which it was opened.
pub struct Socket(OwnedFd);

impl Socket {
    /// A socket of the namespace in which this program is.
    pub fn open() -> Result<Self> {
        let (family, kind) = (AddressFamily::Netlink, SockType::Raw);
        Ok(Self(socket(family, kind, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)?))
    }

    /// A socket of the namespace in which `process` is.
    pub fn open_in(process: Pid) -> Result<Self> {
        let namespace = File::open(format!("/proc/{process}/ns/net"))?;
        // A thread goes in, opens it there, and ends. The others stay where they are.
        std::thread::spawn(move || {
            setns(namespace, CloneFlags::CLONE_NEWNET)?;
            Self::open()
        })
        .join()
        .map_err(|_| Error::other("the thread that opens a socket has panicked"))?
    }

    /// `ip link add NAME type bridge`. It is off.
    pub fn add_bridge(&self, name: &str) -> Result<()> {
        let info = attribute(libc::IFLA_LINKINFO, &text(IFLA_INFO_KIND, "bridge"));
        self.ask(libc::RTM_NEWLINK, CREATE, &[link(0, 0), text(libc::IFLA_IFNAME, name), info].concat())
    }

    /// `ip link add NAME type veth peer name PEER netns PROCESS`: a cable, whose far end is in the namespace of `process`
    /// and nowhere else. Both ends are off.
    pub fn add_veth(&self, name: &str, peer: &str, process: Pid) -> Result<()> {
        let namespace = attribute(libc::IFLA_NET_NS_PID, &process.as_raw().to_ne_bytes());
        let peer = [link(0, 0), text(libc::IFLA_IFNAME, peer), namespace].concat();
        let data = attribute(IFLA_INFO_DATA, &attribute(VETH_INFO_PEER, &peer));
        let info = attribute(libc::IFLA_LINKINFO, &[text(IFLA_INFO_KIND, "veth"), data].concat());
        self.ask(libc::RTM_NEWLINK, CREATE, &[link(0, 0), text(libc::IFLA_IFNAME, name), info].concat())
    }

    /// `ip link set NAME master BRIDGE`
    pub fn plug(&self, name: &str, bridge: &str) -> Result<()> {
        let bridge = attribute(libc::IFLA_MASTER, &self.index(bridge)?.to_ne_bytes());
        self.ask(libc::RTM_NEWLINK, REQUEST, &[link(self.index(name)?, 0), bridge].concat())
    }

    /// `ip link set NAME up`
    pub fn switch_on(&self, name: &str) -> Result<()> {
        self.ask(libc::RTM_NEWLINK, REQUEST, &link(self.index(name)?, libc::IFF_UP as u32))
    }

    /// `ip address add ADDRESS/PREFIX dev NAME`
    pub fn add_address(&self, name: &str, address: Ipv4Addr, prefix: u8) -> Result<()> {
        // struct ifaddrmsg: family, prefix, flags, scope, number of the device.
        let mut request = vec![libc::AF_INET as u8, prefix, 0, libc::RT_SCOPE_UNIVERSE];
        request.extend(self.index(name)?.to_ne_bytes());
        request.extend(attribute(libc::IFA_LOCAL, &address.octets()));
        request.extend(attribute(libc::IFA_ADDRESS, &address.octets()));
        self.ask(libc::RTM_NEWADDR, CREATE, &request)
    }

    /// `ip route add default via GATEWAY`
    pub fn add_default_route(&self, gateway: Ipv4Addr) -> Result<()> {
        // struct rtmsg: family, lengths of prefixes, type of service, table, origin, scope, kind, flags.
        let (family, table, origin) = (libc::AF_INET as u8, libc::RT_TABLE_MAIN, libc::RTPROT_BOOT);
        let scope = libc::RT_SCOPE_UNIVERSE;
        let header = [family, 0, 0, 0, table, origin, scope, libc::RTN_UNICAST, 0, 0, 0, 0];
        let gateway = attribute(libc::RTA_GATEWAY, &gateway.octets());
        self.ask(libc::RTM_NEWROUTE, CREATE, &[header.to_vec(), gateway].concat())
    }

    /// `ip link delete NAME`, unless it is gone. Of a cable, the other end goes too.
    pub fn delete(&self, name: &str) -> Result<()> {
        let request = [link(0, 0), text(libc::IFLA_IFNAME, name)].concat();
        match self.ask(libc::RTM_DELLINK, REQUEST, &request) {
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(()),
            done => done,
        }
    }

    /// Whether there is a device of this name.
    pub fn has(&self, name: &str) -> bool {
        self.index(name).is_ok()
    }

    /// The number of the device `name`.
    fn index(&self, name: &str) -> Result<u32> {
        let request = [link(0, 0), text(libc::IFLA_IFNAME, name)].concat();
        let answer = self.exchange(libc::RTM_GETLINK, libc::NLM_F_REQUEST as u16, &request);
        let answer = answer.map_err(|error| Error::new(error.kind(), format!("{name}: {error}")))?;
        // struct ifinfomsg, behind the header.
        word(&answer, 20).ok_or_else(|| Error::other("an answer is too short"))
    }

    fn ask(&self, kind: u16, flags: u16, request: &[u8]) -> Result<()> {
        self.exchange(kind, flags, request).map(drop)
    }

    /// Sends a request, and returns the answer. An answer that is an error is one.
    fn exchange(&self, kind: u16, flags: u16, request: &[u8]) -> Result<Vec<u8>> {
        // struct nlmsghdr: length, kind, flags, a number of ours, and one of the socket's.
        let mut message = (16 + request.len() as u32).to_ne_bytes().to_vec();
        message.extend([kind.to_ne_bytes(), flags.to_ne_bytes()].concat());
        message.extend([0; 8]);
        message.extend(request);
        send(self.0.as_raw_fd(), &message, MsgFlags::empty())?;
        let mut answer = vec![0; 1 << 15];
        let length = recv(self.0.as_raw_fd(), &mut answer, MsgFlags::empty())?;
        answer.truncate(length);
        let kind = answer.get(4..6).map(|kind| u16::from_ne_bytes([kind[0], kind[1]]));
        match (kind.map(i32::from), word(&answer, 16)) {
            // 0 says that it is done.
            (Some(libc::NLMSG_ERROR), Some(error)) if error != 0 => {
                Err(Error::from_raw_os_error(-error.cast_signed()))
            }
            _ => Ok(answer),
        }
    }
}

/// `struct ifinfomsg`: the number of a device, or 0, and flags to set.
fn link(index: u32, flags: u32) -> Vec<u8> {
    [0, index, flags, flags].map(u32::to_ne_bytes).concat()
}

/// An attribute: its length, its kind, its value, and zeros up to the next multiple of four.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut attribute = (4 + value.len() as u16).to_ne_bytes().to_vec();
    attribute.extend(kind.to_ne_bytes());
    attribute.extend(value);
    attribute.resize(attribute.len().next_multiple_of(4), 0);
    attribute
}

fn text(kind: u16, value: &str) -> Vec<u8> {
    attribute(kind, &[value.as_bytes(), &[0]].concat())
}

/// The number at byte `at`.
fn word(message: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(message.get(at..at + 4)?.try_into().ok()?))
}
