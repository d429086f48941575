//! Pulling from a real registry that behaves.

mod common;

use std::collections::BTreeMap;
use std::process::Command;

use common::{Bench, Notes, hurried, image_of, reference_to};
use image_pull::{LayerState, Options, Patience, Registries, Registry, pull};
use serde_json::json;
use testbed::proxy::Proxy;
use testbed::registry::{self, Compression, Image, Registry as Server, tar};

#[test]
fn every_form_of_image() {
    let server = Server::start();
    let forms = [
        ("oci", Compression::Gzip, false),
        ("docker", Compression::Gzip, true),
        ("zstd", Compression::Zstd, false),
        ("plain", Compression::None, false),
    ];
    let bench = Bench::new();
    for (name, compression, docker) in forms {
        let layers = vec![
            (tar(&[("base", name.as_bytes())]), compression),
            (tar(&[("etc/top", b"upper")]), compression),
        ];
        let config = json!({ "Env": ["A=b"], "Cmd": ["/base"], "Labels": null });
        let pushed = server.push(name, "1", &Image { layers, config, docker, ..Image::default() });
        let reference = format!("{}/{name}:1", server.host());

        let pulled = bench.pull(&reference).expect(name);
        assert_eq!(pulled.digest.to_string(), pushed.manifest.digest);
        assert_eq!(pulled.id.to_string(), pushed.config.digest, "the image ID is the config's digest");
        assert_eq!(pulled.status(), format!("Downloaded newer image for {reference}"));
        assert_eq!(bench.file(&reference, "base"), name.as_bytes());
        assert_eq!(bench.file(&reference, "etc/top"), b"upper");
        let image = bench.store.resolve(&reference).expect("just pulled");
        assert_eq!(image.raw_config, pushed.config.content, "the config is kept byte for byte");
        assert_eq!(image.config.config.cmd, Some(vec!["/base".to_owned()]));
        assert_eq!(image.sources, [reference_to(&reference).with_digest(pulled.digest)]);
    }
}

#[test]
fn the_second_pull_downloads_nothing() {
    let server = Server::start();
    let bench = Bench::new();
    server.push("app", "1", &image_of(&[1000, 2000]));
    let proxy = Proxy::transparent(server.port());
    let reference = format!("{}/app:1", proxy.host());
    bench.pull(&reference).expect("first");
    let before = proxy.requests().len();

    let notes = Notes::default();
    let pulled = pull(&bench.store, &reference_to(&reference), &hurried(), &notes).expect("second");

    assert_eq!(pulled.status(), format!("Image is up to date for {reference}"));
    assert_eq!(
        notes.count(LayerState::AlreadyExists),
        0,
        "of an image that is here there is nothing to tell"
    );
    let new: Vec<String> = proxy.requests().drain(before..).map(|request| request.target).collect();
    assert_eq!(new, ["/v2/app/manifests/1"], "asking whether the tag has moved is all");
}

