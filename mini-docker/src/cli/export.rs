//! `export`: a container's files as one archive.

use std::fs::{self, File};
use std::io::{BufWriter, IsTerminal, Write};
use std::path::PathBuf;

use clap::Args;
use mini_docker::{Engine, Error, Result};

/// What `export` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// Write to a file, in place of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// An ID or a name
    container: String,
}

impl Options {
    /// Writes the archive.
    pub(crate) fn run(&self, engine: &Engine) -> Result<u8> {
        super::sweep(engine, false);
        let container = engine.containers().find(&self.container)?;
        let Some(path) = &self.output else {
            let out = std::io::stdout();
            if out.is_terminal() {
                return Err(Error::new(
                    "cowardly refusing to save to a terminal. Use the -o flag or redirect",
                ));
            }
            engine.export(&container, BufWriter::new(out))?;
            return Ok(0);
        };
        // Under its own name once it is complete, or not at all.
        let mut beginning = path.clone().into_os_string();
        beginning.push(format!(".{}.tmp", std::process::id()));
        let failed = |error| Error::file("write", path, error);
        let mut file = BufWriter::new(File::create(&beginning).map_err(failed)?);
        let written = engine.export(&container, &mut file).and_then(|()| file.flush().map_err(failed));
        match written.and_then(|()| fs::rename(&beginning, path).map_err(failed)) {
            Ok(()) => Ok(0),
            Err(error) => {
                fs::remove_file(&beginning).map_err(failed)?;
                Err(error)
            }
        }
    }
}
