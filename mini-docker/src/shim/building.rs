//! What the shim builds for a container whose root is not the host's: that root could not.

use std::os::fd::OwnedFd;

use user_namespace::{IdMaps, Scaffold, UserNamespace, shifted_overlay};

use crate::error::Result;
use crate::plan::Launch;

/// A root that is ready to be entered, in a mount namespace of this process's, which the child will have a copy of.
pub(super) struct Building {
    /// The launch, its plan changed to what the child finds here.
    pub(super) launch: Launch,
    /// The root.
    pub(super) tree: OwnedFd,
    /// The mount namespace, until it is left.
    pub(super) scaffold: Scaffold,
}

impl Building {
    /// Builds what `launch` needs: the layers under the owners that they have in a namespace with `maps`, copies of the
    /// host's trees, and device nodes.
    pub(super) fn raise(launch: &Launch, maps: &IdMaps) -> Result<Self> {
        let mut launch = launch.clone();
        let userns = UserNamespace::with(maps)?;
        let mut scaffold = Scaffold::raise(&launch.stage, &mut launch.root, maps)?;
        let tree = shifted_overlay(&launch.overlay, &userns, &mut scaffold)?;
        Ok(Self { launch, tree, scaffold })
    }
}
