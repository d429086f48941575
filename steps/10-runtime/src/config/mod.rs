//! An OCI bundle's `config.json`, and the [`Plan`] that it asks for.
//!
//! Pure: the same text and the same [`Facts`] give the same plan. What is wrong, or cannot be served, is an error that
//! names the field.
//!
//! | module | what it reads |
//! |---|---|
//! | `document` | the shape of the JSON |
//! | `process` | who runs what, from where, and with which privileges |
//! | `schedule` | when it runs |
//! | `root` | the root: mounts, devices, what is hidden |
//! | `options` | a mount's options |
//! | `namespaces` | which are new and which are joined, id maps, clocks |
//! | `resources` | the cgroup, and what is written into it |

mod document;
mod namespaces;
mod options;
mod process;
mod resources;
mod root;
mod schedule;

use std::fmt::Display;
use std::path::{Path, PathBuf};

use cgroups::{Cgroup, Hierarchy, Limits, Step};
use serde_json::Value;
use user_namespace::IdMaps;

use document::Document;
pub use document::Hook;

use crate::error::{Error, Result};
use crate::hooks::{Hooks, Subject};
use crate::plan::{Base, Plan, Process};

/// What a plan depends on besides the config.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The container's name.
    pub id: String,
    /// The bundle's directory, an absolute path.
    pub bundle: PathBuf,
    /// The host's mounts ([`chroot::mount::mountinfo`]).
    pub mountinfo: String,
    /// The host's control groups; none for an ordinary user.
    pub hierarchy: Option<Hierarchy>,
    /// Whether `linux.cgroupsPath` is of systemd's form, `SLICE:PREFIX:NAME`.
    pub systemd_cgroup: bool,
    /// How many of this process's descriptors from 3 on the container gets.
    pub descriptors: u32,
    /// Whether this process's session keyring is left.
    pub own_keyring: bool,
    /// Whether the root gets its place without `pivot_root`.
    pub no_pivot: bool,
    /// The maps of the user namespace that is joined ([`Config::user_namespace`]).
    pub user_namespace: Option<IdMaps>,
}

/// A config that has the right shape.
#[derive(Debug, Clone)]
pub struct Config {
    document: Document,
}

impl Config {
    /// Reads the JSON.
    ///
    /// # Errors
    /// What is no JSON, and values of the wrong type, naming the field.
    pub fn parse(text: &str) -> Result<Self> {
        Ok(Self { document: read(text, "config.json")? })
    }

    /// The plan for the whole container.
    ///
    /// # Errors
    /// What makes no sense or cannot be served, naming the field.
    pub fn plan(&self, facts: &Facts) -> Result<Plan> {
        let document = &self.document;
        let linux = &document.linux;
        document.refuse_the_unsupported()?;
        let namespaces = namespaces::read(linux, facts.user_namespace.as_ref())?;
        let base = document.root.as_ref().ok_or_else(|| at("root", "is missing"))?;
        let process = document.process.as_ref().ok_or_else(|| at("process", "is missing"))?;
        if base.path.as_os_str().is_empty() {
            return Err(at("root.path", "is missing"));
        }
        let (root, given) = root::read(document, &namespaces, facts)?;
        let in_user_namespace = namespaces.maps.is_some();
        let cgroup = self.cgroup(facts)?;
        let (limits, writes) = if let Some(cgroup) = &cgroup {
            resources::read(&linux.resources, cgroup.is_v2(), true)?
        } else {
            resources::refuse(&linux.resources)?;
            (Limits::default(), Vec::new())
        };
        let names = |field: &str, name: &Option<String>| match name {
            Some(name) if !name.is_empty() && !namespaces.has(pid_namespace::Namespaces::UTS) => {
                Err(at(field, "needs a uts namespace in linux.namespaces: it would be the host's"))
            }
            name => Ok(name.clone().filter(|name| !name.is_empty())),
        };
        Ok(Plan {
            hostname: names("hostname", &document.hostname)?,
            domainname: names("domainname", &document.domainname)?,
            stage: facts.bundle.join(&base.path),
            base: Base::Directory(facts.bundle.join(&base.path)),
            root,
            given,
            cgroup,
            limits,
            writes,
            sysctls: namespaces.sysctls(&linux.sysctl)?,
            own_keyring: facts.own_keyring,
            process: Process {
                descriptors: facts.descriptors,
                schedule: schedule::read(process, linux.personality.as_ref())?,
                ..process::read(process, linux.seccomp.as_ref())?
            },
            init: false,
            dies_with_parent: false,
            hooks: self.hooks()?,
            subject: self.subject(facts),
            in_user_namespace,
            namespaces: namespaces.own,
            joined: namespaces.joined,
            maps: namespaces.maps,
            clocks: namespaces.clocks,
        })
    }

    /// Whether the container gets a network namespace that belongs to the user namespace which its maker is in.
    pub(crate) fn makes_network(&self) -> bool {
        namespaces::makes_network(&self.document.linux)
    }

    /// The path of the user namespace that is joined, if one is.
    pub fn user_namespace(&self) -> Option<&Path> {
        namespaces::user(&self.document.linux)
    }

    /// Where the container's cgroup is, or will be.
    ///
    /// # Errors
    /// Paths that would lead elsewhere.
    pub fn cgroup(&self, facts: &Facts) -> Result<Option<Cgroup>> {
        let Some(hierarchy) = &facts.hierarchy else { return Ok(None) };
        resources::cgroup(&self.document.linux.cgroups_path, &facts.id, facts.systemd_cgroup, hierarchy)
            .map(Some)
    }

