//! `cargo lab`: the labs, in a folder of the learner's own.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use labs::bench::Bench;
use labs::lab::{self, Lab};
use labs::learner::Learner;
use labs::{call, escape, grader, host, report, sets, sudo, watch};

#[derive(Parser)]
#[command(name = "cargo lab", about = "Build the core of each step yourself, and let the kernel judge")]
struct Cli {
    /// Your folder [default: the one that you are in, else `my-labs` in the repository]
    #[arg(long, global = true, env = "MINI_DOCKER_LABS")]
    folder: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Task>,
}

#[derive(Subcommand)]
enum Task {
    /// List the labs, and what is done
    List,
    /// Begin a lab: copy its starter into your folder
    Start {
        /// The lab's number or name
        lab: String,
    },
    /// Check a lab; the one you are at, if none is named
    Check {
        /// The lab's number or name
        lab: Option<String>,
        /// Check this program, which may be written in any language, and not your crate
        #[arg(long)]
        program: Option<PathBuf>,
    },
    /// Check again whenever you save a file
    Watch {
        /// The lab's number or name
        lab: Option<String>,
    },
    /// Show the next hint for the check that failed last
    Hint {
        /// The lab's number or name
        lab: Option<String>,
    },
    /// Begin a lab anew; what you have is kept beside it
    Reset {
        /// The lab's number or name
        lab: Option<String>,
    },
    /// Show a solution, once you have your own
    Solution {
        /// The lab's number or name
        lab: Option<String>,
        /// Show it although the checks do not pass yet
        #[arg(long)]
        insist: bool,
    },
    /// Say which labs this machine can do
    Doctor,
    /// Print where your folder is
    #[command(hide = true)]
    Folder,
}

fn main() -> ExitCode {
    match another_name().as_deref() {
        Some(escape::NAME) => return escape::main(),
        Some(sets::NAME) => return sets::main(),
        Some(call::NAME) => return call::main(),
        _ => {}
    }
    match run(&Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all that was asked for is well.
fn run(cli: &Cli) -> Result<bool> {
    let labs = lab::all()?;
    let mut learner = Learner::open(cli.folder.as_deref())?;
    let of = |wanted: &Option<String>, learner: &Learner| choose(&labs, learner, wanted.as_deref());
    match cli.command.as_ref().unwrap_or(&Task::List) {
        Task::List => list(&labs, &learner),
        Task::Start { lab } => start(choose(&labs, &learner, Some(lab))?, &mut learner)?,
        Task::Check { lab, program } => {
            let lab = of(lab, &learner)?;
            return check(lab, &mut learner, program.as_deref());
        }
        Task::Watch { lab } => {
            let lab = of(lab, &learner)?;
            watch_over(lab, &mut learner)?;
        }
        Task::Hint { lab } => {
            let lab = of(lab, &learner)?;
            hint(lab, &mut learner)?;
        }
        Task::Reset { lab } => reset(of(lab, &learner)?, &mut learner)?,
        Task::Solution { lab, insist } => solution(of(lab, &learner)?, &learner, *insist)?,
        Task::Doctor => return Ok(doctor(&labs)),
        Task::Folder => println!("{}", learner.folder().display()),
    }
    Ok(true)
}

/// The lab that is wanted; else the one whose crate we are in; else the one that the learner is at.
fn choose<'a>(labs: &'a [Lab], learner: &Learner, wanted: Option<&str>) -> Result<&'a Lab> {
    if let Some(lab) = labs.iter().find(|lab| wanted.is_none() && learner.is_in(lab)) {
        return Ok(lab);
    }
    match wanted.or(learner.current()) {
        Some(wanted) => labs
            .iter()
            .find(|lab| lab.is(wanted))
            .with_context(|| format!("there is no lab {wanted}: see cargo lab list")),
        None => bail!("no lab is started yet: cargo lab start 1"),
    }
}

fn started<'a>(lab: &'a Lab, learner: &Learner) -> Result<&'a Lab> {
    if !learner.has_started(lab) {
        bail!("lab {number} is not started yet: cargo lab start {number}", number = lab.number());
    }
    Ok(lab)
}

fn list(labs: &[Lab], learner: &Learner) {
    for lab in labs {
        let mark = match (learner.is_done(lab), learner.has_started(lab)) {
            (true, _) => "done",
            (false, true) => "started",
            (false, false) => "",
        };
        println!("{:>2}  {:<40} {mark}", lab.number(), lab.card.title);
    }
    let at = labs.iter().find(|lab| learner.current() == Some(&lab.name) && !learner.is_done(lab));
    match at.or_else(|| labs.iter().find(|lab| !learner.is_done(lab))) {
        Some(lab) if learner.has_started(lab) => println!("\nNext: cargo lab check {}", lab.number()),
        Some(lab) => println!("\nNext: cargo lab start {}", lab.number()),
        None => println!("\nYou have done them all."),
    }
}

/// Gives the learner a crate, or what it was given before, and says what there is to do.
fn start(lab: &Lab, learner: &mut Learner) -> Result<()> {
    let is_new = !learner.has_started(lab);
    if is_new {
        learner.start(lab, &attacker()?)?;
    } else {
        learner.go_to(lab)?;
    }
    let folder = learner.crate_of(lab);
    println!("{}", lab.text()?);
    if is_new {
        println!("To write:");
    } else {
        println!("You have begun (to begin anew: cargo lab reset {}). To write:", lab.number());
    }
    for file in &lab.card.files {
        println!("  {}", folder.join(file).display());
    }
    println!(
        "\nThen: cargo lab check, or cargo lab watch in a second terminal. If you are stuck: cargo lab hint\n\
         The check leaves your program at {}; commands in the text are typed in {}",
        folder.join("box").display(),
        learner.folder().display()
    );
    for lack in host::lacks(lab) {
        println!("\n{lack}");
    }
    Ok(())
}

