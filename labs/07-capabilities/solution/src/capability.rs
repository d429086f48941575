//! Capabilities by name. Nothing is to be written here.

use rustix::thread::{CapabilitySet, capability_is_in_bounding_set};

/// Reads a list such as `chown,net_bind_service`, or the word `none`.
pub fn parse(list: &str) -> Result<CapabilitySet, String> {
    let named = |name: &str| {
        CapabilitySet::from_name(&name.to_uppercase()).ok_or_else(|| format!("{name} is no capability"))
    };
    match list {
        "none" => Ok(CapabilitySet::empty()),
        list => list.split(',').map(named).collect(),
    }
}

/// All that this kernel knows, each as a set of one: also those that have no name here.
#[allow(dead_code)]
pub fn all() -> impl Iterator<Item = CapabilitySet> {
    let each = (0..u64::BITS).map(|number| CapabilitySet::from_bits_retain(1 << number));
    // About one that it does not know, the kernel answers EINVAL.
    each.filter(|one| capability_is_in_bounding_set(*one).is_ok())
}
