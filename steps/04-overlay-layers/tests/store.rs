//! The layer store: what is in it is whole and is what it says, whoever comes or dies in between.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use common::{Archive, describe, xattrs};
use overlay_layers::{ChainId, Compression, DiffId, Digest, Error, LayerStore, Overlay, chain};
use tar::EntryType;

fn diff_id(tar: &[u8]) -> DiffId {
    DiffId(Digest::of(tar))
}

fn add(store: &LayerStore, parent: Option<&ChainId>, tar: &[u8]) -> ChainId {
    let mut stage = store.stage().unwrap();
    stage.unpack(tar).unwrap();
    stage.commit(parent, &diff_id(tar)).unwrap()
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(directory).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn every_compression_gives_the_same_layer() {
    let directory = tempfile::tempdir().unwrap();
    let store = LayerStore::open(&directory.path().join("layers")).unwrap();
    // Something follows the archive, and belongs to the layer's identity.
    let mut tar = Archive::new().file("a", &"abc".repeat(200_000)).bytes();
    tar.extend(b"and something after the end");
    let (first, second) = tar.split_at(1000);
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0][..], b"skip"].concat();
    for (stream, compression) in [
        (tar.clone(), Compression::None),
        (gzip(&tar), Compression::Gzip),
        ([gzip(first), gzip(second)].concat(), Compression::Gzip),
        (zstd::encode_all(&tar[..], 3).unwrap(), Compression::Zstd),
        ([skippable, zstd::encode_all(&tar[..], 3).unwrap()].concat(), Compression::Zstd),
    ] {
        let mut stage = store.stage().unwrap();
        let unpacked = stage.unpack(&stream[..]).unwrap();
        assert_eq!((unpacked.diff_id, unpacked.compression), (diff_id(&tar), compression));
        assert_eq!((unpacked.size, unpacked.tar_size), (600_000, tar.len() as u64));
    }
    assert_eq!(names(&directory.path().join("layers")), [""; 0], "stages that were dropped leave nothing");
}

#[test]
fn bad_streams_leave_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = LayerStore::open(directory.path()).unwrap();
    let tar = Archive::new().file("a", &"abc".repeat(2_000_000)).bytes();
    let packed = gzip(&tar);
    let mut flipped = packed.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0x55;
    for (name, stream, part) in [
        ("gzip cut short", packed[..packed.len() - 5].to_vec(), "cannot read the layer stream"),
        ("gzip with a flipped byte", flipped, "cannot read the layer stream"),
        ("tar cut short", tar[..5000].to_vec(), "cut short"),
        ("xz", vec![0xfd, b'7', b'z', b'X', b'Z', 0], "xz"),
        ("bzip2", b"BZh91AY".to_vec(), "bzip2"),
        ("html", b"<html><body>404".repeat(100), "checksum"),
    ] {
        let error = store.stage().unwrap().unpack(&stream[..]).unwrap_err().to_string();
        assert!(error.contains(part), "{name}: {error}");
    }
    // A member that is refused in the middle of a long stream: the reader must not wait for the unpacker for ever.
    let hostile = Archive::new().file("../x", "").file("a", &"x".repeat(8 << 20)).bytes();
    assert!(matches!(store.stage().unwrap().unpack(&hostile[..]), Err(Error::Member { .. })));
    // A bomb.
    let bomb = gzip(&Archive::new().file("zeros", &"\0".repeat(64 << 20)).bytes());
    let error = store.stage().unwrap().unpack_at_most(&bomb[..], 1 << 20).unwrap_err();
    assert!(matches!(error, Error::TooLarge { limit: 1_048_576 }), "{error}");

    let mut stage = store.stage().unwrap();
    stage.unpack(&tar[..]).unwrap();
    let error = stage.commit(None, &diff_id(b"other")).unwrap_err();
    assert!(matches!(error, Error::WrongDiffId { .. }), "{error}");
    assert_eq!(names(directory.path()), [""; 0]);
}

#[test]
fn a_layer_comes_and_goes_whole() {
    let directory = tempfile::tempdir().unwrap();
    let store = LayerStore::open(&directory.path().join("a/b/layers")).unwrap();
    let (one, two) =
        (Archive::new().file("a", "aa").hard_link("b", "a").bytes(), Archive::new().file("a", "b").bytes());
    let first = add(&store, None, &one);
    let second = add(&store, Some(&first), &two);
    assert_eq!(chain(&[diff_id(&one), diff_id(&two)]), [first, second]);
    assert!(store.contains(&first) && store.contains(&second));
    assert_eq!((store.size(&first).unwrap(), store.size(&second).unwrap()), (2, 1));
    assert_eq!(store.info(&second).unwrap().parent, Some(first));
    assert_eq!(fs::read_to_string(store.path(&second).join("a")).unwrap(), "b");
    let mut both = [first, second];
    both.sort();
    assert_eq!(store.list().unwrap(), both);
    // Again, as two pulls at once would: the first one stays.
    let inode = fs::metadata(store.path(&first)).unwrap().ino();
    assert_eq!(add(&store, None, &one), first);
    assert_eq!(fs::metadata(store.path(&first)).unwrap().ino(), inode);

    store.remove(&second).unwrap();
    store.remove(&second).unwrap();
    assert!(!store.contains(&second));
    assert_eq!(names(&directory.path().join("a/b/layers")), [first.0.hex()]);
}

