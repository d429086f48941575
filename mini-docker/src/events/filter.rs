//! Which events are asked for: moby's rules (`daemon/events/filter.go`).

use std::collections::BTreeMap;

use super::Event;

/// The keys of filters.
pub const KEYS: &[&str] =
    &["type", "event", "container", "image", "label", "network", "volume", "scope", "daemon"];

/// Which events are asked for. One has to match each key, and of several values of a key one; of labels, all.
#[derive(Debug, Clone, Default)]
pub struct Filter(BTreeMap<String, Vec<String>>);

impl Filter {
    /// Those that match all of these keys and values.
    pub fn new(pairs: &[(&str, &str)]) -> Self {
        let mut filter: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (key, value) in pairs {
            filter.entry((*key).to_owned()).or_default().push((*value).to_owned());
        }
        Self(filter)
    }

    /// Whether `event` is asked for.
    pub fn passes(&self, event: &Event) -> bool {
        self.0.iter().all(|(key, values)| {
            let mut results = values.iter().map(|value| matches(event, key, value));
            if key == "label" { results.all(|result| result) } else { results.any(|result| result) }
        })
    }
}

fn matches(event: &Event, key: &str, value: &str) -> bool {
    let attributes = &event.actor.attributes;
    let attribute = |key: &str| attributes.get(key).map(String::as_str).unwrap_or_default();
    match key {
        "type" => event.kind == value,
        // `health_status: healthy` is also a `health_status`.
        "event" => event.action == value || event.action.split(':').next() == Some(value),
        "image" => {
            let name = attribute(if event.kind == "image" { "name" } else { "image" });
            let untagged = |name: &str| {
                let tag = name.rfind(':').filter(|&colon| !name[colon..].contains('/'));
                name[..tag.unwrap_or(name.len())].to_owned()
            };
            let id = &event.actor.id;
            [id.clone(), name.to_owned(), untagged(id), untagged(name)].iter().any(|known| known == value)
        }
        "label" => match value.split_once('=') {
            Some((key, value)) => attributes.get(key).is_some_and(|known| known == value),
            None => attributes.contains_key(value),
        },
        "scope" => value == "local",
        // The others are kinds of objects: the beginning of an ID or a name will do.
        kind => {
            event.kind == kind && (event.actor.id.starts_with(value) || attribute("name").starts_with(value))
        }
    }
}
