//! Which lines of the steps no chapter shows. The book's code is the engine's code, and all of it: a reader who wonders
//! what is left out finds that nothing is.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::chapter::Shown;
use crate::source::Source;

/// The lines of the sources of every step below `root`, tests apart, that are not among `shown`: one entry a gap, such as
/// `steps/01-chroot/src/root.rs, lines 12 to 14`.
pub fn gaps(root: &Path, shown: &Shown) -> Result<Vec<String>> {
    let mut gaps = Vec::new();
    for path in sources(root)? {
        let source = Source::read(root, &path.to_string_lossy())?;
        let parts = shown.get(&source.path).map(Vec::as_slice).unwrap_or_default();
        let is_missing = |&line: &usize| {
            let text = source.lines[line].trim();
            !text.is_empty()
                && !text.starts_with("// ANCHOR")
                && !parts.iter().any(|part| part.contains(&line))
        };
        let missing: Vec<usize> = source.whole().filter(is_missing).collect();
        for gap in missing.chunk_by(|one, next| one + 1 == *next) {
            let (first, last) = (gap[0] + 1, gap[gap.len() - 1] + 1);
            gaps.push(match gap.len() {
                1 => format!("{}, line {first}", path.display()),
                _ => format!("{}, lines {first} to {last}", path.display()),
            });
        }
    }
    Ok(gaps)
}

/// The Rust files of every step's library and program, below the root, sorted.
fn sources(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> =
        entries(&root.join("steps"))?.iter().map(|step| step.join("src")).collect();
    while let Some(folder) = folders.pop() {
        for entry in entries(&folder)? {
            let is_tests = entry.file_stem().is_some_and(|stem| stem == "tests");
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.extension().is_some_and(|extension| extension == "rs") && !is_tests {
                found.push(entry.strip_prefix(root).expect("it was found there").to_owned());
            }
        }
    }
    found.sort();
    Ok(found)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let failed = || format!("cannot read {}", folder.display());
    fs::read_dir(folder).with_context(failed)?.map(|entry| Ok(entry.with_context(failed)?.path())).collect()
}
