//! A real registry for the tests: Debian's `docker-registry` on a free port of this machine.

use std::fs::{self, File};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sha2::Digest as _;
use tempfile::TempDir;

use crate::http::{Head, request};

/// The only user of a registry with a login.
pub const USER: &str = "student";
/// That user's password.
pub const PASSWORD: &str = "chalk";
/// The two in base 64, as `Authorization: Basic` and Docker's `config.json` want them.
pub const AUTH: &str = "c3R1ZGVudDpjaGFsaw==";
/// The two as `htpasswd -B` writes them.
const HTPASSWD: &str = "student:$2y$05$abcdefghijklmnopqrstuulSvK6issof5RJr8TnRG5W8OA1EwMK1C\n";

/// Settings of a storage that nobody may change.
const READ_ONLY: &str = "maintenance: {uploadpurging: {enabled: false}, readonly: {enabled: true}}";

/// A running registry. Dropped, it is stopped and its own content removed.
pub struct Registry {
    directory: TempDir,
    content: PathBuf,
    port: u16,
    server: Option<Child>,
}

/// How a layer is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip
    Gzip,
    /// zstd
    Zstd,
}

/// Content as manifests point to it.
#[derive(Debug, Clone)]
pub struct Blob {
    /// `sha256:…`
    pub digest: String,
    /// Its bytes.
    pub content: Vec<u8>,
}

/// An image that was pushed.
#[derive(Debug, Clone)]
pub struct Pushed {
    /// The manifest.
    pub manifest: Blob,
    /// Its media type.
    pub media_type: &'static str,
    /// The config; its digest is the image ID.
    pub config: Blob,
    /// The layers, lowest first.
    pub layers: Vec<Blob>,
}

/// An image to be pushed.
#[derive(Debug, Clone)]
pub struct Image {
    /// Uncompressed tars, lowest first, and what to compress them with.
    pub layers: Vec<(Vec<u8>, Compression)>,
    /// The part of the config that says how to run it.
    pub config: Value,
    /// `amd64`
    pub architecture: &'static str,
    /// Docker's media types rather than OCI's.
    pub docker: bool,
}

impl Default for Image {
    fn default() -> Self {
        Self { layers: Vec::new(), config: json!({}), architecture: "amd64", docker: false }
    }
}

impl Registry {
    /// Starts an empty registry that anybody may use.
    ///
    /// It is in this test's own network ([`crate::network::own`]), as an engine that the test makes is.
    pub fn start() -> Self {
        Self::with_settings("")
    }

    /// Starts an empty registry that wants [`USER`] and [`PASSWORD`].
    pub fn with_login() -> Self {
        Self::with_settings("auth: {htpasswd: {realm: classroom, path: HTPASSWD}}\n")
    }

    /// Starts one with content that is there already, and does not change it.
    pub fn serve(content: &Path) -> Self {
        crate::network::own();
        let mut registry = Self::stopped();
        content.clone_into(&mut registry.content);
        registry.find_port(READ_ONLY, "");
        registry
    }

    /// Starts one whose content is kept, to be served later.
    pub fn fill(content: &Path) -> Self {
        crate::network::own();
        let mut registry = Self::stopped();
        content.clone_into(&mut registry.content);
        registry.find_port("delete: {enabled: true}", "");
        registry
    }

    /// Starts one with content that is there already on this port of the host itself; why not, if it ends at once.
    pub fn serve_at(port: u16, content: &Path) -> Result<Self, String> {
        let mut registry = Self::stopped();
        content.clone_into(&mut registry.content);
        registry.port = port;
        registry.configure(READ_ONLY, "");
        registry.server = registry.launch();
        if registry.server.is_some() { Ok(registry) } else { Err(registry.log()) }
    }

    fn with_settings(settings: &str) -> Self {
        crate::network::own();
        let mut registry = Self::stopped();
        let users = registry.directory.path().join("htpasswd");
        fs::write(&users, HTPASSWD).expect("a fresh directory");
        registry.find_port(
            "delete: {enabled: true}",
            &settings.replace("HTPASSWD", &users.display().to_string()),
        );
        registry
    }

