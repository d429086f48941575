//! What a learner types, from the start of a lab to its end.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// `cargo lab` in a directory in which the learner's folder is `mine`.
fn lab(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lab"))
        .args(["--folder", "mine"])
        .args(arguments)
        .current_dir(directory)
        .output()
        .expect("this package's program")
}

fn said(directory: &Path, arguments: &[&str]) -> String {
    let output = lab(directory, arguments);
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // The binary is elsewhere where a target is named in cargo's configuration.
    text.replace(&directory.display().to_string(), "").replace("/x86_64-unknown-linux-gnu", "")
}

#[test]
fn a_lab_from_start_to_end() {
    let room = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let here = room.path();
    insta::assert_snapshot!(said(here, &["check"]), @"lab: no lab is started yet: cargo lab start 1");
    insta::assert_snapshot!(said(here, &["check", "1"]), @"lab: lab 1 is not started yet: cargo lab start 1");
    insta::assert_snapshot!(said(here, &["start", "77"]), @"lab: there is no lab 77: see cargo lab list");
    let started = said(here, &["start", "chroot"]);
    assert!(started.contains("# Lab 1") && started.contains("/mine/01-chroot/src/root.rs"), "{started}");
    insta::assert_snapshot!(said(here, &["start", "1"]), @"lab: /mine/01-chroot is there already; cargo lab reset 1 begins anew");
    insta::assert_snapshot!(said(here, &["hint"]), @"lab: no check has failed yet: cargo lab check 1");
    insta::assert_snapshot!(said(here, &["check"]));
    assert_eq!(lab(here, &["check"]).status.code(), Some(1));
    // Hints go on where they were, and the last one stays.
    insta::assert_snapshot!(said(here, &["hint"]));
    let last = said(here, &["hint"]);
    assert_eq!(said(here, &["hint", "1"]), last);
    insta::assert_snapshot!(said(here, &["solution"]), @"lab: your own comes first: cargo lab hint helps, and --insist shows the solution all the same");
    assert!(said(here, &["solution", "--insist"]).contains("pivot_root"));

    let source = here.join("mine/01-chroot/src/root.rs");
    fs::write(&source, "fn").unwrap();
    let refused = said(here, &["check"]);
    assert!(
        refused.contains("expected identifier") && refused.contains("this does not compile yet"),
        "{refused}"
    );
    fs::copy(labs::lab::folder().join("01-chroot/solution/src/root.rs"), &source).unwrap();
    assert_eq!(lab(here, &["check"]).status.code(), Some(0));
    assert!(said(here, &["list"]).contains("done"));
    assert!(said(here, &["solution"]).contains("pivot_root"));

    // What was there is kept, and done stays done.
    insta::assert_snapshot!(said(here, &["reset"]), @"Lab 1 begins anew. What you had is in /mine/01-chroot.1");
    assert!(here.join("mine/01-chroot.1/src/root.rs").exists());
    assert_eq!(lab(here, &["check"]).status.code(), Some(1));
    assert!(said(here, &["list"]).contains("done"));
}

/// Crates of one name would be one to cargo, which builds them all in one place.
#[test]
fn a_lab_is_checked_with_its_own_program() {
    let room = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let here = room.path();
    for lab in ["1", "2"] {
        said(here, &["start", lab]);
    }
    for (lab, function) in [("1", "own_mounts"), ("2", "spawn"), ("1", "own_mounts")] {
        let report = said(here, &["check", lab]);
        assert!(report.contains(&format!("box: {function}: ENOSYS")), "{report}");
    }
}

#[test]
fn with_sudo_the_files_are_the_users() {
    use std::os::unix::fs::MetadataExt;
    let room = tempfile::tempdir().unwrap();
    let started = Command::new(env!("CARGO_BIN_EXE_lab"))
        .args(["--folder", "mine", "start", "1"])
        .env("SUDO_UID", "1234")
        .env("SUDO_GID", "1235")
        .current_dir(room.path())
        .output()
        .unwrap();
    assert!(started.status.success(), "{started:?}");
    for path in ["mine", "mine/progress.json", "mine/01-chroot/src", "mine/01-chroot/src/root.rs"] {
        let file = fs::metadata(room.path().join(path)).unwrap();
        assert_eq!((file.uid(), file.gid()), (1234, 1235), "{path}");
    }
}

#[test]
fn nobody_works_beside_the_answers() {
    let output = lab(labs::lab::folder(), &["list"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("choose another folder"));
}

#[test]
fn damaged_progress_is_named() {
    let room = tempfile::tempdir().unwrap();
    fs::create_dir(room.path().join("mine")).unwrap();
    fs::write(room.path().join("mine/progress.json"), "{").unwrap();
    let said = said(room.path(), &["list"]);
    assert!(said.starts_with("lab: /mine/progress.json is damaged: mend or remove it"), "{said}");
}
