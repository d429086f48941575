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
    let text = fs::read_to_string(here.join("mine/01-chroot/README.md")).unwrap();
    assert!(started.contains(&text), "{text}");
    // The text once more, and nothing is changed.
    let again = said(here, &["start", "1"]);
    assert!(again.contains(&text) && again.contains("to begin anew: cargo lab reset 1"), "{again}");
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
    insta::assert_snapshot!(said(here, &["hint"]), @"Lab 1 is done, and no check has failed since. What comes next: cargo lab list");
    assert!(said(here, &["solution"]).contains("pivot_root"));

    // What was there is kept, and done stays done.
    insta::assert_snapshot!(said(here, &["reset"]), @r"
    Lab 1 begins anew. What you had is in /mine/01-chroot.1
    Next: cargo lab check 1
    ");
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

/// A learner works in the lab's own folder.
#[test]
fn the_lab_that_we_are_in_is_meant() {
    let room = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    for lab in ["1", "2"] {
        said(room.path(), &["start", lab]);
    }
    let run = |program: &str, directory: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(room.path().join(directory)).env_remove("MINI_DOCKER_LABS");
        let output = command.output().unwrap();
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    };
    let lab = |directory: &str, command: &str| run(env!("CARGO_BIN_EXE_lab"), directory, &[command]);
    let report = lab("mine/01-chroot/src", "check");
    assert!(report.contains("box: own_mounts: ENOSYS"), "{report}");
    // The one that was checked last, until the text of another is asked for.
    assert!(lab("mine", "hint").contains("a command runs\n\nHint 2 of 3"));
    said(room.path(), &["start", "2"]);
    assert!(lab("mine", "hint").contains("no check has failed yet: cargo lab check 2"));
    // Cargo puts its programs where the check does.
    run(env!("CARGO"), "mine/02-pid-namespace", &["build"]);
    assert!(!room.path().join("mine/02-pid-namespace/target").exists());
}

/// The folder may be there already, and so may what is written into it.
#[test]
fn what_is_in_the_folder_stays() {
    let room = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mine = room.path().join("mine");
    said(room.path(), &["start", "1"]);
    let settings = fs::read_to_string(mine.join(".cargo/config.toml")).unwrap();
    // With what these name, cargo runs this program. (To let it do so here would replace it under other tests.)
    for name in ["labs", "xtask"] {
        let manifest = labs::lab::repository().join(name).join("Cargo.toml");
        assert!(settings.contains(&format!("--manifest-path {} --", manifest.display())), "{settings}");
        assert!(manifest.exists());
    }
    // Below the repository its settings are found anyway, and twice they would be others.
    let is_below = room.path().starts_with(labs::lab::repository());
    assert_eq!(settings.contains("--config"), !is_below, "{settings}");
    for file in ["README.md", ".cargo/config.toml"] {
        fs::write(mine.join(file), "# My own\n").unwrap();
    }
    said(room.path(), &["start", "2"]);
    for file in ["README.md", ".cargo/config.toml"] {
        assert_eq!(fs::read_to_string(mine.join(file)).unwrap(), "# My own\n");
    }
    // Elsewhere, the settings have to be named.
    let other = tempfile::tempdir().unwrap();
    said(other.path(), &["start", "1"]);
    let settings = fs::read_to_string(other.path().join("mine/.cargo/config.toml")).unwrap();
    assert!(
        settings.contains(&format!("--config {}/.cargo", labs::lab::repository().display())),
        "{settings}"
    );
}

/// The compiler writes to another stream than the one that clears the screen.
#[test]
fn who_watches_sees_what_does_not_compile() {
    let room = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let here = room.path();
    said(here, &["start", "1"]);
    fs::write(here.join("mine/01-chroot/src/root.rs"), "fn").unwrap();
    let screen = fs::File::create(here.join("screen")).unwrap();
    let mut watch = Command::new(env!("CARGO_BIN_EXE_lab"))
        .args(["--folder", "mine", "watch"])
        .current_dir(here)
        .stdout(screen.try_clone().unwrap())
        .stderr(screen)
        .spawn()
        .unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_mins(1);
    let seen = loop {
        let seen = fs::read_to_string(here.join("screen")).unwrap();
        if seen.contains("Waiting for a change") || std::time::Instant::now() > deadline {
            break seen;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    watch.kill().unwrap();
    watch.wait().unwrap();
    let (_, after) = seen.split_once("\x1b[2J").expect("a clear screen");
    assert!(after.contains("expected identifier") && after.contains("this does not compile yet"), "{after}");
}

/// What needs root is asked for by sudo, and nothing else: what was built is the learner's.
#[test]
fn an_ordinary_user_is_asked_for_root() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    let room = tempfile::tempdir().unwrap();
    let here = room.path();
    fs::set_permissions(here, fs::Permissions::from_mode(0o777)).unwrap();
    // Where this program lies, may be closed to others.
    let program = here.join("lab");
    // By processes of their own: a test that forks while this one has it open to write would keep it from being run.
    let made = Command::new("cp").arg(env!("CARGO_BIN_EXE_lab")).arg(&program).status().unwrap();
    assert!(made.success());
    let as_user = |path: &Path| {
        let mut lab = Command::new(&program);
        lab.args(["--folder", "mine", "check", "2", "--program", "box"]).current_dir(here).env("PATH", path);
        let output = lab.uid(4242).gid(4242).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap().replace(&here.display().to_string(), ""))
    };
    let (code, said) = as_user(&here.join("nothing"));
    assert_eq!(code, Some(1));
    insta::assert_snapshot!(said);

    let programs = here.join("programs");
    fs::create_dir(&programs).unwrap();
    let line = "printf '#!/bin/sh\\nfor word; do echo \"$word\"; done\\nexit 1\\n' > sudo; chmod 755 sudo";
    assert!(Command::new("sh").args(["-c", line]).current_dir(&programs).status().unwrap().success());
    let (code, said) = as_user(&programs);
    assert_eq!(code, Some(1));
    insta::assert_snapshot!(said);
}

#[test]
fn with_sudo_the_files_are_the_users() {
    use std::os::unix::fs::MetadataExt;
    let room = tempfile::tempdir().unwrap();
    for (command, code) in [("start", 0), ("check", 1)] {
        let output = Command::new(env!("CARGO_BIN_EXE_lab"))
            .args(["--folder", "mine", command, "1"])
            .env("SUDO_UID", "1234")
            .env("SUDO_GID", "1235")
            .current_dir(room.path())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(code), "{output:?}");
    }
    for path in [
        "mine",
        "mine/.cargo/config.toml",
        "mine/progress.json",
        "mine/01-chroot/src",
        "mine/01-chroot/src/root.rs",
        "mine/01-chroot/box",
        "mine/target",
        "mine/target/CACHEDIR.TAG",
    ] {
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