#[test]
fn the_platform_is_chosen_from_an_index() {
    let server = Server::start();
    let of = |architecture: &'static str| Image {
        layers: vec![(tar(&[("arch", architecture.as_bytes())]), Compression::Gzip)],
        architecture,
        ..Image::default()
    };
    let (amd64, arm64) = (server.push("two", "a", &of("amd64")), server.push("two", "b", &of("arm64")));
    let index = server.push_index(
        "two",
        "1",
        &[
            (json!({ "os": "linux", "architecture": "arm64", "variant": "v8" }), &arm64),
            (json!({ "os": "linux", "architecture": "amd64" }), &amd64),
            (json!({ "os": "unknown", "architecture": "unknown" }), &amd64),
        ],
    );
    let reference = format!("{}/two:1", server.host());
    for (platform, pushed) in [("linux/amd64", &amd64), ("linux/arm64", &arm64), ("aarch64", &arm64)] {
        let bench = Bench::new();
        let options = Options { platform: Some(platform.parse().expect(platform)), ..hurried() };
        let pulled = bench.pull_with(&reference, &options).expect(platform);
        assert_eq!(pulled.id.to_string(), pushed.config.digest);
        assert_eq!(pulled.digest.to_string(), index.digest, "what the tag means is the index");
        let image = bench.store.resolve(&reference).expect("just pulled");
        assert_eq!(
            image.manifest.digest.to_string(),
            pushed.manifest.digest,
            "what is kept is the platform's manifest"
        );
    }
    let bench = Bench::new();
    let options = Options { platform: Some("linux/s390x".parse().expect("a platform")), ..hurried() };
    let error = bench.pull_with(&reference, &options).expect_err("no such platform").to_string();
    let expected = format!(
        "no matching manifest for linux/s390x in the manifest list entries of {reference}; it has linux/arm64, linux/amd64"
    );
    assert_eq!(error, expected);
    let options = Options { platform: Some("linux/arm64".parse().expect("a platform")), ..hurried() };
    let error =
        bench.pull_with(&format!("{}/two:a", server.host()), &options).expect_err("one platform").to_string();
    assert!(
        error.ends_with("its platform (linux/amd64) does not match the specified platform (linux/arm64)"),
        "{error}"
    );
}

#[test]
fn by_digest_and_all_tags() {
    let server = Server::start();
    let bench = Bench::new();
    let first = server.push("app", "1", &image_of(&[100]));
    server.push("app", "2", &image_of(&[200]));
    let pinned = format!("{}/app@{}", server.host(), first.manifest.digest);
    let pulled = bench.pull(&pinned).expect("by digest");
    assert_eq!(pulled.id.to_string(), first.config.digest);
    let image = bench.store.resolve(&pinned).expect("by digest");
    assert_eq!((image.names, image.sources), (vec![], vec![reference_to(&pinned)]), "a digest gives no tag");

    let client = Registry::new(
        &reference_to(&pinned),
        &Registries::default(),
        image_pull::Credentials::default(),
        Patience::default(),
    );
    let mut tags = client.tags().expect("tags");
    tags.sort();
    assert_eq!(tags, ["1", "2"]);
}

#[test]
fn what_is_not_there() {
    let mut server = Server::start();
    let bench = Bench::new();
    server.push("app", "1", &image_of(&[100]));
    let (host, port) = (server.host(), server.port());
    let words = |error: String| error.replace(&port.to_string(), "PORT");
    insta::assert_snapshot!(words(bench.refused(&format!("{host}/app:2"))), @"manifest for localhost:PORT/app:2 not found: manifest unknown: manifest unknown");
    insta::assert_snapshot!(words(bench.refused(&format!("{host}/other"))), @"manifest for localhost:PORT/other:latest not found: manifest unknown: manifest unknown");
    server.stop();
    insta::assert_snapshot!(words(bench.refused(&format!("{host}/app:1"))), @"cannot get http://localhost:PORT/v2/app/manifests/1: ECONNREFUSED: Connection refused; check that a registry runs there");
    let unresolved = bench.refused("nowhere.invalid/app:1");
    assert!(unresolved.contains("the host nowhere.invalid cannot be resolved"), "{unresolved}");
    assert_eq!(bench.content(), [""; 0], "nothing is kept");
}

#[test]
fn a_mirror_stands_for_docker_hub() {
    let server = Server::start();
    server.push("library/debian", "12", &image_of(&[100]));
    let mirror = format!("http://{}", server.host());
    let gone = "http://localhost:1".to_owned();
    let registries = Registries {
        mirrors: BTreeMap::from([("docker.io".to_owned(), vec![gone, mirror])]),
        insecure: Vec::new(),
    };
    let bench = Bench::new();
    let pulled = bench.pull_with("debian:12", &Options { registries, ..hurried() }).expect("from the mirror");
    assert_eq!(pulled.status(), "Downloaded newer image for debian:12");
    let image = bench.store.resolve("debian:12").expect("under the name that was asked for");
    assert_eq!(image.names[0].to_string(), "docker.io/library/debian:12");
}

