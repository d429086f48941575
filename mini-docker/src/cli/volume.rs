//! `volume`: make, list, show and remove volumes.

use clap::{Args, Subcommand};
use mini_docker::volumes::{DRIVER, Request, Volume, users};
use mini_docker::{Engine, Error, Result};
use serde_json::{Value, json};

use super::output::{self, Columns};
use super::{confirmation, for_each, inspect, options, prune};

/// What `volume` takes.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Create a volume
    Create(Create),
    /// List volumes
    #[command(visible_alias = "list")]
    Ls(Ls),
    /// Display detailed information on one or more volumes
    Inspect(inspect::Options),
    /// Remove one or more volumes
    #[command(visible_alias = "remove")]
    Rm(Rm),
    /// Remove volumes that no container uses
    Prune(Prune),
}

impl Command {
    /// Does it; the exit code.
    pub(crate) fn run(self, engine: &Engine) -> Result<u8> {
        super::sweep(engine, true);
        match self {
            Self::Create(options) => options.run(engine),
            Self::Ls(options) => options.run(engine),
            Self::Inspect(options) => options.run(engine, Some(inspect::Kind::Volume)),
            Self::Rm(options) => Ok(options.run(engine)),
            Self::Prune(options) => options.run(engine),
        }
    }
}

/// What `volume create` takes.
#[derive(Args)]
pub(crate) struct Create {
    /// Who keeps the files: local is the one that can
    #[arg(short, long, default_value = DRIVER)]
    driver: String,
    /// Set metadata
    #[arg(long, value_name = "KEY[=VALUE]")]
    label: Vec<String>,
    /// Set an option of the driver: type, device and o, as mount(8) takes them; type=none and o=bind show a directory of the
    /// host's
    #[arg(short, long = "opt", value_name = "KEY=VALUE")]
    option: Vec<String>,
    /// Its name, if not a random one
    name: Option<String>,
}

impl Create {
    fn run(self, engine: &Engine) -> Result<u8> {
        if self.driver != DRIVER {
            let (driver, name) = (self.driver, self.name.unwrap_or_default());
            return Err(Error::new(format!(
                "create {name}: error looking up volume plugin {driver}: plugin \"{driver}\" not found: local is the one \
                 driver that volumes can have here"
            )));
        }
        let volume = engine.create_volume(Request {
            name: self.name,
            labels: options::labels(&self.label)?,
            options: self.option.iter().map(|text| options::label(text)).collect(),
            owner: None,
        })?;
        println!("{}", volume.name);
        Ok(0)
    }
}

/// What `volume ls` takes.
#[derive(Args)]
pub(crate) struct Ls {
    /// Print only names
    #[arg(short, long)]
    quiet: bool,
    /// Show only some: name, label, dangling, driver
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Print a table, "json", or a Go template
    #[arg(long)]
    format: Option<String>,
}

const COLUMNS: Columns = &[("DRIVER", "Driver"), ("VOLUME NAME", "Name")];
const HEADINGS: Columns = &[
    ("DRIVER", "Driver"),
    ("VOLUME NAME", "Name"),
    ("SCOPE", "Scope"),
    ("MOUNTPOINT", "Mountpoint"),
    ("LABELS", "Labels"),
    ("LINKS", "Links"),
    ("SIZE", "Size"),
];
const FILTERS: &[&str] = &["name", "label", "dangling", "driver"];

impl Ls {
    fn run(self, engine: &Engine) -> Result<u8> {
        let filters =
            self.filter.iter().map(|text| output::filter(text, FILTERS)).collect::<Result<Vec<_>>>()?;
        let containers = engine.containers().list()?;
        let mut rows = Vec::new();
        for volume in engine.volumes().list()? {
            let is_used = !users(&containers, &volume.name).is_empty();
            if !matches(&volume, is_used, &filters)? {
                continue;
            }
            if self.quiet {
                println!("{}", volume.name);
            } else {
                rows.push(row(&volume));
            }
        }
        if !self.quiet {
            output::list(self.format.as_deref(), COLUMNS, HEADINGS, &rows)?;
        }
        Ok(0)
    }
}

fn row(volume: &Volume) -> Value {
    let labels: Vec<String> = volume.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    json!({
        "Driver": volume.driver,
        "Name": volume.name,
        "Scope": volume.scope,
        "Mountpoint": volume.mountpoint,
        "Labels": labels.join(","),
        // Docker counts these only for `system df`.
        "Links": "N/A",
        "Size": "N/A",
    })
}

/// Whether a volume passes all filters; of those with one key, only labels must all fit.
fn matches(volume: &Volume, is_used: bool, filters: &[(&str, &str)]) -> Result<bool> {
    for key in FILTERS {
        let values = filters.iter().filter(|(known, _)| known == key);
        let fits = values
            .map(|(_, value)| match *key {
                "name" => Ok(volume.name.contains(value)),
                "driver" => Ok(volume.driver == *value),
                "dangling" => match *value {
                    "true" | "1" => Ok(!is_used),
                    "false" | "0" => Ok(is_used),
                    _ => Err(Error::new(format!("invalid filter 'dangling={value}'"))),
                },
                _ => Ok(output::has_label(&volume.labels, value)),
            })
            .collect::<Result<Vec<bool>>>()?;
        let passes = match *key {
            "label" => fits.iter().all(|fits| *fits),
            _ => fits.is_empty() || fits.iter().any(|fits| *fits),
        };
        if !passes {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What `volume rm` takes.
#[derive(Args)]
pub(crate) struct Rm {
    /// Do not fail for a volume that there is not
    #[arg(short, long)]
    force: bool,
    /// Names
    #[arg(required = true, value_name = "VOLUME")]
    volumes: Vec<String>,
}

impl Rm {
    fn run(self, engine: &Engine) -> u8 {
        for_each(&self.volumes, |name| {
            engine.remove_volume(name).or_else(|error| super::forgive_missing(error, self.force))?;
            Ok(name.to_owned())
        })
    }
}

/// What `volume prune` takes.
#[derive(Args)]
pub(crate) struct Prune {
    /// Remove also those that have a name
    #[arg(short, long)]
    all: bool,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Remove only some: label, label!
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
}

impl Prune {
    fn run(&self, engine: &Engine) -> Result<u8> {
        let filters = self
            .filter
            .iter()
            .map(|text| output::filter(text, &["label", "label!", "all"]))
            .collect::<Result<Vec<_>>>()?;
        let all =
            self.all || filters.iter().any(|(key, value)| *key == "all" && ["true", "1"].contains(value));
        let kind = if all { "all" } else { "anonymous" };
        let warning = format!("This will remove {kind} local volumes not used by at least one container.");
        if !self.force && !confirmation::given(&warning)? {
            return Ok(0);
        }
        let pruned = engine.prune_volumes(|volume| {
            (all || volume.is_anonymous()) && output::keeps_labels(&volume.labels, &filters)
        })?;
        Ok(prune::conclude(&prune::section("Volumes", &pruned.removed), pruned.freed, &pruned.failures))
    }
}
