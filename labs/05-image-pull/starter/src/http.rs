//! Requests over HTTP. Nothing is to be written here.

use std::io::{Error, Read, Result};
use std::time::Duration;

use ureq::http::Response;
use ureq::{Agent, Body, BodyReader};

/// The largest document, in bytes (the least that registries must take, by the OCI distribution specification).
const MAX_DOCUMENT: u64 = 4 << 20;

/// An answer, whatever its status says.
pub struct Answer(Response<Body>);

impl Answer {
    /// Such as 200, 401 or 404.
    pub fn status(&self) -> u16 {
        self.0.status().as_u16()
    }

    /// The value of a header, if there is one of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.0.headers().get(name)?.to_str().ok()
    }

    /// The body, as it comes.
    pub fn body(self) -> BodyReader<'static> {
        self.0.into_body().into_reader()
    }

    /// The whole body of a document.
    pub fn read(self) -> Result<Vec<u8>> {
        let mut read = Vec::new();
        self.body().take(MAX_DOCUMENT).read_to_end(&mut read)?;
        Ok(read)
    }
}

/// `GET URL?KEY=VALUE&...`, with headers. Keys and values are given as they are, and encoded here.
pub fn get(url: &str, query: &[(&str, &str)], headers: &[(&str, &str)]) -> Result<Answer> {
    let silence = Some(Duration::from_secs(5));
    let agent: Agent = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_connect(silence)
        .timeout_recv_response(silence)
        .proxy(None)
        .build()
        .into();
    let mut request = agent.get(url).query_pairs(query.iter().copied());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.call().map(Answer).map_err(|error| Error::other(format!("{url}: {error}")))
}
