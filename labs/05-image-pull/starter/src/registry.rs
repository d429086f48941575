//! A client of one repository of a registry.

use std::io::{Error, ErrorKind, Result};
use std::path::Path;

use crate::document::Descriptor;
use crate::http::Answer;

/// A repository, and the token that it has asked for.
pub struct Registry {
    host: String,
    name: String,
    token: Option<String>,
}

impl Registry {
    pub fn new(host: &str, name: &str) -> Self {
        Self { host: host.into(), name: name.into(), token: None }
    }

    /// The answer to a request for `path` of this repository, such as `manifests/latest`. If a token is asked for, has one
    /// given, keeps it, and makes the request once more. An answer other than 200 is an error.
    pub fn get(&mut self, _path: &str) -> Result<Answer> {
        // Yours: crate::http::get of http://HOST/v2/NAME/PATH, with the header accept (document::ACCEPT), and with
        // authorization if there is a token. "Unsupported" stands for "not written yet".
        Err(Error::from(ErrorKind::Unsupported))
    }
}

/// Asks the service that `challenge` names for a token: `Bearer realm="URL",service="NAME",scope="WHAT"`.
fn token(_challenge: &str) -> Result<String> {
    // Yours: `GET URL?service=NAME&scope=WHAT`. The answer is JSON: an object with the token as `token`, or, from some, as
    // `access_token`.
    Err(Error::from(ErrorKind::Unsupported))
}

/// The entry of an index that is for Linux on this machine's processor (document::ARCHITECTURE).
pub fn choose(_entries: &[Descriptor]) -> Option<&Descriptor> {
    // Yours.
    None
}

/// Fetches `KIND/DIGEST` of what is `wanted` into the file `path`, unless it is there. Unless size and digest are right,
/// nothing of it stays.
pub fn fetch(_registry: &mut Registry, _kind: &str, _wanted: &Descriptor, _path: &Path) -> Result<()> {
    // Yours: the body of the answer, piece by piece, into a file with another name, and into a hash (sha2::Sha256,
    // document::finish).
    Err(Error::from(ErrorKind::Unsupported))
}
