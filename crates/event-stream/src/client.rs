//! A blocking HTTP client with a timeout for each step.

use std::fmt;
use std::io::{self, Read};
use std::time::{Duration, Instant};

use http::{HeaderMap, StatusCode, header};
use rustls_pki_types::CertificateDer;
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::transport::{Connector, DefaultConnector};

use crate::forward::{ForwardConnector, ProxyResolver, forwarding};
use crate::http_url::HttpUrl;
use crate::proxy::{Proxies, ProxyError};
use crate::stream::Stream;

/// How a client behaves on every request.
#[derive(Clone, Debug)]
pub struct Config {
    /// The `User-Agent`.
    pub user_agent: String,
    /// Which servers a TLS connection accepts.
    pub certificates: Certificates,
    /// How many redirects it follows; beyond them, the redirect itself is the response.
    pub max_redirects: u32,
    /// Which requests go through a proxy.
    pub proxies: Proxies,
}

/// Which servers a TLS connection accepts.
#[derive(Clone, Debug)]
pub enum Certificates {
    /// Those that browsers trust: Mozilla's list of authorities.
    Public,
    /// Those of these authorities only.
    Of(Vec<CertificateDer<'static>>),
    /// All. Only for requests that send no secret.
    Unverified,
}

/// A client; clones share its connections.
///
/// ```no_run
/// use std::time::Duration;
///
/// use event_stream::client::{Certificates, Client, Config, Method, Request};
/// use event_stream::proxy::Proxies;
///
/// let client = Client::new(Config {
///     user_agent: "example/1.0".into(),
///     certificates: Certificates::Public,
///     max_redirects: 10,
///     proxies: Proxies::from_environment(),
/// });
/// let response = client.send(&Request {
///     method: Method::Get,
///     url: &"https://dice.example.org/stream/".parse()?,
///     headers: &[("Accept", "text/event-stream"), ("Last-Event-ID", "40")],
///     timeout: Duration::from_secs(10),
///     body_timeout: Some(Duration::from_secs(60)),
/// })?;
/// assert!(response.is_event_stream());
/// let mut stream = response.into_stream();
/// while let Some(frames) = stream.next_frames()? {
///     println!("{frames:?}");
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Client {
    agent: Agent,
    max_redirects: u32,
    proxies: Proxies,
}

/// One request without a body.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Its method.
    pub method: Method,
    /// Where it goes. A user name and password become an `Authorization` header.
    pub url: &'a HttpUrl,
    /// Names and values.
    pub headers: &'a [(&'a str, &'a str)],
    /// How long each step may take: name resolution, connection with TLS, request, response head.
    pub timeout: Duration,
    /// How long reading the response body may take. The whole request, body included, then takes
    /// at most `timeout` and this time. `None`: no limit.
    pub body_timeout: Option<Duration>,
}

/// A method without a request body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `GET`.
    Get,
    /// `HEAD`.
    Head,
}

/// A response whose body is still to be read.
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The proxy that it came through, for an error.
    pub proxy: Option<String>,
    body: ureq::Body,
}

/// Why there is no response. Names the proxy, if there is one.
#[derive(Debug)]
pub struct ClientError {
    error: Box<ureq::Error>,
    proxy: Option<String>,
}

impl std::error::Error for ClientError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&*self.error)
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.proxy {
            Some(proxy) => write!(f, "through the proxy {proxy}: {}", self.error),
            None => self.error.fmt(f),
        }
    }
}

impl Client {
    /// A client that behaves so.
    pub fn new(config: Config) -> Client {
        let tls = TlsConfig::builder();
        let tls = match config.certificates {
            Certificates::Public => tls.root_certs(RootCerts::WebPki),
            Certificates::Of(authorities) => {
                let authorities =
                    authorities.iter().map(|der| Certificate::from_der(der).to_owned());
                tls.root_certs(authorities.into())
            }
            Certificates::Unverified => tls.disable_verification(true),
        };
        let builder = Agent::config_builder()
            .http_status_as_error(false)
            // Followed here, because each may need another proxy or none.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent(config.user_agent)
            // Events that are compressed arrive late.
            .accept_encoding("")
            .tls_config(tls.build());
        let Config { max_redirects, proxies, .. } = config;
        let connector =
            DefaultConnector::new().chain(ForwardConnector { proxies: proxies.clone() });
        let resolver = ProxyResolver::new(proxies.clone());
        let agent = Agent::with_parts(builder.build(), connector, resolver);
        Client { agent, max_redirects, proxies }
    }

