//! Pulls that are interrupted, and what the next one does.

mod common;

use common::{Bench, Notes, hurried, image_of, reference_to};
use image_pull::{LayerState, pull};
use testbed::proxy::{Action, Proxy, Request};
use testbed::registry::Registry as Server;

/// The bytes of a request's `Range: bytes=N-`.
fn range_start(request: &Request) -> Option<u64> {
    request.head.get("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
}

#[test]
fn a_broken_connection_is_resumed_in_the_same_pull() {
    let server = Server::start();
    let pushed = server.push("app", "1", &image_of(&[300_000]));
    let blob = pushed.layers[0].digest.clone();
    let broken = blob.clone();
    let proxy = Proxy::start(server.port(), move |request| match request.earlier {
        0 if request.is_blob(&broken) => Action::Cut(100_000),
        _ => Action::Pass,
    });
    let bench = Bench::new();
    let notes = Notes::default();
    let name = format!("{}/app:1", proxy.host());
    pull(&bench.store, &reference_to(&name), &hurried(), &notes).expect("the pull gets over it");
    let starts: Vec<Option<u64>> = proxy.requests_of(&blob).iter().map(range_start).collect();
    assert_eq!(starts, [None, Some(100_000)], "the second request asks for the rest only");
    let retries = notes
        .0
        .lock()
        .expect("no panic")
        .iter()
        .filter(|(_, s)| matches!(s, LayerState::Retrying { .. }))
        .count();
    assert_eq!(retries, 1);
    assert_eq!(bench.file(&name, "layer-0").len(), 300_000);
}

#[test]
fn a_server_without_ranges_is_read_past_what_is_here() {
    let server = Server::start();
    let pushed = server.push("app", "1", &image_of(&[300_000]));
    let blob = pushed.layers[0].digest.clone();
    let broken = blob.clone();
    let proxy = Proxy::start(server.port(), move |request| match request.earlier {
        _ if !request.is_blob(&broken) => Action::Pass,
        0 => Action::Cut(100_000),
        1 => Action::IgnoreRangeAndCut(200_000),
        _ => Action::IgnoreRange,
    });
    let bench = Bench::new();
    let name = format!("{}/app:1", proxy.host());
    bench.pull(&name).expect("the pull gets over it");
    assert_eq!(bench.file(&name, "layer-0").len(), 300_000);
}

#[test]
fn a_registry_that_stops_and_comes_back() {
    let mut server = Server::start();
    let pushed = server.push("app", "1", &image_of(&[100_000, 200_000, 700_000]));
    let last = pushed.layers[2].digest.clone();
    let broken = last.clone();
    let bench = Bench::new();
    // The last layer breaks off, and until it is allowed again no other request for it is answered.
    let allowed = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let allow = allowed.clone();
    let blobs = bench.path().join("images/blobs/sha256");
    let others: Vec<_> = pushed.layers[..2].iter().map(|layer| blobs.join(&layer.digest[7..])).collect();
    let proxy = Proxy::start(server.port(), move |request| {
        if !request.is_blob(&broken) || allow.load(std::sync::atomic::Ordering::Relaxed) {
            return Action::Pass;
        }
        if request.earlier == 0 {
            return Action::Cut(400_000);
        }
        // With this layer the pull is given up, others that are on their way with it.
        testbed::until("the other layers are here", || others.iter().all(|blob| blob.exists()));
        Action::Answer("503 Service Unavailable", vec![], vec![])
    });
    let name = format!("{}/app:1", proxy.host());
    let error = bench.refused(&name);
    assert!(error.contains("503"), "{error}");
    server.stop();
    bench.refused(&name);
    assert!(bench.store.images().expect("images").is_empty(), "no image without all its layers");
    let partial = bench.path().join("partial").join(&last[7..]);
    assert_eq!(std::fs::metadata(partial).expect("the beginning is kept").len(), 400_000);

    server.restart();
    allowed.store(true, std::sync::atomic::Ordering::Relaxed);
    let before = proxy.requests().len();
    bench.pull(&name).expect("now it works");
    let new = proxy.requests().split_off(before);
    let blobs: Vec<(&str, Option<u64>)> = new
        .iter()
        .filter(|request| request.target.contains("/blobs/") && !request.is_blob(&pushed.config.digest))
        .map(|request| (request.target.rsplit('/').next().unwrap_or_default(), range_start(request)))
        .collect();
    assert_eq!(
        blobs,
        [(last.as_str(), Some(400_000))],
        "of all layers, only the rest of the last is fetched"
    );
    assert_eq!(bench.file(&name, "layer-2").len(), 700_000);
    let content = bench.content();
    assert!(content.iter().all(|path| !path.starts_with("partial/")), "{content:?}");
}

#[test]
fn a_beginning_that_is_wrong_does_not_stay_for_ever() {
    let server = Server::start();
    let pushed = server.push("app", "1", &image_of(&[300_000]));
    let bench = Bench::new();
    let partial = bench.path().join("partial").join(&pushed.layers[0].digest[7..]);
    std::fs::write(&partial, vec![0; 1000]).expect("writable");
    let name = format!("{}/app:1", server.host());
    let error = bench.refused(&name);
    assert!(error.contains("damaged or forged"), "{error}");
    assert!(!partial.exists());
    bench.pull(&name).expect("the next pull begins anew");
}

#[test]
fn blobs_without_their_layers_are_unpacked_from_disk() {
    let server = Server::start();
    let pushed = server.push("app", "1", &image_of(&[1000, 2000]));
    let bench = Bench::new();
    let proxy = Proxy::transparent(server.port());
    let name = format!("{}/app:1", proxy.host());
    bench.pull(&name).expect("pull");
    let image = bench.store.resolve(&name).expect("just pulled");
    for chain in &image.chain {
        bench.store.layers().remove(chain).expect("removable");
    }
    bench.pull(&name).expect("pull again");
    assert_eq!(bench.file(&name, "layer-1").len(), 2000);
    for layer in &pushed.layers {
        assert_eq!(proxy.requests_of(&layer.digest).len(), 1, "not fetched again");
    }
}

#[test]
fn killed_at_any_moment() {
    let server = Server::start();
    server.push("app", "1", &image_of(&[300_000, 2_000_000, 1_000_000, 500_000]));
    let name = format!("{}/app:1", server.host());
    for moment in 0..20 {
        let bench = Bench::new();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_image-pull"));
        let command = command.arg("--root").arg(bench.path()).args(["--platform", "linux/amd64", &name]);
        let mut child = command.stdout(std::process::Stdio::null()).spawn().expect("the binary runs");
        std::thread::sleep(std::time::Duration::from_millis(moment * 6));
        child.kill().expect("it is our child");
        child.wait().expect("it is our child");

        let images = bench.store.images().expect("the store is readable");
        assert!(
            images.iter().all(|image| image.chain.iter().all(|chain| bench.store.layers().contains(chain)))
        );
        bench.pull(&name).expect("the next pull works");
        assert_eq!(bench.file(&name, "layer-3").len(), 500_000);
        let left: Vec<String> = bench
            .content()
            .into_iter()
            .filter(|path| path.starts_with("partial/") || path.contains("/."))
            .collect();
        assert_eq!(left, [""; 0], "nothing is left of the killed pull");
        bench.store.remove(&name, false, &[]).expect("removable");
        assert_eq!(bench.content(), [""; 0]);
    }
}
