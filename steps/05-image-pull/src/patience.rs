//! What to do about servers that fail: wait, try again, and at some point stop.

use std::time::Duration;

use crate::error::{Error, Result};

/// The longest that a server may ask us to wait before the next try.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// How long to put up with a server that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// How often a request is sent before its error counts. A download that moves on starts counting anew.
    pub attempts: u32,
    /// The wait after the first failure; it doubles with every further one.
    pub first_wait: Duration,
    /// How long a server may stay silent.
    pub silence: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { attempts: 5, first_wait: Duration::from_millis(250), silence: Duration::from_secs(30) }
    }
}

impl Patience {
    /// The wait after failure number `failures` (from 1), or None if it was the last.
    pub fn wait(&self, failures: u32) -> Option<Duration> {
        (failures < self.attempts)
            .then(|| self.first_wait * 2_u32.saturating_pow(failures.saturating_sub(1).min(8)))
    }

    /// How long to wait before the next attempt; or the error back, if it was the last or another would not help.
    pub(crate) fn wait_after(&self, failures: u32, error: Error) -> Result<Duration> {
        let asked = match &error {
            Error::TooManyRequests { retry_after: Some(asked), .. } if *asked <= MAX_WAIT => *asked,
            error if error.is_transient() => Duration::ZERO,
            _ => return Err(error),
        };
        match self.wait(failures) {
            Some(wait) => {
                tracing::info!("{error}; trying again in {:?}", wait.max(asked));
                Ok(wait.max(asked))
            }
            None => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_end() {
        let patience =
            Patience { attempts: 4, first_wait: Duration::from_millis(100), ..Patience::default() };
        let waits: Vec<Option<u128>> =
            (1..=4).map(|n| patience.wait(n).map(|wait| wait.as_millis())).collect();
        assert_eq!(waits, [Some(100), Some(200), Some(400), None]);
    }
}
