//! `--change`: Dockerfile instructions that alter an image's config and nothing else.

use std::path::Path;

use image_pull::config::{Healthcheck, RunConfig};

use crate::error::{Error, Result};
use crate::health;
use crate::plan::merge_environment;

/// Applies instructions to `config`, one after another. As in a Dockerfile, an entrypoint takes away the command that was
/// written for another one, unless a command is among them.
pub fn apply_all(config: &mut RunConfig, instructions: &[String]) -> Result<()> {
    let sets = |keyword: &str| {
        let mut keywords =
            instructions.iter().filter_map(|instruction| instruction.split_whitespace().next());
        keywords.any(|word| word.eq_ignore_ascii_case(keyword))
    };
    if sets("ENTRYPOINT") && !sets("CMD") {
        config.cmd = None;
    }
    instructions.iter().try_for_each(|instruction| apply(config, instruction))
}

/// Applies one instruction, such as `CMD ["sh"]` or `ENV A=1`, to `config`.
fn apply(config: &mut RunConfig, instruction: &str) -> Result<()> {
    let invalid = |why: &str| Error::new(format!("invalid change '{instruction}': {why}"));
    let (keyword, rest) =
        instruction.trim().split_once(char::is_whitespace).unwrap_or((instruction.trim(), ""));
    let rest = rest.trim();
    if rest.is_empty() {
        return Err(invalid("expected an instruction and its argument"));
    }
    match keyword.to_ascii_uppercase().as_str() {
        "CMD" => config.cmd = Some(words(rest)),
        "ENTRYPOINT" => config.entrypoint = Some(words(rest)),
        "USER" => rest.clone_into(&mut config.user),
        "WORKDIR" => {
            let directory = Path::new("/").join(&config.working_dir).join(rest);
            config.working_dir = directory.to_string_lossy().into_owned();
        }
        "STOPSIGNAL" => {
            crate::signals::parse(rest)?;
            config.stop_signal = Some(rest.to_owned());
        }
        "ENV" => {
            for (name, value) in pairs(rest).ok_or_else(|| invalid("expected NAME=VALUE"))? {
                merge_environment(&mut config.env, &[format!("{name}={value}")]);
            }
        }
        "LABEL" => {
            config.labels.extend(pairs(rest).ok_or_else(|| invalid("expected KEY=VALUE"))?);
        }
        "EXPOSE" => config.exposed_ports.extend(rest.split_whitespace().map(port)),
        "VOLUME" => config.volumes.extend(list(rest)),
        "HEALTHCHECK" => config.healthcheck = Some(healthcheck(rest).map_err(|why| invalid(&why))?),
        "ONBUILD" => config.on_build.push(rest.to_owned()),
        _ => {
            return Err(invalid(
                "only CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME and WORKDIR \
                 are allowed",
            ));
        }
    }
    Ok(())
}

/// `NONE`, or `[--OPTION=VALUE …] CMD` and a command. With options that are not given, the defaults hold.
fn healthcheck(text: &str) -> Result<Healthcheck, String> {
    let mut check = Healthcheck::default();
    let mut rest = text;
    while let Some(option) = rest.strip_prefix("--") {
        let (option, after) = option.split_once(char::is_whitespace).unwrap_or((option, ""));
        rest = after.trim_start();
        let (name, value) = option.split_once('=').ok_or_else(|| format!("--{option} lacks its =VALUE"))?;
        if name == "retries" {
            check.retries = value
                .parse()
                .ok()
                .filter(|retries| *retries > 0)
                .ok_or_else(|| format!("--retries must be a number from 1 on, and is {value}"))?;
            continue;
        }
        let place = match name {
            "interval" => &mut check.interval,
            "timeout" => &mut check.timeout,
            "start-period" => &mut check.start_period,
            "start-interval" => &mut check.start_interval,
            _ => return Err(format!("unknown flag --{name}")),
        };
        *place = health::duration(value).map_err(|error| format!("--{name}: {error}"))?.as_nanos() as i64;
    }
    let (kind, command) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let command = command.trim();
    check.test = match (kind.to_ascii_uppercase().as_str(), command) {
        ("NONE", "") if check == Healthcheck::default() => vec!["NONE".to_owned()],
        ("NONE", _) => return Err("HEALTHCHECK NONE takes no arguments".to_owned()),
        ("CMD", "") => return Err("missing command after HEALTHCHECK CMD".to_owned()),
        ("CMD", command) => match serde_json::from_str::<Vec<String>>(command) {
            Ok(words) if words.is_empty() => return Err("missing command after HEALTHCHECK CMD".to_owned()),
            Ok(words) => [vec!["CMD".to_owned()], words].concat(),
            Err(_) => vec!["CMD-SHELL".to_owned(), command.to_owned()],
        },
        _ => return Err(format!("unknown type \"{kind}\" in HEALTHCHECK (try CMD)")),
    };
    Ok(check)
}

