//! Process 1 of the machine: makes it usable, does the work, switches it off.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::mount::{MsFlags, mount};
use pid_namespace::{Namespaces, init, spawn};
use rustix::system::{RebootCommand, finit_module, reboot, sethostname};

use super::labs::Progress;
use super::suites::Run;
use super::{Plan, Work, initramfs, report};
use crate::command;
use crate::leaks::{self, Snapshot};

/// What is mounted, in this order. Only cgroup v2: the machine was booted so.
const MOUNTS: &[(&str, &str)] = &[
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("cgroup2", "/sys/fs/cgroup"),
    ("devtmpfs", "/dev"),
    ("devpts", "/dev/pts"),
    ("tmpfs", "/dev/shm"),
    ("mqueue", "/dev/mqueue"),
];

/// The disk, and where it is mounted. Not on `/tmp`: the project may lie there, and then its programs do here, too.
const DISK: &str = "/dev/vda";
const TEMPORARY: &str = "/disk";

/// The serial line of the console, and that of the report.
const CONSOLE: &str = "/dev/ttyS0";
const REPORT: &str = "/dev/ttyS1";

/// Does what the plan says. Whatever happens, the machine is off afterwards: there is nobody to return to.
pub(super) fn main() -> Result<()> {
    if std::process::id() != 1 {
        bail!("vm --guest is for process 1 of the virtual machine");
    }
    if let Err(error) = follow_plan() {
        println!("vm: {error:#}");
    }
    rustix::fs::sync();
    reboot(RebootCommand::PowerOff).context("cannot switch the machine off")
}

fn follow_plan() -> Result<()> {
    let plan: Plan = serde_json::from_slice(&fs::read(initramfs::PLAN).context("there is no plan")?)?;
    set_up(&plan)?;
    match plan.work {
        Work::Shell => {
            // The shell's orphans are process 1's to wait for.
            init::run(|| reported(shell()))?;
        }
        Work::Lab { run, progress } => {
            init::run(|| reported(lab(&run, &progress)))?;
        }
        Work::Tests { workspace, runs } => {
            // In a pid namespace of their own: there the kernel's own processes cannot be seen, and so what is seen
            // in the end was left by the tests.
            let inside = || -> Result<()> {
                mount_at("proc", "proc", "/proc")?;
                init::run(|| reported(tests(&workspace, &runs)))?;
                Ok(())
            };
            spawn(Namespaces::PID | Namespaces::MOUNT, None, || reported(inside()))?.wait()?;
        }
    }
    Ok(())
}

fn reported(result: Result<()>) -> u8 {
    match result {
        Ok(()) => 0,
        Err(error) => {
            println!("vm: {error:#}");
            1
        }
    }
}

/// What an ordinary machine's init does before it starts services.
fn set_up(plan: &Plan) -> Result<()> {
    leave_initial_root()?;
    for (kind, target) in MOUNTS {
        fs::create_dir_all(target).with_context(|| format!("cannot make {target}"))?;
        mount_at(kind, kind, target)?;
    }
    for module in &plan.modules {
        let file = File::open(module).with_context(|| format!("cannot open {}", module.display()))?;
        finit_module(file, &CString::default(), 0)
            .with_context(|| format!("cannot load {}", module.display()))?;
    }
    // A disk's file system, and not memory's, is where overlays are in real life; and limits of io need a disk.
    let begun = Instant::now();
    while !Path::new(DISK).exists() && begun.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(10));
    }
    command::output(Command::new("/bin/mke2fs").arg(DISK))?;
    fs::create_dir(TEMPORARY).with_context(|| format!("cannot make {TEMPORARY}"))?;
    mount_at(DISK, "ext4", TEMPORARY)?;
    // Everybody's, as on any machine: an archive's directories are root's.
    fs::set_permissions("/tmp", fs::Permissions::from_mode(0o1777)).context("cannot open /tmp to all")?;
    sethostname(b"vm").context("cannot set the host's name")?;
    command::output(Command::new("/bin/ip").args(["link", "set", "lo", "up"]))?;
    Ok(())
}

