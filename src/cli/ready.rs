//! `rollcast check --ready`: a probe for containers and monitoring.

use std::io::Read;
use std::time::Duration;

use anyhow::ensure;
use event_stream::client::Certificates;
use event_stream::http_url::HttpUrl;
use serde_json::Value;

use crate::cli::{Failure, say};
use crate::remote::{Expected, Remote};

/// How long the answer may take after its head.
const BODY_TIMEOUT: Duration = Duration::from_secs(2);
/// How long each step before that may take. A probe of a container is given a few seconds.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How many bytes of the answer are read.
const MAX_BYTES: u64 = 64 << 10;
const READINESS: Expected = Expected { content_type: "application/json", name: "a ready server" };

/// Asks the server at `url` whether rolls are being stored.
///
/// # Errors
///
/// The server does not answer, or is not ready; the error says why: exit code 1.
pub fn ready(url: HttpUrl) -> Result<(), Failure> {
    let server = Remote::with_timeout(url, Certificates::Public, TIMEOUT);
    Ok(ask(&server)?)
}

fn ask(server: &Remote) -> anyhow::Result<()> {
    let response = server.get("/readyz", READINESS, &[], BODY_TIMEOUT)?;
    let answer: Option<Value> = serde_json::from_reader(response.into_body().take(MAX_BYTES)).ok();
    let is_ready = answer.is_some_and(|answer| answer.get("ready") == Some(&Value::Bool(true)));
    ensure!(is_ready, "expected `\"ready\":true` at `{}`, got another answer", server.base());
    say("ready", server.base().to_string())
}
