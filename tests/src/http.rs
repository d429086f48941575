//! As much HTTP/1.1 as the tests need to push to a registry and to stand between it and a client.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

/// A request's or an answer's first line and headers.
#[derive(Debug, Clone, Default)]
pub struct Head {
    /// `GET /v2/ HTTP/1.1`, `HTTP/1.1 200 OK`.
    pub start: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// Reads up to the empty line. None at the end of the stream.
    pub fn read(stream: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut head = Head::default();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line)? == 0 {
                return Ok(None);
            }
            let line = line.trim_end();
            match (head.start.is_empty(), line.split_once(':')) {
                (true, _) => line.clone_into(&mut head.start),
                (false, _) if line.is_empty() => return Ok(Some(head)),
                (false, Some((name, value))) => {
                    head.headers.push((name.to_lowercase(), value.trim().to_owned()));
                }
                (false, None) => return Err(io::Error::other(format!("no header: {line}"))),
            }
        }
    }

    /// The value of a header.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Sets a header.
    pub fn set(&mut self, name: &str, value: &str) {
        self.headers.retain(|(key, _)| key != name);
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    /// As it goes over the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let headers: String =
            self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!("{}\r\n{headers}\r\n", self.start).into_bytes()
    }

    /// A word of the first line.
    pub fn word(&self, number: usize) -> &str {
        self.start.split(' ').nth(number).unwrap_or_default()
    }
}

/// Sends one request to a port of this machine and returns the answer's head and body.
pub fn request(
    port: u16,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> (Head, Vec<u8>) {
    let mut head = Head { start: format!("{method} {target} HTTP/1.1"), ..Head::default() };
    head.set("host", &format!("localhost:{port}"));
    head.set("connection", "close");
    head.set("content-length", &body.len().to_string());
    for (name, value) in headers {
        head.set(name, value);
    }
    let exchange = || -> io::Result<(Head, Vec<u8>)> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.write_all(&head.bytes())?;
        stream.write_all(body)?;
        let mut stream = BufReader::new(stream);
        let answer = Head::read(&mut stream)?.ok_or_else(|| io::Error::other("no answer"))?;
        let mut content = Vec::new();
        stream.read_to_end(&mut content)?;
        Ok((answer, content))
    };
    exchange().unwrap_or_else(|error| panic!("{method} {target} on port {port}: {error}"))
}
