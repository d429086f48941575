//! An engine with folders of its own, and everything gone when the test ends.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::rootfs::Rootfs;
use crate::{mounts, network, output, stdout, until};

/// mini-docker on empty folders.
pub struct Engine {
    folder: TempDir,
    is_in_memory: bool,
}

impl Engine {
    /// An engine without images, in this test's own network ([`network::own`]).
    pub fn new() -> Self {
        network::own();
        let folder = tempfile::tempdir().expect("a temporary directory");
        // As /var/lib and /run: a container's root that is nobody here must be able to come to its files.
        let everybody = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.path(), everybody).expect("a directory of our own");
        Self { folder, is_in_memory: false }
    }

    /// An engine without images that keeps everything in memory, for large ones.
    pub fn in_memory() -> Self {
        let mut engine = Self::new();
        mounts::in_memory(engine.folder());
        engine.is_in_memory = true;
        engine
    }

    /// An engine with an image `busybox` that has a shell, and a user called `user`.
    pub fn with_busybox() -> Self {
        let engine = Self::new();
        let root = Rootfs::busybox();
        let archive = engine.folder.path().join("busybox.tar");
        stdout(Command::new("tar").arg("-C").arg(root.path()).arg("-cf").arg(&archive).arg("."));
        stdout(engine.command(&["import", "--change", "CMD [\"sh\"]"]).arg(archive).arg("busybox"));
        engine
    }

    /// The engine's program.
    pub fn program() -> PathBuf {
        let this = std::env::current_exe().expect("this program");
        let directory = this.parent().expect("a program in a directory");
        // Cargo puts tests below the programs' directory.
        let directory = directory.parent().filter(|_| directory.ends_with("deps")).unwrap_or(directory);
        let program = directory.join("mini-docker");
        assert!(program.exists(), "{} is not there: run `cargo build` first", program.display());
        program
    }

    /// Where it keeps images and containers.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Where it keeps what is fleeting.
    pub fn exec(&self) -> PathBuf {
        self.folder.path().join("exec")
    }

    /// Where it keeps what is fleeting about containers.
    pub fn fleeting(&self) -> PathBuf {
        self.exec().join("containers")
    }

    /// A container that greets whoever connects to its port 80, ready to do so.
    pub fn greeter(&self, name: &str, options: &[&str]) {
        let line = format!("exec nc -ll -p 80 -e echo {name}");
        self.ok(&[&["run", "-d", "--name", name], options, &["busybox", "sh", "-c", &line]].concat());
        until("it listens", || {
            let pid = self.inspect(name, "{{.State.Pid}}");
            // Port 80, and the state of a socket that listens.
            std::fs::read_to_string(format!("/proc/{pid}/net/tcp6"))
                .is_ok_and(|table| table.contains(":0050 ") && table.contains(" 0A "))
                || std::fs::read_to_string(format!("/proc/{pid}/net/tcp"))
                    .is_ok_and(|table| table.contains(":0050 ") && table.contains(" 0A "))
        });
    }

    /// The addresses that are taken in any of its networks.
    pub fn leases(&self) -> Vec<String> {
        let networks = self.exec().join("networks");
        if !networks.exists() {
            return Vec::new();
        }
        let taken = |network: &String| {
            let leases = networks.join(network).join("leases");
            if leases.exists() { Self::entries(&leases) } else { Vec::new() }
        };
        Self::entries(&networks).iter().flat_map(taken).collect()
    }

    /// A folder for the test's own files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A command of this engine.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(Self::program());
        command.env("MINI_DOCKER_DATA_ROOT", self.data()).env("MINI_DOCKER_EXEC_ROOT", self.exec());
        command.current_dir(self.folder()).args(arguments);
        command
    }

    /// Runs a command.
    pub fn run(&self, arguments: &[&str]) -> Output {
        output(&mut self.command(arguments))
    }

    /// Runs a command that must succeed; its standard output without the last line end.
    pub fn ok(&self, arguments: &[&str]) -> String {
        stdout(&mut self.command(arguments)).trim_end_matches('\n').to_owned()
    }

    /// Runs a command that must fail; its exit code and standard error.
    pub fn fails(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{arguments:?} succeeded: {output:?}");
        format!("{} {}", output.status.code().expect("it was not killed"), error.trim_end_matches('\n'))
    }

    /// Makes the file that the container's program waits for to end. Its end may come first, and take the command with it.
    pub fn let_end(&self, container: &str, file: &str) {
        let output = self.run(&["exec", container, "touch", file]);
        assert!(matches!(output.status.code(), Some(0 | 137)), "{output:?}");
    }

    /// One value of a container or image, by a template.
    pub fn inspect(&self, object: &str, template: &str) -> String {
        self.ok(&["inspect", "--format", template, object])
    }

    /// The names of what lies in a folder of the engine's.
    pub fn entries(path: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(path).expect("a folder of the engine's");
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

impl Default for Engine {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let ids = self.ok(&["ps", "--all", "--quiet", "--no-trunc"]);
        let mut remove = vec!["rm", "--force", "--volumes"];
        remove.extend(ids.lines());
        if remove.len() > 3 {
            self.ok(&remove);
        }
        // A shim answers before it has tidied up.
        let is_empty = |path: PathBuf| !path.exists() || Self::entries(&path).is_empty();
        if !std::thread::panicking() {
            until("nothing fleeting stays", || is_empty(self.fleeting()));
            until("no address is taken", || self.leases().is_empty());
            until("no container stays", || is_empty(self.data().join("containers")));
            until("no name stays", || is_empty(self.data().join("names")));
        }
        if self.is_in_memory {
            mounts::forget(self.folder());
        }
    }
}
