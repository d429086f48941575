//! Containers on the disk, and who may touch which.
//!
//! ```text
//! DATA/containers/ID/container.json   what it was created as; written last, so a directory without it is
//!                                     one that was never finished
//!                    state.json       where it is in its life
//!                    lock             held by its shim while it runs, and by any command that changes it
//!                    record.lock      held while container.json is changed
//!                    upper/ work/     its writable layer
//!                    ID-json.log      its output
//! DATA/names/NAME                     a link to the ID; making it is what makes a name unique
//! DATA/names.lock                     held by whoever removes such a link
//! EXEC/containers/ID/                 exists while something is under way: the list of what a crash may have
//!                                     left behind. Lies in memory, so a reboot empties it
//! ```

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::container::{Container, State, Status};
use crate::error::{Error, Result};
use crate::files::{self, Durability, Lock};
use crate::names;

/// What a container that stopped without its shim's word is said to have exited with.
pub const UNKNOWN_EXIT: u8 = 255;
/// What the directory of a container that is being removed is called, before its ID.
const GONE: &str = ".gone-";
/// A container's lock, in its directory.
const LOCK: &str = "lock";
/// The lock on a container's record there, which is changed while the container runs, too.
const RECORD_LOCK: &str = "record.lock";

/// A part of a container's record: all that matters of one that is being removed.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Named {
    name: String,
}

/// The containers of one data folder.
#[derive(Debug, Clone)]
pub struct Containers {
    data: PathBuf,
    exec: PathBuf,
}

/// A container that this process alone may change, until it is dropped or handed to a shim.
#[derive(Debug)]
pub struct Held {
    /// Its ID.
    pub id: String,
    /// Its lock.
    pub lock: Lock,
    /// Where it is.
    directory: PathBuf,
}

impl Held {
    /// Whether it is being removed, and gone for everybody else.
    pub fn is_retired(&self) -> bool {
        self.directory.file_name().is_some_and(|name| name.to_string_lossy().starts_with(GONE))
    }
}

impl Containers {
    /// The containers in `data`, with what is fleeting about them in `exec`. Both are made if missing.
    pub fn open(data: &Path, exec: &Path) -> Result<Self> {
        files::make_dir(&data.join("containers"), true)?;
        files::make_dir(&data.join("names"), true)?;
        let exec = exec.join("containers");
        files::make_dir(&exec, true)?;
        Ok(Self { data: data.to_owned(), exec })
    }

    /// The directory of container `id`.
    pub fn directory(&self, id: &str) -> PathBuf {
        self.data.join("containers").join(id)
    }

    /// The fleeting directory of container `id`.
    pub fn exec_directory(&self, id: &str) -> PathBuf {
        self.exec.join(id)
    }

    /// The file that container `id`'s output is kept in.
    pub fn log(&self, id: &str) -> PathBuf {
        self.directory(id).join(format!("{id}-json.log"))
    }

    fn lock_path(&self, id: &str) -> PathBuf {
        self.directory(id).join(LOCK)
    }

    fn name_path(&self, name: &str) -> PathBuf {
        self.data.join("names").join(name)
    }

    /// Makes an empty container directory and holds it. Until [`Containers::finish`] is called it is one that a
    /// later sweep removes.
    pub fn begin(&self) -> Result<Held> {
        let id = names::random_id()?;
        let directory = self.directory(&id);
        // A sweep may come between the making and the locking, and take the directory for an abandoned one.
        let lock = loop {
            files::make_dir(&directory, true)?;
            match Lock::create(&self.lock_path(&id)) {
                Err(_) if !directory.exists() => {}
                Err(error) => return Err(error),
                Ok(lock) if lock.is_still(&self.lock_path(&id)) => break lock,
                Ok(_) => {}
            }
        };
        files::make_dir(&self.exec_directory(&id), true)?;
        files::make_dir(&directory.join("upper"), false)?;
        files::make_dir(&directory.join("work"), true)?;
        Ok(Held { id, lock, directory })
    }

    /// Gives container `id` the name `wanted`, or one of our choice.
    pub fn claim_name(&self, id: &str, wanted: Option<&str>) -> Result<String> {
        if let Some(name) = wanted {
            // As `inspect` shows it.
            let name = name.strip_prefix('/').unwrap_or(name);
            if !names::is_valid(name) {
                return Err(Error::new(format!(
                    "Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
                )));
            }
            return match self.try_claim(name, id)? {
                None => Ok(name.to_owned()),
                Some(owner) => Err(Error::new(format!(
                    "Conflict. The container name \"/{name}\" is already in use by container \"{owner}\". You have \
                     to remove (or rename) that container to be able to reuse that name."
                ))),
            };
        }
        for attempt in 0.. {
            let name = names::random_name(attempt);
            if self.try_claim(&name, id)?.is_none() {
                return Ok(name);
            }
        }
        unreachable!("the loop has no end")
    }

