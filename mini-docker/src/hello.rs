//! The image that needs no registry: this very binary.
//!
//! One layer holds the executable, which is static and so needs nothing else in its root. Run as its image's
//! entrypoint, it prints what it sees ([`crate::inside`]).

use std::fs::File;
use std::io::Seek;

use image_pull::config::RunConfig;
use image_pull::{Image, Reference, Store};

use crate::error::{Error, Result};
use crate::import;

/// The image's name.
pub const NAME: &str = "hello";
/// The binary inside the image. Called by this name, it prints what it sees.
pub const PROGRAM: &str = "hello";

/// Whether `reference` means the built-in image.
pub fn is_meant(reference: &Reference) -> bool {
    reference.familiar_repository() == NAME && reference.tag().is_none_or(|tag| tag == "latest")
}

/// Makes the image out of the running binary.
pub fn make(store: &Store) -> Result<Image> {
    let config = RunConfig {
        entrypoint: Some(vec![format!("/{PROGRAM}")]),
        working_dir: "/".to_owned(),
        labels: [("org.opencontainers.image.title".to_owned(), NAME.to_owned())].into(),
        ..RunConfig::default()
    };
    let name: Reference = NAME.parse()?;
    let id = import::make(store, layer()?, Some(&name), config, "mini-docker itself")?;
    Ok(store.resolve(&id.to_string())?)
}

/// A tar with one entry, in a file that has no name.
fn layer() -> Result<File> {
    let failed = |error| Error::kernel("pack the running binary into a layer", error);
    let mut binary = File::open("/proc/self/exe").map_err(failed)?;
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o755);
    header.set_size(binary.metadata().map_err(failed)?.len());
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    let file = rustix::fs::memfd_create("layer", rustix::fs::MemfdFlags::CLOEXEC)
        .map_err(|errno| Error::kernel("pack the running binary into a layer", errno))?;
    let mut archive = tar::Builder::new(File::from(file));
    archive.append_data(&mut header, PROGRAM, &mut binary).map_err(failed)?;
    let mut file = archive.into_inner().map_err(failed)?;
    file.rewind().map_err(failed)?;
    Ok(file)
}
