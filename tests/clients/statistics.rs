//! SciPy and NumPy compute the same statistics independently.

use std::fmt::Write as _;

use rusqlite::Connection;

use crate::client::{python, wait_until_rolled};
use crate::common::{Instance, http};

const DICE: [(u64, u64); 5] = [(1, 6), (1, 20), (2, 6), (10, 10), (1, 1000)];

/// An instance with `n_rolls` rolls of all dice from our own generator. Every `unfair`th 1D6 is a
/// six.
fn instance_of(n_rolls: u64, unfair: u64) -> Instance {
    let instance = Instance::new("every = '1h'\ndice = ['1D6', '1D20', '2D6', '10D10', '1D1000']");
    instance.fill(0, 1);
    // Knuth's MMIX generator, whose upper bits are random enough.
    let mut state: u64 = 5;
    let mut below = |n: u64| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % n
    };
    let mut connection = Connection::open(instance.database()).unwrap();
    let transaction = connection.transaction().unwrap();
    for n in 1..=n_rolls {
        let mut dice = String::new();
        for (n_dice, n_sides) in DICE {
            let mut sum: u64 = (0..n_dice).map(|_| 1 + below(n_sides)).sum();
            if (n_dice, n_sides) == (1, 6) && n % unfair == 0 {
                sum = 6;
            }
            let comma = if dice.is_empty() { "" } else { "," };
            write!(dice, "{comma}\"{n_dice}D{n_sides}\":{sum}").unwrap();
        }
        let sql = "insert into rolls (rolled_at, dice) values ('2026-11-25T00:00:00.000Z', ?1)";
        transaction.prepare_cached(sql).unwrap().execute([format!("{{{dice}}}")]).unwrap();
    }
    transaction.commit().unwrap();
    drop(connection);
    instance
}

/// Compares a response of `/api/stats` with SciPy's figures. Returns the lines that the script
/// prints.
fn judge(instance: &Instance, answer: &str) -> Vec<String> {
    let file = instance.path().join("stats.json");
    std::fs::write(&file, answer).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/statistics.py");
    let output = python().arg(script).arg(instance.database()).arg(&file).output().unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the script ended with {}: {complaints}", output.status);
    String::from_utf8(output.stdout).unwrap().lines().map(String::from).collect()
}

#[test]
fn scipy_computes_the_same_statistics_and_detects_a_wrong_one() {
    // A loaded die: every 20th roll is a six, which the fairness test must detect.
    let instance = instance_of(11_000, 20);
    let _server = instance.start();
    wait_until_rolled(&instance, 11_001);
    let mut answer = http().get(instance.url("/api/stats")).call().unwrap();
    let answer = answer.body_mut().read_to_string().unwrap();
    let lines = judge(&instance, &answer);
    assert_eq!(lines, ["same 1080"], "expected SciPy to compute the same figures");

    let mut wrong: serde_json::Value = serde_json::from_str(&answer).unwrap();
    let die = &mut wrong["dice"][0];
    assert!(die["fairness"]["alarm_id"].is_i64(), "expected an alarm for a loaded die: {die}");
    let nudge = |figure: &mut serde_json::Value| {
        *figure = (figure.as_f64().unwrap() * 1.001 + 1.0).into();
    };
    nudge(&mut die["fairness"]["log10_e"]);
    nudge(&mut die["blocks"]["last_p"]);
    nudge(&mut die["results"][2]["high"]);
    assert_eq!(judge(&instance, &wrong.to_string()).len(), 4, "control: three wrong figures");
}
