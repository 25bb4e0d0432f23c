//! Figures of a process and its children, from the kernel: CPU time, context switches, memory.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};

/// Counts since the start of the processes.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    /// In clock ticks, for each process.
    user_us: f64,
    system_us: f64,
    /// In nanoseconds, but only for running threads.
    threads_us: BTreeMap<u32, f64>,
    n_processes: usize,
    n_switches: u64,
}

/// The difference between two samples.
#[derive(Clone, Copy, Debug, Default)]
pub struct Used {
    pub user_us: f64,
    pub system_us: f64,
    /// Voluntary and involuntary context switches of all running threads.
    pub n_switches: u64,
}

impl Usage {
    /// The total comes from the finer clock, its division from the coarser one.
    pub fn since(&self, before: &Usage) -> Used {
        let (user, system) = (self.user_us - before.user_us, self.system_us - before.system_us);
        let coarse = user + system;
        let fine: f64 = self
            .threads_us
            .iter()
            .map(|(thread, us)| us - before.threads_us.get(thread).unwrap_or(&0.0))
            .sum();
        // A thread that ended meanwhile loses its fine count.
        let is_short = coarse - fine > 2.0 * tick_us() * self.n_processes as f64;
        let sum = if is_short { coarse } else { fine };
        let user_share = if coarse > 0.0 { user / coarse } else { 0.5 };
        Used {
            user_us: sum * user_share,
            system_us: sum * (1.0 - user_share),
            n_switches: self.n_switches.saturating_sub(before.n_switches),
        }
    }
}

fn tick_us() -> f64 {
    1e6 / rustix::param::clock_ticks_per_second() as f64
}

/// Processes and all their descendants.
pub fn family(pids: &[u32]) -> Result<Vec<u32>> {
    let mut parents = BTreeMap::<u32, u32>::new();
    for entry in fs::read_dir("/proc").context("cannot read /proc: this runs on Linux only")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // A process that ended meanwhile does not count.
        let Ok(fields) = stat(pid) else { continue };
        if let Some(parent) = fields.get(1).and_then(|parent| parent.parse().ok()) {
            parents.insert(pid, parent);
        }
    }
    let mut family = pids.to_vec();
    let mut i = 0;
    while let Some(&parent) = family.get(i) {
        family.extend(parents.iter().filter(|(_, p)| **p == parent).map(|(child, _)| child));
        i += 1;
    }
    Ok(family)
}

/// The number of open sockets of a process, including listening ones.
pub fn n_sockets(pid: u32) -> Result<usize> {
    let mut n_sockets = 0;
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        // A descriptor that was closed meanwhile does not count.
        let Ok(file) = fs::read_link(entry?.path()) else { continue };
        n_sockets += usize::from(file.to_string_lossy().starts_with("socket:"));
    }
    Ok(n_sockets)
}

/// The usage of processes and their children so far.
pub fn usage(pids: &[u32]) -> Result<Usage> {
    let mut usage = Usage::default();
    for pid in family(pids)? {
        usage.n_processes += 1;
        let fields = stat(pid)?;
        let ticks = |i: usize| fields.get(i).and_then(|ticks| ticks.parse::<f64>().ok());
        // Fields 14 and 15 of proc_pid_stat(5). These fields start at the third.
        usage.user_us += ticks(11).context("no user time in /proc")? * tick_us();
        usage.system_us += ticks(12).context("no system time in /proc")? * tick_us();
        for task in fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
            let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
            let switches = status.lines().filter_map(|line| line.split_once("ctxt_switches:"));
            usage.n_switches +=
                switches.filter_map(|(_, n)| n.trim().parse::<u64>().ok()).sum::<u64>();
            // Nanoseconds running, nanoseconds waiting for a core, and time slices.
            let schedule = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            let ns = schedule.split(' ').next().and_then(|ns| ns.parse::<f64>().ok());
            let thread = task.file_name().to_str().and_then(|name| name.parse().ok());
            if let (Some(ns), Some(thread)) = (ns, thread) {
                usage.threads_us.insert(thread, ns / 1e3);
            }
        }
    }
    Ok(usage)
}

