//! Volumes: where they come from, what is in them, and when they go.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use testbed::accounts::Account;
use testbed::engine::Engine;
use testbed::rootfs::Rootfs;
use testbed::{mounts, stdout};

/// An engine with an image `app` that has something in `/data`, and says that it is a volume.
fn engine() -> Engine {
    let engine = Engine::with_busybox();
    let root = Rootfs::busybox();
    let data = root.join("data");
    fs::create_dir_all(data.join("deep")).expect("a root of our own");
    fs::write(data.join("file"), "from the image").expect("a root of our own");
    fs::hard_link(data.join("file"), data.join("deep/same")).expect("a root of our own");
    symlink("/etc/passwd", data.join("link")).expect("a root of our own");
    chown(data.join("file"), Some(1000), Some(2000)).expect("a root of our own");
    fs::set_permissions(data.join("file"), fs::Permissions::from_mode(0o4750)).expect("a root of our own");
    fs::set_permissions(&data, fs::Permissions::from_mode(0o1775)).expect("a root of our own");
    chown(&data, Some(1000), Some(1000)).expect("a root of our own");
    let name = "user.colour";
    rustix::fs::setxattr(data.join("deep"), name, b"red", rustix::fs::XattrFlags::empty())
        .expect("a root of our own");
    let archive = engine.folder().join("app.tar");
    let mut tar = Command::new("tar");
    stdout(
        tar.args(["--xattrs", "--xattrs-include=user.*", "-C"])
            .arg(root.path())
            .arg("-cf")
            .arg(&archive)
            .arg("."),
    );
    engine.ok(&["import", "--change", "CMD [\"sh\"]", "--change", "VOLUME /data/", "app.tar", "app"]);
    engine
}

/// Lets the engine run containers whose root is another user.
fn remapped(engine: &Engine) {
    let account = Account { name: "dockremap", id: 900, home: Path::new("/"), subordinate: Some(200_000) };
    account.bring(engine.folder());
}

fn volumes(engine: &Engine) -> Vec<String> {
    engine.ok(&["volume", "ls", "-q"]).lines().map(str::to_owned).collect()
}

fn data(engine: &Engine, name: &str) -> PathBuf {
    engine.data().join("volumes").join(name).join("_data")
}

#[test]
fn volumes_with_a_file_system_of_their_own() {
    let engine = engine();
    remapped(&engine);
    let look = "grep ' /data ' /proc/mounts | cut -d' ' -f1-4; ls /data; touch /data/new 2>&1; true";
    let shown =
        |options: &[&str]| engine.ok(&[&["run", "--rm"], options, &["app", "sh", "-c", look]].concat());
    engine.ok(&[
        "volume",
        "create",
        "-o",
        "type=tmpfs",
        "-o",
        "device=memory",
        "-o",
        "o=size=1m,noexec,mode=700",
        "fast",
    ]);
    assert_eq!(shown(&["-v", "fast:/data"]), "memory /data tmpfs rw,noexec,relatime,size=1024k,mode=700");
    let refused = "touch: /data/new: Read-only file system";
    assert_eq!(
        shown(&["-v", "fast:/data:ro"]),
        format!("memory /data tmpfs ro,noexec,relatime,size=1024k,mode=700\n{refused}")
    );
    assert_eq!(
        engine.ok(&["volume", "inspect", "-f", "{{json .Options}}", "fast"]),
        r#"{"device":"memory","o":"size=1m,noexec,mode=700","type":"tmpfs"}"#
    );

    // Two directories of the host's as one, by the way that a command line has for it. Their list is long.
    let folder = engine.folder().join("long".repeat(30) + ":");
    for name in ["one", "two"] {
        fs::create_dir_all(folder.join(name)).unwrap();
        fs::write(folder.join(name).join(name), "").unwrap();
    }
    let folder = folder.display().to_string().replace(':', "\\:");
    let mount = format!(
        "type=volume,source=both,target=/data,volume-opt=type=overlay,volume-opt=device=both,\
         volume-opt=o=lowerdir={folder}/one:{folder}/two"
    );
    let seen = shown(&["--mount", &mount]);
    assert!(
        seen.starts_with("both /data overlay ro,") && seen.ends_with(&format!("\none\ntwo\n{refused}")),
        "{seen}"
    );

    let long = format!("o=context={}", "x".repeat(300));
    engine.ok(&["volume", "create", "-o", "type=tmpfs", "-o", "device=memory", "-o", &long, "long"]);
    let refused = engine.fails(&["run", "--rm", "-v", "long:/data", "app", "true"]);
    assert!(refused.ends_with("EINVAL: Invalid argument (context has more than 255 bytes)"), "{refused}");

    // The host's root mounts what root of a user namespace may not.
    engine.ok(&["volume", "create", "-o", "type=ramfs", "-o", "device=ram", "-o", "o=noexec", "plain"]);
    let refused = "touch: /data/new: Permission denied";
    assert_eq!(
        engine.ok(&[
            "--userns-remap",
            "default",
            "container",
            "run",
            "--rm",
            "-v",
            "plain:/data",
            "app",
            "sh",
            "-c",
            look
        ]),
        format!("ram /data ramfs rw,noexec,relatime\n{refused}")
    );
    // None of it is mounted on the host.
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains("memory /") && !mounts.contains("both /"), "{mounts}");

    engine.ok(&["volume", "create", "-o", "type=ext4", "-o", "device=/dev/none", "gone"]);
    let error = engine.fails(&["run", "--rm", "-v", "gone:/data", "app", "true"]);
    assert!(error.starts_with("125 ") && error.contains("/dev/none"), "{error}");
}

