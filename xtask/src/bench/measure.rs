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
    /// Does it once; what counts is what it returns, so that it can prepare and tidy around it.
    run: Box<dyn FnMut() -> Result<f64>>,
}

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// Times: the least is the best.
    Milliseconds,
    /// Rates: the most is.
    Gigabits,
}

impl Contender {
    /// A contender that times itself, with [`time`].
    pub(super) fn new(name: &'static str, mut run: impl FnMut() -> Result<Duration> + 'static) -> Self {
        Self { name, run: Box::new(move || Ok(run()?.as_secs_f64() * 1000.0)) }
    }

    /// A contender that counts the bytes it moves in a second.
    pub(super) fn rate(name: &'static str, mut run: impl FnMut() -> Result<f64> + 'static) -> Self {
        Self { name, run: Box::new(move || Ok(run()? * 8.0 / 1e9)) }
    }

    /// A contender that is one command, the same in every round.
    pub(super) fn command(name: &'static str, mut command: Command) -> Self {
        Self::new(name, move || time(&mut command))
    }

    /// Runs it once.
    pub(super) fn once(&mut self) -> Result<f64> {
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

/// Runs all contenders in turn, `rounds` times; a column of values for each.
///
/// What else the machine does changes from second to second, so neighbours in time are compared.
pub(super) fn interleave(contenders: &mut [Contender], rounds: u32) -> Result<Vec<Vec<f64>>> {
    let count = contenders.len();
    let mut values = vec![Vec::new(); count];
    for round in 0..rounds {
        for index in order(round as usize, count) {
            std::thread::sleep(PAUSE);
            let contender = &mut contenders[index];
            let value =
                contender.once().with_context(|| format!("{} failed in round {round}", contender.name))?;
            values[index].push(value);
        }
    }
    Ok(values)
}

/// In which order `count` contenders run in a round. The rounds begin with different ones, and every other one goes backwards:
/// so none follows always the same one, or itself, which would find its files in the processor's caches.
fn order(round: usize, count: usize) -> impl Iterator<Item = usize> {
    let step = move |place| if round.is_multiple_of(2) { place } else { count - 1 - place };
    (0..count).map(move |place| (round + step(place)) % count)
}

/// The table: a row for each contender, and a column of ratios for each of `references`, which are row numbers.
pub(super) fn table(unit: Unit, names: &[&str], values: &[Vec<f64>], references: &[usize]) -> String {
    let heading = match unit {
        Unit::Milliseconds => ["what", "median ms", "min ms"],
        Unit::Gigabits => ["what", "median Gbit/s", "max Gbit/s"],
    };
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    rows[0].extend(references.iter().map(|&reference| format!("/ {}", names[reference])));
    for (name, column) in names.iter().zip(values) {
        let best = match unit {
            Unit::Milliseconds => column.iter().copied().fold(f64::INFINITY, f64::min),
            Unit::Gigabits => column.iter().copied().fold(0.0, f64::max),
        };
        let mut row =
            vec![(*name).to_owned(), format!("{:.2}", median(column.clone())), format!("{best:.2}")];
        row.extend(references.iter().map(|&reference| format!("{:.2}", ratio(column, &values[reference]))));
        rows.push(row);
    }
    align(&rows)
}

/// The median of the ratios within each round.
fn ratio(values: &[f64], reference: &[f64]) -> f64 {
    median(values.iter().zip(reference).map(|(value, reference)| value / reference).collect())
}

/// The middle value, or the mean of the two in the middle.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) {
        f64::midpoint(values[middle - 1], values[middle])
    } else {
        values[middle]
    }
}

/// The first column to the left, the numbers to the right.
pub(super) fn align(rows: &[Vec<String>]) -> String {
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
        // The second round was slow for everybody; the ratio of the pairs does not show it.
        let times = [vec![10.0, 100.0, 10.0], vec![15.0, 150.0, 15.0], vec![30.0, 400.0, 40.0]];
        let table = table(Unit::Milliseconds, &["floor", "mini-docker", "other"], &times, &[0, 1]);
        let expected = "\
what         median ms  min ms  / floor  / mini-docker
floor            10.00   10.00     1.00           0.67
mini-docker      15.00   15.00     1.50           1.00
other            40.00   30.00     4.00           2.67
";
        assert_eq!(table, expected);
    }

    #[test]
    fn no_contender_follows_itself() {
        for count in 2..8 {
            let all: Vec<usize> = (0..3 * count).flat_map(|round| order(round, count)).collect();
            assert!(all.windows(2).all(|pair| pair[0] != pair[1]), "{count}: {all:?}");
            for round in all.chunks(count) {
                assert_eq!(round.iter().collect::<std::collections::BTreeSet<_>>().len(), count, "{round:?}");
            }
        }
    }

    #[test]
    fn a_table_of_rates() {
        let table = table(Unit::Gigabits, &["cable"], &[vec![10.0, 30.0]], &[]);
        assert_eq!(table, "what   median Gbit/s  max Gbit/s\ncable          20.00       30.00\n");
    }
}
