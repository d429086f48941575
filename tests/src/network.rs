//! A network for each test: what an engine makes there is nobody else's, and ends with the test.

use std::cell::Cell;

use networking::Socket;
use networking::link::loopback_up;
use nix::sched::{CloneFlags, unshare};

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
