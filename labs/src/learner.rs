//! The learner's folder: their crates, and how far they are.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::bench::{self, Shown};
use crate::host::Need;
use crate::lab::{self, Lab};
use crate::{program, settings};

const PROGRESS: &str = "progress.json";
/// The learner's folder in the repository.
const FOLDER: &str = "my-labs";
/// What lies beside the learner's crates.
const README: &str = "\
# Your labs

A folder for each lab that you have started, with its text in `README.md`, your sources in `src`, and after a check your program,
`box`. Beside them:

- `root`: the root of a small system, to try programs in
- `one`, `two`: layers of an image, for lab 4
- `progress.json`: what is done, and which hints you have seen
- `target`: what cargo builds
- `.cargo`: settings with which `cargo lab` works in here as well

";
/// Where crates are built, below that folder.
const TARGET: &str = "target";

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
    /// The folder `named`, which need not exist yet; if none is, the one that we are in, or else `my-labs` in the
    /// repository.
    pub fn open(named: Option<&Path>) -> Result<Self> {
        let folder = match named {
            Some(named) => std::path::absolute(named).context("cannot find the learner's folder")?,
            None => here().unwrap_or_else(|| lab::repository().join(FOLDER)),
        };
        if folder.starts_with(lab::folder()) {
            bail!("{} is where the answers are: choose another folder", folder.display());
        }
        let mut learner = Self { folder, progress: Progress::default() };
        learner.look_again()?;
        Ok(learner)
    }

    /// Reads how far the learner is.
    pub fn look_again(&mut self) -> Result<()> {
        let path = self.folder.join(PROGRESS);
        self.progress = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .with_context(|| format!("{} is damaged: mend or remove it", path.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Progress::default(),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        Ok(())
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The lab that was started or checked last.
    pub fn current(&self) -> Option<&str> {
        self.progress.current.as_deref()
    }

    /// Where the learner's crate for `lab` is.
    pub fn crate_of(&self, lab: &Lab) -> PathBuf {
        self.folder.join(&lab.name)
    }

    /// Whether we are in that crate.
    pub fn is_in(&self, lab: &Lab) -> bool {
        std::env::current_dir().is_ok_and(|here| here.starts_with(self.crate_of(lab)))
    }

    /// Builds that crate. The program is put beside its sources: what cargo builds last in a folder that crates share may be
    /// another lab's.
    pub fn build(&self, lab: &Lab) -> Result<PathBuf> {
        let folder = self.crate_of(lab);
        let built = program::build(&folder, &self.folder.join(TARGET))?;
        let program = folder.join("box");
        match fs::remove_file(&program) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            // Not every file system has links.
            _ => fs::hard_link(&built, &program).or_else(|_| fs::copy(&built, &program).map(drop)),
        }
        .with_context(|| format!("cannot put the program at {}", program.display()))?;
        hand_over(&self.folder.join(TARGET))?;
        give(&program)?;
        Ok(program)
    }

    /// A root to try programs with by hand.
    pub fn root(&self) -> PathBuf {
        self.folder.join("root")
    }

    /// What commands are shown with: paths as short as they can be from here, sudo for those who became root by it, and a
    /// network of their own for those that change one.
    pub fn shown(&self, lab: &Lab, program: &Path) -> Shown {
        let here = std::env::current_dir().unwrap_or_default();
        let short = |path: &Path| path.strip_prefix(&here).unwrap_or(path).display().to_string();
        // A shell would look for a bare name elsewhere.
        let program = match short(program) {
            name if !name.contains('/') => format!("./{name}"),
            path => path,
        };
        let sudo = if sudo_user().is_some() { "sudo " } else { "" };
        let unshare = if lab.card.needs.contains(&Need::Network) { "unshare --net " } else { "" };
        Shown { prefix: format!("{sudo}{unshare}"), program, root: short(&self.root()) }
    }

    /// Whether `lab` was started.
    pub fn has_started(&self, lab: &Lab) -> bool {
        self.crate_of(lab).exists()
    }

    /// Whether all checks of `lab` have passed once.
    pub fn is_done(&self, lab: &Lab) -> bool {
        self.progress.labs.get(&lab.name).is_some_and(|state| state.done)
    }

    /// Makes `lab` the one that the learner is at.
    pub fn go_to(&mut self, lab: &Lab) -> Result<()> {
        self.remember(lab, |_| {})
    }

    /// Copies the starter of `lab`, and makes a root with `attacker` in it, and layers, if there is none yet.
    pub fn start(&mut self, lab: &Lab, attacker: &Path) -> Result<()> {
        let folder = self.crate_of(lab);
        copy(&lab.folder.join("starter"), &folder)?;
        fs::write(folder.join("README.md"), lab.text()?).context("cannot write the lab's text")?;
        hand_over(&folder)?;
        self.settle()?;
        if !self.root().exists() {
            bench::make_root(&self.root())?;
            bench::make_layers(&self.folder)?;
            bench::install(attacker, &self.root())?;
        }
        self.go_to(lab)
    }

    /// Says what lies in the folder, and has cargo work in it, unless somebody has written such files already.
    fn settle(&self) -> Result<()> {
        let readme = self.folder.join("README.md");
        if !readme.exists() {
            fs::write(&readme, README).context("cannot write into the learner's folder")?;
            give(&readme)?;
        }
        hand_over(&settings::write(&self.folder, TARGET)?)
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
        // Written aside and renamed: whoever stops it half-way loses nothing. And never through a link: this may be root.
        let write = || {
            if new.symlink_metadata().is_ok() {
                fs::remove_file(&new)?;
            }
            let mut file = fs::File::create_new(&new)?;
            file.write_all((text + "\n").as_bytes())?;
            fs::rename(&new, &path)
        };
        write().context("cannot note the progress")?;
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

/// The learner's folder that we are in.
fn here() -> Option<PathBuf> {
    let here = std::env::current_dir().ok()?;
    here.ancestors()
        .find(|folder| folder.join(PROGRESS).exists() && settings::are_in(folder))
        .map(Path::to_owned)
}

/// The user who is root by means of sudo, and the group.
fn sudo_user() -> Option<(u32, u32)> {
    let id = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
    if nix::unistd::geteuid().is_root() { id("SUDO_UID").zip(id("SUDO_GID")) } else { None }
}

/// Gives only `path` to that user, if there is one.
fn give(path: &Path) -> Result<()> {
    let Some((user, group)) = sudo_user() else { return Ok(()) };
    std::os::unix::fs::lchown(path, Some(user), Some(group))
        .with_context(|| format!("cannot give {} to its user", path.display()))
}

/// Copies a folder of files and folders, but for what was built in it.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot list {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_name() == TARGET {
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
