//! A real registry: Debian's `docker-registry`, with an image in it.

use std::fs::{self, File};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::http::ADDRESS;
use crate::image::{Image, digest};
use crate::world::Net;

/// How long it may take until it answers.
const PATIENCE: Duration = Duration::from_secs(20);

/// While `act` lasts, a registry answers at [`ADDRESS`] in `net`, and has `image` as `NAME:TAG`.
pub fn serving<T>(net: &Net, name: &str, tag: &str, image: &Image, act: impl FnOnce() -> T) -> Result<T> {
    let room = tempfile::tempdir().context("cannot make a directory")?;
    let content = room.path().join("content");
    store(&content.join("docker/registry/v2"), name, tag, image).context("cannot fill a registry")?;
    let (config, log) = (room.path().join("config.yml"), room.path().join("log"));
    let text = format!(
        "version: 0.1\nlog: {{level: error}}\n\
         storage: {{filesystem: {{rootdirectory: {}}}, maintenance: {{uploadpurging: {{enabled: false}}}}}}\n\
         http: {{addr: \"{}:{}\"}}\n",
        content.display(),
        ADDRESS.0,
        ADDRESS.1
    );
    fs::write(&config, text).context("cannot write a registry's settings")?;
    let output = File::create(&log).context("cannot make a log")?;
    let errors = output.try_clone().context("cannot share a log")?;
    let mut server = net
        .run(|| {
            Command::new("docker-registry").arg("serve").arg(&config).stdout(output).stderr(errors).spawn()
        })?
        .context("cannot run docker-registry")?;
    let ready = until_ready(net, &mut server, &log);
    let done = ready.map(|()| act());
    server.kill().and_then(|()| server.wait()).context("cannot end docker-registry")?;
    done
}

fn until_ready(net: &Net, server: &mut Child, log: &Path) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while net.run(|| TcpStream::connect(ADDRESS))?.is_err() {
        if server.try_wait().context("cannot look after docker-registry")?.is_some()
            || Instant::now() > deadline
        {
            bail!("docker-registry does not answer: {}", fs::read_to_string(log).unwrap_or_default());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Puts an image where the registry looks for it: each blob once, and links to it from where it belongs.
fn store(root: &Path, name: &str, tag: &str, image: &Image) -> std::io::Result<()> {
    let write = |path: &Path, content: &[u8]| {
        path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(path, content))
    };
    let repository = root.join("repositories").join(name);
    let link = |place: &str, digest: &str| {
        let digits = digest.trim_start_matches("sha256:");
        write(&repository.join(place.replace("DIGITS", digits)).join("link"), digest.as_bytes())
    };
    for blob in [&image.manifest].into_iter().chain(&image.blobs) {
        let digest = digest(blob);
        let digits = digest.trim_start_matches("sha256:");
        write(&root.join("blobs/sha256").join(&digits[..2]).join(digits).join("data"), blob)?;
        link("_layers/sha256/DIGITS", &digest)?;
    }
    let manifest = digest(&image.manifest);
    link("_manifests/revisions/sha256/DIGITS", &manifest)?;
    link(&format!("_manifests/tags/{tag}/index/sha256/DIGITS"), &manifest)?;
    link(&format!("_manifests/tags/{tag}/current"), &manifest)
}
