//! `version`: what this is.

use clap::Args;
use mini_docker::Result;
use mini_docker::format::template::Template;
use serde_json::json;

/// What `version` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// Print "json", or a Go template
    #[arg(short, long)]
    format: Option<String>,
}

impl Options {
    /// Prints the versions of the command and of the engine, which are one.
    pub(crate) fn run(&self) -> Result<u8> {
        let system = rustix::system::uname();
        let platform = image_pull::Platform::host();
        let part = json!({
            "Version": env!("CARGO_PKG_VERSION"),
            "Os": platform.os,
            "Arch": platform.architecture,
            "KernelVersion": system.release().to_string_lossy(),
        });
        let all = json!({ "Client": part, "Server": part });
        match self.format.as_deref() {
            Some("json") => println!("{all}"),
            Some(text) => println!("{}", Template::parse(text)?.render(&all)?),
            None => {
                println!("mini-docker (no daemon: the command is the engine)");
                println!(" Version:     {}", env!("CARGO_PKG_VERSION"));
                println!(" OS/Arch:     {}/{}", platform.os, platform.architecture);
                println!(" Kernel:      {}", system.release().to_string_lossy());
            }
        }
        Ok(0)
    }
}
