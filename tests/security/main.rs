//! The attacks that container engines have fallen to, tried on this one.
//!
//! A test names the attack it repeats, and fails if the defence against it is taken out. Here are those that need a
//! whole engine; what one crate is responsible for is attacked in that crate.
//!
//! | class | example | here | elsewhere |
//! |---|---|---|---|
//! | the engine's binary is overwritten | CVE-2019-5736 | [`binary`] | |
//! | descriptors, directories, secrets, keys are inherited | CVE-2024-21626, CVE-2016-9962 | [`leaks`] | `tests/run.rs` |
//! | a root is set up through links | CVE-2019-19921, CVE-2025-31133 | [`roots`] | `steps/01-chroot/tests/root.rs` |
//! | masks of `/proc` are undone | CVE-2019-16884 | [`roots`], [`privileges`] | `steps/01-chroot/tests/root.rs` |
//! | a path changes between look and use | CVE-2021-30465 | [`roots`] | |
//! | a copy out of a container, or into one, is led elsewhere | CVE-2018-15664, CVE-2019-14271 | [`copies`] | `steps/04-overlay-layers/tests/copies.rs` |
//! | a volume is filled with the host's files | | [`roots`] | |
//! | accounts are read from what is no file | | [`roots`] | `steps/10-runtime/src/users.rs` |
//! | a layer reaches outside | CVE-2021-41091 | [`layers`] | `steps/04-overlay-layers/tests/unpack.rs` |
//! | a device node is brought along | | [`layers`] | `steps/03-cgroups/tests/kernel.rs` |
//! | sockets of the host are reached | CVE-2020-15257 | [`network`] | |
//! | capabilities, system calls | CVE-2022-24769 | [`privileges`] | `steps/07-capabilities/tests`, `steps/08-seccomp/tests` |
//! | files that make the kernel run a program | CVE-2022-0492 | [`privileges`] | |
//! | supplementary groups are forgotten | CVE-2023-25173 | | `steps/10-runtime/src/users.rs` |
//! | everything is used up | | [`exhaustion`] | `steps/03-cgroups/tests/kernel.rs` |
//! | a layer that is a bomb, a config without end, digests that are paths | | [`registry`] | |
//! | damaged, short, long, other blobs and manifests | | [`registry`] | `steps/05-image-pull/tests/hostile.rs` |
//! | redirects to files, to other hosts, without end | | | `steps/05-image-pull/tests/hostile.rs` |
//! | passwords go to another server | CVE-2020-15157 | | `steps/05-image-pull/tests/hostile.rs`, `login.rs` |
//! | connections that break, and stand still | | | `steps/05-image-pull/tests/interrupted.rs` |

mod binary;
mod copies;
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
