//! `port`: where a container's ports are published.

use clap::Args;
use mini_docker::networks::membership::{Connections, PublishedPort};
use mini_docker::{Engine, Error, Result};
use networking::ports;

/// What `port` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// The container's ID or name
    container: String,
    /// One of its ports
    #[arg(value_name = "PORT[/PROTOCOL]")]
    port: Option<String>,
}

impl Options {
    /// Prints a line a port.
    pub(crate) fn run(&self, engine: &Engine) -> Result<u8> {
        let container = engine.containers().find(&self.container)?;
        let directory = engine.containers().exec_directory(&container.id);
        let published = Connections::read(&directory)?.ports;
        let name = |port: &PublishedPort| format!("{}/{}", port.target.port(), port.protocol);
        let Some(text) = &self.port else {
            published.iter().for_each(|port| println!("{} -> {}", name(port), port.host));
            return Ok(0);
        };
        let wanted: Vec<String> = ports::parse_exposed(text)?.iter().map(ToString::to_string).collect();
        let mut found = published.iter().filter(|port| wanted.contains(&name(port))).peekable();
        if found.peek().is_none() {
            return Err(Error::new(format!("no public port '{text}' published for {}", self.container)));
        }
        found.for_each(|port| println!("{}", port.host));
        Ok(0)
    }
}
