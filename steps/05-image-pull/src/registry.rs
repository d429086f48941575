//! The registry protocol, as far as pulling needs it (OCI distribution spec, "Pull" and "Content Discovery").
//!
//! Three requests, all under `/v2/NAME/`: `manifests/TAG-OR-DIGEST`, `blobs/DIGEST` and `tags/list`. A registry that
//! wants a login answers 401 and says how (see [`crate::challenge`]); after that the request is sent once more.

use std::io::Read;
use std::sync::{Mutex, MutexGuard};
use std::thread::sleep;
use std::time::Duration;

use overlay_layers::Digest;
use serde::Deserialize;
use ureq::http::Uri;

use crate::challenge::Challenge;
use crate::credentials::Credentials;
use crate::error::{Error, Result};
use crate::hosts::{Endpoint, Registries, Role};
use crate::http::{Answer, Http, Request, authority, io_reason, join, origin, shown};
use crate::manifest::{ACCEPT, Descriptor, MAX_MANIFEST};
use crate::patience::Patience;
use crate::reference::Reference;
use crate::token;

/// The largest answer that is not content: tokens, errors, lists of tags. In bytes.
const MAX_ANSWER: u64 = 4 << 20;
/// The most pages of tags that are read.
const MAX_PAGES: usize = 1000;

/// A manifest as a registry served it, its digest checked.
#[derive(Debug, Clone)]
pub struct Served {
    /// The bytes.
    pub raw: Vec<u8>,
    /// Their digest.
    pub digest: Digest,
    /// The `Content-Type` header.
    pub content_type: Option<String>,
}

/// A blob on its way.
pub struct Incoming {
    /// The bytes from `start` on.
    pub body: Box<dyn Read + Send>,
    /// The first byte's place in the blob: what was asked for, or 0 from a server that does not know ranges.
    pub start: u64,
    /// From where, for errors.
    pub url: Uri,
}

/// A client for one repository.
///
/// All requests after the first go to the server that answered it, so that a manifest and its blobs come from one place.
pub struct Registry {
    http: Http,
    credentials: Credentials,
    patience: Patience,
    reference: Reference,
    endpoints: Vec<Endpoint>,
    session: Mutex<Session>,
}

/// What was learnt from the server.
#[derive(Default, Clone)]
struct Session {
    /// Which of the endpoints answered.
    endpoint: Option<usize>,
    /// The `Authorization` header it accepts.
    authorization: Option<String>,
}

/// The body of an error (OCI distribution spec, "Error Codes").
#[derive(Deserialize, Default)]
#[serde(default)]
struct Failure {
    errors: Vec<FailureEntry>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct FailureEntry {
    code: String,
    message: String,
}

#[derive(Deserialize)]
struct Tags {
    tags: Option<Vec<String>>,
}

impl Registry {
    /// A client for the repository of `reference`. Nothing is sent yet.
    pub fn new(
        reference: &Reference,
        registries: &Registries,
        credentials: Credentials,
        patience: Patience,
    ) -> Self {
        Self {
            http: Http::new(registries.clone(), patience.silence),
            credentials,
            patience,
            endpoints: registries.endpoints(reference.host()),
            reference: reference.clone(),
            session: Mutex::default(),
        }
    }

    /// How long this client puts up with failures.
    pub fn patience(&self) -> Patience {
        self.patience
    }

    /// Fetches a manifest or index by tag or digest. A digest is checked against the bytes, whoever claims it.
    pub fn manifest(&self, tag_or_digest: &str) -> Result<Served> {
        let answer = self.get(&format!("manifests/{tag_or_digest}"), Some(ACCEPT), None)?;
        let header = answer.header("docker-content-digest").and_then(|text| text.parse().ok());
        let content_type = answer.header("content-type").map(str::to_owned);
        let raw = read_bounded(answer, MAX_MANIFEST)?;
        let digest = Digest::of(&raw);
        match tag_or_digest.parse().ok().or(header) {
            Some(expected) if expected != digest => {
                Err(Error::WrongDigest { what: "manifest", expected, actual: digest })
            }
            _ => Ok(Served { raw, digest, content_type }),
        }
    }

    /// Asks for a blob's bytes from number `from` on. The caller checks what comes.
    pub fn blob(&self, digest: &Digest, from: u64) -> Result<Incoming> {
        let answer = self.get_once(&format!("blobs/{digest}"), None, (from > 0).then_some(from))?;
        // `Content-Range: bytes 100-199/200`: the server may begin where it likes, and says where that is.
        let start = answer
            .header("content-range")
            .and_then(|range| range.strip_prefix("bytes ")?.split('-').next()?.parse::<u64>().ok());
        let start = match (answer.status(), start) {
            (206, Some(start)) => start,
            (206, None) => from,
            _ => 0,
        };
        let url = answer.url.clone();
        Ok(Incoming { body: Box::new(answer.response.into_body().into_reader()), start, url })
    }

