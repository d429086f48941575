//! # Step 10: one container
//!
//! The steps before this one each built one thing that a container is made of. This one puts them together, in the
//! order in which the kernel wants them: a [`Plan`] is everything that is known before the start, [`start()`] is the
//! parent's side of it, and `child` the child's, from `clone3` to `execve` in a straight line.
//!
//! | module | what it holds |
//! |---|---|
//! | [`mod@plan`] | a container before it is there, as data: [`Plan`] |
//! | [`mod@start`] | the parent: cgroup, id maps, the filter on system calls, the gate that the child waits at |
//! | [`child`] | the child: namespaces, root, user, privileges, `execve` |
//! | [`join`] | namespaces that exist already |
//! | [`users`] | whom the program runs as |
//! | [`confinement`] | capabilities, filters, `no_new_privs`, security modules |
//! | [`rlimits`], [`sysctls`], [`keyring`] | limits of processes, kernel parameters, keys |
//! | [`console`] | a container's terminal |
//! | `building` | a root whose owners are others, which its own root could not build |
//! | [`own_program`], `provenance` | this binary, out of the reach of containers |

mod building;
pub mod child;
pub mod confinement;
pub mod console;
mod error;
pub mod join;
pub mod keyring;
pub mod own_program;
pub mod plan;
mod provenance;
pub mod rlimits;
pub mod start;
pub mod sysctls;
pub mod users;

pub use confinement::Confinement;
pub use error::{Error, Result};
pub use join::Join;
pub use plan::{Base, Plan, User};
pub use start::{Inputs, Streams, start};
