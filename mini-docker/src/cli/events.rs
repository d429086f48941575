//! `events`: what has happened, and what happens.

use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use mini_docker::events::{Event, Filter, KEYS};
use mini_docker::format::moment;
use mini_docker::format::template::Template;
use mini_docker::{Engine, Result};

use super::output;

/// What `events` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// Show only some: type, event, container, image, label, network, volume, scope
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Begin with this time (2026-01-02T13:23:37Z), or as long ago as this (42m)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// End with this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Print "json", or a Go template
    #[arg(long)]
    format: Option<String>,
}

impl Options {
    /// Prints events as they come, until it is stopped or the time is over.
    pub(crate) fn run(self, engine: &Engine) -> Result<u8> {
        let now = Timestamp::now();
        let moment = |text: &Option<String>| text.as_deref().map(|text| moment::parse(text, now)).transpose();
        let (since, until) = (moment(&self.since)?, moment(&self.until)?);
        // Who names an end only means all before it.
        let since = since.unwrap_or(if until.is_some() { Timestamp::MIN } else { now });
        let pairs = self.filter.iter().map(|text| output::filter(text, KEYS)).collect::<Result<Vec<_>>>()?;
        let filter = Filter::new(&pairs);
        let format = Format::parse(self.format.as_deref())?;
        let mut follower = engine.journal().follow()?;
        loop {
            // Looked at before the journal: what is written until then is still read.
            let left = until.map(|until| until.duration_since(Timestamp::now()));
            while let Some(event) = follower.next_event()? {
                let time = event.time();
                if time >= since && until.is_none_or(|until| time <= until) && filter.passes(&event) {
                    println!("{}", format.render(&event)?);
                }
            }
            match left.map(Duration::try_from) {
                None => follower.wait(None)?,
                Some(Ok(left)) if !left.is_zero() => follower.wait(Some(left))?,
                Some(_) => return Ok(0),
            }
        }
    }
}

/// How an event is printed.
enum Format {
    Line(TimeZone),
    Json,
    Template(Template),
}

impl Format {
    fn parse(text: Option<&str>) -> Result<Self> {
        Ok(match text {
            None | Some("") => Self::Line(TimeZone::system()),
            Some("json" | "{{json .}}") => Self::Json,
            Some(text) => Self::Template(Template::parse(text)?),
        })
    }

    fn render(&self, event: &Event) -> Result<String> {
        match self {
            Self::Line(zone) => Ok(event.line(zone)),
            Self::Json => Ok(event.json().to_string()),
            Self::Template(template) => template.render(&event.fields()),
        }
    }
}
