//! What two runs of the same commands print differently, taken out by rule.

use std::sync::LazyLock;

use regex::{Captures, Match, Regex};

/// Patterns, and what is put in their place, in the order in which they are applied.
const RULES: &[(&str, &str)] = &[
    // IDs and digests. No ID begins with twelve digits that are a number, so that numbers stay what they are.
    (r"sha256:[0-9a-f]{64}\b", "sha256:DIGEST"),
    (r"\b[0-9a-f]{64}\b", "ID-OF-64"),
    (r"\b[0-9a-f]*[a-f][0-9a-f]*\b", "{id}"),
    // Points in time, as JSON, `ls`, `date` and logs write them.
    (r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?: ?Z| ?[+-]\d\d:?\d\d| [A-Z]{3,4})?", "DATE"),
    (
        r"\b(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? +)?(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) +\d{1,2} +(?:\d\d:\d\d(?::\d\d)?(?: [A-Z]{3,4})?(?: \d{4})?|\d{4}\b)",
        "DATE",
    ),
    (r"\b\d{1,2} (?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} \d\d:\d\d:\d\d(?:\.\d+)?", "DATE"),
    (r"\b\d\d:\d\d(?::\d\d)?(?:\.\d+)?\b", "{clock}"),
    // Spans of time, as the engine's lists write them, and in units.
    (
        r"\b(?:Less than a second|About an? (?:minute|hour)|\d+ (?:second|minute|hour|day|week|month|year)s?)\b",
        "SPAN",
    ),
    (r"\b\d+m\d+[.,]\d+s\b|\b\d+(?:\.\d+)? ?(?:ms|µs|s)\b", "SPAN"),
    // Sizes. Nothing is a size that matters.
    (r"\b(?:\d+\.\d+|[1-9]\d*) ?(?:[kKMGT]i?)?B\b", "SIZE"),
    // Namespaces and processes.
    (r"\b(cgroup|ipc|mnt|net|pid|time|user|uts):\[\d+\]", "$1:[INODE]"),
    (r"\b40265\d{5}\b", "INODE"),
    (r#""Pid": [1-9]\d*"#, r#""Pid": PID"#),
    // The host's end of a container's cable.
    (r"\bveth[0-9a-f]{6,}\b", "VETH"),
    (r#""/[a-z]+_[a-z]+""#, r#""/NAME""#),
];

/// Columns of tables whose numbers are the machine's affair. A process 0 or 1 stays what it is.
const NUMBERS: &[&str] = &["PID", "PPID", "NS", "SZ", "RSS", "VSZ", "C", "%CPU", "%MEM"];

static COMPILED: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    RULES.iter().map(|(pattern, mark)| (Regex::new(pattern).expect("a regular expression"), *mark)).collect()
});

/// What `ls -l` and tables are aligned with depends on what else is in them.
static GAP: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(\S)(?: {2,}|\t[ \t]*)").expect("a regular expression"));

/// A name that the engine made up.
static NAME: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^[a-z]+_[a-z]+\d?$").expect("a regular expression"));

/// These lines without what differs from run to run.
pub fn redacted(lines: &[String]) -> Vec<String> {
    let mut table = Table::default();
    let mut redacted: Vec<String> = lines.iter().map(|line| rules(&table.row(line))).collect();
    while redacted.last().is_some_and(String::is_empty) {
        redacted.pop();
    }
    redacted
}

fn rules(line: &str) -> String {
    let mut line = line.trim_end().to_owned();
    for (pattern, mark) in COMPILED.iter() {
        let replaced = |found: &Captures<'_>| match *mark {
            "{id}" => short_id(&found[0]).to_owned(),
            "{clock}" => clock(&line, &found.get(0).expect("a match")).to_owned(),
            mark => {
                let mut text = String::new();
                found.expand(mark, &mut text);
                text
            }
        };
        line = pattern.replace_all(&line, replaced).into_owned();
    }
    GAP.replace_all(&line, "$1  ").into_owned()
}

