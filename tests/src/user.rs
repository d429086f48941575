//! An ordinary user with an engine, made for each test.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::accounts::{self, Account};
use crate::engine::Engine;
use crate::rootfs::Rootfs;
use crate::{network, output, programs, stdout, until};

/// The user's id.
pub const USER: u32 = 4242;
/// The first of the subordinate ones.
pub const FIRST: u32 = 300_000;

/// An ordinary user with a home and a folder for sockets, whom only this thread's host knows.
pub struct User {
    folder: TempDir,
    cgroup: Option<Delegated>,
}

impl User {
    /// A user with subordinate ids and an image `busybox`.
    pub fn new() -> Self {
        Self::without_image().with_busybox()
    }

    /// A user with subordinate ids.
    pub fn without_image() -> Self {
        Self::make(Some(FIRST))
    }

    /// A user without subordinate ids, with an image `busybox`.
    pub fn without_ids() -> Self {
        Self::make(None).with_busybox()
    }

    /// A user like [`User::new`], in a delegated cgroup with these controllers. For hosts with cgroup v2 alone.
    pub fn delegated(controllers: &[&str]) -> Self {
        let mut user = Self::without_image();
        user.cgroup = Some(Delegated::make(user.folder.path(), controllers));
        user.with_busybox()
    }

    fn make(subordinate: Option<u32>) -> Self {
        network::own();
        let user = Self { folder: tempfile::tempdir().expect("a temporary directory"), cgroup: None };
        fs::set_permissions(user.folder.path(), fs::Permissions::from_mode(0o755)).expect("our own folder");
        for name in ["home", "run"] {
            fs::create_dir(user.path(name)).expect("a fresh folder");
            fs::set_permissions(user.path(name), fs::Permissions::from_mode(0o700)).expect("our own folder");
            chown(user.path(name), Some(USER), Some(USER)).expect("root may give it away");
        }
        // A copy that is the user's, as if the user had installed it.
        programs::copy(Engine::program(), user.program());
        chown(user.program(), Some(USER), Some(USER)).expect("root may give it away");
        Account { name: "learner", id: USER, home: &user.path("home"), subordinate }
            .bring(user.folder.path());
        // Some hosts keep it to root; by the kernel's own choice it is everybody's.
        let tun = user.path("tun");
        stdout(Command::new("mknod").args(["-m", "666"]).arg(&tun).args(["c", "10", "200"]));
        accounts::cover(&tun, Path::new("/dev/net/tun"));
        user
    }

    fn with_busybox(self) -> Self {
        let root = Rootfs::busybox();
        let archive = self.path("busybox.tar");
        stdout(Command::new("tar").arg("-C").arg(root.path()).arg("-cf").arg(&archive).arg("."));
        self.ok(&["import", "--change", "CMD [\"sh\"]", archive.to_str().expect("a plain path"), "busybox"]);
        self
    }

    /// A path in the test's folder, where `home` and `run` are the user's.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The user's copy of the engine.
    pub fn program(&self) -> PathBuf {
        self.path("mini-docker")
    }

    /// The cgroup that is delegated to the user.
    pub fn cgroup(&self) -> &Path {
        &self.cgroup.as_ref().expect("a user in a delegated cgroup").path
    }

