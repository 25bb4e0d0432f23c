//! How many write calls the processes make: counted by perf where it may, else by strace, which
//! slows them down.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

const CALLS: [&str; 5] = ["write", "writev", "sendto", "sendmsg", "sendmmsg"];

/// A count that runs.
pub struct WriteCount {
    tool: &'static str,
    child: Child,
    begin: Instant,
}

/// What was counted.
pub struct Counted {
    pub calls_per_s: f64,
    pub tool: &'static str,
}

impl WriteCount {
    /// Starts to count; `Err` says what is missing.
    pub fn start(pids: &[u32]) -> Result<WriteCount> {
        let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
        let pids = pids.join(",");
        let probe = Command::new("perf")
            .args(["stat", "-x", ";", "-e", "syscalls:sys_enter_write", "true"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        let (tool, mut command) = if probe.is_ok_and(|status| status.success()) {
            let calls = CALLS.map(|call| format!("syscalls:sys_enter_{call}")).join(",");
            let mut command = Command::new("perf");
            command.args(["stat", "-I", "500", "-x", ";", "-e", &calls, "-p", &pids]);
            ("perf", command)
        } else {
            let mut command = Command::new("strace");
            command.args(["-c", "-f", "-q", "-e", &format!("trace={}", CALLS.join(",")), "-p"]);
            command.arg(&pids);
            ("strace", command)
        };
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .env("LC_ALL", "C")
            .spawn()
            .context("neither perf (with the right to use it) nor strace is there")?;
        Ok(WriteCount { tool, child, begin: Instant::now() })
    }

    /// Stops, and says what was counted.
    pub fn stop(mut self) -> Result<Counted> {
        let seconds = self.begin.elapsed().as_secs_f64();
        let pid = Pid::from_raw(self.child.id() as i32).context("no process")?;
        kill_process(pid, Signal::INT)?;
        let begin = Instant::now();
        while self.child.try_wait()?.is_none() {
            if begin.elapsed() > Duration::from_secs(10) {
                self.child.kill()?;
                bail!("{} does not end", self.tool);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let output = self.child.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        let calls_per_s = match self.tool {
            "perf" => of_perf(&said),
            // It does not say since when it counts; it takes but a moment to begin.
            _ => of_strace(&said).map(|n| n as f64 / seconds),
        };
        match calls_per_s {
            Some(calls_per_s) => Ok(Counted { calls_per_s, tool: self.tool }),
            None => bail!("{} counted nothing: {}", self.tool, said.trim()),
        }
    }
}

/// Calls per second, out of `seconds;calls;;syscalls:sys_enter_write;…` for each interval.
fn of_perf(said: &str) -> Option<f64> {
    let (mut n_calls, mut seconds) = (None, 0.0);
    for line in said.lines() {
        let fields: Vec<&str> = line.split(';').map(str::trim).collect();
        let [at, calls, _, name, ..] = fields[..] else { continue };
        if !name.starts_with("syscalls:") {
            continue;
        }
        seconds = at.parse::<f64>().ok()?;
        // A call that was not made is counted too, as `0` or `<not counted>`.
        *n_calls.get_or_insert(0.0) += calls.parse::<f64>().unwrap_or(0.0);
    }
    n_calls.map(|n_calls: f64| n_calls / seconds)
}

/// Calls, out of `% time  seconds  usecs/call  calls  [errors]  syscall`.
fn of_strace(said: &str) -> Option<u64> {
    let counts = said.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let name = fields.last()?;
        CALLS.contains(name).then(|| fields.get(3)?.parse::<u64>().ok()).flatten()
    });
    counts.reduce(|a, b| a + b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_added_up() {
        let perf = "     0.5;10;;syscalls:sys_enter_write;1;100.00;;\n\
                    0.5;20;;syscalls:sys_enter_writev;1;1;;\n\
                    0.8;<not counted>;;syscalls:sys_enter_write;1;1;;\n\
                    0.8;10;;syscalls:sys_enter_writev;1;1;;\n";
        assert_eq!(of_perf(perf), Some(50.0));
        assert_eq!(of_perf("perf: no permission\n"), None);
        let strace = "strace: Process 1 attached\n\
            % time     seconds  usecs/call     calls    errors syscall\n\
            ------ ----------- ----------- --------- --------- ----------------\n\
             90.00    0.000100           1        40           writev\n\
             10.00    0.000010           1         2         1 write\n\
            ------ ----------- ----------- --------- --------- ----------------\n\
            100.00    0.000110           1        42         1 total\n";
        assert_eq!(of_strace(strace), Some(42));
        assert_eq!(of_strace("strace: attach: Operation not permitted\n"), None);
    }
}
