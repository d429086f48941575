//! A lab, read from its folder.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::check::Failure;
use crate::host::Need;

/// What stands for every check among the causes.
const ANY: &str = "any";

/// What is seen in any lab, and its likely cause.
const GENERAL: &[(&str, &str)] = &[
    ("panicked at", "your program has panicked, in the line that is named"),
    ("no end within", "one of your functions does not come back: it loops, or waits for what does not come"),
];

/// The file in a lab's folder that says what there is to do.
const TEXT: &str = "lab.md";

/// A lab: a step's core, to be written by the learner.
#[derive(Debug)]
pub struct Lab {
    /// Its folder's name, such as `01-chroot`.
    pub name: String,
    /// Its folder, with `starter/` and `solution/`.
    pub folder: PathBuf,
    /// What `lab.toml` says.
    pub card: Card,
    /// The hints by topic, in the order in which they are given.
    hints: Vec<(String, Vec<String>)>,
}

/// `lab.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// What the lab is called.
    pub title: String,
    /// The files in which something is to be written.
    pub files: Vec<String>,
    /// What the machine must offer.
    pub needs: Vec<Need>,
    /// The checks, in order.
    #[serde(rename = "check")]
    pub checks: Vec<About>,
    /// Likely causes of failures; the first that fits is told.
    #[serde(rename = "cause")]
    causes: Vec<Cause>,
}

/// What is said of a check.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// Its identifier, in the grader and in `hints.md`.
    pub id: String,
    /// What holds if it passes.
    pub name: String,
    /// The section of the chapter to read.
    pub section: String,
}

/// A likely cause of a failure.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cause {
    /// The check that failed, or [`ANY`].
    check: String,
    /// Words that are all in what was seen.
    #[serde(default)]
    sees: Vec<String>,
    /// The cause.
    says: String,
}

/// The folder of all labs.
pub fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The repository that they belong to.
pub fn repository() -> &'static Path {
    folder().parent().expect("the labs are a folder of the repository")
}

/// All labs, in order.
pub fn all() -> Result<Vec<Lab>> {
    let mut labs = Vec::new();
    for entry in fs::read_dir(folder()).context("cannot list the labs")? {
        let folder = entry?.path();
        if folder.join("lab.toml").exists() {
            labs.push(Lab::read(&folder)?);
        }
    }
    labs.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(labs)
}

impl Lab {
    /// Reads the lab in `folder`.
    pub fn read(folder: &Path) -> Result<Self> {
        let text = |file: &str| {
            let path = folder.join(file);
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let name = folder.file_name().context("a lab has a name")?.to_string_lossy().into_owned();
        let card = toml::from_str(&text("lab.toml")?).with_context(|| format!("{name}/lab.toml"))?;
        let hints = read_hints(&text("hints.md")?);
        Ok(Self { name, folder: folder.to_owned(), card, hints })
    }

    /// What there is to do.
    pub fn text(&self) -> Result<String> {
        let path = self.folder.join(TEXT);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    /// Its number, which is also its chapter's.
    pub fn number(&self) -> u32 {
        self.name.split('-').next().and_then(|number| number.parse().ok()).unwrap_or_default()
    }

    /// Whether `wanted`, such as `1`, `01` or `chroot`, means this one.
    pub fn is(&self, wanted: &str) -> bool {
        let title = self.name.split_once('-').map_or("", |(_, title)| title);
        self.name == wanted || title == wanted || wanted.parse() == Ok(self.number())
    }

    /// What is said of the check `id`.
    pub fn about(&self, id: &str) -> Result<&About> {
        match self.card.checks.iter().find(|check| check.id == id) {
            Some(about) => Ok(about),
            None => bail!("{}/lab.toml says nothing of the check {id}", self.name),
        }
    }

    /// What the hints for a failure of the check `id` are headed: the check, and perhaps words that are in what was seen.
    pub fn topic(&self, id: &str, failure: &Failure) -> Option<&str> {
        let fits = |topic: &&str| {
            let mut words = topic.split(' ');
            words.next() == Some(id) && words.all(|word| failure.seen.contains(word))
        };
        self.hints.iter().map(|(topic, _)| topic.as_str()).find(fits)
    }

    /// The hints on a topic, in order.
    pub fn hints(&self, topic: &str) -> &[String] {
        self.hints.iter().find(|(other, _)| other == topic).map_or(&[], |(_, hints)| hints)
    }

    /// The likely cause of a failure of the check `id`: what is known of what was seen, in this lab or in all, before what is
    /// known of the check.
    pub fn cause(&self, id: &str, failure: &Failure) -> Option<&str> {
        let fits = |cause: &&Cause| {
            (cause.check == id || cause.check == ANY)
                && cause.sees.iter().all(|word| failure.seen.contains(word.as_str()))
        };
        let told = |is_known: fn(&Cause) -> bool| {
            let mut causes = self.card.causes.iter().filter(fits);
            causes.find(|cause| is_known(cause)).map(|cause| cause.says.as_str())
        };
        let general = || GENERAL.iter().find(|(word, _)| failure.seen.contains(word)).map(|(_, says)| *says);
        told(|cause| !cause.sees.is_empty()).or_else(general).or_else(|| told(|cause| cause.sees.is_empty()))
    }
}

/// `## CHECK` or `## CHECK WORD`, and below it a list with an item for each hint.
fn read_hints(text: &str) -> Vec<(String, Vec<String>)> {
    let mut hints: Vec<(String, Vec<String>)> = Vec::new();
    for line in text.lines() {
        if let Some(check) = line.strip_prefix("## ") {
            hints.push((check.to_owned(), Vec::new()));
            continue;
        }
        let Some((_, given)) = hints.last_mut() else { continue };
        if let Some(hint) = line.strip_prefix("- ") {
            given.push(hint.to_owned());
        } else if let Some(hint) = given.last_mut()
            && let Some(more) = line.strip_prefix("  ")
        {
            // Code keeps its lines; prose is one paragraph.
            hint.push(if more.starts_with("  ") || hint.ends_with(';') { '\n' } else { ' ' });
            hint.push_str(more);
        }
    }
    hints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_are_items_below_a_check() {
        let hints =
            read_hints("# Hints\n\n## runs\n\n- One\n  and a half.\n- Two:\n      code();\n\n## ends\n");
        let expected = vec!["One and a half.".to_owned(), "Two:\n    code();".to_owned()];
        assert_eq!(hints, [("runs".to_owned(), expected), ("ends".to_owned(), Vec::new())]);
    }
}
