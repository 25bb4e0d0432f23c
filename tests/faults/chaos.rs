//! A proxy that breaks connections on purpose: in goes a plan, which says for each connection how
//! its answer is passed on and where that ends; out comes what a client has to live with. Requests
//! go through untouched.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::common::House;
use crate::common::hand_server::HandServer;

/// What happens to one connection.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub pace: Pace,
    /// Bytes of the answer that the client gets, headers included.
    pub n_bytes: usize,
    /// What comes after them.
    pub end: End,
}

/// How an answer is passed on.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    AtOnce,
    /// Each piece so late.
    Late(Duration),
    /// Every byte by itself.
    Trickle,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug)]
pub enum End {
    /// In order, by FIN; inside a chunk for all that.
    Close,
    /// By RST.
    Reset,
    /// Not at all for so long, and then by FIN. After 0 bytes: a black hole.
    Silence(Duration),
}

/// A proxy that listens; gone when dropped.
pub struct Chaos {
    listener: HandServer,
    shared: Arc<Shared>,
}

/// `None` passes an answer on as it is.
type Plan = Box<dyn Fn(usize) -> Option<Fault> + Send + Sync>;

struct Shared {
    server: u16,
    plan: Plan,
    /// The server's `retry:` of 1 to 5 s becomes one of 50 ms, for clients that heed it.
    hurries: bool,
    n_connections: AtomicUsize,
    /// When the last answer was cut off or fell silent.
    last_fault: Mutex<Option<Instant>>,
    /// How long after that the next roll came through.
    recovered: Mutex<Option<Duration>>,
    gone: AtomicBool,
}

impl Chaos {
    /// In front of a house; `plan` is asked with each connection's number.
    pub fn start(
        house: &House,
        plan: impl Fn(usize) -> Option<Fault> + Send + Sync + 'static,
    ) -> Chaos {
        Chaos::start_with(house, false, Box::new(plan))
    }

    /// The same for a client that waits as long as it is told to: it is told to hurry.
    pub fn start_hurrying(
        house: &House,
        plan: impl Fn(usize) -> Option<Fault> + Send + Sync + 'static,
    ) -> Chaos {
        Chaos::start_with(house, true, Box::new(plan))
    }

    fn start_with(house: &House, hurries: bool, plan: Plan) -> Chaos {
        let shared = Arc::new(Shared {
            server: house.port(),
            plan,
            hurries,
            n_connections: AtomicUsize::new(0),
            last_fault: Mutex::new(None),
            recovered: Mutex::new(None),
            gone: AtomicBool::new(false),
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

    /// The time from where the last answer was cut off, or fell silent, to the next roll that came
    /// through; `None` while there was none. For a plan whose faults come first, and a client that
    /// has one connection at a time.
    pub fn recovered(&self) -> Option<Duration> {
        *self.shared.recovered.lock().unwrap()
    }
}

impl Drop for Chaos {
    fn drop(&mut self) {
        self.shared.gone.store(true, Ordering::SeqCst);
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
            let _ = self.answer(&server, &client, fault);
            if fault.is_some() {
                // Before its client can know of it and come back.
                *self.last_fault.lock().unwrap() = Some(Instant::now());
            }
            if let Some(Fault { end: End::Silence(silence), .. }) = fault {
                let fell_silent = Instant::now();
                let is_over =
                    || client_left.load(Ordering::SeqCst) || self.gone.load(Ordering::SeqCst);
                while fell_silent.elapsed() < silence && !is_over() {
                    thread::park_timeout(Duration::from_millis(5));
                }
            }
            // Ends the thread above as well.
            let _ = client.shutdown(Shutdown::Read);
        });
        if let Some(Fault { end: End::Reset, .. }) = fault {
            // Closed without lingering, which the next line does, a connection is reset.
            SockRef::from(&client).set_linger(Some(Duration::ZERO))?;
        }
        drop(client);
        Ok(())
    }

    /// Passes the answer on, as far as it shall go.
    fn answer(
        &self,
        mut server: &TcpStream,
        mut client: &TcpStream,
        fault: Option<Fault>,
    ) -> io::Result<()> {
        let mut n_left = fault.map_or(usize::MAX, |fault| fault.n_bytes);
        let mut piece = vec![0; 8 << 10];
        while n_left > 0 && !self.gone.load(Ordering::SeqCst) {
            let n_bytes = server.read(&mut piece)?;
            if n_bytes == 0 {
                break;
            }
            if self.hurries {
                hurry(&mut piece[..n_bytes]);
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
                    thread::sleep(delay);
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
}

/// Shortens a `retry:` without changing its length, which a chunk has named. One that is cut in
/// two by a read stays as it is.
fn hurry(piece: &mut [u8]) {
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
