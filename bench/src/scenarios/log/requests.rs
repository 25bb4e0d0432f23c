//! Requests of proofs, tiles and the checkpoint, at any depth of a log.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::report::{Table, figure};
use crate::scenarios::pages;
use crate::server::Server;
use crate::web::Pages;

/// The leaves of a full tile, and the hashes in one.
const TILE_LEN: u64 = 256;
/// The timeout for a checkpoint that covers all rolls. One is signed every second.
const SIGN_TIMEOUT: Duration = Duration::from_secs(20);

/// The times of requests.
pub struct Requests {
    n_requests: usize,
    table: Table,
    data: serde_json::Map<String, serde_json::Value>,
}

impl Requests {
    /// Makes `n_requests` for each row.
    pub fn new(n_requests: usize) -> Requests {
        let columns = ["request", "rolls", "p50, ms", "p99, ms", "max, ms"];
        Requests { n_requests, table: Table::new(&columns), data: serde_json::Map::new() }
    }

    pub fn table(self) -> Table {
        self.table
    }

    pub fn data(&self) -> serde_json::Value {
        self.data.clone().into()
    }

    /// Measures a server whose newest roll is `head`. No roll may come meanwhile.
    pub fn measure(&mut self, server: &Server, head: u64, rolls: &str) -> Result<()> {
        wait_until_signed(server, head)?;
        let mut rng = StdRng::seed_from_u64(1);
        self.row(server, "/checkpoint", rolls, |_| "/checkpoint".to_string())?;

        let deep = |n: u64, percent: u64, i: u64| (n - n * percent / 100).saturating_sub(i % 50);
        for (depth, percent) in
            [("newest", 0), ("1 % deep", 1), ("50 % deep", 50), ("99 % deep", 99)]
        {
            let path = |i| format!("/rolls/{}/proof", deep(head, percent, i).max(1));
            self.row(server, &format!("/rolls/<id>/proof, {depth}"), rolls, path)?;
        }
        let path = |_| format!("/rolls/{}/proof", rng.random_range(1..=head));
        self.row(server, "/rolls/<id>/proof, anywhere", rolls, path)?;

        let (n_tiles, width) = (head / TILE_LEN, head % TILE_LEN);
        if width > 0 {
            let path = format!("/tile/entries/{}.p/{width}", tile_path(n_tiles));
            self.row(server, "/tile/entries/<n>.p/<w>, newest", rolls, |_| path.clone())?;
        }
        for (depth, percent) in [("1 % deep", 1), ("50 % deep", 50), ("99 % deep", 99)] {
            let path = |i| {
                let n = deep(n_tiles - 1, percent, i);
                format!("/tile/entries/{}", tile_path(n))
            };
            self.row(server, &format!("/tile/entries/<n>, {depth}"), rolls, path)?;
        }
        for (name, level, n) in [
            ("/tile/entries/<n>, anywhere", "entries", n_tiles),
            ("/tile/0/<n>, anywhere", "0", n_tiles),
            ("/tile/1/<n>, anywhere", "1", n_tiles / TILE_LEN),
        ] {
            // A small log has no full tile above the leaves.
            if n > 0 {
                let path = |_| format!("/tile/{level}/{}", tile_path(rng.random_range(0..n)));
                self.row(server, name, rolls, path)?;
            }
        }
        Ok(())
    }

    fn row(
        &mut self,
        server: &Server,
        name: &str,
        rolls: &str,
        path: impl FnMut(u64) -> String,
    ) -> Result<()> {
        let times = pages::ask(server, self.n_requests, path)?;
        let ms = |quantile| times.value_at_quantile(quantile) as f64 / 1e3;
        let (p50, p99, max) = (ms(0.5), ms(0.99), ms(1.0));
        eprintln!("  {name}, {rolls}: p50 {p50} ms, p99 {p99} ms");
        let row = [name, rolls].map(String::from).into_iter();
        self.table.row(row.chain([p50, p99, max].map(figure)).collect());
        let data = serde_json::json!({ "p50_ms": p50, "p99_ms": p99, "max_ms": max });
        self.data.insert(format!("{name}: {rolls}"), data);
        Ok(())
    }
}

/// Waits for a checkpoint of all rolls up to `head`.
pub fn wait_until_signed(server: &Server, head: u64) -> Result<()> {
    let begin = Instant::now();
    while begin.elapsed() < SIGN_TIMEOUT {
        // Until the first one is signed, this is an error.
        let checkpoint = Pages::connect(server.target.address)?.text("/checkpoint");
        if let Ok(checkpoint) = checkpoint
            && size(&checkpoint)? >= head
        {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    bail!("no checkpoint covers roll {head}: {}", server.last_words());
}

/// The number of rolls in a checkpoint.
fn size(checkpoint: &str) -> Result<u64> {
    let size = checkpoint.lines().nth(1).and_then(|line| line.parse().ok());
    size.with_context(|| format!("expected a checkpoint, got `{checkpoint}`"))
}

/// The number of a tile as it is in paths. <https://c2sp.org/tlog-tiles>
fn tile_path(n: u64) -> String {
    let rest = format!("{:03}", n % 1_000);
    let mut groups = vec![rest];
    let mut n = n / 1_000;
    while n > 0 {
        groups.push(format!("x{:03}", n % 1_000));
        n /= 1_000;
    }
    groups.reverse();
    groups.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tile_has_its_path() {
        let table = [
            (0, "000"),
            (67, "067"),
            (999, "999"),
            (1_000, "x001/000"),
            (39_061, "x039/061"),
            (1_234_067, "x001/x234/067"),
        ];
        for (n, path) in table {
            assert_eq!(tile_path(n), path);
        }
    }

    #[test]
    fn the_size_of_a_checkpoint_is_its_second_line() {
        let checkpoint = "dice.example.org\n12345\nAAAA\n\n— dice.example.org BBBB\n";
        assert_eq!(size(checkpoint).unwrap(), 12_345);
        assert!(size("dice.example.org\n").is_err());
    }
}