/// A container can be made, and looked at, whether its volume's machine is known now or not.
#[test]
fn a_volumes_machine_is_looked_for_at_the_start() {
    let engine = engine();
    let options = ["-o", "type=nfs", "-o", "device=:/x", "-o", "o=addr=nowhere.invalid"];
    engine.ok(&[&["volume", "create"], &options[..], &["far"]].concat());
    engine.ok(&["create", "--name", "waits", "-v", "far:/data", "app", "true"]);
    let unknown = "error resolving passed in network volume address nowhere.invalid: ";
    for arguments in [&["start", "waits"][..], &["cp", "waits:/data/x", "."]] {
        let refused = engine.fails(arguments);
        assert!(refused.starts_with("1 ") && refused.contains(unknown), "{refused}");
    }
    assert_eq!(engine.inspect("waits", "{{.State.Status}}"), "created");
    engine.ok(&["rm", "waits"]);
}

/// A file as a disk, until the test ends.
struct Disk(String);

impl Disk {
    fn of(path: &Path) -> Self {
        fs::File::create(path).and_then(|file| file.set_len(16 << 20)).expect("a folder of our own");
        stdout(Command::new("mkfs.ext4").arg("-q").arg(path));
        Self(stdout(Command::new("losetup").args(["--find", "--show"]).arg(path)).trim_end().to_owned())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        stdout(Command::new("losetup").arg("--detach").arg(&self.0));
    }
}

/// A container may not open the disk; its volume is mounted before it is there.
#[test]
fn a_volume_on_a_disk() {
    let engine = engine();
    let disk = Disk::of(&engine.folder().join("disk"));
    let device = format!("device={}", disk.0);
    engine.ok(&["volume", "create", "-o", "type=ext4", "-o", &device, "-o", "o=noatime", "disk"]);
    engine.ok(&[
        "run",
        "-d",
        "--name",
        "writer",
        "-v",
        "disk:/data",
        "app",
        "sh",
        "-c",
        "echo x > /data/f; sleep 1000",
    ]);
    let line = "until test -s /data/f; do sleep 0.01; done; cat /data/f; grep ' /data ' /proc/mounts | cut -d' ' -f1-4";
    let seen = engine.ok(&["run", "--rm", "-v", "disk:/data:ro", "app", "sh", "-c", line]);
    assert_eq!(seen, format!("x\n{} /data ext4 ro,noatime", disk.0));
    engine.ok(&["rm", "-f", "writer"]);
    engine.ok(&["create", "--name", "resting", "-v", "disk:/data", "app"]);
    engine.ok(&["cp", "resting:/data/f", "copy"]);
    assert_eq!(fs::read_to_string(engine.folder().join("copy")).unwrap(), "x\n");
    engine.ok(&["rm", "resting"]);
}

