//! # The labs
//!
//! A lab asks the reader to write the core of one step, and looks from outside at what came of it: not at the code, but
//! at what the kernel shows of the processes that it makes.
//!
//! | module | what it holds |
//! |---|---|
//! | [`lab`] | a lab, read from its folder: text, hints, checks, likely causes |
//! | [`learner`] | the learner's folder: their crates, and how far they are |
//! | [`program`] | a learner's crate, built |
//! | [`bench`](mod@bench) | a place to run that program in, from which nothing reaches the host |
//! | [`sandbox`] | the namespaces of that place |
//! | [`world`] | networks of the grader's own |
//! | [`image`] | an image for registries to serve |
//! | [`registry`] | a real registry that serves it |
//! | [`http`] | a server that plays other registries |
//! | [`process`] | what the kernel shows of a process |
//! | [`check`] | one check, and how it failed |
//! | [`graders`] | the checks of each lab |
//! | [`grader`] | the checks of one lab, in order, up to the first that fails |
//! | [`report`] | what the learner reads |
//! | [`host`] | what this machine has of what labs need |
//! | [`settings`] | cargo's settings in the learner's folder |
//! | [`sudo`] | root, for a learner who is an ordinary user |
//! | [`watch`] | checking again as often as a file changes |
//! | [`escape`] | the classic attack on a root |
//! | [`sets`] | a program that says what it gained by being run |
//! | [`call`] | a program that makes one system call |
//!
//! What a lab says is data, in `labs/NUMBER-NAME/`. Adding one means such a folder and a module in [`graders`].

pub mod bench;
pub mod call;
pub mod check;
pub mod escape;
pub mod grader;
pub mod graders;
pub mod host;
pub mod http;
pub mod image;
pub mod lab;
pub mod learner;
pub mod process;
pub mod program;
pub mod registry;
pub mod report;
pub mod sandbox;
pub mod sets;
pub mod settings;
pub mod sudo;
pub mod watch;
pub mod world;
