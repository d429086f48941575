//! How Docker prints things.

pub mod moment;
pub mod table;
pub mod template;
pub mod units;
