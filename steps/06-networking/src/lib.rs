//! # Step 6: a network of its own
//!
//! A process in a new network namespace has a loopback device that is off, and nothing else: no address, no route, no
//! way to anybody. This crate gives it a cable, an address, a way out, ports that can be reached from outside, and names
//! by which containers find each other. Nothing here starts a helper program: the kernel is spoken to over netlink.
//!
//! | module | what it holds |
//! |---|---|
//! | [`netns`] | network namespaces, and opening sockets inside one from outside |
//! | `channel`, [`netlink`] | requests to the kernel and its answers |
//! | [`link`], [`address`], [`route`] | what `ip` shows: devices, addresses, routes |
//! | [`subnet`], [`mac`] | addresses as numbers, and which subnet a network gets |
//! | [`bridge`] | a network on this host: [`Bridge`] |
//! | [`attachment`] | a container's plug in it: [`Attachment`] |
//! | [`leases`], [`endpoints`] | who has which address, and under which names |
//! | [`nftables`] | the packet filter: rules, sets and maps in one transaction |
//! | [`firewall`] | who reaches whom: [`Firewall`] |
//! | [`ports`] | `--publish`, and keeping the host's port: [`Reservation`] |
//! | [`dns`] | the name server of a container: [`dns::Server`] |
//! | [`names`] | `/etc/hosts` and `/etc/resolv.conf` |
//!
//! The flow: [`Leases::claim`] an address, [`Reservation::take`] the ports; [`Firewall::ensure`], then
//! [`Bridge::ensure`], if the network is new; [`Attachment::apply`]; [`Firewall::publish`]. At the end
//! [`Firewall::unpublish`], [`Attachment::detach`], [`Leases::release`].

#![forbid(unsafe_code)]

pub mod address;
pub mod attachment;
pub mod bridge;
mod channel;
pub mod dns;
pub mod endpoints;
mod error;
pub mod firewall;
pub mod leases;
pub mod link;
pub mod mac;
pub mod names;
pub mod netlink;
pub mod netns;
pub mod nftables;
pub mod ports;
pub mod route;
pub mod subnet;

pub use address::Address;
pub use attachment::Attachment;
pub use bridge::Bridge;
pub use endpoints::{Endpoint, Endpoints};
pub use error::{Error, Result};
pub use firewall::{Firewall, NetworkRules, Publication};
pub use leases::Leases;
pub use mac::Mac;
pub use names::{ExtraHost, Resolver};
pub use netlink::Socket;
pub use ports::{Mapping, Port, Protocol, Reservation};
pub use subnet::Subnet;
