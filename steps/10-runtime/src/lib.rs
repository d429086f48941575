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
//! | [`config`] | a bundle's `config.json`, and the plan that it asks for |
//! | `child`, `process` | the child: namespaces, root; user, privileges, `execve` |
//! | [`mod@exec`] | one more process in a container that is there |
//! | [`container`], [`state`] | a container from its making to its removal, and what is known between two commands |
//! | [`init`] | the child as process 1 |
//! | `talk` | how the two talk |
//! | [`hooks`] | programs of others on the way |
//! | [`join`] | namespaces that exist already |
//! | [`mod@network`], `processor` | one that is made ahead; where what is new begins |
//! | [`users`] | whom the program runs as |
//! | [`confinement`] | capabilities, filters, `no_new_privs`, security modules |
//! | `agent` | whoever is asked about system calls |
//! | [`rlimits`], [`sysctls`], [`schedule`], [`keyring`] | limits of processes, kernel parameters, processors, keys |
//! | [`console`] | a container's terminal |
//! | [`lazy`] | for the command line: options of the one subcommand that is named |
//! | `building` | a root whose owners are others, which its own root could not build |
//! | [`own_program`], `tracer` | this binary, out of the reach of containers |

mod agent;
mod building;
mod child;
pub mod config;
pub mod confinement;
pub mod console;
pub mod container;
mod error;
pub mod exec;
pub mod hooks;
pub mod init;
pub mod join;
pub mod keyring;
pub mod lazy;
pub mod network;
pub mod own_program;
pub mod plan;
mod process;
mod processor;
pub mod rlimits;
pub mod schedule;
pub mod start;
pub mod state;
pub mod sysctls;
mod talk;
mod tracer;
pub mod users;

pub use config::Config;
pub use confinement::Confinement;
pub use container::{Container, Status};
pub use error::{Error, Result};
pub use join::Join;
pub use plan::{Base, Given, Plan, Process, Shifted, User};
pub use start::{Inputs, Streams, start};
