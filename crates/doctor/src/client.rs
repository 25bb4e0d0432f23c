//! Requests as a browser sends them: pages, heads and streams, with the times of arrivals.

use std::io::Read;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use event_stream::client::{self, Body, Certificates, Config, Method, Request};
use event_stream::http_url::HttpUrl;
use event_stream::parser::Frame;
use event_stream::proxy::Proxies;
use event_stream::stream::Stream;
use jiff::Timestamp;

use crate::response::{Head, NoResponse};
use crate::watch::{Arrival, End, Limits, Watch, read, with_causes};

/// More redirects in a row can only be a loop.
const MAX_REDIRECTS: usize = 5;
/// How much of a page is read.
const MAX_PAGE_BYTES: u64 = 4 << 20;
/// How much of a watched stream is read and kept.
const WATCH_LIMITS: Limits = Limits { n_bytes: 64 << 20, n_frames: 200_000 };
/// How much of each of many streams is read to find its first event.
const FIRST_EVENT_LIMITS: Limits = Limits { n_bytes: 1 << 20, n_frames: 10_000 };
/// How many frames wait between the thread that reads a stream and the one that keeps them.
const MAX_QUEUED_FRAMES: usize = 1_000;
/// How often progress is reported while a stream is silent.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// A client that requests as browsers do.
pub struct Client {
    client: client::Client,
    timeout: Duration,
}

impl Client {
    /// A client that waits `timeout` for each response head, redirects included.
    ///
    /// It accepts every certificate: a bad one must not hide other faults, and nothing secret is
    /// sent. Certificates are judged by [`crate::connection`].
    pub fn new(timeout: Duration, proxies: Proxies) -> Client {
        let client = client::Client::new(Config {
            user_agent: concat!("rollcast-doctor/", env!("CARGO_PKG_VERSION")).into(),
            certificates: Certificates::Unverified,
            max_redirects: 0,
            proxies,
        });
        Client { client, timeout }
    }

    /// The head of the response to a `HEAD`.
    ///
    /// # Errors
    ///
    /// There is no response.
    pub fn head(&self, url: &HttpUrl, headers: &[(&str, &str)]) -> Result<Head, NoResponse> {
        self.request(Method::Head, url, headers, Duration::ZERO).map(|(head, _)| head)
    }

    /// A file with its content, which is empty for an event stream.
    ///
    /// # Errors
    ///
    /// There is no response. A body that breaks off is no error: a browser shows what arrived.
    pub fn file(
        &self,
        url: &HttpUrl,
        headers: &[(&str, &str)],
    ) -> Result<(Head, Vec<u8>), NoResponse> {
        let (head, body) = self.request(Method::Get, url, headers, self.timeout)?;
        let mut content = Vec::new();
        if head.content_type() != "text/event-stream" {
            let _ = body.take(MAX_PAGE_BYTES).read_to_end(&mut content);
        }
        Ok((head, content))
    }

    /// The same for a page, with its text.
    ///
    /// # Errors
    ///
    /// There is no response.
    pub fn page(
        &self,
        url: &HttpUrl,
        headers: &[(&str, &str)],
    ) -> Result<(Head, String), NoResponse> {
        let (head, content) = self.file(url, headers)?;
        Ok((head, String::from_utf8_lossy(&content).into_owned()))
    }

