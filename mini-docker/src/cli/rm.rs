//! `rm`: remove containers.

use clap::Args;
use mini_docker::Engine;

use super::remove_each;

/// What `rm` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// Kill and remove running containers
    #[arg(short, long)]
    force: bool,
    /// Remove the containers' anonymous volumes as well
    #[arg(short, long)]
    volumes: bool,
    /// IDs or names
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Options {
    /// Removes the containers; prints each as it was given.
    pub(crate) fn run(self, engine: &Engine) -> u8 {
        super::sweep(engine, true);
        remove_each(&self.containers, self.force, |name| {
            match engine.containers().find(name) {
                Ok(container) => engine.remove(&container, self.force, self.volumes)?,
                Err(error) if self.force => match engine.containers().find_broken(name)? {
                    Some(id) => engine.remove_broken(&id)?,
                    None => return Err(error),
                },
                Err(error) => return Err(error),
            }
            Ok(name.to_owned())
        })
    }
}
