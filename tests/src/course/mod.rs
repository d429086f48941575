//! The course's registry: images under the names that courses about containers use, made on this machine.
//!
//! No image is downloaded. What is in them comes from Debian's packages and from this project, and each one says in its
//! labels what it is and what it stands in for.

pub mod catalogue;
mod publish;
mod roots;

use std::fs::{self, File};
use std::path::PathBuf;

use serde_json::json;

use crate::engine::Engine;
use crate::registry::{Registry, digest};
use crate::transcript::Setting;

/// The registry's content, made on first use. That takes a minute or so and Debian's packages; later, nothing.
pub fn content() -> PathBuf {
    let cache = Engine::program().with_file_name("testbed-course");
    fs::create_dir_all(&cache).expect("a folder below the target directory");
    // Several test programs may come here at once.
    let lock = File::create(cache.join("lock")).expect("our own folder");
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).expect("our own lock");
    let images = catalogue::images();
    // Another catalogue is another content.
    let content = cache.join(&digest(format!("{images:?}").as_bytes())[7..19]);
    if !content.exists() {
        for old in fs::read_dir(&cache).expect("our own folder").flatten().filter(|old| old.path().is_dir()) {
            fs::remove_dir_all(old.path()).expect("our own folder");
        }
        let fresh = cache.join("fresh");
        publish::all(&images, &fresh);
        fs::rename(&fresh, &content).expect("our own folder");
    }
    content
}

/// The engine's settings with which a course registry at this port of the host answers for the registries that courses
/// name.
pub fn registries(port: u16) -> String {
    let mirror = format!("http://127.0.0.1:{port}");
    let settings = json!({ "registry-mirrors": [mirror], "mirrors": { "gcr.io": [mirror] } });
    serde_json::to_string_pretty(&settings).expect("strings") + "\n"
}

/// A course registry in this test's own network, and the setting of a session that uses it.
pub fn registry() -> (Registry, Setting) {
    let registry = Registry::serve(&content());
    let setting = Setting { registries: Some(registries(registry.port())) };
    (registry, setting)
}
