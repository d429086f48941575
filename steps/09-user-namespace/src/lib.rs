//! # Step 9: root that is not root
//!
//! Step 7 took most privileges away from a container's root, and left it the host's user 0: the owner of the host's
//! files, if it ever gets at them, by a shared directory (`examples/plant.rs`) or a way out. A user namespace takes that
//! away too. In it 0 is root, with all capabilities over what belongs to the namespace; outside, the same process is
//! user 100000, who owns nothing. And since that harms nobody, everybody may make one: an ordinary user can be root of
//! containers without being root.
//!
//! | module | what it holds |
//! |---|---|
//! | [`map`] | which ids are which outside: [`IdMap`], [`IdMaps`] |
//! | [`subordinate`] | which ids a user may hand out: `/etc/subuid` |
//! | [`mod@assign`] | setting a process's maps, or having them set |
//! | [`child`] | a process in a new user namespace, or one that is there: [`spawn`], [`spawn_in`] |
//! | [`root`] | becoming its root, and what that root may mount |
//! | [`holder`] | a user namespace without a process: [`UserNamespace`] |
//! | [`idmapped`] | files under other owners, without a copy: [`shift`] |
//! | [`scaffold`] | what the host's root builds for a root that is not: [`Scaffold`] |
//! | [`overlay`] | layers under other owners: [`shifted_overlay`] |
//! | [`rootless`] | an ordinary user becomes root: [`rootless::enter`], [`rootless::join`] |
//! | [`delegation`] | the part of the cgroup tree that is an ordinary user's: [`Delegation`] |
//! | [`obstacles`] | what keeps ordinary users from it on this host: [`examine`] |
//! | [`folders`] | where an ordinary user's containers are kept |
//!
//! # Run by the host's root, for a container whose root is not
//!
//! 1. Maps: [`Accounts::remapped`]. A [`UserNamespace`] with them, for the mounts to come.
//! 2. Plan: [`root::adapt`] to what the container's root may mount.
//! 3. [`Scaffold::raise`]: a mount namespace to build in. Trees of the host's are copied there, and device nodes made.
//!    [`shifted_overlay`]: each layer is cloned, mapped and attached there, then the overlay mounted on them, detached.
//! 4. [`spawn`]: the child's mount namespace is a copy of the building. It waits until its maps are set, and becomes
//!    root.
//! 5. [`Scaffold::take_down`]: back to the host's mounts, while the child goes on.
//! 6. The child, by [`root::enter`]: attaches the overlay, makes its own procfs, sysfs, cgroup, mqueue, devpts and tmpfs,
//!    binds trees and devices from where the scaffold shows them, and pivots. What the host mounted is gone with that.
//!
//! What to mind on the way:
//!
//! - Files: overlay and layers belong to the host's user namespace. Layers are shared with all other containers, and
//!   the upper directory holds the ids of inside; nothing is given to other owners on the disk.
//! - Volumes and other bound trees are *not* mapped: a container's root that could write as the host's root there could
//!   leave a set-user-ID program, which is the very attack. A new volume is to be given to the mapped root.
//! - procfs and sysfs can be mounted only while a whole one is in view (`mount_too_revealing` in the kernel's
//!   `fs/namespace.c`), and so before the pivot; in a container with masked paths, not at all.
//! - What is written to files in `/proc/self` must be written before [`become_root`], or from outside.
//!
//! # Run by an ordinary user
//!
//! [`rootless::own_maps`], [`rootless::enter`], and then everything as if root had started it: [`root::adapt`] and
//! [`root::host_devices`] on the plan, overlays with [`overlay_layers::Marks::User`]. Cgroups only as far as
//! [`Delegation`] goes; a map of one id has no other users to be, and no groups (`setgroups` is denied).

#![forbid(unsafe_code)]

pub mod assign;
pub mod child;
pub mod delegation;
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
pub use child::{spawn, spawn_in};
pub use delegation::Delegation;
pub use error::{Error, Result};
pub use holder::UserNamespace;
pub use idmapped::shift;
pub use map::{IdMap, IdMaps, Range};
pub use obstacles::{Obstacle, examine};
pub use overlay::shifted_overlay;
pub use root::become_root;
pub use scaffold::Scaffold;
pub use subordinate::Accounts;
