//! Debian's `sqlite3` on the database of a running server.

use std::fmt::Write as _;
use std::process::Command;

use crate::client::{Client, wait_until_rolled};
use crate::common::{Instance, wait_for};
use crate::oracle::{Roll, Seen, head, stored};

#[test]
fn the_tables_agree_in_every_transaction_while_the_server_rolls() {
    let instance = Instance::new("every = '50ms'");
    let _server = instance.start();
    wait_until_rolled(&instance, 1);
    let mut n_rolls_seen = Vec::new();
    wait_for("queries before and after 20 rolls", || {
        let counts = query(
            &instance,
            "begin;
             select count(*), min(id), max(id) from rolls;
             select die, count(*) from faces group by die order by die;
             select die, sum(n_rolls) from tallies group by die order by die;
             select count(*) from (
               select die, face, count(*) from faces group by die, face
               except select die, face, n_rolls from tallies
             );
             commit;",
        );
        let n: i64 = counts.split('|').next().unwrap().parse().unwrap();
        let expected = format!("{n}|1|{n}\n1D20|{n}\n1D6|{n}\n1D20|{n}\n1D6|{n}\n0\n");
        assert_eq!(counts, expected, "rolls, faces a die, tallies a die, differences");
        n_rolls_seen.push(n);
        (n >= n_rolls_seen[0] + 20).then_some(())
    });
    assert!(n_rolls_seen.is_sorted(), "expected a growing history, saw {n_rolls_seen:?}");
}

#[test]
fn a_long_transaction_has_one_snapshot_and_does_not_block_the_server() {
    let instance = Instance::new("every = '50ms'");
    let _server = instance.start();
    wait_until_rolled(&instance, 5);
    let mut shell = Client::spawn(&mut sqlite3(&instance), |_| Seen::default());
    let count = "select count(*) from rolls;";
    shell.send_line(&format!("begin; {count}"));
    let first = answers(&mut shell, 1)[0];
    wait_until_rolled(&instance, first + 10);
    shell.send_line(&format!("{count} commit; {count}"));
    let [_, second, third] = answers(&mut shell, 3)[..] else { panic!("expected 3 answers") };
    assert_eq!(second, first, "the same transaction sees the same rolls");
    assert!(third >= first + 10, "expected 10 rolls more than {first}, saw {third}");
}

#[test]
fn common_queries_return_the_expected_rows() {
    let instance = Instance::new("every = '1h'");
    instance.fill(7200, 1);
    let _server = instance.start();
    wait_until_rolled(&instance, 7201);
    let rolls = stored(&instance);
    let faces = |die: &str| -> Vec<i64> { rolls.iter().map(|roll| face(roll, die)).collect() };

    // The newest five rolls.
    let mut expected = String::new();
    for (id, rolled_at, dice) in instance.stored().iter().rev().take(5) {
        writeln!(expected, "{id}|{rolled_at}|{dice}").unwrap();
    }
    let sql = "select id, rolled_at, dice from rolls order by id desc limit 5";
    assert_eq!(query(&instance, sql), expected, "{sql}");

    // The average of each die.
    let mut expected = String::new();
    for die in ["1D20", "1D6"] {
        let sum: i64 = faces(die).iter().sum();
        writeln!(expected, "{die}|{:.3}", sum as f64 / 7201.0).unwrap();
    }
    let sql = "select die, printf('%.3f', avg(face)) from faces group by die order by die";
    assert_eq!(query(&instance, sql), expected, "{sql}");

    // How often each face came up, of all time.
    let mut expected = String::new();
    for (die, n_sides) in [("1D20", 20), ("1D6", 6)] {
        for side in 1..=n_sides {
            let n_rolls = faces(die).iter().filter(|face| **face == side).count();
            writeln!(expected, "{die}|{side}|{n_rolls}").unwrap();
        }
    }
    let sql = "select die, face, n_rolls from tallies order by die, face";
    assert_eq!(query(&instance, sql), expected, "{sql}");

    // The last natural 20.
    let last = instance.stored().into_iter().rfind(|(_, _, dice)| dice.ends_with("\"1D20\":20}"));
    let (id, rolled_at, _) = last.expect("a natural 20");
    let sql = "select id, rolled_at from faces where die = '1D20' and face = 20 \
               order by id desc limit 1";
    assert_eq!(query(&instance, sql), format!("{id}|{rolled_at}\n"), "{sql}");

    // Rolls per hour.
    let mut expected: Vec<(String, u32)> = Vec::new();
    for (_, rolled_at, _) in instance.stored() {
        match expected.iter_mut().find(|(hour, _)| rolled_at.starts_with(hour.as_str())) {
            Some((_, n_rolls)) => *n_rolls += 1,
            None => expected.push((rolled_at[..13].into(), 1)),
        }
    }
    expected.sort();
    let expected: String = expected.iter().map(|(hour, n)| format!("{hour}|{n}\n")).collect();
    let sql = "select substr(rolled_at, 1, 13) as hour, count(*) from rolls \
               group by hour order by hour";
    assert_eq!(query(&instance, sql), expected, "{sql}");
}