    /// A small blob as a whole, checked against its descriptor.
    pub fn small_blob(&self, wanted: &Descriptor) -> Result<Vec<u8>> {
        let answer = self.get(&format!("blobs/{}", wanted.digest), None, None)?;
        let raw = read_bounded(answer, wanted.size)?;
        let actual = Digest::of(&raw);
        if actual != wanted.digest {
            return Err(Error::WrongDigest { what: "blob", expected: wanted.digest, actual });
        }
        Ok(raw)
    }

    /// All tags of the repository, in the registry's order.
    pub fn tags(&self) -> Result<Vec<String>> {
        let mut tags = Vec::new();
        let mut path = "tags/list?n=1000".to_owned();
        for _ in 0..MAX_PAGES {
            let answer = self.get(&path, Some("application/json"), None)?;
            let next = answer.header("link").and_then(next_page).and_then(|next| join(&answer.url, &next));
            let url = shown(&answer.url);
            let page: Tags = serde_json::from_slice(&read_bounded(answer, MAX_ANSWER)?).map_err(|error| {
                Error::Connection {
                    url,
                    reason: format!("its list of tags cannot be read: {error}"),
                    transient: false,
                }
            })?;
            tags.extend(page.tags.unwrap_or_default());
            // Only the query is taken over: the next page is of the same list on the same server.
            match next.and_then(|next| next.query().map(|query| format!("tags/list?{query}"))) {
                Some(next) if next != path => path = next,
                _ => break,
            }
        }
        Ok(tags)
    }

