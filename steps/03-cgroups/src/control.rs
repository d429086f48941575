//! What can be done to all processes of a cgroup at once: freezing and killing.

use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};

use crate::cgroup::Cgroup;
use crate::error::{Error, Result};
use crate::files;

/// How long the kernel may take to freeze processes, to end killed ones, and to let go of their cgroup. It takes
/// milliseconds, unless a process hangs in a driver or a network file system.
const PATIENCE: Duration = Duration::from_secs(10);

impl Cgroup {
    /// Stops all processes inside where they are, until [`Cgroup::thaw`]. Returns when all have stopped.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where the host cannot freeze, and ETIMEDOUT if a process does not stop.
    pub fn freeze(&self) -> Result<()> {
        self.set_frozen(true)
    }

    /// Lets them go on.
    ///
    /// # Errors
    /// As [`Cgroup::freeze`].
    pub fn thaw(&self) -> Result<()> {
        self.set_frozen(false)
    }

    /// Whether it is frozen, wholly.
    ///
    /// # Errors
    /// What the kernel refuses to tell.
    pub fn frozen(&self) -> Result<bool> {
        let directory = self.in_tree("freezer").unwrap_or_default();
        Ok(if self.is_v2() {
            files::read(&directory.join("cgroup.events"))?
                .is_some_and(|text| files::value(&text, "frozen") == Some(1))
        } else {
            files::read(&directory.join("freezer.state"))?.is_some_and(|state| state.trim() == "FROZEN")
        })
    }

    fn set_frozen(&self, frozen: bool) -> Result<()> {
        if !self.hierarchy.has("freezer") {
            let reason = "is missing";
            return Err(Error::Unavailable {
                controller: "freezer",
                limit: "the running of processes",
                reason,
            });
        }
        let directory = self.directory_of("freezer")?;
        let (file, value) = match (self.is_v2(), frozen) {
            (true, true) => ("cgroup.freeze", "1"),
            (true, false) => ("cgroup.freeze", "0"),
            (false, true) => ("freezer.state", "FROZEN"),
            (false, false) => ("freezer.state", "THAWED"),
        };
        let file = directory.join(file);
        tracing::info!("{} the cgroup", if frozen { "freeze" } else { "thaw" });
        wait(|| {
            // On v1 a process that forks while the group freezes can slip through; asking again catches it.
            files::write(&file, value)
                .map_err(|errno| Error::kernel(format!("write {value} to"), &file, errno))?;
            Ok(self.frozen()? == frozen)
        })?
        .then_some(())
        .ok_or_else(|| {
            Error::kernel(format!("write {value} to"), &file, Errno::ETIMEDOUT)
                .hint("a process does not react")
        })
    }

    /// Kills all processes inside, and returns when they have ended. A frozen cgroup is no obstacle.
    ///
    /// # Errors
    /// ETIMEDOUT if a process does not end, and what the kernel refuses.
    pub fn kill(&self) -> Result<()> {
        if self.processes()?.is_empty() {
            return Ok(());
        }
        let directory = self.in_tree("freezer").unwrap_or_default();
        tracing::info!("kill all processes of the cgroup");
        // One write kills all of them at once, whatever they fork meanwhile (Linux 5.14).
        let at_once = directory.join("cgroup.kill");
        let one_by_one = match files::write(&at_once, "1") {
            Ok(()) => false,
            Err(Errno::ENOENT | Errno::EACCES) if !at_once.exists() => true,
            Err(errno) => return Err(Error::kernel("write to", &at_once, errno)),
        };
        let ended = wait(|| {
            if one_by_one {
                self.kill_frozen()?;
            }
            Ok(self.processes()?.is_empty())
        })?;
        if ended {
            return Ok(());
        }
        Err(Error::kernel("kill the processes of", &directory, Errno::ETIMEDOUT)
            .hint("they may hang in the kernel: look for state D in `ps`"))
    }

    /// Kills what is inside, frozen, so that nobody forks away from the list and no number comes to mean another process.
    fn kill_frozen(&self) -> Result<()> {
        let can_freeze = self.hierarchy.has("freezer");
        if can_freeze {
            self.freeze()?;
        }
        for process in self.processes()? {
            match kill(process, Signal::SIGKILL) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(errno) => {
                    return Err(Error::kernel(format!("kill process {process} of"), &self.path, errno));
                }
            }
        }
        if can_freeze { self.thaw() } else { Ok(()) }
    }
}

/// Calls `done` until it says yes, with growing pauses; `false` when patience has run out.
pub(crate) fn wait(mut done: impl FnMut() -> Result<bool>) -> Result<bool> {
    let begin = Instant::now();
    let mut pause = Duration::from_micros(100);
    while !done()? {
        if begin.elapsed() > PATIENCE {
            return Ok(false);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
    Ok(true)
}
