//! What a process sees from inside a container, in plain words on one screen.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use crate::error::{Error, Result};

/// The screen: aligned lines, each a word and what it means here.
pub fn screen() -> Result<String> {
    let status = read("/proc/self/status")?;
    let mut screen = String::from("Hello from inside a container. This is what I see:\n\n");
    for (name, seen) in [
        ("process", process(&status)),
        ("hostname", hostname()),
        ("user", user(&status)),
        ("id map", id_map()?),
        ("root", root()?),
        ("mounts", mounts()?),
        ("namespaces", namespaces()?),
        ("cgroup", cgroup()?),
        ("capabilities", capabilities(&status)),
        ("seccomp", seccomp(&status)),
        ("network", network()?),
    ] {
        for (index, line) in seen.lines().enumerate() {
            let name = if index == 0 { name } else { "" };
            writeln!(screen, "  {name:<13} {line}").expect("a string takes everything");
        }
    }
    screen.push_str("\nThe same binary made this container, and is the only file in it.\n");
    Ok(screen)
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).map_err(|error| Error::file("read", Path::new(path), error))
}

/// A field of a process's `status` (`proc_pid_status(5)`).
pub(crate) fn field<'a>(status: &'a str, name: &str) -> &'a str {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or("not told by this kernel").trim()
}

fn process(status: &str) -> String {
    let parent = match field(status, "PPid") {
        "0" => "its parent is outside, and so has no number here: 0".to_owned(),
        parent => format!("its parent is {parent}"),
    };
    format!("number {}; {parent}", field(status, "Pid"))
}

fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn user(status: &str) -> String {
    let first = |name| field(status, name).split_whitespace().next().unwrap_or_default().to_owned();
    let uid = first("Uid");
    let name = if uid == "0" { " (root)" } else { "" };
    format!("{uid}{name}, group {}", first("Gid"))
}

fn id_map() -> Result<String> {
    let map = read("/proc/self/uid_map")?;
    let numbers: Vec<&str> = map.split_whitespace().collect();
    Ok(match numbers.as_slice() {
        ["0", "0", "4294967295"] => "none: user 0 here is user 0 on the host".to_owned(),
        [inside, outside, count] => {
            format!("users from {inside} here are users from {outside} outside, {count} of them")
        }
        _ => format!("{} ranges", map.lines().count()),
    })
}

fn root() -> Result<String> {
    let failed = |error| Error::file("read", Path::new("/"), error);
    let mut names = Vec::new();
    for entry in fs::read_dir("/").map_err(failed)? {
        names.push(entry.map_err(failed)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(format!("holds {}", names.join(" ")))
}

fn mounts() -> Result<String> {
    let mountinfo = read("/proc/self/mountinfo")?;
    let count = mountinfo.lines().count();
    Ok(format!("{count}, none of them the host's:\n{}", mounts_by_kind(&mountinfo).join("\n")))
}

/// A line for each file system, with four of its mount points at most.
pub(crate) fn mounts_by_kind(mountinfo: &str) -> Vec<String> {
    let mut kinds: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in mountinfo.lines() {
        let Some((mount, filesystem)) = line.split_once(" - ") else { continue };
        let (Some(target), Some(kind)) = (mount.split(' ').nth(4), filesystem.split(' ').next()) else {
            continue;
        };
        match kinds.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, targets)) => targets.push(target),
            None => kinds.push((kind, vec![target])),
        }
    }
    let line = |(kind, targets): (&str, Vec<&str>)| {
        let shown = targets.iter().take(4).copied().collect::<Vec<_>>().join(" ");
        let more = targets.len().saturating_sub(4);
        let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{kind:<8} {shown}{rest}")
    };
    kinds.into_iter().map(line).collect()
}

fn namespaces() -> Result<String> {
    let inodes = pid_namespace::namespaces::inodes(Path::new("/proc/self"))?;
    let (first, second) = inodes.split_at(inodes.len() / 2);
    let line = |part: &[(&str, u64)]| {
        part.iter().map(|(name, inode)| format!("{name} {inode}")).collect::<Vec<_>>().join(", ")
    };
    Ok(format!("{}\n{}", line(first), line(second)))
}

fn cgroup() -> Result<String> {
    let text = read("/proc/self/cgroup")?;
    let paths: Vec<&str> = text.lines().filter_map(|line| line.splitn(3, ':').nth(2)).collect();
    Ok(if paths.iter().all(|path| *path == "/") {
        "/: it looks like the root of the tree from in here".to_owned()
    } else {
        paths.join(" ")
    })
}

fn capabilities(status: &str) -> String {
    let bits = field(status, "CapEff");
    match u64::from_str_radix(bits, 16) {
        Ok(0) => "none".to_owned(),
        Ok(set) => format!("{} in effect ({bits})", set.count_ones()),
        Err(_) => bits.to_owned(),
    }
}

/// Which system calls a process may make, by its `status`.
pub(crate) fn seccomp(status: &str) -> String {
    match field(status, "Seccomp") {
        "0" => "off: every system call is allowed".to_owned(),
        "1" => "strict mode".to_owned(),
        "2" => format!("filter mode, filters: {}", field(status, "Seccomp_filters")),
        other => other.to_owned(),
    }
}

fn network() -> Result<String> {
    let text = read("/proc/self/net/dev")?;
    let names: Vec<&str> =
        text.lines().skip(2).filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim()).collect();
    Ok(match names.as_slice() {
        [] => "no interface at all".to_owned(),
        ["lo"] => "lo only: it can talk to itself".to_owned(),
        names => names.join(" "),
    })
}