/// Twelve hexadecimal digits, which are no number.
fn short_id(found: &str) -> &str {
    if found.len() == 12 { "ID-OF-12" } else { found }
}

/// A time of day, unless it is a part of an address, which has a colon on one side.
fn clock<'a>(line: &str, found: &Match<'a>) -> &'a str {
    let is_address = line[..found.start()].ends_with(':') || line[found.end()..].starts_with(':');
    if is_address { found.as_str() } else { "CLOCK" }
}

/// Which columns the table has that we are in.
#[derive(Default)]
struct Table {
    header: Vec<String>,
}

impl Table {
    /// The line, with marks in the columns of numbers and in that of names if it is a table's row.
    fn row(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        if words.len() > 1 && words.iter().any(|word| ["PID", "NAMES"].contains(word)) {
            self.header = words.iter().map(|word| (*word).to_owned()).collect();
            return line.to_owned();
        }
        let mut line = line.to_owned();
        if self.header.last().is_some_and(|column| column == "NAMES")
            && let Some(name) = words.last().filter(|name| NAME.is_match(name))
        {
            line.truncate(line.trim_end().len() - name.len());
            line.push_str("NAME");
        }
        if !self.header.iter().any(|column| column == "PID") || words.len() < self.header.len() {
            return line;
        }
        let mut at = 0;
        let mut row = String::new();
        for (index, word) in words.iter().enumerate() {
            let begin = at + line[at..].find(word).expect("a word of the line");
            row.push_str(&line[at..begin]);
            at = begin + word.len();
            let column = self.header.get(index).map_or("", String::as_str);
            let is_number =
                word.parse::<f64>().is_ok_and(|number| number > 1.0 || !["PID", "PPID"].contains(&column));
            let differs = is_number && NUMBERS.contains(&column) || column == "WCHAN";
            let is_marked = index + 1 < self.header.len() && differs;
            row.push_str(if is_marked { "N" } else { word });
        }
        row.push_str(&line[at..]);
        row
    }
}

#[cfg(test)]
mod tests {
    use super::redacted;

    #[test]
    fn what_differs_is_taken_out() {
        let text = "\
9b66e927511a260492ec0deca2f6d8f61201ce1380860a97fc2458a40276ca5e
Digest: sha256:07daeff639ebf1ba66bea23ca3f3a9be5cc0b741af357e85a837b3c78845ec70
CONTAINER ID   IMAGE     COMMAND        CREATED                  STATUS                  PORTS     NAMES
9b66e927511a   busybox   \"sleep 1000\"   Less than a second ago   Up Less than a second             web
10a6e927511a   busybox   \"sh\"           2 weeks ago              Exited (137) 3 days ago           patient_hopper

REPOSITORY   TAG       IMAGE ID       CREATED        SIZE
ubuntu       latest    a1b2c3d4e5f6   8 months ago   171MB
Total reclaimed space: 0B
107374182400 is a limit, 0123456789ab an ID, 80 a port of 172.17.0.2, and deadbeef a word
UID          PID    PPID  C STIME TTY          TIME CMD
root           1       0  0 14:33 pts/0    00:00:00 bash
root          17       1  9 14:33 pts/0    00:00:00 ps -ef
        NS TYPE  NPROCS   PID USER COMMAND
4026532177 mnt        1  4711 root sleep 60
pid:[4026531836] and 4026532181
-rw-r--r-- 1 root root 12 Nov 24 22:32 newfile.txt
    \"Pid\": 4711, \"StartedAt\": \"2026-11-24T22:39:34.123456789Z\"
real    0m1.234s
root@62deec4411da:/# echo foobar
veth62deec4@if2
02:42:ac:11:00:02 is an address, and 14:33 a time

";
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        insta::assert_snapshot!(redacted(&lines).join("\n"));
    }
}
