//! A place to run a learner's program in, from which nothing reaches the host.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tempfile::TempDir;

use crate::check::{Failure, Stop};
use crate::escape;
use crate::host;
use crate::process::Process;
use crate::sandbox::{self, Look};

/// How long a program may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(5);
/// How large a file a program may write, in bytes. More would be by mistake, and fill this machine's disk.
const LARGEST_FILE: u64 = 256 << 20;
/// How much is read of what a program prints, in bytes.
const MOST_SAID: u64 = 4096;
/// What the shell inside prints when it is where it should be; it ends when its standard input does.
pub const HOLD: &str = "echo ready; read line";

/// Programs inside the root.
const APPLETS: &[&str] = &[
    "cat", "chown", "dd", "echo", "grep", "head", "hostname", "httpd", "id", "ip", "kill", "ls", "mknod",
    "mount", "nc", "ps", "readlink", "sh", "sleep", "stat", "tail", "test", "true", "wc", "wget",
];

/// A learner's program, and a root for it.
#[derive(Debug)]
pub struct Bench {
    program: PathBuf,
    shown: Shown,
    directory: Arc<TempDir>,
    /// The user and the group that programs are started as, if they are not this process's.
    user: Option<(u32, u32)>,
    /// What was in the root at first.
    files: BTreeSet<PathBuf>,
}

/// What commands are shown with, so that the learner can repeat them.
#[derive(Debug, Clone)]
pub struct Shown {
    /// What stands before it, such as `sudo`, with a blank behind it.
    pub prefix: String,
    /// The program.
    pub program: String,
    /// The root.
    pub root: String,
}

/// A program that has ended.
#[derive(Debug)]
pub struct Ran {
    /// The command, as shown.
    pub command: String,
    /// How it ended; `None` if it had to be killed.
    pub status: Option<ExitStatus>,
    /// What it printed.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
    /// The host before.
    pub before: Look,
    /// The host afterwards.
    pub after: Look,
    /// How many processes it left.
    pub left: usize,
}

/// A program that runs, and waits inside.
#[derive(Debug)]
pub struct Held {
    /// The command, as shown.
    pub command: String,
    /// The learner's program.
    pub program: Process,
    /// The shell inside.
    pub inside: Process,
    /// The host that the program was started on.
    pub outside: Look,
}

impl Bench {
    /// A place for `program`. `attacker` is a program that attacks if it is called [`escape::NAME`].
    pub fn new(program: &Path, shown: Shown, attacker: &Path) -> Result<Self> {
        // Whom a program leaves behind becomes a child of ours, and is found.
        nix::sys::prctl::set_child_subreaper(true).context("cannot adopt orphans")?;
        let directory =
            tempfile::Builder::new().prefix("lab-").tempdir().context("cannot make a directory")?;
        let root = directory.path().join("root");
        make_root(&root)?;
        make_layers(directory.path())?;
        install(attacker, &root)?;
        let mut files = BTreeSet::new();
        list(&root, &mut files)?;
        Ok(Self { program: program.to_owned(), shown, directory: Arc::new(directory), user: None, files })
    }

    /// The same place, in which programs are started as this user, in this group and in no other.
    pub fn as_user(&self, user: u32, group: u32) -> Result<Self> {
        // Where the program lies, may be closed to others.
        let program = self.beside("program");
        if !program.exists() {
            fs::copy(&self.program, &program).context("cannot copy the program")?;
        }
        fs::set_permissions(self.directory.path(), fs::Permissions::from_mode(0o755))
            .context("cannot open a directory to others")?;
        Ok(Self {
            program,
            shown: self.shown.clone(),
            directory: Arc::clone(&self.directory),
            user: Some((user, group)),
            files: self.files.clone(),
        })
    }

