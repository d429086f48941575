//! The name server, asked by `dig` and by hostile clients, with servers behind it that answer well, badly or not at all.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(clippy::unnecessary_wraps, reason = "behaviours of servers have one type")]

mod common;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use common::Net;
use networking::dns::{self, Server};
use networking::nftables;
use nix::poll::{PollTimeout, poll};
use proptest::prelude::*;
use simple_dns::rdata::{RData, TXT};
use simple_dns::{CLASS, Packet, PacketFlag, QTYPE, Question, RCODE, ResourceRecord, TYPE};

fn addresses(name: &str) -> Vec<IpAddr> {
    let known = BTreeMap::from([
        ("web", vec!["172.18.0.2"]),
        ("both", vec!["172.18.0.3", "fd00:18::3"]),
        ("pair", vec!["172.18.0.4", "172.18.0.5"]),
    ]);
    match name {
        "many" => (0..100).map(|last| IpAddr::from([172, 18, 1, last])).collect(),
        _ => known.get(name).into_iter().flatten().map(|address| address.parse().unwrap()).collect(),
    }
}

fn name(address: IpAddr) -> Option<String> {
    let known = BTreeMap::from([("172.18.0.2", "web"), ("fd00:18::3", "both.team")]);
    known.get(address.to_string().as_str()).map(|name| (*name).to_owned())
}

/// A container with a name server, which a thread on the host runs, as a shim would.
struct Container {
    net: Net,
    stop: Arc<AtomicBool>,
    shim: Option<JoinHandle<Server>>,
}

impl Container {
    fn with(servers: Vec<SocketAddr>) -> Self {
        let net = Net::new();
        let server = server(&net, servers);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let shim = std::thread::spawn(move || run(server, &stopped));
        Self { net, stop, shim: Some(shim) }
    }

    fn dig(&self, question: &str) -> String {
        let line = format!("@127.0.0.11 +tries=1 +time=9 {question}");
        self.net.stdout("dig", &line.split(' ').collect::<Vec<_>>())
    }

    fn short(&self, question: &str) -> String {
        self.dig(&format!("+short {question}"))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(shim) = self.shim.take() {
            let _ = shim.join();
        }
    }
}

fn server(net: &Net, servers: Vec<SocketAddr>) -> Server {
    let server = Server::listen_in(net.fd.as_fd(), &[]).unwrap().with_servers(servers);
    server.redirect(&nftables::Socket::open_in(net.fd.as_fd()).unwrap(), "names").unwrap();
    server
}

fn run(mut server: Server, stop: &AtomicBool) -> Server {
    while !stop.load(Ordering::Relaxed) {
        let wait = server.timeout().unwrap_or(Duration::from_millis(50)).min(Duration::from_millis(50));
        poll(&mut server.descriptors(), PollTimeout::try_from(wait).unwrap()).unwrap();
        server.serve(&addresses, &name);
    }
    server
}

/// A name server of the host's: what it does with a question.
type Behaviour = fn(&Packet<'_>) -> Option<Vec<u8>>;

/// Starts one, for datagrams and connections.
fn upstream(behaviour: Behaviour) -> SocketAddr {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = udp.local_addr().unwrap();
    let tcp = TcpListener::bind(address).unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((length, peer)) = udp.recv_from(&mut buffer) {
            if let Some(answer) = behaviour(&Packet::parse(&buffer[..length]).unwrap()) {
                udp.send_to(&answer, peer).unwrap();
            }
        }
    });
    std::thread::spawn(move || {
        for stream in tcp.incoming() {
            let mut stream = stream.unwrap();
            let query = read_message(&mut stream).unwrap();
            if let Some(answer) = behaviour(&Packet::parse(&query).unwrap()) {
                write_message(&mut stream, &answer);
            }
        }
    });
    address
}

fn read_message(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut message = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut message)?;
    Ok(message)
}

fn write_message(stream: &mut TcpStream, message: &[u8]) {
    let length = u16::try_from(message.len()).unwrap().to_be_bytes();
    stream.write_all(&[&length, message].concat()).unwrap();
}

