//! A registry that means harm, and a whole `pull`. What it may send instead of a blob or a manifest is tried in step 5.

use std::fs;
use std::process::Stdio;

use serde_json::json;
use testbed::engine::Engine;
use testbed::proxy::{Action, Proxy};
use testbed::registry::{Compression, Image, Registry, digest, tar};

/// The names that stay in the engine's folders after a pull that failed.
fn kept(engine: &Engine) -> Vec<String> {
    let mut names = Engine::entries(&engine.data().join("images/blobs/sha256"));
    names.extend(
        Engine::entries(&engine.data().join("layers")).into_iter().filter(|name| !name.starts_with("lock")),
    );
    names
}

/// A bomb: half a megabyte that becomes 512 MiB. The disk has to hold what an image claims, as with Docker; memory
/// does not.
#[test]
fn a_decompression_bomb_needs_no_memory() {
    let (engine, registry) = (Engine::new(), Registry::start());
    let bomb = tar(&[("bomb", &vec![0; 512 << 20])]);
    registry.push("bomb", "1", &Image { layers: vec![(bomb, Compression::Gzip)], ..Image::default() });
    let mut pull = engine.command(&["pull", "-q", &format!("{}/bomb:1", registry.host())]);
    let mut pull = pull.stdout(Stdio::null()).spawn().unwrap();
    let mut peak = 0;
    while pull.try_wait().unwrap().is_none() {
        let status = fs::read_to_string(format!("/proc/{}/status", pull.id())).unwrap_or_default();
        let now = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = peak.max(now.map_or(0, |now| now.trim().trim_end_matches(" kB").parse().unwrap()));
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(pull.wait().unwrap().success());
    assert!((1..64 << 10).contains(&peak), "{peak} KiB");
}

/// A frame of zstd says how much memory whoever unpacks it must have: up to 3.75 TiB.
#[test]
fn a_window_of_two_gigabytes() {
    let (engine, registry) = (Engine::new(), Registry::start());
    let archive = tar(&[("file", b"")]);
    // Magic number, no flags, a window of 2^31 bytes, and one last block, as it is.
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3];
    frame.extend(&((archive.len() as u32) << 3 | 1).to_le_bytes()[..3]);
    frame.extend(&archive);
    let layer = registry.push_blob("wide", frame);
    let config = json!({"os": "linux", "architecture": Image::default().architecture, "config": {},
        "rootfs": {"type": "layers", "diff_ids": [digest(&archive)]}});
    let config = registry.push_blob("wide", config.to_string().into_bytes());
    let manifest = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config.digest, "size": config.content.len()},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+zstd", "digest": layer.digest, "size": layer.content.len()}]});
    registry.push_manifest(
        "wide",
        "1",
        "application/vnd.oci.image.manifest.v1+json",
        manifest.to_string().into_bytes(),
    );
    let refused = engine.fails(&["pull", "-q", &format!("{}/wide:1", registry.host())]);
    assert!(refused.contains("memory"), "{refused}");
}

/// A config is held in memory, and so has a limit, which is known before it is asked for.
#[test]
fn a_gigantic_config() {
    let (engine, registry) = (Engine::new(), Registry::start());
    let labels = json!({"Labels": {"a": "x".repeat(9 << 20)}});
    let image = Image {
        layers: vec![(tar(&[("file", b"")]), Compression::Gzip)],
        config: labels,
        ..Image::default()
    };
    let pushed = registry.push("vast", "1", &image);
    let proxy = Proxy::transparent(registry.port());
    let refused = engine.fails(&["pull", "-q", &format!("{}/vast:1", proxy.host())]);
    assert!(refused.contains("config"), "{refused}");
    assert!(!proxy.requests().is_empty());
    assert_eq!(proxy.requests_of(&pushed.config.digest).len(), 0);
    assert_eq!(kept(&engine), Vec::<String>::new());
}

/// A digest becomes the name of a file, and a size the length of one.
#[test]
fn digests_and_sizes_that_are_none() {
    let (engine, registry) = (Engine::new(), Registry::start());
    let pushed = registry.push(
        "app",
        "1",
        &Image { layers: vec![(tar(&[("file", b"")]), Compression::Gzip)], ..Image::default() },
    );
    let good = String::from_utf8(pushed.manifest.content.clone()).unwrap();
    let layer = &pushed.layers[0];
    let size = format!("\"size\":{}", layer.content.len());
    let changed = [
        good.replace(&layer.digest, "sha256:../../../../../../../../tmp/evil"),
        good.replace(&layer.digest, "../../../../evil"),
        good.replace(&layer.digest, ""),
        good.replace(&layer.digest, &layer.digest.replace("sha256", "md5")),
        good.replace(&pushed.config.digest, "sha256:../index.json"),
        good.replace(&size, "\"size\":-1"),
        good.replace(&size, "\"size\":18446744073709551616"),
        good.replace("\"layers\":[", "\"layers\":[null,"),
        "[".repeat(100_000),
        String::new(),
    ];
    for manifest in changed {
        assert_ne!(manifest, good);
        let begin = manifest.chars().take(300).collect::<String>();
        let proxy = Proxy::start(registry.port(), move |request| {
            if !request.target.contains("/manifests/") {
                return Action::Pass;
            }
            let kind = "application/vnd.oci.image.manifest.v1+json".to_owned();
            Action::Answer("200 OK", vec![("content-type", kind)], manifest.clone().into_bytes())
        });
        let refused = engine.fails(&["pull", "-q", &format!("{}/app:1", proxy.host())]);
        assert!(refused.starts_with("1 Error: ") && refused.lines().count() == 1, "{begin}: {refused}");
        assert_eq!(kept(&engine), Vec::<String>::new(), "{begin}");
    }
    // And then an honest one.
    engine.ok(&["pull", "-q", &format!("{}/app:1", registry.host())]);
}

/// A pull that was refused leaves no image, and nothing that a later `run` would take for one.
#[test]
fn what_was_refused_is_not_run() {
    let (engine, registry) = (Engine::new(), Registry::start());
    let pushed = registry.push(
        "app",
        "1",
        &Image { layers: vec![(tar(&[("file", b"content")]), Compression::Gzip)], ..Image::default() },
    );
    let blob = pushed.layers[0].digest.clone();
    let proxy =
        Proxy::start(
            registry.port(),
            move |request| if request.is_blob(&blob) { Action::Flip(20) } else { Action::Pass },
        );
    let image = format!("{}/app:1", proxy.host());
    for _ in 0..2 {
        let refused = engine.fails(&["run", "--rm", &image, "/file"]);
        assert!(refused.starts_with("125 ") && refused.contains("damaged or forged"), "{refused}");
        assert_eq!(engine.ok(&["images", "-q"]), "");
        assert_eq!(engine.ok(&["ps", "-aq"]), "");
    }
}
