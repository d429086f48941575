//! What the parent builds for a container whose root is not the host's: that root could not.

use std::os::fd::OwnedFd;

use user_namespace::{IdMaps, Scaffold, UserNamespace, shifted_overlay};

use crate::error::Result;
use crate::plan::{Base, Plan};

/// A root that is ready to be entered, in a mount namespace of this process's, which the child will have a copy of.
pub(crate) struct Building {
    /// The plan, changed to what the child finds here.
    pub(crate) plan: Plan,
    /// The root.
    pub(crate) tree: OwnedFd,
    /// The mount namespace, until it is left.
    pub(crate) scaffold: Scaffold,
}

impl Building {
    /// Builds what `plan` needs: the layers under the owners that they have in a namespace with `maps`, copies of the
    /// host's trees, and device nodes.
    pub(crate) fn raise(plan: &Plan, maps: &IdMaps) -> Result<Self> {
        let mut plan = plan.clone();
        let userns = UserNamespace::with(maps)?;
        let mut scaffold = Scaffold::raise(&plan.stage, &mut plan.root, maps)?;
        let tree = match &plan.base {
            Base::Overlay(overlay) => shifted_overlay(overlay, &userns, &mut scaffold)?,
            Base::Directory(_) => plan.base.mount()?,
        };
        Ok(Self { plan, tree, scaffold })
    }
}
