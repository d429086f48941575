//! `system`: how much room everything takes, removing what nobody uses, and what comes back after a reboot.

use clap::{Args, Subcommand};
use image_pull::{Reference, store};
use mini_docker::engine::prune::Usage;
use mini_docker::format::units;
use mini_docker::{Engine, Error, Result};
use serde_json::{Value, json};

use super::output::{self, Columns};
use super::prune::{self, Conditions};
use super::{boot, confirmation, events, info, ps};

/// What `system` takes.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Show how much room images, containers and volumes take
    Df(Df),
    /// Show what happens, as it happens
    Events(events::Options),
    /// Show facts about this host and what is kept on it
    Info(info::Options),
    /// Remove what nobody uses
    Prune(Prune),
    /// Start the containers whose restart policy wants it after a reboot
    Start,
    /// Print a systemd unit that does so
    Unit,
}

impl Command {
    /// Does it; the exit code.
    pub(crate) fn run(self, engine: &Engine) -> Result<u8> {
        match self {
            Self::Df(options) => options.run(engine),
            Self::Events(options) => options.run(engine),
            Self::Info(options) => options.run(engine),
            Self::Prune(options) => options.run(engine),
            Self::Start => boot::start(engine),
            Self::Unit => boot::unit(engine.folders()),
        }
    }
}

/// What `system df` takes.
#[derive(Args)]
pub(crate) struct Df {
    /// Show each image, container and volume
    #[arg(short, long)]
    verbose: bool,
    /// Print a table, "json", or a Go template
    #[arg(long)]
    format: Option<String>,
}

const COLUMNS: Columns = &[
    ("TYPE", "Type"),
    ("TOTAL", "TotalCount"),
    ("ACTIVE", "Active"),
    ("SIZE", "Size"),
    ("RECLAIMABLE", "Reclaimable"),
];
const IMAGES: Columns = &[
    ("REPOSITORY", "Repository"),
    ("TAG", "Tag"),
    ("IMAGE ID", "ID"),
    ("CREATED", "CreatedSince"),
    ("SIZE", "Size"),
    ("SHARED SIZE", "SharedSize"),
    ("UNIQUE SIZE", "UniqueSize"),
    ("CONTAINERS", "Containers"),
];
const CONTAINERS: Columns = &[
    ("CONTAINER ID", "ID"),
    ("IMAGE", "Image"),
    ("COMMAND", "Command"),
    ("LOCAL VOLUMES", "LocalVolumes"),
    ("SIZE", "Size"),
    ("CREATED", "RunningFor"),
    ("STATUS", "Status"),
    ("NAMES", "Names"),
];
const VOLUMES: Columns = &[("VOLUME NAME", "Name"), ("LINKS", "Links"), ("SIZE", "Size")];

impl Df {
    fn run(&self, engine: &Engine) -> Result<u8> {
        super::sweep(engine, true);
        let usage = engine.usage()?;
        if !self.verbose {
            output::list(self.format.as_deref(), COLUMNS, COLUMNS, &summary(&usage))?;
            return Ok(0);
        }
        if self.format.is_some() {
            return Err(Error::new("the verbose and the format options conflict"));
        }
        println!("Images space usage:\n");
        output::list(None, IMAGES, IMAGES, &images(&usage)?)?;
        println!("\nContainers space usage:\n");
        output::list(None, CONTAINERS, CONTAINERS, &containers(engine, &usage)?)?;
        println!("\nLocal Volumes space usage:\n");
        output::list(None, VOLUMES, VOLUMES, &volumes(&usage))?;
        Ok(0)
    }
}

/// A line a kind.
fn summary(usage: &Usage) -> Vec<Value> {
    let line = |kind: &str, total: usize, active: usize, size: u64, reclaimable: u64| {
        let share = (reclaimable * 100).checked_div(size);
        let share = share.map(|share| format!(" ({share}%)")).unwrap_or_default();
        json!({
            "Type": kind,
            "TotalCount": total.to_string(),
            "Active": active.to_string(),
            "Size": units::decimal_sum(size),
            "Reclaimable": format!("{}{share}", units::decimal_sum(reclaimable)),
        })
    };
    let Usage { images, containers, volumes, layers, unused_layers } = usage;
    let running = |state: &mini_docker::container::State| state.status.is_alive();
    let active = containers.iter().filter(|(_, state, _)| running(state)).count();
    let written = containers.iter().map(|(_, _, size)| size).sum();
    let at_rest = containers.iter().filter(|(_, state, _)| !running(state)).map(|(_, _, size)| size).sum();
    let kept = volumes.iter().map(|(_, _, size)| size).sum();
    let unused = volumes.iter().filter(|(_, links, _)| *links == 0).map(|(_, _, size)| size).sum();
    vec![
        line(
            "Images",
            images.len(),
            images.iter().filter(|image| image.containers > 0).count(),
            *layers,
            *unused_layers,
        ),
        line("Containers", containers.len(), active, written, at_rest),
        line(
            "Local Volumes",
            volumes.len(),
            volumes.iter().filter(|(_, links, _)| *links > 0).count(),
            kept,
            unused,
        ),
    ]
}

