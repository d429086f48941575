//! What has happened: Docker's events, in a journal on the disk, since there is no daemon to remember them.
//!
//! ```text
//! DATA/events/journal     an event a line, JSON; when it is full it becomes journal.1, and what that was is gone
//! ```
//!
//! Every command and every shim that changes something adds to it. An event is told, not promised: it is not fsynced, and
//! a disk that is full keeps nobody from work.

mod filter;
mod journal;

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::container::{Container, MountKind};
use crate::networks::membership::Connections;

pub use filter::{Filter, KEYS};
pub use journal::{Follower, Journal};

/// Something that has happened to an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Event {
    /// What kind of object: `container`, `image`, `network` or `volume`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// What has happened to it: `start`.
    pub action: String,
    /// The object.
    pub actor: Actor,
    /// Nanoseconds since 1970.
    #[serde(rename = "timeNano")]
    pub time_nano: i64,
}

/// An object that something has happened to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Actor {
    /// Its ID, or its name if it has no ID.
    #[serde(rename = "ID")]
    pub id: String,
    /// More about it, and about what has happened.
    pub attributes: BTreeMap<String, String>,
}

impl Event {
    /// An event now.
    pub fn new(kind: &str, action: &str, id: &str, attributes: &[(&str, &str)]) -> Self {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let attributes = attributes.iter().map(own).collect();
        Self {
            kind: kind.to_owned(),
            action: action.to_owned(),
            actor: Actor { id: id.to_owned(), attributes },
            // Until the year 2262.
            time_nano: Timestamp::now().as_nanosecond() as i64,
        }
    }

    /// Something has happened to a container. Its image, its name and its labels are told with it.
    pub fn container(container: &Container, action: &str, attributes: &[(&str, &str)]) -> Self {
        let mut event = Self::new("container", action, &container.id, attributes);
        let known = &mut event.actor.attributes;
        known.insert("image".to_owned(), container.config.image.clone());
        known.insert("name".to_owned(), container.name.clone());
        for (key, value) in &container.config.labels {
            known.entry(key.clone()).or_insert_with(|| value.clone());
        }
        event
    }

    /// Something has happened to an image.
    pub fn image(action: &str, id: &str, name: &str) -> Self {
        Self::new("image", action, id, &[("name", name)])
    }

    /// Something has happened to a volume.
    pub fn volume(action: &str, name: &str, attributes: &[(&str, &str)]) -> Self {
        Self::new("volume", action, name, &[&[("driver", "local")], attributes].concat())
    }

    /// A container is connected to its networks, or not any more.
    pub fn networks(container: &Container, action: &str, connections: &Connections) -> Vec<Self> {
        let each = connections.networks.iter().map(|(name, connection)| {
            let attributes = [("container", container.id.as_str()), ("name", name), ("type", "bridge")];
            Self::new("network", action, &connection.network_id, &attributes)
        });
        each.collect()
    }

    /// A container's volumes are mounted in it.
    pub fn mounts(container: &Container) -> Vec<Self> {
        let volumes = container.mounts.iter().filter(|mount| mount.kind == MountKind::Volume);
        let each = volumes.map(|mount| {
            let attributes = [
                ("container", container.id.as_str()),
                ("destination", &mount.destination.to_string_lossy()),
                ("propagation", &mount.propagation),
                ("read/write", if mount.rw { "true" } else { "false" }),
            ];
            Self::volume("mount", mount.name.as_deref().unwrap_or_default(), &attributes)
        });
        each.collect()
    }

    /// They are not any more.
    pub fn unmounts(container: &Container) -> Vec<Self> {
        let volumes = container.mounts.iter().filter(|mount| mount.kind == MountKind::Volume);
        let attributes = [("container", container.id.as_str())];
        let each = volumes
            .map(|mount| Self::volume("unmount", mount.name.as_deref().unwrap_or_default(), &attributes));
        each.collect()
    }

    /// When it was.
    pub fn time(&self) -> Timestamp {
        // Every number of that size is a time.
        Timestamp::from_nanosecond(i128::from(self.time_nano)).unwrap_or_default()
    }