    /// The root that programs are given.
    pub fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    /// What is called `name`, beside the root.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The files in what is called `name` beside the root, each with its size.
    pub fn list(&self, name: &str) -> Result<BTreeSet<String>> {
        let (tree, mut files) = (self.beside(name), BTreeSet::new());
        list(&tree, &mut files)?;
        let shown = |path: &PathBuf| -> Result<String> {
            let file = fs::symlink_metadata(path).context("cannot look at a file")?;
            let inside = path.strip_prefix(&tree).unwrap_or(path).display();
            Ok(if file.is_dir() { format!("/{inside}") } else { format!("/{inside} ({} bytes)", file.len()) })
        };
        files.iter().map(shown).collect()
    }

    /// The paths of the plain files in what is called `name` beside the root. None, if there is no such thing.
    pub fn files(&self, name: &str) -> Result<Vec<PathBuf>> {
        let (tree, mut files) = (self.beside(name), BTreeSet::new());
        if tree.exists() {
            list(&tree, &mut files)?;
        }
        Ok(files.into_iter().filter(|path| path.is_file()).collect())
    }

    /// The files in the root that were not there at first, as paths inside.
    pub fn new_files(&self) -> Result<Vec<String>> {
        let (root, mut files) = (self.root(), BTreeSet::new());
        list(&root, &mut files)?;
        let inside = |path: &PathBuf| format!("/{}", path.strip_prefix(&root).unwrap_or(path).display());
        Ok(files.difference(&self.files).map(inside).collect())
    }

    /// `box ROOT COMMAND`, to its end.
    pub fn run(&self, command: &[&str]) -> Result<Ran> {
        self.run_with(&[], command)
    }

    /// `box OPTIONS ROOT COMMAND`, to its end.
    pub fn run_with(&self, options: &[&str], command: &[&str]) -> Result<Ran> {
        self.run_words(&self.words(options, command))
    }

    /// `box WORDS`, to its end, for a program that takes no root.
    pub fn run_words(&self, words: &[String]) -> Result<Ran> {
        let known = Process::own().children();
        let ran = self.run_leaving(words)?;
        end_orphans(&known)?;
        Ok(ran)
    }

    /// Likewise, and whoever is left lives on: see [`with_orphans`].
    pub fn run_leaving(&self, words: &[String]) -> Result<Ran> {
        let known = Process::own().children();
        let (status, before, after) =
            sandbox::with(self.directory.path(), || self.start(words), |mut child, _| wait(&mut child))?;
        let left = orphans(&known).into_iter().filter(|orphan| orphan.is_alive()).count();
        Ok(Ran {
            command: self.shown(words),
            status,
            stdout: self.said("stdout")?,
            stderr: self.said("stderr")?,
            before: self.as_shown(before),
            after: self.as_shown(after),
            left,
        })
    }

    /// `box OPTIONS ROOT sh -c LINE`, until the line has printed `ready`; then calls `observe`, and ends it.
    pub fn hold<T>(
        &self,
        options: &[&str],
        line: &str,
        observe: impl FnOnce(&Held) -> Result<T, Stop>,
    ) -> Result<T, Stop> {
        self.hold_to_end(options, line, observe).map(|(observed, _)| observed)
    }

    /// Likewise; returns also how it ended, for the learner.
    pub fn hold_to_end<T>(
        &self,
        options: &[&str],
        line: &str,
        observe: impl FnOnce(&Held) -> Result<T, Stop>,
    ) -> Result<(T, String), Stop> {
        let words = self.words(options, &["/bin/sh", "-c", line]);
        let (known, shown) = (Process::own().children(), self.shown(&words));
        let ((observed, status), _, _) = sandbox::with(
            self.directory.path(),
            || self.start(&words),
            |mut child, outside| {
                let held = self.until_ready(&mut child, shown, outside);
                let observed = held.and_then(|held| observe(&held));
                drop(child.stdin.take());
                Ok((observed, wait(&mut child)?))
            },
        )?;
        end_orphans(&known)?;
        Ok((observed?, describe(status, &self.said("stderr")?)))
    }

