//! `--change`: Dockerfile instructions that alter an image's config and nothing else.

use image_pull::config::RunConfig;

use crate::error::{Error, Result};
use crate::plan::merge_environment;

/// Applies one instruction, such as `CMD ["sh"]` or `ENV A=1`, to `config`.
pub fn apply(config: &mut RunConfig, instruction: &str) -> Result<()> {
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
        "WORKDIR" => rest.clone_into(&mut config.working_dir),
        "STOPSIGNAL" => {
            crate::signals::parse(rest)?;
            config.stop_signal = Some(rest.to_owned());
        }
        "ENV" => {
            let (name, value) = pair(rest).ok_or_else(|| invalid("expected NAME=VALUE"))?;
            merge_environment(&mut config.env, &[format!("{name}={value}")]);
        }
        "LABEL" => {
            let (key, value) = pair(rest).ok_or_else(|| invalid("expected KEY=VALUE"))?;
            config.labels.insert(key, value);
        }
        "EXPOSE" => config.exposed_ports.extend(rest.split_whitespace().map(port)),
        "VOLUME" => config.volumes.extend(list(rest)),
        "ONBUILD" => config.on_build.push(rest.to_owned()),
        _ => {
            return Err(invalid(
                "only CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME and WORKDIR are allowed",
            ));
        }
    }
    Ok(())
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

/// `NAME=VALUE`, the value perhaps in quotes; or, as in old Dockerfiles, `NAME VALUE`.
fn pair(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=').or_else(|| text.split_once(' '))?;
    let value = value.trim();
    let inner = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    Some((name.trim().to_owned(), inner.unwrap_or(value).to_owned()))
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
            "EXPOSE 80 53/udp",
            "VOLUME [\"/data\"]",
            "STOPSIGNAL SIGINT",
        ] {
            apply(&mut config, instruction).unwrap();
        }
        insta::assert_snapshot!(serde_json::to_string_pretty(&config).unwrap());
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
