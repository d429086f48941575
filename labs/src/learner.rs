//! The learner's folder: their crates, and how far they are.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::bench::{self, Shown};
use crate::lab::{self, Lab};

const PROGRESS: &str = "progress.json";

/// The learner's folder.
#[derive(Debug)]
pub struct Learner {
    folder: PathBuf,
    progress: Progress,
}

/// How far the learner is.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Progress {
    /// The lab that was started or checked last.
    current: Option<String>,
    /// By lab.
    labs: BTreeMap<String, State>,
}

/// How far the learner is with one lab.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct State {
    /// All checks have passed.
    done: bool,
    /// The topic of the hints for the check that failed last.
    failing: Option<String>,
    /// How many further hints were asked for, by topic.
    hints: BTreeMap<String, usize>,
}

impl Learner {
    /// The folder `folder`, which need not exist yet.
    pub fn open(folder: &Path) -> Result<Self> {
        let folder = std::path::absolute(folder).context("cannot find the learner's folder")?;
        if folder.starts_with(lab::folder()) {
            bail!("{} is where the answers are: choose another folder", folder.display());
        }
        let path = folder.join(PROGRESS);
        let progress = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .with_context(|| format!("{} is damaged: mend or remove it", path.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Progress::default(),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        Ok(Self { folder, progress })
    }

    /// The lab that was started or checked last.
    pub fn current(&self) -> Option<&str> {
        self.progress.current.as_deref()
    }

    /// Where the learner's crate for `lab` is.
    pub fn crate_of(&self, lab: &Lab) -> PathBuf {
        self.folder.join(&lab.name)
    }

    /// Where crates are built.
    pub fn target(&self) -> PathBuf {
        self.folder.join("target")
    }

    /// A root to try programs with by hand.
    pub fn root(&self) -> PathBuf {
        self.folder.join("root")
    }

    /// What commands are shown with: paths as short as they can be from here.
    pub fn shown(&self, program: &Path) -> Shown {
        let here = std::env::current_dir().unwrap_or_default();
        let short = |path: &Path| path.strip_prefix(&here).unwrap_or(path).display().to_string();
        Shown { program: short(program), root: short(&self.root()) }
    }

    /// Whether `lab` was started.
    pub fn has_started(&self, lab: &Lab) -> bool {
        self.crate_of(lab).exists()
    }

    /// Whether all checks of `lab` have passed once.
    pub fn is_done(&self, lab: &Lab) -> bool {
        self.progress.labs.get(&lab.name).is_some_and(|state| state.done)
    }

    /// Copies the starter of `lab`, and makes a root with `attacker` in it, and layers, if there is none yet.
    pub fn start(&mut self, lab: &Lab, attacker: &Path) -> Result<()> {
        let folder = self.crate_of(lab);
        if folder.exists() {
            bail!("{} is there already; cargo lab reset {} begins anew", folder.display(), lab.number());
        }
        copy(&lab.folder.join("starter"), &folder)?;
        hand_over(&folder)?;
        if !self.root().exists() {
            bench::make_root(&self.root())?;
            bench::make_layers(&self.folder)?;
            bench::install(attacker, &self.root())?;
        }
        self.remember(lab, |_| {})
    }

    /// Puts the starter of `lab` in place of the learner's crate, which is kept under another name that is returned.
    pub fn reset(&mut self, lab: &Lab, attacker: &Path) -> Result<PathBuf> {
        let folder = self.crate_of(lab);
        let mut number = 1;
        let mut kept = self.folder.join(format!("{}.{number}", lab.name));
        while kept.exists() {
            number += 1;
            kept = self.folder.join(format!("{}.{number}", lab.name));
        }
        fs::rename(&folder, &kept).with_context(|| format!("cannot rename {}", folder.display()))?;
        self.start(lab, attacker)?;
        self.remember(lab, |state| *state = State { done: state.done, ..State::default() })?;
        Ok(kept)
    }

    /// Notes that a check of `lab` failed for which there are hints on the topic `failing`, or that all have passed.
    pub fn note(&mut self, lab: &Lab, failing: Option<&str>) -> Result<()> {
        self.remember(lab, |state| {
            state.failing = failing.map(str::to_owned);
            state.done |= failing.is_none();
        })
    }

    /// The topic of the hints for the check of `lab` that failed last.
    pub fn failing(&self, lab: &Lab) -> Option<&str> {
        self.progress.labs.get(&lab.name)?.failing.as_deref()
    }

    /// How many further hints on a topic were asked for.
    pub fn hints_seen(&self, lab: &Lab, topic: &str) -> usize {
        let state = self.progress.labs.get(&lab.name);
        state.and_then(|state| state.hints.get(topic)).copied().unwrap_or_default()
    }

    /// The number of the next hint on a topic, from 0; the last one stays the last.
    pub fn next_hint(&mut self, lab: &Lab, topic: &str) -> Result<usize> {
        let next = (self.hints_seen(lab, topic) + 1).min(lab.hints(topic).len().saturating_sub(1));
        self.remember(lab, |state| {
            state.hints.insert(topic.to_owned(), next);
        })?;
        Ok(next)
    }

    fn remember(&mut self, lab: &Lab, change: impl FnOnce(&mut State)) -> Result<()> {
        self.progress.current = Some(lab.name.clone());
        change(self.progress.labs.entry(lab.name.clone()).or_default());
        let (path, new) = (self.folder.join(PROGRESS), self.folder.join("progress.new"));
        let text = serde_json::to_string_pretty(&self.progress)?;
        fs::create_dir_all(&self.folder).context("cannot make the learner's folder")?;
        // Written aside and renamed: whoever stops it half-way loses nothing.
        fs::write(&new, text + "\n")
            .and_then(|()| fs::rename(&new, &path))
            .context("cannot note the progress")?;
        give(&path)?;
        give(&self.folder)
    }
}

/// Gives `path`, and all that is in it, to the user who is root by means of sudo: who edits it is that user.
fn hand_over(path: &Path) -> Result<()> {
    // Not through a link, behind which are files of others.
    if path.symlink_metadata().is_ok_and(|file| file.is_dir()) {
        for entry in fs::read_dir(path).with_context(|| format!("cannot list {}", path.display()))? {
            hand_over(&entry?.path())?;
        }
    }
    give(path)
}

/// Gives only `path` to that user, if there is one.
fn give(path: &Path) -> Result<()> {
    let id = |name: &str| std::env::var(name).ok().and_then(|id| id.parse::<u32>().ok());
    let (true, Some(user), Some(group)) = (nix::unistd::geteuid().is_root(), id("SUDO_UID"), id("SUDO_GID"))
    else {
        return Ok(());
    };
    std::os::unix::fs::lchown(path, Some(user), Some(group))
        .with_context(|| format!("cannot give {} to its user", path.display()))
}

/// Copies a folder of files and folders, but for what was built in it.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot list {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_name() == "target" {
            continue;
        }
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target).with_context(|| format!("cannot write {}", target.display()))?;
        }
    }
    Ok(())
}
