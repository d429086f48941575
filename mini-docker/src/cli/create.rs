//! `create`: create a container from an image, without starting it.

use clap::{ArgAction, Args};
use image_pull::Platform;
use mini_docker::{Engine, Error, Result};

use super::pull;
use super::settings::Settings;

/// What `create` takes.
#[derive(Args)]
#[command(disable_help_flag = true, about = "Create a new container from an image")]
pub(crate) struct Options {
    /// The platform to pull, such as linux/arm64
    #[arg(long, value_name = "OS/ARCHITECTURE[/VARIANT]")]
    platform: Option<Platform>,
    /// When to pull the image
    #[arg(long, value_name = "WHEN", default_value = "missing")]
    pull: pull::Policy,
    /// Do not print the progress of a pull
    #[arg(short, long)]
    quiet: bool,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
    #[command(flatten)]
    settings: Settings,
}

impl Options {
    /// Creates a container; prints its ID.
    pub(crate) fn run(self, engine: &Engine) -> Result<u8> {
        let (name, _) = self.settings.image_and_command()?;
        super::sweep(engine, false);
        let hold = engine.images().hold()?;
        let image = pull::find(engine, &name, self.platform.as_ref(), self.pull, self.quiet)?;
        let id_file = self.settings.id_file()?;
        let here =
            std::env::current_dir().map_err(|error| Error::kernel("find the working directory", error))?;
        let created = engine.create(&image, &hold, self.settings.request(&here, true)?)?;
        created.warnings().iter().for_each(|warning| eprintln!("WARNING: {warning}"));
        engine.keep(&created)?;
        if let Some(mut file) = id_file {
            file.write(&created.container.id)?;
            file.keep();
        }
        println!("{}", created.container.id);
        Ok(0)
    }
}
