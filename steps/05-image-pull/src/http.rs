//! One HTTP request, with the rules that keep it where it belongs.
//!
//! The library does HTTP and TLS. The rules are ours: where plain HTTP is allowed, where a redirect may lead, who gets
//! to see the `Authorization` header, and what counts as "try again".

use std::collections::HashMap;
use std::io;
use std::sync::Mutex;
use std::time::Duration;

use nix::errno::Errno;
use ureq::http::{Response, Uri};
use ureq::tls::TlsConfig;
use ureq::{Agent, Body};

use crate::error::{Error, Result};
use crate::hosts::Registries;
use crate::roots;

/// How many redirects are followed. Registries need one or two, to the storage that holds their blobs.
const MAX_REDIRECTS: usize = 5;
/// How long a connection, with its TLS handshake, may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// A request.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Request<'a> {
    /// The `Accept` header.
    pub(crate) accept: Option<&'a str>,
    /// The `Authorization` header. Sent to the URL's own server only, never along a redirect to another.
    pub(crate) authorization: Option<&'a str>,
    /// The first byte wanted, where not all are.
    pub(crate) from_byte: Option<u64>,
    /// A form to POST; without it the request is a GET.
    pub(crate) form: Option<&'a [(&'a str, &'a str)]>,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Where it came from in the end.
    pub(crate) url: Uri,
    /// Status, headers and body.
    pub(crate) response: Response<Body>,
}

impl Answer {
    /// The status code.
    pub(crate) fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// A header's text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name).and_then(|value| value.to_str().ok())
    }
}

/// A client for all servers, with one pool of connections for each.
#[derive(Debug)]
pub(crate) struct Http {
    registries: Registries,
    read_timeout: Duration,
    agents: Mutex<HashMap<String, Agent>>,
}

impl Http {
    /// `read_timeout` is how long a server may stay silent.
    pub(crate) fn new(registries: Registries, read_timeout: Duration) -> Self {
        Self { registries, read_timeout, agents: Mutex::default() }
    }

