//! `explain CONTAINER`: a running container beside the host, in plain words on one screen. What is told is looked up in
//! `/proc`, in its cgroup and on the disk, and, but for the limit of processors, not taken from the record.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use capabilities::Set;
use serde::Serialize;

use crate::container::Container;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::format::units;
use crate::host_config::HostConfig;
use crate::inside::{field, mounts_by_kind, seccomp};
use crate::networks::membership::Connections;
use crate::processes::Process;

/// Microseconds of a scheduling period that nobody has set (kernel: scheduler/sched-bwc.rst).
const CPU_PERIOD: f64 = 100_000.0;

/// A running container's parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Anatomy {
    /// Its name and ID.
    pub container: String,
    /// Its namespaces.
    pub namespaces: Vec<Namespace>,
    /// Its processes, on the host in the order of their numbers.
    pub processes: Vec<Member>,
    /// What it uses, and may use.
    pub cgroup: Vec<String>,
    /// What its root is made of.
    pub layers: Vec<String>,
    /// What is mounted where, by file system.
    pub mounts: Vec<String>,
    /// Its interfaces and published ports.
    pub network: Vec<String>,
    /// What its first process may do.
    pub capabilities: String,
    /// Which system calls it may make.
    pub seccomp: String,
    /// Which of its users are which on the host.
    pub ids: String,
}

/// A namespace of its first process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Namespace {
    /// Its kind, as in `/proc/PID/ns`.
    pub kind: String,
    /// Its identity.
    pub inode: u64,
    /// That of the engine's.
    pub host: u64,
}

/// A process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Member {
    /// Its number on the host.
    pub outside: i32,
    /// Its number in the container.
    pub inside: i32,
    /// How many of its ancestors are in the container.
    pub depth: usize,
    /// What it runs.
    pub command: String,
}

impl Anatomy {
    /// Looks at a container that runs.
    pub fn of(engine: &Engine, container: &Container) -> Result<Self> {
        let processes = engine.processes(container)?;
        let process = PathBuf::from(format!("/proc/{}", engine.state(container)?.pid));
        let status = read(&process.join("status"))?;
        Ok(Self {
            container: format!("{} ({})", container.name, container.short_id()),
            namespaces: namespaces(&process)?,
            processes: members(&processes),
            cgroup: cgroup(engine, container)?,
            layers: layers(engine, container)?,
            mounts: mounts_by_kind(&read(&process.join("mountinfo"))?),
            network: network(engine, container)?,
            capabilities: powers(&status),
            seccomp: seccomp(&status),
            ids: ids(&read(&process.join("uid_map"))?),
        })
    }

    /// The screen: aligned lines, each a word and what it means here.
    pub fn screen(&self) -> String {
        let mut screen = format!("{}, beside the host:\n\n", self.container);
        for (name, lines) in self.parts() {
            for (index, line) in lines.iter().enumerate() {
                let name = if index == 0 { name } else { "" };
                writeln!(screen, "  {name:<13} {line}").expect("a string takes everything");
            }
        }
        screen
    }

