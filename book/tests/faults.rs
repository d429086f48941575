//! Each kind of fault that a book can have fails its build, by name.

use std::fs;
use std::path::Path;

use book::build::build;
use tempfile::TempDir;

const CODE: &str = "//! A step.\n\n/// Adds.\npub fn add(a: u8, b: u8) -> u8 {\n    // ANCHOR: sum\n    a + b\n    // ANCHOR_END: sum\n}\n";
const CHAPTER: &str = "# One\n\n{{#code steps/11-sums/src/lib.rs#add}}\n\n{{#code steps/11-sums/src/lib.rs:sum}}\n\n\
                       {{#file steps/11-sums/src/lib.rs}}\n\n[here](#one)\n\n```console\n# true\n```\n\n\
                       {{#treats C000-001}}\n\nSums.\n\n{{#points C000}}\n";
const POINTS: &str = "number\tkind\ttopic\tarea\twaits for\nC000-001\tconcept\tSums of <a> | `<b>`\trun\t\n\
                      C000-002\tflag\tProducts\trun\tmultiplication\nC000-003\tcommand\tcount\trun\t\n";
const LAB: &str = "title = \"Counting\"\ncovers = [\"C000-003\"]\n";

/// A repository with a single step and a single chapter.
fn repository() -> TempDir {
    let root = tempfile::tempdir().expect("a temporary directory");
    for (path, text) in [
        ("book/book.toml", include_str!("../book.toml")),
        ("book/theme/book.css", ""),
        ("book/chapters/SUMMARY.md", "# Summary\n\n- [One](one.md)\n- [Courses](courses.md)\n"),
        ("book/chapters/courses.md", "# Courses\n"),
        ("book/course/points.tsv", POINTS),
        ("labs/course/docker-101/1-counting/lab.toml", LAB),
        ("labs/course/docker-101/1-counting/lab.md", "# Counting\n\n```console\n# seq 3\n```\n"),
        ("book/chapters/one.md", CHAPTER),
        ("steps/11-sums/src/lib.rs", CODE),
    ] {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().expect("it has one")).expect("our own directory");
        fs::write(path, text).expect("our own directory");
    }
    root
}

/// What the builder says when `old` is `new` in a file.
fn fault(file: &str, old: &str, new: &str) -> String {
    let root = repository();
    let path = root.path().join(file);
    let text = fs::read_to_string(&path).expect("our own file");
    assert!(text.contains(old), "{old}");
    fs::write(path, text.replace(old, new)).expect("our own file");
    format!("{:#}", build(root.path()).expect_err("the book is wrong"))
}

#[test]
fn a_book_that_is_right() {
    let root = repository();
    let pages = build(root.path()).unwrap();
    let page = fs::read_to_string(pages.join("one.html")).unwrap();
    for shown in ["lines 3–8", "source/steps/11-sums/src/lib.rs.txt", "<summary>", "as root"] {
        assert!(page.contains(shown), "{shown}");
    }
    for shown in [
        "<td>Sums of &lt;a&gt; | <code>&lt;b&gt;</code></td>",
        "<a href=\"one.html#C000-001\">One</a>",
        "<em>to come, with multiplication</em>",
        "<a href=\"labs/docker-101/1-counting.html\">Lab: Counting</a>",
    ] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    assert!(fs::read_to_string(pages.join("labs/docker-101/1-counting.html")).unwrap().contains("as root"));
    assert_eq!(fs::read_to_string(pages.join("source/steps/11-sums/src/lib.rs.txt")).unwrap(), CODE);
}

#[test]
fn faults() {
    let chapter = "book/chapters/one.md";
    let code = "steps/11-sums/src/lib.rs";
    let faults = [
        ("a renamed item", fault(code, "fn add", "fn plus")),
        ("a renamed anchor", fault(code, "ANCHOR: sum", "ANCHOR: total")),
        (
            "a deleted file",
            fault(chapter, "{{#file steps/11-sums/src/lib.rs}}", "{{#file steps/11-sums/src/gone.rs}}"),
        ),
        ("a line that is not shown", fault(chapter, "{{#file steps/11-sums/src/lib.rs}}", "")),
        ("a dead link", fault(chapter, "(#one)", "(#two)")),
        ("a dead page", fault(chapter, "(#one)", "(two.md)")),
        ("a dead link right after a directive", fault(chapter, "\n\n[here](#one)", "\n[here](#two)")),
        ("an unknown directive", fault(chapter, "{{#file ", "{{#include ")),
        ("a directive within a line", fault(chapter, "{{#file ", "see {{#file ")),
        ("a point that is treated nowhere", fault(chapter, "{{#treats C000-001}}", "")),
        ("a point of no course", fault(chapter, "C000-001", "C000-009")),
        ("a point that is treated and to come", fault(chapter, "C000-001", "C000-001, C000-002")),
        ("a point twice", fault("book/course/points.tsv", "C000-002", "C000-001")),
        ("no such course", fault(chapter, "points C000", "points C009")),
        (
            "a lab of what no course shows",
            fault("labs/course/docker-101/1-counting/lab.toml", "C000-003", "C000-009"),
        ),
        ("no chapter for the labs", fault("book/chapters/SUMMARY.md", "- [Courses](courses.md)\n", "")),
        ("no such figure", fault(chapter, "[here]", "{{#figure none A picture.}}\n\n[here]")),
    ];
    let faults: String = faults.iter().map(|(name, said)| format!("{name}\n    {said}\n")).collect();
    insta::assert_snapshot!(faults);
}

/// The book itself.
#[test]
fn the_book() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a folder of the repository");
    build(root).unwrap();
}
