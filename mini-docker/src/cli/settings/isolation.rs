//! What the container sees of the host, and may do to it.

use std::path::Path;

use clap::Args;
use mini_docker::host_config::{DeviceMapping, HostConfig};
use mini_docker::{Error, Result, devices, sysctls};

/// Namespaces, privileges and devices.
#[derive(Args)]
pub(crate) struct Isolation {
    /// Process ids: "host", or those of "container:NAME|ID"
    #[arg(long, value_name = "MODE", default_value = "", hide_default_value = true)]
    pid: String,
    /// Shared memory: "private", "shareable", "none", "host", or that of "container:NAME|ID"
    #[arg(long, value_name = "MODE", default_value = "private", hide_default_value = true)]
    ipc: String,
    /// Host name: "host" for the host's
    #[arg(long, value_name = "MODE", default_value = "", hide_default_value = true)]
    uts: String,
    /// User ids: "host" for the host's own, where others are given to all containers
    #[arg(long, value_name = "MODE", default_value = "", hide_default_value = true)]
    userns: String,
    /// The cgroup tree: "private", or "host" to see all of it
    #[arg(long, value_name = "MODE", default_value = "private", hide_default_value = true)]
    cgroupns: String,
    /// Give every capability and every device, and mask nothing
    #[arg(long)]
    privileged: bool,
    /// Add a capability
    #[arg(long, value_name = "NAME")]
    cap_add: Vec<String>,
    /// Take a capability away
    #[arg(long, value_name = "NAME")]
    cap_drop: Vec<String>,
    /// seccomp=, no-new-privileges, apparmor=, label=, systempaths=unconfined
    #[arg(long, value_name = "OPTION")]
    security_opt: Vec<String>,
    /// Add a device of the host's
    #[arg(long, value_name = "HOST[:CONTAINER][:rwm]", value_parser = devices::parse)]
    device: Vec<DeviceMapping>,
    /// Add graphics processors
    #[arg(long, value_name = "WHICH")]
    gpus: Option<String>,
    /// Set a kernel parameter of its own namespaces
    #[arg(long, value_name = "NAME=VALUE", value_parser = sysctls::parse)]
    sysctl: Vec<(String, String)>,
    /// Add groups to the user's
    #[arg(long, value_name = "GROUP")]
    group_add: Vec<String>,
}

impl Isolation {
    /// Adds them to `host`.
    pub(super) fn set(self, host: &mut HostConfig) -> Result<()> {
        if let Some(which) = self.gpus {
            return Err(Error::new(format!(
                "could not select a device driver for --gpus {which}: no driver of graphics processors was found on this host (a single device can be given with --device)"
            )));
        }
        host.pid_mode = self.pid;
        host.ipc_mode = self.ipc;
        host.uts_mode = self.uts;
        host.userns_mode = self.userns;
        host.cgroupns_mode = self.cgroupns;
        host.privileged = self.privileged;
        host.cap_add = self.cap_add;
        host.cap_drop = self.cap_drop;
        host.security_opt =
            self.security_opt.iter().map(|option| with_profile(option)).collect::<Result<_>>()?;
        host.devices = self.device;
        host.sysctls = self.sysctl.into_iter().collect();
        host.group_add = self.group_add;
        Ok(())
    }
}

/// `seccomp=FILE` with the file's text in place of its name: it is the user's, and may change later. Other options stay
/// as they are.
fn with_profile(option: &str) -> Result<String> {
    let Some(file) = option.strip_prefix("seccomp=").or_else(|| option.strip_prefix("seccomp:")) else {
        return Ok(option.to_owned());
    };
    if ["unconfined", "builtin"].contains(&file) {
        return Ok(option.to_owned());
    }
    let path = Path::new(file);
    let text = std::fs::read_to_string(path)
        .map_err(|error| Error::file("read the seccomp profile", path, error))?;
    Ok(format!("seccomp={text}"))
}
