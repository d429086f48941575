//! The book's transcripts: every command in its chapters is run, and prints what the chapter says.

use std::fs;
use std::path::{Path, PathBuf};

use testbed::course;
use testbed::transcript::{self, Document};

fn chapters() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../book/chapters")
}

/// Runs what is in a chapter.
fn verify(chapter: &str) {
    let (_registry, setting) = course::registry();
    transcript::verify(&chapters().join(chapter), &setting);
}

/// The chapters with transcripts, and a test for each.
macro_rules! chapters {
    ($($name:ident: $file:literal,)*) => {
        const CHAPTERS: &[&str] = &[$($file),*];
        $(#[test]
        fn $name() {
            verify($file);
        })*
    };
}

chapters! {
    containers: "containers.md",
    opening: "opening.md",
    chroot: "01-chroot.md",
    pid_namespace: "02-pid-namespace.md",
    cgroups: "03-cgroups.md",
    overlay_layers: "04-overlay-layers.md",
    image_pull: "05-image-pull.md",
    networking: "06-networking.md",
    capabilities: "07-capabilities.md",
    seccomp: "08-seccomp.md",
    user_namespace: "09-user-namespace.md",
    runtime: "10-runtime.md",
    engine_run: "engine-run.md",
    engine_shim: "engine-shim.md",
    engine_store: "engine-store.md",
    practice: "practice.md",
    commands: "commands.md",
}

#[test]
fn no_chapter_is_left_out() {
    for entry in fs::read_dir(chapters()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let has_commands = !Document::read(&path).commands().is_empty();
        assert_eq!(has_commands, CHAPTERS.contains(&name), "{name}");
    }
}
