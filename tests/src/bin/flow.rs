//! `flow serve PORT`, and `flow send ADDRESS SECONDS`: how much a way between two places carries over TCP.
//!
//! The receiver counts: what a sender's kernel has taken from it may lie in a queue. When the sender has said that this
//! was all, the receiver answers with its count, and the sender prints how many bytes arrived in a second.

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// What is sent or received at once, in bytes.
const BLOCK: usize = 128 << 10;
/// How long a sender waits for somebody who listens, and for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["serve", port] => serve(port),
        ["send", address, seconds] => send(address, seconds),
        _ => Err("usage: flow serve PORT | flow send ADDRESS SECONDS".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("flow: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Takes whatever comes, one sender after another, for ever.
fn serve(port: &str) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port.parse()?))?;
    loop {
        // One that breaks off is not missed.
        if let Err(error) = listener.accept().and_then(|(stream, _)| take(stream)) {
            eprintln!("flow: {error}");
        }
    }
}

fn take(mut stream: TcpStream) -> io::Result<()> {
    let mut block = vec![0; BLOCK];
    let (start, mut bytes) = (Instant::now(), 0);
    loop {
        match stream.read(&mut block)? {
            0 => break,
            length => bytes += length,
        }
    }
    write!(stream, "{:.0}", bytes as f64 / start.elapsed().as_secs_f64())
}

/// Sends for so long, and prints what the receiver counted.
fn send(address: &str, seconds: &str) -> Result<(), Box<dyn Error>> {
    let duration = Duration::try_from_secs_f64(seconds.parse()?)?;
    let mut stream = connect(address)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let block = vec![0; BLOCK];
    let start = Instant::now();
    while start.elapsed() < duration {
        stream.write_all(&block)?;
    }
    stream.shutdown(Shutdown::Write)?;
    println!("{}", io::read_to_string(stream)?);
    Ok(())
}

/// Connects to whoever listens there, or will soon.
fn connect(address: &str) -> io::Result<TcpStream> {
    let start = Instant::now();
    loop {
        match TcpStream::connect_timeout(&address.parse().map_err(io::Error::other)?, PATIENCE) {
            Err(_) if start.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(10)),
            connected => return connected,
        }
    }
}