#[test]
fn a_directory_of_a_volume() {
    let engine = engine();
    remapped(&engine);
    engine.ok(&[
        "run",
        "--rm",
        "-v",
        "vol:/v",
        "busybox",
        "sh",
        "-c",
        "mkdir -p /v/a/b; echo x > /v/a/b/f; ln -s /a/b /v/inside; ln -s ../../../../../etc /v/outside",
    ]);
    let show = |subpath: &str, line: &str| {
        let mount = format!("type=volume,source=vol,target=/data,volume-subpath={subpath}");
        engine.run(&["run", "--rm", "--mount", &mount, "app", "sh", "-c", line])
    };
    let said = |output: std::process::Output| String::from_utf8(output.stdout).unwrap();
    assert_eq!(said(show("a/b", "cat /data/f; echo more > /data/g")), "x\n");
    assert_eq!(fs::read_to_string(data(&engine, "vol").join("a/b/g")).unwrap(), "more\n");
    // A link leads to where it would if the volume was all there is.
    assert_eq!(said(show("inside", "ls /data")), "f\ng\n");
    for missing in ["none", "outside", "a/b/f/x"] {
        let output = show(missing, "true");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(125), "{error}");
        assert!(error.contains(&format!("_data/{missing}: ENO")), "{error}");
    }
    let mount = "type=volume,source=vol,target=/data,volume-subpath=a/b";
    let seen = engine.ok(&[
        "--userns-remap",
        "default",
        "container",
        "run",
        "--rm",
        "--mount",
        mount,
        "app",
        "cat",
        "/data/f",
    ]);
    assert_eq!(seen, "x");
}

#[test]
fn a_new_volume_gets_what_the_image_has_in_its_place() {
    let engine = engine();
    let line = "stat -c '%a %u:%g' /mnt /data /data/file; cat /data/deep/same; stat -c %h /data/file; readlink /data/link";
    for options in
        [&["-v", "named:/data"][..], &["--mount", "source=other,target=/data"], &["-v", "/data"], &[]]
    {
        let seen =
            engine.ok(&[&["run", "--rm", "-v", "empty:/mnt"], options, &["app", "sh", "-c", line]].concat());
        assert_eq!(
            seen, "755 0:0\n1775 1000:1000\n4750 1000:2000\nfrom the image2\n/etc/passwd",
            "{options:?}"
        );
    }
    assert_eq!(volumes(&engine), ["empty", "named", "other"]);
    let mut value = [0; 3];
    rustix::fs::getxattr(data(&engine, "named").join("deep"), "user.colour", &mut value).unwrap();
    assert_eq!(&value, b"red");
    // Once there is something in it, it stays as it is; and where nobody wants the copy, it stays empty.
    engine.ok(&["run", "--rm", "-v", "named:/data", "app", "rm", "/data/file"]);
    assert_eq!(engine.ok(&["run", "--rm", "-v", "named:/data", "app", "ls", "/data"]), "deep\nlink");
    for option in [["-v", "bare:/data:nocopy"], ["--mount", "source=bare,target=/data,volume-nocopy"]] {
        assert_eq!(engine.ok(&["run", "--rm", option[0], option[1], "app", "ls", "/data"]), "");
    }
    // A volume that is there already and empty is filled too.
    engine.ok(&["volume", "create", "made"]);
    assert_eq!(engine.ok(&["run", "--rm", "-v", "made:/data:ro", "app", "ls", "/data"]), "deep\nfile\nlink");
}

