//! A container's output on the disk: Docker's `json-file` lines.
//!
//! ```text
//! {"log":"hello\n","stream":"stdout","time":"2026-01-02T03:04:05.678901234Z"}
//! ```
//!
//! With `max-size` the file is put aside when it is full: `ID-json.log.1` is the newest of those put aside, and
//! `max-file` says how many files there are in all.

mod reader;
mod settings;
mod writer;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use reader::Reader;
pub use settings::{Driver, Rotation, Settings};
pub use writer::Writer;

/// Which of the two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output, or the terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One line of output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The text with its line end. What was not UTF-8 is replaced.
    pub log: String,
    /// Where it was written to.
    pub stream: Stream,
    /// Labels and variables of the container that its log is to tell.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attrs: BTreeMap<String, String>,
    /// When, RFC 3339 in UTC.
    pub time: String,
}

/// This moment as Docker writes it of volumes: RFC 3339 in UTC, without fractions.
pub fn now_in_seconds() -> String {
    format!("{:.0}", Timestamp::now())
}

/// This moment as Docker writes it: RFC 3339 in UTC, with nanoseconds.
pub fn now() -> String {
    format!("{:.9}", Timestamp::now())
}
