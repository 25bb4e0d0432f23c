//! A proxy that breaks connections on purpose. A plan decides for each connection how the response
//! is forwarded and where it ends. Requests are forwarded unchanged.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::common::Instance;
use crate::common::hand_server::HandServer;

/// What happens to one connection.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub pace: Pace,
    /// How many bytes of the response the client gets, headers included.
    pub n_bytes: usize,
    /// What happens after them.
    pub end: End,
}

/// How a response is forwarded.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    AtOnce,
    /// Each piece after this delay.
    Late(Duration),
    /// One byte at a time.
    Trickle,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug)]
pub enum End {
    /// By FIN, even within a chunk.
    Close,
    /// By RST.
    Reset,
    /// Silence for this time, then FIN. After 0 bytes this is a black hole.
    Silence(Duration),
}

/// A running proxy. It stops when dropped.
pub struct Chaos {
    listener: HandServer,
    shared: Arc<Shared>,
}

/// The fault of each connection, by its number from 0. `None` forwards the response unchanged.
type Plan = Box<dyn Fn(usize) -> Option<Fault> + Send + Sync>;

struct Shared {
    server: u16,
    plan: Plan,
    /// Shortens the server's `retry:` of 1 to 5 s to 50 ms, for clients that respect it.
    shortens_retry: bool,
    n_connections: AtomicUsize,
    /// When the last response was cut off or fell silent.
    last_fault: Mutex<Option<Instant>>,
    /// The time from then to the next forwarded roll.
    recovered: Mutex<Option<Duration>>,
    stopped: AtomicBool,
}

impl Chaos {
    /// Starts a proxy in front of the instance's door for streams. `plan` gets the number of each
    /// connection, from 0.
    pub fn start(
        instance: &Instance,
        plan: impl Fn(usize) -> Option<Fault> + Send + Sync + 'static,
    ) -> Chaos {
        Chaos::start_with(instance, false, Box::new(plan))
    }

    /// The same for a client that respects `retry:`, which is shortened to 50 ms.
    pub fn start_with_short_retry(
        instance: &Instance,
        plan: impl Fn(usize) -> Option<Fault> + Send + Sync + 'static,
    ) -> Chaos {
        Chaos::start_with(instance, true, Box::new(plan))
    }

    fn start_with(instance: &Instance, shortens_retry: bool, plan: Plan) -> Chaos {
        let shared = Arc::new(Shared {
            server: instance.stream_port(),
            plan,
            shortens_retry,
            n_connections: AtomicUsize::new(0),
            last_fault: Mutex::new(None),
            recovered: Mutex::new(None),
            stopped: AtomicBool::new(false),
        });
        let serving = shared.clone();
        let listener = HandServer::raw(move |_, client| serving.serve(client));
        Chaos { listener, shared }
    }

    pub fn url(&self, path: &str) -> String {
        self.listener.url(path)
    }

    pub fn n_connections(&self) -> usize {
        self.shared.n_connections.load(Ordering::SeqCst)
    }

    /// The time from the last fault to the next forwarded roll; `None` before that roll. For a plan
    /// whose faults come first, and a client with one connection at a time.
    pub fn recovered(&self) -> Option<Duration> {
        *self.shared.recovered.lock().unwrap()
    }
}

impl Drop for Chaos {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
    }
}

impl Shared {
    fn serve(&self, client: TcpStream) -> io::Result<()> {
        let number = self.n_connections.fetch_add(1, Ordering::SeqCst);
        let fault = (self.plan)(number);
        let server = TcpStream::connect(("127.0.0.1", self.server))?;
        client.set_nodelay(true)?;
        let client_left = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let _ = io::copy(&mut &client, &mut &server);
                client_left.store(true, Ordering::SeqCst);
                let _ = server.shutdown(Shutdown::Both);
            });
            let _ = self.forward(&server, &client, fault, &client_left);
            if fault.is_some() {
                // Before the client can notice the fault and reconnect.
                *self.last_fault.lock().unwrap() = Some(Instant::now());
            }
            if let Some(Fault { end: End::Silence(silence), .. }) = fault {
                self.wait(silence, &client_left);
            }
            // Ends the other thread as well.
            let _ = client.shutdown(Shutdown::Read);
        });
        if let Some(Fault { end: End::Reset, .. }) = fault {
            // A connection that is closed with a linger time of 0 is reset.
            SockRef::from(&client).set_linger(Some(Duration::ZERO))?;
        }
        drop(client);
        Ok(())
    }

    /// Forwards the response up to where the fault ends it.
    fn forward(
        &self,
        mut server: &TcpStream,
        mut client: &TcpStream,
        fault: Option<Fault>,
        client_left: &AtomicBool,
    ) -> io::Result<()> {
        let mut n_left = fault.map_or(usize::MAX, |fault| fault.n_bytes);
        let mut piece = vec![0; 8 << 10];
        while n_left > 0 && !self.stopped.load(Ordering::SeqCst) {
            let n_bytes = server.read(&mut piece)?;
            if n_bytes == 0 {
                break;
            }
            if self.shortens_retry {
                shorten_retry(&mut piece[..n_bytes]);
            }
            let piece = &piece[..n_bytes.min(n_left)];
            n_left -= piece.len();
            if fault.is_none() && piece.windows(4).any(|bytes| bytes == b"\nid:") {
                let ended = *self.last_fault.lock().unwrap();
                let mut recovered = self.recovered.lock().unwrap();
                *recovered = recovered.or(ended.map(|ended| ended.elapsed()));
            }
            match fault.map(|fault| fault.pace) {
                None | Some(Pace::AtOnce) => client.write_all(piece)?,
                Some(Pace::Late(delay)) => {
                    self.wait(delay, client_left);
                    client.write_all(piece)?;
                }
                Some(Pace::Trickle) => {
                    for byte in piece {
                        client.write_all(&[*byte])?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Waits for a time, or until the client leaves or the proxy stops.
    fn wait(&self, time: Duration, client_left: &AtomicBool) {
        let start = Instant::now();
        let is_over = || client_left.load(Ordering::SeqCst) || self.stopped.load(Ordering::SeqCst);
        while start.elapsed() < time && !is_over() {
            thread::park_timeout(Duration::from_millis(5));
        }
    }
}

/// Shortens a `retry:` without changing its number of digits, because the chunk size is already
/// sent. A `retry:` that is split between two reads stays unchanged.
fn shorten_retry(piece: &mut [u8]) {
    let field = b"retry: ";
    let Some(start) = piece.windows(field.len()).position(|bytes| bytes == field) else { return };
    let value = piece[start + field.len()..].iter_mut().skip_while(|byte| **byte == b' ');
    let digits = value.take_while(|byte| byte.is_ascii_digit());
    let digits: Vec<&mut u8> = digits.collect();
    let n_digits = digits.len();
    for (index, digit) in digits.into_iter().enumerate() {
        *digit = if index + 2 == n_digits { b'5' } else { b'0' };
    }
}
