//! The store: names, removal, and what removal leaves.

mod common;

use std::process::Command;

use common::{Bench, image_of, reference_to};
use image_pull::{Error, ImageConfig, Removal};
use testbed::registry::{Compression, Registry as Server, tar};

/// A config for these layers.
fn config_of(layers: &[image_pull::Layer], label: &str) -> Vec<u8> {
    let mut config =
        ImageConfig { os: "linux".to_owned(), architecture: "amd64".to_owned(), ..ImageConfig::default() };
    config.rootfs.diff_ids = layers.iter().map(|layer| layer.diff_id).collect();
    config.config.labels.insert("label".to_owned(), label.to_owned());
    serde_json::to_vec(&config).expect("plain data")
}

#[test]
fn images_made_here() {
    let bench = Bench::new();
    let hold = bench.store.hold().expect("a hold");
    let base = bench.store.add_layer(&hold, None, tar(&[("a", b"one")]).as_slice()).expect("a layer");
    let top =
        bench.store.add_layer(&hold, Some(&base.chain), tar(&[("b", b"two")]).as_slice()).expect("another");
    let layers = [base, top];
    let config = config_of(&layers, "x");
    let id = bench.store.add_image(&hold, Some(&reference_to("hello")), &config, &layers).expect("an image");
    assert_eq!(id, ImageConfig::id(&config));
    let image = bench.store.resolve("hello").expect("by name");
    assert_eq!((image.id, image.size), (id, 6));
    assert_eq!(bench.file("hello", "b"), b"two");
    testbed::stdout(
        Command::new("skopeo")
            .arg("inspect")
            .arg(format!("oci:{}:docker.io/library/hello:latest", bench.path().join("images").display())),
    );
    let mismatch = bench.store.add_image(&hold, None, &config, &layers[..1]).expect_err("a layer is missing");
    assert_eq!(
        mismatch.to_string(),
        "cannot use the new image: the image's config lists 2 layers, its manifest 1"
    );
}

#[test]
fn every_way_to_name_an_image() {
    let server = Server::start();
    let bench = Bench::new();
    let pushed = server.push("app", "1", &image_of(&[100]));
    let name = format!("{}/app:1", server.host());
    bench.pull(&name).expect("pull");
    let image = bench.store.resolve(&name).expect("by name");
    bench.store.tag(&image, &reference_to("mine")).expect("tag");
    let id = image.id.hex();
    let by_digest = format!("{}/app@{}", server.host(), pushed.manifest.digest);
    for text in
        ["mine", "mine:latest", "docker.io/library/mine", &id, &id[..5], &format!("sha256:{id}"), &by_digest]
    {
        assert_eq!(bench.store.resolve(text).expect(text).id, image.id, "{text}");
    }
    let all = bench.store.resolve("mine").expect("by name").names;
    assert_eq!(
        all.iter().map(image_pull::Reference::familiar).collect::<Vec<_>>(),
        [name, "mine:latest".to_owned()]
    );
    for text in ["other", "mine:2", "sha256:", "0000000000", "Not/A Name"] {
        let error = bench.store.resolve(text).expect_err(text).to_string();
        assert!(error.starts_with("No such image: "), "{error}");
    }
}

#[test]
fn an_ambiguous_beginning() {
    let bench = Bench::new();
    let hold = bench.store.hold().expect("a hold");
    for number in 0..17 {
        let config = config_of(&[], &number.to_string());
        bench.store.add_image(&hold, None, &config, &[]).expect("an image without layers");
    }
    // Seventeen IDs, sixteen digits: some digit begins two.
    let ambiguous = (0..16).filter_map(|digit| bench.store.resolve(&format!("{digit:x}")).err());
    assert!(ambiguous.into_iter().any(|error| matches!(error, Error::AmbiguousId { count: 2.., .. })));
}

#[test]
fn removal_keeps_what_others_need() {
    let server = Server::start();
    let bench = Bench::new();
    let base = image_of(&[1000]);
    let mut app = base.clone();
    app.layers.push((tar(&[("app", b"app")]), Compression::Gzip));
    server.push("base", "1", &base);
    server.push("app", "1", &app);
    let (base, app) = (format!("{}/base:1", server.host()), format!("{}/app:1", server.host()));
    bench.pull(&base).expect("base");
    bench.pull(&app).expect("app");
    let chain = bench.store.resolve(&app).expect("app").chain;

    let removed = bench.store.remove(&app, false, &[]).expect("removable");
    assert!(removed.contains(&Removal::Layer(chain[1])), "{removed:?}");
    assert!(!removed.contains(&Removal::Layer(chain[0])), "the base image needs it");
    assert_eq!(bench.file(&base, "layer-0").len(), 1000);

    let in_use = bench.store.remove(&base, false, &chain[..1]).expect("removable");
    assert!(!in_use.contains(&Removal::Layer(chain[0])), "a container lies on it");
    assert!(bench.store.layers().contains(&chain[0]));
    bench.store.collect(&[]).expect("collectable");
    assert_eq!(bench.content(), [""; 0], "with the container gone, nothing is left");
}

