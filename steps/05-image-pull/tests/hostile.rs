//! Registries that lie, and that nothing of what they sent stays.

mod common;

use common::{Bench, hurried, image_of};
use image_pull::Options;
use testbed::proxy::{Action, Proxy};
use testbed::registry::{Compression, Image, PASSWORD, Registry as Server, USER, tar};

/// A pull of a two-layer image where something happens to the second layer's blob; gives the error.
fn pull_with(fault: fn(usize) -> Action) -> (String, Bench) {
    let server = Server::start();
    let pushed = server.push("app", "1", &image_of(&[1000, 50_000]));
    let blob = pushed.layers[1].digest.clone();
    let proxy = Proxy::start(server.port(), move |request| {
        if request.is_blob(&blob) { fault(request.earlier) } else { Action::Pass }
    });
    let bench = Bench::new();
    let error = bench.refused(&format!("{}/app:1", proxy.host()));
    let error = error.replace(&pushed.layers[1].digest, "BLOB").replace(&proxy.port().to_string(), "PORT");
    let kept = bench.content();
    assert!(
        !kept.iter().any(|path| path.contains(&pushed.layers[1].digest[7..])),
        "nothing of it stays: {kept:?}"
    );
    assert!(!kept.iter().any(|path| path.contains(".stage")), "{kept:?}");
    assert!(bench.store.images().expect("images").is_empty());
    (error, bench)
}

#[test]
fn one_flipped_bit() {
    // In the gzip header, in the data, and in the trailing checksum: whatever breaks first, the digest is the reason.
    for at in [3, 20_000, 50_020] {
        let fault: fn(usize) -> Action = match at {
            3 => |_| Action::Flip(3),
            20_000 => |_| Action::Flip(20_000),
            _ => |_| Action::Flip(50_020),
        };
        let (error, _) = pull_with(fault);
        assert!(error.starts_with("blob BLOB was refused: what came has digest sha256:"), "{error}");
        assert!(error.ends_with("so it is damaged or forged; nothing of it was kept"), "{error}");
    }
}

#[test]
fn too_short() {
    let (error, _) = pull_with(|earlier| match earlier {
        0 => Action::Shorten(30_000),
        _ => Action::Answer("416 Range Not Satisfiable", vec![], vec![]),
    });
    assert!(error.starts_with("blob BLOB was refused: 30000 bytes came where"), "{error}");
}

#[test]
fn longer_than_promised_is_cut_off() {
    let server = Server::start();
    let pushed = server.push("app", "1", &image_of(&[1000]));
    let blob = pushed.layers[0].digest.clone();
    let longer = blob.clone();
    let proxy = Proxy::start(server.port(), move |request| {
        if request.is_blob(&longer) { Action::Lengthen(1_000_000) } else { Action::Pass }
    });
    let bench = Bench::new();
    bench.pull(&format!("{}/app:1", proxy.host())).expect("the blob is there in full");
    let kept = std::fs::read(bench.path().join("images/blobs/sha256").join(&blob[7..])).expect("the blob");
    assert_eq!(kept, pushed.layers[0].content);
}

#[test]
fn another_manifest_than_asked_for() {
    let server = Server::start();
    let pushed = server.push("app", "1", &image_of(&[1000]));
    let proxy = Proxy::start(server.port(), |request| {
        if request.target.contains("/manifests/") { Action::Flip(40) } else { Action::Pass }
    });
    for reference in
        [format!("{}/app@{}", proxy.host(), pushed.manifest.digest), format!("{}/app:1", proxy.host())]
    {
        let error = Bench::new().refused(&reference);
        assert!(error.starts_with(&format!("manifest {} was refused", pushed.manifest.digest)), "{error}");
    }
}

#[test]
fn a_gigantic_manifest() {
    let server = Server::start();
    server.push("app", "1", &image_of(&[1000]));
    let proxy = Proxy::start(server.port(), |_| Action::Lengthen(5 << 20));
    let error = Bench::new().refused(&format!("{}/app:1", proxy.host()));
    assert!(error.contains("4194305 bytes came where 4194304 were promised"), "{error}");
}

