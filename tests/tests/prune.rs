//! What nobody uses: how much it is, and removing it.

use std::process::Stdio;

use testbed::engine::Engine;

/// The first columns of a table, whatever the widths.
fn words(table: &str) -> Vec<Vec<String>> {
    table
        .lines()
        .map(|line| {
            line.split("  ").filter(|cell| !cell.is_empty()).map(|cell| cell.trim().to_owned()).collect()
        })
        .collect()
}

/// What a command asks when it is told no.
fn asks(engine: &Engine, words: &[&str]) -> String {
    let mut asked = engine.command(words);
    let asked = asked.stdin(Stdio::null()).output().expect("it runs");
    assert!(asked.status.success());
    String::from_utf8_lossy(&asked.stdout).into_owned()
}

/// An engine with containers `old` and `new` that have ended, `running`, and a second image `child` on the first.
fn engine() -> Engine {
    let engine = Engine::with_busybox();
    let write = "head -c 3000 /dev/zero > /x";
    engine.ok(&["run", "--name", "old", "-l", "keep=1", "busybox", "sh", "-c", write]);
    engine.ok(&[
        "run",
        "--name",
        "new",
        "-v",
        "/data",
        "busybox",
        "sh",
        "-c",
        "head -c 500 /dev/zero > /x; head -c 70 /dev/zero > /data/x",
    ]);
    engine.ok(&["run", "-d", "--name", "running", "-v", "named:/data", "busybox", "sleep", "1000"]);
    engine.ok(&["commit", "old", "child"]);
    engine
}

