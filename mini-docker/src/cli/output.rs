//! How lists are printed: a table, a template, or JSON.

use std::collections::BTreeMap;

use mini_docker::format::{table, template::Template};
use mini_docker::{Error, Result};
use serde_json::Value;

/// A list's columns: the heading of each, and the template field it shows.
pub(crate) type Columns = &'static [(&'static str, &'static str)];

/// Prints `rows` in the user's format: `table` with `columns` by default; `table TEMPLATE`; `json`, an object a line; or a
/// template, rendered once for each row. `headings` are those of all fields.
pub(crate) fn list(format: Option<&str>, columns: Columns, headings: Columns, rows: &[Value]) -> Result<()> {
    match format {
        None | Some("" | "table") => {
            let heading = columns.iter().map(|(heading, _)| (*heading).to_owned()).collect();
            let cells = |row: &Value| columns.iter().map(|(_, field)| cell(row, field)).collect();
            let lines: Vec<Vec<String>> = std::iter::once(heading).chain(rows.iter().map(cells)).collect();
            print!("{}", table::layout(&lines));
        }
        Some("json") => rows.iter().for_each(|row| println!("{row}")),
        Some(text) => {
            // The shell passes `\t` on as it is.
            let text = text.replace("\\t", "\t").replace("\\n", "\n");
            let (with_heading, text) =
                text.strip_prefix("table").map_or((false, text.as_str()), |rest| (true, rest.trim_start()));
            let template = Template::parse(text)?;
            let mut lines = Vec::new();
            if rows.is_empty() {
                // A field that there is not is an error all the same.
                let no_row = headings.iter().map(|(_, field)| ((*field).to_owned(), "".into())).collect();
                template.render(&Value::Object(no_row))?;
            }
            if with_heading {
                let names = template.fields();
                lines.push(names.iter().map(|name| heading(headings, name)).collect::<Result<Vec<_>>>()?);
            }
            for row in rows {
                let line = template.render(row)?;
                if with_heading {
                    lines.push(line.split('\t').map(str::to_owned).collect());
                } else {
                    println!("{line}");
                }
            }
            print!("{}", table::layout(&lines));
        }
    }
    Ok(())
}

fn cell(row: &Value, field: &str) -> String {
    row[field].as_str().map_or_else(|| row[field].to_string(), str::to_owned)
}

fn heading(headings: Columns, field: &str) -> Result<String> {
    let known = headings.iter().find(|(_, name)| *name == field);
    known
        .map(|(heading, _)| (*heading).to_owned())
        .ok_or_else(|| Error::new(format!("template: there is no field {field:?}")))
}

/// A filter, `key=value`; Docker's wording for a bad one.
pub(crate) fn filter<'a>(text: &'a str, known: &[&str]) -> Result<(&'a str, &'a str)> {
    let (key, value) = text.split_once('=').ok_or_else(|| {
        Error::new(format!("invalid argument \"{text}\" for \"-f, --filter\" flag: invalid filter '{text}'"))
    })?;
    if known.contains(&key) { Ok((key, value)) } else { Err(Error::new(format!("invalid filter '{key}'"))) }
}

/// `text`, or as much of it as fits `length` with an ellipsis at the end.
pub(crate) fn shorten(text: &str, length: usize) -> String {
    if text.chars().count() <= length {
        return text.to_owned();
    }
    text.chars().take(length - 1).chain(['…']).collect()
}

/// Whether `labels` has what a filter wants: `KEY`, or `KEY=VALUE`.
pub(crate) fn has_label(labels: &BTreeMap<String, String>, wanted: &str) -> bool {
    match wanted.split_once('=') {
        Some((key, value)) => labels.get(key).is_some_and(|found| found == value),
        None => labels.contains_key(wanted),
    }
}

/// Whether `labels` passes the filters of a `prune`: it has all of `label`, and none of `label!`.
pub(crate) fn keeps_labels(labels: &BTreeMap<String, String>, filters: &[(&str, &str)]) -> bool {
    filters.iter().all(|(key, wanted)| match *key {
        "label" => has_label(labels, wanted),
        "label!" => !has_label(labels, wanted),
        _ => true,
    })
}
