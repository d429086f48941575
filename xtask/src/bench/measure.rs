//! Interleaved rounds, medians, and the table.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::fs::MemfdFlags;

/// Between two runs: the kernel tears namespaces down after their last process has gone, and the next contender
/// should not pay for that.
const PAUSE: Duration = Duration::from_millis(5);

/// One way to do what is measured.
pub(super) struct Contender {
    /// What the table calls it.
    pub(super) name: &'static str,
    /// Does it once; the time that counts is what it returns, so that it can prepare and tidy around it.
    run: Box<dyn FnMut() -> Result<Duration>>,
}

impl Contender {
    /// A contender that times itself, with [`time`].
    pub(super) fn new(name: &'static str, run: impl FnMut() -> Result<Duration> + 'static) -> Self {
        Self { name, run: Box::new(run) }
    }

    /// A contender that is one command, the same in every round.
    pub(super) fn command(name: &'static str, mut command: Command) -> Self {
        Self::new(name, move || time(&mut command))
    }

    /// Runs it once.
    pub(super) fn once(&mut self) -> Result<Duration> {
        (self.run)()
    }
}

/// How long a command takes that must succeed. It gets no terminal and no input.
pub(super) fn time(command: &mut Command) -> Result<Duration> {
    let program = Path::new(command.get_program()).display().to_string();
    // What it says goes to a file and not a pipe: a pipe would have to be read until whatever the command leaves
    // behind has closed it too.
    let said =
        rustix::fs::memfd_create("stderr", MemfdFlags::CLOEXEC).context("cannot make a file in memory")?;
    let mut said = File::from(said);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said.try_clone()?);
    let start = Instant::now();
    let status = command.status().with_context(|| format!("cannot run {program}"))?;
    let elapsed = start.elapsed();
    if !status.success() {
        let mut text = String::new();
        said.rewind()?;
        said.read_to_string(&mut text)?;
        bail!("{program}: {status}: {}", text.trim().lines().last().unwrap_or_default());
    }
    Ok(elapsed)
}

/// Runs all contenders in turn, `rounds` times; a column of times for each.
///
/// What else the machine does changes from second to second, so neighbours in time are compared. Every other round
/// goes backwards: each contender then follows different ones.
pub(super) fn interleave(contenders: &mut [Contender], rounds: u32) -> Result<Vec<Vec<Duration>>> {
    let mut times = vec![Vec::new(); contenders.len()];
    for round in 0..rounds {
        for place in 0..contenders.len() {
            let index = if round % 2 == 0 { place } else { contenders.len() - 1 - place };
            std::thread::sleep(PAUSE);
            let contender = &mut contenders[index];
            let elapsed =
                contender.once().with_context(|| format!("{} failed in round {round}", contender.name))?;
            times[index].push(elapsed);
        }
    }
    Ok(times)
}

/// The table: a row for each contender, and a column of ratios for each of `references`, which are row numbers.
pub(super) fn table(names: &[&str], times: &[Vec<Duration>], references: &[usize]) -> String {
    let mut rows = vec![vec!["what".to_owned(), "median ms".to_owned(), "min ms".to_owned()]];
    rows[0].extend(references.iter().map(|&reference| format!("/ {}", names[reference])));
    for (name, column) in names.iter().zip(times) {
        let milliseconds: Vec<f64> = column.iter().map(|time| time.as_secs_f64() * 1000.0).collect();
        let least = milliseconds.iter().copied().fold(f64::INFINITY, f64::min);
        let mut row = vec![(*name).to_owned(), format!("{:.2}", median(milliseconds)), format!("{least:.2}")];
        row.extend(references.iter().map(|&reference| format!("{:.2}", ratio(column, &times[reference]))));
        rows.push(row);
    }
    align(&rows)
}

/// The median of the ratios within each round.
fn ratio(times: &[Duration], reference: &[Duration]) -> f64 {
    median(times.iter().zip(reference).map(|(time, reference)| time.div_duration_f64(*reference)).collect())
}

/// The middle value, or the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) {
        f64::midpoint(values[middle - 1], values[middle])
    } else {
        values[middle]
    }
}

/// The first column to the left, the numbers to the right.
fn align(rows: &[Vec<String>]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let line = |row: &Vec<String>| {
        let cells = row.iter().enumerate().map(|(column, cell)| match width(column) {
            width if column == 0 => format!("{cell:<width$}"),
            width => format!("{cell:>width$}"),
        });
        cells.collect::<Vec<_>>().join("  ") + "\n"
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table() {
        let times =
            |values: &[u64]| values.iter().map(|&value| Duration::from_millis(value)).collect::<Vec<_>>();
        // The second round was slow for everybody; the ratio of the pairs does not show it.
        let table = table(
            &["floor", "mini-docker", "other"],
            &[times(&[10, 100, 10]), times(&[15, 150, 15]), times(&[30, 400, 40])],
            &[0, 1],
        );
        let expected = "\
what         median ms  min ms  / floor  / mini-docker
floor            10.00   10.00     1.00           0.67
mini-docker      15.00   15.00     1.50           1.00
other            40.00   30.00     4.00           2.67
";
        assert_eq!(table, expected);
    }
}
