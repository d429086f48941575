//! Tables with the columns as wide as their widest cell, as Go's tabwriter lays them out.

use std::io::Write;

/// The rows, the first being the heading: columns at least ten wide, of which three are space.
pub fn layout(rows: &[Vec<String>]) -> String {
    aligned(rows, 10)
}

/// The same with columns at least twenty wide, as those of `top` are.
pub fn wide(rows: &[Vec<String>]) -> String {
    aligned(rows, 20)
}

fn aligned(rows: &[Vec<String>], width: usize) -> String {
    const SPACE: usize = 3;
    // This library does not count the space into the least width, as Go does.
    let mut writer = tabwriter::TabWriter::new(Vec::new()).minwidth(width - SPACE).padding(SPACE);
    for row in rows {
        writeln!(writer, "{}", row.join("\t")).expect("a vector takes everything");
    }
    let bytes = writer.into_inner().expect("a vector takes everything");
    String::from_utf8(bytes).expect("cells are text")
}
