//! `top`: the processes of a container.

use std::process::{Command, Stdio};

use clap::Args;
use mini_docker::format::table;
use mini_docker::processes::{HEADINGS, Process, Table};
use mini_docker::{Engine, Error, Result};

/// What `top` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// ID or name, and options of the host's ps
    // One list, since what follows the container is for ps, however much it looks like an option of ours.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_names = ["CONTAINER", "PS OPTIONS"])]
    container_and_options: Vec<String>,
}

impl Options {
    /// Prints a line a process, with its number on the host.
    pub(crate) fn run(&self, engine: &Engine) -> Result<u8> {
        let (name, options) = self.container_and_options.split_first().expect("clap requires one");
        let processes = engine.processes(&engine.containers().find(name)?)?;
        let rows = if options.is_empty() { own_rows(&processes)? } else { rows_of_ps(options, &processes)? };
        print!("{}", table::wide(&rows));
        Ok(0)
    }
}

fn own_rows(processes: &[Process]) -> Result<Vec<Vec<String>>> {
    let table = Table::of_this_host()?;
    let heading = HEADINGS.map(str::to_owned).to_vec();
    Ok(std::iter::once(heading).chain(processes.iter().map(|process| table.row(process))).collect())
}

/// Those lines of `ps` that are about the container's processes.
fn rows_of_ps(options: &[String], processes: &[Process]) -> Result<Vec<Vec<String>>> {
    let pids: Vec<i32> = processes.iter().map(|process| process.pid).collect();
    let ps = |more: &[String]| {
        let done = Command::new("ps").args(options).args(more).stdin(Stdio::null()).output();
        done.map_err(|error| Error::kernel("run the host's ps (the package procps has it)", error))
    };
    // By itself it would show those of its own terminal. Some options, such as `f`, do not go with a choice of processes.
    let chosen: Vec<String> = pids.iter().map(ToString::to_string).collect();
    let mut output = ps(&[format!("-q{}", chosen.join(","))])?;
    if !output.status.success() {
        output = ps(&[])?;
    }
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Error::new(format!(
            "ps: {}",
            said.lines().next().unwrap_or("it failed, and did not say why")
        )));
    }
    choose(&String::from_utf8_lossy(&output.stdout), &pids)
}

/// The heading, and the lines whose column `PID` holds one of `pids`. What is longer than the heading belongs to the last
/// column.
fn choose(text: &str, pids: &[i32]) -> Result<Vec<Vec<String>>> {
    let mut lines = text.lines();
    let heading: Vec<String> =
        lines.next().unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    let column = heading.iter().position(|name| name == "PID");
    let column = column.ok_or_else(|| Error::new("Couldn't find PID field in ps output"))?;
    let last = heading.len() - 1;
    let mut rows = vec![heading];
    for line in lines {
        let words: Vec<&str> = line.split_whitespace().collect();
        let pid = words.get(column).and_then(|word| word.parse().ok());
        if pid.is_some_and(|pid: i32| pids.contains(&pid)) {
            let mut row: Vec<String> = words.iter().take(last).map(|&word| word.to_owned()).collect();
            row.push(words.get(last..).unwrap_or_default().join(" "));
            rows.push(row);
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_a_container() {
        let text = "  PID USER COMMAND\n    1 root /init\n   12 web  sh -c  a  b\n   13 web\n";
        let rows: Vec<String> =
            choose(text, &[12, 13]).unwrap().into_iter().map(|row| row.join(" | ")).collect();
        assert_eq!(rows, ["PID | USER | COMMAND", "12 | web | sh -c a b", "13 | web | "]);
        assert_eq!(
            choose("USER\nroot\n", &[1]).unwrap_err().to_string(),
            "Couldn't find PID field in ps output"
        );
    }
}
