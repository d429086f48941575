//! The processes of a container as the host sees them: what `ps -ef` says of each, read from `/proc` by ourselves.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use nix::unistd::{Pid, SysconfVar, sysconf};

use crate::error::{Error, Result};

/// The headings of [`Table::row`].
pub const HEADINGS: [&str; 8] = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"];

/// One process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its number on the host.
    pub pid: i32,
    /// Its parent's.
    pub parent: i32,
    /// Its numbers, outermost namespace first.
    pub pids: Vec<i32>,
    /// Its user's number on the host.
    pub uid: u32,
    /// Its terminal's device number, or 0.
    pub terminal: i32,
    /// Clock ticks that it has run.
    pub ticks: u64,
    /// Clock ticks after the host's start at which it began.
    pub began: u64,
    /// Its program and arguments, or its name in brackets where it has none.
    pub command: String,
}

impl Process {
    /// Looks at process `pid`; `None` if it has ended.
    pub fn read(pid: Pid) -> Result<Option<Self>> {
        let directory = PathBuf::from(format!("/proc/{pid}"));
        let read = |name: &str| {
            let path = directory.join(name);
            match fs::read(&path) {
                Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
                // ESRCH: it has ended between the opening and the reading.
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(None),
                Err(error) => Err(Error::file("read", &path, error)),
            }
        };
        let (Some(stat), Some(status), Some(arguments)) = (read("stat")?, read("status")?, read("cmdline")?)
        else {
            return Ok(None);
        };
        let parsed = parse(&stat, &status, &arguments);
        parsed.map(Some).ok_or_else(|| Error::new(format!("{}/stat is not as expected", directory.display())))
    }
}

/// A process by the texts of its `stat` (`proc_pid_stat(5)`), `status` and `cmdline`.
fn parse(stat: &str, status: &str, arguments: &str) -> Option<Process> {
    // The name is the program's to choose: it may hold brackets and spaces.
    let (before, after) = (stat.find('(')?, stat.rfind(')')?);
    let (name, fields) = (&stat[before + 1..after], stat[after + 1..].split_whitespace().collect::<Vec<_>>());
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_whitespace().nth(1)?;
    let words: Vec<&str> = arguments.split('\0').collect();
    let line = words.join(" ").trim_end().replace(['\n', '\t'], " ");
    let dead = if *fields.first()? == "Z" { " <defunct>" } else { "" };
    Some(Process {
        pid: stat[..before].trim().parse().ok()?,
        parent: fields.get(1)?.parse().ok()?,
        pids: pid_namespace::namespaces::pids(status),
        uid: uid.parse().ok()?,
        terminal: fields.get(4)?.parse().ok()?,
        ticks: number(11)? + number(12)?,
        began: number(19)?,
        command: if line.is_empty() { format!("[{name}]{dead}") } else { line },
    })
}

/// What turns a process's numbers into what people read.
#[derive(Debug, Clone)]
pub struct Table {
    /// Clock ticks a second.
    pub ticks: u64,
    /// When the host was started.
    pub boot: Timestamp,
    /// Now.
    pub now: Timestamp,
    /// The host's time zone.
    pub zone: TimeZone,
    /// Names of users.
    pub users: BTreeMap<u32, String>,
}

impl Table {
    /// That of this host, now.
    pub fn of_this_host() -> Result<Self> {
        let read = |path: &str| {
            fs::read_to_string(path).map_err(|error| Error::file("read", Path::new(path), error))
        };
        let boot = read("/proc/stat")?
            .lines()
            .find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
            .and_then(|seconds| Timestamp::from_second(seconds).ok())
            .ok_or_else(|| Error::new("/proc/stat does not say when the host was started"))?;
        // A host without accounts shows numbers.
        let accounts = read("/etc/passwd").unwrap_or_default();
        let user = |line: &str| {
            let mut fields = line.split(':');
            let name = fields.next()?.to_owned();
            Some((fields.nth(1)?.parse().ok()?, name))
        };
        let ticks = sysconf(SysconfVar::CLK_TCK).ok().flatten().and_then(|ticks| u64::try_from(ticks).ok());
        Ok(Self {
            ticks: ticks.filter(|&ticks| ticks > 0).unwrap_or(100),
            boot,
            now: Timestamp::now(),
            zone: TimeZone::system(),
            // The first of several names counts, as for everybody who looks it up.
            users: accounts.lines().rev().filter_map(user).collect(),
        })
    }

