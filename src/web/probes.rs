//! What operators ask: does the process answer, are rolls kept, and how does it do.

use std::time::Duration;

use rocket::fairing::AdHoc;
use rocket::http::{ContentType, Status};
use rocket::response::{self, Responder, Response};
use rocket::{Request, State, get, routes};
use serde_json::json;
use tracing::warn;

use crate::config::Config;
use crate::feed::Feed;
use crate::metrics::{Metrics, Outside};
use crate::store::{Store, StoreError};
use crate::web::http::error::wants_json;

/// The format that Prometheus is told: <https://prometheus.io/docs/specs/om/open_metrics_spec/>.
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Beyond three intervals, as on the live page: timers and commits are not exact.
const SLACK: Duration = Duration::from_secs(1);

struct Probes {
    store: Store,
    feed: Feed,
    metrics: Metrics,
    every: Duration,
    n_reserve_bytes: u64,
}

pub fn stage(config: &Config, store: Store, feed: Feed, metrics: Metrics) -> AdHoc {
    let (every, n_reserve_bytes) = (config.roller.every, config.store.n_reserve_bytes);
    let probes = Probes { store, feed, metrics, every, n_reserve_bytes };
    AdHoc::on_ignite("probes", |rocket| async {
        rocket.manage(probes).mount("/", routes![healthy, ready, metrics_text])
    })
}

/// The process answers.
#[get("/healthz")]
fn healthy() -> &'static str {
    "healthy\n"
}

/// Rolls are being kept, or why not.
#[get("/readyz")]
async fn ready(probes: &State<Probes>) -> Readiness {
    Readiness { reasons: probes.reasons().await }
}

/// All metrics.
#[get("/metrics")]
async fn metrics_text(probes: &State<Probes>) -> Result<(ContentType, String), Status> {
    let text = probes.scrape().await.map_err(|error| {
        warn!("no metrics: {:#}", anyhow::Error::new(error));
        Status::ServiceUnavailable
    })?;
    let content_type = ContentType::parse_flexible(METRICS_TYPE).expect("a media type");
    Ok((content_type, text))
}

/// Why there are no new rolls; empty when there are.
pub fn standstill(metrics: &Metrics, feed: &Feed, every: Duration) -> Vec<String> {
    let mut reasons = Vec::new();
    if let Some(fault) = metrics.fault() {
        reasons.push(format!("no roll can be stored: {fault}"));
    }
    let silence = feed.silence();
    if silence > 3 * every + SLACK {
        let seconds = silence.as_secs_f64();
        reasons.push(format!("no roll for {seconds:.1} s, expected one every {every:?}"));
    }
    reasons
}

impl Probes {
    /// Why rolls are not being kept, or soon cannot be; empty when all is well.
    async fn reasons(&self) -> Vec<String> {
        let mut reasons = standstill(&self.metrics, &self.feed, self.every);
        match self.store.disk().await {
            Err(error) => reasons.push(format!("{:#}", anyhow::Error::new(error))),
            Ok(disk) if disk.read_only => {
                reasons.push("the database is on a read-only file system".into());
            }
            Ok(disk) if disk.n_free_bytes < self.n_reserve_bytes => reasons.push(format!(
                "the database's disk is nearly full: {} MiB free, expected {} (reserve_mb)",
                disk.n_free_bytes >> 20,
                self.n_reserve_bytes >> 20
            )),
            Ok(_) => {}
        }
        reasons
    }

    async fn scrape(&self) -> Result<String, StoreError> {
        let disk = self.store.disk().await?;
        let outside = Outside {
            head: self.feed.head().id,
            n_database_bytes: disk.n_database_bytes,
            n_log_bytes: disk.n_log_bytes,
            n_free_bytes: disk.n_free_bytes,
        };
        Ok(self.metrics.scrape(outside).expect("writing to a text does not fail"))
    }
}

/// 200, or 503 with the reasons in words; JSON for clients that ask for JSON.
struct Readiness {
    reasons: Vec<String>,
}

impl<'r> Responder<'r, 'static> for Readiness {
    fn respond_to(self, request: &'r Request<'_>) -> response::Result<'static> {
        let Readiness { reasons } = self;
        let ready = reasons.is_empty();
        let body = if wants_json(request) {
            let body = json!({ "ready": ready, "reasons": reasons });
            (ContentType::JSON, body.to_string()).respond_to(request)?
        } else if ready {
            "ready\n".respond_to(request)?
        } else {
            format!("not ready\n{}\n", reasons.join("\n")).respond_to(request)?
        };
        let status = if ready { Status::Ok } else { Status::ServiceUnavailable };
        // Nobody between may answer for this server.
        Response::build_from(body).status(status).raw_header("Cache-Control", "no-store").ok()
    }
}
