//! `cargo xtask course-registry`: the images that courses name, from a registry on this machine.

use anyhow::{Result, anyhow, bail};
use clap::Args;
use nix::sys::signal::{SigSet, Signal};
use testbed::course::{self, catalogue};
use testbed::registry::Registry;

use crate::{command, setup};

/// What `course-registry` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// The port to answer at, on 127.0.0.1
    #[arg(long, default_value_t = 5000)]
    port: u16,
}

impl Options {
    /// Makes the images unless they are there, and serves them until it is interrupted.
    pub(crate) fn run(&self) -> Result<()> {
        setup::for_readers()?;
        command::build("mini-docker", "mini-docker", false)?;
        command::become_root("The images are made in containers")?;
        // What the images are made with gives up where it cannot go on, and says why.
        std::panic::set_hook(Box::new(|panic| {
            let why = panic.payload_as_str().unwrap_or("for an unknown reason");
            eprintln!("{why}");
        }));
        // From here on, in all threads: who interrupts us must find somebody who tidies up.
        let mut interrupts = SigSet::empty();
        interrupts.extend([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
        interrupts.thread_block()?;

        eprintln!("The images are made, unless they are there; that takes a minute or two ...");
        let Ok(content) = std::panic::catch_unwind(course::content) else {
            bail!("the images could not be made, for the reason above");
        };
        let registry = Registry::serve_at(self.port, &content).map_err(|log| {
            anyhow!("cannot serve at port {}: {}; try another --port", self.port, log.trim())
        })?;
        self.describe();
        interrupts.wait()?;
        drop(registry);
        Ok(())
    }

    fn describe(&self) {
        println!("{:<32} what it really is", "image");
        for image in catalogue::images() {
            for tag in image.tags {
                let name = format!("{}:{tag}", image.repository.trim_start_matches("library/"));
                println!("{name:<32} {}", image.really);
            }
        }
        println!(
            "\nWhere these stand in for the images of the same names is said in registries.json, in the folder of data: \
             /var/lib/mini-docker is root's,\n~/.local/share/mini-docker an ordinary user's. To make root's:\n\n\
             mkdir -p /var/lib/mini-docker && cat > /var/lib/mini-docker/registries.json <<'END'\n{}END\n\n\
             Then `mini-docker run -it ubuntu bash` takes its image from here. Ctrl-C ends it.",
            course::registries(self.port)
        );
    }
}
