//! Sizes and durations: Docker's rounding (its library is called go-units).

use std::time::Duration;

use crate::error::{Error, Result};

/// A size in powers of 1000, three significant digits: `117MB`, `1.23GB`.
pub fn decimal(bytes: u64) -> String {
    scaled(bytes, 1000.0, 3, &["B", "kB", "MB", "GB", "TB", "PB", "EB"])
}

/// The same with four significant digits, as Docker tells sums: what was freed, and what the disk holds.
pub fn decimal_sum(bytes: u64) -> String {
    scaled(bytes, 1000.0, 4, &["B", "kB", "MB", "GB", "TB", "PB", "EB"])
}

/// A size in powers of 1024, four significant digits: `64MiB`, `15.49GiB`.
pub fn binary(bytes: u64) -> String {
    scaled(bytes, 1024.0, 4, &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"])
}

fn scaled(bytes: u64, base: f64, digits: usize, units: &[&str]) -> String {
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= base && unit + 1 < units.len() {
        value /= base;
        unit += 1;
    }
    // Go's %.4g drops trailing zeros.
    format!("{}{}", significant(value, digits), units[unit])
}

/// `value` with `digits` significant digits and no trailing zeros, as C's `%.{digits}g` for values below 10000.
fn significant(value: f64, digits: usize) -> String {
    let before = if value < 1.0 { 1 } else { value.log10() as usize + 1 };
    let text = format!("{value:.*}", digits.saturating_sub(before));
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A duration in words, as precise as people are: `Less than a second`, `About a minute`, `3 hours`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let minutes = seconds / 60;
    // Docker rounds hours, and nothing else.
    let hours = (duration.as_secs_f64() / 3600.0).round() as u64;
    match (seconds, minutes, hours) {
        (0, ..) => "Less than a second".to_owned(),
        (1, ..) => "1 second".to_owned(),
        (2..60, ..) => format!("{seconds} seconds"),
        (_, 1, _) => "About a minute".to_owned(),
        (_, 2..60, _) => format!("{minutes} minutes"),
        (_, _, 1) => "About an hour".to_owned(),
        (_, _, 2..48) => format!("{hours} hours"),
        (_, _, 48..336) => format!("{} days", hours / 24),
        (_, _, 336..1440) => format!("{} weeks", hours / 24 / 7),
        (_, _, 1440..17520) => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

/// Reads a size such as `64m`, `1.5g`, `512KiB` or a bare number of bytes; units are powers of 1024.
pub fn parse_binary(text: &str) -> Result<u64> {
    parse(text, 1024.0)
}

/// The same with powers of 1000.
pub fn parse_decimal(text: &str) -> Result<u64> {
    parse(text, 1000.0)
}

fn parse(text: &str, base: f64) -> Result<u64> {
    let invalid = || Error::new(format!("invalid size: '{text}'"));
    let digits =
        text.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().map_err(|_| invalid())?;
    let unit = unit.trim().to_ascii_lowercase();
    let unit = unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(&unit);
    let power = match unit {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return Err(invalid()),
    };
    let bytes = number * base.powi(power);
    if bytes.is_finite() && bytes < u64::MAX as f64 { Ok(bytes as u64) } else { Err(invalid()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let table: String =
            [0, 1, 999, 1000, 1023, 1024, 4_190_000, 77_823_000, 116_963_000, 999_900_000, 1_234_567_890]
                .into_iter()
                .map(|bytes| {
                    format!(
                        "{bytes:>10} {:>7} {:>7} {:>8}\n",
                        decimal(bytes),
                        decimal_sum(bytes),
                        binary(bytes)
                    )
                })
                .collect();
        insta::assert_snapshot!(table);
    }

    #[test]
    fn durations() {
        let day = 86400;
        let table: String = [
            0,
            1,
            59,
            60,
            119,
            120,
            3599,
            3600,
            5399,
            5400,
            47 * 3600,
            2 * day,
            13 * day,
            14 * day,
            59 * day,
            60 * day,
            729 * day,
            730 * day,
        ]
        .into_iter()
        .map(|seconds| format!("{seconds:>9} {}\n", duration(Duration::from_secs(seconds))))
        .collect();
        insta::assert_snapshot!(table);
    }

    #[test]
    fn sizes_are_read() {
        let table: String = ["64m", "1.5g", "512KiB", "7", "8b", "1 GB", "m", "1x", "-1", "9999999p", ""]
            .into_iter()
            .map(|text| match parse_binary(text) {
                Ok(bytes) => format!("{text:>8} {bytes}\n"),
                Err(error) => format!("{text:>8} {error}\n"),
            })
            .collect();
        insta::assert_snapshot!(table);
    }
}
