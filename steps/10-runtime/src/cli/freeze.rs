//! `pause` and `resume`: the freezer.

use clap::Args;
use runtime::{Container, Result, Status};

use super::Global;

/// Stop all processes of a container where they are
#[derive(Args)]
pub(crate) struct Pause {
    /// Its name
    id: String,
}

/// Let them go on
#[derive(Args)]
pub(crate) struct Resume {
    /// Its name
    id: String,
}

impl Pause {
    pub(crate) fn run(&self, global: &Global) -> Result<()> {
        let container = Container::open(&global.folder()?, &self.id)?;
        container.require(&[Status::Created, Status::Running], "pause")?;
        Ok(container.require_cgroup()?.freeze()?)
    }
}

impl Resume {
    pub(crate) fn run(&self, global: &Global) -> Result<()> {
        let container = Container::open(&global.folder()?, &self.id)?;
        container.require(&[Status::Paused, Status::Created], "resume")?;
        Ok(container.require_cgroup()?.thaw()?)
    }
}