/// A JSON list as it is; anything else is a line for the shell.
fn words(text: &str) -> Vec<String> {
    serde_json::from_str(text)
        .unwrap_or_else(|_| vec!["/bin/sh".to_owned(), "-c".to_owned(), text.to_owned()])
}

/// A JSON list, or words.
fn list(text: &str) -> Vec<String> {
    serde_json::from_str(text).unwrap_or_else(|_| text.split_whitespace().map(str::to_owned).collect())
}

/// `NAME=VALUE NAME=VALUE`, the values perhaps in quotes; or, as in old Dockerfiles, `NAME VALUE`.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let (first, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    if !first.contains('=') {
        let value = rest.trim();
        return (!value.is_empty()).then(|| vec![own((first, value))]);
    }
    unquoted(text).iter().map(|word| word.split_once('=').map(own)).collect()
}

/// The words of a line, of which quotes and backslashes can make one that holds spaces.
fn unquoted(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            ('\\', None | Some('"')) => word.get_or_insert_default().extend(letters.next()),
            ('"' | '\'', None) => {
                word.get_or_insert_default();
                quote = Some(letter);
            }
            (_, Some(open)) if letter == open => quote = None,
            (_, None) if letter.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

fn port(text: &str) -> String {
    if text.contains('/') { text.to_owned() } else { format!("{text}/tcp") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions() {
        let mut config = RunConfig::default();
        for instruction in [
            "CMD [\"sh\", \"-l\"]",
            "entrypoint echo hi",
            "USER web",
            "WORKDIR /srv",
            "ENV A=1",
            "ENV A=\"two words\"",
            "ENV OLD style",
            "LABEL k=v",
            "LABEL both=1 of='the \\\"two\"' es=a\\ b",
            "ENV B=\"x y\" C= D=\\\"",
            "WORKDIR www",
            "EXPOSE 80 53/udp",
            "VOLUME [\"/data\"]",
            "STOPSIGNAL SIGINT",
            "HEALTHCHECK --interval=1m30s --timeout=2s --retries=5 CMD test -e /tmp/ok",
        ] {
            apply(&mut config, instruction).unwrap();
        }
        insta::assert_snapshot!(serde_json::to_string_pretty(&config).unwrap());
    }

    #[test]
    fn health_checks() {
        let table: Vec<String> = [
            "NONE",
            "none",
            "CMD true",
            "CMD [\"test\", \"-e\", \"/x\"]",
            "--start-period=5s --start-interval=500ms CMD true",
            "NONE x",
            "--interval=1s NONE",
            "CMD",
            "CMD []",
            "--interval=1s",
            "true",
            "--interval 1s CMD true",
            "--interval=soon CMD true",
            "--retries=0 CMD true",
            "--colour=red CMD true",
        ]
        .into_iter()
        .map(|text| format!("{text}: {:?}", healthcheck(text)))
        .collect();
        insta::assert_snapshot!(table.join("\n"));
    }

    #[test]
    fn what_is_no_change() {
        let table: Vec<String> = ["RUN true", "CMD", "", "ENV X", "STOPSIGNAL NOT"]
            .into_iter()
            .map(|text| apply(&mut RunConfig::default(), text).unwrap_err().to_string())
            .collect();
        insta::assert_snapshot!(table.join("\n"));
    }
}
