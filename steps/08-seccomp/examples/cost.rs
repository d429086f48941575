//! `cost`: what a filter costs: to make, to install, and at each call. Build it with `--release`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, fork};
use seccomp::{Facts, Profile};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let facts = Facts::of_host(0)?;
    let filter = Profile::builtin().compile(&facts)?;
    println!("instructions           {:8}", filter.instructions().len());
    println!("read the profile       {:8.1} us", median(|| drop(black_box(Profile::builtin()))));
    let profile = Profile::builtin();
    println!("make the filter        {:8.1} us", median(|| drop(black_box(profile.compile(&facts)))));

    nix::sys::prctl::set_no_new_privs()?;
    for _ in 0..5 {
        in_child(|| {
            let begin = Instant::now();
            let installed = filter.install();
            println!("install it             {:8.1} us {}", micro(begin.elapsed()), problem(&installed));
        })?;
    }
    in_child(|| calls("without a filter"))?;
    in_child(|| {
        let installed = filter.install();
        calls(&format!("with it{}", problem(&installed)));
    })?;
    Ok(())
}

/// One call that is always allowed, one that is allowed by its argument, one that is refused.
fn calls(title: &str) {
    println!("{title}:");
    let calls = [
        ("getppid", libc::SYS_getppid, 0),
        ("personality", libc::SYS_personality, -1_i64 as u32),
        ("bpf", libc::SYS_bpf, 99),
    ];
    for (name, number, argument) in calls {
        const MANY: u32 = 200_000;
        let begin = Instant::now();
        for _ in 0..MANY {
            // SAFETY: none of these calls takes memory with such arguments.
            unsafe { libc::syscall(number, argument, 0, 0) };
        }
        println!("  {name:20} {:8.1} ns", micro(begin.elapsed()) * 1000.0 / f64::from(MANY));
    }
}

fn in_child(body: impl FnOnce()) -> nix::Result<()> {
    // SAFETY: this process has one thread.
    match unsafe { fork() }? {
        ForkResult::Child => {
            body();
            std::process::exit(0);
        }
        ForkResult::Parent { child } => waitpid(child, None).map(drop),
    }
}

fn median(mut body: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..201)
        .map(|_| {
            let begin = Instant::now();
            body();
            micro(begin.elapsed())
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[100]
}

fn micro(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn problem<T>(installed: &seccomp::Result<T>) -> String {
    installed.as_ref().err().map(ToString::to_string).unwrap_or_default()
}
