//! The five courses that can be followed with this book: which of the things that they show is treated where.
//!
//! What they show is listed in `book/course/points.tsv`, a point a line. A chapter says what it treats in the place where it
//! does ([`Directive::Treats`](crate::directive::Directive)); a lab of the courses says it in its `lab.toml`. The rest is
//! to come, and the list says with what.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

/// The list of points: number, kind, topic, area, and what a point waits for, if it is to come.
const POINTS: &str = "book/course/points.tsv";
/// The folders of the courses' labs, in the order of the courses.
const LABS: &str = "labs/course";
const COURSES: [&str; 5] =
    ["docker-101", "container-virtualization", "docker-deep-dive", "linux-containers", "docker-containers"];

/// All points, and where they are treated as far as it is known.
#[derive(Debug)]
pub struct Course {
    points: Vec<Point>,
    places: BTreeMap<String, Vec<Place>>,
}

/// One thing that a course shows.
#[derive(Debug)]
struct Point {
    /// Such as `C000-001`: the course, and which of its points.
    number: String,
    topic: String,
    /// What it waits for; empty if it does not wait.
    waits_for: String,
}

/// Where a point is treated.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    /// The page, from the book's root, as a chapter's file.
    page: PathBuf,
    /// What the link to it says.
    name: String,
}

/// A lab of one of the courses.
#[derive(Debug)]
pub struct Lab {
    /// Its page in the book.
    pub page: PathBuf,
    /// Its name.
    pub title: String,
    /// Its text.
    pub text: String,
}

/// What a lab says about itself, as far as the book is concerned.
#[derive(Debug, Deserialize)]
struct Description {
    title: String,
    covers: Vec<String>,
}

impl Course {
    /// The points of the repository at `root`, and the courses' labs, in their order.
    ///
    /// # Errors
    /// A file that cannot be read; a line that is no point; a point that is listed twice; a lab that covers what no course
    /// shows.
    pub fn read(root: &Path) -> Result<(Self, Vec<Lab>)> {
        let text = fs::read_to_string(root.join(POINTS)).with_context(|| format!("cannot read {POINTS}"))?;
        let mut course = Self { points: Vec::new(), places: BTreeMap::new() };
        for (line, text) in text.lines().enumerate().skip(1) {
            let point = Point::of(text).with_context(|| format!("{POINTS}, line {}", line + 1))?;
            let is_new = course.places.insert(point.number.clone(), Vec::new()).is_none();
            ensure!(is_new, "{POINTS}, line {}: {} is there already", line + 1, point.number);
            course.points.push(point);
        }
        let mut labs = Vec::new();
        for name in COURSES {
            for folder in lab_folders(&root.join(LABS).join(name))? {
                let shown = folder.strip_prefix(root).unwrap_or(&folder).display().to_string();
                labs.push(course.add_lab(&folder, name).context(shown)?);
            }
        }
        Ok((course, labs))
    }

    fn add_lab(&mut self, folder: &Path, course: &str) -> Result<Lab> {
        let description: Description = toml::from_str(&fs::read_to_string(folder.join("lab.toml"))?)?;
        let name = folder.file_name().context("it has no name")?.to_string_lossy().into_owned();
        let page = Path::new("labs").join(course).join(format!("{name}.md"));
        self.treat(&description.covers, &page, &format!("Lab: {}", description.title))?;
        Ok(Lab { page, title: description.title, text: fs::read_to_string(folder.join("lab.md"))? })
    }

    /// Notes that points are treated in a place.
    ///
    /// # Errors
    /// A point that no course has.
    pub fn treat(&mut self, points: &[String], page: &Path, name: &str) -> Result<()> {
        for point in points {
            let places =
                self.places.get_mut(point).with_context(|| format!("no course has a point {point}"))?;
            places.push(Place { page: page.to_owned(), name: name.to_owned() });
        }
        Ok(())
    }

    /// What is wrong with the list as a whole: points that are treated nowhere and wait for nothing, and points that do both.
    pub fn faults(&self) -> Vec<String> {
        let fault = |point: &Point| {
            let treated = !self.places[&point.number].is_empty();
            match (treated, point.waits_for.is_empty()) {
                (false, true) => Some(format!("treated nowhere: {}, {}", point.number, point.topic)),
                (true, false) => Some(format!("treated, and not to come any more: {}", point.number)),
                _ => None,
            }
        };
        self.points.iter().filter_map(fault).collect()
    }

    /// The table of the points whose numbers begin with `course`, for a page from which `up` leads to the book's root.
    ///
    /// # Errors
    /// A course that there is not.
    pub fn table(&self, course: &str, up: &str) -> Result<String> {
        let of_course = |point: &&Point| point.number.split('-').next() == Some(course);
        let rows: Vec<String> =
            self.points.iter().filter(of_course).map(|point| self.row(point, up)).collect();
        ensure!(!rows.is_empty(), "there is no course {course}");
        Ok(format!("| point | what | where |\n|---|---|---|\n{}", rows.join("\n")))
    }

    fn row(&self, point: &Point, up: &str) -> String {
        let links: Vec<String> =
            self.places[&point.number].iter().map(|place| place.link(point, up)).collect();
        let places = match point.waits_for.as_str() {
            "" => links.join("<br>"),
            waits_for => format!("*to come, with {waits_for}*"),
        };
        format!("| {} | {} | {places} |", point.number, escaped(&point.topic))
    }
}

impl Point {
    fn of(line: &str) -> Result<Self> {
        let fields: Vec<&str> = line.split('\t').collect();
        let &[number, _kind, topic, _area, waits_for] = fields.as_slice() else {
            bail!("a point has five fields: {line}");
        };
        Ok(Self { number: number.to_owned(), topic: topic.to_owned(), waits_for: waits_for.to_owned() })
    }
}

impl Place {
    /// A link to the very spot. A lab as a whole is one.
    fn link(&self, point: &Point, up: &str) -> String {
        let spot = if self.page.starts_with("labs") { String::new() } else { format!("#{}", point.number) };
        format!("[{}]({up}{}{spot})", escaped(&self.name), self.page.display())
    }
}

/// The spots that links to points lead to.
pub fn spots(points: &[String]) -> String {
    let spots: Vec<String> = points.iter().map(|point| format!("<span id=\"{point}\"></span>")).collect();
    format!("<div class=\"spots\">{}</div>\n", spots.concat())
}

/// Text in a table's cell, in which nothing but code has a meaning.
fn escaped(text: &str) -> String {
    let parts = text.split('`').enumerate().map(|(number, part)| match number % 2 {
        0 => part.replace('<', "&lt;").replace('*', "\\*").replace('_', "\\_"),
        _ => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("`").replace('|', "\\|")
}

/// The labs of one course, in their order; none of a course that has none yet.
fn lab_folders(course: &Path) -> Result<Vec<PathBuf>> {
    if !course.is_dir() {
        return Ok(Vec::new());
    }
    let failed = || format!("cannot read {}", course.display());
    let mut folders: Vec<PathBuf> = fs::read_dir(course)
        .with_context(failed)?
        .map(|entry| Ok(entry.with_context(failed)?.path()))
        .collect::<Result<_>>()?;
    let number = |folder: &PathBuf| {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.split('-').next().and_then(|number| number.parse::<u32>().ok()).unwrap_or(u32::MAX)
    };
    folders.sort_by_key(number);
    Ok(folders)
}
