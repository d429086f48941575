//! Routes: through which device a packet leaves.

use std::net::IpAddr;

use netlink_packet_core::Emitable;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::RouteNetlinkMessage as Rt;
use netlink_packet_route::route::{
    RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};

use crate::channel::attributes;
use crate::error::Result;
use crate::netlink::{Request, Socket};
use crate::subnet::{Subnet, address_of};

/// The destination in an answer (`include/uapi/linux/rtnetlink.h`).
const RTA_DST: u16 = 1;

/// The networks that this namespace has routes to, in its main table. The default routes, which lead to everything
/// else, are not among them.
pub fn list(socket: &Socket) -> Result<Vec<Subnet>> {
    socket.list("routes", &Rt::GetRoute(RouteMessage::default()), |message| {
        let header = RouteHeader::parse(message).ok()?;
        let prefix = header.destination_prefix_length;
        if header.table != RouteHeader::RT_TABLE_MAIN || prefix == 0 {
            return None;
        }
        let (_, destination) =
            attributes(message.get(header.buffer_len()..)?).find(|(kind, _)| *kind == RTA_DST)?;
        Some(Subnet::around(address_of(destination)?, prefix))
    })
}

/// Sends what no other route is for to `gateway`.
pub(crate) fn default(index: u32, gateway: IpAddr) -> Request {
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: if gateway.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 },
        table: RouteHeader::RT_TABLE_MAIN,
        protocol: RouteProtocol::Boot,
        scope: RouteScope::Universe,
        kind: RouteType::Unicast,
        ..RouteHeader::default()
    };
    message.attributes = vec![RouteAttribute::Gateway(gateway.into()), RouteAttribute::Oif(index)];
    Request::new("add the default route via", gateway, Rt::NewRoute(message)).create()
}
