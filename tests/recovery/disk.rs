//! A disk that is full, or cannot be written to: one line says so, nothing half-made stays, and all works again when it can.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::json;
use testbed::engine::Engine;
use testbed::registry::{Compression, Image, Registry, noise, tar};
use testbed::until;

use crate::leftovers::{Leftovers, half_made};

/// An engine's data folder as a file system of its own.
struct Disk {
    data: PathBuf,
}

impl Disk {
    /// One of `size` bytes, in memory.
    fn new(engine: &Engine, size: &str) -> Self {
        let disk = Self { data: engine.data() };
        fs::create_dir_all(&disk.data).expect("a folder of the test's");
        let size = format!("size={size}");
        mount(Some("small"), &disk.data, Some("tmpfs"), MsFlags::empty(), Some(&*size))
            .expect("root may mount");
        disk
    }

    /// Leaves room for as many more pages of 4 KiB.
    fn fill(&self, pages: usize) {
        let filler = self.data.join("filler");
        let free = nix::sys::statvfs::statvfs(&self.data).expect("our own disk").blocks_free() as usize;
        fs::write(&filler, vec![1; free.saturating_sub(pages) * 4096]).expect("there is room");
    }

    fn free(&self) {
        fs::remove_file(self.data.join("filler")).expect("our own file");
    }

    /// Whether it can be written to.
    fn set_writable(&self, writable: bool) {
        let none = None::<&Path>;
        let flags = if writable { MsFlags::empty() } else { MsFlags::MS_RDONLY };
        mount(none, &self.data, none, MsFlags::MS_REMOUNT | flags, none)
            .expect("nothing is open for writing");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        umount2(&self.data, MntFlags::MNT_DETACH).expect("our own mount");
        // The engine could not remove it under the mount.
        fs::remove_dir_all(self.data.parent().expect("the engine's folder")).expect("our own folder");
    }
}

/// An engine and its disk. Taken apart in this order, the engine is dropped first.
struct Small {
    disk: Disk,
    engine: Engine,
}

impl Small {
    /// An engine with an image `busybox`, on a disk of 8 MiB.
    fn new() -> Self {
        let first = Engine::with_busybox();
        fs::remove_dir_all(first.data()).expect("our own folder");
        let disk = Disk::new(&first, "8m");
        first.ok(&["import", "--change", "CMD [\"sh\"]", "busybox.tar", "busybox"]);
        Self { disk, engine: first }
    }
}

/// Requires that it failed in one line that says why, with this exit code.
fn assert_refused(output: &Output, code: i32, reason: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(reason) && said.lines().count() == 1, "{output:?}");
    assert_eq!(output.status.code(), Some(code), "{said}");
}

#[test]
fn no_room_for_an_image() {
    let Small { disk, engine } = Small::new();
    let registry = Registry::start();
    let layers = vec![(tar(&[("noise", &noise(1 << 20, 1))]), Compression::Gzip)];
    registry.push("noise", "latest", &Image { layers, config: json!({}), ..Image::default() });
    let name = format!("{}/noise", registry.host());
    fs::write(engine.folder().join("noise.tar"), tar(&[("noise", &noise(1 << 20, 2))])).unwrap();
    engine.ok(&[
        "run",
        "--name",
        "box",
        "--network",
        "none",
        "busybox",
        "dd",
        "if=/dev/zero",
        "of=/layer",
        "bs=1M",
        "count=1",
    ]);
    for command in [&["pull", "-q", &name][..], &["import", "noise.tar", "made"], &["commit", "box", "made"]]
    {
        // What a pull has got so far, it keeps for the next one.
        for pages in [0, 1, 2, 8, 100] {
            disk.fill(pages);
            assert_refused(&engine.run(command), 1, "ENOSPC");
            assert_eq!(engine.ok(&["images", "--format", "{{.Repository}}"]), "busybox");
            disk.free();
        }
        engine.ok(command);
        let made = command.last().unwrap();
        let made = if command[0] == "pull" { &name } else { *made };
        engine.ok(&["rmi", made]);
        assert_eq!(half_made(&engine.data()), Vec::<String>::new(), "{command:?}");
        assert_eq!(Engine::entries(&engine.data().join("layers")).len(), 1);
        assert_eq!(Engine::entries(&engine.data().join("images/blobs/sha256")).len(), 3);
    }
    engine.ok(&["rm", "box"]);
}