    /// Takes back a name that `id` has claimed.
    pub fn release_name(&self, id: &str, name: &str) -> Result<()> {
        // Nobody gives the name to another between the look and the removal.
        let _lock = self.lock_names()?;
        if self.owner(name)?.as_deref() == Some(id) { files::remove(&self.name_path(name)) } else { Ok(()) }
    }

    /// Points `name` at `id`; returns the ID of the container that has it already.
    fn try_claim(&self, name: &str, id: &str) -> Result<Option<String>> {
        let path = self.name_path(name);
        loop {
            match symlink(id, &path) {
                Ok(()) => return Ok(None),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::file("make", &path, error)),
            }
            match self.owner(name)? {
                None => {}
                // What a rename that was killed has got as far as.
                Some(owner) if owner == id => return Ok(None),
                Some(owner) if !self.is_stale(name, &owner)? => return Ok(Some(owner)),
                Some(owner) => self.release_name(&owner, name)?,
            }
        }
    }

    fn lock_names(&self) -> Result<Lock> {
        Lock::create(&self.data.join("names.lock"))
    }

    /// Whether a name that points at `owner` is nobody's: a crash came before its removal.
    fn is_stale(&self, name: &str, owner: &str) -> Result<bool> {
        if !self.directory(owner).exists() {
            return Ok(true);
        }
        // One whose record cannot be read keeps the name that leads to it.
        let has_another =
            || self.read(owner).is_ok_and(|found| found.is_some_and(|found| found.name != name));
        // Who is about to give it this name holds its record.
        let record = self.directory(owner).join(RECORD_LOCK);
        Ok(has_another() && Lock::try_exclusive(&record)?.is_some() && has_another())
    }

    /// The ID that `name` points at.
    fn owner(&self, name: &str) -> Result<Option<String>> {
        let path = self.name_path(name);
        match fs::read_link(&path) {
            Ok(id) => Ok(Some(id.to_string_lossy().into_owned())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::file("read", &path, error)),
        }
    }

    /// Records a container: from now on it exists.
    pub fn finish(&self, container: &Container) -> Result<()> {
        // What removes itself when it ends need not outlive a power cut.
        let durability = durability(container);
        files::write_json(&self.directory(&container.id).join("container.json"), container, durability)
    }

    /// Records where a container is in its life.
    pub fn write_state(&self, container: &Container, state: &State) -> Result<()> {
        // That it runs is meaningless after a power cut; how it ended is not.
        let durability = if state.status.is_alive() { Durability::Fleeting } else { durability(container) };
        files::write_json(&self.directory(&container.id).join("state.json"), state, durability)
    }

    /// The container with this ID, or `None` if there is none, or only an unfinished one.
    pub fn read(&self, id: &str) -> Result<Option<Container>> {
        files::read_json(&self.directory(id).join("container.json"))
    }

    /// What the container with this ID is called now, if it still is.
    pub fn name(&self, id: &str) -> Result<Option<String>> {
        let record = files::read_json::<Named>(&self.directory(id).join("container.json"))?;
        Ok(record.map(|named| named.name))
    }

    /// Where a container is in its life, by what its shim wrote and whether that shim lives.
    pub fn state(&self, id: &str) -> Result<State> {
        let state: State = files::read_json(&self.directory(id).join("state.json"))?.unwrap_or_default();
        if !state.status.is_alive() || self.is_held(id)? {
            return Ok(state);
        }
        // The shim may have written the end, and let go of the lock, between our two looks.
        let state: State = files::read_json(&self.directory(id).join("state.json"))?.unwrap_or_default();
        Ok(if state.status.is_alive() { ended_unseen(state) } else { state })
    }

    /// Whether a shim or a command holds container `id`.
    fn is_held(&self, id: &str) -> Result<bool> {
        Lock::is_held(&self.lock_path(id))
    }

    /// Holds container `id`, if nobody does.
    pub fn try_hold(&self, id: &str) -> Result<Option<Held>> {
        try_hold(id, self.directory(id))
    }

    /// From here on, something is under way with a held container.
    pub fn resume(&self, held: &Held) -> Result<()> {
        files::make_dir(&self.exec_directory(&held.id), true)
    }

    /// Changes the record of container `id`, and returns what it is then. It may run meanwhile.
    pub fn amend(&self, id: &str, change: impl FnOnce(&mut Container) -> Result<()>) -> Result<Container> {
        let missing = || Error::missing(format!("No such container: {id}"));
        let path = self.directory(id).join(RECORD_LOCK);
        if !self.directory(id).exists() {
            return Err(missing());
        }
        let _lock = Lock::create(&path)?;
        let mut container = self.read(id)?.ok_or_else(missing)?;
        change(&mut container)?;
        self.finish(&container)?;
        Ok(container)
    }

    /// Gives a container another name.
    pub fn rename(&self, id: &str, name: &str) -> Result<()> {
        let mut old = None;
        let amended = self.amend(id, |container| {
            if container.name == name {
                return Err(Error::new("Renaming a container with the same name as its current name"));
            }
            self.claim_name(id, Some(name))?;
            old = Some(std::mem::replace(&mut container.name, name.to_owned()));
            Ok(())
        });
        match (amended, old) {
            (Ok(_), Some(old)) => self.release_name(id, &old),
            (Ok(_), None) => Ok(()),
            (Err(error), claimed) => {
                claimed.map_or(Ok(()), |_| self.release_name(id, name))?;
                Err(error)
            }
        }
    }

    /// The IDs of all containers, those without a record included, and without those that are being removed.
    fn ids(&self) -> Result<Vec<String>> {
        let mut ids = entries(&self.data.join("containers"))?;
        ids.retain(|id| !id.starts_with(GONE));
        Ok(ids)
    }

    /// All finished containers, the newest first. One whose record cannot be read is an error: who asks what belongs to
    /// whom must not be told half of it.
    pub fn list(&self) -> Result<Vec<Container>> {
        let (containers, broken) = self.readable()?;
        broken.into_iter().next().map_or(Ok(containers), Err)
    }

    /// The finished containers whose records can be read, the newest first; and what is wrong with the others.
    pub fn readable(&self) -> Result<(Vec<Container>, Vec<Error>)> {
        let (mut containers, mut broken) = (Vec::new(), Vec::new());
        for id in self.ids()? {
            match self.read(&id) {
                Ok(container) => containers.extend(container),
                Err(error) => broken.push(Error::new(format!(
                    "{error}; to remove that container: mini-docker rm --force {id}"
                ))),
            }
        }
        containers.sort_by(|a: &Container, b| b.created.cmp(&a.created));
        Ok((containers, broken))
    }

    /// The ID of the container that `reference`, an ID or a name, means and whose record cannot be read.
    pub fn find_broken(&self, reference: &str) -> Result<Option<String>> {
        let owner = if names::is_valid(reference) { self.owner(reference)? } else { None };
        let mut means = self.ids()?.into_iter().filter(|id| id == reference || Some(id) == owner.as_ref());
        Ok(means.find(|id| self.read(id).is_err()))
    }

    /// The container that `reference` means: its ID, its name, or the beginning of its ID if no other's begins so.
    pub fn find(&self, reference: &str) -> Result<Container> {
        let missing = || Error::missing(format!("No such container: {reference}"));
        let name = reference.strip_prefix('/').unwrap_or(reference);
        if name.is_empty() || name.contains('/') {
            return Err(missing());
        }
        if let Some(container) = self.read(name)? {
            return Ok(container);
        }
        if names::is_valid(name)
            && let Some(id) = self.owner(name)?
            && let Some(container) = self.read(&id)?
            && container.name == name
        {
            return Ok(container);
        }
        let mut matches = Vec::new();
        for id in self.ids()?.into_iter().filter(|id| id.starts_with(name)) {
            matches.extend(self.read(&id)?);
        }
        match matches.len() {
            0 => Err(missing()),
            1 => Ok(matches.remove(0)),
            _ => Err(Error::new(format!("Multiple IDs found with provided prefix: {reference}"))),
        }
    }

    /// Makes a held container gone for everybody, its name free. What it was made of is still there, for
    /// [`Containers::remove`].
    pub fn retire(&self, held: Held) -> Result<Held> {
        // Of one whose record cannot be read, the name is looked for as well.
        let record = files::read_json::<Named>(&held.directory.join("container.json"));
        let name = record.ok().flatten().map(|named| named.name);
        let directory = held.directory.with_file_name(format!("{GONE}{}", held.id));
        if !held.is_retired() {
            fs::rename(&held.directory, &directory)
                .map_err(|error| Error::file("remove", &held.directory, error))?;
        }
        match name {
            Some(name) => self.release_name(&held.id, &name)?,
            // The record is the last thing that is written: it has a name all the same.
            None => entries(&self.data.join("names"))?
                .iter()
                .try_for_each(|name| self.release_name(&held.id, name))?,
        }
        Ok(Held { directory, ..held })
    }

    /// Removes a held container with everything of its own, and its name. What a crash leaves of it, a sweep removes.
    pub fn remove(&self, held: Held) -> Result<()> {
        let held = self.retire(held)?;
        // The lock goes last: while it is there, a sweep leaves the rest to us.
        for name in entries(&held.directory)?.into_iter().filter(|name| name != LOCK) {
            files::remove(&held.directory.join(name))?;
        }
        files::remove(&self.exec_directory(&held.id))?;
        files::remove(&held.directory)
    }

    /// Holds the containers that were under way, or being removed, when their shim or command died.
    ///
    /// What is fleeting points to them. A `thorough` look goes through all container directories too: after a reboot,
    /// nothing fleeting is left.
    pub fn abandoned(&self, thorough: bool) -> Result<Vec<Held>> {
        let mut ids = entries(&self.exec)?;
        if thorough {
            for entry in entries(&self.data.join("containers"))? {
                if let Some(id) = entry.strip_prefix(GONE) {
                    ids.push(id.to_owned());
                    continue;
                }
                let is_abandoned = match self.read(&entry) {
                    Ok(None) => true,
                    // One that a reboot has ended before it could remove itself.
                    Ok(Some(container)) => {
                        container.host_config.auto_remove && self.state(&entry)?.status == Status::Exited
                    }
                    // Nobody is to lose it but by asking for that; who lists it says what is wrong.
                    Err(_) => false,
                };
                if is_abandoned {
                    ids.push(entry);
                }
            }
            ids.sort();
            ids.dedup();
            for name in entries(&self.data.join("names"))? {
                if let Some(owner) = self.owner(&name)?
                    && self.is_stale(&name, &owner)?
                {
                    self.release_name(&owner, &name)?;
                }
            }
        }
        let mut abandoned = Vec::new();
        for id in ids {
            let (directory, gone) = (self.directory(&id), self.directory(&format!("{GONE}{id}")));
            let directory = if gone.exists() { gone } else { directory };
            if directory.join(LOCK).exists() {
                abandoned.extend(try_hold(&id, directory)?);
            } else {
                // Nobody can hold what has no lock: it is the very beginning, or the very end.
                files::remove_empty(&directory)?;
                files::remove(&self.exec_directory(&id))?;
            }
        }
        Ok(abandoned)
    }

    /// The record of a held container, which may be one that is being removed.
    pub fn read_held(&self, held: &Held) -> Result<Option<Container>> {
        files::read_json(&held.directory.join("container.json"))
    }

    /// Lets a held container rest: if nobody saw its end, that is recorded, and nothing fleeting stays.
    pub fn settle(&self, held: &Held) -> Result<()> {
        if let Some(container) = self.read(&held.id)? {
            let state: State =
                files::read_json(&self.directory(&held.id).join("state.json"))?.unwrap_or_default();
            if state.status.is_alive() {
                self.write_state(&container, &ended_unseen(state))?;
            }
        }
        files::remove(&self.exec_directory(&held.id))
    }
}

fn durability(container: &Container) -> Durability {
    if container.host_config.auto_remove { Durability::Fleeting } else { Durability::Durable }
}

fn ended_unseen(state: State) -> State {
    State {
        status: Status::Exited,
        pid: 0,
        exit_code: UNKNOWN_EXIT,
        finished_at: state.started_at.clone(),
        ..state
    }
}

/// Holds container `id`, which is at `directory`, if nobody does.
fn try_hold(id: &str, directory: PathBuf) -> Result<Option<Held>> {
    let path = directory.join(LOCK);
    let lock = Lock::try_exclusive(&path)?.filter(|lock| lock.is_still(&path));
    Ok(lock.map(|lock| Held { id: id.to_owned(), lock, directory }))
}

/// The names in a directory.
fn entries(path: &Path) -> Result<Vec<String>> {
    let read = || -> std::io::Result<Vec<String>> {
        fs::read_dir(path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    };
    read().map_err(|error| Error::file("read", path, error))
}
