//! Image references: `debian:12` and what it is short for.
//!
//! A reference is `[HOST[:PORT]/]PATH[:TAG][@DIGEST]` (the grammar is in the Docker Distribution project's
//! `reference` package). What a user types is *familiar*: the host defaults to `docker.io`, and there a path of one
//! component is in the official `library/`. Everything behind this module sees the *canonical* form only.

use std::fmt;
use std::str::FromStr;

use overlay_layers::Digest;
use serde::{Deserialize, Serialize};

/// The host a reference without one means. Requests go to `registry-1.docker.io` (see [`crate::hosts`]).
pub const DEFAULT_HOST: &str = "docker.io";
/// The tag a reference without tag and digest means.
pub const DEFAULT_TAG: &str = "latest";
/// The repositories on Docker Hub that users name by one word.
const OFFICIAL: &str = "library/";
/// Longest path of a repository, in bytes.
const MAX_PATH: usize = 255;
/// Longest tag, in bytes.
const MAX_TAG: usize = 128;

/// Why a text is not a reference, in Docker's words, which scripts and courses know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// It does not follow the grammar.
    #[error("invalid reference format")]
    Format,
    /// The path has an upper-case letter.
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    Uppercase(String),
    /// The path is longer than 255 bytes.
    #[error("invalid reference format: repository name must not be more than 255 characters")]
    TooLong,
    /// It is 64 hexadecimal digits, which always means an image ID.
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    LooksLikeId(String),
    /// The digest's algorithm is not SHA-256.
    #[error("unsupported digest algorithm")]
    Algorithm,
    /// The digest is not 64 digits long.
    #[error("invalid checksum digest length")]
    DigestLength,
    /// The digest is not lower-case hexadecimal.
    #[error("invalid checksum digest format")]
    DigestFormat,
}

/// A parsed reference, always canonical: `debian` is held as `docker.io` and `library/debian`.
///
/// [`Display`](fmt::Display) and serde use the canonical text; [`Reference::familiar`] is for people.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Reference {
    host: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// The registry's name, with its port if one was given: `docker.io`, `localhost:5000`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The repository within the registry: `library/debian`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag, if one was given or defaulted.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if one was given.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// Host and path without tag and digest: `docker.io/library/debian`.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.host, self.path)
    }

    /// The same reference, with the tag `latest` if it has neither tag nor digest.
    pub fn or_latest(mut self) -> Self {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some(DEFAULT_TAG.to_owned());
        }
        self
    }

    /// The same repository by this digest, without a tag.
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { host: self.host.clone(), path: self.path.clone(), tag: None, digest: Some(digest) }
    }

    /// The same repository by this tag, without a digest.
    ///
    /// # Errors
    /// [`ReferenceError::Format`] if it cannot be a tag.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ReferenceError> {
        if !is_tag(tag) {
            return Err(ReferenceError::Format);
        }
        Ok(Self { host: self.host.clone(), path: self.path.clone(), tag: Some(tag.to_owned()), digest: None })
    }

    /// What stands behind the repository in a registry's URL: the digest if there is one, else the tag.
    pub fn tag_or_digest(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => DEFAULT_TAG.to_owned(),
        }
    }

    /// The repository as a user would type it: `debian`, `localhost:5000/debian`.
    pub fn familiar_repository(&self) -> String {
        if self.host != DEFAULT_HOST {
            return self.repository();
        }
        match self.path.strip_prefix(OFFICIAL) {
            Some(name) if !name.contains('/') => name.to_owned(),
            _ => self.path.clone(),
        }
    }

    /// The whole reference as a user would type it: `debian:12`.
    pub fn familiar(&self) -> String {
        self.familiar_repository() + &self.suffix()
    }

    /// `:TAG@DIGEST`, each part as far as it is there.
    fn suffix(&self) -> String {
        let tag = self.tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
        let digest = self.digest.map(|digest| format!("@{digest}")).unwrap_or_default();
        tag + &digest
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}{}", self.host, self.path, self.suffix())
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.len() == 64 && text.bytes().all(is_lower_hex) {
            return Err(ReferenceError::LooksLikeId(text.to_owned()));
        }
        let (host, rest) = split_host(text);
        let (name, digest) = match rest.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (rest.as_str(), None),
        };
        // The host, and with it a port's colon, is gone: what is left can only have the tag's.
        let (path, tag) = match name.split_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (name, None),
        };
        if path.chars().any(char::is_uppercase) {
            return Err(ReferenceError::Uppercase(path.to_owned()));
        }
        if !is_host(&host) || !is_path(path) || tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(ReferenceError::Format);
        }
        if path.len() > MAX_PATH {
            return Err(ReferenceError::TooLong);
        }
        let digest = digest.map(parse_digest).transpose()?;
        Ok(Self { host, path: path.to_owned(), tag: tag.map(str::to_owned), digest })
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.to_string()
    }
}

impl TryFrom<String> for Reference {
    type Error = ReferenceError;

    fn try_from(text: String) -> Result<Self, ReferenceError> {
        text.parse()
    }
}

/// Splits off the host and fills in what the short forms leave out.
///
/// `a/b` could be a host and a path, or a path alone. The first component is a host if it could not be a path (a dot,
/// a port's colon, an upper-case letter) or is `localhost`.
fn split_host(text: &str) -> (String, String) {
    let (host, rest) = match text.split_once('/') {
        Some((first, rest))
            if first == "localhost" || first.contains(|c: char| ".:".contains(c) || c.is_uppercase()) =>
        {
            (first, rest)
        }
        _ => (DEFAULT_HOST, text),
    };
    // What Docker called its registry at first; old configurations and scripts still do.
    let host = if host == "index.docker.io" { DEFAULT_HOST } else { host };
    let rest = match rest {
        _ if host == DEFAULT_HOST && !rest.contains('/') => format!("{OFFICIAL}{rest}"),
        _ => rest.to_owned(),
    };
    (host.to_owned(), rest)
}

