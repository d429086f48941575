//! Points in time, as people write them.

use std::time::Duration;

use jiff::civil;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::error::{Error, Result};

/// Reads a time: RFC 3339 (`2026-01-02T03:04:05Z`, local without a zone, or the date alone), seconds since 1970 with an optional
/// fraction, or a duration back from `now` (`10m`, `1h30m`).
pub fn parse(text: &str, now: Timestamp) -> Result<Timestamp> {
    let invalid = || {
        Error::new(format!(
            "invalid time: '{text}': expected RFC 3339, seconds since 1970, or a duration such as 10m"
        ))
    };
    if let Ok(seconds) = text.parse::<f64>() {
        let since = SignedDuration::try_from_secs_f64(seconds).map_err(|_| invalid())?;
        return Timestamp::from_duration(since).map_err(|_| invalid());
    }
    if let Some(ago) = duration(text) {
        let ago = SignedDuration::try_from(ago).map_err(|_| invalid())?;
        return now.checked_sub(ago).map_err(|_| invalid());
    }
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(moment);
    }
    let local = text.parse::<civil::DateTime>().map_err(|_| invalid())?;
    TimeZone::system().to_timestamp(local).map_err(|_| invalid())
}

/// A time of a record, as Go's `Time` prints it, in the host's time zone, or UTC if it has none: `2026-01-02 03:04:05 +0000 UTC`.
pub fn local(text: &str) -> Result<String> {
    let moment: Timestamp =
        text.parse().map_err(|error| Error::new(format!("invalid time: '{text}': {error}")))?;
    let zone = TimeZone::try_system().unwrap_or(TimeZone::UTC);
    Ok(moment.to_zoned_datetime(zone).strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string())
}

/// A duration as Go writes it: numbers with units (`ms`, `s`, `m`, `h`), largest first.
pub fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|character: char| !character.is_ascii_digit() && character != '.')?;
        let (number, tail) = rest.split_at(digits);
        let (seconds, unit) = [("ms", 0.001), ("h", 3600.0), ("m", 60.0), ("s", 1.0)]
            .into_iter()
            .find_map(|(unit, seconds)| tail.starts_with(unit).then_some((seconds, unit)))?;
        total += number.parse::<f64>().ok()? * seconds;
        rest = &tail[unit.len()..];
    }
    if text.is_empty() { None } else { Duration::try_from_secs_f64(total).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let now: Timestamp = "2026-01-02T12:00:00Z".parse().unwrap();
        let table: String = [
            "10m",
            "1h30m",
            "1.5s",
            "0",
            "1767355200.25",
            "2026-01-02T03:04:05Z",
            "2026-01-02T03:04:05.5+01:00",
            "10",
            "10x",
            "m",
            "",
            "yesterday",
        ]
        .into_iter()
        .map(|text| match parse(text, now) {
            Ok(moment) => format!("{text:>28} {moment}\n"),
            Err(error) => format!("{text:>28} {error}\n"),
        })
        .collect();
        insta::assert_snapshot!(table);
    }
}
