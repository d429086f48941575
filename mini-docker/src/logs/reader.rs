//! Reads a container's output, from the oldest file that is kept to the one that still grows.

use std::path::Path;

use super::Entry;
use crate::error::{Error, Result};
use crate::rotated::Lines;

/// Reads a container's output as it grows.
#[derive(Debug)]
pub struct Reader(Lines);

impl Reader {
    /// Reads the log at `path` from its beginning; `None` if there is none.
    pub fn open(path: &Path) -> Result<Option<Self>> {
        Ok(Lines::open(path)?.map(Self))
    }

    /// The next entry, or `None` where the log ends for now.
    pub fn next_entry(&mut self) -> Result<Option<Entry>> {
        let Some(line) = self.0.next_line()? else { return Ok(None) };
        serde_json::from_slice(&line)
            .map(Some)
            .map_err(|error| Error::new(format!("cannot read the log: {error}")))
    }
}
