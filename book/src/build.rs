//! The whole book, from chapters to pages.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use mdbook_core::book::{Book, BookItem, Chapter};
use mdbook_driver::MDBook;
use mdbook_preprocessor::{Preprocessor, PreprocessorContext};

use crate::chapter::{Composer, Shown};
use crate::course::{Course, Lab};
use crate::{coverage, links, listing};

/// Builds the book of the repository at `root`, where its settings say. Returns the folder of its pages.
///
/// # Errors
/// As [`build_in`].
pub fn build(root: &Path) -> Result<PathBuf> {
    let book = MDBook::load(root.join("book"))?;
    let pages = book.build_dir_for("html");
    finish(book, root, &pages)?;
    Ok(pages)
}

/// Builds the book of the repository at `root` into `pages`.
///
/// # Errors
/// What a chapter asks for and is not there; links that lead nowhere; lines of the steps that no chapter shows; points of
/// the courses that none treats. All that can be told at once is.
pub fn build_in(root: &Path, pages: &Path) -> Result<()> {
    let mut book = MDBook::load(root.join("book"))?;
    pages.clone_into(&mut book.config.build.build_dir);
    finish(book, root, pages)
}

fn finish(mut book: MDBook, root: &Path, pages: &Path) -> Result<()> {
    let (course, labs) = Course::read(root)?;
    let composer = Arc::new(Mutex::new(Composer::new(root, course)));
    book.with_preprocessor(Composing { composer: Arc::clone(&composer), labs });
    book.build()?;
    let Composer { shown, course, .. } = &*composer.lock().unwrap_or_else(PoisonError::into_inner);
    copy_sources(root, pages, shown)?;
    let mut faults: Vec<String> =
        links::dead(pages)?.into_iter().map(|link| format!("dead link: {link}")).collect();
    faults.extend(coverage::gaps(root, shown)?.into_iter().map(|gap| format!("in no chapter: {gap}")));
    faults.extend(course.faults());
    if faults.is_empty() {
        return Ok(());
    }
    bail!("the book is not right:\n  {}", faults.join("\n  "))
}

/// Copies the files that listings lead to.
fn copy_sources(root: &Path, pages: &Path, shown: &Shown) -> Result<()> {
    for path in shown.keys() {
        let copy = pages.join(listing::SOURCES).join(format!("{}.txt", path.display()));
        fs::create_dir_all(copy.parent().expect("it is below the pages"))
            .and_then(|()| fs::copy(root.join(path), &copy))
            .with_context(|| format!("cannot copy {}", path.display()))?;
    }
    Ok(())
}

/// The chapter that the courses' labs are below.
const ABOVE_LABS: &str = "courses.md";

/// mdbook's idea of what a [`Composer`] does.
struct Composing {
    composer: Arc<Mutex<Composer>>,
    labs: Vec<Lab>,
}

impl Preprocessor for Composing {
    fn name(&self) -> &'static str {
        "composing"
    }

    fn run(&self, _: &PreprocessorContext, mut book: Book) -> Result<Book> {
        self.add_labs(&mut book)?;
        let mut composer = self.composer.lock().unwrap_or_else(PoisonError::into_inner);
        each_chapter(&mut book, |path, text| composer.compose(path, text))?;
        each_chapter(&mut book, |path, text| composer.complete(path, text))?;
        Ok(book)
    }
}

impl Composing {
    fn add_labs(&self, book: &mut Book) -> Result<()> {
        let mut found = self.labs.is_empty();
        book.for_each_mut(|item| {
            let BookItem::Chapter(above) = item else { return };
            if above.source_path.as_deref() != Some(Path::new(ABOVE_LABS)) {
                return;
            }
            found = true;
            above.sub_items.extend(self.labs.iter().map(|lab| {
                let parents = vec![above.name.clone()];
                BookItem::Chapter(Chapter::new(&lab.title, lab.text.clone(), &lab.page, parents))
            }));
        });
        if found { Ok(()) } else { bail!("there is no chapter {ABOVE_LABS} to put the courses' labs below") }
    }
}

/// Replaces the text of every chapter, by its file and the text it has.
fn each_chapter(book: &mut Book, mut new_text: impl FnMut(&Path, &str) -> Result<String>) -> Result<()> {
    let mut result = Ok(());
    book.for_each_mut(|item| {
        let BookItem::Chapter(chapter) = item else { return };
        let Some(path) = chapter.source_path.as_ref().filter(|_| result.is_ok()) else { return };
        match new_text(path, &chapter.content) {
            Ok(text) => chapter.content = text,
            Err(error) => result = Err(error),
        }
    });
    result
}
