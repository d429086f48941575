//! Limits of processes, by the names that `ulimit` and Docker give them.

use runtime::rlimits::{self, Rlimit};

use crate::error::{Error, Result};
use crate::host_config::Ulimit;

/// Reads `NAME=SOFT[:HARD]`; without a hard limit, the soft one is both.
pub fn parse(text: &str) -> Result<Ulimit> {
    let invalid = |why: &str| Error::new(format!("invalid ulimit argument: {text}: {why}"));
    let (name, values) = text.split_once('=').ok_or_else(|| invalid("expected NAME=SOFT[:HARD]"))?;
    if rlimits::resource(name).is_none() {
        return Err(Error::new(format!("invalid ulimit type: {name}")));
    }
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    let number = |text: &str| -> Result<i64> {
        text.parse()
            .ok()
            .filter(|&value| value >= -1)
            .ok_or_else(|| invalid("a limit is a number, or -1 for none"))
    };
    let (soft, hard) = (number(soft)?, number(hard)?);
    if hard != -1 && (soft == -1 || soft > hard) {
        return Err(invalid("ulimit soft limit must be less than or equal to hard limit"));
    }
    Ok(Ulimit { name: name.to_owned(), soft, hard })
}

/// What of `ulimits` can be had, and a warning for each that cannot be had in full.
///
/// Raising a hard limit takes `CAP_SYS_RESOURCE`, which the engine itself may lack where it runs in a container: then
/// the container gets what there is. `present` tells this process's own limit, soft and hard.
pub fn settle(
    ulimits: &[Ulimit],
    may_raise: bool,
    present: impl Fn(&str) -> (i64, i64),
) -> (Vec<Ulimit>, Vec<String>) {
    // -1, no limit, is above all numbers.
    let least = |a: i64, b: i64| if a.cast_unsigned() < b.cast_unsigned() { a } else { b };
    let mut warnings = Vec::new();
    let settle_one = |ulimit: &Ulimit| {
        let (_, most) = present(&ulimit.name);
        if may_raise || least(ulimit.hard, most) == ulimit.hard {
            return ulimit.clone();
        }
        warnings.push(format!(
            "The limit {} cannot be raised to {}, and is {most}: EPERM (the engine lacks CAP_SYS_RESOURCE itself)",
            ulimit.name, ulimit.hard
        ));
        Ulimit { name: ulimit.name.clone(), soft: least(ulimit.soft, most), hard: most }
    };
    (ulimits.iter().map(settle_one).collect(), warnings)
}

/// This process's own limit, soft and hard; none for a name that there is not.
pub fn present(name: &str) -> (i64, i64) {
    let number = |limit: Option<u64>| limit.map_or(-1, u64::cast_signed);
    rlimits::resource(name).map_or((-1, -1), |resource| {
        let limit = rustix::process::getrlimit(resource);
        (number(limit.current), number(limit.maximum))
    })
}

/// The limits as the runtime takes them.
pub fn rlimits(ulimits: &[Ulimit]) -> Vec<Rlimit> {
    let rlimit = |Ulimit { name, soft, hard }: &Ulimit| Rlimit {
        name: name.clone(),
        soft: u64::try_from(*soft).ok(),
        hard: u64::try_from(*hard).ok(),
    };
    ulimits.iter().map(rlimit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write() {
        let table: String = [
            "nofile=1024",
            "nofile=1024:2048",
            "core=-1",
            "stack=8192:-1",
            "nofile=5:3",
            "nofile=-1:3",
            "nofile=-2",
            "nofile=x",
            "nofile",
            "odd=1",
        ]
        .into_iter()
        .map(|text| match parse(text) {
            Ok(Ulimit { name, soft, hard }) => format!("{text:>16} {name} {soft} {hard}\n"),
            Err(error) => format!("{text:>16} {error}\n"),
        })
        .collect();
        insta::assert_snapshot!(table);
    }

    #[test]
    fn what_can_be_had() {
        let texts = ["nofile=100:200", "nofile=100:2000", "nofile=2000:2000", "nofile=-1", "core=-1"];
        let wanted: Vec<Ulimit> = texts.iter().map(|text| parse(text).unwrap()).collect();
        let present = |name: &str| if name == "core" { (0, -1) } else { (50, 1000) };
        let show = |(ulimits, warnings): (Vec<Ulimit>, Vec<String>)| {
            let lines = ulimits.iter().map(|Ulimit { name, soft, hard }| format!("{name} {soft} {hard}\n"));
            lines.chain(warnings.iter().map(|warning| format!("{warning}\n"))).collect::<String>()
        };
        insta::assert_snapshot!(show(settle(&wanted, false, present)));
        assert_eq!(settle(&wanted, true, present), (wanted, Vec::new()));
    }
}
