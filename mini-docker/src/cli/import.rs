//! `import`: make an image from an archive.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use image_pull::Reference;
use mini_docker::events::Event;
use mini_docker::{Engine, Error, Result, import};

/// What `import` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// Apply a Dockerfile instruction, such as `CMD sh`
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// A remark for the image's history
    #[arg(short, long)]
    message: Option<String>,
    /// The archive: a file, or - for standard input
    #[arg(value_name = "FILE|-")]
    archive: PathBuf,
    /// The image's name
    #[arg(value_name = "REPOSITORY[:TAG]")]
    name: Option<String>,
}

impl Options {
    /// Makes the image; prints its ID.
    pub(crate) fn run(self, engine: &Engine) -> Result<u8> {
        let name = self.name.map(|name| name.parse::<Reference>()).transpose()?;
        let archive: Box<dyn Read> = if self.archive == Path::new("-") {
            Box::new(std::io::stdin())
        } else {
            let file =
                File::open(&self.archive).map_err(|error| Error::file("read", &self.archive, error))?;
            Box::new(file)
        };
        let id =
            import::import(engine.images(), archive, name.as_ref(), &self.change, self.message.as_deref())?;
        let text = id.to_string();
        let mut events = vec![Event::image("import", &text, &text)];
        events.extend(name.map(|name| Event::image("tag", &text, &name.or_latest().familiar())));
        engine.journal().record(&events);
        println!("{id}");
        Ok(0)
    }
}
