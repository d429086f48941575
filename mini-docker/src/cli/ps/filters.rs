//! What `ps --filter` says: read before any container is looked at, so that what makes no sense is an error without one, too.

use image_pull::Reference;
use mini_docker::container::{Container, State, Status};
use mini_docker::{Engine, Error, Result};
use networking::Port;
use regex_lite::Regex;

use super::super::output;

/// The filters that there are.
const KEYS: &[&str] = &[
    "id", "name", "status", "health", "exited", "label", "ancestor", "before", "since", "volume", "network",
    "publish", "expose", "is-task",
];
const STATUSES: &[&str] = &["created", "running", "exited", "paused", "restarting", "removing", "dead"];
const HEALTHS: &[&str] = &["none", "starting", "healthy", "unhealthy"];

/// One filter.
enum Filter<'a> {
    Id(&'a str),
    Name(Regex),
    Status(&'a str),
    Health(&'a str),
    Exited(u8),
    Label(&'a str),
    Ancestor(&'a str),
    /// Created before this time, RFC 3339.
    Before(String),
    Since(String),
    Volume(&'a str),
    Network(&'a str),
    Publish(Vec<Port>),
    Expose(Vec<Port>),
    IsTask(bool),
}

/// Filters, each with its key.
pub(super) struct Filters<'a>(Vec<(&'a str, Filter<'a>)>);

impl<'a> Filters<'a> {
    /// Reads `KEY=VALUE` each.
    ///
    /// # Errors
    /// Unknown keys, values that a key cannot have, and containers that there are not.
    pub(super) fn read(engine: &Engine, texts: &'a [String]) -> Result<Self> {
        let read = |text: &'a String| {
            let (key, value) = output::filter(text, KEYS)?;
            Ok((key, Filter::read(engine, key, value)?))
        };
        texts.iter().map(read).collect::<Result<_>>().map(Self)
    }

    /// Whether they speak of containers that do not run.
    pub(super) fn want_all(&self) -> bool {
        self.0.iter().any(|(key, _)| ["status", "exited", "before", "since"].contains(key))
    }

    /// Whether a container passes all; of those with one key, one match is enough.
    pub(super) fn fit(&self, engine: &Engine, container: &Container, state: &State) -> Result<bool> {
        for key in KEYS {
            let filters = self.0.iter().filter(|(known, _)| known == key);
            let fits = filters
                .map(|(_, filter)| filter.fits(engine, container, state))
                .collect::<Result<Vec<bool>>>()?;
            // Labels are the exception: all of them must be there.
            let passes = if *key == "label" {
                fits.iter().all(|fits| *fits)
            } else {
                fits.is_empty() || fits.contains(&true)
            };
            if !passes {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl<'a> Filter<'a> {
    fn read(engine: &Engine, key: &str, value: &'a str) -> Result<Self> {
        let invalid = || Error::new(format!("invalid filter '{key}={value}'"));
        let one_of = |known: &[&str]| if known.contains(&value) { Ok(value) } else { Err(invalid()) };
        Ok(match key {
            "id" => Self::Id(value),
            "name" => Self::Name(Regex::new(value).map_err(|_| invalid())?),
            "status" => Self::Status(one_of(STATUSES)?),
            "health" => Self::Health(one_of(HEALTHS)?),
            "exited" => Self::Exited(value.parse().map_err(|_| invalid())?),
            "label" => Self::Label(value),
            "ancestor" => Self::Ancestor(value),
            "before" => Self::Before(engine.containers().find(value)?.created),
            "since" => Self::Since(engine.containers().find(value)?.created),
            "volume" => Self::Volume(value),
            "publish" => Self::Publish(networking::ports::parse_exposed(value)?),
            "expose" => Self::Expose(networking::ports::parse_exposed(value)?),
            "is-task" => Self::IsTask(match value {
                "true" | "1" => true,
                "false" | "0" => false,
                _ => return Err(invalid()),
            }),
            _ => Self::Network(value),
        })
    }

    fn fits(&self, engine: &Engine, container: &Container, state: &State) -> Result<bool> {
        Ok(match self {
            Self::Id(id) => container.id.starts_with(id),
            // With the slash that `inspect` shows, and without.
            Self::Name(pattern) => {
                pattern.is_match(&container.name) || pattern.is_match(&format!("/{}", container.name))
            }
            Self::Status(status) => state.status.word() == *status,
            Self::Health(health) => {
                state.health.as_ref().map_or("none", |known| known.status.word()) == *health
            }
            Self::Exited(code) => state.status == Status::Exited && state.exit_code == *code,
            Self::Label(label) => output::has_label(&container.config.labels, label),
            Self::Ancestor(image) => is_ancestor(engine, container, image)?,
            Self::Before(time) => container.created < *time,
            Self::Since(time) => container.created > *time,
            Self::Volume(wanted) => container.mounts.iter().any(|mount| {
                mount.name.as_deref() == Some(wanted)
                    || mount.destination.to_str() == Some(wanted)
                    || mount.source.to_str() == Some(wanted)
            }),
            Self::Publish(wanted) => has_port(container.host_config.port_bindings.keys(), wanted),
            Self::Expose(wanted) => has_port(&container.config.exposed_ports, wanted),
            // A container is one in a swarm, which there is none of.
            Self::IsTask(wanted) => !wanted,
            Self::Network(wanted) => {
                let is_meant = |name: &String| {
                    name == wanted
                        || engine.networks().find(wanted).is_ok_and(|network| network.name == *name)
                };
                container.host_config.network_mode == *wanted || container.networks.keys().any(is_meant)
            }
        })
    }
}

/// Whether one of the ports that are `wanted`, such as those of `8000-8010/udp`, is among a container's.
fn has_port<'a>(ports: impl IntoIterator<Item = &'a String>, wanted: &[Port]) -> bool {
    ports.into_iter().any(|port| wanted.iter().any(|wanted| wanted.to_string() == *port))
}

/// Whether a container was created from the image that `text` means, or from one that lies on it.
fn is_ancestor(engine: &Engine, container: &Container, text: &str) -> Result<bool> {
    if text.parse::<Reference>().is_ok_and(|name| name.or_latest().familiar() == container.config.image) {
        return Ok(true);
    }
    match engine.images().resolve(text) {
        Ok(image) => {
            Ok(container.image == image.id.to_string() || container.layers.starts_with(&image.chain))
        }
        Err(image_pull::Error::NoSuchImage { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