/// Answers each question with a text that repeats its name.
fn echo(query: &Packet<'_>) -> Option<Vec<u8>> {
    let mut answer = query.clone().into_reply();
    answer.set_flags(PacketFlag::RECURSION_AVAILABLE);
    let question = query.questions[0].clone();
    let text = TXT::new().with_string(&question.qname.to_string()).unwrap().into_owned();
    answer.answers.push(ResourceRecord::new(question.qname, CLASS::IN, 60, RData::TXT(text)));
    Some(answer.build_bytes_vec().unwrap())
}

fn fails(query: &Packet<'_>) -> Option<Vec<u8>> {
    let mut answer = query.clone().into_reply();
    *answer.rcode_mut() = RCODE::ServerFailure;
    Some(answer.build_bytes_vec().unwrap())
}

fn silent(_: &Packet<'_>) -> Option<Vec<u8>> {
    None
}

#[test]
fn containers_are_found_by_name() {
    let container = Container::with(vec![]);
    for transport in ["+notcp", "+tcp"] {
        let ask = |question: &str| container.short(&format!("{transport} {question}"));
        assert_eq!(ask("web"), "172.18.0.2\n");
        assert_eq!(ask("WeB."), "172.18.0.2\n", "whatever the case, and with a point at its end");
        assert_eq!(ask("both"), "172.18.0.3\n");
        assert_eq!(ask("both AAAA"), "fd00:18::3\n");
        assert_eq!(ask("-x 172.18.0.2"), "web.\n");
        assert_eq!(ask("-x fd00:18::3"), "both.team.\n");
    }
    let full = container.dig("+noall +answer +comments Web");
    assert!(full.contains("status: NOERROR") && full.contains("flags: qr rd ra;"), "{full}");
    let answer = full.lines().find(|line| line.starts_with("Web.")).unwrap();
    assert_eq!(answer.split_whitespace().collect::<Vec<_>>(), ["Web.", "600", "IN", "A", "172.18.0.2"]);
}

#[test]
fn a_name_without_such_an_address_exists_all_the_same() {
    // The server behind it would answer; it must not be asked.
    let container = Container::with(vec![upstream(echo)]);
    for kind in ["AAAA", "MX", "TXT", "ANY +notcp", "HTTPS", "TYPE65280"] {
        let answer = container.dig(&format!("+noall +comments web {kind}"));
        assert!(answer.contains("status: NOERROR") && answer.contains("ANSWER: 0"), "{kind}: {answer}");
    }
}

#[test]
fn several_addresses_take_turns() {
    let container = Container::with(vec![]);
    let first = |answer: String| answer.lines().next().unwrap().to_owned();
    assert_ne!(first(container.short("pair")), first(container.short("pair")));
    // A hundred do not fit into a datagram: dig is told, and asks again over TCP.
    assert_eq!(container.short("many").lines().count(), 100);
    let datagram = container.dig("+noall +comments +ignore many");
    assert!(datagram.contains("flags: qr tc rd ra;"), "{datagram}");
}

#[test]
fn other_names_are_passed_on() {
    let container = Container::with(vec![upstream(echo)]);
    for transport in ["+notcp", "+tcp"] {
        let ask = |question: &str| container.short(&format!("{transport} {question}"));
        assert_eq!(ask("example.com TXT"), "\"example.com\"\n");
        assert_eq!(ask("unqualified TXT"), "\"unqualified\"\n");
        assert_eq!(ask("web.example.com TXT"), "\"web.example.com\"\n");
        assert_eq!(ask("-x 192.0.2.1"), "\"1.2.0.192.in-addr.arpa\"\n");
    }
}

