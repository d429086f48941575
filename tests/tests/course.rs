//! The course's registry and its labs: what their texts say is what happens.

use std::fs;

use testbed::course::{self, catalogue};
use testbed::engine::Engine;

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
