//! # Step 6: a network of its own
//!
//! | module | what it holds |
//! |---|---|
#![forbid(unsafe_code)]

pub mod address;
pub mod attachment;
pub mod bridge;
mod channel;
pub mod endpoints;
mod error;
pub mod firewall;
pub mod leases;
pub mod link;
pub mod mac;
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
pub use netlink::Socket;
pub use ports::{Mapping, Port, Protocol, Reservation};
pub use subnet::Subnet;
