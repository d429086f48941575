//! After a reboot: which containers are started, and by which systemd unit.

use std::path::Path;

use crate::container::{State, Status};
use crate::engine::Folders;
use crate::host_config::{Restart, RestartPolicy};

/// Whether a container that does not run is started with the host, as Docker's daemon does it when it starts (moby,
/// `restartmanager/restartmanager.go`). One that was running then counts as failed.
pub fn is_wanted(policy: &RestartPolicy, state: &State) -> bool {
    if state.status != Status::Exited {
        // It was never started, or somebody has been quicker.
        return false;
    }
    match policy.name {
        Restart::No => false,
        Restart::Always => true,
        Restart::UnlessStopped => !state.stopped_by_hand,
        Restart::OnFailure => policy.applies(state.exit_code, state.restart_count),
    }
}

/// A unit (`systemd.service(5)`) that has `program` start what is wanted; for an ordinary user's manager, or the host's.
pub fn unit(program: &Path, folders: &Folders, is_users: bool) -> String {
    let words =
        [program.as_os_str(), "--data-root".as_ref(), folders.data.as_os_str(), "--exec-root".as_ref()];
    let words = words.into_iter().chain([folders.exec.as_os_str(), "system".as_ref(), "start".as_ref()]);
    let line: Vec<String> = words.map(|word| quoted(&word.to_string_lossy())).collect();
    let target = if is_users { "default.target" } else { "multi-user.target" };
    // KillMode: the shims live on when the service is stopped, as containers do when Docker's daemon is. Delegate: the
    // cgroups below it are not systemd's.
    format!(
        "[Unit]\n\
         Description=Containers of mini-docker\n\
         Wants=network-online.target\n\
         After=network-online.target\n\
         \n\
         [Service]\n\
         Type=oneshot\n\
         RemainAfterExit=yes\n\
         ExecStart={}\n\
         KillMode=process\n\
         Delegate=yes\n\
         \n\
         [Install]\n\
         WantedBy={target}\n",
        line.join(" ")
    )
}

/// A word of a command line as systemd reads it (`systemd.service(5)`, "Command lines").
fn quoted(word: &str) -> String {
    let word = word.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%").replace('$', "$$");
    if word.contains(|character: char| character.is_whitespace() || "\"';\\".contains(character)) {
        format!("\"{word}\"")
    } else {
        word
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_started() {
        let state = |status, exit_code, stopped_by_hand| State {
            status,
            exit_code,
            stopped_by_hand,
            restart_count: 2,
            ..State::default()
        };
        let states = [
            state(Status::Created, 0, false),
            state(Status::Running, 0, false),
            state(Status::Exited, 0, false),
            state(Status::Exited, 0, true),
            state(Status::Exited, 255, false),
        ];
        let table: String = ["no", "always", "unless-stopped", "on-failure", "on-failure:2"]
            .into_iter()
            .map(|text| {
                let policy = text.parse().unwrap();
                let wanted = states.each_ref().map(|state| u8::from(is_wanted(&policy, state)));
                format!(
                    "{text:<15} created {}, running {}, ended {}, stopped {}, lost {}\n",
                    wanted[0], wanted[1], wanted[2], wanted[3], wanted[4]
                )
            })
            .collect();
        insta::assert_snapshot!(table);
    }

    #[test]
    fn units() {
        let folders = Folders { data: "/var/lib/mini-docker".into(), exec: "/run/my 100% \"own\"".into() };
        insta::assert_snapshot!(unit(Path::new("/usr/bin/mini-docker"), &folders, false));
    }
}
