//! What is taken out of containers, and put into them: `cp`, `diff`, `commit`, `export`.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use testbed::engine::Engine;
use testbed::{output, stdout};

/// An engine with a container `running`, that runs, and one `stopped`, that does not; and `file` and `tree` in its folder.
fn engine() -> Engine {
    let engine = Engine::with_busybox();
    let folder = engine.folder();
    fs::write(folder.join("file"), "from the host").expect("a folder of our own");
    fs::create_dir_all(folder.join("tree/deep")).expect("a folder of our own");
    fs::write(folder.join("tree/deep/leaf"), "leaf").expect("a folder of our own");
    symlink("/etc/passwd", folder.join("tree/link")).expect("a folder of our own");
    let options = ["-v", "data:/data", "-v", "./tree:/bind:ro", "--tmpfs", "/t"];
    let setup = "mkdir /dir; echo inside > /dir/a; ln -s /dir /to-dir; ln -s a /dir/to-a; chown 1000:2000 /dir/a; \
                 chmod 4755 /dir/a; echo in the volume > /data/x";
    engine.ok(&[&["run", "--name", "stopped"][..], &options, &["busybox", "sh", "-c", setup]].concat());
    let line = format!("{setup}; echo memory > /t/x; echo ready; sleep 1000");
    engine.ok(&[&["run", "-d", "--name", "running"][..], &options, &["busybox", "sh", "-c", &line]].concat());
    testbed::until("it is ready", || engine.ok(&["logs", "running"]) == "ready");
    engine
}

/// What `cp` does is seen by copying back.
fn tree(engine: &Engine, path: &str) -> String {
    let mut copy = engine.command(&["cp", path, "-"]);
    let tar = output(&mut copy);
    assert!(tar.status.success(), "{path}: {}", String::from_utf8_lossy(&tar.stderr));
    let mut list = Command::new("tar");
    let mut list = list.arg("t").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("tar is there");
    std::io::Write::write_all(&mut list.stdin.take().expect("it is a pipe"), &tar.stdout).expect("it reads");
    let listed = list.wait_with_output().expect("it ends");
    String::from_utf8_lossy(&listed.stdout).trim_end().replace('\n', " ")
}

#[test]
fn files_go_in_and_out() {
    let engine = engine();
    let back = engine.folder().join("back");
    for name in ["running", "stopped"] {
        let at = |path: &str| format!("{name}:{path}");
        let copy = |from: &str, to: &str| engine.ok(&["cp", from, to]);
        copy("file", &at("/new"));
        copy("file", &at("/dir"));
        copy("file", &at("/to-dir/renamed"));
        copy("file", &at("data/file"));
        assert_eq!(tree(&engine, &at("/dir")), "dir/ dir/a dir/file dir/renamed dir/to-a");
        copy(&at("/new"), "back");
        assert_eq!(fs::read_to_string(&back).unwrap(), "from the host");
        copy(&at("/dir/a"), "back");
        assert_eq!(fs::read_to_string(&back).unwrap(), "inside\n", "a file is replaced");
        copy(&at("/data/x"), "back");
        assert_eq!(fs::read_to_string(&back).unwrap(), "in the volume\n");
        copy(&at("/bind/deep/leaf"), "back");
        assert_eq!(fs::read_to_string(&back).unwrap(), "leaf");
        // A directory: with its name into one that is there, under another name where there is none, or what is in it.
        copy("tree", &at("/dir"));
        copy("tree", &at("/other"));
        copy("tree/.", &at("/dir"));
        assert_eq!(tree(&engine, &at("/other")), "other/ other/deep/ other/deep/leaf other/link");
        assert_eq!(
            tree(&engine, &at("/to-dir/")),
            "to-dir/ to-dir/a to-dir/deep/ to-dir/deep/leaf to-dir/file to-dir/link to-dir/renamed to-dir/to-a \
             to-dir/tree/ to-dir/tree/deep/ to-dir/tree/deep/leaf to-dir/tree/link"
        );
        copy(&at("/other/."), "out");
        copy(&at("/other"), "out");
        assert_eq!(Engine::entries(&engine.folder().join("out")), ["deep", "link", "other"]);
        fs::remove_dir_all(engine.folder().join("out")).unwrap();
        fs::remove_file(&back).unwrap();
        // A link is copied as what it is, or with -L as what it leads to, in the container.
        copy(&at("/dir/to-a"), "back");
        assert_eq!(fs::read_link(&back).unwrap(), Path::new("a"));
        fs::remove_file(&back).unwrap();
        engine.ok(&["container", "cp", "-L", &at("/dir/to-a"), "back"]);
        assert_eq!(fs::read_to_string(&back).unwrap(), "inside\n");
        fs::remove_file(&back).unwrap();
        assert_eq!(tree(&engine, &at("/to-dir")), "to-dir");
        assert_eq!(tree(&engine, &at("/dir/.")).split(' ').next(), Some("./"));
    }
    // What is mounted while it runs; and what it writes is seen there.
    engine.ok(&["cp", "running:/t/x", "back"]);
    assert_eq!(fs::read_to_string(&back).unwrap(), "memory\n");
    engine.ok(&["pause", "running"]);
    engine.ok(&["cp", "file", "running:/t/y"]);
    engine.ok(&["unpause", "running"]);
    engine.ok(&["start", "-a", "stopped"]);
}