/// A domain name, an IPv4 address or an IPv6 address in brackets; then maybe a port.
fn is_host(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let name_ok = match address {
        Some(address) => !address.is_empty() && address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':'),
        None => name.split('.').all(|label| {
            let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
            !label.is_empty() && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
        }),
    };
    name_ok && port.is_none_or(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()))
}

/// Components of `[a-z0-9]+`, joined within by one `.`, one or two `_`, or any number of `-`.
fn is_path(path: &str) -> bool {
    path.split('/').all(|component| {
        let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let separator_ok = |s: &str| matches!(s, "" | "." | "_" | "__") || s.bytes().all(|b| b == b'-');
        component.bytes().next().is_some_and(alphanumeric)
            && component.bytes().last().is_some_and(alphanumeric)
            && component.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()).all(separator_ok)
    })
}

/// `[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}`.
fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    tag.len() <= MAX_TAG
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

fn is_lower_hex(b: u8) -> bool {
    matches!(b, b'0'..=b'9' | b'a'..=b'f')
}

/// The grammar admits any algorithm and 32 digits or more; what is then not SHA-256 gets an error that says so.
fn parse_digest(text: &str) -> Result<Digest, ReferenceError> {
    let (algorithm, hex) = text.split_once(':').ok_or(ReferenceError::Format)?;
    let algorithm_ok = algorithm.split(|c| "+.-_".contains(c)).all(|part| {
        part.starts_with(|c: char| c.is_ascii_alphabetic()) && part.bytes().all(|b| b.is_ascii_alphanumeric())
    });
    if !algorithm_ok || hex.len() < 32 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(ReferenceError::Format);
    }
    if algorithm != "sha256" {
        return Err(ReferenceError::Algorithm);
    }
    if hex.len() != 64 {
        return Err(ReferenceError::DigestLength);
    }
    text.parse().map_err(|_| ReferenceError::DigestFormat)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every row: what is typed, then its canonical and familiar forms or the error.
    #[test]
    fn normalisation() {
        let hex = "0123456789abcdef".repeat(4);
        let long = "a".repeat(256);
        let (tag128, tag129) = ("t".repeat(128), "t".repeat(129));
        let rows = [
            "debian",
            "debian:12",
            "library/debian",
            "docker.io/debian",
            "index.docker.io/debian:12",
            "me/tool",
            "docker.io/me/tool",
            "docker.io/library/me/tool",
            "localhost/tool",
            "localhost:5000/tool:1.0",
            "localhost:5000",
            "127.0.0.1:5000/a/b/c",
            "[::1]:5000/a",
            "[::1]/a",
            "ghcr.io/o/r",
            "Host/path",
            "HOST.io:1/a:B",
            "debian@sha256:HEX",
            "debian:12@sha256:HEX",
            "r.example:443/a:t@sha256:HEX",
            "x/a.b_c__d---e/f",
            "T128",
            "HEX:tag",
            "",
            "Debian",
            "me/Tool",
            "Debian:12",
            "debian:",
            "debian@",
            ":12",
            "/debian",
            "debian/",
            "a//b",
            "a..b",
            "a___b",
            "-a",
            "a-",
            "_a",
            "a.",
            "debian:-x",
            "debian:a b",
            "debian:a:b",
            "T129",
            "deb ian",
            "dé",
            "HEX",
            "LONG",
            "host:port/a",
            "-host.io/a",
            "host-.io/a",
            "[::g]/a",
            "[]/a",
            "https://docker.io/a",
            "debian@sha256:abc",
            "debian@sha256:0123456789abcdef0123456789abcdef",
            "debian@sha512:HEXHEX",
            "debian@md5:HEX",
            "debian@1x:HEX",
            "debian@sha256:UPPER",
            "debian@HEX",
        ];
        let table: String = rows
            .iter()
            .map(|row| {
                let typed = match *row {
                    "T128" => format!("a:{tag128}"),
                    "T129" => format!("a:{tag129}"),
                    "LONG" => long.clone(),
                    _ => row.replace("HEX", &hex).replace("UPPER", &hex.to_uppercase()),
                };
                let shorten = |text: String| text.replace(&hex, "HEX").replace(&tag128, "T128");
                let result = match typed.parse::<Reference>() {
                    Ok(reference) => {
                        assert_eq!(
                            reference.to_string().parse(),
                            Ok(reference.clone()),
                            "canonical form round-trips"
                        );
                        assert_eq!(
                            reference.familiar().parse(),
                            Ok(reference.clone()),
                            "familiar form round-trips"
                        );
                        format!("{reference}  ({})", reference.familiar())
                    }
                    Err(error) => format!("error: {error}"),
                };
                format!("{row:<42} {}\n", shorten(result))
            })
            .collect();
        insta::assert_snapshot!(table);
    }

    #[test]
    fn latest_only_where_nothing_was_said() {
        let or_latest = |text: &str| text.parse::<Reference>().expect(text).or_latest().familiar();
        let digest = format!("debian@sha256:{}", "0".repeat(64));
        assert_eq!(or_latest("debian"), "debian:latest");
        assert_eq!(or_latest("debian:12"), "debian:12");
        assert_eq!(or_latest(&digest), digest);
    }
}
