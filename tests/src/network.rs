//! A network for each test: what an engine makes there is nobody else's, and ends with the test.

use std::cell::Cell;
use std::fs::File;

use networking::Socket;
use networking::link::loopback_up;
use nix::sched::{CloneFlags, setns, unshare};

thread_local! {
    static IS_OWN: Cell<bool> = const { Cell::new(false) };
}

/// Gives this thread, which is this test, a network namespace of its own, once; what it starts is in it too.
pub fn own() {
    if IS_OWN.replace(true) {
        return;
    }
    unshare(CloneFlags::CLONE_NEWNET).expect("root may make a network namespace");
    let socket = Socket::open().expect("a socket of the new namespace");
    loopback_up(&socket).expect("the loopback device of the new namespace");
}

/// Does something in the network of the whole test program, where the outside can be reached: to fetch packages.
pub fn of_the_host<T: Send>(body: impl FnOnce() -> T + Send) -> T {
    let there = || {
        // That of the main thread, which runs no test.
        let host = File::open("/proc/self/ns/net").expect("a namespace of this program's");
        setns(host, CloneFlags::CLONE_NEWNET).expect("root may join it");
        IS_OWN.set(true);
        body()
    };
    std::thread::scope(|scope| match scope.spawn(there).join() {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}
