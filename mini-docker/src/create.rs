//! What the image says and what the user says, put together into one container.

use std::collections::BTreeMap;

use image_pull::Image;
use image_pull::config::RunConfig;

use crate::container::{Config, Container, Ids, MountPoint};
use crate::error::{Error, Result};
use crate::host_config::HostConfig;
use crate::networks::membership::Membership;
use crate::plan::merge_environment;
use crate::{health, logs, mounts, networks};

/// What the user asks for. Whatever is left empty comes from the image.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Request {
    /// The container's name, if not one of our choice.
    pub name: Option<String>,
    /// What runs.
    pub config: Config,
    /// What the host lends.
    pub host_config: HostConfig,
    /// What of the host is shown.
    pub mounts: Vec<mounts::Request>,
    /// Containers whose volumes it gets as well: `CONTAINER[:ro|rw]`.
    pub volumes_from: Vec<String>,
    /// The networks it is to be in, and what it asks of them.
    pub networks: BTreeMap<String, Membership>,
    /// Which ids inside are which on the host, if not the same.
    pub ids: Option<Ids>,
}

/// The record of a container called `name`; its mounts' sources are known by now.
pub fn container(
    id: &str,
    name: String,
    image: &Image,
    request: Request,
    mounts: Vec<MountPoint>,
) -> Result<Container> {
    let config = merge(id, &image.config.config, request.config)?;
    let mut command = config.entrypoint.iter().chain(&config.cmd).flatten().cloned();
    let path = command.next().filter(|program| !program.is_empty());
    let path = path.ok_or_else(|| {
        Error::new(format!("no command specified: image {} has none, so say what to run", config.image))
    })?;
    Ok(Container {
        id: id.to_owned(),
        created: logs::now(),
        path,
        args: command.collect(),
        image: image.id.to_string(),
        name,
        platform: "linux".to_owned(),
        mounts,
        config,
        host_config: request.host_config,
        layers: image.chain.clone(),
        networks: request.networks,
        ids: request.ids,
    })
}

/// The user's settings over the image's.
fn merge(id: &str, image: &RunConfig, mut user: Config) -> Result<Config> {
    let default = |mine: &mut String, its: &str| {
        if mine.is_empty() {
            its.clone_into(mine);
        }
    };
    default(&mut user.hostname, &id[..12]);
    default(&mut user.user, &image.user);
    default(&mut user.working_dir, &image.working_dir);
    if !user.working_dir.is_empty() && !user.working_dir.starts_with('/') {
        let directory = user.working_dir;
        return Err(Error::new(format!(
            "the working directory '{directory}' is invalid, it needs to be an absolute path"
        )));
    }

    // A new entrypoint takes the image's command with it: that was written for the old one. An empty one (`""`)
    // takes the entrypoint away.
    match &user.entrypoint {
        Some(words) if words.iter().all(String::is_empty) => user.entrypoint = None,
        Some(_) => {}
        None => {
            user.entrypoint.clone_from(&image.entrypoint);
            user.cmd = user.cmd.or_else(|| image.cmd.clone());
        }
    }

    let mut env = image.env.clone();
    merge_environment(&mut env, &user.env);
    user.env = env;
    let mut exposed = networks::ports::exposed(&image.exposed_ports.iter().cloned().collect::<Vec<_>>())?;
    exposed.append(&mut user.exposed_ports);
    user.exposed_ports = exposed;
    user.volumes.extend(image.volumes.iter().cloned());
    let mut labels = image.labels.clone();
    labels.append(&mut user.labels);
    user.labels = labels;

    user.stop_signal = user.stop_signal.or_else(|| image.stop_signal.clone());
    user.stop_timeout = user.stop_timeout.or(image.stop_timeout);
    user.healthcheck = health::merge(image.healthcheck.as_ref(), user.healthcheck);
    user.shell = user.shell.or_else(|| image.shell.clone());
    if let Some(signal) = &user.stop_signal {
        crate::signals::parse(signal)?;
    }
    Ok(user)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(entrypoint: Option<&[&str]>, cmd: Option<&[&str]>) -> RunConfig {
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        RunConfig {
            entrypoint: entrypoint.map(words),
            cmd: cmd.map(words),
            env: vec!["PATH=/bin".to_owned(), "LANG=C".to_owned()],
            user: "web".to_owned(),
            working_dir: "/srv".to_owned(),
            stop_signal: Some("SIGQUIT".to_owned()),
            labels: [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())].into(),
            ..RunConfig::default()
        }
    }

    fn words(user: Config, image: &RunConfig) -> String {
        let merged = merge("0123456789abcdef", image, user).unwrap();
        format!("{:?} {:?}", merged.entrypoint, merged.cmd)
    }

    #[test]
    fn entrypoint_and_command() {
        let user = |entrypoint: Option<&str>, cmd: Option<&str>| Config {
            entrypoint: entrypoint.map(|word| vec![word.to_owned()]),
            cmd: cmd.map(|word| vec![word.to_owned()]),
            ..Config::default()
        };
        let full = image(Some(&["/entry"]), Some(&["serve"]));
        let table = [
            words(user(None, None), &full),
            words(user(None, Some("other")), &full),
            words(user(Some("/mine"), None), &full),
            words(user(Some("/mine"), Some("x")), &full),
            words(user(Some(""), Some("x")), &full),
            words(user(Some(""), None), &full),
            words(user(None, None), &image(None, Some(&["sh"]))),
        ];
        insta::assert_snapshot!(table.join("\n"));
    }

    #[test]
    fn the_rest() {
        let user = Config {
            env: vec!["LANG=de".to_owned(), "NEW=1".to_owned()],
            labels: [("b".to_owned(), "3".to_owned())].into(),
            user: "root".to_owned(),
            ..Config::default()
        };
        insta::assert_debug_snapshot!(merge("0123456789abcdef", &image(None, None), user).unwrap());
    }

    #[test]
    fn a_stop_signal_must_exist() {
        let user = Config { stop_signal: Some("SIGNOT".to_owned()), ..Config::default() };
        let error = merge("0123456789abcdef", &image(None, None), user).unwrap_err();
        insta::assert_snapshot!(error, @"invalid signal: SIGNOT");
    }
}