    /// The same as a picture (SVG 1.1): a box for each part, in the colours that the reader's desktop prefers.
    pub fn svg(&self) -> String {
        let (mut boxes, mut top) = (String::new(), 56);
        for (name, lines) in self.parts() {
            let height = 20 * lines.len() + 18;
            let mut row = |class: &str, x: usize, y: usize, text: &str| {
                let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
                writeln!(
                    boxes,
                    "<text class=\"{class}\" x=\"{x}\" y=\"{y}\" xml:space=\"preserve\">{text}</text>"
                )
                .expect("a string takes everything");
            };
            row("name", 32, top + 24, name);
            for (index, line) in lines.iter().enumerate() {
                row("line", 160, top + 24 + 20 * index, line);
            }
            writeln!(boxes, "<rect x=\"16\" y=\"{top}\" width=\"928\" height=\"{height}\" rx=\"6\"/>")
                .expect("a string takes everything");
            top += height + 10;
        }
        let title = self.container.replace('&', "&amp;").replace('<', "&lt;");
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 960 {}\" role=\"img\">\n\
             <title>{title}, beside the host</title>\n\
             <style>\n\
             svg {{ background: #fff }} text {{ font: 14px monospace; fill: #222 }}\n\
             .name {{ font-weight: bold; fill: #0b5cad }} rect {{ fill: none; stroke: #999 }}\n\
             @media (prefers-color-scheme: dark) {{\n\
             svg {{ background: #161616 }} text {{ fill: #ddd }} .name {{ fill: #7cb8ff }} rect {{ stroke: #666 }}\n\
             }}\n\
             </style>\n\
             <text x=\"16\" y=\"36\">{title}, beside the host</text>\n{boxes}</svg>\n",
            top + 6
        )
    }

    /// Each part's name, and its lines.
    fn parts(&self) -> Vec<(&'static str, Vec<String>)> {
        let own = |namespace: &&Namespace| namespace.inode != namespace.host;
        let (own, shared): (Vec<_>, Vec<_>) = self.namespaces.iter().partition(own);
        let mut namespaces: Vec<String> = own
            .iter()
            .map(|known| format!("{:<7} {} (the host's is {})", known.kind, known.inode, known.host))
            .collect();
        if !shared.is_empty() {
            let kinds: Vec<&str> = shared.iter().map(|known| known.kind.as_str()).collect();
            namespaces.push(format!("{} shared with the host", kinds.join(", ")));
        }
        let mut processes = vec!["host    inside".to_owned()];
        processes.extend(self.processes.iter().map(|member| {
            let indent = "  ".repeat(member.depth);
            format!("{:<7} {:<7} {indent}{}", member.outside, member.inside, member.command)
        }));
        vec![
            ("namespaces", namespaces),
            ("processes", processes),
            ("cgroup", self.cgroup.clone()),
            ("layers", self.layers.clone()),
            ("mounts", self.mounts.clone()),
            ("network", self.network.clone()),
            ("capabilities", vec![self.capabilities.clone()]),
            ("seccomp", vec![self.seccomp.clone()]),
            ("id map", vec![self.ids.clone()]),
        ]
    }
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|error| Error::file("read", path, error))
}

fn namespaces(process: &Path) -> Result<Vec<Namespace>> {
    let host = pid_namespace::namespaces::inodes(Path::new("/proc/self"))?;
    let inside = pid_namespace::namespaces::inodes(process)?;
    let pairs = inside.into_iter().zip(host);
    Ok(pairs.map(|((kind, inode), (_, host))| Namespace { kind: kind.to_owned(), inode, host }).collect())
}

fn members(processes: &[Process]) -> Vec<Member> {
    let parent = |pid: i32| processes.iter().find(|known| known.pid == pid).map(|known| known.parent);
    let member = |process: &Process| Member {
        outside: process.pid,
        inside: process.pids.last().copied().unwrap_or(process.pid),
        // A process cannot be its own ancestor; but what is read while it changes may say so.
        depth: std::iter::successors(parent(process.pid), |&pid| parent(pid)).take(32).count() - 1,
        command: process.command.chars().take(60).collect(),
    };
    processes.iter().map(member).collect()
}

fn cgroup(engine: &Engine, container: &Container) -> Result<Vec<String>> {
    let Some(cgroup) = engine.cgroup(container)? else {
        return Ok(vec!["none: nothing is limited or counted".to_owned()]);
    };
    let stats = cgroup.stats()?;
    let mut lines = vec![format!("/{}", cgroup.path().display())];
    if let Some(memory) = stats.memory {
        let limit =
            memory.limit.map_or("no limit".to_owned(), |limit| format!("of {}", units::binary(limit)));
        lines.push(format!("memory  {} used, {limit}", units::binary(memory.working_set())));
    }
    if let Some(pids) = stats.pids {
        let limit = pids.limit.map_or("no limit".to_owned(), |limit| format!("of {limit}"));
        lines.push(format!("tasks   {}, {limit}", pids.current));
    }
    if let Some(cpu) = stats.cpu {
        let limit = processors(&container.host_config)
            .map_or("no limit".to_owned(), |limit| format!("at most {limit} processors at once"));
        lines.push(format!("cpu     {:.2} s used, {limit}", cpu.usage_ns as f64 / 1e9));
    }
    Ok(lines)
}

