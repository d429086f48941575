//! Who the user is to a registry: `~/.docker/config.json`, as `docker login` leaves it.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;

use crate::error::{Error, Result, errno};
use crate::reference::DEFAULT_HOST;

/// What Docker Hub's entry is called, for reasons of history.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// The settings of `docker login`. Nothing is looked up until a registry asks for it.
#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Credentials {
    auths: BTreeMap<String, Entry>,
    creds_store: Option<String>,
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Entry {
    /// `USER:PASSWORD` in base 64
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
}

/// How to prove who one is.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// By name and password.
    Password {
        /// The name.
        user: String,
        /// The password.
        password: String,
    },
    /// By a token that an earlier login left, to be exchanged for others.
    IdentityToken(String),
}

impl Login {
    /// The value of an `Authorization` header that gives name and password (RFC 7617); a token cannot be given so.
    pub fn basic(&self) -> Option<String> {
        match self {
            Self::Password { user, password } => {
                Some(format!("Basic {}", BASE64.encode(format!("{user}:{password}"))))
            }
            Self::IdentityToken(_) => None,
        }
    }
}

/// What a credential helper prints.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

impl Credentials {
    /// Reads `config.json` in `$DOCKER_CONFIG` or `~/.docker`. A missing file is no error.
    pub fn of_user() -> Result<Self> {
        let directory = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
        let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".docker"));
        match directory.or_else(home) {
            Some(directory) => Self::read(&directory.join("config.json")),
            None => Ok(Self::default()),
        }
    }

    /// Reads a file of that form. A missing file is no error.
    pub fn read(path: &Path) -> Result<Self> {
        let wrong = |reason| Error::Setting { setting: path.display().to_string(), reason };
        match std::fs::read(path) {
            Ok(json) => serde_json::from_slice(&json).map_err(|error| wrong(error.to_string())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(wrong(errno(&error).to_string())),
        }
    }

    /// What is known for `host` (`docker.io`, `localhost:5000`): from the host's own helper, else the common helper,
    /// else the file.
    pub fn lookup(&self, host: &str) -> Result<Option<Login>> {
        let key = if host == DEFAULT_HOST { DOCKER_HUB_KEY } else { host };
        let helper =
            self.cred_helpers.get(host).or_else(|| self.cred_helpers.get(key)).or(self.creds_store.as_ref());
        match helper.filter(|helper| !helper.is_empty()) {
            Some(helper) => ask_helper(helper, key),
            None => self.in_file(host, key),
        }
    }

    /// Old clients wrote URLs as keys (`https://localhost:5000/v1/`); only their host counts.
    fn in_file(&self, host: &str, key: &str) -> Result<Option<Login>> {
        let same_host = |(written, _): &(&String, &Entry)| {
            let bare = written.trim_start_matches("https://").trim_start_matches("http://");
            bare.split('/').next() == Some(host)
        };
        let entry = self.auths.get(key).or_else(|| self.auths.iter().find(same_host).map(|(_, entry)| entry));
        let Some(entry) = entry else { return Ok(None) };
        if !entry.identitytoken.is_empty() {
            return Ok(Some(Login::IdentityToken(entry.identitytoken.clone())));
        }
        if entry.auth.is_empty() {
            let (user, password) = (entry.username.clone(), entry.password.clone());
            return Ok((!user.is_empty()).then_some(Login::Password { user, password }));
        }
        let decoded = BASE64.decode(&entry.auth).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        match decoded.as_deref().and_then(|pair| pair.trim_end_matches('\0').split_once(':')) {
            Some((user, password)) => {
                Ok(Some(Login::Password { user: user.to_owned(), password: password.to_owned() }))
            }
            None => Err(Error::Login {
                host: host.to_owned(),
                reason: "its \"auth\" in Docker's config.json is not USER:PASSWORD in base 64; log in again"
                    .to_owned(),
            }),
        }
    }
}

/// Runs `docker-credential-NAME get`: the key goes in on standard input, JSON comes out.
fn ask_helper(name: &str, key: &str) -> Result<Option<Login>> {
    let program = format!("docker-credential-{name}");
    let failed =
        |reason: String| Error::Login { host: key.to_owned(), reason: format!("{program}: {reason}") };
    let io = |error: std::io::Error| failed(errno(&error).to_string());
    tracing::info!("asking {program} for the login to {key}");
    let mut child = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(io)?;
    let mut stdin = child.stdin.take().expect("was asked to be piped");
    // A helper that answers without reading its input breaks the pipe; its answer is what counts.
    match stdin.write_all(key.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => return Err(io(error)),
        _ => drop(stdin),
    }
    let output = child.wait_with_output().map_err(io)?;
    if !output.status.success() {
        // Helpers fail both when something is wrong and when they simply know nothing, with this text.
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).trim().to_owned();
        return if said.contains("credentials not found") { Ok(None) } else { Err(failed(said)) };
    }
    let answer: Answer = serde_json::from_slice(&output.stdout)
        .map_err(|_| failed("its answer is not the JSON that helpers print".to_owned()))?;
    Ok(Some(match answer.username.as_str() {
        "<token>" => Login::IdentityToken(answer.secret),
        _ => Login::Password { user: answer.username, password: answer.secret },
    }))
}

// Secrets must not get into logs by way of `{:?}`.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("hosts", &self.auths.keys()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { user, .. } => write!(f, "Password of {user}"),
            Self::IdentityToken(_) => f.write_str("IdentityToken"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(json: &str) -> Credentials {
        serde_json::from_str(json).expect("valid")
    }

    #[test]
    fn forms_of_entries() {
        let password = |user: &str, password: &str| {
            Some(Login::Password { user: user.to_owned(), password: password.to_owned() })
        };
        let known = credentials(
            r#"{"auths":{"https://index.docker.io/v1/":{"auth":"aHViOnA6dw=="},"localhost:5000":{"username":"u","password":"p"},
                "https://old.lan:81/v1/":{"auth":"dTpw"},"t.example":{"auth":"dTo=","identitytoken":"IT"},
                "empty.example":{},"bad.example":{"auth":"!"}}}"#,
        );
        let lookup = |host: &str| known.lookup(host).expect(host);
        assert_eq!(lookup("docker.io"), password("hub", "p:w"), "a password may have colons");
        assert_eq!(lookup("localhost:5000"), password("u", "p"));
        assert_eq!(lookup("old.lan:81"), password("u", "p"));
        assert_eq!(lookup("t.example"), Some(Login::IdentityToken("IT".to_owned())));
        assert_eq!(lookup("empty.example"), None);
        assert_eq!(lookup("localhost"), None, "another port is another registry");
        insta::assert_snapshot!(known.lookup("bad.example").expect_err("not base 64"), @r#"cannot log in to bad.example: its "auth" in Docker's config.json is not USER:PASSWORD in base 64; log in again"#);
    }

    #[test]
    fn secrets_stay_out_of_debug_output() {
        let known = credentials(r#"{"auths":{"a":{"username":"u","password":"hunter2"}}}"#);
        let shown = format!("{known:?} {:?}", known.lookup("a"));
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn a_missing_helper_is_named() {
        let error =
            credentials(r#"{"credsStore":"nothing-like-it"}"#).lookup("a.example").expect_err("missing");
        insta::assert_snapshot!(error, @"cannot log in to a.example: docker-credential-nothing-like-it: ENOENT: No such file or directory");
    }
}