#[test]
fn archives_go_in_and_out() {
    let engine = engine();
    for (name, compress) in [("running", "-cf"), ("stopped", "-czf")] {
        let mut pack = Command::new("tar");
        stdout(
            pack.args(["--owner=7", "--group=8", "-C"])
                .arg(engine.folder())
                .arg(compress)
                .arg(engine.folder().join("tar"))
                .arg("file"),
        );
        let mut copy = engine.command(&["cp", "-", &format!("{name}:/dir")]);
        stdout(copy.stdin(fs::File::open(engine.folder().join("tar")).unwrap()));
        engine.ok(&["cp", "-a", &format!("{name}:/dir/file"), "back"]);
        let back = fs::metadata(engine.folder().join("back")).unwrap();
        assert_eq!((back.uid(), back.gid()), (7, 8));
    }
    let refused = engine.fails(&["cp", "-", "running:/dir/a"]);
    insta::assert_snapshot!(refused, @r#"1 Error: destination "running:/dir/a" must be a directory"#);
}

#[test]
fn whose_copies_are() {
    let engine = engine();
    let file = engine.folder().join("file");
    chown(&file, Some(5), Some(6)).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o6750)).unwrap();
    let seen = |path: &Path| {
        let metadata = fs::metadata(path).unwrap();
        format!("{}:{} {:o}", metadata.uid(), metadata.gid(), metadata.mode() & 0o7777)
    };
    for name in ["running", "stopped"] {
        let root = if name == "running" {
            format!("/proc/{}/root", engine.inspect(name, "{{.State.Pid}}"))
        } else {
            engine.inspect(name, "{{.GraphDriver.Data.UpperDir}}")
        };
        engine.ok(&["cp", "file", &format!("{name}:/given")]);
        engine.ok(&["cp", "-a", "file", &format!("{name}:/kept")]);
        assert_eq!(seen(&Path::new(&root).join("given")), "0:0 750");
        assert_eq!(seen(&Path::new(&root).join("kept")), "5:6 6750");
        // A program that ran as its owner must not run as who copied it.
        engine.ok(&["cp", &format!("{name}:/dir/a"), "given"]);
        engine.ok(&["cp", "-a", &format!("{name}:/dir/a"), "kept"]);
        assert_eq!(seen(&engine.folder().join("given")), "0:0 755");
        assert_eq!(seen(&engine.folder().join("kept")), "1000:2000 4755");
    }
}