#[test]
fn names_come_and_go() {
    let server = Server::start();
    let bench = Bench::new();
    let pushed = server.push("app", "1", &image_of(&[100, 200, 300]));
    let name = format!("{}/app:1", server.host());
    bench.pull(&name).expect("pull");
    let image = bench.store.resolve(&name).expect("app");
    bench.store.tag(&image, &reference_to("mine")).expect("tag");
    let id = image.id.to_string();
    let error = bench.store.remove(&id, false, &[]).expect_err("two names").to_string();
    let short = &id[7..19];
    assert_eq!(
        error,
        format!(
            "conflict: unable to delete {short} (must be forced) - image is referenced in multiple repositories"
        )
    );
    let lines = |removed: Vec<Removal>| removed.iter().map(ToString::to_string).collect::<Vec<_>>();
    let removed = lines(bench.store.remove(&name, false, &[]).expect("one name"));
    let source = format!("{}/app@{}", server.host(), pushed.manifest.digest);
    assert_eq!(removed, [format!("Untagged: {name}"), format!("Untagged: {source}")]);
    let removed = lines(bench.store.remove("mine", false, &[]).expect("the last name"));
    // The layers from the top down.
    let layers = image.chain.iter().rev().map(|layer| format!("Deleted: {layer}"));
    let expected = ["Untagged: mine:latest".to_owned(), format!("Deleted: {id}")].into_iter().chain(layers);
    assert_eq!(removed, expected.collect::<Vec<_>>());
    assert_eq!(bench.content(), [""; 0]);
}

#[test]
fn a_tag_that_moves_leaves_its_image() {
    let server = Server::start();
    let bench = Bench::new();
    let name = format!("{}/app:1", server.host());
    server.push("app", "1", &image_of(&[100]));
    let first = bench.pull(&name).expect("first");
    server.push("app", "1", &image_of(&[200]));
    let second = bench.pull(&name).expect("second");
    assert!(second.newer && first.id != second.id);
    let images = bench.store.images().expect("images");
    let named: Vec<usize> = images.iter().map(|image| image.names.len()).collect();
    assert_eq!(named, [0, 1], "the first is there without a name");
    assert_eq!(images[0].id, first.id);
    bench.store.remove(&first.id.to_string(), false, &[]).expect("removable by ID");
    assert_eq!(bench.store.images().expect("images").len(), 1);
}

#[test]
fn nothing_is_collected_under_a_hold() {
    let bench = Bench::new();
    let hold = bench.store.hold().expect("a hold");
    let layer = bench.store.add_layer(&hold, None, tar(&[("a", b"one")]).as_slice()).expect("a layer");
    bench.store.collect(&[]).expect("no error");
    assert!(bench.store.layers().contains(&layer.chain));
    drop(hold);
    assert_eq!(bench.store.collect(&[]).expect("collectable"), [layer.chain]);
    assert_eq!(bench.content(), [""; 0]);
}

#[test]
fn many_processes_change_the_names_at_once() {
    let bench = Bench::new();
    let hold = bench.store.hold().expect("a hold");
    let config = config_of(&[], "x");
    std::thread::scope(|scope| {
        for number in 0..8 {
            let (store, config, hold) = (bench.store.clone(), &config, &hold);
            scope.spawn(move || {
                for tag in 0..5 {
                    let name = reference_to(&format!("app{number}:{tag}"));
                    store.add_image(hold, Some(&name), config, &[]).expect("an image");
                }
            });
        }
    });
    assert_eq!(bench.store.images().expect("images")[0].names.len(), 40, "no name was lost");
}

#[test]
fn interrupted_downloads_can_be_pruned() {
    let bench = Bench::new();
    std::fs::write(bench.path().join("partial").join("0".repeat(64)), b"beginning").expect("writable");
    assert_eq!(bench.store.prune_partial().expect("prunable"), 9);
    assert_eq!(bench.content(), [""; 0]);
}
