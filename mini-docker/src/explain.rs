//! `--explain`: every step that the kernel is asked for, as it happens, with its time and its chapter.
//!
//! The step crates say what they do as `tracing` events, whose target is the crate. Without a subscriber an event
//! costs one load and one branch; this subscriber prints them.

use std::fmt::Write;
use std::time::Instant;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// The crates that have a chapter, and its number.
const CHAPTERS: &[(&str, &str)] = &[
    ("chroot", "01-chroot"),
    ("pid_namespace", "02-pid-namespace"),
    ("cgroups", "03-cgroups"),
    ("overlay_layers", "04-overlay-layers"),
    ("image_pull", "05-image-pull"),
    ("networking", "06-networking"),
    ("capabilities", "07-capabilities"),
    ("seccomp", "08-seccomp"),
    ("user_namespace", "09-user-namespace"),
    ("runtime", "10-runtime"),
    ("mini_docker", "the engine"),
];

/// Prints events to standard error.
struct Narrator {
    start: Instant,
}

/// Begins to narrate, for this process and those forked from it.
pub fn begin() {
    let narrator = Narrator { start: Instant::now() };
    // It fails only if there is a narrator already, and that one will do.
    if tracing::subscriber::set_global_default(narrator).is_err() {
        tracing::info!("two narrators were asked for");
    }
}

impl Subscriber for Narrator {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && chapter(metadata.target()).is_some()
    }

    fn event(&self, event: &Event<'_>) {
        let Some(chapter) = chapter(event.metadata().target()) else { return };
        let mut message = Message::default();
        event.record(&mut message);
        let milliseconds = self.start.elapsed().as_secs_f64() * 1000.0;
        // In one piece: the shim and the container's process both tell what they do, at the same time.
        let line = format!("{milliseconds:8.2} ms  {chapter:<18} {}\n", message.0);
        eprint!("{line}");
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// The chapter of an event's target, `crate` or `crate::module`.
fn chapter(target: &str) -> Option<&'static str> {
    let name = target.split("::").next()?;
    CHAPTERS.iter().find(|(known, _)| *known == name).map(|(_, chapter)| *chapter)
}

/// An event's text.
#[derive(Default)]
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            write!(self.0, "{value:?}").expect("a string takes everything");
        }
    }
}
