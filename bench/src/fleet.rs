//! The clients: thousands of real event streams on one thread, all of them checked.
//!
//! They use epoll and one shared read buffer, and only search each event for its mark, because they
//! share the machine with the server.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use mio::{Events, Interest, Poll, Token};
use rustix::process::{Resource, getrlimit, setrlimit};
use socket2::{Domain, SockRef, Socket, Type};

use crate::connection::{Connection, Part, Trust};
use crate::decode::Decoder;
use crate::marks::{Arrival, Field, Marks, Progress};

/// The address and format of the streams.
#[derive(Clone, Debug)]
pub struct Target {
    pub address: SocketAddr,
    pub path: &'static str,
    pub field: Field,
    /// The certificates to trust; `None`: plain HTTP.
    pub tls: Option<Trust>,
}

/// Counters since the start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub n_deliveries: u64,
    pub n_reads: u64,
    /// Numbers that a client never received.
    pub n_missed: u64,
    /// Numbers that a client received again, or too late.
    pub n_repeats: u64,
    /// Streams that could not be opened, or that broke.
    pub n_failures: u64,
}

/// The arrival of a roll at a client.
#[derive(Clone, Copy, Debug)]
pub struct Reached {
    pub n: u64,
    /// The time in the roll's mark.
    pub marked: u64,
    pub at_us: u64,
}

pub struct Fleet {
    target: Target,
    poll: Poll,
    events: Events,
    clients: Vec<Client>,
    waiting: VecDeque<usize>,
    /// The maximum number of pending connections.
    max_connecting: usize,
    n_connecting: usize,
    n_open: usize,
    n_addresses: usize,
    buffer: Vec<u8>,
    pub counts: Counts,
    /// The newest number that any client has received.
    pub head: u64,
    /// `None` unless latency is measured.
    pub reached: Option<Vec<Reached>>,
    /// The first few errors as text.
    pub problems: Vec<String>,
}

struct Client {
    connection: Option<Connection>,
    state: State,
    /// Whether the client reads its stream.
    reads: bool,
    decoder: Decoder,
    marks: Marks,
    progress: Progress,
    resumes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Waiting,
    Connecting,
    /// The request is sent.
    Requested,
    Open,
    Failed,
}

/// The number of client addresses, from 127.0.0.2 on. Each address has only about 28,000 ports, and
/// several addresses exercise the limits per address.
const N_ADDRESSES: usize = 16;
/// The maximum number of pending connections, which every server's accept queue can hold.
const MAX_CONNECTING: usize = 100;
const BUFFER_BYTES: usize = 256 << 10;
const STALLED_BYTES: usize = 16 << 10;
const MAX_PROBLEMS: usize = 5;
/// File descriptors for everything but streams.
pub const SPARE_FILES: u64 = 100;

impl Fleet {
    pub fn new(target: Target) -> Result<Fleet> {
        Ok(Fleet {
            target,
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            clients: Vec::new(),
            waiting: VecDeque::new(),
            max_connecting: MAX_CONNECTING,
            n_connecting: 0,
            n_open: 0,
            n_addresses: N_ADDRESSES,
            buffer: vec![0; BUFFER_BYTES],
            counts: Counts::default(),
            head: 0,
            reached: None,
            problems: Vec::new(),
        })
    }

    /// Opens `n` more streams and waits until all are open. Returns the time that took.
    pub fn open(&mut self, n: usize, timeout: Duration) -> Result<Duration> {
        self.add(n, true, None)?;
        self.wait_until_open(timeout)
    }

    /// Opens `n` more streams whose clients request the whole history and never read.
    pub fn open_stalled(&mut self, n: usize, timeout: Duration) -> Result<Duration> {
        self.add(n, false, Some(0))?;
        self.wait_until_open(timeout)
    }

