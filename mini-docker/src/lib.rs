//! # mini-docker: the engine
//!
//! A container engine without a daemon, made of the step crates. `main.rs` and `cli/` are its command line; this library
//! does the work, and prints only what a container says and what `--explain` tells.
//!
//! A `run` flows through these rooms, top to bottom:
//!
//! | module | what it holds |
//! |---|---|
//! | [`mounts`], [`signals`], [`create`] | what the user asked for, read and put together with the image's config |
//! | [`container`], [`host_config`] | the result: a record in the shape of `docker inspect` |
//! | [`files`], [`store`] | records on the disk, locks, and what a crash leaves |
//! | [`engine`] | what commands ask for: create, start, stop, kill, remove |
//! | [`etc`], [`skeleton`], [`volumes`], [`limits`], [`confinement`], [`ulimits`], [`sysctls`], [`devices`], [`sharing`] | parts of a container that are made or decided on their own |
//! | [`plan`] | from a record to what the kernel will be asked for; pure |
//! | [`shim`] | the process that outlives the command and waits for the container |
//! | [`networks`] | networks, and who is in them |
//! | [`rootless`], [`delegated`] | the engine of an ordinary user, and its cgroups |
//! | [`boot`] | what is started with the host |
//! | [`neighbour`] | a running container whose namespaces are joined |
//! | [`wire`], [`attach`], [`terminal`] | how command and shim talk, and what the user sees of it |
//! | [`logs`], [`events`], [`rotated`] | output on the disk; what has happened; files that are put aside when they are full |
//! | [`inspect`] | everything about one object |
//! | [`copies`], `pipe` | files copied into containers and out of them |
//! | [`commit`] | what a container changed, as a list, an image or an archive |
//! | [`processes`], [`usage`], [`update`] | what runs in a container, what it uses, and what it may use from now on |
//! | [`import`], [`changes`] | images made of one archive, and what the user changes in their config |
//! | [`hello`], [`inside`] | the image that is this binary, and what it prints |
//! | [`explain`], [`anatomy`], [`doctor`] | what a start does, step by step; a container beside the host; what this host can do |
//! | [`mod@format`] | sizes, times, tables and templates as Docker prints them |

pub mod anatomy;
pub mod attach;
pub mod boot;
pub mod changes;
pub mod commit;
pub mod confinement;
pub mod container;
pub mod copies;
pub mod create;
pub mod delegated;
pub mod devices;
pub mod doctor;
pub mod engine;
mod error;
pub mod etc;
pub mod events;
pub mod explain;
pub mod files;
pub mod format;
pub mod health;
pub mod hello;
pub mod host_config;
pub mod import;
pub mod inside;
pub mod inspect;
pub mod limits;
pub mod logs;
pub mod mounts;
pub mod names;
pub mod neighbour;
pub mod networks;
mod pipe;
pub mod plan;
pub mod processes;
pub mod rootless;
pub mod rotated;
pub mod sharing;
pub mod shim;
pub mod signals;
pub mod skeleton;
pub mod store;
pub mod sysctls;
pub mod terminal;
pub mod ulimits;
pub mod update;
pub mod usage;
pub mod volumes;
pub mod wire;

pub use engine::{Engine, Folders};
pub use error::{Error, Result};
