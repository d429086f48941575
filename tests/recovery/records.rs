//! A record that somebody else has written into: it is named, concerns nobody else, and can be got rid of.

use std::fs;

use nix::sys::signal::{Signal, kill};
use testbed::engine::Engine;

use crate::kills::{first, parent};
use crate::leftovers::Leftovers;

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
fn a_container_of_which_nothing_can_be_read_is_removable() {
    let engine = Engine::with_busybox();
    engine.ok(&["run", "--name", "odd", "busybox", "true"]);
    let id = engine.inspect("odd", "{{.Id}}");
    for record in ["container.json", "state.json"] {
        fs::write(engine.data().join("containers").join(&id).join(record), "{").unwrap();
    }
    assert_eq!(engine.ok(&["rm", "-f", "odd"]), "odd");
    assert_eq!(engine.ok(&["ps", "-aq"]), "");
}

/// Its shim knows what it has, and whoever removes it what its ID leads to.
#[test]
fn a_container_that_runs_is_ended_and_removed_without_its_record() {
    let (engine, leftovers) = (Engine::with_busybox(), Leftovers::default());
    for options in [&[][..], &["--rm"], &["--restart", "always"], &["-p", "127.0.0.1:8095:80"]] {
        let run = [&["run", "-d", "--name", "odd"], options, &["busybox", "sleep", "1000"]].concat();
        let id = engine.ok(&run);
        leftovers.look(&engine);
        fs::write(engine.data().join("containers").join(&id).join("container.json"), "{").unwrap();
        assert!(engine.fails(&["rm", "odd"]).contains("container.json: EOF"), "{options:?}");
        assert_eq!(engine.ok(&["rm", "-f", "odd"]), "odd", "{options:?}");
        testbed::until("its shim has ended", || {
            leftovers.running(&engine).iter().all(|left| !left.starts_with("process"))
        });
        leftovers.require_none(&engine, &format!("{options:?}"));
        assert_eq!(engine.ok(&["ps", "-aq"]), "");
    }
}

/// Its shim was killed, and the record is damaged: what it had of the host is given back all the same.
#[test]
fn what_a_container_without_a_record_had_is_given_back() {
    let (engine, leftovers) = (Engine::with_busybox(), Leftovers::default());
    let id =
        engine.ok(&["run", "-d", "--name", "odd", "-p", "127.0.0.1:8080:80", "busybox", "sleep", "1000"]);
    let record = engine.data().join("containers").join(&id).join("container.json");
    leftovers.look(&engine);
    kill(parent(first("odd", &engine)), Signal::SIGKILL).expect("its shim lives");
    fs::write(&record, "{").expect("it is there");
    testbed::until("it can be removed", || engine.run(&["rm", "-f", "odd"]).status.success());
    leftovers.require_none(&engine, "after rm");
    engine.ok(&["run", "-d", "--name", "odd", "-p", "127.0.0.1:8080:80", "busybox", "sleep", "1000"]);
    engine.ok(&["rm", "-f", "odd"]);
}

/// The removal was interrupted: the next command finishes it.
#[test]
fn a_container_without_a_record_is_removed_to_the_end() {
    let (engine, leftovers) = (Engine::with_busybox(), Leftovers::default());
    let id = engine.ok(&["create", "--name", "odd", "busybox", "true"]);
    let containers = engine.data().join("containers");
    fs::write(containers.join(&id).join("container.json"), "{").expect("it is there");
    leftovers.look(&engine);
    fs::rename(containers.join(&id), containers.join(format!(".gone-{id}"))).expect("one file system");
    let listed = engine.run(&["ps", "-aq"]);
    assert_eq!((&*listed.stdout, &*listed.stderr), (&b""[..], &b""[..]), "{listed:?}");
    leftovers.require_none(&engine, "after ps");
}