    /// Sends a request and waits for the head of the response, whatever its status. Follows
    /// redirects up to the limit.
    ///
    /// # Errors
    ///
    /// No response head arrived in time, the connection failed, a header is not valid, or the
    /// environment names something that is no HTTP proxy.
    pub fn send(&self, request: &Request<'_>) -> Result<Response, ClientError> {
        let start = Instant::now();
        let mut url = request.url.clone();
        for n_redirects in 0.. {
            let response = self.send_once(request, &url, start.elapsed())?;
            let location = response.headers.get(header::LOCATION);
            let location = location.and_then(|location| location.to_str().ok());
            let next = match response.status.as_u16() {
                301 | 302 | 303 | 307 | 308 if n_redirects < self.max_redirects => {
                    location.and_then(|location| url.join(location).ok())
                }
                _ => None,
            };
            let Some(mut next) = next else { return Ok(response) };
            next.keep_credentials(&url);
            url = next;
        }
        unreachable!("the number of redirects is limited")
    }

    /// Sends a request to `url`, after redirects that have taken `elapsed`.
    fn send_once(
        &self,
        request: &Request<'_>,
        url: &HttpUrl,
        elapsed: Duration,
    ) -> Result<Response, ClientError> {
        let Request { timeout, body_timeout, .. } = *request;
        let method = match request.method {
            Method::Get => http::Method::GET,
            Method::Head => http::Method::HEAD,
        };
        let proxy = self.proxies.for_url(url).map_err(ClientError::from)?;
        let tunnel = match proxy {
            Some(proxy) if forwarding(&self.proxies, url).is_none() => {
                Some(ureq::Proxy::new(proxy.url().with_credentials()))
            }
            _ => None,
        };
        let proxy = proxy.map(ToString::to_string);
        let failed = |error| ClientError { error: Box::new(error), proxy: proxy.clone() };
        let mut builder = http::Request::builder().method(method).uri(url.without_credentials());
        if let Some(authorization) = url.authorization() {
            builder = builder.header(header::AUTHORIZATION, authorization);
        }
        for (name, value) in request.headers {
            builder = builder.header(*name, *value);
        }
        let built = builder.body(()).map_err(|error| failed(error.into()))?;
        let total = body_timeout.map(|body_timeout| timeout + body_timeout);
        // A time of zero would be none.
        let left = total.map(|total| total.saturating_sub(elapsed).max(Duration::from_millis(1)));
        let built = self.agent.configure_request(built);
        let built = built
            .proxy(tunnel.transpose().map_err(failed)?)
            .timeout_resolve(Some(timeout))
            .timeout_connect(Some(timeout))
            .timeout_send_request(Some(timeout))
            .timeout_recv_response(Some(timeout))
            .timeout_recv_body(body_timeout)
            .timeout_global(left)
            .build();
        let response = self.agent.run(built).map_err(failed)?;
        let (parts, body) = response.into_parts();
        Ok(Response { status: parts.status, headers: parts.headers, proxy, body })
    }
}

impl Response {
    /// The `Content-Type` without parameters, in lower case; empty without one.
    pub fn content_type(&self) -> String {
        content_type(&self.headers)
    }

    /// Whether an `EventSource` would listen: status 200 and `text/event-stream`.
    pub fn is_event_stream(&self) -> bool {
        self.status == StatusCode::OK && self.content_type() == "text/event-stream"
    }

    /// The body as frames.
    pub fn into_stream(self) -> Stream<Body> {
        Stream::new(self.into_body())
    }

    /// The body as bytes.
    pub fn into_body(self) -> Body {
        Body(self.body.into_reader())
    }
}

/// The `Content-Type` without parameters, in lower case; empty without one.
pub fn content_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).map(|value| value.as_bytes());
    let value = String::from_utf8_lossy(value.unwrap_or_default());
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// A response body. A read fails with [`io::ErrorKind::TimedOut`] when the time for it is over.
pub struct Body(ureq::BodyReader<'static>);

impl Read for Body {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.read(bytes).map_err(|error| match ureq::Error::from(error) {
            ureq::Error::Timeout(_) => io::ErrorKind::TimedOut.into(),
            ureq::Error::Io(error) => error,
            error => io::Error::other(error),
        })
    }
}

impl ClientError {
    /// Whether a step took longer than it may.
    pub fn is_timeout(&self) -> bool {
        matches!(*self.error, ureq::Error::Timeout(_))
    }
}

impl From<ProxyError> for ClientError {
    fn from(error: ProxyError) -> ClientError {
        ClientError { error: Box::new(io::Error::other(error).into()), proxy: None }
    }
}
