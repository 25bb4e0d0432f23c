//! The oracle of a fleet: after whatever happened, all nodes have the same rolls, statistics and
//! checkpoints, the log has the same rolls, and every client saw all of them once.

use std::time::Duration;

use jiff::Timestamp;
use rollcast::log::Checkpoint;
use rusqlite::Connection;
use rusqlite::types::Value as Cell;
use serde_json::Value;

use crate::client_oracle::{Log, Stored};
use crate::clients::Clients;
use crate::common::{Instance, wait_for};
use crate::fleet::Fleet;
use crate::nats::Entry;
use crate::nodes::Node;

/// A stored roll: its id, its timestamp and its dice.
pub type Roll = (i64, String, String);

/// What one stopped node has stored.
#[derive(Clone)]
pub struct Replica {
    pub rolls: Vec<Roll>,
    /// The rows of all statistics and of the hashes of tiles.
    statistics: Vec<String>,
}

/// What the oracle found.
pub struct Verdict {
    pub rolls: Vec<Roll>,
    pub n_lost: usize,
    pub n_repeated: usize,
    pub faults: Vec<String>,
}

/// Everything that is computed from the rolls alone.
const COMPUTED: [&str; 7] = [
    "die_statistics",
    "result_statistics",
    "block_cells",
    "p_value_bins",
    "evidence_peaks",
    "projections",
    "tile_hashes",
];

