//! `logs`: what a container has written.

use std::collections::VecDeque;
use std::io::Write;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use mini_docker::container::Container;
use mini_docker::format::moment;
use mini_docker::logs::{self, Driver, Entry, Reader, Stream};
use mini_docker::{Engine, Error, Result};

/// How often a followed log is looked at again.
const INTERVAL: Duration = Duration::from_millis(50);

/// What `logs` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// Go on until the container ends
    #[arg(short, long)]
    follow: bool,
    /// Lines to show from the end
    #[arg(short = 'n', long, default_value = "all", value_parser = tail, allow_negative_numbers = true, value_name = "NUMBER|all")]
    tail: Tail,
    /// Show when each line was written
    #[arg(short, long)]
    timestamps: bool,
    /// Show the labels and variables that the log is to tell
    #[arg(long)]
    details: bool,
    /// Only lines from this time on (2026-01-02T13:23:37Z), or as old as this at most (42m)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only lines before this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// ID or name
    container: String,
}

/// How many lines.
#[derive(Clone, Copy)]
enum Tail {
    All,
    Last(usize),
}

fn tail(text: &str) -> Result<Tail> {
    // Docker takes a number below zero for all as well.
    match (text, text.parse::<i64>()) {
        ("all", _) => Ok(Tail::All),
        (_, Ok(number)) => Ok(usize::try_from(number).map_or(Tail::All, Tail::Last)),
        _ => Err(Error::new(format!("invalid number of lines: '{text}'"))),
    }
}

impl Options {
    /// Prints the container's output, its standard error to ours.
    pub(crate) fn run(self, engine: &Engine) -> Result<u8> {
        let container = engine.containers().find(&self.container)?;
        let now = Timestamp::now();
        let moment = |text: &Option<String>| text.as_deref().map(|text| moment::parse(text, now)).transpose();
        let (since, until) = (moment(&self.since)?, moment(&self.until)?);
        if logs::Settings::of(&container)?.driver == Driver::None {
            return Err(Error::new("configured logging driver does not support reading"));
        }
        let Some(mut reader) = Reader::open(&engine.containers().log(&container.id))? else {
            // It has never run.
            return Ok(0);
        };
        let mut last = VecDeque::new();
        while let Some(entry) = reader.next_entry()? {
            if !within(&entry, since, until)? {
                continue;
            }
            last.push_back(entry);
            match self.tail {
                Tail::Last(count) if last.len() > count => drop(last.pop_front()),
                Tail::Last(_) => {}
                Tail::All => last.drain(..).try_for_each(|entry| self.print(&entry))?,
            }
        }
        last.iter().try_for_each(|entry| self.print(entry))?;
        if self.follow {
            self.follow(engine, &container, &mut reader, until)?;
        }
        Ok(0)
    }

    fn follow(
        &self,
        engine: &Engine,
        container: &Container,
        reader: &mut Reader,
        until: Option<Timestamp>,
    ) -> Result<()> {
        loop {
            // Looked at before the log: what was written before the end is then still read.
            let running = engine.containers().read(&container.id)?.is_some()
                && engine.state(container)?.status.is_alive();
            while let Some(entry) = reader.next_entry()? {
                if !within(&entry, None, until)? {
                    return Ok(());
                }
                self.print(&entry)?;
            }
            if !running || until.is_some_and(|until| Timestamp::now() > until) {
                return Ok(());
            }
            std::thread::sleep(INTERVAL);
        }
    }

    fn print(&self, entry: &Entry) -> Result<()> {
        let stamp = if self.timestamps { format!("{} ", entry.time) } else { String::new() };
        let details = if self.details { format!("{} ", details(entry)) } else { String::new() };
        let text = format!("{stamp}{details}{}", entry.log);
        match entry.stream {
            Stream::Stdout => std::io::stdout().write_all(text.as_bytes()),
            Stream::Stderr => std::io::stderr().write_all(text.as_bytes()),
        }
        .map_err(|error| Error::new(format!("cannot print the log: {error}")))
    }
}

/// `NAME=VALUE,NAME=VALUE`, with what would be taken for something else there written as in an address.
fn details(entry: &Entry) -> String {
    let escape = |text: &str| -> String {
        text.bytes()
            .map(|byte| match byte {
                b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'_' | b'.' | b'~' => {
                    char::from(byte).to_string()
                }
                b' ' => "+".to_owned(),
                other => format!("%{other:02X}"),
            })
            .collect()
    };
    let pairs = entry.attrs.iter().map(|(name, value)| format!("{}={}", escape(name), escape(value)));
    pairs.collect::<Vec<_>>().join(",")
}

fn within(entry: &Entry, since: Option<Timestamp>, until: Option<Timestamp>) -> Result<bool> {
    if since.is_none() && until.is_none() {
        return Ok(true);
    }
    let time: Timestamp =
        entry.time.parse().map_err(|error| Error::new(format!("cannot read the log: bad time: {error}")))?;
    Ok(since.is_none_or(|since| time >= since) && until.is_none_or(|until| time < until))
}
