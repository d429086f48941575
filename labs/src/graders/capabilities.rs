//! Lab 7: what root is made of.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result};
use capabilities::{Set, Sets};
use nix::sched::{CloneFlags, unshare};
use rustix::process::Gid;
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::bench::{Bench, HOLD, Held, Ran};
use crate::check::{Check, Failure, Verdict};
use crate::{escape, sets};

pub(super) const CHECKS: &[Check] = &[
    ("runs", runs),
    ("bounding", bounding),
    ("inheritable", inheritable),
    ("effective", effective),
    ("works", works),
    ("user", user),
    ("none", none),
    ("set-user-id", set_user_id),
    ("locked", locked),
    ("code", code),
];

/// Root with two capabilities, and a user who could have the same ones.
const ROOT: &[&str] = &["0", "chown,net_bind_service"];
const USER: &[&str] = &["1000", "chown,net_bind_service"];
const LOCKED: &[&str] = &["--no-new-privileges", "1000", "chown,net_bind_service"];
const KEPT: Set = Set::from_bits(CapabilitySet::CHOWN.union(CapabilitySet::NET_BIND_SERVICE).bits());
/// What a careless parent passes on.
const PASSED_ON: CapabilitySet = CapabilitySet::CHOWN.union(CapabilitySet::NET_RAW);
const GROUP: u32 = 4;

fn runs(bench: &Bench) -> Verdict {
    carelessly(|| super::runs_with(bench, ROOT))?
}

fn bounding(bench: &Bench) -> Verdict {
    hold(bench, ROOT, |held, sets| compare(held, &[("CapBnd", sets.bounding, KEPT)]))
}

fn inheritable(bench: &Bench) -> Verdict {
    hold(bench, ROOT, |held, sets| {
        compare(held, &[("CapInh", sets.inheritable, Set::EMPTY), ("CapAmb", sets.ambient, Set::EMPTY)])
    })
}

fn effective(bench: &Bench) -> Verdict {
    hold(bench, ROOT, |held, sets| {
        compare(held, &[("CapEff", sets.effective, KEPT), ("CapPrm", sets.permitted, KEPT)])
    })
}

fn works(bench: &Bench) -> Verdict {
    let line = "chown 1 /dev/full && echo given away; httpd -p 80 -h /etc && echo bound to port 80; \
                mknod /dev/new c 1 3 2> /dev/null || echo no device";
    // A port that is another's would not do: the network is a new one.
    let ran = carelessly(|| {
        unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")?;
        bench.run_with(ROOT, &["/bin/sh", "-c", line])
    })??;
    let expected = "given away\nbound to port 80\nno device";
    if ran.stdout.trim() == expected {
        return Ok(());
    }
    Failure::verdict(&ran.command, expected, format!("{}{}", ran.stdout, ran.stderr))
}

fn user(bench: &Bench) -> Verdict {
    hold(bench, USER, |held, _| {
        // Real, effective, saved, and that of file systems.
        let all = "1000 1000 1000 1000";
        // Its own group may be among its further ones, or not.
        for (key, fine) in [("Uid", [all, all]), ("Gid", [all, all]), ("Groups", ["1000", ""])] {
            let numbers = held.inside.status(key).replace('\t', " ");
            if !fine.contains(&numbers.trim()) {
                let or_none = if fine.contains(&"") { ", or none" } else { "" };
                let expected = format!("in /proc/PID/status, {key}: {}{or_none}", fine[0]);
                return Failure::verdict(&held.command, expected, format!("{key}: {numbers}"));
            }
        }
        Ok(())
    })
}

fn none(bench: &Bench) -> Verdict {
    hold(bench, USER, |held, sets| {
        compare(
            held,
            &[
                ("CapBnd", sets.bounding, KEPT),
                ("CapEff", sets.effective, Set::EMPTY),
                ("CapPrm", sets.permitted, Set::EMPTY),
                ("CapInh", sets.inheritable, Set::EMPTY),
                ("CapAmb", sets.ambient, Set::EMPTY),
            ],
        )
    })
}

fn set_user_id(bench: &Bench) -> Verdict {
    says(&run_sets(bench, USER)?, &KEPT.to_string())
}

fn locked(bench: &Bench) -> Verdict {
    hold(bench, LOCKED, |held, _| {
        let seen = held.inside.status("NoNewPrivs");
        if seen == "1" {
            return Ok(());
        }
        let expected = "in /proc/PID/status, NoNewPrivs: 1";
        Failure::verdict(&held.command, expected, format!("NoNewPrivs: {seen}"))
    })?;
    says(&run_sets(bench, LOCKED)?, &Set::EMPTY.to_string())
}

fn code(bench: &Bench) -> Verdict {
    carelessly(|| super::exit_code_with(bench, ROOT))?
}

/// Runs the set-user-ID program [`sets::NAME`], which is the attacker under another name.
fn run_sets(bench: &Bench, options: &[&str]) -> Result<Ran> {
    let programs = bench.root().join("bin");
    let (attacker, program) = (programs.join(escape::NAME), programs.join(sets::NAME));
    if !program.exists() {
        fs::hard_link(attacker, &program).context("cannot make a link")?;
    }
    fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).context("cannot set a mode")?;
    carelessly(|| bench.run_with(options, &["/bin/sets"]))?
}

fn says(ran: &Ran, expected: &str) -> Verdict {
    match ran.stdout.trim() {
        said if said == expected => Ok(()),
        "" => Failure::verdict(&ran.command, expected, ran.seen()),
        said => Failure::verdict(&ran.command, expected, said),
    }
}

/// Calls `observe` while a shell waits inside, with that shell's sets.
fn hold(bench: &Bench, options: &[&str], observe: impl FnOnce(&Held, Sets) -> Verdict + Send) -> Verdict {
    carelessly(|| {
        bench.hold(options, HOLD, |held| {
            let status = fs::read_to_string(held.inside.path().join("status"))?;
            observe(held, Sets::of_status(&status)?)
        })
    })?
}

/// That each of the sets, by its name in `/proc/PID/status`, is as it should be.
fn compare(held: &Held, sets: &[(&str, Set, Set)]) -> Verdict {
    for (name, is, should) in sets {
        if is == should {
            continue;
        }
        let (more, less) = (is.without(*should), should.without(*is));
        let seen = match more.names().as_slice() {
            [first, _, _, _, ..] => format!("{name} has many more, such as {first}"),
            [_, ..] => format!("{name} has {more} as well"),
            [] => format!("{name} lacks {less}"),
        };
        let seen =
            if more.is_empty() || less.is_empty() { seen } else { format!("{seen}, and lacks {less}") };
        return Failure::verdict(&held.command, format!("in /proc/PID/status, {name} is: {should}"), seen);
    }
    Ok(())
}

/// Does something as a careless parent would: with capabilities and a group to pass on.
fn carelessly<T: Send>(act: impl FnOnce() -> T + Send) -> Result<T> {
    std::thread::scope(|scope| {
        // A thread has sets and groups of its own, and what it starts has the same ones.
        let careless = scope.spawn(|| {
            let own = rustix::thread::capabilities(None).context("cannot read our capabilities")?;
            rustix::thread::set_capabilities(None, CapabilitySets { inheritable: PASSED_ON, ..own })
                .context("cannot make capabilities inheritable")?;
            for (_, one) in PASSED_ON.iter_names() {
                rustix::thread::configure_capability_in_ambient_set(one, true)
                    .context("cannot make a capability ambient")?;
            }
            rustix::thread::set_thread_groups(&[Gid::from_raw(GROUP)]).context("cannot set groups")?;
            Ok(act())
        });
        careless.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