fn images(usage: &Usage) -> Result<Vec<Value>> {
    let row = |found: &mini_docker::engine::prune::ImageUsage| {
        let image = &found.image;
        let name = image.names.first();
        let created = image.config.created.as_deref();
        Ok(json!({
            "Repository": name.map_or_else(|| "<none>".to_owned(), Reference::familiar_repository),
            "Tag": name.and_then(Reference::tag).unwrap_or("<none>"),
            "ID": store::short(&image.id),
            "CreatedSince": created.map_or_else(|| Ok("N/A".to_owned()), |time| ps::age(time).map(|age| format!("{age} ago")))?,
            "Size": units::decimal_sum(image.size),
            "SharedSize": units::decimal_sum(found.shared),
            "UniqueSize": units::decimal_sum(image.size - found.shared),
            "Containers": found.containers.to_string(),
        }))
    };
    usage.images.iter().map(row).collect()
}

fn containers(engine: &Engine, usage: &Usage) -> Result<Vec<Value>> {
    let row = |(container, state, size): &(_, _, u64)| {
        let mut row = ps::row(engine, container, state)?;
        row["Size"] = units::decimal_sum(*size).into();
        Ok(row)
    };
    usage.containers.iter().map(row).collect()
}

fn volumes(usage: &Usage) -> Vec<Value> {
    let rows = usage.volumes.iter();
    rows.map(|(volume, links, size)| {
        json!({ "Name": volume.name, "Links": links.to_string(), "Size": units::decimal_sum(*size) })
    })
    .collect()
}

/// What `system prune` takes.
#[derive(Args)]
pub(crate) struct Prune {
    /// Remove all images that no container was made of, also those that have a name
    #[arg(short, long)]
    all: bool,
    /// Remove anonymous volumes as well
    #[arg(long)]
    volumes: bool,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Remove only some: until, label, label!
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
}

impl Prune {
    fn run(&self, engine: &Engine) -> Result<u8> {
        let conditions = Conditions::read(&self.filter, &["until", "label", "label!"])?;
        if self.volumes && self.filter.iter().any(|filter| filter.starts_with("until=")) {
            return Err(Error::new("The \"until\" filter is not supported with \"--volumes\""));
        }
        if !self.force && !confirmation::given(&self.warning())? {
            return Ok(0);
        }
        super::sweep(engine, true);
        // In this order: a container that is gone needs no network, volume or image.
        let containers = engine.prune_containers(|container| {
            conditions.fit(Some(&container.created), &container.config.labels)
        })?;
        let (networks, mut failures) =
            engine.prune_networks(|network| conditions.fit(Some(&network.created), &network.labels))?;
        let volumes = engine.prune_volumes(|volume| {
            self.volumes && volume.is_anonymous() && conditions.fit(None, &volume.labels)
        })?;
        let images = engine.prune_images(|image| conditions.fit_image(image, self.all))?;
        let networks: Vec<String> = networks.into_iter().map(|network| network.name).collect();
        let sections = [
            prune::containers(&containers),
            prune::section("Networks", &networks),
            prune::section("Volumes", &volumes.removed),
            prune::images(&images),
        ];
        let freed = containers.freed + volumes.freed + images.freed;
        failures.extend(containers.failures.into_iter().chain(volumes.failures).chain(images.failures));
        Ok(prune::conclude(&sections.concat(), freed, &failures))
    }

    fn warning(&self) -> String {
        let mut lines = vec!["all stopped containers", "all networks not used by at least one container"];
        if self.volumes {
            lines.push("all anonymous volumes not used by at least one container");
        }
        lines.push(if self.all { prune::UNUSED_IMAGES } else { prune::DANGLING_IMAGES });
        let list = |lines: &[String]| lines.iter().map(|line| format!("  - {line}\n")).collect::<String>();
        let lines: Vec<String> = lines.into_iter().map(str::to_owned).collect();
        let mut warning = format!("This will remove:\n{}", list(&lines));
        if !self.filter.is_empty() {
            warning += "\n  Items to be pruned will be filtered with:\n";
            warning += &list(&self.filter);
        }
        warning
    }
}
