//! Transcripts are run as they are written, and what is not so is said.

use std::fs;
use std::path::Path;

use testbed::transcript::{Document, Setting, difference, replay};

/// What is told about a document that says something else than what happens.
fn report(text: &str) -> Option<String> {
    let document = Document::parse(text).expect("a good document");
    let seen = replay(&document, &Setting::default());
    difference::report(&document, "example.md", &seen)
}

const PLAIN: &str = "\
```console
# cd /var/lib/mini-docker && word=kept
# pwd | tr a-z A-Z; hostname; echo $$; id -un
/VAR/LIB/MINI-DOCKER
host
1
root
# mini-docker run --name=one hello > /dev/null; mini-docker ps -a
CONTAINER ID   IMAGE     COMMAND    CREATED                  STATUS                              PORTS     NAMES
3f2a9b0c1d2e   hello     \"/hello\"   Less than a second ago   Exited (0) Less than a second ago             one
```

Not run:

```text
# false
```

```console
# echo $word; echo also >&2; (exit 3)
kept
also
[exit 3]
# cat <<end
> two
> lines
> end
two
lines
# mini-docker inspect --format '{{.Name}}' 3f2a9b0c1d2e
/one
# mini-docker rm 3f2a9b0c1d2e
3f2a9b0c1d2e
```
";

#[test]
fn a_document_that_says_what_happens() {
    assert_eq!(report(PLAIN), None);
}

#[test]
fn a_changed_output_is_caught() {
    let text = PLAIN.replace("\nkept\n", "\nlost\n").replace("[exit 3]\n", "").replace("PORTS", "BAYS");
    let report = report(&text).expect("differences");
    // Its own lines, without those that depend on the run.
    let stable: String =
        report.lines().filter(|line| !line.contains("hello")).map(|line| format!("{line}\n")).collect();
    insta::assert_snapshot!(stable);
}

#[test]
fn an_ordinary_user_has_an_engine_too() {
    let text = "```console\n$ id -un; mini-docker volume create mine; mini-docker volume ls -q\nlearner\nmine\nmine\n\
                # mini-docker volume ls -q\n```\n";
    assert_eq!(report(text), None);
}

#[test]
fn what_is_typed_in_a_terminal() {
    let text = "\
```console,terminal
# PS1='/ # ' sh -i
/ # test -t 0 && echo terminal
terminal
/ # exit 4
[exit 4]
# bash --norc -i
bash-5.2# ⌃D
exit
# sh -c 'echo waits; exec sleep 1000'
waits
⌃C
[exit 130]
# echo goes on
goes on
```
";
    assert_eq!(report(text), None);
}

#[test]
fn only_what_differs_is_written_into_the_document() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("example.md");
    let text = PLAIN.replace("also\n[exit 3]\n", "[exit 4]\n");
    fs::write(&path, &text).expect("a fresh folder");
    let document = Document::read(&path);
    document.bless(&path, &replay(&document, &Setting::default()));
    assert_eq!(read(&path), PLAIN);
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("the document")
}
