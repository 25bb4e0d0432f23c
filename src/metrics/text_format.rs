//! The text format 0.0.4 of Prometheus, made from OpenMetrics, the only format that the Prometheus
//! client writes.
//!
//! <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>

/// The same metrics in the older format. It has no units and no end mark, and names a counter with
/// its suffix `_total`.
pub fn from_open_metrics(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut lines = open_metrics.lines().peekable();
    while let Some(line) = lines.next() {
        if line == "# EOF" || line.starts_with("# UNIT ") {
            continue;
        }
        // The type follows the help text.
        let type_line = if line.starts_with("# HELP ") { lines.peek() } else { Some(&line) };
        let is_counter =
            type_line.is_some_and(|line| line.starts_with("# TYPE ") && line.ends_with(" counter"));
        match line.splitn(4, ' ').collect::<Vec<_>>()[..] {
            ["#", kind, name, rest] if is_counter => {
                text.extend(["# ", kind, " ", name, "_total ", rest]);
            }
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_named_as_its_sample_and_units_and_the_end_mark_are_left_out() {
        let open_metrics = "# HELP a_rolls Rolls since the start.\n# TYPE a_rolls counter\n\
                            a_rolls_total 7\n# HELP a_free_bytes Space.\n\
                            # TYPE a_free_bytes gauge\n# UNIT a_free_bytes bytes\n\
                            a_free_bytes 1\n# EOF\n";
        let text = "# HELP a_rolls_total Rolls since the start.\n# TYPE a_rolls_total counter\n\
                    a_rolls_total 7\n# HELP a_free_bytes Space.\n# TYPE a_free_bytes gauge\n\
                    a_free_bytes 1\n";
        assert_eq!(from_open_metrics(open_metrics), text);
    }
}
