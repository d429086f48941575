//! Names made from content: digests, and the two kinds of layer identity built on them.
//!
//! A layer has a *diff ID*, the digest of its uncompressed tar, which the image's config lists; and a *chain ID*, which
//! also covers every layer below it. What lies on disk is kept under the chain ID, because the same tar means
//! something else on another base (a whiteout hides what is there).

use std::fmt;
use std::io;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use crate::error::Error;

/// A SHA-256 digest, written `sha256:` and 64 lower-case hexadecimal digits (OCI image spec, "Digests").
///
/// The spec registers SHA-512 as well; no registry in use serves it, and it is refused by name rather than ignored.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// The 64 hexadecimal digits, without the algorithm: a file name.
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |reason| Error::Digest { text: text.to_owned(), reason };
        let (algorithm, hex) = text
            .split_once(':')
            .ok_or_else(|| wrong("expected an algorithm, a colon and hexadecimal digits"))?;
        match algorithm {
            "sha256" => {}
            "sha512" => return Err(wrong("sha512 is registered by OCI but not supported here; use sha256")),
            _ => return Err(wrong("unknown algorithm; only sha256 is supported")),
        }
        // Upper case is refused as the spec demands: one content must not have two names.
        if hex.len() != 64 || !hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(wrong("expected 64 lower-case hexadecimal digits after sha256:"));
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            let digit = |d: u8| if d.is_ascii_digit() { d - b'0' } else { d - b'a' + 10 };
            *byte = digit(pair[0]) << 4 | digit(pair[1]);
        }
        Ok(Self(bytes))
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl TryFrom<String> for Digest {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

/// Computes a [`Digest`] of what is written to it.
#[derive(Clone, Debug, Default)]
pub struct Hasher(sha2::Sha256);

impl Hasher {
    /// A hasher that has seen nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds these bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of everything written.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

impl io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The digest of a layer's *uncompressed* tar: `rootfs.diff_ids` of an image config.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DiffId(pub Digest);

/// A layer together with everything below it (OCI image spec, "Layer `ChainID`").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChainId(pub Digest);

impl ChainId {
    /// The identity of the layer `diff` lying on `parent`.
    ///
    /// `ChainID(L0) = DiffID(L0)`, and `ChainID(L0|..|Ln) = SHA256(ChainID(L0|..|Ln-1) + " " + DiffID(Ln))`.
    pub fn of(parent: Option<&ChainId>, diff: &DiffId) -> Self {
        match parent {
            None => Self(diff.0),
            Some(parent) => Self(Digest::of(format!("{} {}", parent.0, diff.0).as_bytes())),
        }
    }
}

/// The chain IDs of a whole image, lowest layer first, as its config lists the diff IDs.
pub fn chain(diff_ids: &[DiffId]) -> Vec<ChainId> {
    let mut chain: Vec<ChainId> = Vec::with_capacity(diff_ids.len());
    for diff in diff_ids {
        chain.push(ChainId::of(chain.last(), diff));
    }
    chain
}

macro_rules! as_digest {
    ($($name:ident)*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                text.parse().map(Self)
            }
        }
    )*};
}

as_digest! { DiffId ChainId }
