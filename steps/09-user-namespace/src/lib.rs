//! # Step 9: root that is not root

#![forbid(unsafe_code)]

mod error;
pub mod map;
pub mod subordinate;

pub use error::{Error, Result};
pub use map::{IdMap, IdMaps, Range};
pub use subordinate::Accounts;
