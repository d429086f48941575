//! What is written besides: engines read the reason of a failure out of the log.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use clap::ValueEnum;
use runtime::Error;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use super::Global;

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// `time=… level=… msg=…`
    Text,
    /// A JSON object a line.
    Json,
}

/// Writes events: with `--debug` all of them, else warnings.
struct Log {
    file: Option<PathBuf>,
    format: Format,
    debug: bool,
}

/// Begins to write events.
pub(crate) fn begin(global: &Global) {
    let log = Log { file: global.log.clone(), format: global.log_format, debug: global.debug };
    tracing::subscriber::set_global_default(log).expect("this is the first");
}

/// Writes an error into the log, if there is one.
pub(crate) fn error(global: &Global, error: &Error) {
    if global.log.is_some() {
        let log = Log { file: global.log.clone(), format: global.log_format, debug: global.debug };
        log.write("error", &error.to_string());
    }
}

impl Log {
    fn write(&self, level: &str, text: &str) {
        let time = jiff::Timestamp::now();
        let line = match self.format {
            Format::Json => {
                serde_json::json!({"level": level, "msg": text, "time": time.to_string()}).to_string()
            }
            Format::Text => format!("time=\"{time}\" level={level} msg={text:?}"),
        };
        let written = match &self.file {
            Some(path) => OpenOptions::new()
                .append(true)
                .create(true)
                .open(path)
                .and_then(|mut file| file.write_all(format!("{line}\n").as_bytes())),
            None => std::io::stderr().write_all(format!("{line}\n").as_bytes()),
        };
        // There is nowhere else to say it, and no reason to fail for it.
        if written.is_err() {
            eprintln!("{line}");
        }
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && (self.debug || *metadata.level() <= Level::WARN)
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        let level = if *event.metadata().level() <= Level::WARN { "warning" } else { "debug" };
        self.write(level, &text.0);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// An event's text.
#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            write!(self.0, "{value:?}").expect("a string takes everything");
        }
    }
}