#[test]
fn an_image_says_what_is_a_volume() {
    let engine = engine();
    engine.ok(&["run", "--name", "box", "app", "sh", "-c", "echo more > /data/more"]);
    let [volume] = &volumes(&engine)[..] else { panic!("one volume") };
    assert_eq!(
        engine.inspect("box", "{{range .Mounts}}{{.Name}} {{.Destination}} {{.Driver}}{{end}}"),
        format!("{volume} /data local")
    );
    assert_eq!(engine.inspect("box", "{{json .Config.Volumes}}"), r#"{"/data/":{}}"#);
    for option in [
        ["-v", "named:/data"],
        ["--tmpfs", "/data"],
        ["--mount", "type=tmpfs,target=/data"],
        ["-v", "./made:/data"],
    ] {
        engine.ok(&["run", "--rm", option[0], option[1], "app", "true"]);
        let there = volumes(&engine);
        assert!(there.iter().all(|name| name == "named" || name == volume), "{option:?}: {there:?}");
    }
    engine.ok(&["rm", "box"]);
    assert!(volumes(&engine).contains(volume), "without -v it stays");
    engine.ok(&["run", "--name", "box", "app"]);
    engine.ok(&["rm", "-v", "box"]);
    assert_eq!(volumes(&engine).len(), 2);
    // What cannot be made leaves none.
    engine.fails(&["create", "--entrypoint", "", "--mount", "type=bind,source=/none,target=/x", "app"]);
    assert_eq!(volumes(&engine).len(), 2);
}

#[test]
fn containers_lend_their_volumes() {
    let engine = engine();
    fs::create_dir(engine.folder().join("host")).unwrap();
    let donor = ["-v", "named:/named", "-v", "/anonymous", "-v", "./host:/host:ro", "--tmpfs", "/t"];
    engine
        .ok(&[&["run", "--name", "donor"][..], &donor, &["app", "touch", "/anonymous/x", "/named/y"]]
            .concat());
    let line = "ls /anonymous /named /data/file; touch /host/z /named/z 2>&1; grep -c ' /t ' /proc/mounts";
    let seen = engine.ok(&[
        "run",
        "--rm",
        "--volumes-from",
        "donor",
        "busybox",
        "sh",
        "-c",
        &format!("{line}; true"),
    ]);
    assert_eq!(seen, "/data/file\n\n/anonymous:\nx\n\n/named:\ny\ntouch: /host/z: Read-only file system\n0");
    let seen = engine.ok(&[
        "run",
        "--rm",
        "--volumes-from",
        "donor:ro",
        "-v",
        "mine:/named",
        "busybox",
        "sh",
        "-c",
        "touch /named/mine /anonymous/z 2>&1; ls /named",
    ]);
    assert_eq!(seen, "touch: /anonymous/z: Read-only file system\nmine");
    // The last one to use it takes it along.
    let anonymous = engine
        .inspect("donor", "{{range .Mounts}}{{if eq .Destination \"/anonymous\"}}{{.Name}}{{end}}{{end}}");
    engine.ok(&["create", "--name", "heir", "--volumes-from", "donor", "busybox"]);
    engine.ok(&["rm", "-v", "donor"]);
    assert!(volumes(&engine).contains(&anonymous));
    assert_eq!(engine.ok(&["run", "--rm", "--volumes-from", "heir", "busybox", "ls", "/anonymous"]), "x");
    engine.ok(&["rm", "-v", "heir"]);
    assert_eq!(volumes(&engine), ["mine", "named"]);
    insta::assert_snapshot!(engine.fails(&["run", "--volumes-from", "nobody", "busybox"]), @"125 Error: No such container: nobody");
}

#[test]
fn volumes_by_hand() {
    let engine = Engine::with_busybox();
    assert_eq!(engine.ok(&["volume", "create", "--label", "a=b", "--label", "c", "one"]), "one");
    assert_eq!(engine.ok(&["volume", "create", "one"]), "one");
    let random = engine.ok(&["volume", "create"]);
    assert_eq!(random.len(), 64);
    let shown = engine.ok(&["volume", "inspect", "one"]);
    let mut shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown[0]["Mountpoint"], data(&engine, "one").to_str().unwrap());
    shown[0]["Mountpoint"] = "<PATH>".into();
    assert_eq!(shown[0]["CreatedAt"].as_str().unwrap().len(), "2026-01-02T03:04:05Z".len());
    shown[0]["CreatedAt"] = "<TIME>".into();
    insta::assert_snapshot!(serde_json::to_string_pretty(&shown).unwrap());
    insta::assert_snapshot!(engine.ok(&["volume", "ls"]).replace(&random, "<RANDOM>"), @r#"
    DRIVER    VOLUME NAME
    local     <RANDOM>
    local     one
    "#);
    assert_eq!(
        engine.ok(&["volume", "ls", "--format", "{{.Name}} {{.Driver}} {{.Labels}}", "-f", "name=on"]),
        "one local a=b,c="
    );
    engine.ok(&["create", "--name", "box", "-v", "one:/x", "busybox"]);
    let listed = |filter| engine.ok(&["volume", "ls", "-q", "--filter", filter]);
    assert_eq!(listed("dangling=true"), random);
    assert_eq!(listed("dangling=false"), "one");
    assert_eq!(listed("label=a=b"), "one");
    assert_eq!(listed("label=a=c"), "");
    assert_eq!(listed("driver=other"), "");
    let id = engine.inspect("box", "{{.Id}}");
    insta::assert_snapshot!(engine.fails(&["volume", "rm", "one"]).replace(&id, "<ID>"), @"1 Error: remove one: volume is in use - [<ID>]");
    insta::assert_snapshot!(engine.fails(&["volume", "rm", "none", &random]), @"1 Error: get none: no such volume");
    assert_eq!(engine.ok(&["volume", "rm", "-f", "none"]), "none");
    insta::assert_snapshot!(engine.fails(&["volume", "inspect", "none"]), @"1 Error: get none: no such volume");
    insta::assert_snapshot!(engine.fails(&["volume", "create", "a/b"]), @r#"1 Error: create a/b: "a/b" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path"#);
    insta::assert_snapshot!(engine.fails(&["volume", "create", "a"]), @"1 Error: create a: volume name is too short, names should be at least two alphanumeric characters");
    insta::assert_snapshot!(engine.fails(&["volume", "create", "--driver", "nfs", "x"]), @r#"1 Error: create x: error looking up volume plugin nfs: plugin "nfs" not found: local is the one driver that volumes can have here"#);
    insta::assert_snapshot!(engine.fails(&["volume", "create", "-o", "o=size=1m", "-o", "device=tmpfs", "x"]), @r#"1 Error: missing required option: "type""#);
    insta::assert_snapshot!(engine.fails(&["volume", "create", "-o", "colour=red", "x"]), @r#"1 Error: invalid option: "colour""#);
    engine.ok(&["rm", "box"]);
    assert_eq!(engine.ok(&["volume", "rm", "one"]), "one");
    assert_eq!(volumes(&engine), [""; 0]);
}

#[test]
fn a_volume_that_is_a_directory_of_the_hosts() {
    let engine = engine();
    let host = engine.folder().join("host");
    fs::create_dir(&host).unwrap();
    let device = format!("device={}", host.display());
    engine.ok(&["volume", "create", "-o", "type=none", "-o", "o=bind", "-o", &device, "bound"]);
    engine.ok(&["run", "--rm", "-v", "bound:/data", "app", "touch", "/data/x"]);
    assert_eq!(Engine::entries(&host), ["x"]);
    engine.ok(&["volume", "rm", "bound"]);
    assert_eq!(Engine::entries(&host), ["x"]);
}

#[test]
fn pruning_tells_what_is_gone_though_not_all_is() {
    let engine = Engine::with_busybox();
    for name in ["aa", "bb", "cc"] {
        engine.ok(&["volume", "create", name]);
    }
    // What is mounted there cannot be removed.
    let inside = data(&engine, "bb").join("inside");
    fs::create_dir(&inside).unwrap();
    mounts::in_memory(&inside);
    let output = engine.run(&["volume", "prune", "-a", "-f"]);
    mounts::forget(&engine.data().join("volumes/.gone-bb/_data/inside"));
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.starts_with("Deleted Volumes:\naa\ncc\n\nTotal reclaimed space: "), "{said}");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("EBUSY") && errors.lines().count() == 1, "{errors}");
    assert_eq!(volumes(&engine), [""; 0]);
}

#[test]
fn pruning_takes_what_nobody_named_and_nobody_uses() {
    let engine = Engine::with_busybox();
    let random = engine.ok(&["volume", "create"]);
    fs::write(data(&engine, &random).join("x"), [0; 2000]).unwrap();
    engine.ok(&["volume", "create", "--label", "keep", "kept"]);
    engine.ok(&["volume", "create", "named"]);
    engine.ok(&["create", "--name", "box", "-v", "used:/x", "-v", "/y", "busybox"]);
    let mut asked = engine.command(&["volume", "prune"]);
    let mut asked = asked.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut asked.stdin.take().unwrap(), b"n\n").unwrap();
    insta::assert_snapshot!(String::from_utf8_lossy(&asked.wait_with_output().unwrap().stdout), @r#"
    WARNING! This will remove anonymous local volumes not used by at least one container.
    Are you sure you want to continue? [y/N]
    "#);
    assert_eq!(volumes(&engine).len(), 5);
    insta::assert_snapshot!(engine.ok(&["volume", "prune", "-f"]).replace(&random, "<RANDOM>"), @r#"
    Deleted Volumes:
    <RANDOM>

    Total reclaimed space: 2kB
    "#);
    insta::assert_snapshot!(engine.ok(&["volume", "prune", "-f", "-a", "--filter", "label!=keep"]), @r#"
    Deleted Volumes:
    named

    Total reclaimed space: 0B
    "#);
    insta::assert_snapshot!(engine.ok(&["volume", "prune", "-f", "--filter", "label=keep"]), @"Total reclaimed space: 0B");
    assert_eq!(volumes(&engine).len(), 3);
}

/// What a command that is killed leaves, by hand.
#[test]
fn a_copy_that_broke_off_is_made_again_or_finished() {
    let engine = engine();
    engine.ok(&["volume", "create", "made"]);
    let volume = engine.data().join("volumes/made");
    fs::create_dir(volume.join("_filling")).unwrap();
    fs::write(volume.join("_filling/file"), "a part").unwrap();
    assert_eq!(engine.ok(&["run", "--rm", "-v", "made:/data", "app", "cat", "/data/file"]), "from the image");
    // Complete, and some of it is where it belongs.
    fs::create_dir(volume.join("_filled")).unwrap();
    fs::rename(volume.join("_data/deep"), volume.join("_filled/deep")).unwrap();
    assert_eq!(engine.ok(&["run", "--rm", "-v", "made:/data", "busybox", "ls", "/data"]), "deep\nfile\nlink");
    // A directory without a record is no volume.
    fs::create_dir_all(engine.data().join("volumes/begun/_data")).unwrap();
    assert_eq!(volumes(&engine), ["made"]);
    assert_eq!(
        engine.ok(&["run", "--rm", "-v", "begun:/data", "app", "cat", "/data/file"]),
        "from the image"
    );
    assert_eq!(Engine::entries(&volume), ["_data", "volume.json"]);
}

#[test]
fn commands_that_make_use_and_remove_one_volume_at_once() {
    let engine = engine();
    for _ in 0..8 {
        let commands = [
            &["volume", "create", "vv"][..],
            &["volume", "rm", "-f", "vv"],
            &["create", "--name", "box", "-v", "vv:/data", "app"],
            &["volume", "prune", "-a", "-f"],
        ];
        let commands = commands
            .map(|words| engine.command(words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        let [create, _, container, _] = commands.map(|mut command| command.wait().unwrap().code());
        assert_eq!((create, container), (Some(0), Some(0)));
        // Whatever the order was, the container has its volume.
        assert_eq!(volumes(&engine), ["vv"]);
        assert_eq!(fs::read_to_string(data(&engine, "vv").join("file")).unwrap(), "from the image");
        engine.ok(&["rm", "box"]);
        engine.ok(&["volume", "rm", "vv"]);
    }
    assert_eq!(Engine::entries(&engine.data().join("volumes")), [""; 0]);
    assert!(fs::metadata(engine.data().join("volumes")).unwrap().mode() & 0o777 == 0o700);
}