impl Replica {
    /// Reads the database of a stopped node.
    pub fn read(instance: &Instance) -> Replica {
        // Opened for writing, because after a kill SQLite has to recover the write-ahead log first.
        let database = Connection::open(instance.database()).unwrap();
        let check: String =
            database.query_row("pragma integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(check, "ok");
        let statistics = COMPUTED.iter().flat_map(|table| rows(&database, table)).collect();
        Replica { rolls: instance.stored(), statistics }
    }
}

/// All rows of a table, sorted, as text.
fn rows(database: &Connection, table: &str) -> Vec<String> {
    // A count of 0 may be there or not.
    let (_, name) = table.split_once('.').unwrap_or(("main", table));
    let empty = match name {
        "block_cells" => "where n_rolls > 0",
        "p_value_bins" => "where n_blocks > 0",
        _ => "",
    };
    let mut statement = database.prepare(&format!("select * from {table} {empty}")).unwrap();
    let n_columns = statement.column_count();
    let rows = statement.query_map([], |row| {
        let cells: Vec<Cell> = (0..n_columns).map(|n| row.get(n).unwrap()).collect();
        Ok(format!("{name}: {cells:?}"))
    });
    let mut rows: Vec<String> = rows.unwrap().map(Result::unwrap).collect();
    rows.sort();
    rows
}

/// How the replicas differ from the first one. Their rolls must have no gap.
pub fn differences(replicas: &[Replica]) -> Vec<String> {
    let mut faults = Vec::new();
    let first = &replicas[0];
    for (n, replica) in replicas.iter().enumerate() {
        for pair in replica.rolls.windows(2) {
            if pair[1].0 != pair[0].0 + 1 {
                faults.push(format!("replica {n}: roll {} follows {}", pair[1].0, pair[0].0));
            }
        }
        if replica.rolls != first.rolls {
            let place = replica.rolls.iter().zip(&first.rolls).position(|(a, b)| a != b);
            let place = place.unwrap_or(replica.rolls.len().min(first.rolls.len()));
            let roll = |replica: &Replica| replica.rolls.get(place).cloned();
            let (ours, theirs) = (roll(replica), roll(first));
            faults.push(format!("replica {n} has {ours:?} where replica 0 has {theirs:?}"));
        }
        let others = replica.statistics.iter().zip(&first.statistics);
        if let Some((ours, theirs)) = others.clone().find(|(ours, theirs)| ours != theirs) {
            faults.push(format!("replica {n} has {ours} where replica 0 has {theirs}"));
        } else if replica.statistics.len() != first.statistics.len() {
            faults.push(format!("replica {n} has other statistics than replica 0"));
        }
    }
    faults
}

/// How the databases of two stopped nodes differ, without reading them into memory.
pub fn differing_files(one: &Instance, other: &Instance) -> Vec<String> {
    // Opened for writing, because after a kill SQLite has to recover the write-ahead log first.
    let database = Connection::open(one.database()).unwrap();
    database.execute("attach ?1 as other", [other.database().to_str().unwrap()]).unwrap();
    let mut statement = database
        .prepare(
            "select coalesce(ours.id, theirs.id)
             from main.rolls as ours full join other.rolls as theirs on ours.id = theirs.id
             where ours.rolled_at is not theirs.rolled_at or ours.dice is not theirs.dice limit 3",
        )
        .unwrap();
    let rolls = statement.query_map([], |row| row.get::<_, i64>(0)).unwrap();
    let mut faults: Vec<String> = rolls.map(|id| format!("roll {} differs", id.unwrap())).collect();
    for table in COMPUTED {
        if rows(&database, &format!("main.{table}")) != rows(&database, &format!("other.{table}")) {
            faults.push(format!("{table} differ"));
        }
    }
    faults
}

/// What is wrong with the log of a fleet that has these rolls: each entry is the roll of its place,
/// and names the roll before.
pub fn faults_of_log(entries: &[Entry], rolls: &[Roll]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut before: Option<String> = None;
    for Entry { sequence, text } in entries {
        let Ok(entry) = serde_json::from_str::<Value>(text) else {
            faults.push(format!("entry {sequence} is `{text}`"));
            continue;
        };
        let id = entry["id"].as_i64().unwrap_or(0);
        if u64::try_from(id) != Ok(*sequence) {
            faults.push(format!("entry {sequence} is roll {id}"));
        }
        let after = entry["after"].as_str().unwrap_or_default();
        if before.as_deref().is_some_and(|before| before != after) {
            faults.push(format!("entry {sequence} follows `{after}`, after `{before:?}`"));
        }
        let rolled_at = entry["rolled_at"].as_str().unwrap_or_default();
        before = rolled_at
            .parse::<Timestamp>()
            .ok()
            .map(|rolled_at| format!("{id}-{}", rolled_at.as_millisecond()));
        let stored = rolls.iter().find(|roll| roll.0 == id);
        let is_stored = stored.is_some_and(|(_, stored_at, dice)| {
            stored_at == rolled_at && text.ends_with(&format!("\"dice\":{dice}}}"))
        });
        if !is_stored {
            faults.push(format!("entry {sequence} is `{text}`, stored is {stored:?}"));
        }
    }
    faults
}

/// Stops the rolling and compares everything.
pub fn judge(fleet: &mut Fleet, clients: Clients) -> Verdict {
    fleet.stop_rolling();
    let mut faults = differing_checkpoints(&fleet.nodes);
    let entries = fleet.engine.entries();
    clients.wait_for_roll(fleet.head());
    clients.tell_to_stop();
    fleet.stop_all();
    let mut logs = clients.stop();
    let replicas: Vec<Replica> =
        fleet.nodes.iter().map(|node| Replica::read(&node.instance)).collect();
    faults.extend(differences(&replicas));
    let rolls = replicas[0].rolls.clone();
    faults.extend(faults_of_log(&entries, &rolls));
    let (mut n_lost, mut n_repeated) = (0, 0);
    let stored = Stored::read(&fleet.nodes[0].instance);
    for (client, log) in &mut logs {
        log.settle(&stored);
        n_lost += log.n_lost;
        n_repeated += log.n_repeated;
        if log.n_faults() > 0 {
            let found = log.complaints().to_vec();
            let Log { n_lost, n_repeated, n_wrong, .. } = log;
            faults.push(format!(
                "{client}: {n_lost} lost, {n_repeated} repeated, {n_wrong} wrong: {found:?}"
            ));
        }
    }
    println!("{} rolls, {} clients", rolls.len(), logs.len());
    Verdict { rolls, n_lost, n_repeated, faults }
}

impl Verdict {
    pub fn assert_sound(&self) {
        assert!(self.faults.is_empty(), "{:#?}", self.faults);
    }
}

/// Waits until all nodes, which have the same newest roll, have signed it. Returns how their
/// checkpoints differ.
pub fn differing_checkpoints(nodes: &[Node]) -> Vec<String> {
    let roots: Vec<String> = nodes.iter().map(|node| checkpoint(node, node.head())).collect();
    let others = roots.iter().filter(|root| **root != roots[0]);
    others.map(|root| format!("the checkpoints `{root}` and `{}`", roots[0])).collect()
}

/// The signed checkpoint of a node that covers all rolls up to `size`.
fn checkpoint(node: &Node, size: i64) -> String {
    wait_for("the checkpoint of the newest roll", || {
        let (status, note) = node.get("/checkpoint");
        let covers = status == 200 && Checkpoint::read(&note).unwrap().1.size == size as u64;
        covers.then_some(note)
    })
}

/// The times between rolls, sorted. The clocks must agree.
pub fn gaps(rolls: &[Roll]) -> Vec<Duration> {
    let millis = |roll: &Roll| roll.1.parse::<Timestamp>().unwrap().as_millisecond();
    let mut gaps: Vec<Duration> = rolls
        .windows(2)
        .map(|pair| millis(&pair[1]) - millis(&pair[0]))
        .map(|gap| Duration::from_millis(gap.max(0) as u64))
        .collect();
    gaps.sort();
    gaps
}

/// How many rolls have a timestamp between two times.
pub fn n_rolled_between(rolls: &[Roll], from: Timestamp, to: Timestamp) -> usize {
    let is_between = |roll: &&Roll| {
        let rolled_at: Timestamp = roll.1.parse().unwrap();
        from < rolled_at && rolled_at < to
    };
    rolls.iter().filter(is_between).count()
}

/// Median and maximum of sorted times, in words.
pub fn median_and_max(times: &mut [Duration]) -> String {
    times.sort();
    let seconds = |n: usize| times.get(n).map_or(0.0, Duration::as_secs_f64);
    format!(
        "{:.2} s median, {:.2} s at most",
        seconds(times.len() / 2),
        seconds(times.len().max(1) - 1)
    )
}

#[test]
fn the_oracle_detects_rolls_that_differ_are_missing_or_out_of_place() {
    let roll =
        |id: i64| (id, format!("2026-11-23T00:00:{id:02}.000Z"), format!("{{\"1D6\":{id}}}"));
    let replica = |rolls: &[Roll]| Replica { rolls: rolls.to_vec(), statistics: Vec::new() };
    let whole: Vec<Roll> = (1..=5).map(roll).collect();
    let other = |n: usize, changed: Roll| {
        let mut rolls = whole.clone();
        rolls[n] = changed;
        differences(&[replica(&whole), replica(&rolls)]).len()
    };
    assert_eq!(differences(&[replica(&whole), replica(&whole)]).len(), 0);
    assert_eq!(other(2, (3, "2026-11-23T00:00:03.001Z".into(), "{\"1D6\":3}".into())), 1);
    assert_eq!(other(2, (3, "2026-11-23T00:00:03.000Z".into(), "{\"1D6\":4}".into())), 1);
    assert_eq!(differences(&[replica(&whole), replica(&whole[..4])]).len(), 1);
    let with_gap = [&whole[..2], &whole[3..]].concat();
    assert_eq!(differences(&[replica(&with_gap), replica(&with_gap)]).len(), 2);
    let counted = Replica { statistics: vec!["projections: 5".into()], ..replica(&whole) };
    assert_eq!(differences(&[replica(&whole), counted]).len(), 1);

    let millis = |id: i64| 1_795_392_000_000 + 1_000 * id;
    let entry = |sequence: u64, id: i64, after: i64| {
        let (_, rolled_at, dice) = roll(id);
        let after = if after == 0 { "0".into() } else { format!("{after}-{}", millis(after)) };
        let text = format!(
            "{{\"id\":{id},\"after\":\"{after}\",\"key\":\"0a1b2c3d\",\
             \"rolled_at\":\"{rolled_at}\",\"dice\":{dice}}}"
        );
        Entry { sequence, text }
    };
    let n_faults = |entries: &[Entry]| faults_of_log(entries, &whole).len();
    let log = [entry(1, 1, 0), entry(2, 2, 1), entry(3, 3, 2)];
    assert_eq!(n_faults(&log), 0, "{:?}", faults_of_log(&log, &whole));
    assert_eq!(n_faults(&[entry(1, 1, 0), entry(2, 1, 0)]), 2, "twice, and after nothing");
    assert_eq!(n_faults(&[entry(1, 1, 0), entry(2, 2, 3)]), 1, "after another roll");
    assert_eq!(n_faults(&[entry(6, 6, 5)]), 1, "not stored");
    assert_eq!(n_faults(&[Entry { sequence: 1, text: "junk".into() }]), 1);
    let minutes = |n: i64| Timestamp::from_second(1_795_392_000 + n).unwrap();
    assert_eq!(n_rolled_between(&whole, minutes(1), minutes(4)), 2);
    assert_eq!(gaps(&whole), [Duration::from_secs(1); 4]);
}