    /// The plan of another process in the container: the config's own, with its privileges.
    ///
    /// # Errors
    /// As [`Config::plan`].
    pub fn process(&self) -> Result<Process> {
        let process = self.document.process.as_ref().ok_or_else(|| at("process", "is missing"))?;
        process::read(process, self.document.linux.seccomp.as_ref())
    }

    /// The plan of a process that `text`, a JSON document like the config's `process`, describes.
    ///
    /// # Errors
    /// As [`Config::parse`] and [`Config::plan`].
    pub fn process_of(&self, text: &str) -> Result<(Process, Terminal)> {
        let process: document::Process = read(text, "process.json")?;
        let plan = process::read(&process, self.document.linux.seccomp.as_ref())?;
        Ok((Process { schedule: schedule::read(&process, None)?, ..plan }, terminal(&process)))
    }

    /// Whether its program has a terminal, and of which size.
    pub fn terminal(&self) -> Terminal {
        self.document.process.as_ref().map_or(Terminal::default(), terminal)
    }

    /// The programs that are to be run on its way.
    ///
    /// # Errors
    /// Paths that are not absolute.
    pub fn hooks(&self) -> Result<Hooks> {
        let document::Hooks {
            prestart,
            create_runtime,
            create_container,
            start_container,
            poststart,
            poststop,
        } = &self.document.hooks;
        let named = [
            ("prestart", prestart),
            ("createRuntime", create_runtime),
            ("createContainer", create_container),
            ("startContainer", start_container),
            ("poststart", poststart),
            ("poststop", poststop),
        ];
        for (point, hooks) in named {
            for (number, hook) in hooks.iter().enumerate() {
                let field = format!("hooks.{point}[{number}]");
                if !hook.path.is_absolute() {
                    return Err(at(format!("{field}.path"), "must be an absolute path"));
                }
                if hook.timeout.is_some_and(|seconds| seconds <= 0) {
                    return Err(at(format!("{field}.timeout"), "must be more than 0"));
                }
            }
        }
        Ok(Hooks {
            create_runtime: prestart.iter().chain(create_runtime).cloned().collect(),
            create_container: create_container.clone(),
            start_container: start_container.clone(),
            poststart: poststart.clone(),
            poststop: poststop.clone(),
        })
    }

    /// What hooks and `state` say about it.
    pub fn subject(&self, facts: &Facts) -> Subject {
        Subject {
            id: facts.id.clone(),
            bundle: facts.bundle.clone(),
            annotations: self.document.annotations.clone(),
        }
    }
}

/// Resources, as `update` takes them, for a cgroup of version 2 or 1.
///
/// # Errors
/// As [`Config::parse`] and [`Config::plan`].
pub fn resources(text: &str, v2: bool) -> Result<(Limits, Vec<Step>)> {
    let resources: document::Resources = read(text, "the resources")?;
    resources::read(&resources, v2, false)
}

pub use root::single as mount;

/// The mount options that are known, sorted.
pub fn mount_options() -> Vec<String> {
    options::known()
}

/// A program's terminal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Terminal {
    /// Whether it has one.
    pub wanted: bool,
    /// Lines and columns.
    pub size: Option<(u16, u16)>,
}

fn terminal(process: &document::Process) -> Terminal {
    let size = process.console_size.as_ref().map(|size| (size.height, size.width));
    Terminal { wanted: process.terminal, size: size.filter(|&(rows, columns)| rows > 0 && columns > 0) }
}

impl Document {
    fn refuse_the_unsupported(&self) -> Result<()> {
        let known = matches!(
            self.oci_version.split('.').collect::<Vec<_>>()[..],
            ["1", "0" | "1" | "2" | "3", _, ..]
        );
        if !known {
            return Err(at(
                "ociVersion",
                format!("{:?} is not served: it must be 1.0 to 1.3", self.oci_version),
            ));
        }
        for (field, value) in
            [("vm", &self.vm), ("windows", &self.windows), ("solaris", &self.solaris), ("zos", &self.zos)]
        {
            if value.is_some() {
                return Err(at(field, "is not for Linux"));
            }
        }
        let linux = &self.linux;
        let refused = [
            ("linux.intelRdt", linux.intel_rdt.is_some()),
            ("linux.memoryPolicy", linux.memory_policy.is_some()),
            ("linux.netDevices", !linux.net_devices.is_empty()),
        ];
        match refused.into_iter().find(|(_, given)| *given) {
            Some((field, _)) => Err(at(field, "is not supported")),
            None => Ok(()),
        }
    }
}

/// Reads a document, in which `null` stands for what is not there, as Go writes it.
fn read<T: serde::de::DeserializeOwned>(text: &str, what: &str) -> Result<T> {
    let mut value: Value =
        serde_json::from_str(text).map_err(|error| Error::new(format!("{what} is not JSON: {error}")))?;
    remove_nulls(&mut value);
    serde_path_to_error::deserialize(value).map_err(|error| at(error.path(), error.inner()))
}

fn remove_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(remove_nulls);
        }
        Value::Array(values) => values.iter_mut().for_each(remove_nulls),
        _ => {}
    }
}

/// An error about one field.
fn at(field: impl Display, reason: impl Display) -> Error {
    Error::new(format!("invalid config: {field}: {reason}"))
}

/// An absolute path, for a field that must have one.
fn absolute<'a>(field: &str, path: &'a Path) -> Result<&'a Path> {
    if path.as_os_str().is_empty() {
        return Err(at(field, "is missing"));
    }
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(at(field, format!("{} is not an absolute path", path.display())))
    }
}
