//! Figures of a process, from the kernel.

use std::fs;
use std::time::{Duration, Instant};

use rustix::param::clock_ticks_per_second;

/// The number of open files, sockets included.
pub fn n_open_files(process: u32) -> usize {
    fs::read_dir(format!("/proc/{process}/fd")).unwrap().count()
}

/// The number of open sockets, without files, whose number depends on earlier queries.
pub fn n_sockets(process: u32) -> usize {
    let files = fs::read_dir(format!("/proc/{process}/fd")).unwrap();
    // A descriptor that was closed meanwhile does not count.
    let targets = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
    targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
}

/// Resident memory in KiB.
pub fn resident_kib(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// The share of a CPU core that each process uses, measured over `time`.
pub fn cpu_shares<const N: usize>(processes: [u32; N], time: Duration) -> [f64; N] {
    let (start, before) = (Instant::now(), processes.map(cpu_seconds));
    while start.elapsed() < time {
        std::thread::park_timeout(time.saturating_sub(start.elapsed()));
    }
    let (seconds, after) = (start.elapsed().as_secs_f64(), processes.map(cpu_seconds));
    std::array::from_fn(|n| (after[n] - before[n]) / seconds)
}

/// <https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>, fields 14 and 15.
fn cpu_seconds(process: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // After the name, which may contain any character.
    let fields = stat.rsplit_once(") ").unwrap().1.split(' ');
    let ticks: u64 = fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    ticks as f64 / clock_ticks_per_second() as f64
}
