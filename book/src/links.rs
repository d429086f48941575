//! Links that lead nowhere, in the built book.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};

/// The dead links of the book in `folder`, each with the page it is on: to files that are not there, and to places in
/// pages that have none of that name. Links to other hosts are not followed.
pub fn dead(folder: &Path) -> Result<Vec<String>> {
    let pages = pages(folder)?;
    let names: BTreeMap<&PathBuf, BTreeSet<&str>> =
        pages.iter().map(|(path, text)| (path, attributes(text, &["id", "name"]).collect())).collect();
    let mut dead = Vec::new();
    for (page, text) in &pages {
        for link in attributes(text, &["href", "src"]) {
            if link.contains("://") || link.starts_with("data:") || link.starts_with("mailto:") {
                continue;
            }
            let (file, place) = link.split_once('#').unwrap_or((link, ""));
            let file = file.split('?').next().unwrap_or(file);
            let target = if file.is_empty() { page.clone() } else { resolve(page, file) };
            let is_there = folder.join(&target).is_file();
            let has_place = place.is_empty() || names.get(&target).is_some_and(|names| names.contains(place));
            if !is_there || !has_place {
                dead.push(format!("{}: {link}", page.display()));
            }
        }
    }
    Ok(dead)
}

/// The pages below `folder`, with their text.
fn pages(folder: &Path) -> Result<BTreeMap<PathBuf, String>> {
    let mut pages = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(inner) = folders.pop() {
        let failed = || format!("cannot read {}", inner.display());
        for entry in fs::read_dir(&inner).with_context(failed)? {
            let path = entry.with_context(failed)?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "html") {
                let text =
                    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
                pages.insert(path.strip_prefix(folder).expect("it was found there").to_owned(), text);
            }
        }
    }
    Ok(pages)
}

/// The values of attributes with one of these names.
fn attributes<'a>(text: &'a str, names: &'a [&str]) -> impl Iterator<Item = &'a str> {
    names.iter().flat_map(move |name| {
        text.split(&format!(" {name}=\""))
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .collect::<Vec<_>>()
    })
}

/// The file that `link` on `page` leads to.
fn resolve(page: &Path, link: &str) -> PathBuf {
    let mut target = page.parent().map(Path::to_owned).unwrap_or_default();
    for part in Path::new(link).components() {
        match part {
            Component::ParentDir => drop(target.pop()),
            Component::CurDir => {}
            part => target.push(part),
        }
    }
    target
}
