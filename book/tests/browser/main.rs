//! The built book in a real browser.

mod driver;

use std::fs;
use std::path::{Path, PathBuf};

use driver::Browser;

/// A telephone's page is this wide.
const NARROW: u32 = 390;

/// Builds the book, into a place that no other test builds it in, and returns the folder of its pages.
fn pages() -> tempfile::TempDir {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a folder of the repository");
    let folder = tempfile::tempdir().expect("a temporary directory");
    book::build::build_in(root, folder.path()).expect("the book is right");
    folder
}

fn chapters(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).expect("the built book").map(|file| file.expect("a file").path());
    let mut chapters: Vec<PathBuf> = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "html"))
        .filter(|path| !path.ends_with("toc.html"))
        .collect();
    chapters.sort();
    chapters
}

#[test]
fn every_page_loads_and_fits_a_narrow_screen() {
    let folder = pages();
    let (wide, narrow) = (Browser::open(1280, 900), Browser::open(NARROW, 800));
    let chapters = chapters(folder.path());
    assert!(chapters.len() > 2, "{chapters:?}");
    for chapter in chapters {
        for browser in [&wide, &narrow] {
            browser.visit(&chapter);
            browser.until("document.readyState === 'complete' && document.querySelector('main h1')");
            assert_eq!(browser.errors(), Vec::<String>::new(), "{}", chapter.display());
        }
        let width = narrow.run("return document.documentElement.scrollWidth");
        assert!(width.as_u64() <= Some(NARROW.into()), "{} is {width} wide", chapter.display());
    }
}

#[test]
fn search_finds_themes_switch_and_code_copies() {
    let folder = pages();
    let browser = Browser::open(1280, 900);
    browser.visit(&folder.path().join("01-chroot.html"));

    browser.run("document.getElementById('mdbook-search-toggle').click()");
    browser.run(
        "const bar = document.getElementById('mdbook-searchbar'); bar.value = 'pivot_root'; \
         bar.dispatchEvent(new KeyboardEvent('keyup', {key: 't'}));",
    );
    browser.until("document.querySelector('#mdbook-searchresults li a')");
    let found = browser.run("return document.getElementById('mdbook-searchresults').textContent");
    assert!(found.as_str().is_some_and(|text| text.contains("pivot_root")), "{found}");

    let colour = "return getComputedStyle(document.documentElement).getPropertyValue('--bg')";
    browser.run("document.getElementById('mdbook-theme-light').click()");
    let light = browser.run(colour);
    browser.run("document.getElementById('mdbook-theme-navy').click()");
    assert_ne!(browser.run(colour), light);
    // Pictures go with it.
    let line = "return getComputedStyle(document.querySelector('figure.picture svg rect')).stroke";
    let dark = browser.run(line);
    browser.run("document.getElementById('mdbook-theme-light').click()");
    assert_ne!(browser.run(line), dark);

    browser.click("figure.listing pre", "figure.listing .clip-button");
    browser.until("document.querySelector('figure.listing .clip-button').textContent === 'Copied!'");
    let code = browser.run("return document.querySelector('figure.listing pre code').textContent");
    assert!(code.as_str().is_some_and(|code| code.contains("fn main()")), "{code}");
    assert_eq!(browser.errors(), Vec::<String>::new());
}
