//! Values of options that several commands read the same way.

use std::collections::BTreeMap;
use std::path::Path;

use mini_docker::format::units;
use mini_docker::{Error, Result};

/// A size: `64m`.
pub(crate) fn bytes(text: &str) -> Result<i64> {
    let bytes = units::parse_binary(text)?;
    i64::try_from(bytes).map_err(|_| Error::new(format!("invalid size: '{text}'")))
}

/// A size, or -1 for no limit.
pub(crate) fn bytes_or_unlimited(text: &str) -> Result<i64> {
    if text == "-1" { Ok(-1) } else { bytes(text) }
}

/// Processors, with up to nine decimals, in billionths.
pub(crate) fn nano_cpus(text: &str) -> Result<i64> {
    let invalid = || Error::new(format!("invalid number of CPUs: '{text}'"));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 9
        || !(whole.to_owned() + fraction).bytes().all(|byte| byte.is_ascii_digit())
        || ["", "."].contains(&text)
    {
        return Err(invalid());
    }
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| invalid())? };
    let fraction: i64 = format!("{fraction:0<9}").parse().map_err(|_| invalid())?;
    whole.checked_mul(1_000_000_000).and_then(|nano| nano.checked_add(fraction)).ok_or_else(invalid)
}

/// `NAME=VALUE` as it is, or `NAME` with the value it has here; nothing if it has none here.
pub(crate) fn variable(text: &str) -> Result<Option<String>> {
    let name = text.split('=').next().unwrap_or_default();
    if name.is_empty() {
        return Err(Error::new(format!("invalid environment variable: {text}")));
    }
    if text.contains('=') {
        return Ok(Some(text.to_owned()));
    }
    Ok(std::env::var(name).ok().map(|value| format!("{name}={value}")))
}

/// The variables in a file: one a line; empty lines and lines that begin with `#` are left out. Values are taken as
/// they are: no quotes, no expansion.
pub(crate) fn env_file(path: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path).map_err(|error| Error::file("read", path, error))?;
    let mut variables = Vec::new();
    for line in text.trim_start_matches('\u{feff}').lines().map(str::trim_start) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let name = line.split('=').next().unwrap_or_default();
        if name.contains(char::is_whitespace) {
            return Err(Error::new(format!(
                "poorly formatted environment: variable '{name}' contains whitespaces (in {})",
                path.display()
            )));
        }
        variables.extend(variable(line)?);
    }
    Ok(variables)
}

/// `KEY=VALUE`, or `KEY` with an empty value.
pub(crate) fn label(text: &str) -> (String, String) {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    (key.to_owned(), value.to_owned())
}

/// Labels, `KEY=VALUE` or `KEY`, of which none may be without a key.
pub(crate) fn labels<'a>(texts: impl IntoIterator<Item = &'a String>) -> Result<BTreeMap<String, String>> {
    let read = |text: &String| match label(text) {
        (key, _) if key.is_empty() => {
            Err(Error::new(format!("invalid label '{text}': empty name")).with_exit_code(125))
        }
        label => Ok(label),
    };
    texts.into_iter().map(read).collect()
}

/// The labels in a file, one a line; empty lines and lines that begin with `#` are left out.
pub(crate) fn label_file(path: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path).map_err(|error| Error::file("read", path, error))?;
    let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim_start);
    Ok(lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect())
}

/// `TARGET[:OPTIONS]` of a tmpfs.
pub(crate) fn target_and_options(text: &str) -> (String, String) {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    (target.to_owned(), options.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors() {
        let table: String =
            ["0.5", "2", "1.000000001", ".5", "1.", "1.0000000001", "", ".", "x", "-1", "9999999999999"]
                .into_iter()
                .map(|text| match nano_cpus(text) {
                    Ok(nano) => format!("{text:>14} {nano}\n"),
                    Err(error) => format!("{text:>14} {error}\n"),
                })
                .collect();
        insta::assert_snapshot!(table);
    }

    #[test]
    fn an_env_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("env");
        std::fs::write(&path, "# comment\n\nA=1\n  B=two words\nC=\"quoted\"\nMINI_DOCKER_UNSET\nPATH\n")
            .unwrap();
        let mut variables = env_file(&path).unwrap();
        assert!(variables.pop().unwrap().starts_with("PATH=/"));
        assert_eq!(variables, ["A=1", "B=two words", "C=\"quoted\""]);
        std::fs::write(&path, "A B=1\n").unwrap();
        assert!(env_file(&path).unwrap_err().to_string().contains("'A B' contains whitespaces"));
    }
}