    /// Watches a stream for `length`, or to its end. A response that is no stream, or compressed,
    /// is not read. `progress` is called with the time so far and the number of events.
    ///
    /// # Errors
    ///
    /// There is no response.
    pub fn watch(
        &self,
        url: &HttpUrl,
        headers: &[(&str, &str)],
        length: Duration,
        progress: &mut dyn FnMut(Duration, usize),
    ) -> Result<Watch, NoResponse> {
        let (started, start) = (Timestamp::now(), Instant::now());
        let (sender, receiver) = mpsc::sync_channel(MAX_QUEUED_FRAMES);
        thread::scope(|scope| {
            let reader = scope.spawn(move || {
                let (head, body) = self.request(Method::Get, url, headers, length)?;
                if !head.is_stream() || head.header("content-encoding").is_some() {
                    return Ok((head, End::Open));
                }
                let end = read(&mut Stream::new(body), WATCH_LIMITS, |frame| {
                    // The receiver lives until this thread ends.
                    let _ = sender.send(Arrival { at: start.elapsed(), frame });
                    true
                });
                Ok((head, end))
            });
            let (mut arrivals, mut n_events) = (Vec::new(), 0);
            loop {
                match receiver.recv_timeout(PROGRESS_EVERY) {
                    Ok(arrival) => {
                        n_events += usize::from(matches!(arrival.frame, Frame::Event { .. }));
                        arrivals.push(arrival);
                    }
                    Err(mpsc::RecvTimeoutError::Timeout) => {}
                    Err(mpsc::RecvTimeoutError::Disconnected) => break,
                }
                progress(start.elapsed(), n_events);
            }
            let read = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            let (head, end) = read?;
            Ok(Watch { head, started, arrivals, end, lasted: start.elapsed() })
        })
    }

    /// Opens `n_streams` streams at once and returns how each begins: its head, and its frames up
    /// to the first event. All stay open until the last one has begun.
    pub fn open_at_once(
        &self,
        url: &HttpUrl,
        headers: &[(&str, &str)],
        n_streams: usize,
    ) -> Vec<Result<(Head, Vec<Frame>), NoResponse>> {
        let open = || {
            let (head, body) = self.request(Method::Get, url, headers, self.timeout)?;
            let (mut stream, mut frames) = (Stream::new(body), Vec::new());
            if head.is_stream() {
                read(&mut stream, FIRST_EVENT_LIMITS, |frame| {
                    let is_event = matches!(frame, Frame::Event { .. });
                    frames.push(frame);
                    !is_event
                });
            }
            Ok((head, frames, stream))
        };
        let all_open: Vec<Result<_, NoResponse>> = thread::scope(|scope| {
            let streams: Vec<_> = (0..n_streams).map(|_| scope.spawn(open)).collect();
            let join = |stream: thread::ScopedJoinHandle<'_, _>| {
                stream.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            streams.into_iter().map(join).collect()
        });
        let begin = |(head, frames, _open)| (head, frames);
        all_open.into_iter().map(|opened| opened.map(begin)).collect()
    }

    /// Sends a request and follows redirects; the body may be read for `body_timeout`. Takes at
    /// most the timeout of this client and `body_timeout`.
    fn request(
        &self,
        method: Method,
        url: &HttpUrl,
        headers: &[(&str, &str)],
        body_timeout: Duration,
    ) -> Result<(Head, Body), NoResponse> {
        let (mut url, mut redirects) = (url.clone(), Vec::new());
        let first = Instant::now();
        loop {
            let timeout = self.timeout.saturating_sub(first.elapsed());
            if timeout.is_zero() {
                return Err(NoResponse::TimedOut(first.elapsed()));
            }
            let start = Instant::now();
            let request =
                Request { method, url: &url, headers, timeout, body_timeout: Some(body_timeout) };
            let response = self.client.send(&request).map_err(|error| {
                if error.is_timeout() {
                    NoResponse::TimedOut(start.elapsed())
                } else {
                    NoResponse::Failed(with_causes(&error))
                }
            })?;
            let (after, at) = (start.elapsed(), Timestamp::now());
            let status = response.status.as_u16();
            let location = response.headers.get("location");
            let location = location.map(|l| String::from_utf8_lossy(l.as_bytes()).into_owned());
            if let (301 | 302 | 303 | 307 | 308, Some(location)) = (status, location) {
                let next = url.join(&location);
                let next = next.map_err(|error| {
                    NoResponse::Failed(format!("a redirect ({status}) leads nowhere: {error}"))
                })?;
                redirects.push((status, next.clone()));
                if redirects.len() > MAX_REDIRECTS {
                    let why = format!("more than {MAX_REDIRECTS} redirects");
                    return Err(NoResponse::Failed(why));
                }
                url = next;
                continue;
            }
            let headers = response.headers.clone();
            let head = Head { url, redirects, status, headers, after, at };
            return Ok((head, response.into_body()));
        }
    }
}
