//! # Step 3: limits, accounting, freezing and killing of groups of processes
//!
//! Namespaces decide what a process can see; cgroups decide what it can use. A cgroup is a directory: processes are
//! put into it by writing their numbers into a file, everything they fork is in it too, and other files set limits
//! and show what was used.
//!
//! | module | what it holds |
//! |---|---|
//! | [`limits`] | what may be limited, in Docker's units: [`Limits`] |
//! | [`hierarchy`] | where this host keeps its cgroups, v2 or v1: [`Hierarchy`] |
//! | [`mod@plan`] | from limits to writes, as data: [`plan()`] |
//! | [`devices`] | device rules on v2: a BPF program, assembled by hand |
//! | `bpf` | the system call that attaches it |
//! | `cgroup` | one cgroup from making to removal: [`Cgroup`] |
//! | `control` | freezing and killing all that is inside |
//! | `parent` | the cgroups above it |
//! | [`stats`] | what it used: [`Stats`] |
//! | [`shortage`] | hearing of a want of memory when it happens: [`Shortage`] |
//!
//! The flow: [`Hierarchy::detect`], [`Cgroup::create`], [`Cgroup::apply`]; start a process inside ([`Cgroup::directory`]
//! on v2, [`Cgroup::join`] on v1); [`Cgroup::stats`]; at the end [`Cgroup::kill`] and [`Cgroup::remove`].

#![deny(unsafe_code)]

#[expect(unsafe_code, reason = "there is no safe wrapper for bpf(2)")]
mod bpf;
mod cgroup;
mod control;
pub mod devices;
mod error;
mod files;
pub mod hierarchy;
pub mod limits;
mod parent;
pub mod plan;
pub mod shortage;
pub mod stats;

pub use cgroup::Cgroup;
pub use error::{Error, Result};
pub use hierarchy::Hierarchy;
pub use limits::{DeviceKind, DeviceRule, IoLimit, Limits, Swap};
pub use plan::{Step, Write, plan};
pub use shortage::Shortage;
pub use stats::Stats;