#[test]
fn shared_layers_come_once() {
    let server = Server::start();
    let bench = Bench::new();
    let base = image_of(&[5000]);
    let mut app = base.clone();
    app.layers.push((tar(&[("app", b"app")]), Compression::Gzip));
    let pushed = server.push("base", "1", &base);
    server.push("app", "1", &app);
    let proxy = Proxy::transparent(server.port());
    bench.pull(&format!("{}/base:1", proxy.host())).expect("base");
    bench.pull(&format!("{}/app:1", proxy.host())).expect("app");
    assert_eq!(proxy.requests_of(&pushed.layers[0].digest).len(), 1);
}

#[test]
fn two_pulls_at_once_share_the_work() {
    let server = Server::start();
    let bench = Bench::new();
    let pushed = server.push("app", "1", &image_of(&[3_000_000, 2_000_000, 1_000_000, 500_000, 400_000]));
    let proxy = Proxy::transparent(server.port());
    let reference = reference_to(&format!("{}/app:1", proxy.host()));
    std::thread::scope(|scope| {
        let pulls: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    // A store of its own, as another process would have.
                    let store = image_pull::Store::open(bench.path()).expect("the store");
                    pull(&store, &reference, &hurried(), &())
                })
            })
            .collect();
        for pull in pulls {
            pull.join().expect("no panic").expect("every pull succeeds");
        }
    });
    for layer in &pushed.layers {
        assert_eq!(proxy.requests_of(&layer.digest).len(), 1, "downloaded once for all");
    }
    assert_eq!(bench.store.images().expect("images").len(), 1);
    let content = bench.content();
    assert!(content.iter().all(|path| !path.starts_with("partial/") && !path.contains("/.")), "{content:?}");
}

#[test]
fn skopeo_reads_the_store() {
    let server = Server::start();
    let bench = Bench::new();
    let pushed = server.push("app", "1", &image_of(&[100, 200]));
    let name = format!("{}/app:1", server.host());
    bench.pull(&name).expect("pull");
    let layout = bench.path().join("images");
    let json = testbed::stdout(
        Command::new("skopeo").arg("inspect").arg(format!("oci:{}:{name}", layout.display())),
    );
    let seen: serde_json::Value = serde_json::from_str(&json).expect("skopeo prints JSON");
    assert_eq!(seen["Digest"], pushed.manifest.digest);
    let layers: Vec<&str> = pushed.layers.iter().map(|layer| layer.digest.as_str()).collect();
    assert_eq!(seen["Layers"], json!(layers));
    // And it is complete: another tool can copy the image out.
    let copy = bench.path().join("copy");
    testbed::stdout(
        Command::new("skopeo")
            .arg("copy")
            .arg(format!("oci:{}:{name}", layout.display()))
            .arg(format!("dir:{}", copy.display())),
    );
    for layer in &pushed.layers {
        assert_eq!(std::fs::read(copy.join(&layer.digest[7..])).expect("copied"), layer.content);
    }
}

#[test]
fn what_skopeo_pushed_is_pulled() {
    let (server, bench, second) = (Server::start(), Bench::new(), Bench::new());
    server.push("app", "1", &image_of(&[100, 200]));
    let name = format!("{}/app:1", server.host());
    bench.pull(&name).expect("pull");
    let copy = format!("{}/copy:2", server.host());
    testbed::stdout(
        Command::new("skopeo")
            .args(["copy", "--dest-tls-verify=false"])
            .arg(format!("oci:{}:{name}", bench.path().join("images").display()))
            .arg(format!("docker://{copy}")),
    );
    let pulled = second.pull(&copy).expect("pull of skopeo's copy");
    assert_eq!(pulled.id, bench.store.resolve(&name).expect("the first").id);
    assert_eq!(
        registry::digest(&second.file(&copy, "layer-1")),
        registry::digest(&bench.file(&name, "layer-1"))
    );
}
