//! Hostile clients: how much they delay healthy clients, how much memory they use, and whether the
//! server drops them when they leave. Directly on loopback, where nothing ends a waiting connection,
//! and through the nginx of `deploy/`, which does.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::chaos::{Chaos, End, Fault, Pace};
use crate::common::listener::{Behaviour, Listener};
use crate::common::sockets::narrow_connection;
use crate::common::{Door, Instance, Server, http, wait_for};
use crate::oracle::{Stored, log_of};
use crate::process::{n_sockets, resident_kib};
use crate::report::{Recovered, Row, assert_in_time, times};

pub const N_LISTENERS: usize = 20;
const N_UNREAD: usize = 300;
/// Fewer, because the kernel buffers a megabyte of each between nginx and the server.
#[cfg(feature = "deploy")]
const N_UNREAD_OF_NGINX: usize = 100;
const N_SLOW: usize = 200;
const N_IDLE: usize = 250;
const N_HALF_CLOSED: usize = 100;
const CONNECTS_PER_SECOND: usize = 5_000;
const CONNECT_TIME: Duration = Duration::from_secs(2);
/// The duration of the siege. It is longer than nginx waits for a request.
const SIEGE: Duration = Duration::from_secs(13);

/// The maximum p99 delay of a roll for healthy clients, on a slow and busy machine.
const MAX_P99: Duration = Duration::from_secs(5);
/// The minimum number of rolls for a p99.
const N_MEASURED: usize = 1_000;
/// The server memory that each hostile connection may use.
pub const KIB_PER_CONNECTION: u64 = 100;
/// The memory that the server may use in addition.
pub const MAX_EXTRA_KIB: u64 = 32 << 10;

/// Open hostile connections.
struct Crowd {
    /// Streams that nobody reads, of a history larger than all buffers.
    unread: Vec<TcpStream>,
    /// Requests whose headers never end.
    slow: Vec<TcpStream>,
    /// Connections without a request.
    idle: Vec<TcpStream>,
    /// Streams whose clients have closed their sending half.
    half_closed: Vec<TcpStream>,
}

