//! One cgroup: made, limited, filled, frozen, killed, removed.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::Pid;

use crate::bpf;
use crate::control::wait;
use crate::error::{Error, Result, errno};
use crate::files;
use crate::hierarchy::Hierarchy;
use crate::limits::Limits;
use crate::parent;
use crate::plan::{self, Step, Write};

/// The v1 trees in which every container gets a directory: those that account for it, and those that hold it. The
/// others (`cpu`, `cpuset`) have nothing to tell about a container that they do not limit, and each one costs about
/// 0.15 ms from start to removal.
const ALWAYS: [&str; 6] = ["blkio", "cpuacct", "devices", "freezer", "memory", "pids"];

/// A cgroup, in as many trees as the host has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    pub(crate) hierarchy: Hierarchy,
    /// Below the root of each tree.
    pub(crate) path: PathBuf,
}

impl Cgroup {
    /// The cgroup `name` in `parent`, which may not be there yet: nothing is looked at.
    ///
    /// `parent` is a path below the hierarchy's root, or the name of a systemd slice.
    ///
    /// # Errors
    /// Names that would lead elsewhere.
    pub fn at(hierarchy: &Hierarchy, parent: &str, name: &str) -> Result<Self> {
        Ok(Self { hierarchy: hierarchy.clone(), path: place(parent, name)? })
    }

    /// Makes a cgroup: [`Cgroup::at`] and [`Cgroup::make`] in one.
    ///
    /// # Errors
    /// Names that would lead elsewhere, and what the kernel refuses.
    pub fn create(hierarchy: &Hierarchy, parent: &str, name: &str) -> Result<Self> {
        let cgroup = Self::at(hierarchy, parent, name)?;
        cgroup.make()?;
        Ok(cgroup)
    }

