//! A real pseudo-terminal around the command: what a person at a keyboard sees.

use std::process::Command;
use std::time::Duration;

use expectrl::process::unix::WaitStatus;
use expectrl::session::OsSession;
use expectrl::{Eof, Expect, Session};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testbed::engine::Engine;
use testbed::until;

/// How long a terminal has for what it is to show.
const PATIENCE: Duration = Duration::from_secs(20);

/// The command in a terminal of its own.
fn terminal(engine: &Engine, arguments: &[&str]) -> OsSession {
    let mut session = Session::spawn(engine.command(arguments)).expect("a terminal");
    session.set_expect_timeout(Some(PATIENCE));
    session
}

/// Asks the shell inside for its terminal's size until it is this one.
fn expect_size(shell: &mut OsSession, size: &str) {
    shell.set_expect_timeout(Some(Duration::from_secs(1)));
    until("the new size is seen inside", || {
        shell.send_line("stty size").expect("a terminal");
        shell.expect(size).is_ok()
    });
    shell.set_expect_timeout(Some(PATIENCE));
}

/// Waits until this runs in the container `box`: what is typed before may be for the shell yet.
fn until_runs(engine: &Engine, command: &str) {
    until(command, || engine.ok(&["exec", "box", "ps"]).contains(command));
}

fn exit_code(session: &OsSession) -> i32 {
    match session.get_process().wait().expect("our own child") {
        WaitStatus::Exited(_, code) => code,
        other => panic!("the command did not exit: {other:?}"),
    }
}

#[test]
fn a_shell_in_a_terminal() {
    let engine = Engine::with_busybox();
    let mut shell = terminal(&engine, &["run", "--rm", "-it", "--name", "box", "busybox", "sh"]);
    shell.get_process_mut().set_window_size(120, 33).unwrap();
    shell.send_line("tty; test -t 0 && echo is-a-$((1+0))-terminal; echo $TERM").unwrap();
    shell.expect("/dev/pts/0").unwrap();
    shell.expect("is-a-1-terminal").unwrap();
    shell.expect("xterm").unwrap();
    // A changed size arrives inside.
    expect_size(&mut shell, "33 120");
    // Ctrl-C interrupts what runs, and neither the shell nor the command.
    shell.send_line("sleep 1000; echo after-$((2+3))").unwrap();
    until_runs(&engine, "sleep 1000");
    shell.send("\x03").unwrap();
    shell.send_line("echo still-$((3+4))").unwrap();
    shell.expect("still-7").unwrap();
    shell.send_line("exit 9").unwrap();
    shell.expect(Eof).unwrap();
    assert_eq!(exit_code(&shell), 9);
}

#[test]
fn the_console_is_the_terminal() {
    let engine = Engine::with_busybox();
    let mut shell = terminal(&engine, &["run", "--rm", "-it", "-u", "user", "busybox", "sh"]);
    shell.send_line("id -un; stat -c %t:%T /dev/console; echo to-$((1+1))-console > /dev/tty").unwrap();
    shell.expect("user").unwrap();
    shell.expect("88:0").unwrap();
    shell.expect("to-2-console").unwrap();
    shell.send_line("exit").unwrap();
    shell.expect(Eof).unwrap();
    assert_eq!(exit_code(&shell), 0);
}

#[test]
fn ctrl_p_ctrl_q_leaves_it_running() {
    let engine = Engine::with_busybox();
    let mut shell = terminal(&engine, &["run", "-it", "--name", "left", "busybox", "sh"]);
    shell.send_line("echo here-$((1+1))").unwrap();
    shell.expect("here-2").unwrap();
    shell.send("\x10\x11").unwrap();
    shell.expect("read escape sequence").unwrap();
    shell.expect(Eof).unwrap();
    assert_eq!(exit_code(&shell), 0);
    assert_eq!(engine.inspect("left", "{{.State.Running}}"), "true");
}

#[test]
fn a_terminal_is_put_back_even_if_the_command_is_terminated() {
    let engine = Engine::with_busybox();
    // A shell in the terminal compares its mode before and after; `stty -g` prints all of it.
    let line = format!(
        "before=$(stty -g); {} run --rm -it --name box busybox sh -c 'echo up; sleep 1000'; code=$?; \
         test \"$before\" = \"$(stty -g)\" && echo same-$code",
        Engine::program().display()
    );
    let mut command = Command::new("sh");
    command.args(["-c", &line]);
    command.env("MINI_DOCKER_DATA_ROOT", engine.data()).env("MINI_DOCKER_EXEC_ROOT", engine.exec());
    let mut session = Session::spawn(command).unwrap();
    session.set_expect_timeout(Some(PATIENCE));
    session.expect("up").unwrap();
    engine.ok(&["kill", "box"]);
    session.expect("same-137").unwrap();
}

