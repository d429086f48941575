//! Network devices: bridges, and veth pairs, which are cables with a plug at each end.

use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_core::Emitable;
use netlink_packet_route::RouteNetlinkMessage as Rt;
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoBridgePort, InfoData, InfoKind, InfoPortData,
    InfoPortKind, InfoVeth, LinkAttribute, LinkExtentMask, LinkFlags, LinkHeader, LinkInfo, LinkMessage,
};
use nix::errno::Errno;

use crate::channel::{attributes, string};
use crate::error::Result;
use crate::mac::Mac;
use crate::netlink::{Request, Socket};

/// The loopback device is the first one of every namespace (`LOOPBACK_IFINDEX` in the kernel).
pub(crate) const LOOPBACK: u32 = 1;

/// Attributes of an answer (`include/uapi/linux/if_link.h`).
const IFLA_IFNAME: u16 = 3;
const IFLA_MASTER: u16 = 10;

/// A network device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its number in its namespace.
    pub index: u32,
    /// Its name in its namespace.
    pub name: String,
    /// Whether it is switched on.
    pub up: bool,
    /// The number of the bridge that it is plugged into.
    pub bridge: Option<u32>,
}

impl Link {
    /// Only what is needed is read out of the sixty attributes of an answer: they grow with every kernel, and none of
    /// the others may stop us.
    fn read(message: &[u8]) -> Option<Self> {
        let header = LinkHeader::parse(message).ok()?;
        let up = header.flags.contains(LinkFlags::Up);
        let mut link = Self { index: header.index, name: String::new(), up, bridge: None };
        for (kind, value) in attributes(message.get(header.buffer_len()..)?) {
            match kind {
                IFLA_IFNAME => link.name = string(value),
                IFLA_MASTER => link.bridge = Some(u32::from_ne_bytes(value.try_into().ok()?)),
                _ => {}
            }
        }
        Some(link)
    }
}

/// The device of this name; `None` if there is none.
pub fn find(socket: &Socket, name: &str) -> Result<Option<Link>> {
    let wanted = message([LinkAttribute::IfName(name.to_owned()), without_statistics()]);
    socket.get("a network device", &Rt::GetLink(wanted), Link::read)
}

/// All devices.
pub fn list(socket: &Socket) -> Result<Vec<Link>> {
    socket.list("network devices", &Rt::GetLink(message([without_statistics()])), Link::read)
}

/// Removes a device; one that is gone is fine. The other end of a veth pair goes with it.
pub fn delete(socket: &Socket, name: &str) -> Result<()> {
    tracing::info!("remove the network device {name}");
    let message = message([LinkAttribute::IfName(name.to_owned())]);
    socket.request(&[Request::new("remove", name, Rt::DelLink(message)).accept(Errno::ENODEV)])
}

/// Switches a device off; one that is gone is fine. A bridge that it is a port of forgets who was behind it.
///
/// The end of a container's last process is not yet the end of its network: the kernel takes the namespace apart later,
/// and until then it answers for its addresses, which may be another container's by now. To remove the device at once
/// would do too, but costs the kernel a grace period of many milliseconds. (To switch off only the bridge's port does
/// not do: news of the other end's carrier, which travel slowly, may switch it on again.)
pub fn down(socket: &Socket, name: &str) -> Result<()> {
    tracing::info!("switch {name} off");
    let mut message = message([LinkAttribute::IfName(name.to_owned())]);
    message.header.change_mask = LinkFlags::Up;
    socket.request(&[Request::new("switch off", name, Rt::NewLink(message)).accept(Errno::ENODEV)])
}

/// Switches the loopback device on. It has its addresses, 127.0.0.1 and `::1`, from then on.
pub fn loopback_up(socket: &Socket) -> Result<()> {
    tracing::info!("switch lo on");
    socket.request(&[up(LOOPBACK, "lo")])
}

/// Switches a device on.
pub(crate) fn up(index: u32, name: &str) -> Request {
    let mut message = LinkMessage::default();
    message.header =
        LinkHeader { index, flags: LinkFlags::Up, change_mask: LinkFlags::Up, ..LinkHeader::default() };
    Request::new("switch on", name, Rt::SetLink(message))
}

/// Lets a device have no IPv6 address but those it is given: without it, each makes itself one (`fe80::`…).
pub(crate) fn no_ipv6_of_its_own(index: u32, name: &str) -> Request {
    let mode = AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(In6AddrGenMode::None)]);
    let mut message = message([LinkAttribute::AfSpecUnspec(vec![mode])]);
    message.header.index = index;
    // A kernel without IPv6 does not know what is meant, and has no such address either.
    Request::new("keep IPv6 off", name, Rt::SetLink(message)).accept(Errno::EAFNOSUPPORT)
}

/// Makes a bridge: a switch, whose own plug has the bridge's name. It is switched off at first.
pub(crate) fn bridge(name: &str, mac: Mac, mtu: Option<u32>) -> Request {
    let mut attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        // A bridge without an address of its own takes its ports' smallest one, and changes it as they come and go.
        LinkAttribute::Address(mac.0.to_vec()),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]),
    ];
    attributes.extend(mtu.map(LinkAttribute::Mtu));
    Request::new("make the bridge", name, Rt::NewLink(message(attributes))).create()
}

/// One end of a veth pair.
pub(crate) struct End<'a> {
    pub(crate) name: &'a str,
    pub(crate) mtu: Option<u32>,
}

/// Makes a veth pair (`veth(4)`): this end here, plugged into a bridge and on; the other end in `netns`, with its MAC
/// address. One request does it all, and the far end is never seen in this namespace.
pub(crate) fn veth(here: &End<'_>, bridge: u32, there: &End<'_>, mac: Mac, netns: BorrowedFd<'_>) -> Request {
    let mut peer = vec![
        LinkAttribute::IfName(there.name.to_owned()),
        LinkAttribute::Address(mac.0.to_vec()),
        LinkAttribute::NetNsFd(netns.as_raw_fd()),
    ];
    peer.extend(there.mtu.map(LinkAttribute::Mtu));
    let peer = InfoData::Veth(InfoVeth::Peer(message(peer)));
    let mut attributes = vec![
        LinkAttribute::IfName(here.name.to_owned()),
        LinkAttribute::Controller(bridge),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth), LinkInfo::Data(peer)]),
    ];
    attributes.extend(here.mtu.map(LinkAttribute::Mtu));
    let mut message = message(attributes);
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    Request::new("make the veth pair", format!("{} and {}", here.name, there.name), Rt::NewLink(message))
        .create()
}

/// How a port of a bridge behaves. If it is `isolated`, it talks with the bridge itself but not with other isolated
/// ports.
pub(crate) fn port(name: &str, isolated: bool) -> Request {
    let behaviour = vec![
        // A frame may leave by the port it came in by: with br_netfilter, that is the way of a container that reaches
        // itself by a published port.
        InfoBridgePort::HairpinMode(true),
        InfoBridgePort::Isolated(isolated),
    ];
    let info = vec![
        LinkInfo::PortKind(InfoPortKind::Bridge),
        LinkInfo::PortData(InfoPortData::BridgePort(behaviour)),
    ];
    let message = message([LinkAttribute::IfName(name.to_owned()), LinkAttribute::LinkInfo(info)]);
    Request::new("set up the bridge's port", name, Rt::NewLink(message))
}

fn message(attributes: impl IntoIterator<Item = LinkAttribute>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes = attributes.into_iter().collect();
    message
}

/// Counting the packets of every processor is most of the work of an answer.
fn without_statistics() -> LinkAttribute {
    LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])
}