#[test]
fn no_room_for_a_container_or_a_volume() {
    let Small { disk, engine } = Small::new();
    for (command, code, undo) in [
        (&["run", "--rm", "--name", "box", "--network", "none", "busybox", "true"][..], 125, None),
        (&["create", "--name", "box", "--network", "none", "busybox", "true"], 1, Some(&["rm", "box"][..])),
        (&["volume", "create", "kept"], 1, Some(&["volume", "rm", "kept"])),
        (&["network", "create", "lan"], 1, Some(&["network", "rm", "lan"])),
    ] {
        for pages in 0.. {
            // What a shim has still to remove would make room.
            until("it rests", || Engine::entries(&engine.fleeting()).is_empty());
            disk.fill(pages);
            let output = engine.run(command);
            disk.free();
            if output.status.success() {
                assert!(pages > 0, "{command:?} needs no room");
                break;
            }
            assert_refused(&output, code, "ENOSPC");
            assert_eq!(engine.ok(&["ps", "-aq"]), "");
            assert_eq!(engine.ok(&["volume", "ls", "-q"]), "");
        }
        undo.map(|undo| engine.ok(undo));
    }
    assert_eq!(half_made(&engine.data()), Vec::<String>::new());
}

#[test]
fn no_room_for_a_start() {
    let Small { disk, engine } = Small::new();
    let leftovers = Leftovers::default();
    for pages in 0.. {
        engine.ok(&["create", "--name", "box", "--network", "none", "busybox", "sleep", "1000"]);
        leftovers.look(&engine);
        disk.fill(pages);
        let output = engine.run(&["start", "box"]);
        let state = engine.inspect("box", "{{.State.Status}} {{.State.Pid}}");
        disk.free();
        if !output.status.success() {
            assert_refused(&output, 1, "ENOSPC");
            assert_eq!(state, "created 0");
            until("the shim has ended", || {
                leftovers.running(&engine).iter().all(|left| !left.starts_with("process"))
            });
            assert_eq!(leftovers.running(&engine), Vec::<String>::new(), "{pages} pages left");
        }
        engine.ok(&["rm", "-f", "box"]);
        leftovers.require_none(&engine, &format!("{pages} pages left: {output:?}"));
        if output.status.success() {
            assert!(pages > 0, "it needs no room");
            break;
        }
    }
}

#[test]
fn no_room_for_a_log() {
    let Small { disk, engine } = Small::new();
    // More than two pipes hold: the shim must have written some of it when all of it is on its way.
    let line = "echo a line of some length; while [ ! -e /go ]; do usleep 10000; done; for i in $(seq 6000); do echo a line of some length; done; touch /run/full; while [ ! -e /run/more ]; do usleep 10000; done; echo the last; exit 7";
    let run = ["run", "-d", "--name", "box", "--network", "none", "--tmpfs", "/run", "busybox", "sh", "-c"];
    engine.ok(&[&run[..], &[&line.replace("/go", "/run/go")]].concat());
    until("it has begun", || engine.ok(&["logs", "box"]) == "a line of some length");
    disk.fill(4);
    engine.ok(&["exec", "box", "touch", "/run/go"]);
    until("it has written more than there is room for", || {
        engine.run(&["exec", "box", "test", "-e", "/run/full"]).status.success()
    });
    disk.free();
    engine.let_end("box", "/run/more");
    // The container goes on to its own end, which is told, and why the log is not whole.
    assert_eq!(engine.ok(&["wait", "box"]), "7");
    assert_eq!(engine.inspect("box", "{{.State.Status}} {{.State.ExitCode}}"), "exited 7");
    let error = engine.inspect("box", "{{.State.Error}}");
    assert!(error.contains("log") && error.contains("ENOSPC"), "{error}");
    // No line is a half, and what comes when there is room again is whole.
    let logs = engine.ok(&["logs", "box"]);
    let (before, last) = logs.rsplit_once('\n').expect("more than a line");
    let odd: Vec<&str> = before.lines().filter(|line| *line != "a line of some length").collect();
    assert_eq!(odd, [] as [&str; 0], "of {} lines", before.lines().count());
    assert_eq!(last, "the last");
    engine.ok(&["rm", "box"]);
}