    /// Resets every stream and opens all again at once, each after the last roll that it received.
    pub fn reopen_all(&mut self) {
        self.close();
        for i in 0..self.clients.len() {
            let client = &mut self.clients[i];
            client.resumes = client.progress.next > 0;
            client.state = State::Waiting;
            self.waiting.push_back(i);
        }
        self.max_connecting = usize::MAX;
    }

    /// Resets every stream.
    pub fn close(&mut self) {
        for client in &mut self.clients {
            if let Some(connection) = client.connection.take() {
                // By RST, so that no port stays in use for a minute.
                let _ = SockRef::from(connection.socket()).set_linger(Some(Duration::ZERO));
            }
        }
        self.n_open = 0;
        self.n_connecting = 0;
        self.waiting.clear();
    }

    pub fn n_open(&self) -> usize {
        self.n_open
    }

    /// The number of reading clients that have not received roll `n` yet.
    pub fn n_behind(&self, n: u64) -> usize {
        let behind = |client: &&Client| client.reads && client.progress.next <= n;
        self.clients.iter().filter(behind).count()
    }

    /// Reads for this time.
    pub fn run(&mut self, time: Duration) -> Result<()> {
        self.run_until(time, |_| false).map(drop)
    }

    /// Reads until `met` returns true. Returns false if the timeout comes first. Calls `met` about
    /// every millisecond at most.
    pub fn run_until(
        &mut self,
        timeout: Duration,
        mut met: impl FnMut(&Fleet) -> bool,
    ) -> Result<bool> {
        let begin = Instant::now();
        loop {
            if met(self) {
                return Ok(true);
            }
            let Some(left) = timeout.checked_sub(begin.elapsed()) else { return Ok(false) };
            self.poll_once(left.min(Duration::from_millis(20)))?;
        }
    }

    /// Reads until every client has received the current head. Returns how many have not by the
    /// timeout.
    pub fn drain(&mut self, timeout: Duration) -> Result<usize> {
        let head = self.head;
        if head == 0 {
            return Ok(0);
        }
        let mut checked = Instant::now();
        self.run_until(timeout, |fleet| {
            // Checking all clients is too slow for every iteration.
            checked.elapsed() > Duration::from_millis(20) && {
                checked = Instant::now();
                fleet.n_behind(head) == 0
            }
        })?;
        Ok(self.n_behind(head))
    }

    fn add(&mut self, n: usize, reads: bool, after: Option<u64>) -> Result<()> {
        allow_files((self.clients.len() + n) as u64 + SPARE_FILES)?;
        for _ in 0..n {
            self.waiting.push_back(self.clients.len());
            self.clients.push(Client {
                connection: None,
                state: State::Waiting,
                reads,
                decoder: Decoder::default(),
                marks: Marks::new(self.target.field),
                progress: after.map(Progress::after).unwrap_or_default(),
                resumes: after.is_some(),
            });
        }
        Ok(())
    }

    fn wait_until_open(&mut self, timeout: Duration) -> Result<Duration> {
        let begin = Instant::now();
        let n = self.clients.len();
        let failed = self.counts.n_failures;
        let done =
            self.run_until(timeout, |fleet| fleet.n_open >= n || fleet.counts.n_failures > failed)?;
        if self.counts.n_failures > failed {
            bail!("expected {n} open streams, got {}: {}", self.n_open, self.problems.join("; "));
        }
        if !done {
            bail!("expected {n} open streams in {timeout:?}, got {}", self.n_open);
        }
        Ok(begin.elapsed())
    }

