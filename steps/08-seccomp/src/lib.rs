//! # Step 8: which system calls a process may make
//!
//! Namespaces hide, cgroups limit, capabilities refuse what is root's. All of them leave the whole kernel within reach:
//! some 450 system calls, most of which a program never makes, and any of which may have a bug. A seccomp filter is a
//! small program that the kernel runs before every call, and whose answer is: go on, fail with this errno, or die.
//!
//! | module | what it holds |
//! |---|---|
//! | `document` | Docker's JSON format, as it is written |
//! | [`profile`] | the same, checked: [`Profile`] |
//! | [`action`] | what may become of a call: [`Action`] |
//! | [`architecture`] | the five ways to number calls: [`Architecture`] |
//! | [`calls`] | names and numbers |
//! | [`facts`] | what conditional rules depend on: [`Facts`] |
//! | [`rules`] | profile and facts to number, condition, action: [`Rules`] |
//! | `compile` | from those to a program |
//! | `assembler` | a program, written backwards |
//! | [`instruction`] | one instruction of classic BPF, and how it reads |
//! | [`filter`] | the finished program: [`Filter`] |
//! | [`simulate`] | the program run by us instead of by the kernel |
//! | `install` | the system call that makes it hold |
//! | [`mod@describe`] | a profile as a table for people |
//!
//! The flow: [`Profile::builtin`] or [`Profile::read`]; [`Profile::compile`] for the [`Facts`] of a container;
//! [`Filter::install`] as the last thing before `execve(2)`, since whatever the set-up needs is refused afterwards.

#![deny(unsafe_code)]

pub mod action;
pub mod architecture;
mod assembler;
pub mod calls;
mod compile;
pub mod describe;
mod document;
mod error;
pub mod facts;
pub mod filter;
#[expect(unsafe_code, reason = "there is no safe wrapper for seccomp(2)")]
mod install;
pub mod instruction;
pub mod profile;
pub mod rules;
pub mod simulate;

pub use action::Action;
pub use architecture::Architecture;
pub use describe::{Row, describe};
pub use error::{Error, Result};
pub use facts::Facts;
pub use filter::Filter;
pub use instruction::Instruction;
pub use profile::Profile;
pub use rules::Rules;
