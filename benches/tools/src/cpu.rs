//! The CPU time of processes and of all processes that they started.

use std::collections::HashMap;
use std::fs;

/// The parent of a process, and its CPU time in seconds, with that of its children that ended.
struct Process {
    parent: u32,
    seconds: f64,
}

/// Returns the CPU time that the processes and their descendants used, in seconds. A process that does not exist counts
/// as zero.
pub(crate) fn of_trees(roots: &[u32]) -> f64 {
    let processes = all();
    let belongs = |mut id: u32| {
        // A chain of parents that is longer than this is a loop, which /proc shows if ids are used again meanwhile.
        for _ in 0..64 {
            if roots.contains(&id) {
                return true;
            }
            match processes.get(&id) {
                Some(process) => id = process.parent,
                None => return false,
            }
        }
        false
    };
    let of_trees = processes.iter().filter(|(id, _)| belongs(**id));
    of_trees.map(|(_, process)| process.seconds).sum()
}

fn all() -> HashMap<u32, Process> {
    let folders = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = folders.filter_map(|folder| folder.file_name().to_str()?.parse::<u32>().ok());
    ids.filter_map(|id| Some((id, read(id)?))).collect()
}

/// Reads the fields of `/proc/PID/stat` that follow the name of the program, which can contain spaces. Linux counts in
/// hundredths of a second.
fn read(id: u32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let fields: Vec<_> = stat.rsplit(") ").next()?.split(' ').collect();
    let ticks = |field: usize| fields.get(field)?.parse::<f64>().ok();
    let (user, system, ended_user, ended_system) = (ticks(11)?, ticks(12)?, ticks(13)?, ticks(14)?);
    let seconds = (user + system + ended_user + ended_system) / 100.0;
    Some(Process { parent: fields.get(1)?.parse().ok()?, seconds })
}