    fn stopped() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let content = directory.path().join("content");
        Self { directory, content, port: 0, server: None }
    }

    /// Starts it on a free port.
    fn find_port(&mut self, storage: &str, settings: &str) {
        // Somebody may have the port; then the registry ends at once.
        while self.server.is_none() {
            self.port = free_port();
            self.configure(storage, settings);
            self.server = self.launch();
        }
    }

    fn configure(&self, storage: &str, settings: &str) {
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}, {storage}}}\n\
             http: {{addr: \"127.0.0.1:{}\"}}\n{settings}",
            self.content.display(),
            self.port
        );
        fs::write(self.directory.path().join("config.yml"), config).expect("a directory of our own");
    }

    /// Starts it again, on the same port, with the content it had.
    pub fn restart(&mut self) {
        self.stop();
        self.server = self.launch();
        assert!(self.server.is_some(), "the registry ended at once: {}", self.log());
    }

    /// Starts the program, and waits until it answers. None if it ends instead.
    fn launch(&self) -> Option<Child> {
        let log =
            File::options().create(true).append(true).open(self.log_path()).expect("a writable directory");
        let mut server = Command::new("docker-registry")
            .arg("serve")
            .arg(self.directory.path().join("config.yml"))
            .stdout(log.try_clone().expect("a descriptor"))
            .stderr(log)
            .spawn()
            .expect("docker-registry is installed (apt install docker-registry)");
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if server.try_wait().expect("it is our child").is_some() {
                return None;
            }
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return Some(server);
            }
            assert!(Instant::now() < deadline, "the registry does not answer: {}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Stops it, in the middle of whatever it does.
    pub fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().expect("it is our child");
            server.wait().expect("it is our child");
        }
    }

    /// The port it listens on, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `localhost:PORT`, as references begin.
    pub fn host(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// Its content: `docker/registry/v2/…`.
    pub fn content(&self) -> PathBuf {
        self.content.clone()
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.log_path()).expect("the registry's log")
    }

    fn send(&self, method: &str, target: &str, kind: &str, body: &[u8]) -> Head {
        let auth = format!("Basic {AUTH}");
        let (head, said) =
            request(self.port, method, target, &[("content-type", kind), ("authorization", &auth)], body);
        let status = head.word(1);
        assert!(status.starts_with('2'), "{method} {target}: {status} {}", String::from_utf8_lossy(&said));
        head
    }

    /// Uploads a blob.
    pub fn push_blob(&self, repository: &str, content: Vec<u8>) -> Blob {
        let digest = digest(&content);
        let session = self.send("POST", &format!("/v2/{repository}/blobs/uploads/"), "", b"");
        let location = session.get("location").expect("an upload session has a location");
        let target =
            location.split_once("://").map_or(location, |(_, rest)| &rest[rest.find('/').unwrap_or(0)..]);
        let separator = if target.contains('?') { '&' } else { '?' };
        self.send(
            "PUT",
            &format!("{target}{separator}digest={digest}"),
            "application/octet-stream",
            &content,
        );
        Blob { digest, content }
    }

    /// Makes a blob of one repository known in another.
    pub fn mount_blob(&self, repository: &str, digest: &str, from: &str) {
        self.send("POST", &format!("/v2/{repository}/blobs/uploads/?mount={digest}&from={from}"), "", b"");
    }

    /// Uploads a manifest or index under a tag.
    pub fn push_manifest(&self, repository: &str, tag: &str, media_type: &str, content: Vec<u8>) -> Blob {
        self.send("PUT", &format!("/v2/{repository}/manifests/{tag}"), media_type, &content);
        Blob { digest: digest(&content), content }
    }

    /// Uploads an image.
    pub fn push(&self, repository: &str, tag: &str, image: &Image) -> Pushed {
        let (manifest_type, config_type, layer_type) = if image.docker {
            (
                "application/vnd.docker.distribution.manifest.v2+json",
                "application/vnd.docker.container.image.v1+json",
                "application/vnd.docker.image.rootfs.diff.tar",
            )
        } else {
            (
                "application/vnd.oci.image.manifest.v1+json",
                "application/vnd.oci.image.config.v1+json",
                "application/vnd.oci.image.layer.v1.tar",
            )
        };
        let diff_ids: Vec<String> = image.layers.iter().map(|(tar, _)| digest(tar)).collect();
        let config = json!({
            "created": "2026-01-02T03:04:05Z", "os": "linux", "architecture": image.architecture, "config": image.config,
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = self.push_blob(repository, config.to_string().into_bytes());
        let (mut layers, mut descriptors) = (Vec::new(), Vec::new());
        for (tar, compression) in &image.layers {
            let blob = self.push_blob(repository, compress(tar, *compression));
            let suffix = match (compression, image.docker) {
                (Compression::None, _) => "",
                (Compression::Gzip, true) => ".gzip",
                (Compression::Gzip, false) => "+gzip",
                (Compression::Zstd, _) => "+zstd",
            };
            descriptors.push(descriptor(&format!("{layer_type}{suffix}"), &blob));
            layers.push(blob);
        }
        let manifest = json!({
            "schemaVersion": 2, "mediaType": manifest_type,
            "config": descriptor(config_type, &config), "layers": descriptors,
        });
        let manifest = self.push_manifest(repository, tag, manifest_type, manifest.to_string().into_bytes());
        Pushed { manifest, media_type: manifest_type, config, layers }
    }

    /// Uploads an index of images that are in the repository already.
    pub fn push_index(&self, repository: &str, tag: &str, images: &[(Value, &Pushed)]) -> Blob {
        let entries: Vec<Value> = images
            .iter()
            .map(|(platform, image)| {
                let mut entry = descriptor(image.media_type, &image.manifest);
                entry["platform"] = platform.clone();
                entry
            })
            .collect();
        let media_type = "application/vnd.oci.image.index.v1+json";
        let index = json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": entries });
        self.push_manifest(repository, tag, media_type, index.to_string().into_bytes())
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A port for one registry of this program, below those that the kernel gives to outgoing connections.
///
/// One from that range could be taken by any connection of any test; and who connects to a free port there may, by
/// chance, get it as its own and be connected to itself.
///
/// It is not tried out: a listener of ours would also be open, for a moment, in every program that another test starts
/// just then, and whoever connected to it would be taken for connected to the registry.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = std::process::id() * 17;
    let step = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
    20_000 + ((first + step) % 12_000) as u16
}

/// How a manifest points to a blob.
pub fn descriptor(media_type: &str, blob: &Blob) -> Value {
    json!({ "mediaType": media_type, "digest": blob.digest, "size": blob.content.len() })
}

/// `sha256:…` of these bytes.
pub fn digest(content: &[u8]) -> String {
    let hex: String = sha2::Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// A tar of plain files, each executable.
pub fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        archive.append_data(&mut header, path, *content).expect("a short path");
    }
    archive.into_inner().expect("a vector takes anything")
}

/// A tar of a directory's content.
pub fn tar_directory(directory: &Path) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    archive.follow_symlinks(false);
    archive.append_dir_all(".", directory).expect("a readable directory");
    archive.into_inner().expect("a vector takes anything")
}

/// Bytes that do not compress, so that sizes are as they look. The same for the same seed.
pub fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .flatten()
    .take(length)
    .collect()
}

/// A layer's tar, compressed.
pub fn compress(tar: &[u8], compression: Compression) -> Vec<u8> {
    match compression {
        Compression::None => tar.to_vec(),
        Compression::Gzip => {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            std::io::Write::write_all(&mut gzip, tar)
                .and_then(|()| gzip.finish())
                .expect("a vector takes anything")
        }
        Compression::Zstd => zstd::encode_all(tar, 1).expect("a vector takes anything"),
    }
}
