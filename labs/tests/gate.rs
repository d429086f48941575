//! The authors' gate: every starter fails, every solution passes, every planted bug is caught by a message of its own,
//! and nothing is left behind.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use anyhow::Result;
use labs::bench::{Bench, Shown};
use labs::grader::{self, Grade};
use labs::lab::{self, Lab};
use labs::process::Process;
use labs::{graders, host, learner, program, report};
use serde::Deserialize;

/// One lab at a time: whoever is left behind by a program becomes a child of this process.
static ONE: Mutex<()> = Mutex::new(());

#[derive(Deserialize)]
struct Bugs {
    bug: Vec<Bug>,
}

/// A fault to plant: a piece of the solution, and what stands there instead.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bug {
    name: String,
    caught_by: String,
    file: String,
    from: String,
    to: String,
}

#[test]
fn lab_1() -> Result<()> {
    gate("01-chroot")
}

#[test]
fn lab_2() -> Result<()> {
    gate("02-pid-namespace")
}

#[test]
fn lab_3() -> Result<()> {
    gate("03-cgroups")
}

#[test]
fn lab_4() -> Result<()> {
    gate("04-overlay-layers")
}

#[test]
fn lab_5() -> Result<()> {
    gate("05-image-pull")
}

#[test]
fn lab_6() -> Result<()> {
    gate("06-networking")
}

#[test]
fn lab_7() -> Result<()> {
    gate("07-capabilities")
}

#[test]
fn lab_8() -> Result<()> {
    gate("08-seccomp")
}

#[test]
fn lab_9() -> Result<()> {
    gate("09-user-namespace")
}

#[test]
fn lab_10() -> Result<()> {
    gate("10-runtime")
}

/// Runs the starter, the solution and each bug of a lab.
fn gate(name: &str) -> Result<()> {
    let _one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let lab = Lab::read(&lab::folder().join(name))?;
    assert_eq!(host::lacks(&lab), [], "this machine cannot do the lab, and no lab is skipped");
    let before = left_behind()?;

    let mut reports = String::new();
    let starter = grade(&lab, "starter", None)?;
    assert_eq!(starter.passed, [] as [&str; 0], "the starter passes a check");
    write!(reports, "--- starter\n{}", report(&lab, &starter)?)?;

    let solution = grade(&lab, "solution", None)?;
    assert!(solution.failed.is_none(), "{}", report(&lab, &solution)?);
    assert!(solution.passed.len() >= 5, "too few checks");

    let bugs: Bugs = toml::from_str(&fs::read_to_string(lab.folder.join("bugs.toml"))?)?;
    assert!(bugs.bug.len() >= 4, "too few bugs");
    let mut messages = BTreeMap::new();
    for bug in &bugs.bug {
        let grade = grade(&lab, "solution", Some(bug))?;
        let report = report(&lab, &grade)?;
        let (id, failure) = grade.failed.as_ref().unwrap_or_else(|| panic!("{} passes", bug.name));
        assert_eq!(*id, bug.caught_by, "{} is caught elsewhere:\n{report}", bug.name);
        assert!(lab.topic(id, failure).is_some(), "no hint is given:\n{report}");
        let cause = lab.cause(id, failure).unwrap_or_else(|| panic!("no cause is told:\n{report}"));
        if let Some(other) = messages.insert(cause.to_owned(), &bug.name) {
            panic!("{} and {other} have one message: {cause}", bug.name);
        }
        write!(reports, "\n--- {}\n{report}", bug.name)?;
    }
    insta::assert_snapshot!(format!("reports_{name}"), reports);
    assert_eq!(left_behind()?, before);
    Ok(())
}

/// All that a learner reads of it.
fn report(lab: &Lab, grade: &Grade) -> Result<String> {
    let passed = grade.passed.iter().map(|id| report::passed(lab, id)).collect::<Result<String>>()?;
    let said =
        report::end(lab, grade, 0)?.lines().map(|line| without_number(line) + "\n").collect::<String>();
    Ok(format!("{}\n{passed}{said}", report::heading(lab)))
}

/// `line` without the number of a thread that panicked in it.
fn without_number(line: &str) -> String {
    match line.split_once("' (").and_then(|(before, rest)| Some((before, rest.split_once(") panicked")?.1))) {
        Some((before, after)) => format!("{before}' panicked{after}"),
        None => line.to_owned(),
    }
}

