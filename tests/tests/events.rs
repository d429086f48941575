//! `events`: what commands and shims have to tell.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use serde_json::Value;
use testbed::engine::Engine;
use testbed::registry::{Image, Registry, tar_directory};
use testbed::rootfs::Rootfs;
use testbed::until;

/// All that has happened, a line each, in a template's words.
fn told(engine: &Engine, options: &[&str], format: &str) -> Vec<String> {
    let command = ["events", "--since", "1h", "--until", "0s", "--format", format];
    engine.ok(&[&command, options].concat()).lines().map(str::to_owned).collect()
}

/// Containers' and networks' events by their names.
fn lives(engine: &Engine) -> String {
    let format = "{{.Type}} {{.Action}} {{.Actor.Attributes.name}}";
    told(engine, &["-f", "type=container", "-f", "type=network"], format).join("\n")
}

#[test]
fn a_life_is_told_in_order() {
    let engine = Engine::with_busybox();
    engine.ok(&["run", "--name", "box", "busybox", "true"]);
    insta::assert_snapshot!(lives(&engine), @r"
    container create box
    container attach box
    network connect bridge
    container start box
    container die box
    network disconnect bridge
    ");
    engine.ok(&["rm", "box"]);
    fs::remove_dir_all(engine.data().join("events")).unwrap();

    engine.ok(&["create", "--name", "old", "--network", "none", "busybox", "sleep", "1000"]);
    engine.ok(&["rename", "old", "box"]);
    engine.ok(&["start", "box"]);
    engine.ok(&["pause", "box"]);
    engine.ok(&["unpause", "box"]);
    engine.ok(&["update", "--pids-limit", "9", "box"]);
    engine.ok(&["restart", "-t", "0", "box"]);
    engine.ok(&["kill", "box"]);
    engine.ok(&["rm", "box"]);
    let action = "{{.Action}}{{range $key, $value := .Actor.Attributes}} {{$key}}={{$value}}{{end}}";
    let lines = told(&engine, &[], action).join("\n");
    let masked: Vec<String> = lines
        .lines()
        .map(|line| line.trim_end_matches(" image=busybox name=box"))
        // How long it ran depends on the host.
        .map(|line| match line.strip_prefix("die execDuration=").and_then(|rest| rest.split_once(' ')) {
            Some((_, rest)) => format!("die {rest}"),
            None => line.to_owned(),
        })
        .collect();
    insta::assert_snapshot!(masked.join("\n"));
}

#[test]
fn what_removes_itself_and_what_cannot_start_is_told_too() {
    let engine = Engine::with_busybox();
    engine.ok(&[
        "run",
        "-d",
        "--rm",
        "--name",
        "gone",
        "-v",
        "store:/store",
        "--label",
        "tier=a",
        "busybox",
        "true",
    ]);
    until("it is gone", || engine.ok(&["ps", "-aq"]).is_empty());
    engine.fails(&["run", "--rm", "--name", "bad", "busybox", "nothing"]);
    let format = "{{.Type}} {{.Action}} {{if eq .Type \"volume\"}}{{.Actor.ID}}{{else}}{{.Actor.Attributes.name}}{{end}}";
    let lines = told(&engine, &["-f", "type=container", "-f", "type=volume"], format);
    insta::assert_snapshot!(lines.join("\n"), @r"
    volume create store
    container create gone
    volume mount store
    container start gone
    container die gone
    volume unmount store
    container destroy gone
    container create bad
    container attach bad
    container destroy bad
    ");
    let labelled = told(&engine, &["-f", "label=tier=a", "-f", "event=die"], "{{.Action}}");
    assert_eq!(labelled, ["die"]);
}

#[test]
fn images_and_networks() {
    let (registry, engine) = (Registry::start(), Engine::with_busybox());
    let layers = vec![(tar_directory(Rootfs::busybox().path()), testbed::registry::Compression::Gzip)];
    registry.push("shell", "latest", &Image { layers, ..Image::default() });
    let name = format!("{}/shell", registry.host());
    engine.ok(&["pull", &name]);
    engine.ok(&["rmi", &name]);
    engine.ok(&["network", "create", "web"]);
    engine.ok(&["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    engine.ok(&["network", "connect", "web", "box"]);
    engine.ok(&["network", "disconnect", "web", "box"]);
    engine.ok(&["network", "rm", "web"]);
    let images = told(&engine, &["-f", "type=image"], "{{.Action}} {{.Actor.Attributes.name}}");
    let words: Vec<&str> = images.iter().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(words, ["import", "tag", "pull", "untag", "untag", "delete"], "{images:?}");
    assert_eq!(images[1], "tag busybox:latest");
    assert_eq!(images[2], format!("pull {name}"));
    let networks = told(&engine, &["-f", "network=web"], "{{.Action}} {{.Actor.Attributes.name}}");
    assert_eq!(networks, ["create web", "connect web", "disconnect web", "destroy web"]);
}

#[test]
fn volumes_and_what_is_taken_out_of_containers() {
    let engine = Engine::with_busybox();
    engine.ok(&["volume", "create", "store"]);
    engine.ok(&["volume", "create", "store"]);
    engine.ok(&["create", "--name", "box", "-v", "store:/store", "-v", "/own", "busybox"]);
    engine.ok(&["commit", "-m", "a remark", "box", "made"]);
    engine.ok(&["export", "-o", "box.tar", "box"]);
    engine.ok(&["rm", "-v", "box"]);
    engine.ok(&["volume", "rm", "store"]);
    let format = "{{.Type}} {{.Action}}{{with .Actor.Attributes.imageRef}} {{.}}{{end}}";
    // Without a beginning, all that has happened.
    let command =
        ["events", "--until", "0s", "-f", "type=container", "-f", "type=volume", "--format", format];
    insta::assert_snapshot!(engine.ok(&command), @r"
    volume create
    volume create
    container create
    container commit made:latest
    container export
    volume destroy
    container destroy
    volume destroy
    ");
}

#[test]
fn an_image_is_pulled_once() {
    let (registry, engine) = (Registry::start(), Engine::with_busybox());
    let layers = vec![(tar_directory(Rootfs::busybox().path()), testbed::registry::Compression::Gzip)];
    registry.push("shell", "latest", &Image { layers, ..Image::default() });
    let name = format!("{}/shell", registry.host());
    // Such a container cannot be started at the first attempt.
    engine.ok(&["run", "--rm", "--pull", "always", "-v", "store:/store", &name, "true"]);
    assert_eq!(told(&engine, &["-f", "event=pull"], "{{.Action}}"), ["pull"]);
}

/// A follower, and its lines.
fn follow(engine: &Engine, options: &[&str]) -> (Child, impl Iterator<Item = String> + use<>) {
    let mut command = engine.command(&[&["events"], options].concat());
    let mut child = command.stdout(Stdio::piped()).spawn().expect("the engine's program");
    let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    (child, lines.map(|line| line.expect("what it prints is text")))
}

#[test]
fn they_are_followed_and_the_journal_is_bounded() {
    let engine = Engine::with_busybox();
    let (mut child, mut lines) = follow(&engine, &["--since", "1h", "-f", "type=container"]);
    let id = engine.ok(&["create", "--name", "box", "--label", "text=long", "busybox"]);
    let line = lines.next().unwrap();
    let (time, rest) = line.split_at(30);
    assert!(time.ends_with('Z') || time.contains('.'), "{line}");
    assert_eq!(rest.trim_start(), format!("container create {id} (image=busybox, name=box, text=long)"));

    // As if much had happened: the next event puts the journal aside.
    let journal = engine.data().join("events/journal");
    let whole = fs::read_to_string(&journal).unwrap();
    let noise = whole.lines().last().unwrap().replace("\"container\"", "\"noise\"") + "\n";
    let mut file = fs::File::options().append(true).open(&journal).unwrap();
    std::io::Write::write_all(&mut file, noise.repeat((1 << 20) / noise.len() + 1).as_bytes()).unwrap();
    engine.ok(&["rename", "box", "new"]);
    assert!(lines.next().unwrap().contains(&format!("container rename {id}")));
    assert_eq!(Engine::entries(&engine.data().join("events")), ["journal", "journal.1"]);
    assert!(fs::metadata(&journal).unwrap().len() < 1000);
    // And as if a power cut had come in the middle of a line.
    let mut file = fs::File::options().append(true).open(&journal).unwrap();
    std::io::Write::write_all(&mut file, b"{\"Type\":\"contai").unwrap();
    engine.ok(&["rename", "new", "newer"]);
    assert!(lines.next().unwrap().contains("oldName=/new"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(told(&engine, &["-f", "type=container"], "{{.Action}}"), ["create", "rename", "rename"]);
}

#[test]
fn times_and_forms() {
    let engine = Engine::with_busybox();
    engine.ok(&["create", "--name", "box", "busybox"]);
    let (mut child, lines) = follow(&engine, &["--until", "2200-01-01"]);
    drop(lines);
    child.kill().unwrap();
    child.wait().unwrap();
    let json = told(&engine, &["-f", "container=box"], "json");
    let mut event: Value = serde_json::from_str(&json[0]).unwrap();
    event["id"] = "ID".into();
    event["Actor"]["ID"] = "ID".into();
    assert_eq!(event["timeNano"].as_i64().unwrap() / 1_000_000_000, event["time"].as_i64().unwrap());
    (event["time"], event["timeNano"]) = (0.into(), 0.into());
    insta::assert_snapshot!(event, @r#"{"status":"create","id":"ID","from":"busybox","Type":"container","Action":"create","Actor":{"ID":"ID","Attributes":{"image":"busybox","name":"box"}},"scope":"local","time":0,"timeNano":0}"#);
    // An end without a beginning asks for all that was.
    assert_eq!(
        engine.ok(&["system", "events", "--until", "0s", "-f", "container=box", "--format", "json"]),
        json[0]
    );
    insta::assert_snapshot!(engine.fails(&["events", "-f", "colour=red"]), @"1 Error: invalid filter 'colour'");
    insta::assert_snapshot!(engine.fails(&["events", "--since", "noon"]), @"1 Error: invalid time: 'noon': expected RFC 3339, seconds since 1970, or a duration such as 10m");
}

#[test]
fn the_end_for_want_of_memory() {
    let engine = Engine::with_busybox();
    let fill = ["sh", "-c", "head -c 60000000 /dev/zero > /dev/shm/x"];
    let options = ["-m", "16m", "--shm-size", "100m", "--memory-swap", "16m"];
    engine.run(&[&["run", "-d", "--name", "box"], &options[..], &["busybox"], &fill].concat());
    until("it has ended", || engine.inspect("box", "{{.State.Status}}") == "exited");
    let actions = told(&engine, &["-f", "type=container"], "{{.Action}}");
    assert_eq!(actions, ["create", "start", "oom", "die"]);
}

#[test]
fn a_want_of_memory_is_told_when_it_comes() {
    let engine = Engine::with_busybox();
    let line = "dd if=/dev/zero of=/dev/null bs=60M count=1; echo $?; exec sleep 1000";
    let options = ["-d", "--name", "box", "-m", "16m", "--memory-swap", "16m"];
    engine.ok(&[&["run"], &options[..], &["busybox", "sh", "-c", line]].concat());
    until("one of its processes is killed", || engine.ok(&["logs", "box"]).ends_with("137"));
    let actions = || told(&engine, &["-f", "type=container"], "{{.Action}}");
    until("it is told", || actions() == ["create", "start", "oom"]);
    assert_eq!(engine.inspect("box", "{{.State.Running}} {{.State.OOMKilled}}"), "true true");
    engine.ok(&["kill", "box"]);
    until("it has ended", || engine.inspect("box", "{{.State.Status}}") == "exited");
    assert_eq!(actions(), ["create", "start", "oom", "kill", "die"]);
}

/// Ends a container by its shim's end, so that nobody records it.
fn kill_shim(engine: &Engine, container: &str) {
    let first = engine.inspect(container, "{{.State.Pid}}");
    let stat = fs::read_to_string(format!("/proc/{first}/stat")).expect("it runs");
    let shim = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)).expect("a parent");
    let known = |pid: &str| Pid::from_raw(pid.parse().expect("a number")).expect("not 0");
    let first = pidfd_open(known(&first), PidfdFlags::empty()).expect("it runs");
    kill_process(known(shim), Signal::KILL).expect("it lives");
    // The kernel ends the container with its shim, in its own time.
    let patience = Timespec { tv_sec: 20, tv_nsec: 0 };
    let ended =
        poll(&mut [PollFd::new(&first, PollFlags::IN)], Some(&patience)).expect("it can be waited for");
    assert_eq!(ended, 1, "the container outlives its shim");
}

/// It has its new name, though its networks cannot be told.
#[test]
fn a_new_name_is_told_whatever_becomes_of_its_networks() {
    let engine = Engine::with_busybox();
    engine.ok(&["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    let network = engine.fleeting().join(engine.inspect("box", "{{.Id}}")).join("network.json");
    let known = fs::read(&network).expect("it has a network");
    fs::write(&network, "{").expect("our own engine");
    let refused = engine.fails(&["rename", "box", "other"]);
    assert!(refused.contains("network.json"), "{refused}");
    fs::write(&network, known).expect("our own engine");
    assert_eq!(
        told(&engine, &["-f", "type=container", "-f", "event=rename"], "{{.Actor.Attributes.name}}"),
        ["other"]
    );
    engine.ok(&["rm", "-f", "other"]);
}

#[test]
fn what_is_updated_is_put_right_first() {
    let engine = Engine::with_busybox();
    engine.ok(&["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    kill_shim(&engine, "box");
    engine.ok(&["update", "--memory", "64m", "--memory-swap", "64m", "box"]);
    assert_eq!(told(&engine, &["-f", "type=container"], "{{.Action}}"), ["create", "start", "die", "update"]);
    assert_eq!(engine.inspect("box", "{{.State.Status}} {{.HostConfig.Memory}}"), "exited 67108864");
}

#[test]
fn an_end_that_nobody_saw_is_told_by_the_next_command() {
    let engine = Engine::with_busybox();
    engine.ok(&["run", "-d", "--rm", "--name", "box", "busybox", "sleep", "1000"]);
    kill_shim(&engine, "box");
    assert_eq!(engine.ok(&["ps", "-aq"]), "");
    assert_eq!(
        told(&engine, &["-f", "type=container"], "{{.Action}}"),
        ["create", "start", "die", "destroy"]
    );
    assert_eq!(told(&engine, &["-f", "event=die"], "{{.Actor.Attributes.exitCode}}"), ["255"]);
}
