//! `commit`: make an image of what a container changed.

use clap::Args;
use image_pull::Reference;
use mini_docker::commit::Request;
use mini_docker::{Engine, Result};

/// What `commit` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// Who made it
    #[arg(short, long)]
    author: Option<String>,
    /// Apply a Dockerfile instruction, such as `CMD sh`
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// A remark for the image's history
    #[arg(short, long)]
    message: Option<String>,
    /// Freeze the container meanwhile
    #[arg(short, long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pause: Option<bool>,
    /// The container's ID or name
    container: String,
    /// The image's name
    #[arg(value_name = "REPOSITORY[:TAG]")]
    name: Option<String>,
}

impl Options {
    /// Makes the image; prints its ID.
    pub(crate) fn run(self, engine: &Engine) -> Result<u8> {
        super::sweep(engine, false);
        let name = self.name.map(|name| name.parse::<Reference>()).transpose()?;
        let container = engine.containers().find(&self.container)?;
        let made = engine.commit(
            &container,
            &Request {
                name,
                author: self.author,
                message: self.message,
                changes: self.change,
                pause: self.pause,
            },
        )?;
        if let Some(warning) = made.warning {
            eprintln!("WARNING: {warning}");
        }
        println!("{}", made.id);
        Ok(0)
    }
}