    /// Makes it, and its parent if that is missing. One that exists is taken as it is. See [`Cgroup::list`] for finding
    /// what a crash left in a parent.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn make(&self) -> Result<()> {
        match &self.hierarchy {
            Hierarchy::V2 { .. } => drop(self.make_in("memory")?),
            Hierarchy::V1 { controllers } => {
                for controller in ALWAYS.iter().filter(|name| controllers.contains_key(**name)) {
                    self.make_in(controller)?;
                }
            }
        }
        tracing::info!("made the cgroup {}", self.path.display());
        Ok(())
    }

    /// A cgroup that exists; `None` if it is in none of the trees.
    ///
    /// # Errors
    /// Names that would lead elsewhere.
    pub fn open(hierarchy: &Hierarchy, parent: &str, name: &str) -> Result<Option<Self>> {
        let cgroup = Self::at(hierarchy, parent, name)?;
        Ok((!cgroup.directories().is_empty()).then_some(cgroup))
    }

    /// The names of the cgroups in a parent, sorted: ours, and what a crash left.
    ///
    /// # Errors
    /// What the kernel refuses to list.
    pub fn list(hierarchy: &Hierarchy, parent: &str) -> Result<Vec<String>> {
        let path = parent::parent_path(parent)?;
        let mut names = BTreeSet::new();
        for root in roots(hierarchy) {
            for child in files::children(&root.join(&path))? {
                names.extend(child.file_name().map(|name| name.to_string_lossy().into_owned()));
            }
        }
        Ok(names.into_iter().collect())
    }

    /// Sets limits, those of them that are given; the others stay as they are.
    ///
    /// # Errors
    /// See [`plan::plan`]; and what the kernel refuses, naming the file. Limits set until then stay set.
    pub fn apply(&self, limits: &Limits) -> Result<()> {
        self.carry_out(&plan::plan(limits, &self.hierarchy)?)
    }

    /// Carries out a plan, or writes of the caller's own.
    ///
    /// # Errors
    /// What the kernel refuses, naming the file. Limits set until then stay set.
    pub fn carry_out(&self, steps: &[Step]) -> Result<()> {
        let mut writer = files::Writer::default();
        let mut directory = ("", PathBuf::new());
        for step in steps {
            match step {
                Step::Write(write) if !self.hierarchy.has(write.controller) => {
                    let (controller, limit) = (write.controller, write.limit);
                    return Err(Error::Unavailable {
                        controller,
                        limit,
                        reason: "is missing or not switched on",
                    });
                }
                Step::Write(write) => {
                    if directory.0 != write.controller {
                        directory = (write.controller, self.directory_of(write.controller)?);
                    }
                    set(&mut writer, &directory.1, write)?;
                }
                Step::Attach(program) => {
                    let path = self.directory_of("devices")?;
                    let directory = files::open(&path)?;
                    tracing::info!(
                        "attach a device program of {} instructions",
                        program.instructions().len()
                    );
                    bpf::attach(directory.as_fd(), program)
                        .map_err(|errno| Error::kernel("attach the device program to", &path, errno))?;
                }
            }
        }
        Ok(())
    }

    /// The writes that undo a plan's, the last one's first: each leads back to what the file holds before that write. What
    /// is not there yet is left out.
    ///
    /// # Errors
    /// What the kernel refuses to tell.
    pub fn present(&self, steps: &[Step]) -> Result<Vec<Step>> {
        let mut present = Vec::new();
        for (index, step) in steps.iter().enumerate().rev() {
            let Step::Write(write) = step else { continue };
            let Some(directory) = self.in_tree(write.controller) else { continue };
            // A file may be written twice: v1 never lets memory and swap together be below memory alone.
            let earlier = steps[..index].iter().rev().find_map(|step| match step {
                Step::Write(earlier) if earlier.file == write.file => Some(earlier.value.clone()),
                _ => None,
            });
            if let Some(value) = earlier {
                present.push(Step::Write(Write { value, or: None, ..write.clone() }));
                continue;
            }
            let names = [Some(&*write.file), write.or.as_ref().map(|(file, _)| *file)];
            for name in names.into_iter().flatten() {
                if let Some(text) = files::read(&directory.join(name))? {
                    let value = text.trim().to_owned();
                    let file = name.to_owned().into();
                    present.push(Step::Write(Write { file, value, or: None, ..write.clone() }));
                    break;
                }
            }
        }
        Ok(present)
    }

    /// Moves a process in, with all its threads. What it forks from then on is inside too.
    ///
    /// On v1 this waits for the kernel's other processors, some tenths of a millisecond in each tree; a process that is
    /// being started does better to [`Cgroup::join`] by itself, or to begin inside ([`Cgroup::directory`]).
    ///
    /// # Errors
    /// What the kernel refuses; ESRCH when there is no such process.
    pub fn add(&self, process: Pid) -> Result<()> {
        for directory in self.directories() {
            let file = directory.join("cgroup.procs");
            files::write(&file, &process.to_string()).map_err(|errno| {
                Error::kernel(format!("move process {process} into"), &file, errno).hint(match errno {
                    Errno::EBUSY => "it is divided among cgroups below it, and so holds no processes itself",
                    _ => "",
                })
            })?;
        }
        Ok(())
    }

    /// Moves this process in. It must have a single thread, and see the host's cgroup trees.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn join(&self) -> Result<()> {
        // v1's `tasks` takes threads. A thread that moves itself cannot fork at the same time, so the kernel leaves out
        // the lock, and the wait, that keep a group of threads together (Linux 5.15, commit 9a3284fad42f).
        let file = if self.hierarchy.is_v2() { "cgroup.procs" } else { "tasks" };
        for root in roots(&self.hierarchy) {
            let file = root.join(&self.path).join(file);
            match files::write(&file, "0") {
                // It is not in this tree.
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(errno) => return Err(Error::kernel("move this process into", &file, errno)),
            }
        }
        Ok(())
    }

    /// The cgroup as a descriptor for `clone3(CLONE_INTO_CGROUP)`; `None` on v1, where there is no such thing.
    ///
    /// # Errors
    /// When the directory is gone.
    pub fn directory(&self) -> Result<Option<OwnedFd>> {
        match &self.hierarchy {
            Hierarchy::V2 { root, .. } => files::open(&root.join(&self.path)).map(|file| Some(file.into())),
            Hierarchy::V1 { .. } => Ok(None),
        }
    }

    /// The trees that it is in.
    pub fn hierarchy(&self) -> &Hierarchy {
        &self.hierarchy
    }

    /// Where it is below the root of each tree.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the cgroup is in the tree of a controller, below which it may be missing.
    pub(crate) fn in_tree(&self, controller: &str) -> Option<PathBuf> {
        self.hierarchy.root(controller).map(|root| root.join(&self.path))
    }

    /// Whether there is such a cgroup already.
    pub fn exists(&self) -> bool {
        !self.directories().is_empty()
    }

    /// Whether this is cgroup v2, where a process can begin inside.
    pub fn is_v2(&self) -> bool {
        self.hierarchy.is_v2()
    }

    /// Its directory in the tree of a controller; made if there is none yet, with the processes that it has elsewhere.
    pub(crate) fn directory_of(&self, controller: &'static str) -> Result<PathBuf> {
        let directory = self.in_tree(controller).unwrap_or_default();
        if directory.exists() {
            return Ok(directory);
        }
        let processes = self.processes()?;
        let directory = self.make_in(controller)?;
        for process in processes {
            match files::write(&directory.join("cgroup.procs"), &process.to_string()) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(errno) => {
                    return Err(Error::kernel(format!("move process {process} into"), &directory, errno));
                }
            }
        }
        Ok(directory)
    }

    fn make_in(&self, controller: &str) -> Result<PathBuf> {
        let root = self.hierarchy.root(controller).ok_or(Error::NoHierarchy)?;
        parent::make(&self.hierarchy, root, &self.path)
    }

    /// Its directories that exist: one on v2, one in each tree on v1.
    pub(crate) fn directories(&self) -> Vec<PathBuf> {
        roots(&self.hierarchy)
            .into_iter()
            .map(|root| root.join(&self.path))
            .filter(|path| path.exists())
            .collect()
    }

    /// All processes inside, also in cgroups below it. Zombies are not counted, nor are processes that this one cannot
    /// see because they are in another pid namespace.
    ///
    /// # Errors
    /// What the kernel refuses to tell.
    pub fn processes(&self) -> Result<Vec<Pid>> {
        // Any tree would do; `freezer` is the one whose list `kill` needs.
        let mut processes = Vec::new();
        if let Some(directory) =
            self.in_tree("freezer").filter(|path| path.exists()).or(self.directories().pop())
        {
            for directory in files::subtree(&directory)? {
                let text = files::read(&directory.join("cgroup.procs"))?.unwrap_or_default();
                let pids = text.lines().filter_map(|line| line.parse().ok());
                // What cannot be seen is listed as 0, which kill(2) would take for this process and its group.
                processes.extend(pids.filter(|&pid: &i32| pid > 0).map(Pid::from_raw));
            }
        }
        Ok(processes)
    }

    /// Removes it and the cgroups below it from every tree. One that is gone already is fine.
    ///
    /// # Errors
    /// EBUSY when there are still processes inside: [`Cgroup::kill`] them first.
    pub fn remove(&self) -> Result<()> {
        for root in roots(&self.hierarchy) {
            for directory in files::subtree(&root.join(&self.path))? {
                remove_directory(&directory)?;
            }
        }
        tracing::info!("removed the cgroup {}", self.path.display());
        Ok(())
    }

    /// How often the kernel has killed a process here because memory ran out. Gone with the cgroup: ask before
    /// removing it.
    ///
    /// # Errors
    /// What the kernel refuses to tell.
    pub fn oom_kills(&self) -> Result<u64> {
        let Some(directory) = self.in_tree("memory") else { return Ok(0) };
        let file = if self.is_v2() { "memory.events" } else { "memory.oom_control" };
        Ok(files::read(&directory.join(file))?.and_then(|text| files::value(&text, "oom_kill")).unwrap_or(0))
    }
}

