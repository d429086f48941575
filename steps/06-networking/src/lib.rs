//! # Step 6: a network of its own
//!
//! | module | what it holds |
//! |---|---|
#![forbid(unsafe_code)]

pub mod address;
pub mod attachment;
pub mod bridge;
mod channel;
mod error;
pub mod link;
pub mod mac;
pub mod netlink;
pub mod netns;
pub mod route;
pub mod subnet;

pub use address::Address;
pub use attachment::Attachment;
pub use bridge::Bridge;
pub use error::{Error, Result};
pub use mac::Mac;
pub use netlink::Socket;
pub use subnet::Subnet;