fn reset(lab: &Lab, learner: &mut Learner) -> Result<()> {
    let kept = learner.reset(started(lab, learner)?, &attacker()?)?;
    println!("Lab {} begins anew. What you had is in {}", lab.number(), kept.display());
    println!("Next: cargo lab check {}", lab.number());
    Ok(())
}

/// Builds and grades; says what came of it, and whether all is well. Only the grading is done as root, if the lab needs it.
fn check(lab: &Lab, learner: &mut Learner, program: Option<&Path>) -> Result<bool> {
    require(lab)?;
    let program = match program {
        Some(program) => std::path::absolute(program).context("cannot find the program")?,
        None => learner.build(started(lab, learner)?)?,
    };
    if host::needs_sudo(lab) {
        return sudo::check(lab, learner.folder(), &program);
    }
    let bench = Bench::new(&program, learner.shown(lab, &program), &attacker()?)?;
    println!("{}", report::heading(lab));
    let grade = grader::grade(lab, &bench, |id| {
        // Each at once: the next one may take its time.
        print!("{}", report::passed(lab, id)?);
        std::io::stdout().flush().context("cannot say what passed")
    })?;
    let topic = grade.failed.as_ref().and_then(|(id, failure)| lab.topic(id, failure));
    if topic.is_some() || grade.failed.is_none() {
        learner.note(lab, topic)?;
    }
    let hint = topic.map_or(0, |topic| learner.hints_seen(lab, topic));
    print!("{}", report::end(lab, &grade, hint)?);
    match topic {
        Some(topic) if hint + 1 < lab.hints(topic).len() => println!("\nThe next hint: cargo lab hint"),
        Some(_) => {}
        None => println!("Another way to write it: cargo lab solution. What comes next: cargo lab list"),
    }
    Ok(grade.failed.is_none())
}

/// Fails unless this machine, and this user, can do the lab.
fn require(lab: &Lab) -> Result<()> {
    match host::lacks(lab).into_iter().find(|lack| !lack.can_be_asked_for) {
        Some(lack) => bail!("{lack}"),
        None => Ok(()),
    }
}

fn watch_over(lab: &Lab, learner: &mut Learner) -> Result<()> {
    require(lab)?;
    started(lab, learner)?;
    let folder = learner.crate_of(lab);
    watch::every_change(&folder, || {
        // An empty screen, before anybody writes on it.
        print!("\x1b[2J\x1b[H");
        std::io::stdout().flush().context("cannot clear the screen")?;
        // What does not compile now may do so after the next change.
        let passed = check(lab, learner, None).unwrap_or_else(|error| {
            eprintln!("lab: {error:#}");
            false
        });
        // The check may have been another process's.
        learner.look_again()?;
        if !passed {
            println!("\nWaiting for a change. Ctrl-C ends this.");
        }
        Ok(passed)
    })
}

fn hint(lab: &Lab, learner: &mut Learner) -> Result<()> {
    let Some(topic) = learner.failing(started(lab, learner)?).map(str::to_owned) else {
        if learner.is_done(lab) {
            println!(
                "Lab {} is done, and no check has failed since. What comes next: cargo lab list",
                lab.number()
            );
            return Ok(());
        }
        bail!("no check has failed yet: cargo lab check {}", lab.number());
    };
    let next = learner.next_hint(lab, &topic)?;
    let about = lab.about(topic.split(' ').next().unwrap_or_default())?;
    let hints = lab.hints(&topic);
    let hint = hints.get(next).with_context(|| format!("there is no hint for: {}", about.name))?;
    println!("{}\n\nHint {} of {}: {hint}", about.name, next + 1, hints.len());
    if next + 1 == hints.len() {
        println!("\nThat was the last. Chapter {}, {}, explains it.", lab.number(), about.section);
    }
    Ok(())
}

fn solution(lab: &Lab, learner: &Learner, insist: bool) -> Result<()> {
    if !learner.is_done(lab) && !insist {
        bail!("your own comes first: cargo lab hint helps, and --insist shows the solution all the same");
    }
    for file in &lab.card.files {
        let path = lab.folder.join("solution").join(file);
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        println!("// {file}\n\n{text}");
    }
    Ok(())
}

fn doctor(labs: &[Lab]) -> bool {
    if labs.iter().any(host::needs_sudo) {
        println!(
            "You are not root: where a lab needs it, the check asks for it, by sudo. Without sudo, most labs"
        );
        println!("can be checked in a virtual machine, which needs no root: cargo xtask vm --lab NUMBER\n");
    }
    let mut all = true;
    for lab in labs {
        let mut lacks = host::lacks(lab);
        lacks.retain(|lack| !lack.can_be_asked_for);
        all &= lacks.is_empty();
        println!("{} {:>2}  {}", if lacks.is_empty() { "✓" } else { "✗" }, lab.number(), lab.card.title);
        for lack in lacks {
            println!("      {}", lack.to_string().replace('\n', "\n      "));
        }
    }
    all
}

/// The name that this program was started under: it attacks under one, says what it may do under another, and makes a
/// system call under a third.
fn another_name() -> Option<String> {
    let name = PathBuf::from(std::env::args_os().next()?);
    name.file_name()?.to_str().map(str::to_owned)
}

/// This program itself, which attacks under another name.
fn attacker() -> Result<PathBuf> {
    std::env::current_exe().map(|path| Path::new(&path).to_owned()).context("cannot find this program")
}
