//! Which tests run in the machine, and the files that they need there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::labs;
use crate::command;

/// The integration tests of a package that run in the machine.
struct Suite {
    /// The package's folder.
    folder: &'static str,
    /// The names of its test files; empty: all.
    only: &'static [&'static str],
    /// Parts of the names of tests that need what the machine lacks.
    skip: &'static [&'static str],
}

const SUITES: &[Suite] = &[
    Suite { folder: "steps/01-chroot", only: &[], skip: &[] },
    Suite { folder: "steps/02-pid-namespace", only: &[], skip: &[] },
    Suite { folder: "steps/03-cgroups", only: &[], skip: &[] },
    // busybox has a `tar`, but it is not GNU's.
    Suite { folder: "steps/04-overlay-layers", only: &[], skip: &["gnu_tar"] },
    Suite { folder: "steps/09-user-namespace", only: &[], skip: &[] },
    // The others compare it with programs that are not there.
    Suite { folder: "steps/10-runtime", only: &["agent", "life", "namespaces"], skip: &["umoci"] },
    // Those that need no registry, and no programs for networks; `delegation` is for this machine alone.
    Suite {
        folder: "tests",
        only: &[
            "again",
            "confinement",
            "delegation",
            "events",
            "exec",
            "habits",
            "health",
            "lifecycle",
            "recovery",
            "rootless",
            "run",
            "terminal",
        ],
        skip: &[
            "kills::",
            "a_reboot_comes_in",
            "images_come_and_go",
            "images_and_networks",
            "an_image_is_pulled_once",
            "no_room_for_an_image",
            "a_reboot_ends",
            "an_images_check",
        ],
    },
];

/// A program to be run in the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Run {
    /// Of tests, the package's folder and the name of the test file; of a lab, its folder.
    pub(super) name: String,
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
    /// The package's folder: cargo promises tests that they start there.
    pub(super) directory: PathBuf,
    /// Whether it ends with a summary of tests, which is then looked at, too.
    pub(super) has_summary: bool,
}

/// What was built for the machine.
pub(super) struct Built {
    pub(super) runs: Vec<Run>,
    /// What lies in the machine where it lies here: programs are found by the paths they were built at, and
    /// snapshots by those of the sources.
    pub(super) files: Vec<PathBuf>,
}

/// Builds all that the tests in the machine need.
pub(super) fn build() -> Result<Built> {
    let built = cargo(&["test", "--workspace", "--no-run"])?;
    let mut runs = runs(&built, &command::root());
    for suite in SUITES {
        if !runs.iter().any(|run| run.directory.ends_with(suite.folder)) {
            bail!("cargo built no tests of {}", suite.folder);
        }
    }
    let mut files = programs()?;
    files.extend(runs.iter().map(|run| run.program.clone()));
    let labs = labs::solutions()?;
    runs.extend(labs.runs);
    files.extend(labs.files);
    // Examples that tests run.
    files.extend(built.into_iter().filter(|built| built.kind == "example").map(|built| built.path));
    for suite in SUITES {
        let snapshots = command::root().join(suite.folder).join("tests/snapshots");
        if snapshots.exists() {
            for entry in fs::read_dir(&snapshots)? {
                files.push(entry?.path());
            }
        }
    }
    Ok(Built { runs, files })
}

/// Builds mini-docker and the programs of the steps.
pub(super) fn programs() -> Result<Vec<PathBuf>> {
    // The whole workspace: a choice of packages would be built with other features, and thus once more.
    let built = cargo(&["build", "--workspace", "--bins"])?;
    let wanted = |built: &Executable| {
        built.folder.ends_with("mini-docker")
            || built.folder.parent().is_some_and(|above| above.ends_with("steps"))
    };
    Ok(built.into_iter().filter(wanted).map(|built| built.path).collect())
}

/// A program that cargo has built.
#[derive(Debug)]
pub(super) struct Executable {
    /// Of its package.
    folder: PathBuf,
    name: String,
    /// `bin`, `example` or `test`.
    kind: String,
    pub(super) path: PathBuf,
}

pub(super) fn cargo(arguments: &[&str]) -> Result<Vec<Executable>> {
    let mut cargo: Command = command::cargo();
    // What it says of its progress and of errors is for the reader, the rest for us.
    cargo.args(arguments).arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit());
    let messages = command::output(&mut cargo)?;
    messages.lines().filter_map(|line| executable(line).transpose()).collect()
}

/// The program that one of cargo's messages is about, if it is about one.
fn executable(message: &str) -> Result<Option<Executable>> {
    let message: Value = serde_json::from_str(message).context("cargo's messages are JSON")?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let (Some(path), Some(manifest)) = (text(&message["executable"]), text(&message["manifest_path"])) else {
        return Ok(None);
    };
    let (Some(name), Some(kind)) = (text(&message["target"]["name"]), text(&message["target"]["kind"][0]))
    else {
        bail!("cargo built something without a name: {message}");
    };
    let folder = Path::new(&manifest).parent().context("a manifest lies in a folder")?.to_owned();
    Ok(Some(Executable { folder, name, kind, path: path.into() }))
}

/// Which of the programs built are run, in the order of the suites.
fn runs(built: &[Executable], root: &Path) -> Vec<Run> {
    let mut runs = Vec::new();
    for suite in SUITES {
        let wanted = |built: &&Executable| {
            built.kind == "test"
                && built.folder == root.join(suite.folder)
                && (suite.only.is_empty() || suite.only.contains(&built.name.as_str()))
        };
        let mut tests: Vec<&Executable> = built.iter().filter(wanted).collect();
        tests.sort_by_key(|test| &test.name);
        runs.extend(tests.into_iter().map(|test| Run {
            name: format!("{}/{}", suite.folder, test.name),
            program: test.path.clone(),
            directory: test.folder.clone(),
            arguments: arguments(suite),
            has_summary: true,
        }));
    }
    runs
}

/// What a suite's programs are called with. Tests that are ignored elsewhere are for this machine.
fn arguments(suite: &Suite) -> Vec<String> {
    let skip = suite.skip.iter().flat_map(|part| ["--skip", part]);
    ["--include-ignored", "--test-threads=2"].into_iter().chain(skip).map(str::to_owned).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    #[test]
    fn what_cargo_says_is_a_list_of_runs() {
        let built = |folder: &str, kind: &str, name: &str| {
            let message = serde_json::json!({
                "reason": "compiler-artifact",
                "manifest_path": format!("/project/{folder}/Cargo.toml"),
                "target": { "kind": [kind], "name": name },
                "executable": format!("/target/{name}"),
            });
            executable(&message.to_string()).unwrap().unwrap()
        };
        let built = [
            built("tests", "test", "run"),
            built("tests", "test", "needs_a_registry"),
            built("steps/03-cgroups", "test", "plan"),
            built("steps/03-cgroups", "test", "kernel"),
            built("steps/03-cgroups", "bin", "cgroups"),
            built("steps/05-image-pull", "test", "pull"),
        ];
        let runs = runs(&built, Path::new("/project"));
        let names: Vec<&str> = runs.iter().map(|run| run.name.as_str()).collect();
        assert_eq!(names, ["steps/03-cgroups/kernel", "steps/03-cgroups/plan", "tests/run"]);
        assert_eq!(runs[0].program, Path::new("/target/kernel"));
        assert_eq!(runs[0].directory, Path::new("/project/steps/03-cgroups"));
        let library = r#"{"reason":"compiler-artifact","manifest_path":"/p/Cargo.toml","executable":null}"#;
        assert!(executable(library).unwrap().is_none());
    }
}
