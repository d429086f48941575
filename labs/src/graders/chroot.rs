//! Lab 1: another root.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::Context;
use nix::sys::stat::{makedev, minor as minor_of};

use crate::bench::{Bench, HOLD};
use crate::check::{Check, Failure, Stop, Verdict};
use crate::{escape, sandbox};

pub(super) const CHECKS: &[Check] = &[
    ("runs", super::runs),
    ("root", root),
    ("namespace", namespace),
    ("escape", escape),
    ("mounts", mounts),
    ("travel", travel),
    ("proc", proc),
    ("dev", dev),
    ("devices", devices),
    ("image", image),
    ("host", host),
    ("code", super::exit_code),
];

/// The devices that every program counts on, by name and number.
const DEVICES: [(&str, u64, u64); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

fn root(bench: &Bench) -> Verdict {
    bench.hold(&[], HOLD, |held| {
        let note = fs::read_to_string(held.inside.path().join("root/etc/motd"));
        if note.is_ok_and(|note| note.contains("the root that you were given")) {
            return Ok(());
        }
        Failure::verdict(
            &held.command,
            "/proc/PID/root leads to the root that was given",
            "it leads elsewhere: /etc/motd in it is another file",
        )
    })
}

fn namespace(bench: &Bench) -> Verdict {
    bench.hold(&[], HOLD, |held| {
        if held.inside.namespace("mnt")? != held.outside.mount_namespace {
            return Ok(());
        }
        Failure::verdict(
            &held.command,
            "the link /proc/PID/ns/mnt has another number than that of whoever started the program",
            "it has the same: whatever is mounted, is mounted on the host",
        )
    })
}

fn escape(bench: &Bench) -> Verdict {
    let ran = bench.run(&["/bin/escape"])?;
    // The attacker's, and not the program's.
    match fs::remove_dir(bench.root().join("tmp/below")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(anyhow::Error::new(error).context("cannot remove what the attacker has made").into());
        }
        _ => {}
    }
    match ran.stdout.trim() {
        escape::HELD => Ok(()),
        "" => Failure::verdict(&ran.command, escape::HELD, ran.seen()),
        said if is_mounted_in_the_hosts_tree(bench)? => Failure::verdict(&ran.command, escape::HELD, said),
        said => {
            Failure::verdict(&ran.command, escape::HELD, format!("{said}; the host's root lies on top of it"))
        }
    }
}

/// Whether the namespace of a command holds the host's tree, and in it the given root where it was.
fn is_mounted_in_the_hosts_tree(bench: &Bench) -> Result<bool, Stop> {
    let root = bench.root().display().to_string();
    bench.hold(&[], HOLD, |held| Ok(sandbox::mounts_of(&held.inside.path())?.contains(&root)))
}

fn mounts(bench: &Bench) -> Verdict {
    bench.hold(&[], HOLD, |held| {
        let known = |mount: &&String| {
            ["/", "/proc", "/dev", "/sys"].iter().any(|own| mount == own)
                || ["/proc/", "/dev/", "/sys/"].iter().any(|own| mount.starts_with(own))
        };
        let all = sandbox::mounts_of(&held.inside.path())?;
        let Some(other) = all.iter().find(|mount| !known(mount)) else { return Ok(()) };
        Failure::verdict(
            &held.command,
            "the mount namespace holds a root, and below it only proc, dev and sys",
            format!("it holds mounts of the host's as well, such as {other}"),
        )
    })
}

fn travel(bench: &Bench) -> Verdict {
    bench.hold(&[], HOLD, |held| {
        let text =
            fs::read_to_string(held.inside.path().join("mountinfo")).context("cannot read a mountinfo")?;
        // Number, parent, device, root, mount point, options, and then what it has to do with others (proc(5)).
        let tied = text.lines().find_map(|line| {
            let mut fields = line.split(' ').skip(4);
            let (point, _) = (fields.next()?, fields.next()?);
            let tie = fields.take_while(|field| *field != "-").find_map(|field| field.split_once(':'))?;
            Some(format!("in its mountinfo, {point} has {}:", tie.0))
        });
        let Some(seen) = tied else { return Ok(()) };
        let expected = "no mount inside is tied to one of the host's: none has shared: or master:";
        Failure::verdict(&held.command, expected, seen)
    })
}

fn proc(bench: &Bench) -> Verdict {
    let ran = bench.run(&["/bin/cat", "/proc/self/comm"])?;
    if ran.stdout == "cat\n" { Ok(()) } else { Failure::verdict(&ran.command, "cat", ran.seen()) }
}

fn dev(bench: &Bench) -> Verdict {
    let line = "echo lost > /dev/null; wc -c < /dev/null; head -c 3 /dev/zero | wc -c";
    let ran = bench.run(&["/bin/sh", "-c", line])?;
    let expected = "0\n3";
    let seen = format!("{}{}", ran.stdout, ran.stderr);
    if seen.trim() == expected { Ok(()) } else { Failure::verdict(&ran.command, expected, seen) }
}

fn devices(bench: &Bench) -> Verdict {
    bench.hold(&[], HOLD, |held| {
        let directory = held.inside.path().join("root/dev");
        let look = |path: &Path| fs::metadata(path).map(|file| (file.dev(), file.rdev()));
        let expected = "in a /dev of its own: null 1:3, zero 1:5, full 1:7, random 1:8, urandom 1:9, tty 5:0";
        if look(&directory)?.0 == look(Path::new("/dev"))?.0 {
            return Failure::verdict(&held.command, expected, "it is the host's own /dev");
        }
        for (name, major, minor) in DEVICES {
            let seen = match look(&directory.join(name)) {
                Ok((_, device)) if device == makedev(major, minor) => continue,
                Ok((_, device)) => {
                    format!("{name} is {}:{}", nix::sys::stat::major(device), minor_of(device))
                }
                Err(_) => format!("there is no {name}"),
            };
            return Failure::verdict(&held.command, expected, seen);
        }
        Ok(())
    })
}

fn image(bench: &Bench) -> Verdict {
    let ran = bench.run(&["/bin/true"])?;
    let new = bench.new_files()?;
    if new.is_empty() {
        return Ok(());
    }
    Failure::verdict(
        &ran.command,
        "the files of the image are what they were: many containers share them",
        format!("new in it: {}", new.join(", ")),
    )
}

fn host(bench: &Bench) -> Verdict {
    let ran = bench.run(&["/bin/true"])?;
    if ran.before.is_shared && !ran.after.is_shared {
        let expected = "the mounts of whoever started the program are what they were";
        return Failure::verdict(&ran.command, expected, "they are private now, and were shared");
    }
    let new = ran.new_mounts();
    if new.is_empty() {
        return Ok(());
    }
    Failure::verdict(
        &ran.command,
        "no mount on the host that was not there before",
        format!("left on the host: {}", new.join(", ")),
    )
}
