//! What stands in a text's examples for what is real in a replay: IDs, and names that the engine made up.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::{Captures, Regex};

/// An ID, whole or as it is abbreviated, or a name like `patient_hopper`.
static TOKEN: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\b(?:[0-9a-f]{64}|[0-9a-f]{12}|[a-z]+_[a-z]+)\b").expect("a regular expression")
});

/// Which example stands for what.
#[derive(Debug, Default)]
pub struct Counterparts {
    real: BTreeMap<String, String>,
    example: BTreeMap<String, String>,
}

impl Counterparts {
    /// Learns from what a command is said to print, and what it did print, if they have as many IDs and names.
    pub fn learn(&mut self, said: &[String], seen: &[String]) {
        let (said, seen) = (said.join("\n"), seen.join("\n"));
        let tokens = |text| TOKEN.find_iter(text).map(|found| found.as_str().to_owned()).collect::<Vec<_>>();
        let (said, seen): (Vec<String>, Vec<String>) = (tokens(&said), tokens(&seen));
        if said.len() == seen.len() {
            let alike = |(said, seen): &(&String, &String)| {
                is_name(said) == is_name(seen) && (is_name(said) || said.len() == seen.len())
            };
            for (example, real) in said.iter().zip(&seen).filter(alike) {
                learn(&mut self.real, example, real);
                learn(&mut self.example, real, example);
            }
        }
    }

    /// A command as it is to be run.
    pub fn to_real(&self, text: &str) -> String {
        replace(&self.real, text)
    }

    /// What was seen as it would stand in the text.
    pub fn to_example(&self, text: &str) -> String {
        replace(&self.example, text)
    }
}

fn is_name(token: &str) -> bool {
    token.contains('_')
}

/// The twelve digits of an ID by which it is known, or a name.
fn key(token: &str) -> &str {
    if is_name(token) { token } else { &token[..12] }
}

fn learn(map: &mut BTreeMap<String, String>, from: &str, to: &str) {
    let known = map.entry(key(from).to_owned()).or_default();
    // The whole ID is worth more than the abbreviated one, and what was learnt first more than what comes later.
    if known.len() < to.len() && (known.is_empty() || to.starts_with(known.as_str())) {
        to.clone_into(known);
    }
}

fn replace(map: &BTreeMap<String, String>, text: &str) -> String {
    let other = |found: &Captures<'_>| {
        let token = &found[0];
        match map.get(key(token)) {
            Some(other) if is_name(token) => other.clone(),
            Some(other) => other[..token.len().min(other.len())].to_owned(),
            None => token.to_owned(),
        }
    };
    TOKEN.replace_all(text, other).into_owned()
}

#[cfg(test)]
mod tests {
    use super::Counterparts;

    #[test]
    fn an_example_is_used_like_what_it_stands_for() {
        let mut counterparts = Counterparts::default();
        let whole = |digits: &str| digits.repeat(64 / digits.len());
        counterparts.learn(&[whole("ab")], &[whole("12cd")]);
        counterparts.learn(
            &["abababababab  x  eager_curie".to_owned()],
            &["12cd12cd12cd  x  shy_noether".to_owned()],
        );
        // Not as many: nothing is learnt.
        counterparts.learn(&["cap_chown cap_kill".to_owned()], &["cap_chown".to_owned()]);
        let real = counterparts.to_real("rm abababababab eager_curie cap_chown $(echo abab)");
        assert_eq!(real, "rm 12cd12cd12cd shy_noether cap_chown $(echo abab)");
        assert_eq!(counterparts.to_real(&whole("ab")), whole("12cd"));
        assert_eq!(counterparts.to_example("/shy_noether 12cd12cd12cd"), "/eager_curie abababababab");
    }
}
