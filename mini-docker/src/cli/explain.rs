//! `explain`: a running container, part by part, beside the host.

use std::path::PathBuf;

use clap::Args;
use mini_docker::anatomy::Anatomy;
use mini_docker::format::template::Template;
use mini_docker::{Engine, Error, Result};

/// What `explain` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// Print "json", or a Go template
    #[arg(short, long)]
    format: Option<String>,
    /// Write a picture to this file instead
    #[arg(long, value_name = "FILE", conflicts_with = "format")]
    svg: Option<PathBuf>,
    /// ID or name
    container: String,
}

impl Options {
    /// Prints one screen.
    pub(crate) fn run(&self, engine: &Engine) -> Result<u8> {
        let anatomy = Anatomy::of(engine, &engine.containers().find(&self.container)?)?;
        if let Some(path) = &self.svg {
            std::fs::write(path, anatomy.svg()).map_err(|error| Error::file("write", path, error))?;
            return Ok(0);
        }
        let value = || serde_json::to_value(&anatomy).expect("plain data is JSON");
        match self.format.as_deref() {
            None | Some("") => print!("{}", anatomy.screen()),
            Some("json") => println!("{}", value()),
            Some(text) => println!("{}", Template::parse(text)?.render(&value())?),
        }
        Ok(0)
    }
}
