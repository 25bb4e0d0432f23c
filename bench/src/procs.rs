//! What the kernel says of a process and its children: time, context switches, memory.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Sub;

use anyhow::{Context, Result};

/// Counts since the start of the processes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    pub user_us: f64,
    pub system_us: f64,
    /// Voluntary and other context switches of all threads that live.
    pub n_switches: u64,
}

impl Sub for Usage {
    type Output = Usage;

    fn sub(self, before: Usage) -> Usage {
        Usage {
            user_us: self.user_us - before.user_us,
            system_us: self.system_us - before.system_us,
            n_switches: self.n_switches.saturating_sub(before.n_switches),
        }
    }
}

/// A process and all that descend from it.
pub fn family(pid: u32) -> Result<Vec<u32>> {
    let mut parents = BTreeMap::<u32, u32>::new();
    for entry in fs::read_dir("/proc").context("cannot read /proc: this runs on Linux only")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // A process that ended meanwhile is nobody's child.
        let Ok(fields) = stat(pid) else { continue };
        if let Some(parent) = fields.get(1).and_then(|parent| parent.parse().ok()) {
            parents.insert(pid, parent);
        }
    }
    let mut family = vec![pid];
    let mut i = 0;
    while let Some(&parent) = family.get(i) {
        family.extend(parents.iter().filter(|(_, p)| **p == parent).map(|(child, _)| child));
        i += 1;
    }
    Ok(family)
}

/// What a process and its children used so far.
pub fn usage(pid: u32) -> Result<Usage> {
    let tick_us = 1e6 / rustix::param::clock_ticks_per_second() as f64;
    let mut usage = Usage::default();
    for pid in family(pid)? {
        let fields = stat(pid)?;
        let ticks = |i: usize| fields.get(i).and_then(|ticks| ticks.parse::<f64>().ok());
        // Fields 14 and 15 of proc_pid_stat(5); ours start with the third.
        usage.user_us += ticks(11).context("no user time in /proc")? * tick_us;
        usage.system_us += ticks(12).context("no system time in /proc")? * tick_us;
        for task in fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
            let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
            let switches = status.lines().filter_map(|line| line.split_once("ctxt_switches:"));
            usage.n_switches +=
                switches.filter_map(|(_, n)| n.trim().parse::<u64>().ok()).sum::<u64>();
        }
    }
    Ok(usage)
}

/// Memory of a process and its children in KiB, shared pages divided among those who share them.
pub fn memory_kib(pid: u32) -> Result<u64> {
    let mut kib = 0;
    for pid in family(pid)? {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        kib += kib_of(&rollup, "Pss:").context("no Pss in smaps_rollup")?;
    }
    Ok(kib)
}

/// Resident memory of one process in KiB.
pub fn resident_kib(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    kib_of(&status, "VmRSS:").context("no VmRSS in /proc")
}

fn kib_of(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().strip_suffix(" kB")?.parse().ok()
}

/// The fields of /proc/PID/stat from the third on: the second, a name, may contain anything.
fn stat(pid: u32) -> Result<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(") ").context("no name in /proc")?;
    Ok(fields.split_whitespace().map(String::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::process::Command;
    use std::time::{Duration, Instant};

    #[test]
    fn work_of_a_child_is_counted() {
        let mut shell = Command::new("sh");
        let mut shell = shell.args(["-c", "sh -c 'while :; do :; done' & wait"]).spawn().unwrap();
        let begin = Instant::now();
        let mut work = 0.0;
        while work < 100_000.0 && begin.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(20));
            work = usage(shell.id()).unwrap().user_us;
        }
        let family = family(shell.id()).unwrap();
        for pid in family.iter().rev() {
            let pid = rustix::process::Pid::from_raw(*pid as i32).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        }
        shell.wait().unwrap();
        assert_eq!(family.len(), 2);
        assert!(work >= 100_000.0, "{work}");
    }

    #[test]
    fn memory_is_that_of_a_process() {
        let before = memory_kib(std::process::id()).unwrap();
        let held = vec![1_u8; 50 << 20];
        let after = memory_kib(std::process::id()).unwrap();
        assert!(after - before > 40 << 10, "{before} KiB, then {after} KiB");
        assert_eq!(held.iter().map(|byte| usize::from(*byte)).sum::<usize>(), 50 << 20);
    }
}
