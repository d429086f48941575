//! `WWW-Authenticate`: how a server says what it wants to see (RFC 9110, section 11.6.1).
//!
//! A registry that wants a token answers 401 with
//! `Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/debian:pull"`:
//! fetch a token there, for this service and scope, and come back.

/// One way to authenticate that a server offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// `bearer`, `basic`: in lower case.
    pub scheme: String,
    /// Its parameters, names in lower case, in the order given.
    pub parameters: Vec<(String, String)>,
}

impl Challenge {
    /// The value of the parameter `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Reads one header, which may hold several challenges. What does not follow the grammar ends the reading: the
    /// challenges before it still count.
    pub fn parse(header: &str) -> Vec<Challenge> {
        let mut challenges: Vec<Challenge> = Vec::new();
        let mut rest = header.trim_start_matches([' ', ',', '\t']);
        while let Some((word, after)) = token(rest) {
            let after_spaces = after.trim_start();
            rest = match (after_spaces.strip_prefix('='), challenges.last_mut()) {
                // NAME = VALUE belongs to the challenge before it …
                (Some(value), Some(challenge)) => {
                    let Some((value, after)) = value_of(value.trim_start()) else { break };
                    challenge.parameters.push((word.to_lowercase(), value));
                    after
                }
                (Some(_), None) => break,
                // … and a word alone begins one.
                (None, _) => {
                    challenges.push(Challenge { scheme: word.to_lowercase(), parameters: Vec::new() });
                    after
                }
            };
            rest = rest.trim_start_matches([' ', ',', '\t']);
        }
        challenges
    }
}

/// A token (RFC 9110, section 5.6.2) at the start, and what follows it.
fn token(text: &str) -> Option<(&str, &str)> {
    let end = text
        .find(|c: char| !(c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)))
        .unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// A token or a quoted string at the start, without quotes and escapes, and what follows it.
fn value_of(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        return token(text).map(|(value, rest)| (value.to_owned(), rest));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        let rows = [
            r#"Bearer realm="https://auth.example/token",service="registry",scope="repository:a/b:pull,push""#,
            r#"Basic realm="Registry Realm""#,
            r"bearer realm=https , service = x",
            r#"Basic realm="a \"quoted\" word, and a comma", Bearer realm="https://b",service=s"#,
            r"Negotiate, Basic",
            r#"Basic realm="never closed"#,
            r#"realm="without scheme""#,
            "",
            ", ,Basic",
            "Basic \"",
        ];
        let table: String = rows
            .iter()
            .map(|row| {
                let found: Vec<String> = Challenge::parse(row)
                    .iter()
                    .map(|c| format!("    {} {:?}\n", c.scheme, c.parameters))
                    .collect();
                format!("{row}\n{}", found.concat())
            })
            .collect();
        insta::assert_snapshot!(table);
    }
}
