//! `rmi`: remove images.

use clap::Args;
use mini_docker::Engine;

use super::remove_each;

/// What `rmi` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// Remove an image that a stopped container was made from, or that has several names
    #[arg(short, long)]
    force: bool,
    /// Names or IDs
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

impl Options {
    /// Removes the images; prints what became of each.
    pub(crate) fn run(self, engine: &Engine) -> u8 {
        remove_each(&self.images, self.force, |name| {
            let removed = engine.remove_image(name, self.force)?;
            Ok(removed.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
        })
    }
}