#[test]
fn what_cannot_be_copied() {
    let engine = engine();
    engine.ok(&["create", "--name", "fixed", "--read-only", "-v", "data:/data", "busybox"]);
    let complaints: Vec<String> = [
        ["running:/none", "x"],
        ["stopped:/none", "x"],
        ["running:/dir/a/", "x"],
        ["running:/dir", "file"],
        ["running:/dir/a", "none/x"],
        ["running:/dir/a", "none/"],
        ["none", "running:/"],
        ["file", "running:/none/x"],
        ["file", "running:/none/"],
        ["file", "running:/dir/a/"],
        ["tree", "stopped:/dir/a"],
        ["file", "stopped:/bind"],
        ["file", "running:/bind/x"],
        ["file", "fixed:/x"],
        ["file", "none:/x"],
        ["running:/x", "stopped:/x"],
        ["file", "x"],
    ]
    .iter()
    .map(|[from, to]| {
        let said = engine.fails(&["cp", from, to]).replace(engine.folder().to_str().unwrap(), "<FOLDER>");
        format!("{from} {to}\n  {said}")
    })
    .collect();
    insta::assert_snapshot!(complaints.join("\n"));
    engine.ok(&["cp", "file", "fixed:/data"]);
    // In the tree, too, nothing is replaced by another kind.
    engine.ok(&["cp", "tree", "running:/data"]);
    fs::remove_dir_all(engine.folder().join("tree/deep")).unwrap();
    fs::write(engine.folder().join("tree/deep"), "").unwrap();
    insta::assert_snapshot!(engine.fails(&["cp", "tree", "running:/data"]), @r#"1 Error: cannot overwrite directory "tree/deep" with non-directory"#);
}

#[test]
fn what_a_container_changed() {
    let engine = Engine::with_busybox();
    let line = "echo new > /new; rm /etc/group; echo user >> /etc/passwd; mkdir -p /deep/er; touch /deep/er/x; rm -r /bin/yes; \
                echo more >> /etc/hosts; touch /dev/x /t/x; chmod 700 /bin; echo ready; sleep 1000";
    engine.ok(&["run", "-d", "--name", "box", "--tmpfs", "/t", "busybox", "sh", "-c", line]);
    testbed::until("it is ready", || engine.ok(&["logs", "box"]) == "ready");
    let running = engine.ok(&["diff", "box"]);
    insta::assert_snapshot!(running, @r#"
    C /bin
    D /bin/yes
    A /deep
    A /deep/er
    A /deep/er/x
    C /etc
    D /etc/group
    C /etc/passwd
    A /new
    A /t
    "#);
    engine.ok(&["kill", "box"]);
    assert_eq!(engine.ok(&["container", "diff", "box"]), running);
    engine.ok(&["run", "--name", "same", "busybox", "true"]);
    assert_eq!(engine.ok(&["diff", "same"]), "");
}

#[test]
fn an_image_of_what_a_container_changed() {
    let engine = Engine::with_busybox();
    let line =
        "echo new > /new; rm /etc/group; chown 5:6 /new; echo volume > /data/x; echo ready; sleep 1000";
    let options =
        ["--name", "box", "-e", "A=1", "-l", "k=v", "-w", "/srv", "-u", "0", "-p", "80", "-v", "/data"];
    engine.ok(&[&["run", "-d"][..], &options, &["busybox", "sh", "-c", line]].concat());
    testbed::until("it is ready", || engine.ok(&["logs", "box"]) == "ready");
    let id = engine.ok(&[
        "commit",
        "-a",
        "me",
        "-m",
        "a remark",
        "-c",
        "CMD [\"cat\", \"/new\"]",
        "-c",
        "ENV B=2",
        "box",
        "made:1",
    ]);
    assert_eq!(id, engine.inspect("made:1", "{{.Id}}"));
    assert_eq!(engine.inspect("box", "{{.State.Status}}"), "running", "it goes on");
    let look = "stat -c '%u:%g' /new; ls /etc/group /data 2>&1; pwd; echo $A$B";
    let seen = engine.ok(&["run", "--rm", "made:1", "sh", "-c", look]);
    assert_eq!(seen, "5:6\nls: /etc/group: No such file or directory\n/data:\n/srv\n12");
    assert_eq!(engine.ok(&["run", "--rm", "made:1"]), "new");
    insta::assert_snapshot!(
        engine.inspect("made:1", "{{json .Config}} {{.Author}} {{len .RootFS.Layers}}"), @r#"{"User":"0","ExposedPorts":{"80/tcp":{}},"Env":["A=1","B=2"],"Cmd":["cat","/new"],"Volumes":{"/data":{}},"WorkingDir":"/srv","Entrypoint":null,"Labels":{"k":"v"},"StopSignal":null,"OnBuild":null} me 2"#);
    // Of one that does not run; and what changed nothing has no layer.
    engine.ok(&["kill", "box"]);
    let again = engine.ok(&["commit", "--pause=false", "box"]);
    assert_eq!(engine.inspect(&again, "{{json .RootFS}}"), engine.inspect("made:1", "{{json .RootFS}}"));
    engine.ok(&["create", "--name", "same", "busybox"]);
    engine.ok(&["commit", "same", "unchanged"]);
    assert_eq!(
        engine.inspect("unchanged", "{{json .RootFS}}"),
        engine.inspect("busybox", "{{json .RootFS}}")
    );
    // A second layer on it, and all of it goes when it is removed.
    engine.ok(&["run", "--name", "more", "made:1", "sh", "-c", "rm /new; touch /more"]);
    engine.ok(&["commit", "more", "more"]);
    assert_eq!(
        engine.ok(&["run", "--rm", "more", "sh", "-c", "ls -d /new /more 2>/dev/null; true"]),
        "/more"
    );
    engine.ok(&["commit", "--change", "USER nobody", "more", "more"]);
    insta::assert_snapshot!(engine.fails(&["commit", "box", "class/Name"]), @"1 Error: invalid reference format: repository name (class/Name) must be lowercase");
    insta::assert_snapshot!(engine.fails(&["commit", "-c", "RUN x", "box"]), @"1 Error: invalid change 'RUN x': only CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME and WORKDIR are allowed");
}

#[test]
fn an_image_with_another_entrypoint_and_the_containers_check() {
    let engine = Engine::with_busybox();
    let check = ["--health-cmd", "true", "--health-interval", "1h"];
    engine.ok(&[&["create", "--name", "box", "-w", "/srv"], &check[..], &["busybox", "sleep", "1000"]].concat());
    engine.ok(&["commit", "box", "checked"]);
    engine.ok(&["run", "-d", "--name", "copy", "checked"]);
    assert_eq!(engine.inspect("copy", "{{.State.Health.Status}}"), "starting");
    let changes = ["-c", "ENTRYPOINT [\"pwd\"]", "-c", "WORKDIR www", "-c", "ENV A=1 B=\"two words\""];
    engine.ok(&[&["commit"], &changes[..], &["box", "told"]].concat());
    assert_eq!(
        engine.inspect("told", "{{json .Config.Cmd}} {{json .Config.Env}}"),
        r#"null ["A=1","B=two words"]"#
    );
    assert_eq!(engine.ok(&["run", "--rm", "told"]), "/srv/www");
}

#[test]
fn everything_as_one_archive() {
    let engine = engine();
    for name in ["running", "stopped"] {
        engine.ok(&["export", "-o", "all.tar", name]);
        let listed = stdout(
            Command::new("tar")
                .arg("-C")
                .arg(engine.folder())
                .arg("-tf")
                .arg(engine.folder().join("all.tar")),
        );
        let names: Vec<&str> = listed.lines().collect();
        for there in
            ["bin/busybox", "bin/sh", "dir/a", "etc/passwd", "etc/hosts", "data/", "dev/console", "proc/"]
        {
            assert!(names.contains(&there), "{name}: {there}");
        }
        for mounted in ["data/x", "bind/deep/", "proc/1/", "dev/null", "t/x"] {
            assert!(!names.contains(&mounted), "{name}: {mounted}");
        }
        // It is an image again.
        let mut export = engine.command(&["container", "export", name]);
        fs::write(engine.folder().join("out.tar"), output(&mut export).stdout).unwrap();
        assert_eq!(
            fs::read(engine.folder().join("out.tar")).unwrap().len(),
            fs::read(engine.folder().join("all.tar")).unwrap().len()
        );
        engine.ok(&["import", "all.tar", "again"]);
        assert_eq!(
            engine.ok(&["run", "--rm", "again", "sh", "-c", "cat /to-dir/a; stat -c %u:%a /dir/a"]),
            "inside\n1000:4755"
        );
    }
    assert!(Engine::entries(engine.folder()).iter().all(|name| !name.contains(".tmp")));
    insta::assert_snapshot!(engine.fails(&["export", "-o", "none/x", "stopped"]).replace(engine.folder().to_str().unwrap(), "<FOLDER>"), @"1 Error: cannot write none/x: ENOENT: No such file or directory");
}
