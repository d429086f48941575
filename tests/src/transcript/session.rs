//! Where a document's commands run: a host of their own, with an engine that has nothing yet.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use super::counterparts::Counterparts;
use super::document::{self, Who};
use super::shell::{Shell, Stuck};
use crate::engine::Engine;
use crate::user::User;

/// What a session has from the beginning.
#[derive(Debug, Clone, Default)]
pub struct Setting {
    /// The engine's `registries.json`, if it is to have one.
    pub registries: Option<String>,
}

/// A host with an engine, and a shell for each user.
///
/// Root's shell is in namespaces of its own, in which it is process 1, the host's name is `host`, and the engine's
/// folders are where they are by default. `$STEPS` is the folder of this workspace's programs; an ordinary user has the
/// one that is for them. What root's shell writes below `/root`, `/run` and `/var/lib` is gone in the end, and so is
/// whatever it started.
pub struct Session {
    counterparts: Counterparts,
    // In the order in which they end. The engines end their containers; what root's shell started goes with it.
    ordinary: Option<Shell>,
    user: Option<User>,
    engine: Engine,
    root: Shell,
}

/// Makes the host that root's shell is on. Overlays take what is written, since the host itself is not ours.
const HOST: &str = r#"
set -e
hostname host
mount --make-rprivate /
for folder in /var/lib /run; do
    mkdir -p "$FOLDER/over$folder" "$FOLDER/work$folder"
    mount -t overlay -o "lowerdir=$folder,upperdir=$FOLDER/over$folder,workdir=$FOLDER/work$folder" overlay $folder
done
mkdir -p "$DATA" "$EXEC" /var/lib/mini-docker /run/mini-docker "$FOLDER/programs"
mount --bind "$PROGRAMS" "$FOLDER/programs"
export STEPS="$FOLDER/programs"
mount --bind "$DATA" /var/lib/mini-docker
mount --bind "$EXEC" /run/mini-docker
mount -t tmpfs -o mode=700 tmpfs /root
unset DATA EXEC PROGRAMS
cd /root
set +e
"#;

impl Session {
    /// Makes the host. An ordinary user called `learner` is on it if `with_user`.
    pub fn start(setting: &Setting, with_user: bool) -> Self {
        // First, since it gives this thread other mounts.
        let user = with_user.then(User::without_image);
        let engine = Engine::in_memory();
        if let Some(registries) = &setting.registries {
            fs::create_dir_all(engine.data()).expect("our own folder");
            fs::write(engine.data().join("registries.json"), registries).expect("our own folder");
        }
        let built = Engine::program().parent().expect("a program in a folder").to_owned();
        let folder = fresh(&engine.folder().join("root"));
        let programs = engine.folder().join("bin");
        fs::create_dir(&programs).expect("our own folder");
        // There in the shell's namespace only, where the repository itself may be out of sight.
        let inside = folder.join("programs/mini-docker");
        std::os::unix::fs::symlink(inside, programs.join("mini-docker")).expect("a fresh folder");

        let mut bash = Command::new("unshare");
        bash.args(["--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc"]);
        // The terminal is to be that of a process in there.
        bash.args(["setsid", "--ctty", "bash", "--norc"]);
        let path =
            format!("{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", programs.display());
        bash.env_clear().env("PATH", path).env("HOME", "/root").env("TERM", "xterm").env("LANG", "C.UTF-8");
        bash.env("DATA", engine.data()).env("EXEC", engine.exec()).env("PROGRAMS", &built);
        let root = Shell::start(bash, HOST, &folder);

        let ordinary = user.as_ref().map(|user| {
            let folder = fresh(&engine.folder().join("user"));
            std::os::unix::fs::chown(&folder, Some(crate::user::USER), Some(crate::user::USER))
                .expect("root may");
            if let Some(registries) = &setting.registries {
                write_as(user, "$HOME/.local/share/mini-docker", "registries.json", registries);
            }
            let mut bash = user.command_of(Path::new("bash"), &["--norc"]);
            let program = user.program();
            let programs = program.parent().expect("a program in a folder");
            // The repository may lie where only root can look.
            crate::programs::copy(built.join("user-namespace"), programs);
            bash.env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", programs.display()))
                .env("TERM", "xterm")
                .env("LANG", "C.UTF-8")
                .env("STEPS", programs);
            Shell::start(bash, "", &folder)
        });
        Self { counterparts: Counterparts::default(), ordinary, user, engine, root }
    }

    /// Runs a document's command; the lines that it prints, as they would stand in the document.
    pub fn run(&mut self, command: &document::Command) -> Vec<String> {
        let shell = match command.who {
            Who::Root => &mut self.root,
            Who::Ordinary => self.ordinary.as_mut().expect("a session with an ordinary user"),
        };
        let text = self.counterparts.to_real(&command.text);
        let done = if command.terminal {
            shell.interactive(&text, &command.steps().expect("the document was parsed"))
        } else {
            shell.plain(&text)
        };
        let (mut lines, code) = done.unwrap_or_else(|Stuck { shown, wanted }| {
            panic!(
                "line {}: {}: waited in vain for {wanted}; seen so far:\n{}",
                command.line,
                command.text,
                shown.join("\n")
            )
        });
        while lines.last().is_some_and(|line| line.trim().is_empty()) {
            lines.pop();
        }
        if code != 0 {
            lines.push(format!("[exit {code}]"));
        }
        self.counterparts.learn(&command.output, &lines);
        lines.iter().map(|line| self.counterparts.to_example(line)).collect()
    }

    /// The engine that root's commands use.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The ordinary user, if there is one.
    pub fn user(&self) -> Option<&User> {
        self.user.as_ref()
    }
}

fn fresh(folder: &Path) -> std::path::PathBuf {
    fs::create_dir(folder).expect("our own folder");
    folder.to_owned()
}

/// Writes a file of the user's, in a folder that is made if it is not there.
fn write_as(user: &User, folder: &str, name: &str, text: &str) {
    let line = format!("mkdir -p {folder} && cat > {folder}/{name}");
    let mut shell =
        user.command_of(Path::new("/bin/sh"), &["-c", &line]).stdin(Stdio::piped()).spawn().expect("a shell");
    shell.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("a shell that reads");
    assert!(shell.wait().expect("our own child").success(), "cannot write {folder}/{name}");
}
