//! The engine's own binary is a file of the host's that runs in every container for a moment.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use testbed::engine::Engine;
use testbed::rootfs::Rootfs;
use testbed::user::{USER, User};
use testbed::{programs, stdout, until, until_within};

/// Takes hold of the program of whatever process is not busybox, waits for its end, and writes to it until that is
/// done or refused for good: "text file busy" only means not yet.
const THIEF: &str = "
    until [ -e /spoils/caught ]; do
        for process in /proc/[0-9]*; do
            case $(readlink $process/exe) in
                */busybox|'') ;;
                *) exec 9< $process/exe && touch /spoils/caught && break;;
            esac
        done
    done
    while [ -e $process ]; do usleep 10000; done
    for attempt in $(seq 100); do
        if echo overwritten > /proc/self/fd/9; then break; fi
        usleep 10000
    done 2> /spoils/refused
    touch /spoils/done
    sleep 1000";

/// Whose engine is about to be robbed.
enum Victim {
    Root(Engine),
    Ordinary(User),
}

impl Victim {
    /// A command of theirs, run by this copy of the engine.
    fn command(&self, program: &Path, arguments: &[&str]) -> Command {
        match self {
            Self::Root(engine) => by(program, engine, arguments),
            Self::Ordinary(user) => user.command_of(program, arguments),
        }
    }

    /// A fresh folder of theirs.
    fn folder(&self, name: &str) -> PathBuf {
        let path = match self {
            Self::Root(engine) => engine.folder().join(name),
            Self::Ordinary(user) => user.path(name),
        };
        fs::create_dir(&path).expect("a fresh folder");
        self.give(&path);
        path
    }

    /// Makes a file theirs.
    fn give(&self, path: &Path) {
        if let Self::Ordinary(_) = self {
            chown(path, Some(USER), Some(USER)).expect("root may give it away");
        }
    }
}

/// An engine that is about to be robbed.
struct Scene {
    victim: Victim,
    /// The binary that the attack is about, a copy, which belongs to who runs it.
    binary: PathBuf,
    spoils: PathBuf,
}

impl Scene {
    /// A thief runs already. It was started by another binary, as after an update: so nothing but what is attacked
    /// runs this one.
    fn new(victim: Victim) -> Self {
        let root = Rootfs::busybox();
        root.write("bin/script", "#!/proc/self/exe import\n");
        fs::set_permissions(root.join("bin/script"), fs::Permissions::from_mode(0o755)).expect("our file");
        let (spoils, folder) = (victim.folder("spoils"), victim.folder("programs"));
        let [other, binary] = ["other", "mini-docker"].map(|name| {
            let copy = folder.join(name);
            programs::copy(Engine::program(), &copy);
            victim.give(&copy);
            copy
        });
        let archive = folder.join("image.tar");
        stdout(Command::new("tar").arg("-C").arg(root.path()).arg("-cf").arg(&archive).arg("."));
        let archive = archive.display().to_string();
        stdout(&mut victim.command(&other, &["import", "--change", "CMD [\"sh\"]", &archive, "evil"]));
        let bind = format!("{}:/spoils", spoils.display());
        let thief = ["run", "-d", "--name", "thief", "-v", &bind, "busybox", "sh", "-c", THIEF];
        stdout(&mut victim.command(&other, &thief));
        Self { victim, binary, spoils }
    }

    /// Runs containers among the thief's processes by the binary, until one was caught and the thief is through.
    fn attack(&self, options: &[&str], command: &[&str]) {
        let run = ["run", "--rm", "-i", "--pid", "container:thief"];
        self.attack_by(&[&run[..], options, &["evil"], command].concat());
    }

    fn attack_by(&self, arguments: &[&str]) {
        let before = fs::read(&self.binary).expect("our copy");
        let (caught, done) = (self.spoils.join("caught"), self.spoils.join("done"));
        // A script's engine lives for a moment only, and the thief has to look just then.
        until_within(Duration::from_secs(90), "the thief holds the engine's binary", || {
            let mut run = self.victim.command(&self.binary, arguments);
            let run = run.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
            let mut run = run.expect("the copy runs");
            // It waits for its input, or has ended at once.
            until("it is caught, or has ended", || {
                caught.exists() || run.try_wait().expect("our child").is_some()
            });
            drop(run.stdin.take());
            run.wait().expect("our child");
            caught.exists()
        });
        until("the thief has tried", || done.exists());
        let refused = fs::read_to_string(self.spoils.join("refused")).expect("what the thief was told");
        assert!(fs::read(&self.binary).expect("our copy") == before, "the engine's binary was changed");
        assert!(refused.contains("Read-only file system"), "{refused}");
    }
}