/// Lets the root be a mount that can be replaced: `pivot_root(2)` refuses the one the kernel begins with, as that
/// has no mount below it. The same files, mounted a second time, and on top, will do.
fn leave_initial_root() -> Result<()> {
    const AGAIN: &str = "/again";
    let none = None::<&str>;
    fs::create_dir(AGAIN).context("cannot make a directory")?;
    mount(Some("/"), AGAIN, none, MsFlags::MS_BIND, none).context("cannot bind the root")?;
    nix::unistd::chdir(AGAIN).context("cannot enter the new root")?;
    mount(Some("."), "/", none, MsFlags::MS_MOVE, none).context("cannot move the new root")?;
    nix::unistd::chroot(".").context("cannot change the root")?;
    nix::unistd::chdir("/").context("cannot enter the root")
}

fn mount_at(source: &str, kind: &str, target: &str) -> Result<()> {
    mount(Some(source), target, Some(kind), MsFlags::empty(), None::<&str>)
        .with_context(|| format!("cannot mount {kind} on {target}"))
}

/// A program, with what it can expect of its environment.
fn program(path: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(path);
    command.env_clear().env("PATH", format!("{}:/usr/bin:/bin", initramfs::PROGRAMS)).env("HOME", "/root");
    command.env("TMPDIR", TEMPORARY);
    command
}

/// A shell on the console, which may use job control and Ctrl-C: the console must be its controlling terminal.
fn shell() -> Result<()> {
    // The machine's own busybox is the first image.
    let line = "tar -cf - -C / bin | mini-docker import --change 'CMD [\"sh\"]' - busybox";
    let imported = command::run(program("sh").args(["-c", line]));
    reported(imported);
    let console = File::options().read(true).write(true).open(CONSOLE).context("cannot open the console")?;
    let mut shell = program("setsid");
    shell.args(["-c", "sh", "-l"]).env("TERM", "linux").current_dir("/root");
    shell.stdin(console.try_clone()?).stdout(console.try_clone()?).stderr(console);
    // How a shell ends is its user's business.
    shell.status().context("cannot run the shell")?;
    Ok(())
}

/// Checks a learner's program, and reports on it, and on how far the learner is.
fn lab(run: &Run, progress: &Progress) -> Result<()> {
    let mut line =
        File::options().write(true).open(REPORT).with_context(|| format!("cannot open {REPORT}"))?;
    let failed = || format!("cannot pass on {}", progress.path.display());
    fs::create_dir_all(progress.path.parent().expect("it is in the learner's folder"))
        .and_then(|()| fs::write(&progress.path, &progress.text))
        .with_context(failed)?;
    let result = test(Path::new("/"), run);
    let text = fs::read_to_string(&progress.path).with_context(failed)?;
    writeln!(line, "{}\n{text}", report::line(&run.name, &result))?;
    Ok(())
}

/// Runs the tests, and reports on each program, and on what is left in the end.
fn tests(workspace: &Path, runs: &[Run]) -> Result<()> {
    let mut line =
        File::options().write(true).open(REPORT).with_context(|| format!("cannot open {REPORT}"))?;
    let before = Snapshot::take()?;
    for run in runs {
        println!("\nvm: {}", run.name);
        let begun = Instant::now();
        let result = test(workspace, run);
        println!("vm: {} took {:.1} s", report::line(&run.name, &result), begun.elapsed().as_secs_f64());
        writeln!(line, "{}", report::line(&run.name, &result))?;
    }
    let nothing_left = leaks::require_no_processes().and_then(|()| before.require_nothing_new());
    let said = report::line(report::NOTHING_LEFT, &nothing_left);
    println!("\nvm: {said}");
    writeln!(line, "{said}")?;
    Ok(())
}

/// Runs one program, and passes on what it prints.
fn test(workspace: &Path, run: &Run) -> Result<()> {
    let mut command = program(&run.program);
    command.args(&run.arguments);
    command.env("MINI_DOCKER_NO_SKIP", "1").env("INSTA_UPDATE", "no").env("INSTA_WORKSPACE_ROOT", workspace);
    fs::create_dir_all(&run.directory)?;
    let mut tests =
        command.current_dir(&run.directory).stdout(Stdio::piped()).spawn().context("cannot run it")?;
    let mut summary = None;
    for line in BufReader::new(tests.stdout.take().context("it was asked for")?).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        println!("{line}");
        if line.starts_with("test result: ") {
            summary = Some(line);
        }
    }
    let status = tests.wait()?;
    if !run.has_summary {
        return if status.success() { Ok(()) } else { bail!("{status}") };
    }
    report::verdict(summary.as_deref(), &status.to_string(), status.success())
}