/// How many processors it may keep busy, if that is limited.
fn processors(host: &HostConfig) -> Option<f64> {
    match (host.nano_cpus, host.cpu_quota, host.cpu_period) {
        (0, ..=0, _) => None,
        (0, quota, 0) => Some(quota as f64 / CPU_PERIOD),
        (0, quota, period) => Some(quota as f64 / period as f64),
        (nano, _, _) => Some(nano as f64 / 1e9),
    }
}

fn layers(engine: &Engine, container: &Container) -> Result<Vec<String>> {
    let own = overlay_layers::usage(&engine.containers().directory(&container.id).join("upper"))?;
    let mut lines = vec![format!("{} in the writable one", units::decimal(own))];
    for layer in container.layers.iter().rev() {
        let size = units::decimal(engine.images().layers().size(layer)?);
        lines.push(format!(
            "{size} read-only, shared, {}",
            layer.to_string().chars().take(19).collect::<String>()
        ));
    }
    Ok(lines)
}

fn network(engine: &Engine, container: &Container) -> Result<Vec<String>> {
    let found = Connections::read(&engine.containers().exec_directory(&container.id))?;
    let mut lines: Vec<String> = found
        .networks
        .iter()
        .map(|(name, connection)| {
            let addresses: Vec<String> =
                connection.addresses.iter().map(|(ip, prefix)| format!("{ip}/{prefix}")).collect();
            format!(
                "{} in {name}: {}, on the host {}",
                connection.interface,
                addresses.join(" "),
                connection.host_end
            )
        })
        .collect();
    lines.extend(found.ports.iter().map(|port| {
        format!("{} on the host leads to port {}/{}", port.host, port.target.port(), port.protocol)
    }));
    if lines.is_empty() {
        lines.push(format!("none of its own (network mode {})", container.host_config.network_mode));
    }
    Ok(lines)
}

fn powers(status: &str) -> String {
    let count = |name| u64::from_str_radix(field(status, name), 16).map_or(0, u64::count_ones);
    format!(
        "{} in effect, of {} that it may ever have and {} that there are",
        count("CapEff"),
        count("CapBnd"),
        Set::named().names().len()
    )
}

fn ids(map: &str) -> String {
    let numbers: Vec<&str> = map.split_whitespace().collect();
    match numbers.as_slice() {
        ["0", "0", "4294967295"] => "none: user 0 inside is user 0 on the host".to_owned(),
        [inside, outside, count] => {
            format!("users from {inside} inside are users from {outside} outside, {count} of them")
        }
        _ => format!("{} ranges", map.lines().count()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screen() {
        let namespace = |kind: &str, inode, host| Namespace { kind: kind.to_owned(), inode, host };
        let anatomy = Anatomy {
            container: "web (0123456789ab)".to_owned(),
            namespaces: vec![
                namespace("pid", 7, 1),
                namespace("net", 8, 2),
                namespace("time", 3, 3),
                namespace("user", 4, 4),
            ],
            processes: vec![
                Member { outside: 700, inside: 1, depth: 0, command: "nginx".to_owned() },
                Member { outside: 701, inside: 7, depth: 1, command: "worker".to_owned() },
            ],
            cgroup: vec!["/mini-docker/0123".to_owned(), "memory  1MiB used, no limit".to_owned()],
            layers: vec!["1kB in the writable one".to_owned()],
            mounts: mounts_by_kind(
                "1 2 0:1 / / rw - overlay overlay rw\n2 1 0:2 / /proc rw - proc proc rw\n3 1 0:2 / /proc/sys ro - proc proc rw\n",
            ),
            network: vec!["eth0 in bridge: 172.17.0.2/16, on the host veth0".to_owned()],
            capabilities: powers("CapBnd:\t00000000a80425fb\nCapEff:\t0000000000000001\n"),
            seccomp: seccomp("Seccomp:\t2\nSeccomp_filters:\t1\n"),
            ids: ids("0 100000 65536\n"),
        };
        insta::assert_snapshot!(anatomy.screen());
        insta::assert_snapshot!(anatomy.svg());
    }
}