#[test]
fn a_layer_that_is_not_what_the_config_says() {
    let server = Server::start();
    let honest = image_of(&[1000]);
    let pushed = server.push("app", "1", &honest);
    // The same config with another layer: every digest in the manifest is right, only the diff ID is not.
    let other = server.push_blob("app", tar(&[("evil", b"evil")]));
    let manifest = String::from_utf8(pushed.manifest.content).expect("JSON");
    let manifest = manifest.replace(&pushed.layers[0].digest, &other.digest).replace(
        &format!("\"size\":{}}}]", pushed.layers[0].content.len()),
        &format!("\"size\":{}}}]", other.content.len()),
    );
    server.push_manifest("app", "2", pushed.media_type, manifest.into_bytes());
    let bench = Bench::new();
    let error = bench.refused(&format!("{}/app:2", server.host()));
    assert!(error.contains("diff ID"), "{error}");
    assert_eq!(bench.content(), [""; 0]);
}

#[test]
fn an_archive_that_reaches_outside() {
    let server = Server::start();
    let mut evil = tar(&[("AAAAAAAA", b"outside")]);
    evil[..8].copy_from_slice(b"../../ev");
    // The header's checksum is the sum of its bytes, with spaces in its own place.
    evil[148..156].fill(b' ');
    let sum: u32 = evil[..512].iter().map(|byte| u32::from(*byte)).sum();
    evil[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    server.push("evil", "1", &Image { layers: vec![(evil, Compression::Gzip)], ..Image::default() });
    let bench = Bench::new();
    // Step 4 may refuse the member or keep it inside; what it must not do is write beside the layer.
    match bench.pull(&format!("{}/evil:1", server.host())) {
        Ok(_) => {}
        Err(error) => assert!(error.to_string().contains("../../ev"), "{error}"),
    }
    assert!(!bench.path().join("layers/ev").exists() && !bench.path().join("ev").exists());
}

#[test]
fn redirects() {
    let server = Server::start();
    let pushed = server.push("app", "1", &image_of(&[1000]));
    let elsewhere = Proxy::start(server.port(), |_| Action::Pass);
    let blob = pushed.layers[0].digest.clone();
    for (to, allowed) in [
        (format!("http://{}/v2/app/blobs/{blob}", elsewhere.host()), true),
        ("file:///etc/shadow".to_owned(), false),
        ("http://169.254.169.254/latest/meta-data".to_owned(), false),
        (String::new(), false),
    ] {
        let (target, redirected) = (to.clone(), blob.clone());
        let proxy = Proxy::start(server.port(), move |request| {
            if request.is_blob(&redirected) {
                Action::Answer("307 Temporary Redirect", vec![("location", target.clone())], vec![])
            } else {
                Action::Pass
            }
        });
        let bench = Bench::new();
        match bench.pull(&format!("{}/app:1", proxy.host())) {
            Ok(_) => assert!(allowed, "{to}"),
            Err(error) => {
                assert!(!allowed, "{error}");
                assert!(error.to_string().starts_with("refused to follow http://localhost:"), "{error}");
            }
        }
    }
    assert_eq!(elsewhere.requests_of(&blob).len(), 1);
}

#[test]
fn a_redirect_without_end() {
    let server = Server::start();
    let proxy = Proxy::start(server.port(), |request| {
        Action::Answer("302 Found", vec![("location", request.target.clone())], vec![])
    });
    let error = Bench::new().refused(&format!("{}/app:1", proxy.host()));
    assert!(error.ends_with("too many redirects"), "{error}");
}

#[test]
fn credentials_stay_with_their_server() {
    let server = Server::with_login();
    let pushed = server.push("app", "1", &image_of(&[1000]));
    let open = Server::start();
    open.push("app", "1", &image_of(&[1000]));
    // Another server that would like to be told the password.
    let greedy = Proxy::start(open.port(), |request| {
        if request.head.get("authorization").is_some() || request.earlier > 0 {
            return Action::Pass;
        }
        let challenge = "Basic realm=\"give\"".to_owned();
        Action::Answer("401 Unauthorized", vec![("www-authenticate", challenge)], vec![])
    });
    let blob = pushed.layers[0].digest.clone();
    let to = format!("http://{}/v2/app/blobs/{blob}", greedy.host());
    let proxy = Proxy::start(server.port(), move |request| {
        if request.is_blob(&blob) {
            Action::Answer("307 Temporary Redirect", vec![("location", to.clone())], vec![])
        } else {
            Action::Pass
        }
    });
    let directory = tempfile::tempdir().expect("a temporary directory");
    let config = directory.path().join("config.json");
    let auths =
        format!(r#"{{"auths":{{"{}":{{"username":"{USER}","password":"{PASSWORD}"}}}}}}"#, proxy.host());
    std::fs::write(&config, auths).expect("writable");
    let credentials = image_pull::Credentials::read(&config).expect("valid");
    let options = Options { credentials, ..hurried() };
    let error =
        Bench::new().pull_with(&format!("{}/app:1", proxy.host()), &options).expect_err("401").to_string();
    assert!(error.starts_with("pull access denied"), "{error}");
    assert!(
        proxy.requests().iter().any(|request| request.head.get("authorization").is_some()),
        "the login is used"
    );
    assert!(
        greedy.requests().iter().all(|request| request.head.get("authorization").is_none()),
        "but not over there"
    );
}

#[test]
fn not_images() {
    let server = Server::start();
    let config = server.push_blob("chart", b"{}".to_vec());
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":
        "application/vnd.cncf.helm.config.v1+json","digest":"{}","size":2}},"layers":[]}}"#,
        config.digest
    );
    server.push_manifest("chart", "1", "application/vnd.oci.image.manifest.v1+json", manifest.into_bytes());
    let error = Bench::new()
        .refused(&format!("{}/chart:1", server.host()))
        .replace(&server.port().to_string(), "PORT");
    insta::assert_snapshot!(error, @"cannot use localhost:PORT/chart:1: this is not a container image: its config is of type application/vnd.cncf.helm.config.v1+json");
    let proxy = Proxy::start(server.port(), |_| {
        let kind = "application/vnd.docker.distribution.manifest.v1+prettyjws".to_owned();
        Action::Answer("200 OK", vec![("content-type", kind)], br#"{"schemaVersion":1}"#.to_vec())
    });
    let error =
        Bench::new().refused(&format!("{}/old:1", proxy.host())).replace(&proxy.port().to_string(), "PORT");
    insta::assert_snapshot!(error, @"cannot use localhost:PORT/old:1: the image is in Docker's schema 1, which nothing writes any more; its publisher must push it again with a current tool");
}

#[test]
fn a_server_that_wants_us_to_wait() {
    let server = Server::start();
    server.push("app", "1", &image_of(&[1000]));
    let answer = |wait: &str| {
        let body = br#"{"errors":[{"code":"TOOMANYREQUESTS","message":"slow\u001b[31m down"}]}"#;
        Action::Answer("429 Too Many Requests", vec![("retry-after", wait.to_owned())], body.to_vec())
    };
    let proxy = Proxy::start(
        server.port(),
        move |request| if request.earlier == 0 { answer("0") } else { Action::Pass },
    );
    Bench::new().pull(&format!("{}/app:1", proxy.host())).expect("after a short wait it works");
    let proxy = Proxy::start(server.port(), move |_| answer("3600"));
    let error =
        Bench::new().refused(&format!("{}/app:1", proxy.host())).replace(&proxy.port().to_string(), "PORT");
    insta::assert_snapshot!(error, @"localhost:PORT refuses more requests for now (429 Too Many Requests): toomanyrequests: slow [31m down; try again later or log in");
    assert_eq!(proxy.requests().len(), 1, "an hour is not waited for");
}
