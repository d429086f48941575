//! How it is told whether the container is well.

use std::time::Duration;

use clap::Args;
use image_pull::config::Healthcheck;
use mini_docker::container::Config;
use mini_docker::health::duration;
use mini_docker::{Error, Result};

/// Options of the health check.
#[derive(Args)]
pub(crate) struct Checks {
    /// Command that tells by its exit code whether the container is well
    #[arg(long, value_name = "COMMAND")]
    health_cmd: Option<String>,
    /// Time between two checks, such as 30s
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    health_interval: Option<Duration>,
    /// Failures in a row that make the container unhealthy
    #[arg(long, value_name = "NUMBER", default_value_t = 0, hide_default_value = true)]
    health_retries: u32,
    /// Time from the start in which failures do not count
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    health_start_period: Option<Duration>,
    /// Time between two checks in that period
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    health_start_interval: Option<Duration>,
    /// Time until a check counts as failed
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    health_timeout: Option<Duration>,
    /// Make no checks, whatever the image says
    #[arg(long)]
    no_healthcheck: bool,
}

impl Checks {
    /// Puts them into `config`.
    pub(crate) fn set(self, config: &mut Config) -> Result<()> {
        let nanoseconds =
            |duration: Option<Duration>| duration.map_or(0, |duration| duration.as_nanos() as i64);
        let mut check = Healthcheck {
            test: self.health_cmd.map(|command| vec!["CMD-SHELL".to_owned(), command]).unwrap_or_default(),
            interval: nanoseconds(self.health_interval),
            timeout: nanoseconds(self.health_timeout),
            start_period: nanoseconds(self.health_start_period),
            start_interval: nanoseconds(self.health_start_interval),
            retries: i64::from(self.health_retries),
        };
        if self.no_healthcheck {
            if check != Healthcheck::default() {
                return Err(Error::new("--no-healthcheck conflicts with --health-* options"));
            }
            check.test = vec!["NONE".to_owned()];
        }
        config.healthcheck = Some(check).filter(|check| *check != Healthcheck::default());
        Ok(())
    }
}
