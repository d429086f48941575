//! `ps`: the processes of a container.

use std::process::Command;

use clap::Args;
use runtime::{Container, Error, Result};

use super::{Global, Shape};

/// List the processes of a container
#[derive(Args)]
pub(crate) struct Ps {
    /// How
    #[arg(short, long, default_value = "table")]
    format: Shape,
    /// Its name
    id: String,
    /// Options for ps
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<String>,
}

impl Ps {
    pub(crate) fn run(&self, global: &Global) -> Result<()> {
        let container = Container::open(&global.folder()?, &self.id)?;
        let pids: Vec<i32> =
            container.require_cgroup()?.processes()?.into_iter().map(nix::unistd::Pid::as_raw).collect();
        if self.format == Shape::Json {
            println!("{}", serde_json::json!(pids));
            return Ok(());
        }
        let options = if self.options.is_empty() { vec!["-ef".to_owned()] } else { self.options.clone() };
        let output =
            Command::new("ps").args(&options).output().map_err(|error| Error::kernel("run ps", error))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let mut lines = text.lines();
        let title = lines.next().unwrap_or_default();
        let place = title.split_whitespace().position(|word| word == "PID");
        let place = place.ok_or_else(|| Error::new("ps prints no column PID with these options"))?;
        println!("{title}");
        for line in lines {
            let pid = line.split_whitespace().nth(place).and_then(|word| word.parse().ok());
            if pid.is_some_and(|pid: i32| pids.contains(&pid)) {
                println!("{line}");
            }
        }
        Ok(())
    }
}
