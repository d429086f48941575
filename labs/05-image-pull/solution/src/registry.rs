//! A client of one repository of a registry.

use std::fs::{self, File};
use std::io::{Error, Read, Result, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::document::{ACCEPT, ARCHITECTURE, Descriptor, finish};
use crate::http::{self, Answer};

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
    pub fn get(&mut self, path: &str) -> Result<Answer> {
        let url = format!("http://{}/v2/{}/{path}", self.host, self.name);
        let mut answer = self.ask(&url)?;
        if answer.status() == 401 {
            let challenge = answer.header("www-authenticate");
            self.token = Some(token(challenge.ok_or_else(|| Error::other("401, and no word on why"))?)?);
            answer = self.ask(&url)?;
        }
        if answer.status() == 200 {
            return Ok(answer);
        }
        Err(Error::other(format!("{url}: the registry answers {}", answer.status())))
    }

    /// Makes a request, with the token if there is one.
    fn ask(&self, url: &str) -> Result<Answer> {
        let authorization = self.token.as_ref().map(|token| format!("Bearer {token}"));
        let mut headers = vec![("accept", ACCEPT)];
        headers.extend(authorization.as_deref().map(|value| ("authorization", value)));
        http::get(url, &[], &headers)
    }
}

/// Asks the service that `challenge` names for a token: `Bearer realm="URL",service="NAME",scope="WHAT"`.
fn token(challenge: &str) -> Result<String> {
    // From quote to quote: what is between them may have commas in it.
    let parameter = |name: &str| challenge.split_once(&format!("{name}=\""))?.1.split('"').next();
    let realm = parameter("realm").ok_or_else(|| Error::other(format!("no realm in: {challenge}")))?;
    let query: Vec<(&str, &str)> =
        ["service", "scope"].into_iter().filter_map(|name| Some((name, parameter(name)?))).collect();
    let given: serde_json::Value = serde_json::from_slice(&http::get(realm, &query, &[])?.read()?)?;
    let token = given["token"].as_str().or(given["access_token"].as_str());
    token.map(str::to_owned).ok_or_else(|| Error::other(format!("no token in the answer of {realm}")))
}

/// The entry of an index that is for Linux on this machine's processor.
pub fn choose(entries: &[Descriptor]) -> Option<&Descriptor> {
    entries.iter().find(|entry| {
        let platform = entry.platform.as_ref();
        platform.is_some_and(|platform| platform.os == "linux" && platform.architecture == ARCHITECTURE)
    })
}

/// Fetches `KIND/DIGEST` of what is `wanted` into the file `path`, unless it is there. Unless size and digest are right,
/// nothing of it stays.
pub fn fetch(registry: &mut Registry, kind: &str, wanted: &Descriptor, path: &Path) -> Result<()> {
    if path.exists() {
        return Ok(());
    }
    let answer = registry.get(&format!("{kind}/{}", wanted.digest))?;
    let part = path.with_extension("part");
    match receive(answer, wanted, &part) {
        Ok(()) => fs::rename(part, path),
        Err(error) => fs::remove_file(part).and(Err(error)),
    }
}

/// Writes the body of `answer` to the file `part`. An error, if it is not what is `wanted`.
fn receive(answer: Answer, wanted: &Descriptor, part: &Path) -> Result<()> {
    let (mut file, mut hash, mut size) = (File::create(part)?, Sha256::new(), 0);
    // One byte more than promised is enough to know.
    let mut body = answer.body().take(wanted.size + 1);
    let mut buffer = vec![0; 1 << 16];
    loop {
        let piece = match body.read(&mut buffer)? {
            0 => break,
            length => &buffer[..length],
        };
        hash.update(piece);
        file.write_all(piece)?;
        size += piece.len() as u64;
    }
    if size != wanted.size {
        return Err(Error::other(format!("{} has another size than was promised", wanted.digest)));
    }
    let digest = finish(hash);
    if digest != wanted.digest {
        return Err(Error::other(format!("{} is not what came: that is {digest}", wanted.digest)));
    }
    Ok(())
}
