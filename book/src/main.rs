//! `book`: builds the book, and says where its pages are.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let root =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package is a folder of the repository");
    match book::build::build(root) {
        Ok(pages) => {
            let first = pages.join("index.html");
            // Without the `..` that the settings have.
            println!("{}", first.canonicalize().unwrap_or(first).display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
