//! Counts the write calls of processes, with perf if permitted, otherwise with strace, which slows
//! them down.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

const CALLS: [&str; 5] = ["write", "writev", "sendto", "sendmsg", "sendmmsg"];
/// The timeout for a tool to start and to stop.
const TIMEOUT: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// A running count.
pub struct WriteCount {
    tool: &'static str,
    child: Child,
    control: Option<Control>,
}

/// The two pipes that control when perf counts, because perf starts and stops slowly.
struct Control {
    orders: File,
    answers: File,
    _folder: TempDir,
}

impl WriteCount {
    /// Prepares a count.
    ///
    /// # Errors
    /// Says what is missing.
    pub fn prepare(pids: &[u32]) -> Result<WriteCount> {
        let names: Vec<String> = pids.iter().map(u32::to_string).collect();
        let names = names.join(",");
        if may_use_perf() {
            let folder = tempfile::tempdir()?;
            let [orders, answers] = ["orders", "answers"].map(|name| folder.path().join(name));
            let made = Command::new("mkfifo").args([&orders, &answers]).status();
            made.context("there is no mkfifo")?;
            let calls = CALLS.map(|call| format!("syscalls:sys_enter_{call}")).join(",");
            let pipes = format!("fifo:{},{}", orders.display(), answers.display());
            let mut command = Command::new("perf");
            command.args(["stat", "-x", ";", "-D", "-1", "-e", &calls, "-p", &names]);
            let control = Control {
                orders: open_pipe(&orders)?,
                answers: open_pipe(&answers)?,
                _folder: folder,
            };
            let child = spawn(command.args(["--control", &pipes]))?;
            let mut count = WriteCount { tool: "perf", child, control: Some(control) };
            count.order("ping")?;
            return Ok(count);
        }
        let mut command = Command::new("strace");
        command.args(["-c", "-f", "-q", "-e", &format!("trace={}", CALLS.join(","))]);
        let child = spawn(command.args(["-p", &names]))
            .context("neither perf (with the right to use it) nor strace is there")?;
        let mut count = WriteCount { tool: "strace", child, control: None };
        let begin = Instant::now();
        while !pids.iter().all(|pid| is_traced(*pid)) {
            count.check(begin)?;
        }
        Ok(count)
    }

    /// Starts to count. strace has started already.
    pub fn begin(&mut self) -> Result<()> {
        self.order("enable")
    }

    /// Stops. Returns the number of calls and the tool that counted them.
    pub fn stop(mut self) -> Result<(u64, &'static str)> {
        self.order("disable")?;
        self.end()?;
        let mut said = String::new();
        let mut stderr = self.child.stderr.take().context("the tool's words are gone")?;
        stderr.read_to_string(&mut said)?;
        let n = if self.tool == "perf" { of_perf(&said) } else { of_strace(&said) };
        let n = n.with_context(|| format!("{} counted nothing: {}", self.tool, said.trim()))?;
        Ok((n, self.tool))
    }

    /// Stops the tool, by force if needed, so that nothing stays attached to the processes.
    fn end(&mut self) -> Result<()> {
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        // Both tools detach from the processes and print their counts.
        kill_process(Pid::from_child(&self.child), Signal::INT)?;
        let begin = Instant::now();
        while self.child.try_wait()?.is_none() {
            if begin.elapsed() > TIMEOUT {
                self.child.kill()?;
                self.child.wait()?;
                bail!("{} does not end", self.tool);
            }
            sleep(LOOK_AGAIN);
        }
        Ok(())
    }

    /// Sends perf a command and waits for its confirmation.
    fn order(&mut self, order: &str) -> Result<()> {
        let Some(control) = &mut self.control else { return Ok(()) };
        writeln!(control.orders, "{order}")?;
        let (begin, mut answer) = (Instant::now(), [0; 16]);
        loop {
            let Some(control) = &mut self.control else { return Ok(()) };
            match control.answers.read(&mut answer) {
                Ok(n) if answer[..n].starts_with(b"ack") => return Ok(()),
                Ok(_) => bail!("perf did not {order}"),
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.check(begin)?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits a short time for a tool that should respond soon.
    fn check(&mut self, begin: Instant) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} ended at once ({status})", self.tool);
        }
        if begin.elapsed() > TIMEOUT {
            bail!("{} does not begin", self.tool);
        }
        sleep(LOOK_AGAIN);
        Ok(())
    }
}