#[test]
fn the_lowers_of_a_layer() {
    let directory = tempfile::tempdir().unwrap();
    let store = LayerStore::open(directory.path()).unwrap();
    let one = add(&store, None, &Archive::new().file("hidden", "").bytes());
    let two = add(&store, Some(&one), &Archive::new().file(".wh..wh..opq", "").file("b", "").bytes());
    let three = add(&store, Some(&two), &Archive::new().file("c", "").bytes());
    assert_eq!(store.lowers(&one).unwrap(), [store.path(&one)]);
    let lowers = store.lowers(&three).unwrap();
    assert_eq!(lowers, [store.path(&three), store.path(&two)], "the second hides all below it");
    let mount = Overlay { lowers, ..Overlay::default() }.mount().unwrap();
    assert_eq!(names(&common::through(&mount)), ["b", "c"]);
}

#[test]
fn many_at_once_make_one_layer() {
    let directory = tempfile::tempdir().unwrap();
    let store = LayerStore::open(directory.path()).unwrap();
    let tar = (0..50).fold(Archive::new(), |archive, i| archive.file(&format!("f{i}"), "x")).bytes();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                add(&store, None, &tar);
                store.sweep().unwrap();
            });
        }
    });
    assert_eq!(names(directory.path()), [diff_id(&tar).0.hex()]);
    assert_eq!(names(&store.path(&store.list().unwrap()[0])).len(), 50);
}

#[test]
fn what_a_killed_process_left_is_swept() {
    let directory = tempfile::tempdir().unwrap();
    let store = LayerStore::open(directory.path()).unwrap();
    let alive = store.stage().unwrap();
    let kept = names(directory.path());
    for name in [".stage-1-0/fs/a", ".gone-abc-1/fs"] {
        fs::create_dir_all(directory.path().join(name)).unwrap();
    }
    store.sweep().unwrap();
    assert_eq!(names(directory.path()), kept, "the living stage stays, the others go");
    drop(alive);
    assert_eq!(names(directory.path()), [""; 0]);
}

#[test]
fn implied_directories_look_as_they_do_below() {
    let directory = tempfile::tempdir().unwrap();
    let store = LayerStore::open(directory.path()).unwrap();
    let below = Archive::new()
        .with("./", EntryType::Directory, "", b"", |h| h.set_mode(0o711))
        .with("tmp/", EntryType::Directory, "", b"", |h| {
            h.set_mode(0o1777);
            h.set_uid(9);
        })
        .pax(&[("SCHILY.xattr.trusted.note", b"1"), ("mtime", b"5.5")])
        .with("data/", EntryType::Directory, "", b"", |h| h.set_mode(0o700))
        .with("hidden/", EntryType::Directory, "", b"", |h| h.set_mode(0o700));
    let below = add(&store, None, &below.bytes());
    let middle = add(&store, Some(&below), &Archive::new().file(".wh.hidden", "").bytes());
    let above = Archive::new().file("tmp/x", "").file("data/x", "").file("hidden/x", "").file("new/x", "");
    let above = add(&store, Some(&middle), &above.bytes());
    for (name, like) in [(".", "."), ("tmp", "tmp"), ("data", "data")] {
        assert_eq!(
            describe(&store.path(&above).join(name)),
            describe(&store.path(&below).join(name)),
            "{like}"
        );
    }
    for name in ["hidden", "new"] {
        assert_eq!(describe(&store.path(&above).join(name)), "040755 0:0 0.000000000", "{name}");
    }
    assert_eq!(xattrs(&store.path(&above).join("data")).len(), 1);
}

#[test]
fn digests_are_strict() {
    let hex = "a".repeat(64);
    assert_eq!(format!("sha256:{hex}").parse::<Digest>().unwrap().to_string(), format!("sha256:{hex}"));
    let upper = "A".repeat(64);
    let texts = [
        hex.clone(),
        format!("sha512:{hex}"),
        format!("md5:{hex}"),
        format!("sha256:{upper}"),
        "sha256:ab".into(),
    ];
    let errors: Vec<_> = texts.iter().map(|text| text.parse::<Digest>().unwrap_err().to_string()).collect();
    let errors = errors.join("\n").replace(&hex, "HEX").replace(&upper, "UPPER");
    insta::assert_snapshot!(errors, @r#"
    invalid digest "HEX": expected an algorithm, a colon and hexadecimal digits
    invalid digest "sha512:HEX": sha512 is registered by OCI but not supported here; use sha256
    invalid digest "md5:HEX": unknown algorithm; only sha256 is supported
    invalid digest "sha256:UPPER": expected 64 lower-case hexadecimal digits after sha256:
    invalid digest "sha256:ab": expected 64 lower-case hexadecimal digits after sha256:
    "#);
    // The example of the OCI image spec's ChainID has no numbers; this is its formula, by hand.
    let (a, b) = (diff_id(b"a"), diff_id(b"b"));
    assert_eq!(chain(&[a, b])[1].0, Digest::of(format!("{a} {b}").as_bytes()));
    assert_eq!(serde_json::to_string(&a).unwrap(), format!("\"{a}\""));
    assert!(serde_json::from_str::<DiffId>("\"sha256:00\"").is_err());
}