/// Memory of processes and their children in KiB. Shared pages are divided among their processes.
pub fn memory_kib(pids: &[u32]) -> Result<u64> {
    let mut kib = 0;
    for pid in family(pids)? {
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

/// The peak resident memory of one process in KiB.
pub fn peak_kib(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    kib_of(&status, "VmHWM:").context("no VmHWM in /proc")
}

/// Connections that found the accept queue of any server full, since the machine's start. Their
/// clients retry after a second.
pub fn listen_overflows() -> Result<u64> {
    overflows(&fs::read_to_string("/proc/net/netstat")?).context("no ListenOverflows in netstat")
}

/// Parses groups of counters: a line of names, then a line of numbers.
fn overflows(netstat: &str) -> Option<u64> {
    let mut groups = netstat.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, numbers) = (groups.next()?, groups.next()?);
    let i = names.split(' ').position(|name| name == "ListenOverflows")?;
    numbers.split(' ').nth(i)?.parse().ok()
}

fn kib_of(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().strip_suffix(" kB")?.parse().ok()
}

/// The fields of /proc/PID/stat from the third on. The second is a name that may contain anything.
fn stat(pid: u32) -> Result<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(") ").context("no name in /proc")?;
    Ok(fields.split_whitespace().map(String::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    #[test]
    fn work_of_a_childs_child_is_counted() {
        // It ends by itself, even if this test panics.
        let script = "timeout 30 sh -c 'while :; do :; done' & wait";
        let mut shell = Command::new("sh").args(["-c", script]).spawn().unwrap();
        let (begin, before) = (Instant::now(), Usage::default());
        let mut used = Used::default();
        while used.user_us < 100_000.0 && begin.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(20));
            used = usage(&[shell.id()]).unwrap().since(&before);
        }
        let took = begin.elapsed().as_secs_f64() * 1e6;
        let family = family(&[shell.id()]).unwrap();
        for pid in family.iter().rev() {
            let pid = rustix::process::Pid::from_raw(*pid as i32).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        }
        shell.wait().unwrap();
        assert_eq!(family.len(), 3);
        assert!(used.user_us >= 100_000.0, "{used:?}");
        assert!(used.user_us + used.system_us < 2.0 * took, "{used:?} in {took} µs");
    }

    #[test]
    fn the_finer_count_is_taken_unless_a_thread_ended() {
        let usage = |ticks: f64, threads: &[(u32, f64)]| Usage {
            user_us: ticks * tick_us(),
            threads_us: threads.iter().copied().collect(),
            n_processes: 1,
            ..Usage::default()
        };
        let before = usage(1.0, &[(1, 9_000.0), (2, 1_000.0)]);
        let after = usage(2.0, &[(1, 10_000.0), (2, 4_000.0), (3, 500.0)]);
        assert_eq!(after.since(&before).user_us, 4_500.0);
        let one_ended = usage(5.0, &[(1, 10_000.0)]);
        assert_eq!(one_ended.since(&before).user_us, 4.0 * tick_us());
    }

    #[test]
    fn full_queues_are_counted() {
        let netstat = "TcpExt: A ListenOverflows B\nTcpExt: 1 42 3\nIpExt: A\nIpExt: 7\n";
        assert_eq!(overflows(netstat), Some(42));
        assert!(listen_overflows().is_ok());
    }

    #[test]
    fn memory_is_that_of_a_process() {
        let before = memory_kib(&[std::process::id()]).unwrap();
        let held = vec![1_u8; 50 << 20];
        let after = memory_kib(&[std::process::id()]).unwrap();
        assert!(after - before > 40 << 10, "{before} KiB, then {after} KiB");
        assert_eq!(held.iter().map(|byte| usize::from(*byte)).sum::<usize>(), 50 << 20);
    }

    #[test]
    fn sockets_are_distinguished_from_other_files() {
        let n_sockets_with = |stdin: Stdio| {
            let mut sleep = Command::new("sleep");
            let mut sleep = sleep.arg("60").stdin(stdin).spawn().unwrap();
            let n = n_sockets(sleep.id()).unwrap();
            sleep.kill().unwrap();
            sleep.wait().unwrap();
            n
        };
        let (socket, _other) = UnixStream::pair().unwrap();
        let without = n_sockets_with(Stdio::null());
        assert_eq!(n_sockets_with(OwnedFd::from(socket).into()), without + 1);
    }
}