/// Root, and an ordinary user, who owns the binary: both can write to it.
fn victims() -> [Victim; 2] {
    [Victim::Root(Engine::with_busybox()), Victim::Ordinary(User::new())]
}

/// A command of `engine`'s, run by another copy of its program.
fn by(program: &Path, engine: &Engine, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command
        .env("MINI_DOCKER_DATA_ROOT", engine.data())
        .env("MINI_DOCKER_EXEC_ROOT", engine.exec())
        .args(arguments);
    command
}

/// CVE-2019-5736: an image whose program is `/proc/self/exe` is run by the engine's own binary, which another
/// process in the container then opens, and overwrites as soon as it no longer runs.
#[test]
fn an_entrypoint_that_is_the_engine() {
    // `import -` waits for its input.
    victims()
        .into_iter()
        .for_each(|victim| Scene::new(victim).attack(&["--entrypoint", "/proc/self/exe"], &["import", "-"]));
}

/// CVE-2019-5736 once more: a script whose interpreter is `/proc/self/exe`.
#[test]
fn a_script_whose_interpreter_is_the_engine() {
    victims().into_iter().for_each(|victim| Scene::new(victim).attack(&["--entrypoint", "/bin/script"], &[]));
}

/// CVE-2019-5736, without any trick: with `--init` the engine's binary is process 1.
#[test]
fn an_init_process_that_is_the_engine() {
    victims().into_iter().for_each(|victim| Scene::new(victim).attack(&["--init"], &["cat"]));
}

/// CVE-2019-5736, as it was first found: a command that comes later into the container runs `/proc/self/exe` there.
#[test]
fn a_later_command_that_is_the_engine() {
    let command = ["exec", "-i", "thief", "/proc/self/exe", "import", "-"];
    victims().into_iter().for_each(|victim| Scene::new(victim).attack_by(&command));
}

/// The same where nobody is in the container to do it yet: whoever enters it later finds a binary that he cannot write,
/// however it has come to run there. Whether the image's files are its own makes no difference.
#[test]
fn an_engine_alone_in_its_container() {
    let engine = Engine::with_busybox();
    let root = Rootfs::busybox();
    std::os::unix::fs::symlink("/proc/self/exe", root.join("bin/engine")).expect("a fresh root");
    std::os::unix::fs::symlink("/dev/shm/../../proc/self", root.join("self")).expect("a fresh root");
    crate::import(&engine, "evil", &root);
    engine.ok(&["volume", "create", "lent"]);
    let lent = PathBuf::from(engine.ok(&["volume", "inspect", "--format", "{{.Mountpoint}}", "lent"]).trim());
    std::os::unix::fs::symlink("/proc/self/exe", lent.join("engine")).expect("a fresh volume");
    let identity = |path: &Path| fs::metadata(path).map(|file| (file.dev(), file.ino()));
    let own = identity(&Engine::program()).expect("our program");
    for entrypoint in ["engine", "/self/exe", "/lent/engine"] {
        // It waits for its input.
        let options = ["run", "-d", "-i", "--name", "it", "-v", "lent:/lent", "--entrypoint", entrypoint];
        engine.ok(&[&options[..], &["evil", "import", "-"]].concat());
        let mapped = format!("/proc/{}/map_files", engine.inspect("it", "{{.State.Pid}}"));
        let mapped: Vec<PathBuf> =
            fs::read_dir(mapped).expect("it runs").map(|file| file.expect("it runs").path()).collect();
        let ours: Vec<&PathBuf> =
            mapped.iter().filter(|file| identity(file).is_ok_and(|file| file == own)).collect();
        assert!(!ours.is_empty(), "{entrypoint} runs something else");
        for file in ours {
            let mount = rustix::fs::statvfs(file).expect("a program's mount");
            assert!(mount.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY), "{entrypoint}");
        }
        engine.ok(&["rm", "-f", "it"]);
    }
}

/// Root in the container writes to its process 1's program.
#[test]
fn process_1_cannot_be_written() {
    let engine = Engine::with_busybox();
    let victim = engine.folder().join("mini-docker");
    programs::copy(Engine::program(), &victim);
    let before = fs::read(&victim).unwrap();
    let line = "for exe in /proc/1/exe /proc/self/exe; do (echo bad > $exe) 2>&1; done; \
                mount -o remount,rw /proc/1/exe 2>&1; chmod 777 /proc/1/exe 2>&1; true";
    let mut run = by(&victim, &engine, &["run", "--rm", "--init", "busybox", "sh", "-c", line]);
    let said = testbed::stdout(&mut run);
    assert!(said.lines().next().unwrap().contains("/proc/1/exe: Read-only file system"), "{said}");
    assert!(said.lines().last().unwrap().contains("/proc/1/exe: Read-only file system"), "{said}");
    assert!(fs::read(&victim).unwrap() == before, "the engine's binary was changed");
}
