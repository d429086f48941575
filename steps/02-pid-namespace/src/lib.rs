//! # Step 2: a process that sees only itself
//!
//! A new root (step 1) hides the host's files, but `ps` inside still lists the host's processes. Namespaces hide
//! the rest: each kind gives a process its own copy of one thing that is otherwise global. The pid namespace is
//! the one that changes most, since its first process is number 1 and takes on 1's duties.
//!
//! | module | what it holds |
//! |---|---|
//! | [`namespaces`] | the eight kinds as a set, their identities, the two ids of one process |
//! | [`clone`] | `clone3`: a process in new namespaces, held by a descriptor |
//! | [`descriptors`] | what a child inherits, and must not keep |
//! | [`init`] | what process 1 owes the others |
//! | [`join`] | entering namespaces that exist, by `setns` |
//! | [`time`] | clocks of its own |

pub mod clone;
pub mod descriptors;
pub mod init;
pub mod join;
pub mod namespaces;
pub mod time;

pub use clone::{Child, Exit, spawn, spawn_sibling};
pub use namespaces::Namespaces;