    /// The engine, run by the user.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(&self.program(), arguments)
    }

    /// A program, run by the user.
    pub fn command_of(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.path("home")).env_clear();
        command.env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", self.path("home"));
        command.env("XDG_RUNTIME_DIR", self.path("run")).uid(USER).gid(USER);
        if let Some(cgroup) = &self.cgroup {
            cgroup.enter(&mut command);
        }
        command
    }

    /// Runs a command of the engine's.
    pub fn run(&self, arguments: &[&str]) -> Output {
        output(&mut self.command(arguments))
    }

    /// Runs a command that must succeed; its standard output without the last line end.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {}\n{error}", output.status);
        String::from_utf8_lossy(&output.stdout).trim_end_matches('\n').to_owned()
    }

    /// Runs a command that must fail; its exit code and standard error.
    pub fn fails(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(!output.status.success(), "{arguments:?} succeeded");
        let error = String::from_utf8_lossy(&output.stderr);
        format!("{} {}", output.status.code().expect("it was not killed"), error.trim_end_matches('\n'))
    }

    /// Runs `line` in a container; what it prints.
    pub fn sh(&self, options: &[&str], line: &str) -> String {
        self.ok(&[&["run", "--rm"], options, &["busybox", "sh", "-c", line]].concat())
    }

    /// One value of a container or image, by a template.
    pub fn inspect(&self, object: &str, template: &str) -> String {
        self.ok(&["inspect", "--format", template, object])
    }

    /// The names and numbers of the user's processes.
    pub fn processes(&self) -> Vec<(String, i32)> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").expect("/proc").flatten() {
            let Ok(status) = fs::read_to_string(entry.path().join("status")) else { continue };
            let Ok(environ) = fs::read(entry.path().join("environ")) else { continue };
            let run = self.path("run").display().to_string();
            if String::from_utf8_lossy(&environ).contains(&run) && !status.contains("State:\tZ") {
                let name = status.lines().next().and_then(|line| line.strip_prefix("Name:\t"));
                let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
                found.extend(name.map(str::to_owned).zip(pid));
            }
        }
        found
    }
}

impl Default for User {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let ids = self.ok(&["ps", "--all", "--quiet"]);
        let mut remove = vec!["rm", "--force", "--volumes"];
        remove.extend(ids.lines());
        if remove.len() > 3 {
            self.ok(&remove);
        }
        if !std::thread::panicking() {
            until("nothing of the user's runs", || self.processes().is_empty());
        }
    }
}

/// A cgroup that is a user's, as systemd's `user@UID.service` is, with a cgroup for a session in it.
struct Delegated {
    path: PathBuf,
}

impl Delegated {
    /// Makes it, named after the test's folder, below the root of cgroup v2. (kernel, admin-guide/cgroup-v2.rst,
    /// "Delegation")
    fn make(folder: &Path, controllers: &[&str]) -> Self {
        let root = Path::new("/sys/fs/cgroup");
        assert!(root.join("cgroup.procs").exists(), "{} is not cgroup v2", root.display());
        // A tree of its own: which controllers there are in it is no other test's business.
        let name = folder.file_name().expect("a folder has a name").to_string_lossy();
        let above = root.join(format!("mini-docker-user-{}", name.trim_start_matches('.')));
        let own = Self { path: above.join("service") };
        fs::create_dir(&above).expect("root may make cgroups");
        let enable = |directory: &Path, controllers: &[&str]| {
            let line: Vec<String> = controllers.iter().map(|name| format!("+{name}")).collect();
            fs::write(directory.join("cgroup.subtree_control"), line.join(" ")).expect("it has these");
        };
        enable(root, controllers);
        enable(&above, controllers);
        for directory in [own.path.clone(), own.path.join("session")] {
            fs::create_dir(&directory).expect("root may make cgroups");
            for name in ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"] {
                chown(directory.join(name), Some(USER), Some(USER)).expect("root may give it away");
            }
        }
        own
    }

    /// Lets a command begin in the session.
    fn enter(&self, command: &mut Command) {
        // Opened by root, as whom the kernel judges: the user could not come here from outside.
        let procs = File::options().write(true).open(self.path.join("session/cgroup.procs"));
        let procs = procs.expect("a cgroup of our own");
        // SAFETY: one system call, on memory that was prepared before.
        unsafe { command.pre_exec(move || (&procs).write_all(b"0")) };
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        let above = self.path.parent().expect("the one above").to_owned();
        // What a failed test left running ends here.
        if std::thread::panicking() {
            fs::write(above.join("cgroup.kill"), "1").expect("a cgroup of our own");
        }
        // Whose processes have ended is free a moment later.
        until("the user's cgroups can be removed", || remove_tree(&above).is_ok());
    }
}

/// Removes a cgroup and those below it.
fn remove_tree(directory: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(directory)
}
