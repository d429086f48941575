//! The attacks that container engines have fallen to, tried on this one.
//!
//! Each module holds one class. A test names the attack it repeats, and fails if the defence against it is taken out.

mod binary;
mod exhaustion;
mod layers;
mod leaks;
mod network;
mod privileges;
mod registry;
mod roots;

use std::path::Path;
use std::process::Command;

use testbed::engine::Engine;
use testbed::rootfs::Rootfs;
use testbed::stdout;

/// Makes an image of what lies in `root`.
fn import(engine: &Engine, name: &str, root: &Rootfs) {
    let archive = engine.folder().join("image.tar");
    stdout(Command::new("tar").arg("-C").arg(root.path()).arg("-cf").arg(&archive).arg("."));
    engine.ok(&["import", "--change", "CMD [\"sh\"]", &archive.display().to_string(), name]);
}

/// Runs `line` in a container of image `busybox` with these options; what it prints.
fn sh(engine: &Engine, options: &[&str], line: &str) -> String {
    engine.ok(&[&["run", "--rm"], options, &["busybox", "sh", "-c", line]].concat())
}

/// The program that makes system calls by name, for containers.
fn probe() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_probe"))
}
