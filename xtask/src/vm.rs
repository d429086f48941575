//! `cargo xtask vm`: the tests on a kernel with cgroup v2 and nothing else, or a shell there, in a virtual machine.
//!
//! No root is needed, and nothing is installed: the machine is a process, its disk a file, its kernel Debian's.
//!
//! | module | |
//! |---|---|
//! | [`kernel`] | the kernel: downloaded, unpacked, kept below the target directory |
//! | [`suites`] | which tests run there, and what they need |
//! | [`labs`] | a lab's check there: of a learner's program, or of our solutions |
//! | [`cpio`] | the format of a first root file system |
//! | [`initramfs`] | that file system: busybox, modules, programs, and the plan |
//! | [`machine`] | QEMU |
//! | [`guest`] | process 1 of the machine, which follows the plan: this program once more |
//! | [`report`] | what it reports back |

mod cpio;
mod guest;
mod initramfs;
mod kernel;
mod labs;
mod machine;
mod report;
mod suites;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::command;

/// What `vm` takes.
#[derive(Args, Default)]
pub(crate) struct Options {
    /// Give a root shell in the machine, with mini-docker and the programs of the steps; no test is run
    #[arg(long)]
    shell: bool,
    /// Check your program of this lab in the machine, which takes no root
    #[arg(long, value_name = "NUMBER", conflicts_with = "shell")]
    lab: Option<String>,
    /// Be process 1 of the machine
    #[arg(long, hide = true)]
    guest: bool,
}

/// What process 1 finds in its root, and follows.
#[derive(Debug, Serialize, Deserialize)]
struct Plan {
    /// The kernel modules to load, in this order.
    modules: Vec<PathBuf>,
    work: Work,
}

/// What the machine is for.
#[derive(Debug, Serialize, Deserialize)]
enum Work {
    Shell,
    /// A learner's program is looked at.
    Lab {
        run: suites::Run,
        progress: labs::Progress,
    },
    Tests {
        /// The project's root, where snapshots are looked for.
        workspace: PathBuf,
        runs: Vec<suites::Run>,
    },
}

/// Several times what the tests take on two processors, which the machine has to emulate.
const PATIENCE: Duration = Duration::from_mins(20);

impl Options {
    /// Boots the machine, and fails unless every test passed in it and nothing was left behind.
    pub(crate) fn run(&self) -> Result<()> {
        if self.guest {
            return guest::main();
        }
        if std::env::consts::ARCH != "x86_64" {
            bail!("the virtual machine is made for x86_64 only, and this is {}", std::env::consts::ARCH);
        }
        let cache = command::target_directory()?.join("vm");
        fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
        let kernel = kernel::get(&cache)?;
        let folder = tempfile::tempdir_in(&cache).context("cannot make a temporary directory")?;
        if self.shell {
            initramfs::write(folder.path(), &kernel, Work::Shell, &suites::programs()?)?;
            eprintln!("Booting. To leave: exit, or Ctrl-A and then X.");
            return machine::converse(folder.path(), &kernel);
        }
        if let Some(lab) = &self.lab {
            return labs::check(lab, folder.path(), &kernel);
        }
        let suites::Built { runs, files } = suites::build()?;
        let work = Work::Tests { workspace: command::root(), runs: runs.clone() };
        initramfs::write(folder.path(), &kernel, work, &files)?;
        let reported = machine::watch(folder.path(), &kernel, PATIENCE)?;
        report::judge(runs.iter().map(|run| run.name.as_str()), &reported)
    }
}