    /// The cells of one process, as procps' `ps -ef` has them.
    pub fn row(&self, process: &Process) -> Vec<String> {
        let began = SignedDuration::from_millis((process.began * 1000 / self.ticks) as i64);
        let began = self.boot.checked_add(began).unwrap_or(self.now);
        let lived = self.now.duration_since(began).as_secs().max(0).unsigned_abs();
        let ran = process.ticks / self.ticks;
        let share = (ran * 100).checked_div(lived).unwrap_or(0).min(99);
        vec![
            self.users.get(&process.uid).map_or_else(|| process.uid.to_string(), |name| shown_name(name)),
            process.pid.to_string(),
            process.parent.to_string(),
            share.to_string(),
            self.start(began),
            terminal(process.terminal),
            duration(ran),
            process.command.clone(),
        ]
    }

    /// The time of a start today, the day of one this year, or the year.
    fn start(&self, began: Timestamp) -> String {
        let (began, now) = (self.zone.to_datetime(began), self.zone.to_datetime(self.now));
        let format = match began.date() {
            day if day == now.date() => "%H:%M",
            day if day.year() == now.date().year() => "%b%d",
            _ => "%Y",
        };
        began.strftime(format).to_string()
    }
}

/// A name of more than eight characters is cut, and says so.
fn shown_name(name: &str) -> String {
    if name.len() <= 8 { name.to_owned() } else { name.chars().take(7).chain(['+']).collect() }
}

/// A terminal by its device number (`proc_pid_stat(5)`): the minor one in the bits 0 to 7 and 20 to 31.
fn terminal(device: i32) -> String {
    let device = device.cast_unsigned();
    let (major, minor) = (device >> 8 & 0xfff, device & 0xff | device >> 12 & 0xf_ff00);
    match (major, minor) {
        (136..=143, minor) => format!("pts/{}", minor + (major - 136) * 256),
        (4, 0..64) => format!("tty{minor}"),
        (4, _) => format!("ttyS{}", minor - 64),
        _ => "?".to_owned(),
    }
}

/// `[DAYS-]HH:MM:SS`.
fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60);
    let days = if days > 0 { format!("{days}-") } else { String::new() };
    format!("{days}{hours:02}:{minutes:02}:{:02}", seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows() {
        let status = "Uid:\t0\t1000\t0\t0\nNSpid:\t77\t1\n";
        let stat = |name: &str, state: &str, tty: i32, ticks: u64, began: u64| {
            format!(
                "77 ({name}) {state} 76 77 77 {tty} -1 4194560 1 2 3 4 {ticks} 5 0 0 20 0 1 0 {began} 9 9\n"
            )
        };
        let table = Table {
            ticks: 100,
            boot: "2025-12-30T10:00:00Z".parse().unwrap(),
            now: "2026-01-02T12:00:00Z".parse().unwrap(),
            zone: TimeZone::UTC,
            users: [(1000, "averylongname".to_owned())].into(),
        };
        let day = 86400 * 100;
        let rows: String = [
            (stat("sh", "S", 34816, 100, 3 * day), "sh\0-c\0sleep 1\0"),
            (stat("a ) (b", "Z", 0, 5_000_000, day), ""),
            (stat("init", "S", 1025, 720_000_000, 3 * day + 715_000), "/init\0"),
            (stat("x", "R", 1089, 0, 2 * day + 600_000), "two\nlines\0\0"),
        ]
        .into_iter()
        .map(|(stat, arguments)| {
            let process = parse(&stat, status, arguments).unwrap();
            assert_eq!((process.pids.as_slice(), process.parent), (&[77, 1][..], 76));
            table.row(&process).join(" | ") + "\n"
        })
        .collect();
        insta::assert_snapshot!(rows);
    }
}