    fn until_ready(&self, child: &mut Child, command: String, outside: &Look) -> Result<Held, Stop> {
        let deadline = Instant::now() + PATIENCE;
        let shell = self.root().join("bin/busybox");
        let program = Process(child.id());
        loop {
            let ended = child.try_wait()?;
            let inside = program.family().into_iter().find(|process| process.runs(&shell));
            if let (true, Some(inside)) = (self.said("stdout")?.contains("ready\n"), inside) {
                return Ok(Held { command, program, inside, outside: outside.clone() });
            }
            if ended.is_some() || Instant::now() > deadline {
                let seen = describe(ended, &self.said("stderr")?);
                let expected = "a shell runs inside, and prints \"ready\"".into();
                return Err(Stop::Failed(Failure { command, expected, seen }));
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn start(&self, words: &[String]) -> Result<Child> {
        // Files, not pipes: the end of a pipe is when the last holder has ended, and some programs leave one.
        let file = |name: &str| File::create(self.directory.path().join(name)).context("cannot make a file");
        let (stdout, stderr) = (file("stdout")?, file("stderr")?);
        // A program is started with the limits that this process has.
        let own = getrlimit(Resource::Fsize);
        let largest = own.current.map_or(LARGEST_FILE, |own| own.min(LARGEST_FILE));
        setrlimit(Resource::Fsize, Rlimit { current: Some(largest), ..own })
            .context("cannot limit the size of files")?;
        let mut command = Command::new(&self.program);
        command.args(words).stdin(Stdio::piped()).stdout(stdout).stderr(stderr).current_dir("/");
        // The first line of a panic says it; the way there is long.
        command.env_remove("RUST_BACKTRACE");
        if let Some((user, group)) = self.user {
            // Root's other groups are given up with it.
            command.uid(user).gid(group);
        }
        let started = command.spawn().with_context(|| format!("cannot run {}", self.program.display()));
        setrlimit(Resource::Fsize, own).context("cannot lift a limit")?;
        started
    }

    /// The beginning of what was printed.
    fn said(&self, stream: &str) -> Result<String> {
        let mut said = Vec::new();
        let file = File::open(self.directory.path().join(stream)).context("cannot open what was printed")?;
        file.take(MOST_SAID).read_to_end(&mut said).context("cannot read what was printed")?;
        Ok(self.as_learners(&String::from_utf8_lossy(&said)))
    }

    /// A look in which the root has the path that is shown.
    fn as_shown(&self, mut look: Look) -> Look {
        look.mounts.iter_mut().for_each(|mount| *mount = self.as_learners(mount));
        look
    }

    /// `text` with the paths of the learner's folder in place of this one's.
    fn as_learners(&self, text: &str) -> String {
        let folder = self.shown.root.strip_suffix("root").unwrap_or_default();
        text.replace(&format!("{}/", self.directory.path().display()), folder)
    }

    fn words(&self, options: &[&str], command: &[&str]) -> Vec<String> {
        let root = self.root().display().to_string();
        options.iter().chain(&[root.as_str()]).chain(command).map(|word| (*word).to_owned()).collect()
    }

    fn shown(&self, words: &[String]) -> String {
        let words = [&self.shown.program].into_iter().chain(words);
        self.shown.prefix.clone()
            + &words.map(|word| quoted(&self.as_learners(word))).collect::<Vec<_>>().join(" ")
    }
}

impl Ran {
    /// Exit code and complaints, for the learner.
    pub fn seen(&self) -> String {
        describe(self.status, &self.stderr)
    }

    /// The mounts on the host that were not there before.
    pub fn new_mounts(&self) -> Vec<String> {
        let mut new = self.after.mounts.clone();
        for mount in &self.before.mounts {
            if let Some(known) = new.iter().position(|other| other == mount) {
                new.remove(known);
            }
        }
        // A mount may have come by several ways.
        new.sort();
        new.dedup();
        new
    }

    /// Its exit code, if it has ended with one.
    pub fn code(&self) -> Option<i32> {
        self.status.and_then(|status| status.code())
    }
}

/// A small root file system at `root`.
pub fn make_root(root: &Path) -> Result<()> {
    let busybox = host::busybox().context("there is no busybox: cargo xtask setup installs it")?;
    for directory in ["bin", "dev", "etc", "proc", "sys", "tmp"] {
        fs::create_dir_all(root.join(directory)).context("cannot make a root")?;
    }
    fs::copy(busybox, root.join("bin/busybox")).context("cannot copy busybox")?;
    for applet in APPLETS {
        symlink("busybox", root.join("bin").join(applet)).context("cannot make a link")?;
    }
    fs::write(root.join("etc/motd"), "This is the root that you were given.\n").context("cannot write a file")
}

/// Two layers in `directory`, to go on top of [`make_root`]'s, with the marks that images have.
pub fn make_layers(directory: &Path) -> Result<()> {
    let files = [
        ("root/data/old", "below\n"),
        ("root/etc/gone", "below\n"),
        ("root/etc/issue", "of the root\n"),
        ("one/one", "in layer one\n"),
        ("one/etc/issue", "of layer one\n"),
        ("one/etc/.wh.gone", ""),
        ("two/two", "in layer two\n"),
        ("two/etc/issue", "of layer two\n"),
        ("two/data/.wh..wh..opq", ""),
        ("two/data/new", "above\n"),
    ];
    for (path, text) in files {
        let path = directory.join(path);
        let parent = path.parent().context("a file lies in a directory")?;
        fs::create_dir_all(parent).and_then(|()| fs::write(&path, text)).context("cannot make a layer")?;
    }
    Ok(())
}

/// Puts the program `attacker` into `root`.
pub fn install(attacker: &Path, root: &Path) -> Result<()> {
    fs::copy(attacker, root.join("bin").join(escape::NAME)).context("cannot copy the attacker")?;
    Ok(())
}

/// All that is in `directory`.
fn list(directory: &Path, found: &mut BTreeSet<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            list(&entry.path(), found)?;
        }
        found.insert(entry.path());
    }
    Ok(())
}

/// Waits for the end of `child`; kills it and all that it started if that takes too long.
fn wait(child: &mut Child) -> Result<Option<ExitStatus>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().context("cannot wait")? {
            return Ok(Some(status));
        }
        if Instant::now() > deadline {
            Process(child.id()).family().into_iter().try_for_each(Process::kill)?;
            child.wait().context("cannot wait")?;
            return Ok(None);
        }
        std::thread::sleep(PAUSE);
    }
}