/// What is typed becomes a signal inside; one that comes to the command is its own, as with Docker's.
#[test]
fn signals_are_not_passed_on_with_a_terminal() {
    let engine = Engine::with_busybox();
    let line = format!(
        "before=$(stty -g); {} run -it --name box busybox sh -c 'echo up; sleep 1000'; code=$?; \
         test \"$before\" = \"$(stty -g)\" && echo same-$code",
        Engine::program().display()
    );
    let mut command = Command::new("sh");
    command.args(["-c", &line]);
    command.env("MINI_DOCKER_DATA_ROOT", engine.data()).env("MINI_DOCKER_EXEC_ROOT", engine.exec());
    let mut session = Session::spawn(command).unwrap();
    session.set_expect_timeout(Some(PATIENCE));
    session.expect("up").unwrap();
    let shell = session.get_process().pid();
    let children = std::fs::read_to_string(format!("/proc/{shell}/task/{shell}/children")).unwrap();
    let run = Pid::from_raw(children.trim().parse().unwrap());
    kill(run, Signal::SIGTERM).unwrap();
    session.expect("same-143").unwrap();
    assert_eq!(engine.inspect("box", "{{.State.Running}}"), "true");
}

#[test]
fn a_terminal_is_asked_for_where_there_is_none() {
    let engine = Engine::with_busybox();
    let mut command = engine.command(&["run", "--rm", "-it", "busybox"]);
    let output = testbed::output(command.stdin(std::process::Stdio::null()));
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "Error: the input device is not a TTY\n");
    // -t alone needs none: its output is a terminal's, with both streams in one.
    let output = engine.run(&["run", "--rm", "-t", "busybox", "sh", "-c", "echo out; echo err >&2"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "out\r\nerr\r\n");
}

#[test]
fn attached_again_with_other_keys_to_leave() {
    let engine = Engine::with_busybox();
    let mut shell =
        terminal(&engine, &["run", "-it", "--detach-keys", "ctrl-a,b", "--name", "box", "busybox", "sh"]);
    shell.send_line("word=kept; echo here-$((1+1))").unwrap();
    shell.expect("here-2").unwrap();
    shell.send("\x01b").unwrap();
    shell.expect("read escape sequence").unwrap();
    shell.expect(Eof).unwrap();
    assert_eq!(exit_code(&shell), 0);
    let mut shell = terminal(&engine, &["attach", "box"]);
    shell.send_line("echo $word-$((2+2))").unwrap();
    shell.expect("kept-4").unwrap();
    shell.send("\x10\x11").unwrap();
    shell.expect("read escape sequence").unwrap();
    shell.expect(Eof).unwrap();
    engine.ok(&["stop", "-t", "0", "box"]);
    let mut shell = terminal(&engine, &["start", "-ai", "box"]);
    shell.send_line("echo ${word:-lost}-$((3+3)); exit 8").unwrap();
    shell.expect("lost-6").unwrap();
    shell.expect(Eof).unwrap();
    assert_eq!(exit_code(&shell), 8);
}

#[test]
fn a_command_in_a_terminal_of_its_own() {
    let engine = Engine::with_busybox();
    engine.ok(&["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    let mut shell = terminal(&engine, &["exec", "-it", "box", "sh"]);
    shell.get_process_mut().set_window_size(101, 37).unwrap();
    shell.send_line("tty; echo $TERM-$((1+1))").unwrap();
    shell.expect("/dev/pts/0").unwrap();
    shell.expect("xterm-2").unwrap();
    expect_size(&mut shell, "37 101");
    shell.send_line("sleep 1234; echo after").unwrap();
    until_runs(&engine, "sleep 1234");
    shell.send("\x03").unwrap();
    shell.send_line("echo still-$((3+4))").unwrap();
    shell.expect("still-7").unwrap();
    shell.send_line("sleep 4321").unwrap();
    shell.send("\x10\x11").unwrap();
    shell.expect("read escape sequence").unwrap();
    shell.expect(Eof).unwrap();
    assert_eq!(exit_code(&shell), 0);
    until_runs(&engine, "sleep 4321");
    let mut shell = terminal(&engine, &["exec", "-it", "box", "sh", "-c", "exit 7"]);
    shell.expect(Eof).unwrap();
    assert_eq!(exit_code(&shell), 7);
}
