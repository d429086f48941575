//! What the layers hold.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use super::catalogue::Layer;
use crate::registry::tar;
use crate::{debian, stdout};

/// A layer's uncompressed tar.
pub(super) fn layer(layer: Layer) -> Vec<u8> {
    let read = |path| fs::read(path).expect("a layer that was made");
    match layer {
        Layer::Debian => read(debian::base()),
        Layer::Procps => read(debian::procps()),
        Layer::Redis => read(debian::redis()),
        Layer::Busybox => busybox(),
        Layer::Tutorial => page("tutorial/index.html", "Getting started", "The tutorial would begin here."),
        Layer::First => page("index.html", "A demo", "Version 1"),
        Layer::Second => page("index.html", "A demo", "Version 2"),
        Layer::Postgres => read(debian::postgres()),
        Layer::PostgresEntry => script("docker-entrypoint.sh", POSTGRES),
        Layer::Whale => script("cowsay", WHALE),
    }
}

/// Makes a database if there is none, as PostgreSQL's image does, and becomes the server.
const POSTGRES: &str = r#"#!/bin/sh
set -e
data=/var/lib/postgresql/data
PATH=$PATH:$(echo /usr/lib/postgresql/*/bin)
if [ "$(id -u)" = 0 ]; then
    mkdir -p $data
    chown postgres: $data
    chmod 700 $data
    exec setpriv --reuid postgres --regid postgres --init-groups "$0"
fi
if ! [ -e $data/PG_VERSION ]; then
    if [ -z "$POSTGRES_PASSWORD" ]; then
        echo 'Error: Database is uninitialized and superuser password is not specified.' >&2
        exit 1
    fi
    umask 077
    echo "$POSTGRES_PASSWORD" > /tmp/password
    initdb --no-sync --pgdata $data --auth-local trust --auth-host scram-sha-256 --pwfile /tmp/password
    rm /tmp/password
    echo 'host all all all scram-sha-256' >> $data/pg_hba.conf
fi
exec postgres -D $data -c listen_addresses='*' -c unix_socket_directories=/tmp
"#;

/// A whale that says what it is told.
const WHALE: &str = r#"#!/bin/sh
text="$*"
line=$(printf '%s' "$text" | sed 's/./-/g')
printf ' -%s-\n< %s >\n -%s-\n' "$line" "$text" "$line"
cat <<'END'
   \
    \    ____
     \__/    \_______/|
     |  o            <
      \______________\|
END
"#;

/// A tar with a program in `/usr/local/bin`.
fn script(name: &str, text: &str) -> Vec<u8> {
    tar(&[(&format!("usr/local/bin/{name}"), text.as_bytes())])
}

/// A tar with a page in `/www`.
fn page(path: &str, title: &str, text: &str) -> Vec<u8> {
    let page = format!("<!doctype html>\n<title>{title}</title>\n<h1>{title}</h1>\n<p>{text}\n");
    tar(&[(&format!("www/{path}"), page.as_bytes())])
}

/// A root with busybox under the names of everything that it can do, and with root and nobody as users.
fn busybox() -> Vec<u8> {
    const BUSYBOX: &str = "/bin/busybox";
    let folder = tempfile::tempdir().expect("a temporary directory");
    let root = folder.path();
    for directory in ["bin", "etc", "home", "root", "tmp", "var"] {
        fs::create_dir(root.join(directory)).expect("a fresh directory");
    }
    for (directory, mode) in [("", 0o755), ("root", 0o700), ("tmp", 0o1777)] {
        fs::set_permissions(root.join(directory), fs::Permissions::from_mode(mode))
            .expect("our own directory");
    }
    fs::copy(BUSYBOX, root.join("bin/busybox")).expect("busybox-static is installed");
    for applet in stdout(Command::new(BUSYBOX).arg("--list")).lines().filter(|applet| *applet != "busybox") {
        symlink("busybox", root.join("bin").join(applet)).expect("a fresh directory");
    }
    let write = |path: &str, text| fs::write(root.join(path), text).expect("a fresh directory");
    write("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n");
    write("etc/group", "root:x:0:\nnogroup:x:65534:\n");
    let mut tar = Command::new("tar");
    tar.args(["--sort=name", "--mtime=@0", "--numeric-owner", "--owner=0", "--group=0", "-cf", "-", "."]);
    let done = crate::output(tar.current_dir(root));
    assert!(done.status.success(), "tar: {}", String::from_utf8_lossy(&done.stderr));
    done.stdout
}