    /// A request that is repeated while its failure looks transient.
    fn get(&self, path: &str, accept: Option<&str>, from: Option<u64>) -> Result<Answer> {
        let mut failures = 0;
        loop {
            let error = match self.get_once(path, accept, from) {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            failures += 1;
            sleep(self.patience.wait_after(failures, error)?);
        }
    }

    /// A request to the server that answered before, or to the first that does.
    fn get_once(&self, path: &str, accept: Option<&str>, from: Option<u64>) -> Result<Answer> {
        let known = self.session().endpoint;
        if let Some(endpoint) = known {
            return self.get_from(endpoint, path, accept, from);
        }
        let mut last = None;
        for (number, endpoint) in self.endpoints.iter().enumerate() {
            if endpoint.role == Role::WithoutTls && !matches!(last, Some(Error::Connection { .. })) {
                continue;
            }
            match self.get_from(number, path, accept, from) {
                Ok(answer) => {
                    self.session().endpoint = Some(number);
                    return Ok(answer);
                }
                Err(error) => {
                    tracing::debug!("{error}");
                    last = Some(error);
                }
            }
        }
        Err(last.expect("there is always the registry itself"))
    }

    /// A request to one server, with a login if it asks for one.
    fn get_from(
        &self,
        endpoint: usize,
        path: &str,
        accept: Option<&str>,
        from: Option<u64>,
    ) -> Result<Answer> {
        let base = &self.endpoints[endpoint].base;
        let url: Uri = format!("{base}/v2/{}/{path}", self.reference.path()).parse().map_err(|error| {
            Error::Connection { url: base.clone(), reason: format!("not a URL: {error}"), transient: false }
        })?;
        let mut authorization = self.session().authorization.clone();
        for try_login in [true, false] {
            let request =
                Request { accept, authorization: authorization.as_deref(), from_byte: from, form: None };
            let answer = self.http.send(&url, request)?;
            match answer.status() {
                200 | 206 => {
                    self.session().authorization = authorization;
                    return Ok(answer);
                }
                // A storage server's 401 is not the registry's: it must not make us log in.
                401 if try_login && origin(&answer.url) == origin(&url) => {
                    authorization = Some(self.log_in(&answer, self.endpoints[endpoint].role)?);
                }
                _ => return Err(self.refusal(path, answer)),
            }
        }
        unreachable!("the second time round, every status returns")
    }

    /// Does what a 401 asks for, and returns the `Authorization` header to send.
    fn log_in(&self, answer: &Answer, role: Role) -> Result<String> {
        let headers = answer.response.headers().get_all("www-authenticate").iter();
        let challenges: Vec<Challenge> =
            headers.filter_map(|header| header.to_str().ok()).flat_map(Challenge::parse).collect();
        let find = |scheme: &str| challenges.iter().find(|challenge| challenge.scheme == scheme);
        let server = authority(&answer.url);
        let host = if role == Role::Mirror { server } else { self.reference.host() };
        let login = self.credentials.lookup(host)?;
        let fail = |reason: &str| Error::Login { host: host.to_owned(), reason: reason.to_owned() };
        match (find("bearer"), find("basic"), login) {
            (Some(bearer), _, login) => {
                tracing::info!("{server} wants a token: asking the server it names for one");
                let scope = format!("repository:{}:pull", self.reference.path());
                token::fetch(&self.http, bearer, &scope, login.as_ref(), host)
            }
            (None, Some(_), Some(login)) => login
                .basic()
                .ok_or_else(|| fail("it wants a password and only a token is known; log in again")),
            (None, Some(_), None) => Err(self.denied(": no basic auth credentials")),
            (None, None, _) => Err(fail("it offers neither Basic nor Bearer")),
        }
    }

    fn denied(&self, message: &str) -> Error {
        Error::Denied { repository: self.reference.familiar_repository(), message: message.to_owned() }
    }

    /// The error for an answer that is none of those hoped for.
    fn refusal(&self, path: &str, answer: Answer) -> Error {
        let (url, status) = (shown(&answer.url), answer.response.status());
        let host = authority(&answer.url).to_owned();
        let retry_after =
            answer.header("retry-after").and_then(|text| text.parse().ok()).map(Duration::from_secs);
        // The words are an extra: an answer without readable ones is still an answer.
        let failure: Failure = read_bounded(answer, MAX_ANSWER)
            .ok()
            .and_then(|body| serde_json::from_slice(&body).ok())
            .unwrap_or_default();
        let message = failure.errors.first().map(FailureEntry::words).unwrap_or_default();
        let code = failure.errors.first().map_or("", |entry| entry.code.as_str());
        match (status.as_u16(), code) {
            (401 | 403, _) | (404, "NAME_UNKNOWN") => self.denied(&message),
            (404, _) if path.starts_with("manifests/") => {
                let asked = path.trim_start_matches("manifests/");
                let separator = if asked.contains(':') { '@' } else { ':' };
                let reference = format!("{}{separator}{asked}", self.reference.familiar_repository());
                let message = if message.is_empty() { ": manifest unknown".to_owned() } else { message };
                Error::ManifestUnknown { reference, message }
            }
            (429, _) => Error::TooManyRequests { host, message, retry_after },
            (code, _) => Error::Status {
                url,
                status: status.to_string(),
                message,
                transient: code >= 500 || code == 408,
            },
        }
    }

    fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().expect("no thread panics while it holds this")
    }
}

impl FailureEntry {
    /// `: code: message`, on one line and of bounded length: these are somebody else's words on our terminal.
    fn words(&self) -> String {
        let code = self.code.to_lowercase().replace('_', " ");
        let text =
            if self.message.is_empty() { format!(": {code}") } else { format!(": {code}: {}", self.message) };
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(400).collect()
    }
}

/// The whole body, which must not be larger than `limit` bytes.
pub(crate) fn read_bounded(answer: Answer, limit: u64) -> Result<Vec<u8>> {
    let url = answer.url;
    let mut body = Vec::new();
    answer.response.into_body().into_reader().take(limit + 1).read_to_end(&mut body).map_err(|error| {
        let (reason, transient) = io_reason(&error, &url);
        Error::Connection { url: shown(&url), reason, transient }
    })?;
    if body.len() as u64 > limit {
        let what = format!("the answer from {}", shown(&url));
        return Err(Error::WrongSize { what, expected: limit, actual: body.len() as u64 });
    }
    Ok(body)
}

/// The target of a `Link: <target>; rel="next"` header (RFC 8288).
fn next_page(header: &str) -> Option<String> {
    header.split(',').find_map(|link| {
        let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let is_next = parameters.split(';').any(|p| matches!(p.trim(), r#"rel="next""# | "rel=next"));
        is_next.then(|| target.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_the_next_page() {
        let next = |header| next_page(header);
        assert_eq!(
            next(r#"</v2/a/tags/list?last=b&n=2>; rel="next""#).as_deref(),
            Some("/v2/a/tags/list?last=b&n=2")
        );
        assert_eq!(next(r#"</x>; rel="prev", </y>; rel=next"#).as_deref(), Some("/y"));
        assert_eq!(next(r#"</x>; rel="prev""#), None);
        assert_eq!(next("garbage"), None);
    }
}
