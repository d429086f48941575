//! `images`: images that are here.

use std::cmp::Reverse;

use clap::Args;
use image_pull::{Image, Reference, store};
use jiff::Timestamp;
use mini_docker::format::{moment, units};
use mini_docker::{Engine, Error, Result};
use serde_json::{Value, json};

use super::output::{self, Columns};
use super::ps::age;

/// What `images` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// Show all images; there are no hidden ones here, so this changes nothing
    #[arg(short, long)]
    all: bool,
    /// Print only IDs
    #[arg(short, long)]
    quiet: bool,
    /// Show the digests that images were pulled by
    #[arg(long)]
    digests: bool,
    /// Do not shorten anything
    #[arg(long)]
    no_trunc: bool,
    /// Show only some: dangling, label, before, since, reference
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Print a table, "json", or a Go template
    #[arg(long)]
    format: Option<String>,
    /// Show only images of this repository, or with this name; * stands for any text
    #[arg(value_name = "REPOSITORY[:TAG]")]
    repository: Option<String>,
}

const COLUMNS: Columns = &[
    ("REPOSITORY", "Repository"),
    ("TAG", "Tag"),
    ("IMAGE ID", "ID"),
    ("CREATED", "CreatedSince"),
    ("SIZE", "Size"),
];
const COLUMNS_WITH_DIGESTS: Columns = &[
    ("REPOSITORY", "Repository"),
    ("TAG", "Tag"),
    ("DIGEST", "Digest"),
    ("IMAGE ID", "ID"),
    ("CREATED", "CreatedSince"),
    ("SIZE", "Size"),
];
const HEADINGS: Columns = &[
    ("REPOSITORY", "Repository"),
    ("TAG", "Tag"),
    ("DIGEST", "Digest"),
    ("IMAGE ID", "ID"),
    ("CREATED", "CreatedSince"),
    ("CREATED AT", "CreatedAt"),
    ("SIZE", "Size"),
];
const FILTERS: &[&str] = &["dangling", "label", "before", "since", "reference"];
const NONE: &str = "<none>";

impl Options {
    /// Prints a line for each name of each image, the newest image first.
    pub(crate) fn run(&self, engine: &Engine) -> Result<u8> {
        let filters =
            self.filter.iter().map(|text| output::filter(text, FILTERS)).collect::<Result<Vec<_>>>()?;
        let mut images = engine.images().images()?;
        images.sort_by_key(|image| Reverse(created(image)));
        let mut rows = Vec::new();
        for image in &images {
            let mut names: Vec<Option<&Reference>> = image.names.iter().map(Some).collect();
            if names.is_empty() {
                names.push(None);
            }
            for name in names {
                if self.is_wanted(name) && passes(engine, image, name, &filters)? {
                    rows.push(self.row(image, name)?);
                }
            }
        }
        if self.quiet {
            let mut ids: Vec<&str> = rows.iter().filter_map(|row| row["ID"].as_str()).collect();
            ids.dedup();
            ids.iter().for_each(|id| println!("{id}"));
            return Ok(0);
        }
        let columns = if self.digests { COLUMNS_WITH_DIGESTS } else { COLUMNS };
        output::list(self.format.as_deref(), columns, HEADINGS, &rows)?;
        Ok(0)
    }

    fn row(&self, image: &Image, name: Option<&Reference>) -> Result<Value> {
        let id = if self.no_trunc { image.id.to_string() } else { store::short(&image.id) };
        let repository = name.map(Reference::familiar_repository);
        let source = image
            .sources
            .iter()
            .find(|source| name.is_none_or(|name| source.repository() == name.repository()));
        let digest = source.and_then(Reference::digest).map(|digest| digest.to_string());
        let repository = repository.or_else(|| source.map(Reference::familiar_repository));
        let created = image.config.created.as_deref();
        Ok(json!({
            "Repository": repository.unwrap_or_else(|| NONE.to_owned()),
            "Tag": name.and_then(Reference::tag).unwrap_or(NONE),
            "Digest": digest.unwrap_or_else(|| NONE.to_owned()),
            "ID": id,
            "CreatedSince": created.map_or_else(|| Ok("N/A".to_owned()), |time| Ok::<_, Error>(format!("{} ago", age(time)?)))?,
            "CreatedAt": created.map_or_else(|| Ok("N/A".to_owned()), moment::local)?,
            "Size": units::decimal(image.size),
            "VirtualSize": units::decimal(image.size),
            "Containers": "N/A",
            "SharedSize": "N/A",
            "UniqueSize": "N/A",
        }))
    }

    /// Whether the name is the one that was asked for, if one was.
    fn is_wanted(&self, name: Option<&Reference>) -> bool {
        self.repository.as_ref().is_none_or(|wanted| name.is_some_and(|name| is_like(name, wanted)))
    }
}

fn created(image: &Image) -> Option<Timestamp> {
    image.config.created.as_ref()?.parse().ok()
}

fn passes(
    engine: &Engine,
    image: &Image,
    name: Option<&Reference>,
    filters: &[(&str, &str)],
) -> Result<bool> {
    for (key, value) in filters {
        let passes = match *key {
            "dangling" => match *value {
                "true" | "1" => name.is_none(),
                "false" | "0" => name.is_some(),
                other => return Err(Error::new(format!("invalid filter 'dangling={other}'"))),
            },
            "label" => match value.split_once('=') {
                Some((label, wanted)) => {
                    image.config.config.labels.get(label).is_some_and(|value| value == wanted)
                }
                None => image.config.config.labels.contains_key(*value),
            },
            "before" => created(image) < created(&engine.images().resolve(value)?),
            "since" => created(image) > created(&engine.images().resolve(value)?),
            _ => name.is_some_and(|name| is_like(name, value)),
        };
        if !passes {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether `name` fits `pattern`: a repository, or a repository and a tag, in which `*` stands for any text but `/`.
fn is_like(name: &Reference, pattern: &str) -> bool {
    let repository = name.familiar_repository();
    fits(&repository, pattern) || fits(&format!("{repository}:{}", name.tag().unwrap_or(NONE)), pattern)
}

fn fits(text: &str, pattern: &str) -> bool {
    match pattern.split_once('*') {
        None => text == pattern,
        Some((before, after)) => text.strip_prefix(before).is_some_and(|rest| {
            let limit = rest.find('/').unwrap_or(rest.len());
            (0..=limit).filter(|&end| rest.is_char_boundary(end)).any(|end| fits(&rest[end..], after))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn patterns() {
        assert!(
            fits("debian", "debian") && fits("debian:12", "deb*:1*") && fits("a/b", "a/*") && fits("", "*")
        );
        assert!(
            !fits("debian", "deb")
                && !fits("a/b", "*")
                && !fits("debian", "*x")
                && !fits("debian:12", "debian")
        );
    }
}
