//! `explain`: a running container, part by part, beside the host.

use clap::Args;
use mini_docker::anatomy::Anatomy;
use mini_docker::format::template::Template;
use mini_docker::{Engine, Result};

/// What `explain` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// Print "json", or a Go template
    #[arg(short, long)]
    format: Option<String>,
    /// ID or name
    container: String,
}

impl Options {
    /// Prints one screen.
    pub(crate) fn run(&self, engine: &Engine) -> Result<u8> {
        let anatomy = Anatomy::of(engine, &engine.containers().find(&self.container)?)?;
        let value = || serde_json::to_value(&anatomy).expect("plain data is JSON");
        match self.format.as_deref() {
            None | Some("") => print!("{}", anatomy.screen()),
            Some("json") => println!("{}", value()),
            Some(text) => println!("{}", Template::parse(text)?.render(&value())?),
        }
        Ok(0)
    }
}
