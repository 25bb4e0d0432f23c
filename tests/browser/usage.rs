//! What the processes of a browser use.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// Clock ticks a second in `/proc`, on every architecture that Linux still supports.
const TICKS: u32 = 100;

/// The memory of all processes of a group in bytes. Memory that they share counts once.
pub fn memory(group: u32) -> u64 {
    let proportional = processes(group).filter_map(|(path, _)| {
        let rollup = fs::read_to_string(path.join("smaps_rollup")).ok()?;
        let kilobytes = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        kilobytes.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()
    });
    proportional.sum::<u64>() * 1024
}

/// The processor time of all processes of a group.
pub fn processor_time(group: u32) -> Duration {
    let ticks = processes(group).filter_map(|(_, fields)| {
        let times = fields.get(11..13)?.iter().map(|time| time.parse::<u32>().ok());
        times.sum::<Option<u32>>()
    });
    Duration::from_secs(1) / TICKS * ticks.sum::<u32>()
}

/// The processes of a group: their folders, and the fields of `stat` after the name.
fn processes(group: u32) -> impl Iterator<Item = (PathBuf, Vec<String>)> {
    fs::read_dir("/proc").unwrap().filter_map(move |entry| {
        let path = entry.ok()?.path();
        let stat = fs::read_to_string(path.join("stat")).ok()?;
        // The name in brackets may contain spaces. After it come the state, the parent and the group.
        let fields: Vec<String> =
            stat.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect();
        (fields.get(2)?.parse::<u32>().ok()? == group).then_some((path, fields))
    })
}
