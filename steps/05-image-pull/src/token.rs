//! Tokens: permission for one repository, for some minutes, from the server that a registry trusts to give it.
//!
//! The protocol is described with the Docker Distribution project as "Token Authentication Specification". Public
//! images need one too: it is given to anybody, and counts how much he pulls.

use serde::Deserialize;
use ureq::http::Uri;

use crate::challenge::Challenge;
use crate::credentials::Login;
use crate::error::{Error, Result};
use crate::http::{Http, Request};
use crate::registry::read_bounded;

/// The largest answer of a token server, in bytes.
const MAX_ANSWER: u64 = 1 << 20;
/// How this program calls itself where a name is asked for.
const CLIENT: &str = "mini-docker";

/// A token server's answer; either name is used.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Token {
    token: String,
    access_token: String,
}

/// Fetches a token as the challenge says, and returns the `Authorization` header that carries it.
///
/// The challenge's own scope is not used: what is asked for is always `scope`, a pull of one repository. `host` is the
/// registry's name for errors.
pub(crate) fn fetch(
    http: &Http,
    challenge: &Challenge,
    scope: &str,
    login: Option<&Login>,
    host: &str,
) -> Result<String> {
    let fail = |reason: String| Error::Login { host: host.to_owned(), reason };
    let realm = challenge.get("realm").ok_or_else(|| fail("its challenge has no realm".to_owned()))?;
    let service = challenge.get("service").unwrap_or_default();
    let url =
        |text: &str| text.parse::<Uri>().map_err(|_| fail(format!("its token server {text:?} is no URL")));
    let answer = match login {
        // An identity token is a refresh token (RFC 6749, section 6): it goes into a form, not into a header.
        Some(Login::IdentityToken(token)) => {
            let form = [
                ("grant_type", "refresh_token"),
                ("service", service),
                ("scope", scope),
                ("client_id", CLIENT),
                ("refresh_token", token),
            ];
            http.send(&url(realm)?, Request { form: Some(&form), ..Request::default() })?
        }
        login => {
            let separator = if realm.contains('?') { '&' } else { '?' };
            let url = url(&format!("{realm}{separator}service={}&scope={}", encode(service), encode(scope)))?;
            let authorization = login.and_then(Login::basic);
            http.send(&url, Request { authorization: authorization.as_deref(), ..Request::default() })?
        }
    };
    match answer.status() {
        200 => {}
        401 | 403 => return Err(fail("incorrect username or password".to_owned())),
        status => return Err(fail(format!("its token server answered {status}"))),
    }
    let token: Token = serde_json::from_slice(&read_bounded(answer, MAX_ANSWER)?)
        .map_err(|error| fail(format!("its token server's answer cannot be read: {error}")))?;
    match [token.token, token.access_token].into_iter().find(|token| !token.is_empty()) {
        Some(token) => Ok(format!("Bearer {token}")),
        None => Err(fail("its token server's answer has no token".to_owned())),
    }
}

/// Percent-encoding of a query's value (RFC 3986, section 2): all but unreserved characters.
fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            byte => format!("%{byte:02X}"),
        })
        .collect()
}
