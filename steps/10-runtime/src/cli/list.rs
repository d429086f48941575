//! `list`: all containers.

use clap::Args;
use nix::unistd::User;
use runtime::{Container, Result, Status};
use serde_json::json;

use super::{Global, Shape};

/// List containers
#[derive(Args)]
pub(crate) struct List {
    /// How
    #[arg(short, long, default_value = "table")]
    format: Shape,
    /// Only their names
    #[arg(short, long)]
    quiet: bool,
}

impl List {
    pub(crate) fn run(&self, global: &Global) -> Result<()> {
        let folder = global.folder()?;
        let mut rows = Vec::new();
        for id in folder.list()? {
            // One that is removed in this moment is not there.
            let Ok(container) = Container::open(&folder, &id) else { continue };
            let status = container.status()?;
            let pid = if status == Status::Stopped { 0 } else { container.record.pid };
            rows.push((container.record, pid, status));
        }
        if self.quiet {
            rows.iter().for_each(|(record, _, _)| println!("{}", record.id));
        } else if self.format == Shape::Json {
            let rows: Vec<_> = rows
                .iter()
                .map(|(record, pid, status)| {
                    json!({
                        "ociVersion": runtime::hooks::OCI_VERSION,
                        "id": record.id,
                        "pid": pid,
                        "status": status.to_string(),
                        "bundle": record.bundle,
                        "created": record.created,
                        "owner": owner(record.owner),
                    })
                })
                .collect();
            println!("{}", json!(rows));
        } else {
            println!("{:<20} {:<10} {:<10} {:<30} {:<32} OWNER", "ID", "PID", "STATUS", "BUNDLE", "CREATED");
            for (record, pid, status) in rows {
                let (id, bundle) = (&record.id, record.bundle.display().to_string());
                println!(
                    "{id:<20} {pid:<10} {status:<10} {bundle:<30} {:<32} {}",
                    record.created,
                    owner(record.owner)
                );
            }
        }
        Ok(())
    }
}

/// A user's name, or where there is none, the number.
fn owner(uid: u32) -> String {
    match User::from_uid(uid.into()) {
        Ok(Some(user)) => user.name,
        _ => uid.to_string(),
    }
}
