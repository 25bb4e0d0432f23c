//! What operators ask: does the process answer, are rolls being stored, and what did it count.

use rocket::fairing::AdHoc;
use rocket::http::{ContentType, MediaType, Status};
use rocket::response::{self, Responder, Response};
use rocket::{Request, State, get, routes};
use serde_json::json;
use tracing::debug;

use crate::config::Config;
use crate::feed::Feed;
use crate::health::{Audience, Health, Replication};
use crate::metrics::{
    DiskReadings, Evidence, FleetReadings, Limits, Metrics, Readings, from_open_metrics,
};
use crate::statistics::DieTally;
use crate::store::{Disk, Store, StoreError};
use crate::web::http::accept::{Accept, prefers_json};

/// The formats of `/metrics`, the default first.
/// <https://prometheus.io/docs/instrumenting/exposition_formats/>
const METRICS_TYPES: [&str; 2] = [
    "text/plain; version=0.0.4; charset=utf-8",
    "application/openmetrics-text; version=1.0.0; charset=utf-8",
];

struct Probes {
    store: Store,
    feed: Feed,
    health: Health,
    metrics: Metrics,
    limits: Limits,
}

/// Mounts the probes.
pub fn stage(config: &Config, store: Store, feed: Feed, health: Health, metrics: Metrics) -> AdHoc {
    let limits = Limits {
        every: config.roller.every,
        max_streams: config.web.max_streams,
        n_reserve_bytes: config.store.n_reserve_bytes,
    };
    let probes = Probes { store, feed, health, metrics, limits };
    AdHoc::on_ignite("probes", |rocket| async {
        rocket.manage(probes).mount("/", routes![healthy, ready, metrics])
    })
}

impl Probes {
    /// Why rolls are not being stored, or soon cannot be. Empty if they are.
    fn problems(&self, audience: Audience, disk: Result<Disk, StoreError>) -> Vec<String> {
        let mut problems = self.health.problems(audience);
        match disk {
            Ok(disk) => problems.extend(disk_problem(&disk, self.limits.n_reserve_bytes)),
            Err(error) => problems.push(match audience {
                Audience::ThisMachine => format!("{:#}", anyhow::Error::new(error)),
                Audience::Anyone => "the database's disk cannot be read".into(),
            }),
        }
        problems
    }
}

/// The process answers.
#[get("/healthz")]
fn healthy() -> &'static str {
    "healthy\n"
}

/// Whether rolls are being stored, and if not, why. Only this machine learns the details.
#[get("/readyz")]
async fn ready(audience: Audience, probes: &State<Probes>) -> Readiness {
    Readiness { reasons: probes.problems(audience, probes.store.disk().await) }
}

/// All metrics. Those of the disk are left out while it cannot be read.
#[get("/metrics")]
async fn metrics(probes: &State<Probes>) -> Scrape {
    let disk = probes.store.disk().await;
    let disk = disk.inspect_err(|error| debug!("no metrics of the disk: {error}"));
    let disk_readings = disk.as_ref().ok().map(|disk| DiskReadings {
        n_database_bytes: disk.n_database_bytes,
        n_log_bytes: disk.n_log_bytes,
        n_free_bytes: disk.n_free_bytes,
    });
    let head = probes.feed.head();
    Scrape(probes.metrics.scrape(Readings {
        ready: probes.problems(Audience::Anyone, disk).is_empty(),
        head: head.id,
        head_millis: head.unix_millis,
        last_commit: probes.health.last_commit(),
        limits: probes.limits,
        evidence: probes.store.read_tallies(|tallies| tallies.iter().map(evidence).collect()),
        disk: disk_readings,
        fleet: probes.health.replication().map(fleet_readings),
    }))
}

fn fleet_readings(replication: Replication) -> FleetReadings {
    FleetReadings {
        is_following: replication == Replication::Following,
        n_behind: match replication {
            Replication::CatchingUp { n_behind } => n_behind,
            _ => 0,
        },
    }
}

fn evidence(tally: &DieTally) -> Evidence {
    Evidence { die: tally.die, log10_e: tally.log10_e(), alarm: tally.alarm_id.is_some() }
}

/// Metrics in OpenMetrics, sent in the format that the client prefers.
struct Scrape(String);

impl<'r> Responder<'r, 'static> for Scrape {
    fn respond_to(self, request: &'r Request<'_>) -> response::Result<'static> {
        let offered: [MediaType; 2] = METRICS_TYPES.map(|text| text.parse().expect("a media type"));
        let chosen = Accept::of(request).preferred(&offered);
        let text = if *chosen == offered[0] { from_open_metrics(&self.0) } else { self.0 };
        let body = (ContentType(chosen.clone()), text).respond_to(request)?;
        Response::build_from(body).raw_header("Vary", "Accept").ok()
    }
}

/// Why rolls cannot be stored on this disk, or soon cannot.
fn disk_problem(disk: &Disk, n_reserve_bytes: u64) -> Option<String> {
    if disk.read_only {
        Some("the database is on a read-only file system".into())
    } else if disk.n_free_bytes < n_reserve_bytes {
        Some(format!(
            "the database's disk is nearly full: {} MiB free, expected {} (reserve_mb)",
            disk.n_free_bytes >> 20,
            n_reserve_bytes >> 20
        ))
    } else {
        None
    }
}

/// 200, or 503 with the reasons; JSON for clients that ask for JSON.
struct Readiness {
    reasons: Vec<String>,
}

impl<'r> Responder<'r, 'static> for Readiness {
    fn respond_to(self, request: &'r Request<'_>) -> response::Result<'static> {
        let Readiness { reasons } = self;
        let ready = reasons.is_empty();
        let body = if prefers_json(request) {
            let body = json!({ "ready": ready, "reasons": reasons });
            (ContentType::JSON, body.to_string()).respond_to(request)?
        } else if ready {
            "ready\n".respond_to(request)?
        } else {
            format!("not ready\n{}\n", reasons.join("\n")).respond_to(request)?
        };
        let status = if ready { Status::Ok } else { Status::ServiceUnavailable };
        // No cache may answer for this server.
        Response::build_from(body)
            .status(status)
            .raw_header("Cache-Control", "no-store")
            .raw_header("Vary", "Accept")
            .ok()
    }
}
