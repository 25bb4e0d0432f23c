//! What a campaign found: a line of the table in docs/reliability.md.

use std::fs;
use std::path::Path;
use std::time::Duration;

/// One kind of fault, after all of its injections.
pub struct Row {
    /// What was done to the server, in words.
    pub fault: &'static str,
    pub n_injected: usize,
    /// Rolls that somebody saw or that were acknowledged, and are not stored or were not delivered.
    pub n_lost: usize,
    /// Rolls that a client got more than once.
    pub n_repeated: usize,
    /// What became of the server.
    pub recovered: Recovered,
    /// What was broken on purpose, and what the same oracle then said.
    pub control: String,
    /// The test's name, as `cargo test --test faults NAME` takes it.
    pub test: &'static str,
}

/// How a server comes through a fault.
pub enum Recovered {
    /// It goes on: the longest time from the fault's end to the next roll.
    In(Duration),
    /// It has to end, with the reason.
    Ends,
    /// Something else was measured, or nothing: in words.
    Words(String),
}

/// After a fault's end rolls go on within this time.
const RECOVERY: Duration = Duration::from_secs(5);
/// And on a machine that is slow, or busy with other tests: still no back-off of a minute.
const RECOVERY_OF_THE_BUSY: Duration = Duration::from_secs(25);

/// How often to inject: a quick part with all tests, the whole by `make torture`.
pub fn times(quick: usize, whole: usize) -> usize {
    if is_whole() { whole } else { quick }
}

fn is_whole() -> bool {
    std::env::var_os("ROLLCAST_TORTURE").is_some()
}

/// Whether a recovery took too long.
pub fn is_late(recovered: Duration) -> bool {
    recovered > if is_whole() { RECOVERY } else { RECOVERY_OF_THE_BUSY }
}

/// For a row that tells more of a recovery than the time it took.
pub fn assert_in_time(fault: &str, recovered: Duration) {
    assert!(!is_late(recovered), "{fault}: rolls went on after {recovered:?}");
}

impl Row {
    /// Prints the line, and leaves it where `make torture` collects them.
    pub fn write(&self) {
        if let Recovered::In(time) = self.recovered {
            assert_in_time(self.fault, time);
        }
        let recovered = match &self.recovered {
            Recovered::In(time) => format!("{:.1} s", time.as_secs_f64()),
            Recovered::Ends => "ends, with the reason".into(),
            Recovered::Words(words) => words.clone(),
        };
        let Row { fault, n_injected, n_lost, n_repeated, control, test, .. } = self;
        let line = format!(
            "| {fault} | {n_injected} | {n_lost} | {n_repeated} | {recovered} | {control} | `{test}` |"
        );
        println!("{line}");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("faults");
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join(test.replace("::", "-")).with_extension("row");
        fs::write(file, line + "\n").unwrap();
    }
}