    /// Sends the request and follows redirects. Any status that is not a redirect is an answer, not an error.
    pub(crate) fn send(&self, url: &Uri, request: Request<'_>) -> Result<Answer> {
        let mut at = url.clone();
        for _ in 0..=MAX_REDIRECTS {
            self.check_scheme(&at)?;
            let mine = origin(&at) == origin(url);
            let response =
                self.once(&at, Request { authorization: request.authorization.filter(|_| mine), ..request })?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(Answer { url: at, response });
            }
            let location =
                response.headers().get("location").and_then(|value| value.to_str().ok()).unwrap_or_default();
            at = self.redirect(&at, location, request.form.is_some())?;
            tracing::debug!("redirected to {}", shown(&at));
        }
        Err(Error::Redirect { from: shown(url), to: shown(&at), reason: "too many redirects" })
    }

    /// Where a redirect leads, if it may be followed.
    fn redirect(&self, from: &Uri, location: &str, has_form: bool) -> Result<Uri> {
        let refuse = |reason| Err(Error::Redirect { from: shown(from), to: location.to_owned(), reason });
        let Some(to) = join(from, location) else { return refuse("not an http or https URL") };
        if from.scheme_str() == Some("https") && to.scheme_str() == Some("http") {
            return refuse("it would leave TLS");
        }
        if to.scheme_str() == Some("http") && !self.registries.may_be_plain(authority(&to)) {
            return refuse("plain HTTP is only for this machine or where \"insecure-registries\" allows it");
        }
        // A form carries a refresh token: it goes where it was sent and nowhere else.
        if has_form { refuse("a login must not be redirected") } else { Ok(to) }
    }

    fn check_scheme(&self, url: &Uri) -> Result<()> {
        match url.scheme_str() {
            Some("https") => Ok(()),
            Some("http") if self.registries.may_be_plain(authority(url)) => Ok(()),
            _ => Err(Error::Connection {
                url: shown(url),
                reason: "plain HTTP is only for this machine or where \"insecure-registries\" allows it"
                    .to_owned(),
                transient: false,
            }),
        }
    }

    fn once(&self, url: &Uri, request: Request<'_>) -> Result<Response<Body>> {
        let agent = self.agent(authority(url))?;
        let result = if let Some(form) = request.form {
            agent.post(url).send_form(form.iter().copied())
        } else {
            // Blobs must come as they are: their digest is of the compressed bytes.
            let mut get = agent.get(url).header("accept-encoding", "identity");
            if let Some(accept) = request.accept {
                get = get.header("accept", accept);
            }
            if let Some(authorization) = request.authorization {
                get = get.header("authorization", authorization);
            }
            if let Some(from) = request.from_byte {
                get = get.header("range", format!("bytes={from}-"));
            }
            get.call()
        };
        result.map_err(|error| connection_error(url, &error))
    }

    /// The agent for a server. Each has its own, since authorities, and whether they count, go by server.
    fn agent(&self, authority: &str) -> Result<Agent> {
        let mut agents = self.agents.lock().expect("no thread panics while it holds this");
        if let Some(agent) = agents.get(authority) {
            return Ok(agent.clone());
        }
        let checked = roots::is_checked(&self.registries, authority);
        let tls = TlsConfig::builder()
            .root_certs(if checked { roots::for_host(authority)? } else { ureq::tls::RootCerts::WebPki })
            .disable_verification(!checked)
            .build();
        let mut config = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(self.read_timeout))
            .timeout_per_read(Some(self.read_timeout))
            .user_agent(concat!("mini-docker/", env!("CARGO_PKG_VERSION")));
        // A proxy from the environment (HTTPS_PROXY, NO_PROXY) is for the world outside.
        if self.registries.is_insecure(authority) {
            config = config.proxy(None);
        }
        let agent: Agent = config.build().into();
        agents.insert(authority.to_owned(), agent.clone());
        Ok(agent)
    }
}

/// `HOST[:PORT]` of a URL.
pub(crate) fn authority(url: &Uri) -> &str {
    url.authority().map_or("", |authority| authority.as_str())
}

/// Scheme, host and port: what must be equal for two URLs to be on the same server (RFC 6454).
pub(crate) fn origin(url: &Uri) -> (String, String, u16) {
    let scheme = url.scheme_str().unwrap_or_default().to_owned();
    let port = url.port_u16().unwrap_or(if scheme == "http" { 80 } else { 443 });
    (scheme, url.host().unwrap_or_default().to_lowercase(), port)
}

/// A URL for people: without the query, where storage servers have their signatures.
pub(crate) fn shown(url: &Uri) -> String {
    url.to_string().split('?').next().unwrap_or_default().to_owned()
}

/// A `Location` or `Link` target, which may be relative to where it was found. None if it is no HTTP URL.
pub(crate) fn join(base: &Uri, target: &str) -> Option<Uri> {
    let target = target.split('#').next().unwrap_or(target);
    let has_scheme = target.split(['/', '?']).next().unwrap_or_default().contains(':');
    let start = || Some(format!("{}://{}", base.scheme_str()?, authority(base)));
    let text = if target.is_empty() {
        return None;
    } else if has_scheme {
        target.to_owned()
    } else if target.starts_with("//") {
        format!("{}:{target}", base.scheme_str()?)
    } else if target.starts_with('/') {
        start()? + target
    } else {
        let directory = base.path().rsplit_once('/').map_or("", |(directory, _)| directory);
        format!("{}{directory}/{target}", start()?)
    };
    let uri: Uri = text.parse().ok()?;
    let usable = matches!(uri.scheme_str(), Some("http" | "https")) && !authority(&uri).contains('@');
    usable.then_some(uri)
}

