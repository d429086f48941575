//! Bundles, and runtimes to run them with.
#![allow(dead_code, reason = "each test file uses a part of this")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::rootfs::Rootfs;

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_runtime");

/// A busybox bundle, and a runtime's folder, both removed when dropped, with the containers in it.
pub(crate) struct Bench {
    pub(crate) root: Rootfs,
    directory: TempDir,
    pub(crate) config: Value,
    runtime: PathBuf,
}

impl Bench {
    /// A bundle that prints nothing and ends, for the runtime under test.
    pub(crate) fn new() -> Self {
        Self::with(PROGRAM)
    }

    /// Likewise, for another runtime.
    pub(crate) fn with(runtime: impl Into<PathBuf>) -> Self {
        let (root, directory) = (Rootfs::busybox(), tempfile::tempdir().expect("a temporary directory"));
        // A root that is not the host's has to get in, and may not make mount points.
        for name in ["proc", "dev", "sys"] {
            fs::create_dir(root.join(name)).expect("our own directory");
        }
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(root.path(), open).expect("our own directory");
        let mut config = base();
        config["root"]["path"] = json!(root.path());
        let name = directory.path().file_name().expect("it has a name").to_string_lossy().into_owned();
        config["linux"]["cgroupsPath"] = json!(format!("/runtime-tests{name}"));
        Self { root, directory, config, runtime: runtime.into() }
    }

    /// The same with a shell line to run.
    pub(crate) fn sh(line: &str) -> Self {
        let mut bench = Self::new();
        bench.set("/process/args", json!(["sh", "-c", line]));
        bench
    }

    /// Sets what is at a JSON pointer, making objects on the way; `-` at the end adds to an array.
    pub(crate) fn set(&mut self, pointer: &str, value: Value) {
        set(&mut self.config, pointer, value);
    }

    /// The directory of the bundle; files of a test may go there too.
    pub(crate) fn bundle(&self) -> &Path {
        self.directory.path()
    }

    /// The cgroup's path below the trees' roots.
    pub(crate) fn cgroup(&self) -> &str {
        self.config["linux"]["cgroupsPath"].as_str().expect("a text")
    }

    /// A command of the runtime's.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        fs::write(self.bundle().join("config.json"), self.config.to_string()).expect("our own directory");
        let mut command = Command::new(&self.runtime);
        command.arg("--root").arg(self.bundle().join("state")).args(arguments).current_dir(self.bundle());
        command.stdin(Stdio::null());
        command
    }

    /// Runs a command whose output nobody keeps open after its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        testbed::output(&mut self.command(arguments))
    }

    /// Likewise, which must succeed; its output.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        testbed::stdout(&mut self.command(arguments))
    }

    /// Creates the container `c`, whose output goes to a file that is returned.
    pub(crate) fn create(&self, more: &[&str]) -> PathBuf {
        let path = self.bundle().join("output");
        let file = fs::File::create(&path).expect("our own directory");
        let errors = file.try_clone().expect("a copy");
        let arguments: Vec<&str> = ["create"].iter().chain(more).chain(&["c"]).copied().collect();
        let status = self.command(&arguments).stdout(file).stderr(errors).status().expect("it starts");
        assert!(status.success(), "{}", fs::read_to_string(&path).expect("it is there"));
        path
    }

    /// What `state` says the container is doing.
    pub(crate) fn status(&self) -> String {
        let state: Value = serde_json::from_str(&self.ok(&["state", "c"])).expect("JSON");
        state["status"].as_str().expect("a text").to_owned()
    }

    /// Waits until the container is `status`.
    pub(crate) fn until(&self, status: &str) {
        testbed::until(status, || self.status() == status);
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.run(&["delete", "--force", "c"]);
    }
}

/// A config with the usual mounts and namespaces, whose program is `true`.
pub(crate) fn base() -> Value {
    let directory = tempfile::tempdir().expect("a temporary directory");
    testbed::stdout(Command::new(PROGRAM).arg("spec").current_dir(directory.path()));
    let text = fs::read_to_string(directory.path().join("config.json")).expect("it was written");
    let mut config: Value = serde_json::from_str(&text).expect("JSON");
    config["ociVersion"] = json!("1.0.2");
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["true"]);
    config
}

/// Sets what is at a JSON pointer.
pub(crate) fn set(config: &mut Value, pointer: &str, value: Value) {
    let (parent, name) = pointer.rsplit_once('/').expect("a pointer begins with a slash");
    let mut place = config;
    for part in parent.split('/').skip(1) {
        place = match part.parse::<usize>() {
            Ok(number) => &mut place[number],
            Err(_) => &mut place[part],
        };
    }
    match (name, name.parse::<usize>()) {
        ("-", _) if place.is_null() => *place = json!([value]),
        ("-", _) => place.as_array_mut().expect("an array").push(value),
        (_, Ok(number)) => place[number] = value,
        _ => place[name] = value,
    }
}

/// What a failed command said, on one line.
pub(crate) fn complaint(output: &Output) -> String {
    assert!(!output.status.success(), "it should have failed");
    let said = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
    assert!(!said.is_empty(), "it failed without a word: {}", output.status);
    said
}