#[test]
fn the_next_server_is_asked_if_one_does_not_answer() {
    let dead = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for broken in [upstream(fails), dead] {
        // A refusal is heard at once: dig would not wait until five servers have had the time that is left to a silent one.
        let container = Container::with([vec![broken; 5], vec![upstream(echo)]].concat());
        assert_eq!(container.short("example.com TXT"), "\"example.com\"\n", "{broken}");
    }
    let container = Container::with(vec![upstream(silent), upstream(echo)]);
    assert_eq!(container.short("example.com TXT"), "\"example.com\"\n");
}

#[test]
fn no_answer_is_an_answer() {
    let dead = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for servers in [vec![], vec![dead], vec![upstream(fails)], vec![upstream(silent)]] {
        let container = Container::with(servers.clone());
        let answer = container.dig("+noall +comments example.com");
        assert!(answer.contains("status: SERVFAIL"), "{servers:?} {answer}");
        assert_eq!(container.short("web"), "172.18.0.2\n", "and our own names are still known");
    }
}

#[test]
fn a_name_server_inside_has_port_53_to_itself() {
    let container = Container::with(vec![]);
    container.net.run(|| {
        let own = UdpSocket::bind("0.0.0.0:53").unwrap();
        let listener = TcpListener::bind("0.0.0.0:53").unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.send_to(b"for the program inside", "127.0.0.1:53").unwrap();
        let mut buffer = [0; 64];
        let (length, _) = own.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"for the program inside");
        drop(listener);
    });
    assert_eq!(container.short("web"), "172.18.0.2\n");
    let plan = dns::redirection("names", 4444, 5555);
    plan.ensure(&nftables::Socket::open_in(container.net.fd.as_fd()).unwrap()).unwrap();
    assert_eq!(container.net.stdout("nft", &["list", "ruleset"]), plan.to_string());
    insta::assert_snapshot!(plan);
}

#[test]
fn many_questions_in_one_connection_and_many_connections() {
    let container = Container::with(vec![upstream(echo)]);
    let ours = query(7, "web", TYPE::A.into());
    let theirs = query(8, "example.com", TYPE::TXT.into());
    container.net.run(|| {
        let mut stream = TcpStream::connect("127.0.0.11:53").unwrap();
        for _ in 0..50 {
            write_message(&mut stream, &ours);
            write_message(&mut stream, &theirs);
        }
        // Who says that it has no more questions still hears the answers.
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut numbers: Vec<u16> =
            (0..100).map(|_| Packet::parse(&read_message(&mut stream).unwrap()).unwrap().id()).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [[7_u16; 50], [8; 50]].concat());
        assert!(read_message(&mut stream).is_err(), "then the connection ends");

        // A client that opens connections and does nothing pushes out its own oldest ones only.
        let idle: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect("127.0.0.11:53").unwrap()).collect();
        let mut stream = TcpStream::connect("127.0.0.11:53").unwrap();
        write_message(&mut stream, &ours);
        assert_eq!(Packet::parse(&read_message(&mut stream).unwrap()).unwrap().answers.len(), 1);
        drop(idle);
    });
}

#[test]
fn more_questions_than_it_waits_for() {
    let container = Container::with(vec![upstream(silent)]);
    let failed = container.net.run(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        for number in 0..100 {
            socket.send_to(&query(number, "example.com", TYPE::A.into()), "127.0.0.11:53").unwrap();
        }
        let mut buffer = [0; 512];
        (0..36).filter(|_| socket.recv(&mut buffer).is_ok()).count()
    });
    assert_eq!(failed, 36, "64 wait, the others are told at once");
    assert_eq!(container.short("web"), "172.18.0.2\n");
}

#[test]
fn a_forged_answer_is_not_believed() {
    fn forger(query: &Packet<'_>) -> Option<Vec<u8>> {
        let mut forged = query.clone().into_reply();
        forged.questions[0].qname = simple_dns::Name::new_unchecked("elsewhere.example");
        Some(forged.build_bytes_vec().unwrap())
    }
    let container = Container::with(vec![upstream(forger), upstream(echo)]);
    assert_eq!(container.short("example.com TXT"), "\"example.com\"\n");
}

