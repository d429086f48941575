//! Step 5: an image from a registry.
//!
//! An image is a tree of documents and archives, each named by the digest of its bytes: whoever knows one digest can
//! check all that hangs below it, wherever it came from. Pulling is walking that tree.
//!
//! A map, in reading order:
//!
//! - What is meant: [`mod@reference`] (`debian` is `docker.io/library/debian:latest`), [`platform`].
//! - What an image is made of: [`manifest`], [`config`].
//! - How a registry is spoken to: [`hosts`] (which server), `roots` and `http` (how far it is trusted), [`challenge`],
//!   [`credentials`] and `token` (who we are to it), `patience` (what to do when it
//!   fails), [`registry`] (the protocol).
//! - What is kept: `files` (whole or not at all), [`layout`] and [`names`] (the OCI image layout), [`store`] (with the
//!   unpacked layers of step 4), [`local`] (images made here).
//! - The pull itself: [`mod@pull`] (from a reference to an image), `layers` (its layers), `blob` (one download),
//!   [`progress`] (what is told meanwhile).

#![forbid(unsafe_code)]

mod blob;
pub mod challenge;
pub mod config;
pub mod credentials;
mod error;
mod files;
pub mod hosts;
mod http;
mod layers;
pub mod layout;
pub mod local;
pub mod manifest;
pub mod names;
mod patience;
pub mod platform;
pub mod progress;
pub mod pull;
pub mod reference;
pub mod registry;
mod roots;
pub mod store;
mod token;

pub use config::ImageConfig;
pub use credentials::Credentials;
pub use error::{Error, Result};
pub use hosts::Registries;
pub use local::Layer;
pub use patience::Patience;
pub use platform::Platform;
pub use progress::{Event, LayerState, Progress};
pub use pull::{Options, Pulled, pull};
pub use reference::Reference;
pub use registry::Registry;
pub use store::{Hold, Image, Removal, Store};
