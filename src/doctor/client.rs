//! The network: connections, requests and streams, each with the times at which things came.

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use event_stream::parser::{Frame, Parser};
use jiff::Timestamp;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, ClientConnection, RootCertStore};
use ureq::Agent;
use ureq::http::HeaderMap;
use ureq::tls::{Certificate, TlsConfig};

use crate::remote::Url;

/// As many as browsers follow would only be a loop.
const MAX_HOPS: usize = 5;
/// A page is looked at no further.
const PAGE_BYTES: u64 = 4 << 20;
/// What is kept of a stream that is watched, at most: bytes and frames.
const WATCHED: Limits = Limits { n_bytes: 64 << 20, n_frames: 200_000 };
/// The same until a first event, of each of many streams.
const BEGUN: Limits = Limits { n_bytes: 1 << 20, n_frames: 10_000 };
/// Frames that have been read and not yet taken.
const QUEUED_FRAMES: usize = 1_000;
/// What comes later still counts as soon.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);
/// Between two signs of life while a stream is silent.
const TICK: Duration = Duration::from_millis(200);

/// How a connection comes about.
#[derive(Clone, Debug)]
pub struct Connection {
    /// This end's address.
    pub local: IpAddr,
    /// `None` for plain HTTP.
    pub tls: Option<Tls>,
}

/// What a browser finds out while it sets up encryption.
#[derive(Clone, Debug)]
pub enum Tls {
    /// The certificate is good.
    Trusted {
        /// Whether HTTP/2 was agreed on.
        http2: bool,
        /// Whether the certificate expires within 14 days.
        expires_soon: bool,
    },
    /// A browser shows a warning instead of the page.
    Refused(CertificateError),
}

/// The head of a response.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Where it came from in the end.
    pub url: Url,
    /// The redirects before that: status, and where each led.
    pub hops: Vec<(u16, Url)>,
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// From the request to this, of the last hop.
    pub after: Duration,
    /// When it came.
    pub at: Timestamp,
}

impl Answer {
    /// All values of a header, joined as HTTP joins them; `None` without any.
    pub fn header(&self, name: &str) -> Option<String> {
        let values: Vec<_> = self.headers.get_all(name).iter().collect();
        let values: Vec<_> =
            values.iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        if values.is_empty() { None } else { Some(values.join(", ")) }
    }

    /// The content type without its parameters, in lower case.
    pub fn content_type(&self) -> String {
        let header = self.header("content-type").unwrap_or_default();
        header.split(';').next().unwrap_or_default().trim().to_lowercase()
    }

    /// Whether an `EventSource` would listen.
    pub fn is_stream(&self) -> bool {
        self.status == 200 && self.content_type() == "text/event-stream"
    }
}

/// Why there is no response.
#[derive(Clone, Debug)]
pub enum NoAnswer {
    /// Not even a head came in this time.
    Silent(Duration),
    /// The connection failed, or the redirects made no sense.
    Failed(String),
}

/// A stream, watched for a while.
#[derive(Clone, Debug)]
pub struct Watch {
    /// Its head.
    pub answer: Answer,
    /// When the request was sent.
    pub started: Timestamp,
    /// What came, in order.
    pub arrivals: Vec<Arrival>,
    /// How it ended.
    pub end: End,
    /// How long it was open, from the request on.
    pub lasted: Duration,
}

/// A frame and when it came, from the request on.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// When.
    pub at: Duration,
    /// What.
    pub frame: Frame,
}

/// How a stream ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It did not: we left.
    Left,
    /// In order.
    Closed,
    /// In the middle.
    Broken(String),
    /// It did not: so much had come that we read no further.
    Flooded,
}

/// How much of a stream is read.
#[derive(Clone, Copy)]
struct Limits {
    n_bytes: usize,
    n_frames: usize,
}

/// A client that asks as browsers do.
pub struct Client {
    agent: Agent,
    roots: Arc<RootCertStore>,
    timeout: Duration,
}