    /// Polls the kernel once and handles its events.
    fn poll_once(&mut self, timeout: Duration) -> Result<()> {
        while self.n_connecting < self.max_connecting
            && let Some(i) = self.waiting.pop_front()
        {
            if let Err(error) = self.connect(i) {
                self.fail(i, &format!("{error:#}"));
            }
        }
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            let i = event.token().0;
            if self.clients[i].state == State::Connecting
                && let Err(error) = self.send_request(i)
            {
                self.fail(i, &format!("{error:#}"));
            }
            let is_over = event.is_read_closed() || event.is_error();
            if (event.is_readable() || is_over)
                && let Err(error) = self.read(i, is_over)
            {
                self.fail(i, &format!("{error:#}"));
            }
        }
        self.events = events;
        Ok(())
    }

    fn connect(&mut self, i: usize) -> Result<()> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.set_reuse_address(true)?;
        if !self.clients[i].reads {
            // Otherwise the kernel buffers megabytes for a client that does not read.
            socket.set_recv_buffer_size(STALLED_BYTES)?;
        }
        let last = u8::try_from(2 + i % self.n_addresses).context("too many addresses")?;
        socket.bind(&SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, last), 0).into())?;
        match socket.connect(&self.target.address.into()) {
            Err(error)
                if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
            result => result.context("cannot connect")?,
        }
        let mut connection = Connection::new(socket.into(), self.target.tls.as_ref())?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(connection.socket_mut(), Token(i), interest)?;
        let client = &mut self.clients[i];
        client.connection = Some(connection);
        client.state = State::Connecting;
        client.decoder = Decoder::default();
        client.marks = Marks::new(self.target.field);
        self.n_connecting += 1;
        Ok(())
    }

    /// Sends the request after the connection is established.
    fn send_request(&mut self, i: usize) -> Result<()> {
        let client = &mut self.clients[i];
        let Some(connection) = &mut client.connection else { return Ok(()) };
        if let Some(error) = connection.socket().take_error()? {
            return Err(error).context("cannot connect");
        }
        let Target { address, path, .. } = &self.target;
        let mut request =
            format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept: text/event-stream\r\n");
        if client.resumes {
            request += &format!("Last-Event-ID: {}\r\n", client.progress.next - 1);
        }
        request += "\r\n";
        if connection.send(request.as_bytes()).context("cannot send the request")? {
            client.state = State::Requested;
        }
        Ok(())
    }

    /// Reads all available bytes; to the end if the stream `is_over`, because the kernel reports that
    /// only once.
    fn read(&mut self, i: usize, is_over: bool) -> Result<()> {
        loop {
            let client = &mut self.clients[i];
            if client.state == State::Open && !client.reads {
                if is_over {
                    bail!("the server ended a stream that is not read");
                }
                return Ok(());
            }
            let Some(connection) = &mut client.connection else { return Ok(()) };
            let Part { n_read, bytes } = match connection.read(&mut self.buffer) {
                Ok(Part { n_read: 0, .. }) => bail!("the server ended a stream"),
                Ok(part) => part,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error).context("a stream broke"),
            };
            self.counts.n_reads += 1;
            let at_us = now_us();
            let (counts, head, reached) = (&mut self.counts, &mut self.head, &mut self.reached);
            let (marks, progress) = (&mut client.marks, &mut client.progress);
            let problems = &mut self.problems;
            client.decoder.feed(bytes, |body| {
                marks.feed(body, |mark| {
                    let next = progress.next;
                    let arrival = progress.take(mark.n);
                    match arrival {
                        Arrival::InOrder => {}
                        Arrival::Gap(n_missed) => counts.n_missed += n_missed,
                        Arrival::Repeat => counts.n_repeats += 1,
                    }
                    if arrival != Arrival::InOrder && problems.len() < MAX_PROBLEMS {
                        problems.push(format!("client {i} expected roll {next}, got {}", mark.n));
                    }
                    counts.n_deliveries += 1;
                    *head = (*head).max(mark.n);
                    if let Some(reached) = reached {
                        reached.push(Reached { n: mark.n, marked: mark.moment, at_us });
                    }
                    Ok(())
                })
            })?;
            if client.state == State::Requested
                && let Some(status) = client.decoder.status()
            {
                if status != 200 {
                    bail!("expected status 200, got {status}");
                }
                client.state = State::Open;
                self.n_connecting -= 1;
                self.n_open += 1;
            }
            if client.decoder.is_done() {
                bail!("the server ended a stream");
            }
            // A partial read means that the kernel has no more, and epoll will report new bytes.
            if n_read < BUFFER_BYTES && !is_over {
                return Ok(());
            }
        }
    }

    fn fail(&mut self, i: usize, problem: &str) {
        let client = &mut self.clients[i];
        match client.state {
            State::Open => self.n_open -= 1,
            State::Connecting | State::Requested => self.n_connecting -= 1,
            State::Waiting | State::Failed => {}
        }
        client.state = State::Failed;
        client.connection = None;
        self.counts.n_failures += 1;
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(format!("client {i}: {problem}"));
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.close();
    }
}

