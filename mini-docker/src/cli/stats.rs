//! `stats`: what containers use, as it changes.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::Duration;

use clap::Args;
use mini_docker::container::Container;
use mini_docker::usage::Sample;
use mini_docker::{Engine, Result};
use serde_json::Value;

use super::output::{self, Columns};

/// Over how long processor time is counted: in a table that goes on, and in one that is printed once.
const INTERVAL: Duration = Duration::from_secs(1);
const GLANCE: Duration = Duration::from_millis(500);

/// What `stats` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// Show all containers, not only those that run
    #[arg(short, long)]
    all: bool,
    /// Print once, and end
    #[arg(long)]
    no_stream: bool,
    /// Do not shorten anything
    #[arg(long)]
    no_trunc: bool,
    /// Print a table, "json", or a Go template
    #[arg(long)]
    format: Option<String>,
    /// IDs or names; all that run, if none are given
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

const COLUMNS: Columns = &[
    ("CONTAINER ID", "ID"),
    ("NAME", "Name"),
    ("CPU %", "CPUPerc"),
    ("MEM USAGE / LIMIT", "MemUsage"),
    ("MEM %", "MemPerc"),
    ("NET I/O", "NetIO"),
    ("BLOCK I/O", "BlockIO"),
    ("PIDS", "PIDs"),
];
const HEADINGS: Columns = &[
    ("CONTAINER", "Container"),
    ("CONTAINER ID", "ID"),
    ("NAME", "Name"),
    ("CPU %", "CPUPerc"),
    ("MEM USAGE / LIMIT", "MemUsage"),
    ("MEM %", "MemPerc"),
    ("NET I/O", "NetIO"),
    ("BLOCK I/O", "BlockIO"),
    ("PIDS", "PIDs"),
];

impl Options {
    /// Prints the figures, again and again unless told otherwise.
    pub(crate) fn run(&self, engine: &Engine) -> Result<u8> {
        super::sweep(engine, true);
        let memory = super::info::memory()?;
        let mut before = BTreeMap::new();
        for container in self.chosen(engine)? {
            before.insert(container.id.clone(), engine.sample(&container)?);
        }
        loop {
            std::thread::sleep(if self.no_stream { GLANCE } else { INTERVAL });
            let mut rows = Vec::new();
            let mut now = BTreeMap::new();
            for container in self.chosen(engine)? {
                let sample = engine.sample(&container)?;
                // One that is new has nothing to be compared with yet.
                let earlier = before.get(&container.id).unwrap_or(&sample);
                rows.push(self.row(&container, &sample, earlier, memory));
                now.insert(container.id, sample);
            }
            before = now;
            if !self.no_stream && std::io::stdout().is_terminal() {
                // To the upper left corner, and clear all below (ECMA-48: CUP, ED).
                print!("\x1b[H\x1b[J");
            }
            output::list(self.format.as_deref(), COLUMNS, HEADINGS, &rows)?;
            if self.no_stream || (rows.is_empty() && !self.containers.is_empty()) {
                return Ok(0);
            }
        }
    }

    /// Those that are to be shown: what the user named, as long as it is there.
    fn chosen(&self, engine: &Engine) -> Result<Vec<Container>> {
        if self.containers.is_empty() {
            let mut containers = Vec::new();
            for container in engine.containers().list()? {
                if self.all || engine.state(&container)?.status.is_alive() {
                    containers.push(container);
                }
            }
            return Ok(containers);
        }
        self.containers.iter().map(|name| engine.containers().find(name)).collect()
    }

    fn row(&self, container: &Container, sample: &Sample, earlier: &Sample, memory: u64) -> Value {
        let mut row = sample.row(earlier, memory);
        let id = if self.no_trunc { &container.id } else { container.short_id() };
        row["ID"] = id.into();
        row["Container"] = id.into();
        row["Name"] = container.name.clone().into();
        row
    }
}
