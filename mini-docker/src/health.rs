//! Whether a container is well: what its check is, and what the results make of it.

use std::time::Duration;

use image_pull::config::Healthcheck;
use serde::{Deserialize, Serialize};

use crate::container::Config;
use crate::error::{Error, Result};
use crate::format::moment;

/// What a check has instead of what nobody said.
const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const START_INTERVAL: Duration = Duration::from_secs(5);
const RETRIES: u32 = 3;
/// How many results are kept.
const MAX_RESULTS: usize = 5;
/// How much of a check's output is kept, in bytes.
pub const MAX_OUTPUT: usize = 4096;

/// A check that is made again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The program that tells by its exit code, and its arguments.
    pub command: Vec<String>,
    /// Between the end of one and the beginning of the next.
    interval: Duration,
    /// Until one counts as failed.
    pub timeout: Duration,
    /// From the container's start on, in which failures do not count.
    start_period: Duration,
    /// In place of the interval in that period, until a check succeeds.
    start_interval: Duration,
    /// Failures in a row that make the container unhealthy.
    retries: u32,
}

impl Check {
    /// The check of a container with `config`, if it has one.
    pub fn of(config: &Config) -> Option<Self> {
        let asked = config.healthcheck.as_ref()?;
        let command = match asked.test.split_first() {
            Some((word, words)) if word == "CMD" => words.to_vec(),
            Some((word, words)) if word == "CMD-SHELL" => {
                let shell =
                    config.shell.clone().unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned()]);
                shell.into_iter().chain(words.iter().cloned()).collect()
            }
            _ => return None,
        };
        let or = |nanoseconds: i64, default| match u64::try_from(nanoseconds) {
            Ok(0) | Err(_) => default,
            Ok(nanoseconds) => Duration::from_nanos(nanoseconds),
        };
        Some(Self {
            command,
            interval: or(asked.interval, INTERVAL),
            timeout: or(asked.timeout, TIMEOUT),
            start_period: or(asked.start_period, Duration::ZERO),
            start_interval: or(asked.start_interval, START_INTERVAL),
            retries: u32::try_from(asked.retries).ok().filter(|retries| *retries > 0).unwrap_or(RETRIES),
        })
    }

    /// How long it is waited before the next check of a container that has run for `ran`.
    pub fn pause(&self, health: &Health, ran: Duration) -> Duration {
        if self.is_starting(health, ran) { self.start_interval } else { self.interval }
    }

    fn is_starting(&self, health: &Health, ran: Duration) -> bool {
        health.status == Wellness::Starting && ran < self.start_period
    }
}

/// Reads a time of at least a millisecond, or 0 for the default.
pub fn duration(text: &str) -> Result<Duration> {
    let duration = moment::duration(text)
        .ok_or_else(|| Error::new(format!("invalid duration: '{text}' (write it as in 1m30s)")))?;
    if duration.is_zero() || duration >= Duration::from_millis(1) {
        return Ok(duration);
    }
    Err(Error::new(format!("invalid duration: '{text}' is less than 1ms")))
}

/// What the user says over what the image says: each setting by itself.
pub fn merge(image: Option<&Healthcheck>, user: Option<Healthcheck>) -> Option<Healthcheck> {
    let (Some(image), Some(mut user)) = (image, user.clone()) else { return user.or_else(|| image.cloned()) };
    let or = |own: &mut i64, its| {
        if *own == 0 {
            *own = its;
        }
    };
    if user.test.is_empty() {
        user.test.clone_from(&image.test);
    }
    or(&mut user.interval, image.interval);
    or(&mut user.timeout, image.timeout);
    or(&mut user.start_period, image.start_period);
    or(&mut user.start_interval, image.start_interval);
    or(&mut user.retries, image.retries);
    Some(user)
}

/// How a container is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wellness {
    /// Not known yet.
    #[default]
    Starting,
    /// Its last check has succeeded.
    Healthy,
    /// Its last checks have failed.
    Unhealthy,
}

impl Wellness {
    /// The word that commands print.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// What is known of a container's health.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Health {
    /// How it is.
    pub status: Wellness,
    /// Failures since the last success.
    pub failing_streak: u32,
    /// The last results, the newest last.
    pub log: Vec<Checked>,
}

/// One result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Checked {
    /// When the check began, RFC 3339.
    pub start: String,
    /// When it ended.
    pub end: String,
    /// 0 if all is well; -1 if it took too long.
    pub exit_code: i32,
    /// What the check wrote, or why there was none.
    pub output: String,
}

impl Health {
    /// Takes in a result of `check`, after the container has run for `ran`.
    pub fn learn(&mut self, check: &Check, result: Checked, ran: Duration) {
        if result.exit_code == 0 {
            self.failing_streak = 0;
            self.status = Wellness::Healthy;
        } else if !check.is_starting(self, ran) {
            self.failing_streak += 1;
            if self.failing_streak >= check.retries {
                self.status = Wellness::Unhealthy;
            }
        }
        self.log.push(result);
        let old = self.log.len().saturating_sub(MAX_RESULTS);
        self.log.drain(..old);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(test: &[&str], set: impl FnOnce(&mut Healthcheck)) -> Option<Check> {
        let test = test.iter().map(|&word| word.to_owned()).collect();
        let mut healthcheck = Healthcheck { test, ..Healthcheck::default() };
        set(&mut healthcheck);
        Check::of(&Config { healthcheck: Some(healthcheck), ..Config::default() })
    }

    #[test]
    fn checks() {
        insta::assert_debug_snapshot!([
            check(&["CMD", "probe", "-x"], |_| ()),
            check(&["CMD-SHELL", "probe -x || exit 1"], |healthcheck| {
                healthcheck.interval = 1_500_000_000;
                healthcheck.retries = 7;
            }),
            check(&["NONE"], |_| ()),
            check(&[], |_| ()),
            Check::of(&Config::default()),
        ]);
    }

    #[test]
    fn what_results_make_of_it() {
        let check = check(&["CMD", "probe"], |healthcheck| healthcheck.start_period = 10_000_000_000);
        let check = check.expect("there is a command");
        let mut health = Health::default();
        let table: String = [(1, 2), (1, 5), (1, 11), (0, 12), (1, 13), (1, 14), (-1, 15), (1, 16), (0, 17)]
            .into_iter()
            .map(|(exit_code, second)| {
                let moment = format!("second {second}");
                let result = Checked { start: moment.clone(), end: moment, exit_code, output: String::new() };
                let ran = Duration::from_secs(second);
                health.learn(&check, result, ran);
                let Health { status, failing_streak, log } = &health;
                let pause = check.pause(&health, ran);
                format!(
                    "{exit_code:>2} after {second:>2} s: {} ({failing_streak}), {} kept, next in {pause:?}\n",
                    status.word(),
                    log.len()
                )
            })
            .collect();
        insta::assert_snapshot!(table);
    }

    #[test]
    fn the_users_settings_over_the_images() {
        let image = Healthcheck {
            test: vec!["CMD".to_owned(), "image".to_owned()],
            interval: 1,
            retries: 9,
            ..Healthcheck::default()
        };
        let user = Healthcheck { interval: 2, timeout: 3, ..Healthcheck::default() };
        let none = Healthcheck { test: vec!["NONE".to_owned()], ..Healthcheck::default() };
        insta::assert_debug_snapshot!([
            merge(Some(&image), Some(user.clone())),
            merge(Some(&image), None),
            merge(None, Some(user)),
            merge(Some(&image), Some(none)),
        ]);
    }
}
