//! # Step 9: root that is not root
#![forbid(unsafe_code)]

pub mod assign;
pub mod child;
mod error;
pub mod folders;
pub mod holder;
pub mod idmapped;
pub mod map;
pub mod obstacles;
pub mod overlay;
pub mod root;
pub mod rootless;
pub mod scaffold;
pub mod subordinate;

pub use assign::assign;
pub use child::spawn;
pub use error::{Error, Result};
pub use holder::UserNamespace;
pub use idmapped::shift;
pub use map::{IdMap, IdMaps, Range};
pub use obstacles::{Obstacle, examine};
pub use overlay::shifted_overlay;
pub use root::become_root;
pub use scaffold::Scaffold;
pub use subordinate::Accounts;