/// Raises this process's limit on open files to the hard limit, and returns it; `None` is no limit.
/// Children of the process inherit it.
pub fn file_limit() -> Result<Option<u64>> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        setrlimit(Resource::Nofile, limit).context("cannot raise the limit on open files")?;
    }
    Ok(limit.current)
}

/// Raises the limit on open files, and checks that `n` are allowed.
pub fn allow_files(n: u64) -> Result<()> {
    match file_limit()? {
        Some(allowed) if allowed < n => bail!(
            "{n} open files are needed, the limit is {allowed}: raise it (ulimit -Hn {n}, as \
             root) or take fewer clients"
        ),
        _ => Ok(()),
    }
}

/// Microseconds since 1970, by the same clock as the servers.
pub fn now_us() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::mpsc;
    use std::thread;

    const TIMEOUT: Duration = Duration::from_secs(30);
    const HEAD: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

    /// A server that sends each client the next response, byte by byte, and waits until the client
    /// disconnects.
    fn server(answers: Vec<String>) -> Target {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for answer in answers {
                let (mut connection, _) = listener.accept().unwrap();
                thread::spawn(move || {
                    connection.set_nodelay(true).unwrap();
                    for byte in answer.as_bytes() {
                        connection.write_all(&[*byte]).unwrap();
                    }
                    while connection.read(&mut [0; 4096]).is_ok_and(|n| n > 0) {}
                });
            }
        });
        Target { address, path: "/stream/", field: Field::Id, tls: None }
    }

    /// A response with these numbers, each in its own event and chunk.
    fn events(numbers: &[u64]) -> String {
        let chunk = |n: &u64| {
            let event = format!("id: {n}-1763861860123\ndata: {{}}\n\n");
            format!("{:x}\r\n{event}\r\n", event.len())
        };
        HEAD.to_string() + &numbers.iter().map(chunk).collect::<String>()
    }

    #[test]
    fn clients_that_get_every_roll_are_sound_wherever_they_start() {
        let answers = [&[5, 6, 7][..], &[6, 7], &[7]].map(events).to_vec();
        let mut fleet = Fleet::new(server(answers)).unwrap();
        fleet.open(3, TIMEOUT).unwrap();
        assert!(fleet.run_until(TIMEOUT, |fleet| fleet.counts.n_deliveries == 6).unwrap());
        assert_eq!(fleet.drain(TIMEOUT).unwrap(), 0);
        let Counts { n_missed, n_repeats, n_failures, .. } = fleet.counts;
        assert_eq!((n_missed, n_repeats, n_failures), (0, 0, 0), "{:?}", fleet.problems);
    }

    #[test]
    fn one_client_that_misses_one_roll_is_noticed() {
        let answers = [&[5, 6, 7][..], &[5, 7], &[5, 6, 6, 7]].map(events).to_vec();
        let mut fleet = Fleet::new(server(answers)).unwrap();
        fleet.open(3, TIMEOUT).unwrap();
        assert!(fleet.run_until(TIMEOUT, |fleet| fleet.counts.n_deliveries == 9).unwrap());
        assert_eq!((fleet.counts.n_missed, fleet.counts.n_repeats), (1, 1));
        assert_eq!(fleet.problems.len(), 2, "{:?}", fleet.problems);
    }

    #[test]
    fn a_client_that_is_left_behind_is_noticed() {
        let answers = [&[5, 6, 7][..], &[5, 6], &[]].map(events).to_vec();
        let mut fleet = Fleet::new(server(answers)).unwrap();
        fleet.open(3, TIMEOUT).unwrap();
        assert!(fleet.run_until(TIMEOUT, |fleet| fleet.counts.n_deliveries == 5).unwrap());
        assert_eq!(fleet.drain(Duration::from_millis(200)).unwrap(), 2);
    }

    #[test]
    fn a_stream_that_is_refused_or_ends_is_a_failure() {
        let refusal = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n".to_string();
        let mut fleet = Fleet::new(server(vec![refusal])).unwrap();
        let error = fleet.open(1, TIMEOUT).unwrap_err().to_string();
        assert!(error.contains("503"), "{error}");
        let mut fleet = Fleet::new(server(vec![events(&[5]) + "0\r\n\r\n"])).unwrap();
        let opened = fleet.open(1, TIMEOUT);
        assert!(opened.is_err() || fleet.run_until(TIMEOUT, |f| f.counts.n_failures == 1).unwrap());
        assert!(fleet.problems[0].contains("ended"), "{:?}", fleet.problems);
    }

    /// A server that answers one client and later sends the rest and disconnects at once. Returns a
    /// function that triggers this and returns when it is done.
    fn server_that_hangs_up(answer: String, rest: String) -> (Target, impl FnOnce()) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (finish, finished) = mpsc::channel();
        let server = thread::spawn(move || {
            let (mut connection, _) = listener.accept().unwrap();
            assert!(connection.read(&mut [0; 4096]).unwrap() > 0);
            connection.write_all(answer.as_bytes()).unwrap();
            finished.recv().unwrap();
            connection.write_all(rest.as_bytes()).unwrap();
        });
        let hang_up = move || {
            finish.send(()).unwrap();
            server.join().unwrap();
        };
        (Target { address, path: "/stream/", field: Field::Id, tls: None }, hang_up)
    }

    #[test]
    fn a_client_that_never_reads_counts_as_closed_after_a_hang_up() {
        let (target, hang_up) = server_that_hangs_up(events(&[1]), String::new());
        let mut fleet = Fleet::new(target).unwrap();
        fleet.open_stalled(1, TIMEOUT).unwrap();
        fleet.run(Duration::from_millis(50)).unwrap();
        assert_eq!((fleet.n_open(), fleet.counts.n_failures), (1, 0), "{:?}", fleet.problems);
        hang_up();
        assert!(fleet.run_until(TIMEOUT, |fleet| fleet.n_open() == 0).unwrap());
        assert_eq!(fleet.counts.n_failures, 1);
        assert!(fleet.problems[0].contains("not read"), "{:?}", fleet.problems);
    }

    #[test]
    fn an_end_that_comes_with_the_last_roll_is_seen_and_the_roll_too() {
        let rest = events(&[6]).replacen(HEAD, "", 1);
        let (target, hang_up) = server_that_hangs_up(events(&[5]), rest);
        let mut fleet = Fleet::new(target).unwrap();
        fleet.open(1, TIMEOUT).unwrap();
        assert!(fleet.run_until(TIMEOUT, |fleet| fleet.head == 5).unwrap());
        // Without polling in between, so that both arrive by the next poll.
        hang_up();
        assert!(fleet.run_until(TIMEOUT, |fleet| fleet.counts.n_failures == 1).unwrap());
        assert_eq!((fleet.counts.n_deliveries, fleet.head), (2, 6));
    }

    #[test]
    fn a_limit_on_open_files_that_is_too_low_is_named() {
        let error = allow_files(1 << 40).unwrap_err().to_string();
        assert!(error.contains("1099511627776 open files") && error.contains("ulimit"), "{error}");
    }
}
