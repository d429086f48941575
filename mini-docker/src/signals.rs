//! Signals by name or number, as the command line and images give them.

use crate::error::{Error, Result};

/// The highest signal number of Linux, SIGRTMAX.
const MAX: u8 = 64;
/// The first real-time signal that programs may use with glibc (`signal(7)`).
const RTMIN: u8 = 34;

/// The number of `SIGTERM`, `term`, `15`, `RTMIN+3`, `SIGRTMAX-1`.
pub fn parse(text: &str) -> Result<u8> {
    let invalid = || Error::new(format!("invalid signal: {text}"));
    let upper = text.to_uppercase();
    if let Ok(number) = upper.parse::<u8>() {
        return if (1..=MAX).contains(&number) { Ok(number) } else { Err(invalid()) };
    }
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let real_time = |base: u8, sign: i16, offset: &str| -> Option<u8> {
        let offset: i16 = if offset.is_empty() { 0 } else { offset.get(1..)?.parse().ok()? };
        u8::try_from(i16::from(base) + sign * offset).ok().filter(|number| (RTMIN..=MAX).contains(number))
    };
    if let Some(offset) =
        name.strip_prefix("RTMIN").filter(|offset| offset.is_empty() || offset.starts_with('+'))
    {
        return real_time(RTMIN, 1, offset).ok_or_else(invalid);
    }
    if let Some(offset) =
        name.strip_prefix("RTMAX").filter(|offset| offset.is_empty() || offset.starts_with('-'))
    {
        return real_time(MAX, -1, offset).ok_or_else(invalid);
    }
    let signal: nix::sys::signal::Signal = format!("SIG{name}").parse().map_err(|_| invalid())?;
    Ok(signal as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        let table: String = [
            "SIGTERM",
            "term",
            "KILL",
            "9",
            "0",
            "65",
            "RTMIN",
            "SIGRTMIN+3",
            "RTMAX-1",
            "RTMIN+40",
            "RTMIN3",
            "TERMINATE",
            "",
        ]
        .into_iter()
        .map(|text| match parse(text) {
            Ok(number) => format!("{text:>10} {number}\n"),
            Err(error) => format!("{text:>10} {error}\n"),
        })
        .collect();
        insta::assert_snapshot!(table);
    }
}
