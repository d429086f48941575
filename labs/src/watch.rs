//! Checking again as often as a file changes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Result;

/// Between two looks at the files.
const PAUSE: Duration = Duration::from_millis(500);

/// Calls `act` now, and whenever a file of the crate in `folder` has changed. Ends when `act` says that it is done.
pub fn every_change(folder: &Path, mut act: impl FnMut() -> Result<bool>) -> Result<()> {
    loop {
        let seen = times(folder);
        if act()? {
            return Ok(());
        }
        while times(folder) == seen {
            std::thread::sleep(PAUSE);
        }
    }
}

/// When the files were changed. One that an editor is just replacing is missing for a moment, which is a change too.
fn times(folder: &Path) -> BTreeMap<PathBuf, Option<SystemTime>> {
    let sources = fs::read_dir(folder.join("src")).into_iter().flatten().flatten().map(|entry| entry.path());
    let files = sources.chain([folder.join("Cargo.toml")]);
    files
        .map(|path| {
            let time = fs::metadata(&path).and_then(|file| file.modified()).ok();
            (path, time)
        })
        .collect()
}
