//! # Step 4: layers, whiteouts and copy-on-write
//!
//! A container's root is not a copy of its image. It is a stack of directories that the kernel shows as one: the
//! image's layers, read-only and shared by everybody, and on top one writable directory of the container's own.
//! This crate makes layers out of archives, stacks of layers, and archives out of what a container changed.
//!
//! | module | what it holds |
//! |---|---|
//! | `unpack` | one layer's tar into a directory: [`unpack()`] |
//! | `tree` | the directory being written, by descriptor, with hostile paths in mind |
//! | `entries`, `pax`, `sparse` | the tar format, member by member |
//! | `metadata`, `times` | owner, mode, times, extended attributes |
//! | `pipeline`, `compression` | inflating and hashing beside the unpacking |
//! | `digest` | names made from content: [`Digest`], [`DiffId`], [`ChainId`] |
//! | `store` | layers on disk, each once: [`LayerStore`] |
//! | `overlay` | the stack, mounted: [`Overlay`] |
//! | `diff`, `lowers` | what an upper directory changed: [`changes`] |
//! | `pack`, `archive` | the change as a layer again: [`write_layer`]; any tree as an archive: [`write_tree`] |
//! | `extract` | an archive into a tree that is in use: [`extract()`] |
//! | `usage` | how much a tree holds: [`usage()`] |
//!
//! The flow: a stream goes into a [`Stage`] of the [`LayerStore`] and is committed under its [`ChainId`];
//! [`LayerStore::lowers`] and an [`Upper`] make an [`Overlay`], whose mount becomes a root by step 1; afterwards
//! [`changes`] lists what the container did and [`write_layer`] makes it a layer.

#![forbid(unsafe_code)]

mod archive;
mod compression;
mod diff;
mod digest;
mod entries;
mod error;
mod extract;
mod lowers;
mod metadata;
mod overlay;
mod pack;
mod pax;
mod pipeline;
mod sparse;
mod store;
mod times;
mod tree;
mod unpack;
mod usage;

pub use compression::Compression;
pub use diff::{Change, ChangeKind, changes};
pub use digest::{ChainId, DiffId, Digest, Hasher, chain};
pub use error::{Error, Result};
pub use extract::{Owners, Ownership, extract};
pub use overlay::{Overlay, Setting, Upper};
pub use pack::{Written, write_layer, write_tree};
pub use pipeline::Unpacked;
pub use store::{LayerInfo, LayerStore, Stage};
pub use tree::Marks;
pub use unpack::{Contents, unpack};
pub use usage::usage;
