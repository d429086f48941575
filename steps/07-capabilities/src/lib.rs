//! # Step 7: root divided into forty privileges, most of them taken away
//!
//! The root user of a container is the host's: number 0, to whom the kernel refuses nothing. What saves the host is
//! that the kernel does not ask for the number any more but for one of some forty *capabilities* (`capabilities(7)`):
//! `CAP_CHOWN` to give files away, `CAP_SYS_ADMIN` to mount, `CAP_SYS_TIME` to set the clock. A container keeps the
//! fourteen that ordinary programs need, and the rest is out of reach for good, also for set-user-ID programs.
//!
//! | module | what it holds |
//! |---|---|
//! | [`set`] | capabilities by name and as bits: [`Set`] |
//! | [`choice`] | which ones a container gets: Docker's default, `--cap-add`, `--cap-drop` |
//! | [`sets`] | the five sets of a process, and what `execve` makes of them: [`Sets`] |
//! | [`mod@file`] | what a file gives to whoever runs it |
//! | [`assume`] | the kernel calls, in the order in which they must be made |
//!
//! The flow: [`choice::choose`]; in the child, [`assume::bound`], then the change of user with
//! [`assume::keep_across_user_change`] around it, then [`assume::set`], and `execve`.

#![forbid(unsafe_code)]

pub mod assume;
pub mod choice;
mod error;
pub mod file;
pub mod set;
pub mod sets;

pub use choice::choose;
pub use error::{Error, Result};
pub use file::FileCapabilities;
pub use set::Set;
pub use sets::{Execution, Sets};