#[test]
fn no_room_for_a_state() {
    let Small { disk, engine } = Small::new();
    let line = "while [ ! -e /run/go ]; do usleep 10000; done; exit 7";
    let run =
        ["run", "-d", "--name", "box", "--network", "none", "--tmpfs", "/run", "busybox", "sh", "-c", line];
    engine.ok(&run);
    disk.fill(0);
    engine.let_end("box", "/run/go");
    assert_eq!(engine.ok(&["wait", "box"]), "7");
    let state = || engine.inspect("box", "{{.State.Status}} {{.State.ExitCode}}");
    assert_eq!(state(), "exited 7");
    // It can be started, or if there is no room for that, says so; how it ended last is not forgotten.
    let started = engine.run(&["start", "box"]);
    if !started.status.success() {
        assert_refused(&started, 1, "ENOSPC");
    }
    engine.ok(&["stop", "-t", "0", "box"]);
    disk.free();
    assert!(["exited 7", "exited 137"].contains(&&*state()), "{}", state());
    // Removing needs no room.
    disk.fill(0);
    engine.ok(&["rm", "box"]);
    disk.free();
}

#[test]
fn a_folder_that_cannot_be_written_to() {
    let Small { disk, engine } = Small::new();
    engine.ok(&["run", "--name", "box", "--network", "none", "-v", "kept:/kept", "busybox", "echo", "said"]);
    engine.ok(&["network", "ls"]);
    until("it rests", || Engine::entries(&engine.fleeting()).is_empty());
    disk.set_writable(false);
    for reading in [
        &["ps", "-a"][..],
        &["images"],
        &["inspect", "box", "busybox"],
        &["logs", "box"],
        &["volume", "ls"],
        &["volume", "inspect", "kept"],
        &["network", "ls"],
        &["network", "inspect", "bridge"],
        &["port", "box"],
        &["diff", "box"],
        &["wait", "box"],
        &["system", "df"],
        &["stats", "--no-stream"],
        &["info"],
        &["version"],
    ] {
        let output = engine.run(reading);
        assert!(output.status.success() && output.stderr.is_empty(), "{reading:?}: {output:?}");
    }
    let archive = engine.folder().join("busybox.tar").display().to_string();
    for (writing, code) in [
        (&["run", "--rm", "busybox", "true"][..], 125),
        (&["create", "busybox", "true"], 1),
        (&["start", "box"], 1),
        (&["rm", "box"], 1),
        (&["rename", "box", "other"], 1),
        (&["commit", "box", "made"], 1),
        (&["import", &archive, "made"], 1),
        (&["rmi", "busybox", "-f"], 1),
        (&["volume", "create", "other"], 1),
        (&["volume", "rm", "other"], 1),
        (&["network", "create", "lan"], 1),
        (&["update", "--memory", "64m", "box"], 1),
    ] {
        let output = engine.run(writing);
        eprintln!("{writing:?} {} {}", output.status, String::from_utf8_lossy(&output.stderr));
        assert_refused(&output, code, "EROFS");
    }
    disk.set_writable(true);
    engine.ok(&["start", "-a", "box"]);
    assert_eq!(engine.ok(&["ps", "-a", "--format", "{{.Names}}"]), "box");
    engine.ok(&["rm", "box"]);
}