impl Crowd {
    fn gather(port: u16, n_unread: usize) -> Crowd {
        let connect = |n| (0..n).map(move |_| TcpStream::connect(("127.0.0.1", port)).unwrap());
        let unread: Vec<TcpStream> = (0..n_unread).map(|_| open_unread_stream(port)).collect();
        let slow: Vec<TcpStream> = connect(N_SLOW)
            .map(|mut socket| {
                socket.write_all(b"GET /stream/ HTTP/1.1\r\nHost: x\r\nX-Slow: ").unwrap();
                socket
            })
            .collect();
        let half_closed = connect(N_HALF_CLOSED)
            .map(|mut socket| {
                socket.write_all(b"GET /stream/ HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
                socket.shutdown(Shutdown::Write).unwrap();
                socket
            })
            .collect();
        let crowd = Crowd { unread, slow, idle: connect(N_IDLE).collect(), half_closed };
        for socket in crowd.slow.iter().chain(&crowd.idle).chain(&crowd.half_closed) {
            socket.set_nonblocking(true).unwrap();
        }
        crowd
    }

    fn len(&self) -> usize {
        self.unread.len() + self.slow.len() + self.idle.len() + self.half_closed.len()
    }

    /// Sends one more byte on each slow connection.
    fn drip(&self) {
        // Connections that were ended return an error.
        self.slow.iter().for_each(|mut socket| drop(socket.write(b"x")));
    }

    /// How many slow and idle connections are still open.
    fn n_waiting(&self) -> usize {
        self.slow.iter().chain(&self.idle).filter(|socket| is_open(socket)).count()
    }

    fn n_half_closed(&self) -> usize {
        self.half_closed.iter().filter(|socket| is_open(socket)).count()
    }
}

/// Whether the server has not closed the connection yet.
fn is_open(mut socket: &TcpStream) -> bool {
    let mut bytes = [0; 1024];
    loop {
        match socket.read(&mut bytes) {
            Ok(1..) => {}
            Ok(0) => return false,
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
    }
}

/// Opens a stream of the whole history, reads its beginning, and then stops reading.
fn open_unread_stream(port: u16) -> TcpStream {
    wait_for("a stream of the history", || {
        let mut socket = narrow_connection(port);
        socket.write_all(b"GET /stream/?after=0 HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        // While all database connections are busy, the server ends the stream with `busy`.
        let (mut text, mut bytes) = (String::new(), [0; 64]);
        while !text.contains("event: sync") {
            match socket.read(&mut bytes) {
                Ok(n_bytes @ 1..) => text.push_str(&String::from_utf8_lossy(&bytes[..n_bytes])),
                _ended => return None,
            }
        }
        Some(socket)
    })
}

/// The result of connecting at a fixed rate.
#[derive(Clone, Copy)]
struct Connects {
    n_tried: usize,
    /// Accepted connections. For the rest the accept queue (128 entries) was full, so the kernel
    /// dropped the first packet. Real clients retry after a second.
    n_accepted: usize,
}

fn connect_repeatedly(port: u16) -> Connects {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into();
    let (start, mut n_tried, mut n_accepted) = (Instant::now(), 0, 0);
    while start.elapsed() < CONNECT_TIME {
        let due = (start.elapsed().as_secs_f64() * CONNECTS_PER_SECOND as f64) as usize;
        while n_tried < due && start.elapsed() < CONNECT_TIME {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            // Closed by RST, so that this machine does not run out of ports.
            socket.set_linger(Some(Duration::ZERO)).unwrap();
            // Nonblocking: on loopback a connect succeeds at once or is dropped.
            socket.set_nonblocking(true).unwrap();
            let _pending = socket.connect(&address);
            n_tried += 1;
            n_accepted += usize::from(socket.peer_addr().is_ok());
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
    Connects { n_tried, n_accepted }
}

/// The number of open streams in the server's metrics.
pub fn n_streams(instance: &Instance) -> usize {
    let text = http().get(instance.url("/metrics")).call().unwrap().body_mut().read_to_string();
    let text = text.unwrap();
    let sample = text.lines().find_map(|line| line.strip_prefix("rollcast_streams_open "));
    sample.unwrap().parse().unwrap()
}

/// The p99 delay of all rolls in the listeners' logs from the given positions on.
pub fn p99(listeners: &[Listener], from: &[usize]) -> Duration {
    let mut delays = Vec::new();
    for (listener, from) in listeners.iter().zip(from) {
        delays.extend(listener.received().rolls[*from..].iter().map(|seen| seen.delay()));
    }
    delays.sort();
    assert!(delays.len() >= N_MEASURED, "only {} rolls arrived", delays.len());
    delays[delays.len() * 99 / 100]
}

/// Waits until all listeners have received the rolls that [`p99`] needs, the same number each.
fn wait_for_enough(listeners: &[Listener], from: &[usize]) {
    let n_each = N_MEASURED / listeners.len();
    for (listener, from) in listeners.iter().zip(from) {
        wait_for("rolls", || (listener.received().rolls.len() > from + n_each).then_some(()));
    }
}

/// The number of rolls that each listener has received.
pub fn places(listeners: &[Listener]) -> Vec<usize> {
    listeners.iter().map(|listener| listener.received().rolls.len()).collect()
}

pub fn park(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        std::thread::park_timeout(time.saturating_sub(start.elapsed()));
    }
}

pub fn is_in_time(p99: Duration) -> Result<(), String> {
    if p99 < MAX_P99 { Ok(()) } else { Err(format!("p99 is {:.1} s", p99.as_secs_f64())) }
}

struct Siege {
    n_hostile: usize,
    connects: Connects,
    /// The longest time for a page of the history on a new connection.
    slowest_page: Duration,
    n_lost: usize,
    n_repeated: usize,
    p99_before: Duration,
    p99: Duration,
    kib: u64,
    /// Slow and idle connections that are still open at the end.
    n_waiting: usize,
    /// Streams that the server still counts at the end, without those of the listeners.
    n_held: usize,
    recovered: Duration,
}

/// The server or proxy that the crowd connects to.
struct Front {
    port: u16,
    /// Where it serves pages.
    page_port: u16,
    n_unread: usize,
    unread: Unread,
}

/// Whether the front ends streams that nobody reads.
#[derive(PartialEq)]
enum Unread {
    Keeps,
    Ends,
}

/// Runs the siege of `front` and measures it.
fn lay_siege(instance: &Instance, server: &mut Server, front: Front) -> Siege {
    let Front { port, page_port, n_unread, unread } = front;
    let n_before = n_sockets(server.pid());
    let url = format!("http://127.0.0.1:{port}/stream/");
    let live = Behaviour { start: None, ..Behaviour::HONEST };
    let listeners: Vec<Listener> =
        (0..N_LISTENERS).map(|_| Listener::start(url.clone(), live)).collect();
    for listener in &listeners {
        wait_for("a roll", || (listener.received().last() > 0).then_some(()));
    }
    let from = places(&listeners);
    wait_for_enough(&listeners, &from);
    let p99_before = p99(&listeners, &from);
    let kib_before = resident_kib(server.pid());

    let from = places(&listeners);
    let crowd = Crowd::gather(port, n_unread);
    let (start, mut kib) = (Instant::now(), 0);
    let page_url = format!("http://127.0.0.1:{page_port}/rolls?before=50");
    let (mut n_pages, mut n_refused, mut slowest_page) = (0, 0, Duration::ZERO);
    let connecting = std::thread::spawn(move || {
        // After the kernel's buffers of the unread streams are full.
        park(SIEGE / 3);
        connect_repeatedly(port)
    });
    while start.elapsed() < SIEGE {
        crowd.drip();
        // The history stays readable for others, whatever the unread streams wait for.
        let sent = Instant::now();
        let page = http().get(&page_url).call().unwrap();
        slowest_page = slowest_page.max(sent.elapsed());
        n_pages += 1;
        n_refused += usize::from(page.status() != 200);
        kib = kib.max(resident_kib(server.pid()));
        park(Duration::from_millis(100));
    }
    let connects = connecting.join().unwrap();
    let Connects { n_tried, n_accepted } = connects;
    // At least half of the intended rate, or a tenth on a machine that runs other tests.
    let n_all = CONNECTS_PER_SECOND * CONNECT_TIME.as_secs() as usize;
    assert!(n_tried >= n_all / times(10, 2), "only {n_tried} connects in {CONNECT_TIME:?}");
    assert_eq!(n_refused, 0, "pages of the history were refused, of {n_pages}");
    let p99_under_siege = p99(&listeners, &from);
    let n_waiting = crowd.n_waiting();
    // A client that closes its half counts as disconnected.
    assert_eq!(crowd.n_half_closed(), 0, "half-closed streams are still open");
    let n_held = || n_streams(instance).saturating_sub(N_LISTENERS);
    if unread == Unread::Ends {
        wait_for("the unread streams to be ended", || (n_held() == 0).then_some(()));
        println!("the unread streams ended after {:?}", start.elapsed());
    }
    let n_held = n_held();
    let n_hostile = crowd.len() + n_tried;
    println!("{} MiB of memory before, at most {} under siege", kib_before >> 10, kib >> 10);
    let kib = kib.saturating_sub(kib_before);
    let bound = MAX_EXTRA_KIB + KIB_PER_CONNECTION * crowd.len() as u64;
    assert!(kib < bound, "the crowd used {kib} KiB of memory, expected less than {bound}");

    drop(crowd);
    let left = Instant::now();
    wait_for("the streams of the crowd to end", || {
        (n_streams(instance) <= N_LISTENERS).then_some(())
    });
    let recovered = left.elapsed();
    let (mut n_lost, mut n_repeated) = (0, 0);
    let stories: Vec<_> = listeners.into_iter().map(Listener::stop).collect();
    wait_for("all streams to end", || (n_streams(instance) == 0).then_some(()));
    // nginx closes its keep-alive connections after some seconds.
    wait_for("all descriptors to be free", || (n_sockets(server.pid()) <= n_before).then_some(()));
    println!("all descriptors free after {:?}", left.elapsed());
    server.stop();
    let stored = Stored::read(instance);
    for received in stories {
        assert_eq!(received.opened.len(), 1, "a healthy client lost its connection");
        let mut log = log_of(&received, received.rolls[0].number() - 1);
        log.settle(&stored);
        log.assert_is_whole("a healthy client");
        (n_lost, n_repeated) = (n_lost + log.n_lost, n_repeated + log.n_repeated);
    }
    is_in_time(p99_under_siege).unwrap();
    println!(
        "{n_hostile} hostile connections, {n_tried} of them in {CONNECT_TIME:?}, {n_accepted} accepted; \
         p99 {p99_before:?} before, {p99_under_siege:?} under siege; a page within \
         {slowest_page:?} of {n_pages}; {kib} KiB; {n_waiting} still open, {n_held} streams still open"
    );
    Siege {
        n_hostile,
        connects,
        slowest_page,
        n_lost,
        n_repeated,
        p99_before,
        p99: p99_under_siege,
        kib,
        n_waiting,
        n_held,
        recovered,
    }
}

/// The clients of a crowd.
const HOSTILE: &str =
    "hostile clients on loopback: unread, slow headers, idle, half closed, connects for 2 s";

/// A server whose history is larger than all buffers.
fn large_instance(door: Door, rollcast: &str) -> Instance {
    let instance = door.instance(&format!(
        "every = '20ms'\nheartbeat = '1s'\nmax_streams_per_address = 1000\n{rollcast}"
    ));
    instance.fill(80_000, 1);
    // Counts the statistics, which uses memory once.
    instance.start().stop();
    instance
}

impl Siege {
    fn write(&self, door: Door, fault: &'static str, control: String, test: &'static str) {
        let Siege { n_hostile, n_lost, n_repeated, p99_before, p99, kib, recovered, .. } = *self;
        let Connects { n_tried, n_accepted } = self.connects;
        assert_in_time(fault, recovered);
        let recovered = Recovered::Words(format!(
            "p99 of healthy clients {} to {} ms, a page on a new connection within {:.1} s, +{} MiB; \
             {} connects a second, {} % of them accepted; dropped within {:.1} s",
            p99_before.as_millis(),
            p99.as_millis(),
            self.slowest_page.as_secs_f64(),
            kib >> 10,
            n_tried / CONNECT_TIME.as_secs() as usize,
            100 * n_accepted / n_tried,
            recovered.as_secs_f64()
        ));
        let n_injected = n_hostile;
        Row { fault, n_injected, n_lost, n_repeated, recovered, control, test }.write_at(door);
    }
}

#[test]
fn hostile_clients_on_loopback_harm_no_one_but_stay_connected() {
    let instance = large_instance(Door::Rocket, "");
    let mut server = instance.start();
    let port = instance.port();
    let front = Front { port, page_port: port, n_unread: N_UNREAD, unread: Unread::Keeps };
    let siege = lay_siege(&instance, &mut server, front);
    // Without nginx, nothing ends these connections.
    assert_eq!(siege.n_waiting, N_SLOW + N_IDLE);
    assert!(siege.n_held >= N_UNREAD, "{} streams are still open", siege.n_held);

    // Control: the same clients behind a network that delays each piece by more than the bound.
    let mut server = instance.start();
    let late =
        Fault { pace: Pace::Late(MAX_P99 + MAX_P99 / 5), n_bytes: usize::MAX, end: End::Close };
    let chaos = Chaos::start(&instance, move |_| Some(late));
    let listen = || Listener::start(chaos.url("/stream/"), Behaviour::HONEST);
    let listeners: Vec<Listener> = (0..N_LISTENERS).map(|_| listen()).collect();
    let all_received = |n: usize| {
        let mut stories = listeners.iter().map(Listener::received);
        stories.all(|received| received.rolls.len() >= n).then_some(())
    };
    wait_for("all to receive delayed rolls", || all_received(100));
    let late = is_in_time(p99(&listeners, &[0; N_LISTENERS])).unwrap_err();
    listeners.iter().for_each(Listener::tell_to_stop);
    server.stop();
    siege.write(
        Door::Rocket,
        HOSTILE,
        format!("behind a slow network {late}, over the bound"),
        "siege::hostile_clients_on_loopback",
    );
}

#[test]
fn the_fanout_door_ends_the_connections_of_hostile_clients_and_harms_no_one() {
    // Shortens the defaults of 10 s and 60 s.
    let timeouts = "fanout.head_timeout = '5s'\nfanout.send_timeout = '3s'";
    let instance = large_instance(Door::Fanout, timeouts);
    let mut server = instance.start();
    let (port, page_port) = (instance.stream_port(), instance.port());
    let front = Front { port, page_port, n_unread: N_UNREAD, unread: Unread::Ends };
    let siege = lay_siege(&instance, &mut server, front);
    assert_eq!(siege.n_waiting, 0, "slow and idle connections are still open");
    assert_eq!(siege.n_held, 0, "streams that nobody reads are still open");
    siege.write(
        Door::Fanout,
        HOSTILE,
        "at Rocket's door (above) slow, idle and unread connections stay".into(),
        "siege::the_fanout_door",
    );
}

#[cfg(feature = "deploy")]
#[test]
fn nginx_ends_the_connections_of_hostile_clients() {
    use crate::nginx::{LOCATIONS, Nginx};

    let instance = large_instance(Door::Rocket, "");
    let mut server = instance.start();
    let nginx = Nginx::start_with(instance.port(), |files| {
        // Shortens the delivered 30 s. The 10 s for a request stay.
        files.replace(LOCATIONS, "send_timeout 30s;", "send_timeout 3s;");
    });
    let port = nginx.port();
    let unread = Unread::Ends;
    let front = Front { port, page_port: port, n_unread: N_UNREAD_OF_NGINX, unread };
    let siege = lay_siege(&instance, &mut server, front);
    assert_eq!(siege.n_waiting, 0, "slow and idle connections are still open");
    assert_eq!(siege.n_held, 0, "streams that nobody reads are still open");
    siege.write(
        Door::Rocket,
        "the same clients through nginx",
        "without nginx (above) slow, idle and unread connections stay".into(),
        "siege::nginx_ends_the_connections",
    );
}