impl Drop for WriteCount {
    fn drop(&mut self) {
        // Ignored, because an earlier error is more useful than this one.
        let _ = self.end();
    }
}

fn may_use_perf() -> bool {
    let mut probe = Command::new("perf");
    probe.args(["stat", "-x", ";", "-e", "syscalls:sys_enter_write", "true"]);
    let status = probe.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

fn spawn(command: &mut Command) -> Result<Child> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).env("LC_ALL", "C");
    Ok(command.spawn()?)
}

/// Opened for reading and writing, so that opening does not wait for the other end.
fn open_pipe(path: &Path) -> Result<File> {
    let flags = OFlags::NONBLOCK.bits() as i32;
    Ok(OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?)
}

fn is_traced(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:"));
    tracer.is_some_and(|tracer| tracer.trim() != "0")
}

/// The number of calls in lines of `calls;;syscalls:sys_enter_write;…`, one for each kind.
fn of_perf(said: &str) -> Option<u64> {
    let counts = said.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(';').collect();
        let [calls, _, name, ..] = fields[..] else { return None };
        // A kind without calls is `<not counted>`.
        name.starts_with("syscalls:").then(|| calls.parse::<u64>().unwrap_or(0))
    });
    counts.reduce(|a, b| a + b)
}

/// The number of calls in a table `% time  seconds  usecs/call  calls  [errors]  syscall`.
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
        let perf = "10;;syscalls:sys_enter_write;1;100.00;;\n\
                    <not counted>;;syscalls:sys_enter_sendto;1;1;;\n\
                    30;;syscalls:sys_enter_writev;1;1;;\n";
        assert_eq!(of_perf(perf), Some(40));
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

    #[test]
    fn calls_of_a_process_are_counted_where_a_tool_may() {
        // One call for each byte, for at most a minute.
        let mut writer = Command::new("timeout")
            .args(["60", "dd", "if=/dev/zero", "of=/dev/null", "bs=1"])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut family = vec![writer.id()];
        while family.len() < 2 {
            family = crate::procs::family(&[writer.id()]).unwrap();
        }
        let calls_so_far = || {
            let io = fs::read_to_string(format!("/proc/{}/io", family[1])).unwrap();
            let calls = io.lines().find_map(|line| line.strip_prefix("syscw: ")).unwrap();
            calls.parse::<u64>().unwrap()
        };
        let around = calls_so_far();
        let mut count = WriteCount::prepare(&family);
        let begun = count.as_mut().map_or(Ok(()), WriteCount::begin);
        let inside = calls_so_far();
        let start = Instant::now();
        while calls_so_far() < inside + 1_000 && start.elapsed() < TIMEOUT {
            sleep(LOOK_AGAIN);
        }
        let inside = calls_so_far() - inside;
        let counted = count.and_then(WriteCount::stop);
        let around = calls_so_far() - around;
        for pid in family.iter().rev() {
            let pid = Pid::from_raw(*pid as i32).unwrap();
            // The parent may have ended with its child.
            let _ = kill_process(pid, Signal::KILL);
        }
        writer.wait().unwrap();
        begun.unwrap();
        match counted {
            Ok((n, tool)) => {
                assert!((inside..=around).contains(&n), "{tool}: {n}, not {inside} to {around}");
            }
            // The results contain it too.
            Err(error) => eprintln!("write calls cannot be counted here: {error:#}"),
        }
    }

    #[test]
    fn a_count_that_is_given_up_leaves_no_tool_behind() {
        let child = spawn(Command::new("sleep").arg("60")).unwrap();
        let pid = child.id();
        drop(WriteCount { tool: "sleep", child, control: None });
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }
}