#[test]
fn containers_that_have_ended() {
    let engine = engine();
    let [old, new] = ["old", "new"].map(|name| engine.inspect(name, "{{.Id}}"));
    insta::assert_snapshot!(asks(&engine, &["container", "prune"]), @r#"
    WARNING! This will remove all stopped containers.
    Are you sure you want to continue? [y/N]
    "#);
    assert_eq!(engine.ok(&["container", "prune", "-f", "--filter", "until=1h"]), "Total reclaimed space: 0B");
    let pruned = engine.ok(&["container", "prune", "-f", "--filter", "label!=keep"]);
    assert_eq!(pruned, format!("Deleted Containers:\n{new}\n\nTotal reclaimed space: 500B"));
    let pruned = engine.ok(&["container", "prune", "-f"]);
    assert_eq!(pruned, format!("Deleted Containers:\n{old}\n\nTotal reclaimed space: 3kB"));
    assert_eq!(engine.ok(&["ps", "-a", "--format", "{{.Names}}"]), "running");
    assert_eq!(engine.ok(&["volume", "ls", "-q"]).lines().count(), 2, "volumes stay");
    insta::assert_snapshot!(engine.fails(&["container", "prune", "-f", "--filter", "odd=1"]), @"1 Error: invalid filter 'odd'");
    insta::assert_snapshot!(engine.fails(&["container", "prune", "-f", "--filter", "until=soon"]), @"1 Error: invalid time: 'soon': expected RFC 3339, seconds since 1970, or a duration such as 10m");
}

#[test]
fn images_that_nothing_was_made_of() {
    let engine = engine();
    insta::assert_snapshot!(asks(&engine, &["image", "prune"]) + &asks(&engine, &["image", "prune", "-a"]), @r#"
    WARNING! This will remove all dangling images.
    Are you sure you want to continue? [y/N] WARNING! This will remove all images without at least one container associated to them.
    Are you sure you want to continue? [y/N]
    "#);
    assert_eq!(engine.ok(&["image", "prune", "-f"]), "Total reclaimed space: 0B");
    let dangling = engine.ok(&["commit", "new"]);
    let pruned = engine.ok(&["image", "prune", "-f"]);
    let lines: Vec<&str> = pruned.lines().collect();
    assert_eq!(lines[..2], ["Deleted Images:", &format!("deleted: {dangling}")]);
    assert_eq!(lines.last(), Some(&"Total reclaimed space: 500B"));
    assert_eq!(
        engine.ok(&["image", "prune", "-a", "-f", "--filter", "label=none"]),
        "Total reclaimed space: 0B"
    );
    let pruned = engine.ok(&["image", "prune", "-a", "-f"]);
    assert!(pruned.starts_with("Deleted Images:\nuntagged: child:latest\ndeleted: sha256:"), "{pruned}");
    assert!(pruned.ends_with("\n\nTotal reclaimed space: 3kB"), "{pruned}");
    // What containers were made of stays, whether they run or not.
    assert_eq!(engine.ok(&["images", "--format", "{{.Repository}}"]), "busybox");
}

#[test]
fn how_much_everything_takes() {
    let engine = engine();
    // Four digits, of images of some megabytes.
    let size = |image| {
        let bytes: f64 = engine.inspect(image, "{{.Size}}").parse().unwrap();
        format!("{}MB", format!("{:.3}", bytes / 1e6).trim_end_matches(['0', '.']))
    };
    let (busybox, all) = (size("busybox"), size("child"));
    let table = words(&engine.ok(&["system", "df"]));
    let row = |line: usize| table[line].iter().map(String::as_str).collect::<Vec<_>>().join("|");
    assert_eq!(row(0), "TYPE|TOTAL|ACTIVE|SIZE|RECLAIMABLE");
    // The layer that both images have counts once.
    assert_eq!(row(1), format!("Images|2|1|{all}|3kB (0%)"));
    assert_eq!(row(2), "Containers|3|1|3.5kB|3.5kB (100%)");
    assert_eq!(row(3), "Local Volumes|2|2|70B|0B (0%)");
    engine.ok(&["rm", "new"]);
    let one = engine.ok(&["system", "df", "--format", "{{.Type}}: {{.Reclaimable}}"]);
    assert_eq!(one.lines().last(), Some("Local Volumes: 70B (100%)"));
    let verbose = engine.ok(&["system", "df", "-v"]);
    let lines = words(&verbose);
    let find = |name: &str| lines.iter().find(|line| line.iter().any(|cell| cell == name)).unwrap().join("|");
    assert!(find("child").contains(&format!("|{all}|{busybox}|3kB|0")), "{verbose}");
    assert!(find("old").contains("|3kB|"), "{verbose}");
    assert_eq!(find("named"), "named|1|0B");
    insta::assert_snapshot!(verbose.lines().filter(|line| line.ends_with(':')).collect::<Vec<_>>().join(" "), @"Images space usage: Containers space usage: Local Volumes space usage:");
}

#[test]
fn everything_at_once() {
    let engine = engine();
    engine.ok(&["network", "create", "unused"]);
    insta::assert_snapshot!(asks(&engine, &["system", "prune", "--filter", "label=x"]), @r#"
    WARNING! This will remove:
      - all stopped containers
      - all networks not used by at least one container
      - all dangling images

      Items to be pruned will be filtered with:
      - label=x

    Are you sure you want to continue? [y/N]
    "#);
    insta::assert_snapshot!(asks(&engine, &["system", "prune", "-a", "--volumes"]), @r#"
    WARNING! This will remove:
      - all stopped containers
      - all networks not used by at least one container
      - all anonymous volumes not used by at least one container
      - all images without at least one container associated to them

    Are you sure you want to continue? [y/N]
    "#);
    insta::assert_snapshot!(engine.fails(&["system", "prune", "-f", "--volumes", "--filter", "until=1h"]), @r#"1 Error: The "until" filter is not supported with "--volumes""#);
    let pruned = engine.ok(&["system", "prune", "-f", "--filter", "label!=keep"]);
    assert!(
        pruned.contains("Deleted Containers:\n") && pruned.contains("Deleted Networks:\nunused\n"),
        "{pruned}"
    );
    assert!(pruned.ends_with("\n\nTotal reclaimed space: 500B"), "{pruned}");
    let pruned = engine.ok(&["system", "prune", "-f", "-a", "--volumes"]);
    assert!(pruned.contains("Deleted Volumes:\n") && pruned.contains("untagged: child:latest\n"), "{pruned}");
    assert!(pruned.ends_with("\n\nTotal reclaimed space: 6.07kB"), "{pruned}");
    assert_eq!(engine.ok(&["ps", "-a", "--format", "{{.Names}}"]), "running");
    assert_eq!(engine.ok(&["volume", "ls", "-q"]), "named");
    assert_eq!(engine.ok(&["images", "--format", "{{.Repository}}"]), "busybox");
}