impl Client {
    /// A client that waits `timeout` for a connection with its encryption, and as long for the head
    /// of a response, with all that leads to it: redirects, names, connections. A connection is
    /// judged by these certificates, or by those that browsers trust.
    pub fn new(timeout: Duration, trusted: Option<&[Certificate<'static>]>) -> Client {
        let mut roots = RootCertStore::empty();
        match trusted {
            Some(trusted) => {
                let trusted = trusted.iter().map(|one| CertificateDer::from(one.der()));
                roots.add_parsable_certificates(trusted);
            }
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        }
        Client { agent: agent(), roots: Arc::new(roots), timeout }
    }

    /// Opens a connection as a browser does, and closes it.
    pub fn connect(&self, url: &Url) -> io::Result<Connection> {
        let deadline = Instant::now() + self.timeout;
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in resolve(url, deadline)? {
            match left(deadline).and_then(|left| TcpStream::connect_timeout(&address, left)) {
                Ok(socket) => {
                    let local = socket.local_addr()?.ip();
                    let socket = Timed { socket, deadline };
                    let tls = if url.is_tls() { Some(self.encrypt(url, socket)?) } else { None };
                    return Ok(Connection { local, tls });
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    fn encrypt(&self, url: &Url, mut socket: Timed) -> io::Result<Tls> {
        let provider = Arc::new(ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let name = ServerName::try_from(url.host().to_owned()).map_err(io::Error::other)?;
        let mut connection =
            ClientConnection::new(Arc::new(config), name.clone()).map_err(io::Error::other)?;
        while connection.is_handshaking() {
            if let Err(error) = connection.complete_io(&mut socket) {
                let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
                return match cause {
                    Some(rustls::Error::InvalidCertificate(why)) => Ok(Tls::Refused(why.clone())),
                    _ if error.kind() == io::ErrorKind::TimedOut => {
                        Err(io::Error::other("it does not answer in TLS"))
                    }
                    _ => Err(io::Error::other(format!("no TLS there: {error}"))),
                };
            }
        }
        let verifier = WebPkiServerVerifier::builder_with_provider(self.roots.clone(), provider);
        let verifier = verifier.build().map_err(io::Error::other)?;
        let soon =
            UnixTime::since_unix_epoch(Duration::from_secs(UnixTime::now().as_secs()) + SOON);
        let expires_soon = connection.peer_certificates().is_some_and(|certificates| {
            let Some((own, between)) = certificates.split_first() else { return false };
            matches!(
                verifier.verify_server_cert(own, between, &name, &[], soon),
                Err(rustls::Error::InvalidCertificate(
                    CertificateError::Expired | CertificateError::ExpiredContext { .. }
                ))
            )
        });
        let http2 = connection.alpn_protocol() == Some(b"h2");
        Ok(Tls::Trusted { http2, expires_soon })
    }

    /// The head of the response to a `HEAD`.
    pub fn head(&self, url: &Url, headers: &[(&str, &str)]) -> Result<Answer, NoAnswer> {
        self.ask("HEAD", url, headers, Duration::ZERO).map(|(answer, _)| answer)
    }

    /// A page with its text; an event stream has none.
    pub fn page(&self, url: &Url, headers: &[(&str, &str)]) -> Result<(Answer, String), NoAnswer> {
        let (answer, body) = self.ask("GET", url, headers, self.timeout)?;
        if answer.content_type() == "text/event-stream" {
            return Ok((answer, String::new()));
        }
        let mut text = Vec::new();
        // What came until it broke off is what a browser shows.
        let _ = body.take(PAGE_BYTES).read_to_end(&mut text);
        Ok((answer, String::from_utf8_lossy(&text).into_owned()))
    }

    /// Watches a stream for `length`, or to its end, if it is one that can be read. `tick` hears
    /// every now and then how long it has been watched and how many events have come.
    pub fn watch(
        &self,
        url: &Url,
        headers: &[(&str, &str)],
        length: Duration,
        tick: &mut dyn FnMut(Duration, usize),
    ) -> Result<Watch, NoAnswer> {
        let (started, start) = (Timestamp::now(), Instant::now());
        let (sender, receiver) = mpsc::sync_channel(QUEUED_FRAMES);
        thread::scope(|scope| {
            let reading = scope.spawn(move || {
                let (answer, body) = self.ask("GET", url, headers, length)?;
                // What is compressed is not read.
                if !answer.is_stream() || answer.header("content-encoding").is_some() {
                    return Ok((answer, End::Left));
                }
                let end = read(body, WATCHED, |frame| {
                    // The receiver is there until this thread ends.
                    let _ = sender.send(Arrival { at: start.elapsed(), frame });
                    true
                });
                Ok((answer, end))
            });
            let (mut arrivals, mut n_events) = (Vec::new(), 0);
            loop {
                match receiver.recv_timeout(TICK) {
                    Ok(arrival) => {
                        n_events += usize::from(matches!(arrival.frame, Frame::Event { .. }));
                        arrivals.push(arrival);
                    }
                    Err(mpsc::RecvTimeoutError::Timeout) => {}
                    Err(mpsc::RecvTimeoutError::Disconnected) => break,
                }
                tick(start.elapsed(), n_events);
            }
            let read = reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            let (answer, end) = read?;
            Ok(Watch { answer, started, arrivals, end, lasted: start.elapsed() })
        })
    }

    /// Opens so many streams at once, and gives back how each began: up to its first event.
    pub fn crowd(
        &self,
        url: &Url,
        headers: &[(&str, &str)],
        n_streams: usize,
    ) -> Vec<Result<(Answer, Vec<Frame>), NoAnswer>> {
        let open = || {
            let (answer, mut body) = self.ask("GET", url, headers, self.timeout)?;
            let mut frames = Vec::new();
            if answer.is_stream() {
                read(&mut body, BEGUN, |frame| {
                    let is_event = matches!(frame, Frame::Event { .. });
                    frames.push(frame);
                    !is_event
                });
            }
            Ok((answer, frames, body))
        };
        let all_open: Vec<Result<_, NoAnswer>> = thread::scope(|scope| {
            let streams: Vec<_> = (0..n_streams).map(|_| scope.spawn(open)).collect();
            let join = |stream: thread::ScopedJoinHandle<'_, _>| {
                stream.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            streams.into_iter().map(join).collect()
        });
        // Closed only now, when the last one has begun.
        all_open
            .into_iter()
            .map(|one| one.map(|(answer, frames, _body)| (answer, frames)))
            .collect()
    }

    /// Asks, and asks again where it is sent on; the body can be read for `body_for`. All that takes
    /// no longer than our timeout and that time.
    fn ask(
        &self,
        method: &str,
        url: &Url,
        headers: &[(&str, &str)],
        body_for: Duration,
    ) -> Result<(Answer, impl Read + use<>), NoAnswer> {
        let (mut url, mut hops) = (url.clone(), Vec::new());
        let first = Instant::now();
        loop {
            let mut request = ureq::http::Request::builder().method(method).uri(url.to_string());
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let request = request.body(()).map_err(|error| NoAnswer::Failed(error.to_string()))?;
            let left = self.timeout.saturating_sub(first.elapsed());
            if left.is_zero() {
                return Err(NoAnswer::Silent(first.elapsed()));
            }
            let request = self.agent.configure_request(request);
            // Each step has its time, and all together have theirs.
            let request = request
                .timeout_resolve(Some(left))
                .timeout_connect(Some(left))
                .timeout_send_request(Some(left))
                .timeout_recv_response(Some(left))
                .timeout_recv_body(Some(body_for))
                .timeout_global(Some(left + body_for))
                .build();
            let start = Instant::now();
            let response = self.agent.run(request).map_err(|error| match error {
                ureq::Error::Timeout(_) => NoAnswer::Silent(start.elapsed()),
                error => NoAnswer::Failed(in_words(&error)),
            })?;
            let (after, at) = (start.elapsed(), Timestamp::now());
            let status = response.status().as_u16();
            let location = response.headers().get("location");
            let location = location.map(|l| String::from_utf8_lossy(l.as_bytes()).into_owned());
            if let (301 | 302 | 303 | 307 | 308, Some(location)) = (status, location) {
                let next = url.join(&location);
                let next = next.map_err(|error| {
                    NoAnswer::Failed(format!("a redirect ({status}) leads nowhere: {error}"))
                })?;
                hops.push((status, next.clone()));
                if hops.len() > MAX_HOPS {
                    return Err(NoAnswer::Failed(format!("more than {MAX_HOPS} redirects")));
                }
                url = next;
                continue;
            }
            let (parts, body) = response.into_parts();
            let answer = Answer { url, hops, status, headers: parts.headers, after, at };
            return Ok((answer, body.into_reader()));
        }
    }
}

/// The addresses of a name. Asking for them cannot be given up: what takes longer is left behind.
fn resolve(url: &Url, deadline: Instant) -> io::Result<Vec<SocketAddr>> {
    let (sender, receiver) = mpsc::channel();
    let (host, port) = (url.host().to_owned(), url.port());
    thread::spawn(move || {
        let addresses = (&*host, port).to_socket_addrs().map(Iterator::collect);
        // Whoever waits no longer wants to know nothing.
        let _ = sender.send(addresses);
    });
    receiver.recv_timeout(left(deadline)?).unwrap_or_else(|_| {
        Err(io::Error::new(io::ErrorKind::TimedOut, "its name is not resolved in time"))
    })
}

/// The time until `deadline`; an error without any.
fn left(deadline: Instant) -> io::Result<Duration> {
    match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
        left => Ok(left),
    }
}

/// A socket with one deadline for all that is read and written, in however small pieces.
struct Timed {
    socket: TcpStream,
    deadline: Instant,
}

impl Read for Timed {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(Some(left(self.deadline)?))?;
        self.socket.read(bytes).map_err(timed_out)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(Some(left(self.deadline)?))?;
        self.socket.write(bytes).map_err(timed_out)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

/// What a socket's timeout is called depends on the system.
fn timed_out(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    }
}

/// Reads frames until `on` has had enough, the time is over, the stream ends, or it was too much.
fn read(mut body: impl Read, limits: Limits, mut on: impl FnMut(Frame) -> bool) -> End {
    let (mut parser, mut piece) = (Parser::default(), [0; 16 << 10]);
    let (mut n_bytes_read, mut n_frames) = (0, 0);
    loop {
        match body.read(&mut piece) {
            Ok(0) => return End::Closed,
            Ok(n_bytes) => {
                n_bytes_read += n_bytes;
                for frame in parser.feed(&piece[..n_bytes]) {
                    n_frames += 1;
                    if !on(frame) {
                        return End::Left;
                    }
                }
                if n_bytes_read > limits.n_bytes || n_frames > limits.n_frames {
                    return End::Flooded;
                }
            }
            Err(error) => {
                return match ureq::Error::from(error) {
                    ureq::Error::Timeout(_) => End::Left,
                    error => End::Broken(in_words(&error)),
                };
            }
        }
    }
}

/// Without ureq's own decompression, redirects and proxies: what comes is what is judged. Nor does
/// it look at certificates, which [`Client::connect`] does: a bad one should not hide what else is
/// wrong, and nothing that is sent is secret.
fn agent() -> Agent {
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .user_agent(concat!("rollcast-doctor/", env!("CARGO_PKG_VERSION")))
        .accept_encoding("")
        .tls_config(TlsConfig::builder().disable_verification(true).build())
        .build()
        .into()
}

/// An error with its causes.
fn in_words(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream without end.
    struct Endless(&'static [u8]);

    impl Read for Endless {
        fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
            let n_whole = bytes.len() / self.0.len() * self.0.len();
            for (byte, endless) in bytes[..n_whole].iter_mut().zip(self.0.iter().cycle()) {
                *byte = *endless;
            }
            Ok(n_whole)
        }
    }

    #[test]
    fn a_flood_is_read_up_to_a_limit_of_bytes_and_of_frames() {
        let limits = Limits { n_bytes: 1 << 20, n_frames: 10_000 };
        for text in [&b":\n"[..], b"data: 1\n\n", b"data: nothing that ever ends\n"] {
            let mut n_frames = 0;
            let end = read(Endless(text), limits, |_| {
                n_frames += 1;
                assert!(n_frames < 100_000, "read without end");
                true
            });
            assert_eq!(end, End::Flooded);
        }
    }
}
