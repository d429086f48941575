//! `pull`: bring an image from a registry; and what `run` does to find its image.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::Mutex;

use clap::{Args, ValueEnum};
use image_pull::{
    Credentials, Event, Image, LayerState, Patience, Platform, Progress, Reference, Registries,
};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use mini_docker::{Engine, Error, Result, events, hello};
use overlay_layers::Digest;

/// What `pull` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// Print only the image's name
    #[arg(short, long)]
    quiet: bool,
    /// The platform to pull, such as linux/arm64
    #[arg(long, value_name = "OS/ARCHITECTURE[/VARIANT]")]
    platform: Option<Platform>,
    /// The image
    #[arg(value_name = "NAME[:TAG|@DIGEST]")]
    image: String,
}

/// When `run` pulls its image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Policy {
    /// Always, so that the newest is used
    Always,
    /// If it is not here
    Missing,
    /// Never
    Never,
}

impl Options {
    /// Pulls the image; prints its full name.
    pub(crate) fn run(self, engine: &Engine) -> Result<u8> {
        let reference: Reference = self.image.parse()?;
        if !self.quiet && reference.tag().is_none() && reference.digest().is_none() {
            println!("Using default tag: latest");
        }
        let reference = pull(
            engine,
            &reference,
            self.platform.as_ref(),
            if self.quiet { Output::None } else { Output::Stdout },
        )?;
        println!("{reference}");
        Ok(0)
    }
}

/// The image that `text` means, pulled if `policy` says so.
pub(crate) fn find(
    engine: &Engine,
    text: &str,
    platform: Option<&Platform>,
    policy: Policy,
    quiet: bool,
) -> Result<Image> {
    let fits = |image: &Image| {
        platform.is_none_or(|wanted| image.config.platform().architecture == wanted.architecture)
    };
    if policy != Policy::Always {
        match engine.images().resolve(text) {
            Ok(image) if fits(&image) => return Ok(image),
            Ok(_) | Err(image_pull::Error::NoSuchImage { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let reference: Reference = text.parse()?;
    if hello::is_meant(&reference) && policy != Policy::Always {
        return hello::make(engine.images());
    }
    let reference = reference.or_latest();
    if policy == Policy::Never {
        return Err(Error::new(format!("No such image: {}", reference.familiar())));
    }
    if policy == Policy::Missing && !quiet {
        eprintln!("Unable to find image '{}' locally", reference.familiar());
    }
    // Standard output belongs to the container.
    pull(engine, &reference, platform, if quiet { Output::None } else { Output::Stderr })?;
    Ok(engine.images().resolve(&reference.to_string())?)
}

/// Where progress is printed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Output {
    None,
    Stdout,
    Stderr,
}

impl Output {
    fn line(self, text: &str) {
        match self {
            Self::None => {}
            Self::Stdout => println!("{text}"),
            Self::Stderr => eprintln!("{text}"),
        }
    }

    fn is_terminal(self) -> bool {
        match self {
            Self::None => false,
            Self::Stdout => std::io::stdout().is_terminal(),
            Self::Stderr => std::io::stderr().is_terminal(),
        }
    }
}

fn pull(
    engine: &Engine,
    reference: &Reference,
    platform: Option<&Platform>,
    output: Output,
) -> Result<Reference> {
    let options = image_pull::Options {
        platform: platform.cloned(),
        registries: registries(engine)?,
        credentials: Credentials::of_user()?,
        patience: Patience::default(),
    };
    let printer = Printer::new(output);
    let pulled = image_pull::pull(engine.images(), reference, &options, &printer)?;
    let name = pulled.reference.familiar();
    engine.journal().record(&[events::Event::image("pull", &name, &pulled.reference.familiar_repository())]);
    output.line(&format!("Digest: {}", pulled.digest));
    output.line(&format!("Status: {}", pulled.status()));
    Ok(pulled.reference)
}

/// The settings of mirrors and of registries without TLS: `registries.json` in the data folder.
fn registries(engine: &Engine) -> Result<Registries> {
    let path = engine.folders().data.join("registries.json");
    match std::fs::read(&path) {
        Ok(json) => Ok(Registries::from_json(&json, &path.display().to_string())?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Registries::default()),
        Err(error) => Err(Error::file("read", &path, error)),
    }
}

/// Prints a pull's progress: a line when something is done, and on a terminal bars for what is under way.
struct Printer {
    output: Output,
    bars: Option<MultiProgress>,
    running: Mutex<BTreeMap<Digest, ProgressBar>>,
}

impl Printer {
    fn new(output: Output) -> Self {
        Self { output, bars: output.is_terminal().then(MultiProgress::new), running: Mutex::default() }
    }

    fn layer(&self, blob: &Digest, state: LayerState) {
        let id = image_pull::store::short(blob);
        let word = match state {
            LayerState::PullingFsLayer => "Pulling fs layer",
            LayerState::AlreadyExists => "Already exists",
            LayerState::Waiting => "Waiting",
            LayerState::Downloading { .. } => "Downloading",
            LayerState::VerifyingChecksum => "Verifying Checksum",
            LayerState::DownloadComplete => "Download complete",
            LayerState::Extracting => "Extracting",
            LayerState::PullComplete => "Pull complete",
            LayerState::Retrying { .. } => "Retrying",
        };
        let last = matches!(state, LayerState::AlreadyExists | LayerState::PullComplete);
        let Some(bars) = &self.bars else {
            if last {
                self.output.line(&format!("{id}: {word}"));
            }
            return;
        };
        let mut running = self.running.lock().expect("nobody panics while holding it");
        let bar = running.entry(*blob).or_insert_with(|| bars.add(ProgressBar::new(0)));
        if let LayerState::Downloading { current, total } = state {
            bar.set_style(style("{prefix}: {msg} [{bar:50.=>}]  {decimal_bytes}/{decimal_total_bytes}"));
            bar.set_length(total);
            bar.set_position(current);
        } else {
            bar.set_style(style("{prefix}: {msg}"));
        }
        bar.set_prefix(id);
        if last {
            bar.finish_with_message(word);
        } else {
            bar.set_message(word);
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates above are well formed").progress_chars("=> ")
}

impl Progress for Printer {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Resolved { tag, repository } => {
                self.output.line(&format!("{tag}: Pulling from {repository}"));
            }
            Event::Layer { blob, state } => self.layer(blob, state),
        }
    }
}
