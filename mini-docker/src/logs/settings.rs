//! How a container's output is kept: `--log-driver` and `--log-opt`, with Docker's names and checks.

use std::collections::BTreeMap;

use crate::container::Container;
use crate::error::{Error, Result};
use crate::format::units;
use crate::host_config::LogConfig;

/// Whether output is kept at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// In a file, a JSON object a line.
    JsonFile,
    /// It is only shown to who is attached.
    None,
}

/// When a log is put aside, and how much of it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// Bytes after which a file is full. The entry that fills it is still written whole.
    pub max_size: Option<u64>,
    /// How many files there are at most, at least 1.
    pub max_file: u32,
}

/// How a container's output is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Whether it is.
    pub driver: Driver,
    /// How much of it.
    pub rotation: Rotation,
    /// What is written beside each line.
    pub attrs: BTreeMap<String, String>,
}

impl Settings {
    /// What `container` was created with.
    pub fn of(container: &Container) -> Result<Self> {
        let LogConfig { driver, config } = &container.host_config.log_config;
        let driver = match driver.as_str() {
            "json-file" => Driver::JsonFile,
            "none" if config.is_empty() => Driver::None,
            "none" => return Err(Error::new("invalid logging opts for driver none")),
            other => {
                return Err(Error::new(format!(
                    "logger: no log driver named '{other}' is registered (there are json-file and none)"
                )));
            }
        };
        let mut settings =
            Self { driver, rotation: Rotation { max_size: None, max_file: 1 }, attrs: BTreeMap::new() };
        for (option, value) in config {
            match option.as_str() {
                "max-size" => settings.rotation.max_size = Some(max_size(value)?),
                "max-file" => settings.rotation.max_file = max_file(value)?,
                "labels" => {
                    let labels = &container.config.labels;
                    settings.tell(value, |name| labels.get(name).cloned());
                }
                "env" => {
                    let variables = &container.config.env;
                    settings.tell(value, |name| {
                        let mut pairs = variables.iter().filter_map(|variable| variable.split_once('='));
                        pairs.find(|(known, _)| *known == name).map(|(_, value)| value.to_owned())
                    });
                }
                _ => {
                    return Err(Error::new(format!(
                        "unknown log opt '{option}' for json-file log driver (there are max-size, max-file, labels and env)"
                    )));
                }
            }
        }
        Ok(settings)
    }

    /// Adds those of the `names`, with commas between them, that have a value.
    fn tell(&mut self, names: &str, value: impl Fn(&str) -> Option<String>) {
        self.attrs.extend(names.split(',').filter_map(|name| Some((name.to_owned(), value(name)?))));
    }
}

/// Units are powers of 1000 here, unlike those of memory: moby takes this one with `FromHumanSize`.
fn max_size(text: &str) -> Result<u64> {
    match units::parse_decimal(text) {
        Ok(0) => Err(Error::new("max-size must be a positive number")),
        Ok(size) => Ok(size),
        Err(_) => Err(Error::new(format!("invalid log opt max-size: '{text}' is no size, such as 10m"))),
    }
}

fn max_file(text: &str) -> Result<u32> {
    match text.parse::<i64>().map(u32::try_from) {
        Ok(Ok(count @ 1..)) => Ok(count),
        Ok(Ok(0) | Err(_)) => Err(Error::new("max-file cannot be less than 1")),
        Err(_) => Err(Error::new(format!("invalid log opt max-file: '{text}' is no number"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::Config;
    use crate::host_config::HostConfig;

    fn settings(driver: &str, options: &[(&str, &str)]) -> Result<Settings> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let container = Container {
            config: Config {
                labels: [("tier".to_owned(), "web".to_owned())].into(),
                env: vec!["COLOUR=blue".to_owned(), "EMPTY=".to_owned()],
                ..Config::default()
            },
            host_config: HostConfig {
                log_config: LogConfig {
                    driver: driver.to_owned(),
                    config: options.iter().map(own).collect(),
                },
                ..HostConfig::default()
            },
            ..Container::default()
        };
        Settings::of(&container)
    }

    #[test]
    fn what_people_write() {
        let options: [(&str, &[(&str, &str)]); 13] = [
            ("json-file", &[]),
            ("none", &[]),
            ("none", &[("max-size", "1")]),
            ("syslog", &[]),
            ("json-file", &[("max-size", "10k"), ("max-file", "3")]),
            ("json-file", &[("max-size", "1.5mb")]),
            ("json-file", &[("max-size", "-1")]),
            ("json-file", &[("max-size", "0")]),
            ("json-file", &[("max-file", "0")]),
            ("json-file", &[("max-file", "-2")]),
            ("json-file", &[("max-file", "many")]),
            ("json-file", &[("colour", "red")]),
            ("json-file", &[("labels", "tier,none"), ("env", "COLOUR,EMPTY,HOME")]),
        ];
        let table: String = options
            .into_iter()
            .map(|(driver, options)| match settings(driver, options) {
                Ok(settings) => format!("{driver} {options:?}\n    {settings:?}\n"),
                Err(error) => format!("{driver} {options:?}\n    {error}\n"),
            })
            .collect();
        insta::assert_snapshot!(table);
    }
}