#[test]
fn the_examples_of_the_readme_work_when_pasted() {
    let instance = Instance::new("every = '1h'");
    instance.fill(7200, 1);
    let _server = instance.start();
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let examples: Vec<&str> =
        readme.lines().map(str::trim).filter(|line| line.starts_with("sqlite3 ")).collect();
    assert!(examples.len() >= 4, "expected examples in README.md, found {examples:#?}");
    for example in examples {
        let example = example.replace(" var/rolls.db ", " rolls.db ");
        let mut shell = Command::new("sh");
        shell.args(["-c", &example]).current_dir(instance.path()).env("HOME", instance.path());
        assert!(!answer(&mut shell).is_empty(), "expected an answer to {example}");
    }
}

#[test]
fn the_database_can_be_read_after_the_server_was_stopped_or_killed() {
    let instance = Instance::new("every = '50ms'");
    let count = "select count(*) from rolls";
    let mut server = instance.start();
    wait_until_rolled(&instance, 5);
    server.kill();
    assert_eq!(query(&instance, count), format!("{}\n", head(&instance)), "after kill -9");

    server = instance.start();
    wait_until_rolled(&instance, head(&instance) + 5);
    server.stop();
    assert_eq!(query(&instance, count), format!("{}\n", head(&instance)), "after a normal stop");
}

/// `sqlite3 -readonly`, without the user's configuration.
fn sqlite3(instance: &Instance) -> Command {
    let mut command = Command::new("sqlite3");
    command.args(["-readonly", "-batch"]).arg(instance.database()).env("HOME", instance.path());
    command
}

/// The output of `sqlite3` for a query.
fn query(instance: &Instance, sql: &str) -> String {
    answer(sqlite3(instance).arg(sql))
}

fn answer(command: &mut Command) -> String {
    let answer = command.output().unwrap_or_else(|error| {
        panic!("cannot start {command:?}: {error}; run tests/setup.sh to install it")
    });
    let complaints = String::from_utf8_lossy(&answer.stderr);
    let succeeded = answer.status.success() && complaints.is_empty();
    assert!(succeeded, "{command:?} ended with {}: {complaints}", answer.status);
    String::from_utf8(answer.stdout).unwrap()
}

/// All answers so far, once there are `n_answers`.
fn answers(shell: &mut Client, n_answers: usize) -> Vec<i64> {
    wait_for("sqlite3 to answer", || {
        assert!(shell.is_running(), "sqlite3 ended: {:?}", shell.output());
        let answers: Vec<i64> = shell.output().iter().map(|line| line.parse().unwrap()).collect();
        (answers.len() >= n_answers).then_some(answers)
    })
}

fn face(roll: &Roll, die: &str) -> i64 {
    let dice = crate::client::json(&roll.dice);
    dice[die].as_i64().unwrap_or_else(|| panic!("expected a {die}, saw {roll:?}"))
}
