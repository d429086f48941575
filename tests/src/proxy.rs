//! Something between a client and a registry that behaves as no honest server would.

use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::http::Head;

/// What to do with a request. Byte numbers count in the answer's body, from 0.
#[derive(Debug, Clone)]
pub enum Action {
    /// Let the registry answer.
    Pass,
    /// Answer in its place: status line behind `HTTP/1.1 `, further headers, body.
    Answer(&'static str, Vec<(&'static str, String)>, Vec<u8>),
    /// Pass its answer on with one bit of this byte changed.
    Flip(usize),
    /// Close the connection after so many bytes.
    Cut(usize),
    /// Pass on only so many bytes, and say that these are all.
    Shorten(usize),
    /// Add bytes, and say that they belong to it.
    Lengthen(usize),
    /// Let the registry answer as if no `Range` had been asked for.
    IgnoreRange,
    /// Ignore the range, and close the connection after so many bytes.
    IgnoreRangeAndCut(usize),
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET`
    pub method: String,
    /// `/v2/debian/manifests/12`
    pub target: String,
    /// `Range`, `Authorization` and all the others.
    pub head: Head,
    /// How many requests for the same target came before.
    pub earlier: usize,
}

impl Request {
    /// Whether a blob is asked for.
    pub fn is_blob(&self, digest: &str) -> bool {
        self.target.ends_with(&format!("/blobs/{digest}"))
    }
}

type Rule = dyn Fn(&Request) -> Action + Send + Sync;

/// A running proxy. Dropped, it takes no more connections.
pub struct Proxy {
    port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
    stopping: Arc<AtomicBool>,
    listener: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Listens on a free port, and treats each request for the registry on `upstream` as `rule` says.
    pub fn start(upstream: u16, rule: impl Fn(&Request) -> Action + Send + Sync + 'static) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = socket.local_addr().expect("it is bound").port();
        let requests: Arc<Mutex<Vec<Request>>> = Arc::default();
        let stopping = Arc::new(AtomicBool::new(false));
        let (log, stop, rule): (_, _, Arc<Rule>) = (requests.clone(), stopping.clone(), Arc::new(rule));
        let listener = std::thread::spawn(move || {
            for client in socket.incoming() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let (client, log, rule) = (client.expect("a connection"), log.clone(), rule.clone());
                // A client that goes away in the middle is what some tests are about.
                std::thread::spawn(move || drop(serve(&client, upstream, &log, &*rule)));
            }
        });
        Self { port, requests, stopping, listener: Some(listener) }
    }

    /// Lets the registry answer every request, for the sake of [`Proxy::requests`]: the registry's own log is written
    /// some time after the answer.
    pub fn transparent(upstream: u16) -> Self {
        Self::start(upstream, |_| Action::Pass)
    }

    /// The port it listens on, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `localhost:PORT`, as references begin.
    pub fn host(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// The requests so far, without the attempts to speak TLS.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("no panic while it is held").clone()
    }

    /// The requests for one blob.
    pub fn requests_of(&self, digest: &str) -> Vec<Request> {
        self.requests().into_iter().filter(|request| request.is_blob(digest)).collect()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        // Wakes the listener; if even that fails, it is gone already.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        if let Some(listener) = self.listener.take() {
            listener.join().expect("the listener does not panic");
        }
    }
}

/// One connection, one request.
fn serve(client: &TcpStream, upstream: u16, log: &Mutex<Vec<Request>>, rule: &Rule) -> io::Result<()> {
    let mut first = [0];
    // A TLS handshake begins with byte 22; plain servers answer nonsense, we hang up.
    if client.peek(&mut first)? == 0 || first[0] == 22 {
        return client.shutdown(Shutdown::Both);
    }
    let mut reader = BufReader::new(client);
    let Some(head) = Head::read(&mut reader)? else { return Ok(()) };
    let request = {
        let mut log = log.lock().expect("no panic while it is held");
        let target = head.word(1).to_owned();
        let earlier = log.iter().filter(|request| request.target == target).count();
        log.push(Request { method: head.word(0).to_owned(), target, head: head.clone(), earlier });
        log[log.len() - 1].clone()
    };
    let mut client = client;
    let action = rule(&request);
    if let Action::Answer(status, headers, body) = &action {
        let mut answer = Head { start: format!("HTTP/1.1 {status}"), headers: Vec::new() };
        answer.set("content-length", &body.len().to_string());
        answer.set("connection", "close");
        for (name, value) in headers {
            answer.set(name, value);
        }
        client.write_all(&answer.bytes())?;
        return client.write_all(body);
    }
    let (mut answer, mut body) = forward(upstream, &head, &action)?;
    let cut = match action {
        Action::Flip(at) => {
            body[at] ^= 1;
            None
        }
        Action::Shorten(length) => {
            body.truncate(length);
            None
        }
        Action::Lengthen(length) => {
            body.resize(body.len() + length, b'x');
            None
        }
        Action::Cut(length) | Action::IgnoreRangeAndCut(length) => Some(length),
        _ => None,
    };
    if matches!(action, Action::Shorten(_) | Action::Lengthen(_)) {
        answer.set("content-length", &body.len().to_string());
    }
    answer.set("connection", "close");
    client.write_all(&answer.bytes())?;
    client.write_all(&body[..cut.unwrap_or(body.len()).min(body.len())])
}

/// The registry's own answer.
fn forward(upstream: u16, head: &Head, action: &Action) -> io::Result<(Head, Vec<u8>)> {
    let mut head = head.clone();
    head.set("connection", "close");
    if matches!(action, Action::IgnoreRange | Action::IgnoreRangeAndCut(_)) {
        head.headers.retain(|(name, _)| name != "range");
    }
    let mut server = TcpStream::connect(("127.0.0.1", upstream))?;
    server.write_all(&head.bytes())?;
    let mut server = BufReader::new(server);
    let answer = Head::read(&mut server)?.ok_or_else(|| io::Error::other("no answer"))?;
    let mut body = Vec::new();
    server.read_to_end(&mut body)?;
    Ok((answer, body))
}
