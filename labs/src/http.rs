//! As much HTTP as it takes to play a registry, honest or not.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Error, Result, Write};
use std::net::{Ipv4Addr, TcpStream};

use crate::world::Net;

/// Where registries answer.
pub const ADDRESS: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 5000);
/// How much a server sends that does not stop, in bytes. Nobody waits for its end.
pub const ENDLESS: usize = 64 << 20;

/// A request.
#[derive(Debug, Clone)]
pub struct Request {
    /// Such as `/v2/app/manifests/1`.
    pub target: String,
    /// The names are in lower case.
    headers: BTreeMap<String, String>,
}

/// What is said to it.
#[derive(Debug, Clone)]
pub struct Answer {
    status: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Body,
}

/// What follows the headers.
#[derive(Debug, Clone)]
enum Body {
    Whole(Vec<u8>),
    /// Promised as a whole, of which half comes.
    Broken(Vec<u8>),
    Endless,
}

/// A request, and how many bytes of the answer's body were taken.
#[derive(Debug, Clone)]
pub struct Served {
    /// What was asked.
    pub request: Request,
    /// Bytes.
    pub taken: usize,
}

impl Request {
    /// The value of the header `name`.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    fn read(stream: &TcpStream) -> Result<Self> {
        let mut lines = BufReader::new(stream).lines();
        let first = lines.next().ok_or_else(|| Error::other("no request"))??;
        let target = first.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut headers = BTreeMap::new();
        for line in lines {
            match line?.split_once(':') {
                Some((name, value)) => headers.insert(name.to_lowercase(), value.trim().to_owned()),
                // The empty line, behind which a GET has nothing.
                None => break,
            };
        }
        Ok(Self { target, headers })
    }
}

impl Answer {
    /// 200, and a document or a blob.
    pub fn content(kind: &str, body: Vec<u8>) -> Self {
        Self { status: "200 OK", headers: vec![("content-type", kind.to_owned())], body: Body::Whole(body) }
    }

    /// Another status, and nothing.
    pub fn refusal(status: &'static str) -> Self {
        Self { status, headers: Vec::new(), body: Body::Whole(Vec::new()) }
    }

    /// The same with one more header.
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// The same, but half of the body comes.
    pub fn broken(self) -> Self {
        match self.body {
            Body::Whole(body) => Self { body: Body::Broken(body), ..self },
            _ => self,
        }
    }

    /// 200, and zeros.
    pub fn endless() -> Self {
        Self { status: "200 OK", headers: Vec::new(), body: Body::Endless }
    }

    /// Sends it, and says how much of the body was taken.
    fn send(&self, stream: &mut TcpStream) -> Result<usize> {
        let length = match &self.body {
            Body::Whole(body) | Body::Broken(body) => format!("content-length: {}\r\n", body.len()),
            Body::Endless => String::new(),
        };
        let headers: String =
            self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let status = self.status;
        stream.write_all(
            format!("HTTP/1.1 {status}\r\nconnection: close\r\n{headers}{length}\r\n").as_bytes(),
        )?;
        let zeros = vec![0; 1 << 16];
        Ok(match &self.body {
            Body::Whole(body) => stream.write_all(body).map(|()| body.len())?,
            Body::Broken(body) => stream.write_all(&body[..body.len() / 2]).map(|()| body.len() / 2)?,
            // As far as it is taken: who has hung up takes no more.
            Body::Endless => {
                let pieces = (0..ENDLESS / zeros.len()).take_while(|_| stream.write_all(&zeros).is_ok());
                pieces.count() * zeros.len()
            }
        })
    }
}

/// While `act` lasts, answers at [`ADDRESS`] in `net` as `rule` says. Returns also the requests that came.
pub fn serving<T>(
    net: &Net,
    mut rule: impl FnMut(&Request) -> Answer + Send,
    act: impl FnOnce() -> T,
) -> anyhow::Result<(T, Vec<Served>)> {
    let mut all = Vec::new();
    let serve = |mut stream: TcpStream| {
        let request = Request::read(&stream)?;
        let answer = rule(&request);
        all.push(Served { request, taken: 0 });
        let taken = answer.send(&mut stream)?;
        if let Some(served) = all.last_mut() {
            served.taken = taken;
        }
        Ok(())
    };
    let done = net.serving(ADDRESS.into(), serve, act)?;
    Ok((done, all))
}