fn query(number: u16, name: &str, kind: QTYPE) -> Vec<u8> {
    let mut packet = Packet::new_query(number);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    let name = simple_dns::Name::new(name).unwrap();
    packet.questions.push(Question::new(name, kind, CLASS::IN.into(), false));
    packet.build_bytes_vec().unwrap()
}

/// Sends a message and returns the answer to it, if there is one before the answer to a question that follows it.
fn answer_to(client: &UdpSocket, server: &mut Server, message: &[u8]) -> Option<Vec<u8>> {
    client.send(message).unwrap();
    client.send(&query(0xffff, "web", TYPE::A.into())).unwrap();
    server.serve(&addresses, &name);
    let mut buffer = [0; 4096];
    let mut received = || {
        let length = client.recv(&mut buffer).unwrap();
        buffer[..length].to_vec()
    };
    let first = received();
    if first == plain() {
        return None;
    }
    assert_eq!(received(), plain());
    Some(first)
}

/// The answer to the question that follows a hostile message.
fn plain() -> Vec<u8> {
    let mut answer = query(0xffff, "web", TYPE::A.into());
    answer[2..4].copy_from_slice(&[0x81, 0x80]);
    answer[7] = 1;
    answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 2, 88, 0, 4, 172, 18, 0, 2]);
    answer
}

#[test]
fn hostile_messages_do_no_harm() {
    let net = Net::new();
    let mut server = server(&net, vec![]);
    let client = net.run(|| UdpSocket::bind("127.0.0.1:0").unwrap());
    client.connect("127.0.0.11:53").unwrap();
    client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    // What is known to be nasty.
    let mut mine = query(1, "web", TYPE::A.into());
    assert!(answer_to(&client, &mut server, &mine).is_some());
    mine[2] |= 0x80;
    assert_eq!(answer_to(&client, &mut server, &mine), None, "an answer is not answered");
    let cut = |length: usize| query(1, "web", TYPE::A.into())[..length].to_vec();
    for length in 0..12 {
        assert_eq!(answer_to(&client, &mut server, &cut(length)), None, "half a header");
    }
    let code = |answer: Option<Vec<u8>>| answer.map(|answer| answer[3] & 0x0f);
    for length in 12..21 {
        assert_eq!(code(answer_to(&client, &mut server, &cut(length))), Some(1), "half a question");
    }
    let mut looping = query(1, "web", TYPE::A.into());
    looping[12..14].copy_from_slice(&[0xc0, 12]);
    assert_eq!(code(answer_to(&client, &mut server, &looping)), Some(1), "a name that refers to itself");
    let mut update = query(1, "web", TYPE::A.into());
    update[2] |= 5 << 3;
    assert_eq!(code(answer_to(&client, &mut server, &update)), Some(4), "another operation");
    let mut two = query(1, "web", TYPE::A.into());
    two[5] = 2;
    assert_eq!(code(answer_to(&client, &mut server, &two)), Some(1), "two questions");

    // And what nobody thought of.
    let mutated = (any::<u16>(), "[a-z.]{0,40}", proptest::collection::vec((any::<u8>(), any::<u8>()), 0..8))
        .prop_map(|(kind, name, changes)| {
            let mut message = query(1, name.trim_matches('.').replace("..", ".").as_str(), TYPE::A.into());
            let end = message.len();
            message[end - 4..end - 2].copy_from_slice(&kind.to_be_bytes());
            for (place, value) in changes {
                let place = usize::from(place) % end;
                message[place] = value;
            }
            message
        });
    let noise = proptest::collection::vec(any::<u8>(), 0..600);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 2000,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let (client, server) = (&client, std::cell::RefCell::new(server));
    runner
        .run(&prop_oneof![mutated, noise], |message| {
            if let Some(answer) = answer_to(client, &mut server.borrow_mut(), &message) {
                prop_assert_eq!(&answer[..2], &message[..2]);
                prop_assert!(answer[2] & 0x80 != 0);
                prop_assert!(answer.len() <= message.len().max(12) + 200);
            }
            Ok(())
        })
        .unwrap();
}
