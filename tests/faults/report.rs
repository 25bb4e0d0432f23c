//! The result of a campaign: a row of the table in docs/reliability.md.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::common::Door;

/// One kind of fault, after all of its injections.
pub struct Row {
    /// The injected fault, in words.
    pub fault: &'static str,
    pub n_injected: usize,
    /// Rolls that a client saw but that are not stored, and stored rolls that were not delivered.
    pub n_lost: usize,
    /// Rolls that a client got more than once.
    pub n_repeated: usize,
    /// How the server recovered.
    pub recovered: Recovered,
    /// What was broken on purpose, and what the same oracle found then.
    pub control: String,
    /// The test's name, as `cargo test --test faults NAME` takes it, or `--test fleet`.
    pub test: &'static str,
}

/// How a server recovers from a fault.
pub enum Recovered {
    /// It continues: the longest time from the end of the fault to the next roll.
    In(Duration),
    /// It exits with the reason.
    Ends,
    /// Another measurement, or none, in words.
    Words(String),
}

/// The maximum time from the end of a fault to the next roll.
const RECOVERY: Duration = Duration::from_secs(5);
/// The same on a slow machine or one that runs other tests. It is shorter than a back-off of a
/// minute.
const RECOVERY_UNDER_LOAD: Duration = Duration::from_secs(25);

/// How often to inject a fault: `quick` times with all tests, `whole` times with `make torture`.
pub fn times(quick: usize, whole: usize) -> usize {
    if is_whole() { whole } else { quick }
}

fn is_whole() -> bool {
    std::env::var_os("ROLLCAST_TORTURE").is_some()
}

/// Whether a recovery took too long.
pub fn is_late(recovered: Duration) -> bool {
    recovered > if is_whole() { RECOVERY } else { RECOVERY_UNDER_LOAD }
}

/// Asserts the maximum recovery time, for rows that report more than that time.
pub fn assert_in_time(fault: &str, recovered: Duration) {
    assert!(!is_late(recovered), "{fault}: rolls continued after {recovered:?}");
}

impl Row {
    /// Prints the row, and writes it to the folder from which `make torture` collects the rows.
    pub fn write(&self) {
        self.write_at(Door::Rocket);
    }

    /// The same for a fault at one of the doors. The row of the fan-out door names it.
    pub fn write_at(&self, door: Door) {
        if let Recovered::In(time) = self.recovered {
            assert_in_time(self.fault, time);
        }
        let recovered = match &self.recovered {
            Recovered::In(time) => format!("{:.1} s", time.as_secs_f64()),
            Recovered::Ends => "exits with the reason".into(),
            Recovered::Words(words) => words.clone(),
        };
        let Row { fault, n_injected, n_lost, n_repeated, control, test, .. } = self;
        let (at_door, name) = match door {
            Door::Rocket => ("", test.replace("::", "-")),
            Door::Fanout => ("; at the fan-out door", test.replace("::", "-") + "-fanout"),
        };
        let line = format!(
            "| {fault}{at_door} | {n_injected} | {n_lost} | {n_repeated} | {recovered} | {control} | `{test}` |"
        );
        println!("{line}");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(env!("CARGO_CRATE_NAME"));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join(name).with_extension("row");
        fs::write(file, line + "\n").unwrap();
    }
}
