//! `container prune` and `image prune`, and what all prunes share.

use std::collections::BTreeMap;

use clap::Args;
use image_pull::{Image, Removal};
use jiff::Timestamp;
use mini_docker::engine::prune::Pruned;
use mini_docker::format::{moment, units};
use mini_docker::{Engine, Error, Result};

use super::{confirmation, output};

/// What `container prune` takes.
#[derive(Args)]
pub(crate) struct Containers {
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Remove only some: until, label, label!
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
}

impl Containers {
    /// Removes the containers that do not run.
    pub(crate) fn run(&self, engine: &Engine) -> Result<u8> {
        let conditions = Conditions::read(&self.filter, &["until", "label", "label!"])?;
        if !self.force && !confirmation::given("This will remove all stopped containers.")? {
            return Ok(0);
        }
        super::sweep(engine, true);
        let pruned = engine.prune_containers(|container| {
            conditions.fit(Some(&container.created), &container.config.labels)
        })?;
        Ok(conclude(&containers(&pruned), pruned.freed, &pruned.failures))
    }
}

/// What `image prune` takes.
#[derive(Args)]
pub(crate) struct Images {
    /// Remove also those that have a name
    #[arg(short, long)]
    all: bool,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Remove only some: until, label, label!, dangling
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
}

impl Images {
    /// Removes the images that no container was made of.
    pub(crate) fn run(&self, engine: &Engine) -> Result<u8> {
        let conditions = Conditions::read(&self.filter, &["until", "label", "label!", "dangling"])?;
        let all = self.all
            || conditions.filters.iter().any(|filter| ["dangling=false", "dangling=0"].contains(&&**filter));
        let what = if all { UNUSED_IMAGES } else { DANGLING_IMAGES };
        if !self.force && !confirmation::given(&format!("This will remove {what}."))? {
            return Ok(0);
        }
        super::sweep(engine, true);
        let pruned = engine.prune_images(|image| conditions.fit_image(image, all))?;
        Ok(conclude(&images(&pruned), pruned.freed, &pruned.failures))
    }
}

/// Images without a name, in Docker's words.
pub(super) const DANGLING_IMAGES: &str = "all dangling images";
/// Images that no container was made of.
pub(super) const UNUSED_IMAGES: &str = "all images without at least one container associated to them";

/// What a prune is kept to.
pub(super) struct Conditions<'a> {
    pub(super) filters: &'a [String],
    labels: Vec<(&'a str, &'a str)>,
    until: Option<Timestamp>,
}

impl<'a> Conditions<'a> {
    /// Reads filters, of those that are `known`.
    pub(super) fn read(filters: &'a [String], known: &[&str]) -> Result<Self> {
        let labels = filters.iter().map(|text| output::filter(text, known)).collect::<Result<Vec<_>>>()?;
        let mut times = labels.iter().filter(|(key, _)| *key == "until").map(|(_, value)| value);
        let until = times.next().map(|text| moment::parse(text, Timestamp::now())).transpose()?;
        if times.next().is_some() {
            return Err(Error::new("more than one until filter specified"));
        }
        Ok(Self { filters, labels, until })
    }

    /// Whether what was made at `created` and has these labels is to go.
    pub(super) fn fit(&self, created: Option<&str>, labels: &BTreeMap<String, String>) -> bool {
        let created = created.and_then(|text| text.parse::<Timestamp>().ok());
        let is_old = self.until.is_none_or(|until| created.is_some_and(|created| created < until));
        is_old && output::keeps_labels(labels, &self.labels)
    }

    /// The same for an image; with `all`, also for one that has a name.
    pub(super) fn fit_image(&self, image: &Image, all: bool) -> bool {
        let is_dangling = image.names.is_empty() && image.sources.is_empty();
        (all || is_dangling) && self.fit(image.config.created.as_deref(), &image.config.config.labels)
    }
}

/// A list of what is gone, under a heading; empty if that is nothing.
pub(super) fn section(heading: &str, lines: &[String]) -> String {
    if lines.is_empty() { String::new() } else { format!("Deleted {heading}:\n{}\n\n", lines.join("\n")) }
}

pub(super) fn containers(pruned: &Pruned<String>) -> String {
    section("Containers", &pruned.removed)
}

pub(super) fn images(pruned: &Pruned<Removal>) -> String {
    // As Docker has it here, in small letters.
    let line = |removal: &Removal| match removal {
        Removal::Untagged(name) => format!("untagged: {}", name.familiar()),
        Removal::Image(id) => format!("deleted: {id}"),
        Removal::Layer(chain) => format!("deleted: {chain}"),
    };
    section("Images", &pruned.removed.iter().map(line).collect::<Vec<_>>())
}

/// Prints what was done; the exit code.
pub(super) fn conclude(sections: &str, freed: u64, failures: &[Error]) -> u8 {
    println!("{sections}Total reclaimed space: {}", units::decimal_sum(freed));
    failures.iter().for_each(super::report);
    u8::from(!failures.is_empty())
}