    /// The line that Docker prints; the time as it is in `zone`.
    pub fn line(&self, zone: &TimeZone) -> String {
        let offset = zone.to_offset(self.time());
        let time = if offset.is_zero() {
            format!("{:.9}", self.time())
        } else {
            format!("{:.9}", self.time().display_with_offset(offset))
        };
        let attributes: Vec<String> =
            self.actor.attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let attributes =
            if attributes.is_empty() { String::new() } else { format!(" ({})", attributes.join(", ")) };
        format!("{time} {} {} {}{attributes}", self.kind, self.action, self.actor.id)
    }

    /// What `--format json` prints: the names of Docker's interface, the older ones among them.
    pub fn json(&self) -> Value {
        self.object(["status", "id", "from", "scope", "time", "timeNano"])
    }

    /// What a template can ask for: the names of Go's fields.
    pub fn fields(&self) -> Value {
        self.object(["Status", "ID", "From", "Scope", "Time", "TimeNano"])
    }

    fn object(&self, [status, id, from, scope, time, nano]: [&str; 6]) -> Value {
        let mut object = Map::new();
        let legacy = ["container", "image"].contains(&self.kind.as_str());
        let told = |text: &str| if legacy { text } else { "" }.to_owned();
        let image = self.actor.attributes.get("image").map(String::as_str).unwrap_or_default();
        for (key, value) in [(status, told(&self.action)), (id, told(&self.actor.id)), (from, told(image))] {
            // Go leaves out what is empty, but a template may ask for it.
            if !value.is_empty() || key.starts_with(char::is_uppercase) {
                object.insert(key.to_owned(), value.into());
            }
        }
        object.insert("Type".to_owned(), self.kind.clone().into());
        object.insert("Action".to_owned(), self.action.clone().into());
        object
            .insert("Actor".to_owned(), json!({ "ID": self.actor.id, "Attributes": self.actor.attributes }));
        object.insert(scope.to_owned(), "local".into());
        object.insert(time.to_owned(), (self.time_nano / 1_000_000_000).into());
        object.insert(nano.to_owned(), self.time_nano.into());
        object.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        let container = Container {
            id: "0123456789abcdef".to_owned(),
            name: "web".to_owned(),
            config: crate::container::Config {
                image: "nginx:1".to_owned(),
                labels: [("tier".to_owned(), "front".to_owned()), ("name".to_owned(), "label".to_owned())]
                    .into(),
                ..Default::default()
            },
            ..Container::default()
        };
        let event = Event::container(&container, "die", &[("exitCode", "3")]);
        Event { time_nano: 1_767_323_045_123_456_789, ..event }
    }

    #[test]
    fn as_docker_prints_them() {
        let network = Event::new("network", "connect", "abc", &[("name", "bridge")]);
        let network = Event { time_nano: 1_767_323_045_000_000_000, ..network };
        let east = TimeZone::fixed(jiff::tz::offset(2));
        let lines = [
            event().line(&TimeZone::UTC),
            event().line(&east),
            network.line(&TimeZone::UTC),
            event().json().to_string(),
            network.json().to_string(),
            network.fields().to_string(),
        ];
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn filters() {
        let image = Event::image("pull", "busybox:latest", "busybox");
        let health = Event { action: "health_status: healthy".to_owned(), ..event() };
        let table: String = [
            &["type=container"][..],
            &["type=image", "type=network"],
            &["event=die"],
            &["event=health_status"],
            &["event=health_status: healthy"],
            &["container=web"],
            &["container=0123"],
            &["container=other"],
            &["image=nginx"],
            &["image=nginx:1"],
            &["image=busybox"],
            &["label=tier"],
            &["label=tier=front", "label=none"],
            &["type=container", "event=pull"],
            &["scope=local", "daemon=me"],
        ]
        .into_iter()
        .map(|texts| {
            let pairs: Vec<_> = texts.iter().map(|text| text.split_once('=').unwrap()).collect();
            let filter = Filter::new(&pairs);
            let passes = [event(), image.clone(), health.clone()].map(|event| filter.passes(&event));
            format!("{texts:?}: die {}, pull {}, health {}\n", passes[0], passes[1], passes[2])
        })
        .collect();
        insta::assert_snapshot!(table);
    }
}
