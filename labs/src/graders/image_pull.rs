//! Lab 5: an image from a registry.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::bench::{Bench, Ran};
use crate::check::{Check, Failure, Verdict};
use crate::http::{self, Answer, Request, Served};
use crate::image::{self, Image, digest};
use crate::registry;
use crate::world::Net;

pub(super) const CHECKS: &[Check] = &[
    ("fetches", fetches),
    ("blobs", blobs),
    ("platform", platform),
    ("token", token),
    ("once", once),
    ("denied", denied),
    ("digest", damaged),
    ("forged", forged),
    ("size", size),
    ("endless", endless),
    ("broken", broken),
    ("again", again),
];

/// The directory that images are fetched into, beside the root.
const DIRECTORY: &str = "images";
const NAME: &str = "app";
const TAG: &str = "1";
/// This machine's processor, and another one.
const ARCHITECTURE: &str = match std::env::consts::ARCH.as_bytes() {
    b"x86_64" => "amd64",
    b"aarch64" => "arm64",
    _ => std::env::consts::ARCH,
};
const OTHER: &str = "s390x";
/// What the token service is called, and what a token is for.
const SERVICE: &str = "a school, room 5";
const SCOPE: &str = "repository:app:pull";
const TOKEN: &str = "T0KEN";
/// What is on its way when a client hangs up does not count.
const ON_ITS_WAY: usize = 16 << 20;

