//! Signals to other processes.

use std::process::Command;
use std::time::{Duration, Instant};

/// Sends a signal, such as `-HUP`, to a process.
pub(crate) fn signal(process: u32, signal: &str) {
    let status = Command::new("kill").args([signal, &process.to_string()]).status().unwrap();
    assert!(status.success(), "kill {signal} {process}: {status}");
}

/// Stops a process (SIGSTOP), and waits until none of its threads runs.
///
/// `kill` returns when the signal is on its way. On a busy machine, other threads of the process can go on until the one that
/// takes the signal gets a processor.
pub(crate) fn freeze(process: u32) {
    signal(process, "-STOP");
    let end = Instant::now() + Duration::from_secs(60);
    while !is_frozen(process) {
        assert!(Instant::now() < end, "process {process} runs on");
        // It runs on for as long as its threads wait for a processor.
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Continues a process (SIGCONT).
pub(crate) fn thaw(process: u32) {
    signal(process, "-CONT");
}

/// Returns true if each thread is stopped (`T` in `/proc`).
fn is_frozen(process: u32) -> bool {
    std::fs::read_dir(format!("/proc/{process}/task")).unwrap().all(|thread| {
        // A thread that ended between the two reads does not run.
        let Ok(stat) = std::fs::read_to_string(thread.unwrap().path().join("stat")) else {
            return true;
        };
        // The state is the first field after the name, which is in brackets and can contain brackets.
        stat.rsplit(')').next().unwrap().trim_start().starts_with('T')
    })
}