/// The library's error in our words, and whether to try again.
fn connection_error(url: &Uri, error: &ureq::Error) -> Error {
    let (reason, transient) = match error {
        ureq::Error::Io(error) => io_reason(error, url),
        ureq::Error::HostNotFound => (unresolved(url), false),
        ureq::Error::Timeout(_) => ("the server did not answer in time".to_owned(), true),
        ureq::Error::ConnectionFailed => ("the connection failed".to_owned(), true),
        ureq::Error::Rustls(error) => (tls_reason(&error.to_string(), url), false),
        ureq::Error::Tls(error) => (tls_reason(error, url), false),
        other => (other.to_string(), false),
    };
    Error::Connection { url: shown(url), reason, transient }
}

/// The same for an error while a body is read. TLS errors arrive inside I/O errors.
pub(crate) fn io_reason(error: &io::Error, url: &Uri) -> (String, bool) {
    let text = error.to_string();
    match (error.raw_os_error(), error.kind()) {
        (Some(errno), io::ErrorKind::ConnectionRefused) => {
            (format!("{}; check that a registry runs there", Errno::from_raw(errno)), true)
        }
        (Some(errno), _) => (Errno::from_raw(errno).to_string(), true),
        (None, io::ErrorKind::InvalidData) => (tls_reason(&text, url), false),
        (None, io::ErrorKind::UnexpectedEof) => {
            ("the server closed the connection too early".to_owned(), true)
        }
        (None, io::ErrorKind::TimedOut) => ("the server stopped sending".to_owned(), true),
        // The standard library has no kind for what getaddrinfo(3) says.
        (None, _) if text.starts_with("failed to lookup") => (unresolved(url), text.contains("emporary")),
        (None, _) => (text, true),
    }
}

fn unresolved(url: &Uri) -> String {
    format!("the host {} cannot be resolved; check its name and this machine's DNS", authority(url))
}

fn tls_reason(error: &str, url: &Uri) -> String {
    let host = authority(url);
    if error.contains("corrupt message") {
        return format!(
            "{host} does not speak TLS; if it is meant to, check the port, else name it in \"insecure-registries\""
        );
    }
    let advice =
        format!("if you trust it, put its authority's certificate into /etc/docker/certs.d/{host}/ca.crt");
    format!("TLS failed: {error}; {advice}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_location_leads() {
        let base: Uri = "https://r.example:444/v2/a/blobs/x?y".parse().expect("valid");
        let rows = [
            "https://cdn.example/b?sig=1#f",
            "http://plain.example/",
            "//other.example/c",
            "/v2/d",
            "next?last=e",
            "file:///etc/passwd",
            "ftp://a/b",
            "https://user:secret@a/",
            "javascript:alert(1)",
            "",
            "http://",
            "https://a b/",
        ];
        let table: String = rows
            .iter()
            .map(|row| format!("{row:<32} {}\n", join(&base, row).map_or("-".to_owned(), |u| u.to_string())))
            .collect();
        insta::assert_snapshot!(table);
    }

    #[test]
    fn redirects_that_are_refused() {
        let http = Http::new(Registries::default(), Duration::from_secs(1));
        let refuse = |from: &str, to: &str| {
            http.redirect(&from.parse().expect(from), to, false).expect_err(to).to_string()
        };
        insta::assert_snapshot!(refuse("https://r.example/v2/", "http://r.example/v2/"), @"refused to follow https://r.example/v2/ to http://r.example/v2/: it would leave TLS");
        insta::assert_snapshot!(refuse("http://localhost:5/v2/", "http://169.254.169.254/"), @r#"refused to follow http://localhost:5/v2/ to http://169.254.169.254/: plain HTTP is only for this machine or where "insecure-registries" allows it"#);
        insta::assert_snapshot!(refuse("http://localhost:5/v2/", "file:///etc/shadow"), @"refused to follow http://localhost:5/v2/ to file:///etc/shadow: not an http or https URL");
    }
}