/// Sets one limit in a directory.
fn set(writer: &mut files::Writer, directory: &Path, write: &Write) -> Result<()> {
    let (mut file, mut value): (&str, _) = (&write.file, &write.value);
    let mut result = writer.write(&directory.join(file), value);
    if let (Err(Errno::ENOENT), Some((other, other_value))) = (result, &write.or) {
        (file, value) = (other, other_value);
        result = writer.write(&directory.join(file), value);
    }
    match result {
        Ok(()) => {
            tracing::info!("limit {}: {file} = {value}", write.limit);
            Ok(())
        }
        Err(Errno::ENOENT) if write.optional => Ok(()),
        Err(Errno::ENOENT | Errno::EACCES) if !directory.join(file).exists() => Err(Error::Unavailable {
            controller: write.controller,
            limit: write.limit,
            reason: "has no file for it on this kernel",
        }),
        Err(errno) => {
            Err(Error::kernel(format!("set {value:?} in"), &directory.join(file), errno).hint(match errno {
                Errno::EBUSY => "it already uses more than that",
                Errno::ENODEV => "limits are for whole disks, not for partitions",
                Errno::EINVAL | Errno::ERANGE => {
                    "the value is out of the range that the kernel or a cgroup above allows"
                }
                Errno::EACCES | Errno::EPERM => "only root may set limits",
                _ => "",
            }))
        }
    }
}

/// The path of a cgroup below the roots.
fn place(parent: &str, name: &str) -> Result<PathBuf> {
    let wrong = |reason| Err(Error::Name { name: name.to_owned(), reason });
    if name.is_empty() || name == "." || name == ".." {
        return wrong("it needs a name of its own");
    }
    if name.contains(['/', '\n']) {
        return wrong("it is one name and no path");
    }
    Ok(parent::parent_path(parent)?.join(name))
}

/// The roots of all trees, each once.
fn roots(hierarchy: &Hierarchy) -> BTreeSet<&Path> {
    match hierarchy {
        Hierarchy::V2 { root, .. } => BTreeSet::from([root.as_path()]),
        Hierarchy::V1 { controllers } => controllers.values().map(PathBuf::as_path).collect(),
    }
}

/// Removes one directory. A process that was just killed keeps its cgroup busy for a moment.
fn remove_directory(directory: &Path) -> Result<()> {
    let mut last = Errno::EBUSY;
    let removed = wait(|| match fs::remove_dir(directory).map_err(|error| errno(&error)) {
        Ok(()) | Err(Errno::ENOENT) => Ok(true),
        Err(Errno::EBUSY)
            if files::read(&directory.join("cgroup.procs"))?.is_none_or(|list| list.is_empty()) =>
        {
            Ok(false)
        }
        Err(errno) => {
            last = errno;
            Err(Error::kernel("remove the cgroup", directory, errno).hint(if errno == Errno::EBUSY {
                "there are processes in it: kill them first"
            } else {
                ""
            }))
        }
    })?;
    if removed { Ok(()) } else { Err(Error::kernel("remove the cgroup", directory, last)) }
}
