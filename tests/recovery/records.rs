//! A record that somebody else has written into: it is named, concerns nobody else, and can be got rid of.

use std::fs;

use testbed::engine::Engine;

#[test]
fn a_record_that_cannot_be_read_is_named_and_removable() {
    let engine = Engine::with_busybox();
    let id = engine.ok(&["create", "--name", "odd", "busybox", "true"]).trim().to_owned();
    engine.ok(&["create", "--name", "even", "busybox", "true"]);
    let record = engine.data().join("containers").join(&id).join("container.json");
    fs::write(&record, "{").unwrap();

    let listed = engine.run(&["ps", "-a", "--format", "{{.Names}}"]);
    assert_eq!(String::from_utf8_lossy(&listed.stdout), "even\n");
    let said = String::from_utf8_lossy(&listed.stderr);
    assert!(said.contains("container.json: EOF") && said.contains(&format!("rm --force {id}")), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert_eq!(listed.status.code(), Some(1));

    for arguments in [&["start", "odd"][..], &["rm", "odd"], &["inspect", &id]] {
        assert!(engine.fails(arguments).contains("container.json: EOF"), "{arguments:?}");
    }
    // What may belong to it is kept.
    assert!(engine.fails(&["rmi", "busybox"]).contains("container.json: EOF"));
    // The others know nothing of it.
    engine.ok(&["start", "-a", "even"]);
    engine.ok(&["rm", "even"]);

    assert_eq!(engine.ok(&["rm", "-f", "odd"]), "odd");
    assert_eq!(engine.ok(&["ps", "-aq"]), "");
    assert!(!record.parent().unwrap().exists());
    engine.ok(&["run", "--rm", "--name", "odd", "busybox", "true"]);
}

#[test]
fn a_container_that_runs_is_not_removed_for_its_record() {
    let engine = Engine::with_busybox();
    let id = engine.ok(&["run", "-d", "busybox", "sleep", "1000"]).trim().to_owned();
    let record = engine.data().join("containers").join(&id).join("container.json");
    let text = fs::read(&record).unwrap();
    fs::write(&record, "{").unwrap();
    assert!(engine.fails(&["rm", "-f", &id]).contains("in the hands of a shim"));
    fs::write(&record, text).unwrap();
    engine.ok(&["rm", "-f", &id]);
}