/// Lets the processes that programs leave live until `act` is over.
pub fn with_orphans<T>(act: impl FnOnce() -> Result<T, Stop>) -> Result<T, Stop> {
    let known = Process::own().children();
    let done = act();
    end_orphans(&known)?;
    done
}

/// The processes that became children of ours. Those in `known` were ours before.
pub fn orphans(known: &[Process]) -> Vec<Process> {
    let mut orphans = Process::own().children();
    orphans.retain(|orphan| !known.contains(orphan));
    orphans
}

/// Ends them.
fn end_orphans(known: &[Process]) -> Result<()> {
    for orphan in orphans(known) {
        orphan.family().into_iter().try_for_each(Process::kill)?;
        // Whoever waits elsewhere for it has done so.
        match nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(orphan.0.cast_signed()), None) {
            Ok(_) | Err(nix::errno::Errno::ECHILD) => {}
            Err(errno) => return Err(errno).context("cannot wait for an orphan"),
        }
    }
    Ok(())
}

fn describe(status: Option<ExitStatus>, stderr: &str) -> String {
    let end = match status {
        None => format!("no end within {} seconds", PATIENCE.as_secs()),
        Some(status) => match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit code {code}"),
            (None, signal) => format!("killed by signal {}", signal.unwrap_or_default()),
        },
    };
    match stderr.trim() {
        "" => end,
        complaint => format!("{end}: {complaint}"),
    }
}

/// `word`, as a shell takes it for one.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:=,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
