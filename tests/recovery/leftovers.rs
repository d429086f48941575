//! What an engine has left on the host.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use testbed::engine::Engine;

/// Knows the IDs of an engine's containers, also of those that were never finished: what is left on the host bears them.
#[derive(Default)]
pub(crate) struct Leftovers {
    ids: RefCell<BTreeSet<String>>,
}

impl Leftovers {
    /// Takes down which containers there are, whole or not. To be called after each accident, before anything is put right.
    pub(crate) fn look(&self, engine: &Engine) {
        for folder in [engine.fleeting(), engine.data().join("containers")] {
            if folder.exists() {
                let entries = Engine::entries(&folder);
                let id = |name: &String| name.strip_prefix(".gone-").unwrap_or(name).to_owned();
                self.ids.borrow_mut().extend(entries.iter().map(id));
            }
        }
    }

    /// Requires that no container, and nothing of any, is left; `when` says after what.
    pub(crate) fn require_none(&self, engine: &Engine, when: &str) {
        // Who has ended is gone a moment later.
        let deadline = Instant::now() + Duration::from_secs(20);
        while let found = self.found(engine)
            && !found.is_empty()
        {
            assert!(Instant::now() < deadline, "{when}: these are left: {found:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
        self.ids.borrow_mut().clear();
    }

    /// What containers have left on the host that runs, or is there for what runs.
    pub(crate) fn running(&self, engine: &Engine) -> Vec<String> {
        let ids = self.ids.borrow();
        let mut found = processes(&engine.folder().to_string_lossy(), &ids);
        for root in ["/sys/fs/cgroup/pids/mini-docker", "/sys/fs/cgroup/mini-docker"] {
            let cgroups = ids.iter().map(|id| Path::new(root).join(id));
            found.extend(
                cgroups.filter(|path| path.exists()).map(|path| format!("cgroup {}", path.display())),
            );
        }
        found
    }

    fn found(&self, engine: &Engine) -> Vec<String> {
        let mut found = Vec::new();
        let data = engine.data();
        for (kind, folder) in [
            ("container", data.join("containers")),
            ("name", data.join("names")),
            ("fleeting", engine.fleeting()),
        ] {
            if folder.exists() {
                found.extend(Engine::entries(&folder).iter().map(|name| format!("{kind} {name}")));
            }
        }
        found.extend(half_made(&data));
        found.extend(engine.leases().iter().map(|address| format!("address {address}")));
        found.extend(self.running(engine));
        let links = fs::read_to_string("/proc/thread-self/net/dev").expect("this test's network");
        // After two lines of headings.
        let links = links.lines().skip(2).filter_map(|line| line.trim_start().split(':').next());
        let cables = links.filter(|link| *link != "lo" && !link.starts_with("md-"));
        found.extend(cables.map(|link| format!("link {link}")));
        found
    }
}

/// Files and directories that are on their way to be something, or nothing.
pub(crate) fn half_made(data: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for folder in ["", "layers", "volumes", "networks", "partial", "images", "images/blobs/sha256"] {
        let folder = data.join(folder);
        let names = if folder.exists() { Engine::entries(&folder) } else { Vec::new() };
        let is_half = |name: &&String| {
            name.starts_with('.')
                || [".tmp", ".new", ".layer"].iter().any(|end| name.ends_with(end))
                || name.starts_with("made-")
                || (folder.ends_with("volumes") && !folder.join(name).join("volume.json").exists())
        };
        found.extend(
            names.iter().filter(is_half).map(|name| format!("half-made {}", folder.join(name).display())),
        );
    }
    found
}

/// Processes of the engine in `folder`, or of its containers.
fn processes(folder: &str, ids: &BTreeSet<String>) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let read = |name: &str| {
            fs::read(entry.path().join(name)).map(|text| String::from_utf8_lossy(&text).into_owned())
        };
        let (Ok(arguments), Ok(environment), Ok(cgroup)) = (read("cmdline"), read("environ"), read("cgroup"))
        else {
            continue;
        };
        let is_ours = environment.contains(folder)
            || ids
                .iter()
                .any(|id| cgroup.contains(id) || arguments.contains(&format!("md-shim {}", &id[..12])));
        if is_ours {
            found.push(format!("process {} {arguments}", entry.file_name().to_string_lossy()));
        }
    }
    found
}
