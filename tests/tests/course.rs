//! The course's registry and its labs: what their texts say is what happens.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use testbed::course::{self, catalogue};
use testbed::engine::Engine;
use testbed::transcript;

#[test]
fn images_say_what_they_are() {
    let (_registry, setting) = course::registry();
    let engine = Engine::in_memory();
    fs::create_dir_all(engine.data()).unwrap();
    fs::write(engine.data().join("registries.json"), setting.registries.unwrap()).unwrap();
    for image in catalogue::images() {
        for tag in image.tags {
            let name = format!("{}:{tag}", image.repository.trim_start_matches("library/"));
            engine.ok(&["pull", "-q", &name]);
            let said = engine.inspect(&name, "{{index .Config.Labels \"mini-docker.stand-in\"}}");
            assert!(said.starts_with(&format!("{} stands in for ", image.really)), "{name}: {said}");
        }
    }
    // Another host's name is answered by the same registry.
    engine.ok(&["pull", "-q", "gcr.io/nigelpoulton/tu-demo:v2"]);
    let same = |image: &str| engine.inspect(image, "{{.Id}}");
    assert_eq!(same("gcr.io/nigelpoulton/tu-demo:v2"), same("nigelpoulton/tu-demo"));
}

/// The folder with all the course's labs.
fn labs() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the project's root");
    root.join("labs/course")
}

/// Makes a test of each lab, so that they run beside one another, and the list of them.
macro_rules! labs {
    ($($test:ident: $folder:literal,)*) => {
        const LABS: &[&str] = &[$($folder),*];

        $(#[test]
        fn $test() {
            replay($folder);
        })*
    };
}

labs! {
    docker_101_1: "docker-101/1-a-first-container",
    docker_101_2: "docker-101/2-a-shell-in-a-container",
    docker_101_3: "docker-101/3-under-the-covers",
    docker_101_6: "docker-101/6-layers-and-copy-on-write",
    docker_101_7: "docker-101/7-volumes-and-namespaces-of-the-host",
    docker_101_8: "docker-101/8-a-port-and-the-least-privilege",
    container_virtualization_1: "container-virtualization/1-a-pid-namespace",
    container_virtualization_2: "container-virtualization/2-seven-namespaces",
    container_virtualization_3: "container-virtualization/3-control-groups",
    container_virtualization_4: "container-virtualization/4-anatomy-of-an-image",
    container_virtualization_6: "container-virtualization/6-basic-commands",
    docker_deep_dive_1: "docker-deep-dive/1-the-view-of-operations",
    docker_deep_dive_4: "docker-deep-dive/4-names-and-registries",
    docker_deep_dive_6: "docker-deep-dive/6-named-by-contents",
    docker_deep_dive_7: "docker-deep-dive/7-a-container-and-its-process",
    docker_deep_dive_8: "docker-deep-dive/8-a-life-cycle",
    linux_containers_1: "linux-containers/1-without-docker",
    linux_containers_2: "linux-containers/2-a-tour-of-control-groups",
    linux_containers_3: "linux-containers/3-copy-on-write",
    linux_containers_4: "linux-containers/4-capabilities",
    linux_containers_5: "linux-containers/5-seccomp",
    linux_containers_6: "linux-containers/6-operations-on-images-and-containers",
    linux_containers_7: "linux-containers/7-a-network-demo",
    linux_containers_8: "linux-containers/8-four-kinds-of-persistence",
    docker_containers_1: "docker-containers/1-building-blocks",
    docker_containers_2: "docker-containers/2-containers-of-others",
    docker_containers_4: "docker-containers/4-a-database-that-stays",
    docker_containers_5: "docker-containers/5-common-flags",
    docker_containers_6: "docker-containers/6-other-flags",
    docker_containers_7: "docker-containers/7-security-at-run-time",
}

/// What a lab says about itself.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Lab {
    title: String,
    /// What the host must offer.
    needs: Vec<String>,
    /// The points of the course that it shows, by their numbers.
    covers: Vec<String>,
    /// Commands of the course's that the engine does not have yet.
    to_come: Vec<String>,
}

#[test]
fn every_lab_is_complete_and_replayed() {
    let entries = |path: &Path| {
        let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
        entries.collect::<Vec<_>>()
    };
    let mut found: Vec<String> = entries(&labs())
        .iter()
        .flat_map(|course| entries(course))
        .map(|lab| lab.strip_prefix(labs()).unwrap().display().to_string())
        .collect();
    let mut replayed: Vec<&str> = LABS.to_vec();
    found.sort();
    replayed.sort_unstable();
    assert_eq!(found, replayed, "the list in this file is the list of folders");
    for folder in LABS {
        let at = |name: &str| fs::read_to_string(labs().join(folder).join(name)).expect(folder);
        let lab: Lab = toml::from_str(&at("lab.toml")).unwrap_or_else(|error| panic!("{folder}: {error}"));
        assert!(at("lab.md").starts_with(&format!("# {}\n", lab.title)), "{folder}: the title");
        assert!(lab.needs.iter().all(|need| need == "root"), "{folder}: {:?}", lab.needs);
        let is_number = |text: &str| {
            let number = text.strip_prefix('C').and_then(|text| text.split_once('-'));
            number.is_some_and(|(course, point)| {
                [course, point].iter().all(|part| part.len() == 3 && part.bytes().all(|b| b.is_ascii_digit()))
            })
        };
        let mut covers = lab.covers.clone();
        covers.sort();
        covers.dedup();
        assert_eq!(covers.len(), lab.covers.len(), "{folder}: a point twice");
        assert!(!covers.is_empty() && covers.iter().all(|point| is_number(point)), "{folder}: {covers:?}");
        let missing = |command: &String| !command.is_empty();
        assert!(lab.to_come.iter().all(missing), "{folder}: {:?}", lab.to_come);
    }
}

fn replay(folder: &str) {
    let (_registry, setting) = course::registry();
    transcript::verify(&labs().join(folder).join("lab.md"), &setting);
}
