//! This step's program, as a user runs it: pull, and a container of the image.

mod common;

use std::process::{Command, Output};

use common::image_of;
use serde_json::json;
use testbed::registry::{Compression, Image, Registry as Server, tar, tar_directory};
use testbed::rootfs::Rootfs;

fn image_pull(root: &tempfile::TempDir, arguments: &[&str]) -> Output {
    testbed::output(
        Command::new(env!("CARGO_BIN_EXE_image-pull"))
            .arg("--root")
            .arg(root.path())
            .args(arguments)
            .env("DOCKER_CONFIG", root.path()),
    )
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn dockers_lines() {
    let server = Server::start();
    let pushed = server.push("team/app", "1", &image_of(&[100, 200]));
    let root = tempfile::tempdir().expect("a temporary directory");
    let name = format!("{}/team/app:1", server.host());
    let ids: Vec<&str> = pushed.layers.iter().map(|layer| &layer.digest[7..19]).collect();
    let digest = &pushed.manifest.digest;
    for (is_new, status) in [(true, "Downloaded newer image for"), (false, "Image is up to date for")] {
        let output = image_pull(&root, &["--platform", "linux/amd64", &name]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let layers: String =
            ids.iter().filter(|_| is_new).map(|id| format!("{id}: Pull complete\n")).collect();
        let mut lines: Vec<String> = text(&output.stdout).lines().map(str::to_owned).collect();
        lines[1..3].sort();
        let mut expected: Vec<String> =
            format!("1: Pulling from team/app\n{layers}Digest: {digest}\nStatus: {status} {name}")
                .lines()
                .map(str::to_owned)
                .collect();
        expected[1..3].sort();
        assert_eq!(lines, expected);
    }
    // What the registry does not have is not said to be pulled.
    let output = image_pull(&root, &[&format!("{}/team/app:2", server.host())]);
    assert_eq!((output.status.success(), text(&output.stdout)), (false, String::new()));
}

#[test]
fn a_container_of_the_image() {
    let server = Server::start();
    let rootfs = Rootfs::busybox();
    let layers = vec![
        (tar_directory(rootfs.path()), Compression::Gzip),
        (tar(&[("etc/motd", b"from the upper layer\n"), ("etc/.wh.group", b"")]), Compression::Zstd),
    ];
    let config = json!({ "Env": ["PATH=/bin", "LESSON=five"], "Cmd": ["cat", "/etc/motd"] });
    server.push("busybox", "latest", &Image { layers, config, ..Image::default() });
    let root = tempfile::tempdir().expect("a temporary directory");
    let name = format!("{}/busybox", server.host());
    let run = |command: &[&str]| {
        let output = image_pull(&root, &[&["--platform", "linux/amd64", name.as_str()], command].concat());
        let said = text(&output.stdout);
        let (_, own) = said.split_once("Status: ").unwrap_or_else(|| panic!("{}", text(&output.stderr)));
        let own = own.split_once('\n').map_or("", |(_, own)| own).to_owned();
        (output.status.code(), own, text(&output.stderr))
    };
    assert_eq!(
        run(&["-"]),
        (Some(0), "from the upper layer\n".to_owned(), String::new()),
        "the image's own command"
    );
    let (code, said, error) =
        run(&["sh", "-c", "echo $$ $LESSON; hostname; ls /etc; echo x > /etc/motd; exit 7"]);
    assert_eq!((code, said.as_str()), (Some(7), "1 five\ncontainer\nmotd\npasswd\n"), "{error}");
    assert_eq!(run(&["-"]).1, "from the upper layer\n", "the last container's change went with it");
    assert_eq!(
        run(&["sh", "-c", "kill -9 $$ & kill -TERM $$; exit 3"]).0,
        Some(3),
        "process 1 ignores what it has no handler for"
    );
    let (code, _, error) = run(&["no-such-program"]);
    assert_eq!(
        (code, error.as_str()),
        (Some(127), "image-pull: exec: \"no-such-program\": executable file not found in $PATH\n")
    );
    let left: Vec<String> = std::fs::read_dir(root.path())
        .expect("readable")
        .map(|entry| entry.expect("an entry").file_name().display().to_string())
        .filter(|name| name.starts_with("step5"))
        .collect();
    assert_eq!(left, [""; 0]);
}

#[test]
fn limits_hold() {
    let server = Server::start();
    let layers = vec![(tar_directory(Rootfs::busybox().path()), Compression::Gzip)];
    server.push("busybox", "latest", &Image { layers, ..Image::default() });
    let root = tempfile::tempdir().expect("a temporary directory");
    let name = format!("{}/busybox", server.host());
    let run = |limit: [&str; 2], command: &[&str]| {
        image_pull(&root, &[&["--platform", "linux/amd64"], &limit[..], &[&name], command].concat())
            .status
            .code()
    };
    let hungry = ["dd", "if=/dev/zero", "of=/dev/null", "bs=100M", "count=1"];
    assert_eq!(run(["-m", "16"], &hungry), Some(137), "killed by the kernel");
    assert_eq!(run(["-m", "256"], &hungry), Some(0));
    assert_ne!(
        run(["--pids-limit", "2"], &["sh", "-c", "true & true & true & wait"]),
        Some(0),
        "no more than two"
    );
}

#[test]
fn errors_are_one_line() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let output = image_pull(&root, &["localhost:1/app"]);
    assert_eq!(output.status.code(), Some(125));
    insta::assert_snapshot!(text(&output.stderr), @"image-pull: cannot get http://localhost:1/v2/app/manifests/latest: ECONNREFUSED: Connection refused; check that a registry runs there");
}