/// The documents and blobs of a registry, by their addresses.
struct Shelf(BTreeMap<String, (&'static str, Vec<u8>)>);

impl Shelf {
    /// That of a registry that has `top` by the tag, and all of `images`.
    fn new(kind: &'static str, top: &[u8], images: &[&Image]) -> Self {
        let mut shelf = BTreeMap::from([(address("manifests", TAG), (kind, top.to_owned()))]);
        for image in images {
            let manifest = address("manifests", &digest(&image.manifest));
            shelf.insert(manifest, (image::MANIFEST, image.manifest.clone()));
            for blob in &image.blobs {
                shelf.insert(address("blobs", &digest(blob)), ("application/octet-stream", blob.clone()));
            }
        }
        Self(shelf)
    }

    /// That of a registry with one image.
    fn of(image: &Image) -> Self {
        Self::new(image::MANIFEST, &image.manifest, &[image])
    }

    fn answer(&self, request: &Request) -> Answer {
        match self.0.get(&request.target) {
            Some((kind, content)) => Answer::content(kind, content.clone()),
            None => Answer::refusal("404 Not Found"),
        }
    }
}

fn address(kind: &str, name: &str) -> String {
    format!("/v2/{NAME}/{kind}/{name}")
}

fn image() -> Image {
    Image::new("linux", ARCHITECTURE)
}

fn fetches(bench: &Bench) -> Verdict {
    let (net, image) = (Net::new()?, image());
    clear(bench)?;
    let ran = registry::serving(&net, NAME, TAG, &image, || pull(bench, &net))??;
    succeeds(&ran, &image)
}

fn blobs(bench: &Bench) -> Verdict {
    let image = image();
    let (ran, _) = pull_from(bench, |request| Shelf::of(&image).answer(request))?;
    succeeds(&ran, &image)?;
    has_all(bench, &ran, &image)
}

fn platform(bench: &Bench) -> Verdict {
    let own = image();
    let (system, processor) = (Image::new("windows", ARCHITECTURE), Image::new("linux", OTHER));
    let index = image::index(&[
        ("windows", ARCHITECTURE, &system),
        ("linux", OTHER, &processor),
        ("linux", ARCHITECTURE, &own),
    ]);
    let shelf = Shelf::new(image::INDEX, &index, &[&system, &processor, &own]);
    let (ran, _) = pull_from(bench, |request| shelf.answer(request))?;
    let printed = ran.stdout.trim();
    let expected = format!("it prints: {}, for linux on this processor", digest(&own.manifest));
    for (image, what) in [(&system, "another system"), (&processor, "another processor")] {
        if printed == digest(&image.manifest) {
            return Failure::verdict(&ran.command, expected, format!("it prints: {printed}, for {what}"));
        }
    }
    succeeds(&ran, &own)?;
    has_all(bench, &ran, &own)
}

fn token(bench: &Bench) -> Verdict {
    let image = image();
    // Some services call it one way, and some the other.
    for key in ["token", "access_token"] {
        let (ran, served) = pull_from(bench, with_token(&Shelf::of(&image), key))?;
        if let Some(seen) = misses(&served, key) {
            let expected = format!(
                "a token is asked for, with the service and the scope of the challenge, and shown\nthe challenge: {}",
                words()
            );
            return Failure::verdict(&ran.command, expected, format!("{seen}; {}", ran.seen()));
        }
        succeeds(&ran, &image)?;
    }
    Ok(())
}

/// What is wrong with the way to a token, which the service called `key`, or with its use.
fn misses(served: &[Served], key: &str) -> Option<String> {
    let asked = |served: &&Served| is_for_token(&served.request);
    let Some(asked) = served.iter().find(asked) else {
        return Some("there was no request to /token".into());
    };
    let query = query(&asked.request);
    let target = &asked.request.target;
    if query.get("service").map(String::as_str) != Some(SERVICE) {
        return Some(format!("the token was asked for at another service: {target}"));
    }
    match query.get("scope").map(String::as_str) {
        Some(SCOPE) => {}
        None => return Some(format!("the token was asked for with no scope: {target}")),
        Some(_) => return Some(format!("the token was asked for with another scope: {target}")),
    }
    let shown = served.iter().find_map(|served| served.request.header("authorization"));
    match shown {
        None => Some(format!("the service gave a token, as \"{key}\", and it was not shown")),
        Some("Bearer") => Some("before there was a token, an empty one was shown: Bearer".into()),
        Some(shown) if shown != format!("Bearer {TOKEN}") => Some(format!("the token was shown as: {shown}")),
        Some(_) => None,
    }
}

fn once(bench: &Bench) -> Verdict {
    let image = image();
    let (ran, served) = pull_from(bench, with_token(&Shelf::of(&image), "token"))?;
    let asked = served.iter().filter(|served| is_for_token(&served.request)).count();
    if asked == 1 {
        return succeeds(&ran, &image);
    }
    Failure::verdict(&ran.command, "one request to /token", format!("{asked} requests to /token"))
}

fn denied(bench: &Bench) -> Verdict {
    // Whoever does not give up meets another refusal after a while.
    let mut count = 0;
    let (ran, served) = pull_from(bench, |request| {
        count += 1;
        match is_for_token(request) {
            true => given("token"),
            false if count > 20 => Answer::refusal("503 Service Unavailable"),
            false => challenge(),
        }
    })?;
    let asked = served.iter().filter(|served| !is_for_token(&served.request)).count();
    if asked <= 2 && is_refused(&ran) {
        return Ok(());
    }
    let seen = format!("{asked} requests; {}", ran.seen());
    Failure::verdict(&ran.command, "an error, after a second 401", seen)
}

fn damaged(bench: &Bench) -> Verdict {
    let image = image();
    let mut shelf = Shelf::of(&image);
    let upper = address("blobs", &digest(image.upper()));
    if let Some((_, layer)) = shelf.0.get_mut(&upper)
        && let Some(byte) = layer.get_mut(200_000)
    {
        *byte ^= 1;
    }
    let (ran, _) = pull_from(bench, |request| shelf.answer(request))?;
    refuses(bench, &ran, "one bit of the layer is another")
}

fn forged(bench: &Bench) -> Verdict {
    let (own, forged) = (image(), Image::new("linux", "forged"));
    let index = image::index(&[("linux", ARCHITECTURE, &own)]);
    let mut shelf = Shelf::new(image::INDEX, &index, &[&own, &forged]);
    let content = (image::MANIFEST, forged.manifest.clone());
    shelf.0.insert(address("manifests", &digest(&own.manifest)), content);
    let (ran, _) = pull_from(bench, |request| shelf.answer(request))?;
    refuses(bench, &ran, "the manifest is not the one that the index names")
}

fn size(bench: &Bench) -> Verdict {
    let image = image().promising_more(1);
    let (ran, _) = pull_from(bench, |request| Shelf::of(&image).answer(request))?;
    refuses(bench, &ran, "the layer is a byte shorter than the manifest says")
}

fn endless(bench: &Bench) -> Verdict {
    let image = image();
    let (shelf, upper) = (Shelf::of(&image), address("blobs", &digest(image.upper())));
    let (ran, served) =
        pull_from(
            bench,
            |request| {
                if request.target == upper { Answer::endless() } else { shelf.answer(request) }
            },
        )?;
    let taken = served.iter().map(|served| served.taken).max().unwrap_or_default();
    if taken > ON_ITS_WAY {
        let expected = format!("of a layer with {} bytes, not many more are taken", image.upper().len());
        return Failure::verdict(&ran.command, expected, format!("{} MiB were taken", taken >> 20));
    }
    refuses(bench, &ran, "the layer does not end")
}

fn broken(bench: &Bench) -> Verdict {
    let image = image();
    let (shelf, upper) = (Shelf::of(&image), address("blobs", &digest(image.upper())));
    let (ran, _) = pull_from(bench, |request| {
        let answer = shelf.answer(request);
        if request.target == upper { answer.broken() } else { answer }
    })?;
    refuses(bench, &ran, "the connection breaks in the middle of the layer")?;
    let net = Net::new()?;
    let (ran, _) = http::serving(&net, |request| shelf.answer(request), || pull(bench, &net))?;
    let ran = ran?;
    succeeds(&ran, &image)?;
    has_all(bench, &ran, &image)
}

fn again(bench: &Bench) -> Verdict {
    let image = image();
    let shelf = Shelf::of(&image);
    pull_from(bench, |request| shelf.answer(request))?;
    let net = Net::new()?;
    let (ran, served) = http::serving(&net, |request| shelf.answer(request), || pull(bench, &net))?;
    let ran = ran?;
    succeeds(&ran, &image)?;
    let blobs = served.iter().filter(|served| served.request.target.contains("/blobs/")).count();
    if blobs == 0 {
        return Ok(());
    }
    Failure::verdict(&ran.command, "the second time, no blob is asked for", format!("{blobs} were asked for"))
}

/// Pulls into an empty directory, from a registry that answers as `rule` says.
fn pull_from(bench: &Bench, rule: impl FnMut(&Request) -> Answer + Send) -> Result<(Ran, Vec<Served>)> {
    clear(bench)?;
    let net = Net::new()?;
    let (ran, served) = http::serving(&net, rule, || pull(bench, &net))?;
    Ok((ran?, served))
}

fn pull(bench: &Bench, net: &Net) -> Result<Ran> {
    let directory = bench.beside(DIRECTORY).display().to_string();
    let (host, port) = http::ADDRESS;
    net.run(|| bench.run_words(&[directory, format!("{host}:{port}/{NAME}:{TAG}")]))?
}

fn clear(bench: &Bench) -> Result<()> {
    let directory = bench.beside(DIRECTORY);
    if directory.exists() {
        fs::remove_dir_all(directory).context("cannot remove what was fetched")?;
    }
    Ok(())
}

/// A registry that wants a token, from a service that calls it `key`.
fn with_token<'a>(shelf: &'a Shelf, key: &'a str) -> impl FnMut(&Request) -> Answer + Send + 'a {
    move |request| match request.header("authorization") {
        _ if is_for_token(request) => given(key),
        Some(shown) if shown == format!("Bearer {TOKEN}") => shelf.answer(request),
        _ => challenge(),
    }
}

fn challenge() -> Answer {
    Answer::refusal("401 Unauthorized").with("www-authenticate", &words())
}

/// The words of the challenge.
fn words() -> String {
    let (host, port) = http::ADDRESS;
    format!(r#"Bearer realm="http://{host}:{port}/token",service="{SERVICE}",scope="{SCOPE}""#)
}

fn given(key: &str) -> Answer {
    let body = format!(r#"{{"{key}":"{TOKEN}","expires_in":300}}"#);
    Answer::content("application/json", body.into_bytes())
}

fn is_for_token(request: &Request) -> bool {
    request.target.starts_with("/token")
}

/// What follows the question mark, decoded.
fn query(request: &Request) -> BTreeMap<String, String> {
    let query = request.target.split_once('?').map_or("", |(_, query)| query);
    query.split('&').filter_map(|pair| pair.split_once('=')).map(|(k, v)| (decoded(k), decoded(v))).collect()
}

/// `a%20b` and `a+b` as `a b`.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, more @ ..] = rest {
        let code =
            more.get(..2).and_then(|code| u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok());
        rest = match (first, code) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                &more[2..]
            }
            (byte, _) => {
                bytes.push(if *byte == b'+' { b' ' } else { *byte });
                more
            }
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// That it has ended well, and named the image.
fn succeeds(ran: &Ran, image: &Image) -> Verdict {
    let digest = digest(&image.manifest);
    let seen = match (ran.code(), ran.stdout.trim()) {
        (Some(0), said) if said == digest => return Ok(()),
        (Some(0), said) => format!("it prints: {said}"),
        _ => ran.seen(),
    };
    Failure::verdict(&ran.command, format!("it prints the manifest's digest: {digest}"), seen)
}

/// That all of an image is there, and nothing else.
fn has_all(bench: &Bench, ran: &Ran, image: &Image) -> Verdict {
    let expected = "in images/blobs/sha256, a file for the manifest, the configuration and each layer";
    if let Some(left) = strays(bench)? {
        return Failure::verdict(&ran.command, expected, left);
    }
    let blobs = bench.beside(DIRECTORY).join("blobs/sha256");
    let missing: Vec<String> = image
        .digests()
        .into_iter()
        .filter(|digest| !blobs.join(digest.trim_start_matches("sha256:")).exists())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Failure::verdict(&ran.command, expected, format!("missing: {}", missing.join(", ")))
}

/// That it has ended with an error, and nothing wrong stays.
fn refuses(bench: &Bench, ran: &Ran, why: &str) -> Verdict {
    let expected = format!("an error, and nothing that is not what its name says: {why}");
    match strays(bench)? {
        Some(left) => Failure::verdict(&ran.command, expected, format!("{left}; {}", ran.seen())),
        None if !is_refused(ran) => Failure::verdict(&ran.command, expected, ran.seen()),
        None => Ok(()),
    }
}

fn is_refused(ran: &Ran) -> bool {
    ran.code().is_some_and(|code| code != 0)
}

/// The files that are not what their names say.
fn strays(bench: &Bench) -> Result<Option<String>> {
    let directory = bench.beside(DIRECTORY);
    let mut left = Vec::new();
    for file in bench.files(DIRECTORY)? {
        let content = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if digest(&content) != format!("sha256:{name}") {
            let shown = file.strip_prefix(&directory).unwrap_or(Path::new(&name)).display().to_string();
            left.push(format!("{DIRECTORY}/{shown}"));
        }
    }
    Ok((!left.is_empty()).then(|| format!("left: {}", left.join(", "))))
}
