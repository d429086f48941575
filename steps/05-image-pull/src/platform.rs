//! Platforms, and which of an index's images fits one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::manifest::Descriptor;

/// What an image's programs run on: `linux/amd64`, `linux/arm/v7`. Always in normal form (Go's names, as registries
/// use them); the OCI image index spec defines the fields.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "RawPlatform")]
pub struct Platform {
    /// `linux`
    pub os: String,
    /// `amd64`, `arm64`, …
    pub architecture: String,
    /// The level within an architecture, where it is not the common one: `v7` of `arm`, `v3` of `amd64`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub variant: Option<String>,
}

/// A platform as registries write it, before it is put in normal form.
#[derive(Deserialize)]
struct RawPlatform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: Option<String>,
}

impl From<RawPlatform> for Platform {
    fn from(raw: RawPlatform) -> Self {
        Self::new(&raw.os, &raw.architecture, raw.variant.as_deref())
    }
}

/// A text that names no platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid platform {0:?}: write OS, ARCHITECTURE or OS/ARCHITECTURE[/VARIANT], such as linux/arm64")]
pub struct PlatformError(String);

impl Platform {
    /// A platform in normal form.
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let os = match os.to_lowercase().as_str() {
            "macos" => "darwin".to_owned(),
            other => other.to_owned(),
        };
        let variant = variant.unwrap_or_default().to_lowercase();
        let (architecture, variant) = match (architecture.to_lowercase().as_str(), variant.as_str()) {
            ("x86_64" | "x86-64" | "amd64", "" | "v1") => ("amd64".to_owned(), String::new()),
            ("x86_64" | "x86-64", variant) => ("amd64".to_owned(), variant.to_owned()),
            ("i386" | "i486" | "i586" | "i686" | "386", _) => ("386".to_owned(), String::new()),
            ("aarch64" | "arm64", "" | "8" | "v8") => ("arm64".to_owned(), String::new()),
            ("aarch64", variant) => ("arm64".to_owned(), variant.to_owned()),
            ("armhf", _) | ("arm", "" | "7") => ("arm".to_owned(), "v7".to_owned()),
            ("armel", _) => ("arm".to_owned(), "v6".to_owned()),
            ("arm", level @ ("5" | "6" | "8")) => ("arm".to_owned(), format!("v{level}")),
            (architecture, variant) => (architecture.to_owned(), variant.to_owned()),
        };
        Self { os, architecture, variant: (!variant.is_empty()).then_some(variant) }
    }

    /// The platform this program was built for.
    pub fn host() -> Self {
        Self::new(std::env::consts::OS, std::env::consts::ARCH, None)
    }

    /// The platforms whose programs this one runs, best first: its own, lower levels of its architecture, then the
    /// 32-bit one that its processors also run.
    pub fn runs(&self) -> Vec<Platform> {
        let on = |architecture: &str, variant: &str| Self::new(&self.os, architecture, Some(variant));
        let below = |architecture: &str, level: u8, lowest: u8| -> Vec<Platform> {
            (lowest..=level).rev().map(|level| on(architecture, &format!("v{level}"))).collect()
        };
        let level = |default: u8| match &self.variant {
            None => Some(default),
            Some(variant) => {
                variant.strip_prefix('v').and_then(|level| level.parse::<u8>().ok()).filter(|l| *l <= 9)
            }
        };
        match (self.architecture.as_str(), level(1), level(8)) {
            ("amd64", Some(level), _) => [below("amd64", level, 1), vec![on("386", "")]].concat(),
            ("arm64", _, Some(8)) => [vec![self.clone()], below("arm", 8, 5)].concat(),
            ("arm", Some(level), _) => below("arm", level, 5),
            _ => vec![self.clone()],
        }
    }

    /// The best of an index's entries for this platform, if any fits.
    ///
    /// An entry without a platform is taken only when no entry with one fits: the spec leaves it out for images that
    /// run anywhere. Entries that are no images (`unknown/unknown` is what builders give their attestations) never fit.
    pub fn choose<'a>(&self, entries: &'a [Descriptor]) -> Option<&'a Descriptor> {
        let with = |wanted: &Platform| entries.iter().find(|entry| entry.platform.as_ref() == Some(wanted));
        self.runs().iter().find_map(with).or_else(|| entries.iter().find(|entry| entry.platform.is_none()))
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{variant}"))
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let word = |part: &&str| {
            !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        };
        let parts: Vec<&str> = text.split('/').collect();
        let host = Self::host();
        match parts[..] {
            _ if !parts.iter().all(word) => Err(PlatformError(text.to_owned())),
            [os @ ("linux" | "windows" | "darwin" | "macos" | "freebsd")] => {
                Ok(Self::new(os, &host.architecture, host.variant.as_deref()))
            }
            [architecture] => Ok(Self::new(&host.os, architecture, None)),
            [os, architecture] => Ok(Self::new(os, architecture, None)),
            [os, architecture, variant] => Ok(Self::new(os, architecture, Some(variant))),
            _ => Err(PlatformError(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use overlay_layers::Digest;

    #[test]
    fn normal_forms() {
        let rows = [
            "linux/amd64",
            "linux/x86_64",
            "Linux/AMD64/v1",
            "linux/amd64/v3",
            "linux/i686",
            "linux/aarch64",
            "linux/arm64/v8",
            "linux/arm64/v9",
            "linux/arm",
            "linux/armhf",
            "linux/armel",
            "linux/arm/6",
            "linux/riscv64",
            "macos/arm64",
            "",
            "/",
            "linux/",
            "a/b/c/d",
            "linux/amd 64",
        ];
        let table: String = rows
            .iter()
            .map(|row| match row.parse::<Platform>() {
                Ok(platform) => {
                    let runs: Vec<String> = platform.runs().iter().map(ToString::to_string).collect();
                    format!("{row:<16} {platform}: runs {}\n", runs.join(" "))
                }
                Err(error) => format!("{row:<16} error: {error}\n"),
            })
            .collect();
        insta::assert_snapshot!(table);
    }

    #[test]
    fn best_of_an_index() {
        let entry = |platform: &str| Descriptor {
            platform: (!platform.is_empty()).then(|| platform.parse().expect(platform)),
            ..Descriptor::of(
                "application/vnd.oci.image.manifest.v1+json",
                &Digest::of(platform.as_bytes()),
                1,
            )
        };
        let choose = |host: &str, entries: &[&str]| {
            let entries: Vec<Descriptor> = entries.iter().map(|platform| entry(platform)).collect();
            let host: Platform = host.parse().expect(host);
            let chosen = host.choose(&entries)?;
            Some(chosen.platform.as_ref().map_or("any".to_owned(), ToString::to_string))
        };
        assert_eq!(choose("linux/amd64", &["linux/arm64", "linux/amd64"]).as_deref(), Some("linux/amd64"));
        assert_eq!(
            choose("linux/arm/v7", &["linux/arm/v5", "linux/arm/v6", "linux/arm/v8"]).as_deref(),
            Some("linux/arm/v6")
        );
        assert_eq!(choose("linux/amd64", &["linux/386", "unknown/unknown"]).as_deref(), Some("linux/386"));
        assert_eq!(choose("linux/amd64", &["", "linux/arm64"]).as_deref(), Some("any"));
        assert_eq!(choose("linux/amd64", &["unknown/unknown", "linux/arm64"]), None);
        assert_eq!(choose("linux/amd64", &["linux/amd64/v3"]), None, "a processor may lack what v3 needs");
    }
}
