//! Registries that want to know who is there.

mod common;

use std::path::Path;

use common::{Bench, hurried, image_of};
use image_pull::{Credentials, Options};
use testbed::proxy::{Action, Proxy, Request};
use testbed::registry::{AUTH, PASSWORD, Registry as Server, USER};

/// Options with this `config.json`.
fn with_config(json: &str) -> Options {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("config.json");
    std::fs::write(&path, json).expect("writable");
    Options { credentials: Credentials::read(&path).expect("valid"), ..hurried() }
}

#[test]
fn name_and_password() {
    let server = Server::with_login();
    server.push("app", "1", &image_of(&[1000]));
    let (name, bench) = (format!("{}/app:1", server.host()), Bench::new());
    let words = |error: String| error.replace(&server.port().to_string(), "PORT");
    insta::assert_snapshot!(words(bench.refused(&name)), @"pull access denied for localhost:PORT/app, repository does not exist or may require 'docker login': no basic auth credentials");

    let auths = |auth: &str| format!(r#"{{"auths":{{"{}":{{"auth":"{auth}"}}}}}}"#, server.host());
    let wrong =
        bench.pull_with(&name, &with_config(&auths("c3R1ZGVudDp3cm9uZw=="))).expect_err("a wrong password");
    insta::assert_snapshot!(words(wrong.to_string()), @"pull access denied for localhost:PORT/app, repository does not exist or may require 'docker login': unauthorized: authentication required");
    bench.pull_with(&name, &with_config(&auths(AUTH))).expect("the right password");
}

#[test]
fn a_credential_helper() {
    let server = Server::with_login();
    server.push("app", "1", &image_of(&[1000]));
    let directory = tempfile::tempdir().expect("a temporary directory");
    let helper = |name: &str, script: &str| {
        let path = directory.path().join(format!("docker-credential-{name}"));
        testbed::programs::write(path, &format!("#!/bin/sh\n{script}\n"));
    };
    helper(
        "drawer",
        &format!(
            r#"read -r server; echo "$1 $server" >> {}/asked; printf '{{"ServerURL":"%s","Username":"{USER}","Secret":"{PASSWORD}"}}' "$server""#,
            directory.path().display()
        ),
    );
    helper("empty", "cat >/dev/null; echo 'credentials not found in native keychain'; exit 1");
    helper("broken", "cat >/dev/null; echo 'the drawer is locked' >&2; exit 1");
    let pull = |config: &str| {
        // The helper is looked for in PATH, which belongs to the whole process: so the binary is run.
        let home = directory.path().join("config.json");
        std::fs::write(&home, config).expect("writable");
        run_binary(directory.path(), &format!("{}/app:1", server.host()))
    };
    let host = server.host();
    let (ok, said) = pull(&format!(r#"{{"credHelpers":{{"{host}":"drawer"}},"credsStore":"empty"}}"#));
    assert!(ok, "{said}");
    let asked = std::fs::read_to_string(directory.path().join("asked")).expect("the helper was run");
    assert_eq!(asked, format!("get {host}\n"));
    let (ok, said) = pull(r#"{"credsStore":"empty"}"#);
    assert!(!ok && said.contains("no basic auth credentials"), "{said}");
    let (ok, said) = pull(r#"{"credsStore":"broken"}"#);
    assert!(!ok && said.contains("docker-credential-broken: the drawer is locked"), "{said}");
}

/// Runs this step's program with `directory` in its PATH and as its Docker configuration.
fn run_binary(directory: &Path, image: &str) -> (bool, String) {
    let path = format!("{}:{}", directory.display(), std::env::var("PATH").expect("a PATH"));
    let store = tempfile::tempdir().expect("a temporary directory");
    let output = testbed::output(
        std::process::Command::new(env!("CARGO_BIN_EXE_image-pull"))
            .args(["--root", &store.path().display().to_string(), image])
            .env("PATH", path)
            .env("DOCKER_CONFIG", directory),
    );
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// A registry in front of which somebody wants a token, and gives it himself.
fn token_server(server: &Server, give: fn(&Request) -> Action) -> Proxy {
    let port = std::sync::Arc::new(std::sync::OnceLock::<u16>::new());
    let own = port.clone();
    let proxy = Proxy::start(server.port(), move |request| {
        if request.target.starts_with("/token") {
            return give(request);
        }
        if request.head.get("authorization") == Some("Bearer T0KEN") {
            return Action::Pass;
        }
        let port = own.get().expect("set before the first request");
        let challenge = format!(
            r#"Bearer realm="http://localhost:{port}/token?account=1",service="a class, room",scope="repository:other:push""#
        );
        let body = br#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#;
        Action::Answer("401 Unauthorized", vec![("www-authenticate", challenge)], body.to_vec())
    });
    port.set(proxy.port()).expect("set once");
    proxy
}

fn token() -> Action {
    Action::Answer("200 OK", vec![], br#"{"token":"T0KEN","expires_in":300}"#.to_vec())
}

#[test]
fn a_token_for_anybody() {
    let server = Server::start();
    server.push("app", "1", &image_of(&[1000, 2000]));
    let proxy = token_server(&server, |_| token());
    Bench::new().pull(&format!("{}/app:1", proxy.host())).expect("with a token");
    let asked: Vec<String> = proxy
        .requests()
        .into_iter()
        .map(|request| request.target)
        .filter(|t| t.starts_with("/token"))
        .collect();
    assert_eq!(
        asked,
        ["/token?account=1&service=a%20class%2C%20room&scope=repository%3Aapp%3Apull"],
        "once, for a pull only"
    );
}

#[test]
fn a_token_for_a_password_and_for_an_identity_token() {
    let server = Server::start();
    server.push("app", "1", &image_of(&[1000]));
    let proxy = token_server(&server, |request| match request.head.get("authorization") {
        Some(value) if value == format!("Basic {AUTH}") => token(),
        _ if request.method == "POST" => token(),
        _ => Action::Answer("401 Unauthorized", vec![], vec![]),
    });
    let name = format!("{}/app:1", proxy.host());
    let entry = |fields: &str| with_config(&format!(r#"{{"auths":{{"{}":{{{fields}}}}}}}"#, proxy.host()));
    Bench::new().pull_with(&name, &entry(&format!(r#""auth":"{AUTH}""#))).expect("password");
    Bench::new().pull_with(&name, &entry(r#""identitytoken":"REFRESH""#)).expect("identity token");
    let wrong = Bench::new().pull_with(&name, &entry(r#""auth":"YTpi""#)).expect_err("wrong").to_string();
    assert!(wrong.ends_with("incorrect username or password"), "{wrong}");
}

#[test]
fn a_token_that_ran_out_is_renewed() {
    let server = Server::start();
    let pushed = server.push("app", "1", &image_of(&[1000]));
    let (blob, port) =
        (pushed.layers[0].digest.clone(), std::sync::Arc::new(std::sync::OnceLock::<u16>::new()));
    let own = port.clone();
    let proxy = Proxy::start(server.port(), move |request| {
        if request.target.starts_with("/token") {
            return Action::Answer(
                "200 OK",
                vec![],
                format!(r#"{{"access_token":"T{}"}}"#, request.earlier).into_bytes(),
            );
        }
        // The first token is good for all but the layer.
        match request.head.get("authorization") {
            Some("Bearer T1") => Action::Pass,
            Some("Bearer T0") if !request.is_blob(&blob) => Action::Pass,
            _ => {
                let realm = format!(
                    r#"Bearer realm="http://localhost:{}/token",service="s""#,
                    own.get().expect("set")
                );
                Action::Answer("401 Unauthorized", vec![("www-authenticate", realm)], vec![])
            }
        }
    });
    port.set(proxy.port()).expect("set once");
    Bench::new().pull(&format!("{}/app:1", proxy.host())).expect("with the second token");
}
