//! A server elsewhere, as commands see it: its address, its answers, and the events of its stream.

mod url;

use std::time::Duration;

use ureq::Agent;
use ureq::http::{Request, Response};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

pub use self::url::Url;

/// How long a connection may take, and again an answer to begin.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A server elsewhere; cheap to clone.
#[derive(Clone)]
pub struct Remote {
    agent: Agent,
    base: Url,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// Nobody answers there.
    #[error("cannot reach `{url}`")]
    Unreachable {
        /// The address.
        url: String,
        /// Why not.
        #[source]
        source: Box<ureq::Error>,
    },
    /// Somebody does, but not with what was asked for.
    #[error("expected {expected} at `{url}`, got {seen}")]
    Unexpected {
        /// What was asked for.
        expected: &'static str,
        /// The address.
        url: String,
        /// The status, and what the server says of it.
        seen: String,
    },
}

impl Remote {
    /// The server at `base`, of which only scheme, host and port count. `trusted` are the
    /// authorities whose certificates count; `None`: those that browsers trust.
    pub fn new(base: Url, trusted: Option<Vec<Certificate<'static>>>) -> Remote {
        let authorities = trusted.map_or(RootCerts::WebPki, RootCerts::from);
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .user_agent(concat!("rollcast/", env!("CARGO_PKG_VERSION")))
            .tls_config(TlsConfig::builder().root_certs(authorities).build())
            .timeout_resolve(Some(TIMEOUT))
            .timeout_connect(Some(TIMEOUT))
            .timeout_send_request(Some(TIMEOUT))
            .timeout_recv_response(Some(TIMEOUT))
            .build()
            .into();
        Remote { agent, base }
    }

    /// The answer to a `GET`, whose body can be read for `body_for`, or without end.
    ///
    /// # Errors
    ///
    /// Nobody answers, or not with 200 and this content type.
    pub fn get(
        &self,
        path: &str,
        (content_type, expected): (&str, &'static str),
        headers: &[(&str, &str)],
        body_for: Option<Duration>,
    ) -> Result<Response<ureq::Body>, RemoteError> {
        let url = self.base.join(path).map_or_else(|_| self.base.to_string(), |u| u.to_string());
        let unreachable =
            |source| RemoteError::Unreachable { url: url.clone(), source: Box::new(source) };
        let mut request = Request::get(&url).header("Accept", content_type);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).map_err(|error| unreachable(error.into()))?;
        let request = self.agent.configure_request(request).timeout_recv_body(body_for).build();
        let mut answer = self.agent.run(request).map_err(unreachable)?;
        let seen = answer.headers().get("Content-Type").and_then(|value| value.to_str().ok());
        let seen = seen.unwrap_or("no content type").to_string();
        if answer.status() == 200 && seen.split(';').next() == Some(content_type) {
            return Ok(answer);
        }
        let status = answer.status();
        let seen = match message(&mut answer) {
            Some(message) => format!("{status}: {message}"),
            None => format!("{status}, {seen}"),
        };
        Err(RemoteError::Unexpected { expected, url: url.clone(), seen })
    }
}

/// What the API says of an error.
fn message(answer: &mut Response<ureq::Body>) -> Option<String> {
    let body = answer.body_mut().with_config().limit(64 << 10).read_to_string().ok()?;
    let body: serde_json::Value = serde_json::from_str(&body).ok()?;
    Some(body.get("error")?.get("message")?.as_str()?.to_string())
}
