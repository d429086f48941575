//! Labs in the machine: a learner without root has one there, and ours show that every solution holds with cgroup v2.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::kernel::Kernel;
use super::suites::{self, Run};
use super::{Work, initramfs, machine};
use crate::command;

/// Labs that need what the machine lacks: a registry, and a firewall.
const ELSEWHERE: &[&str] = &["05-image-pull", "06-networking"];
/// What is read of a lab when it is checked.
const TEXTS: &[&str] = &["lab.toml", "lab.md", "hints.md"];
/// The learner's folder in the machine.
const FOLDER: &str = "/root/my-labs";
/// Several times what a check takes there.
const PATIENCE: Duration = Duration::from_mins(5);

/// How far a learner is: a file that the check reads, and writes.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Progress {
    /// Where it is in the machine.
    pub(super) path: PathBuf,
    pub(super) text: String,
}

/// What is checked in the machine, and the files that it takes.
pub(super) struct Checks {
    pub(super) runs: Vec<Run>,
    pub(super) files: Vec<PathBuf>,
}

/// Our solutions.
pub(super) fn solutions() -> Result<Checks> {
    let grader = grader()?;
    let kept = command::target_directory()?.join("vm/solutions");
    fs::create_dir_all(&kept).with_context(|| format!("cannot make {}", kept.display()))?;
    let (mut runs, mut files) = (Vec::new(), texts()?);
    for (name, lab) in labs()? {
        if ELSEWHERE.contains(&name.as_str()) {
            continue;
        }
        // They share what they depend on, and what they are called.
        let program = kept.join(&name);
        fs::copy(build(&lab.join("solution"), &kept.join("target"))?, &program)
            .with_context(|| format!("cannot make {}", program.display()))?;
        runs.push(run(&name, &grader, &program));
        files.push(program);
    }
    files.push(grader);
    Ok(Checks { runs, files })
}

/// Checks a learner's program of the lab with this number. How far the learner is then is known out here as well.
pub(super) fn check(number: &str, folder: &Path, kernel: &Kernel) -> Result<()> {
    let is_wanted =
        |(name, _): &(String, PathBuf)| name.trim_start_matches('0').split('-').next() == Some(number);
    let Some((name, _)) = labs()?.into_iter().find(is_wanted) else {
        bail!("there is no lab {number}: see cargo lab list");
    };
    if ELSEWHERE.contains(&name.as_str()) {
        bail!("lab {number} needs more than the machine has: check it as root, as cargo lab doctor says");
    }
    let grader = grader()?;
    let learners =
        PathBuf::from(command::output(Command::new(&grader).arg("folder"))?.trim_end_matches('\n'));
    if !learners.join(&name).exists() {
        bail!("lab {number} is not started yet: cargo lab start {number}");
    }
    let program = build(&learners.join(&name), &learners.join("target"))?;
    let mut files = texts()?;
    files.extend([grader.clone(), program.clone()]);
    let outside = learners.join("progress.json");
    let text = fs::read_to_string(&outside).with_context(|| format!("cannot read {}", outside.display()))?;
    let progress = Progress { path: Path::new(FOLDER).join("progress.json"), text };
    let work = Work::Lab { run: run(&name, &grader, &program), progress };
    initramfs::write(folder, kernel, work, &files)?;

    let reported = machine::watch(folder, kernel, PATIENCE)?;
    let (passed, progress) = read(&reported)?;
    fs::write(&outside, progress).with_context(|| format!("cannot write {}", outside.display()))?;
    if passed { Ok(()) } else { bail!("not all of the checks pass yet") }
}

/// Whether the check passed, and how far the learner is then: all of it, or what is known out here would be lost.
fn read(reported: &str) -> Result<(bool, String)> {
    let (said, progress) = reported.split_once('\n').unwrap_or((reported, ""));
    let progress = progress.replace('\r', "");
    if let Err(error) = serde_json::from_str::<serde_json::Value>(&progress) {
        bail!("the machine ended without a whole report ({error}): {reported}");
    }
    Ok((said.starts_with("ok "), progress))
}

/// A check of `program`.
fn run(lab: &str, grader: &Path, program: &Path) -> Run {
    let program = program.to_string_lossy();
    Run {
        name: format!("labs/{lab}"),
        program: grader.to_owned(),
        arguments: ["--folder", FOLDER, "check", lab, "--program", &program].map(str::to_owned).into(),
        directory: "/root".into(),
        has_summary: false,
    }
}

fn grader() -> Result<PathBuf> {
    command::build("labs", "lab", false)
}

/// Builds the crate in `folder` into `target`; its program.
fn build(folder: &Path, target: &Path) -> Result<PathBuf> {
    let (manifest, target) = (folder.join("Cargo.toml"), target.to_string_lossy().into_owned());
    let manifest = manifest.to_string_lossy();
    let built = suites::cargo(&[
        "build",
        "--quiet",
        "--locked",
        "--manifest-path",
        &manifest,
        "--target-dir",
        &target,
    ])?;
    built.into_iter().next().map(|built| built.path).with_context(|| format!("{manifest} has no program"))
}

/// The labs by name, with their folders, in order.
fn labs() -> Result<Vec<(String, PathBuf)>> {
    let all = command::root().join("labs");
    let mut labs = Vec::new();
    for entry in fs::read_dir(&all).with_context(|| format!("cannot list {}", all.display()))? {
        let folder = entry?.path();
        if folder.join("lab.toml").exists() {
            labs.push((folder.file_name().context("it has a name")?.to_string_lossy().into_owned(), folder));
        }
    }
    labs.sort();
    Ok(labs)
}

/// What the grader reads of all labs.
fn texts() -> Result<Vec<PathBuf>> {
    Ok(labs()?.iter().flat_map(|(_, lab)| TEXTS.iter().map(|text| lab.join(text))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_taken_whole_or_not_at_all() {
        let whole = "ok labs/01-chroot\r\n{\r\n  \"passed\": []\r\n}\r\n\r\n";
        assert_eq!(read(whole).unwrap(), (true, "{\n  \"passed\": []\n}\n\n".to_owned()));
        assert!(!read("failed labs/01-chroot: exit status: 1\r\n{}\r\n").unwrap().0);
        for cut in ["", "ok labs/01-chroot", &whole[..30]] {
            read(cut).unwrap_err();
        }
    }
}