/// Builds and grades the lab's `variant`, perhaps with a bug in it.
fn grade(lab: &Lab, variant: &str, bug: Option<&Bug>) -> Result<Grade> {
    let room = Path::new(env!("CARGO_TARGET_TMPDIR")).join("labs");
    let folder = room.join(&lab.name);
    // Always the same folder, so that what the crate depends on is built once.
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    learner::copy(&lab.folder.join(variant), &folder)?;
    if let Some(bug) = bug {
        let path = folder.join(&bug.file);
        let text = fs::read_to_string(&path)?;
        assert_eq!(text.matches(&bug.from).count(), 1, "{} cannot be planted", bug.name);
        fs::write(&path, text.replace(&bug.from, &bug.to))?;
    }
    let program = program::build(&folder, &room.join("target"))?;
    let shown = Shown { prefix: String::new(), program: "box".into(), root: "root".into() };
    let bench = Bench::new(&program, shown, Path::new(env!("CARGO_BIN_EXE_lab")))?;
    grader::grade(lab, &bench, |_| Ok(()))
}

/// Mounts, cgroups, devices, firewall tables and children of this process; the host's name.
fn left_behind() -> Result<BTreeSet<String>> {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo")?;
    // Those of other tests come and go.
    let mounts = mountinfo.lines().filter(|line| line.contains("/lab-"));
    let mut found: BTreeSet<String> = mounts.map(|line| format!("mount {line}")).collect();
    cgroups(Path::new("/sys/fs/cgroup"), &mut found);
    let devices = fs::read_to_string("/proc/net/dev")?;
    let names = devices.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim());
    found.extend(names.filter(|name| LAB_DEVICES.contains(name)).map(|name| format!("device {name}")));
    let tables = Command::new("nft").args(["list", "tables"]).output()?;
    let tables = String::from_utf8_lossy(&tables.stdout).into_owned();
    found.extend(tables.lines().filter(|table| table.ends_with(" box")).map(str::to_owned));
    found.extend(Process::own().children().iter().map(|child| format!("process {}", child.0)));
    found.insert(format!("host {}", nix::unistd::gethostname()?.display()));
    Ok(found)
}

/// The devices that labs, and their graders, make.
const LAB_DEVICES: [&str; 4] = ["box0", "vbox0", "outside", "client"];

/// The cgroups that labs make, by their names.
fn cgroups(directory: &Path, found: &mut BTreeSet<String>) {
    // What others remove meanwhile is not listed.
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if entry.file_name().to_string_lossy().starts_with("lab-") {
                found.insert(format!("cgroup {}", entry.path().display()));
            }
            cgroups(&entry.path(), found);
        }
    }
}

#[test]
fn what_labs_say_is_complete() {
    for lab in lab::all().unwrap() {
        let checks = graders::of(&lab.name).unwrap();
        let told: Vec<&str> = lab.card.checks.iter().map(|check| check.id.as_str()).collect();
        let made: Vec<&str> = checks.iter().map(|(id, _)| *id).collect();
        assert_eq!(told, made, "{}: lab.toml and the grader differ", lab.name);
        let chapter = lab::folder().parent().unwrap().join(format!("book/chapters/{}.md", lab.name));
        for check in &lab.card.checks {
            assert!(lab.hints(&check.id).len() > 1, "{}: too few hints for {}", lab.name, check.id);
            // Chapters are written one after another.
            if let Ok(text) = fs::read_to_string(&chapter) {
                let heading = format!("\n## {}\n", check.section);
                assert!(text.contains(&heading), "{}: no section {}", lab.name, check.section);
            }
        }
        for file in ["Cargo.toml", "Cargo.lock", "src/main.rs"] {
            let same = |variant: &str| fs::read(lab.folder.join(variant).join(file)).unwrap();
            assert!(
                same("starter") == same("solution"),
                "{}: {file} is not the learner's to change",
                lab.name
            );
        }
    }
}

/// Starters and solutions are no members of the workspace, so nobody else looks at their form.
#[test]
fn starters_and_solutions_are_formatted() {
    let _one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let sources: Vec<PathBuf> = lab::all()
        .unwrap()
        .iter()
        .flat_map(|lab| ["starter", "solution"].map(|variant| lab.folder.join(variant).join("src/main.rs")))
        .collect();
    let output =
        Command::new("rustfmt").args(["--check", "--edition", "2024"]).args(&sources).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
