//! Modification times with nanoseconds, as archives write them and the kernel takes them.

use std::fmt;

use rustix::fs::{Timespec, Timestamps};

/// A point in time: seconds since 1970, which may be negative, and nanoseconds after that second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Time {
    pub(crate) seconds: i64,
    pub(crate) nanoseconds: u32,
}

impl Time {
    /// Reads pax's decimal notation: `1700000000.25`, `-0.5`. Digits beyond the ninth are cut off.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
            return None;
        }
        let whole: i64 = whole.parse().ok()?;
        let nanoseconds: u32 = format!("{fraction:0<9.9}").parse().ok()?;
        // Minus 1.5 is half a second after minus two: the kernel's nanoseconds always count forward.
        Some(match (negative, nanoseconds) {
            (false, _) => Self { seconds: whole, nanoseconds },
            (true, 0) => Self { seconds: -whole, nanoseconds },
            (true, _) => Self { seconds: -whole - 1, nanoseconds: 1_000_000_000 - nanoseconds },
        })
    }

    /// For `utimensat`: both times are set, so that nothing depends on when the layer was unpacked.
    pub(crate) fn stamps(self) -> Timestamps {
        let time = Timespec { tv_sec: self.seconds, tv_nsec: i64::from(self.nanoseconds) };
        Timestamps { last_access: time, last_modification: time }
    }
}

impl fmt::Display for Time {
    /// Pax's notation, without zeros at the end; the reverse of [`Time::parse`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, seconds, nanoseconds) = match (self.seconds, self.nanoseconds) {
            (0.., nanoseconds) => ("", self.seconds.unsigned_abs(), nanoseconds),
            (..0, 0) => ("-", self.seconds.unsigned_abs(), 0),
            // Half a second after minus two is minus 1.5.
            (..0, nanoseconds) => ("-", self.seconds.unsigned_abs() - 1, 1_000_000_000 - nanoseconds),
        };
        let decimal = format!("{sign}{seconds}.{nanoseconds:09}");
        f.write_str(decimal.trim_end_matches('0').trim_end_matches('.'))
    }
}
