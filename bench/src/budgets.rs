//! The budgets: limits for ratios between servers that were measured in the same rounds.

use serde_json::Value;

use crate::report::{Section, Table, figure, median};

/// A limit for the ratio of one server's figure to another's.
struct Budget {
    what: &'static str,
    /// The scenario, and words of its command line.
    scenario: &'static str,
    words: &'static str,
    /// Where the figure is in a measurement, as a JSON pointer.
    figure: &'static str,
    server: &'static str,
    peer: &'static str,
    limit: Limit,
}

#[derive(Clone, Copy)]
enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

impl Limit {
    fn allows(self, ratio: f64) -> bool {
        match self {
            Limit::AtMost(limit) => ratio <= limit,
            Limit::AtLeast(limit) => ratio >= limit,
        }
    }

    fn text(self) -> String {
        match self {
            Limit::AtMost(limit) => format!("at most {}x", figure(limit)),
            Limit::AtLeast(limit) => format!("at least {}x", figure(limit)),
        }
    }
}

const CPU: &str = "/cpu_us_per_delivery";
const MEMORY: &str = "/memory_kib_per_client";
const LATENCY: &str = "/latency/p99_ms";
const DELIVERIES: &str = "/deliveries_per_s";

/// A budget of the fan-out door.
const fn door(
    what: &'static str,
    (scenario, words): (&'static str, &'static str),
    figure: &'static str,
    peer: &'static str,
    limit: Limit,
) -> Budget {
    Budget { what, scenario, words, figure, server: "door", peer, limit }
}

const BUDGETS: [Budget; 9] = [
    door("CPU per delivery", ("fanout", ""), CPU, "nchan", Limit::AtMost(0.75)),
    door("CPU per delivery", ("fanout", ""), CPU, "axum", Limit::AtMost(0.70)),
    door("memory per client", ("memory", ""), MEMORY, "nchan", Limit::AtMost(1.0)),
    door("memory per client", ("memory", ""), MEMORY, "axum", Limit::AtMost(0.60)),
    door("commit to client, p99", ("latency", ""), LATENCY, "nchan", Limit::AtMost(0.8)),
    door("deliveries/s", ("saturation", "--rate 1000"), DELIVERIES, "axum", Limit::AtLeast(0.95)),
    door("deliveries/s", ("saturation", "--rate 1000"), DELIVERIES, "nchan", Limit::AtLeast(2.0)),
    Budget {
        what: "CPU per delivery with TLS",
        scenario: "fanout",
        words: "door-tls",
        figure: CPU,
        server: "door-tls",
        peer: "nchan-tls",
        limit: Limit::AtMost(0.8),
    },
    Budget {
        what: "CPU per delivery through nginx",
        scenario: "fanout",
        words: "nginx-door",
        figure: CPU,
        server: "nginx-door",
        peer: "nginx-rollcast",
        limit: Limit::AtMost(1.0),
    },
];

/// A section with the budgets whose servers were measured; `None` if there are none.
pub fn section(sections: &[Section]) -> Option<Section> {
    let mut table = Table::new(&["what", "server", "budget", "measured", "result"]);
    for budget in &BUDGETS {
        let measured = sections.iter().filter(|section| {
            section.name == budget.scenario && section.command.contains(budget.words)
        });
        let ratio = measured.map(|section| ratio(&section.data, budget));
        let Some(ratio) = ratio.into_iter().find(|ratio| ratio.is_finite()) else { continue };
        let result = if budget.limit.allows(ratio) { "met" } else { "missed" };
        table.row(vec![
            budget.what.to_string(),
            budget.server.to_string(),
            format!("{} {}", budget.limit.text(), budget.peer),
            format!("{}x", figure(ratio)),
            result.to_string(),
        ]);
    }
    (!table.rows.is_empty()).then(|| Section {
        name: "budgets",
        title: "Budgets".to_string(),
        how:
            "Limits for ratios. Each ratio is computed within a round; the figure is the median of \
              all rounds. The scenarios below have the figures themselves."
                .to_string(),
        command: "rollcast-bench all".to_string(),
        tables: vec![table],
        ..Section::default()
    })
}

/// The median over all rounds of the ratio; not a number if no round has both servers.
fn ratio(rounds: &Value, budget: &Budget) -> f64 {
    let rounds = rounds.as_array().map(Vec::as_slice).unwrap_or_default();
    let ratios = rounds.iter().filter_map(|round| {
        let of = |name: &str| {
            let round = round.as_array()?;
            let measured = round.iter().find(|measured| measured["peer"] == name)?;
            measured.pointer(budget.figure)?.as_f64()
        };
        Some(of(budget.server)? / of(budget.peer)?)
    });
    median(ratios)
}

#[cfg(test)]
mod tests {
    use super::*;

    use serde_json::json;

    fn measured(peer: &str, cpu: f64) -> Value {
        json!({ "peer": peer, "cpu_us_per_delivery": cpu })
    }

    #[test]
    fn a_budget_is_compared_with_the_median_of_the_ratios_of_all_rounds() {
        let fanout = |data: Value| Section { name: "fanout", data, ..Section::default() };
        let rounds = json!([
            [measured("door", 5.0), measured("nchan", 10.0), measured("axum", 6.0)],
            // A slow period of the machine affects both.
            [measured("door", 60.0), measured("nchan", 100.0), measured("axum", 60.0)],
            [measured("door", 9.0), measured("nchan", 10.0), measured("flask", 1.0)],
        ]);
        let found = section(&[fanout(rounds)]).expect("budgets");
        let rows: Vec<&[String]> = found.tables[0].rows.iter().map(|row| &row[2..]).collect();
        assert_eq!(rows[0], ["at most 0.75x nchan", "0.60x", "met"]);
        assert_eq!(rows[1], ["at most 0.70x axum", "0.92x", "missed"]);
        assert_eq!(rows.len(), 2);
        assert!(section(&[fanout(json!([[measured("door", 5.0)]]))]).is_none());
    }

    #[test]
    fn limits_include_their_value() {
        assert!(Limit::AtMost(0.8).allows(0.8) && !Limit::AtMost(0.8).allows(0.81));
        assert!(Limit::AtLeast(2.0).allows(2.0) && !Limit::AtLeast(2.0).allows(1.99));
    }
}
