//! Hostile clients: what they cost those who behave, what they cost the server, and whether they
//! are forgotten when they are gone. Directly on loopback, where nothing ends a connection that
//! only waits, and through the nginx of `deploy/`, which does.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::chaos::{Chaos, End, Fault, Pace};
use crate::common::listener::{Listener, Manner};
use crate::common::{House, PATIENCE, Server, http, wait_for};
use crate::oracle::{Stored, log_of};
use crate::process::{n_sockets, resident_kib};
use crate::report::{Recovered, Row, assert_in_time, times};

pub const N_LISTENERS: usize = 20;
const N_DEAF: usize = 300;
/// Of each of these the kernel keeps a megabyte between nginx and the server.
#[cfg(feature = "deploy")]
const N_DEAF_OF_NGINX: usize = 100;
const N_SLOW: usize = 200;
const N_IDLE: usize = 250;
const N_HALF_CLOSED: usize = 100;
const N_CONNECTS_A_SECOND: usize = 5_000;
const CONNECTING: Duration = Duration::from_secs(2);
/// How long the siege lasts: longer than nginx waits for a request.
const SIEGE: Duration = Duration::from_secs(13);

/// What those who behave may wait for a roll, 99 of 100 times, on a machine that is slow and busy.
const BOUND: Duration = Duration::from_secs(5);
/// Rolls of which the longest wait is told.
const N_MEASURED: usize = 1_000;
/// What a hostile connection may cost the server.
pub const KIB_A_CONNECTION: u64 = 100;
/// And the server besides, whatever comes.
pub const KIB_AT_MOST: u64 = 32 << 10;

/// Connections that are held.
struct Crowd {
    /// Streams that nobody reads, of a history that no buffer holds.
    deaf: Vec<TcpStream>,
    /// Requests whose headers never end.
    slow: Vec<TcpStream>,
    /// Connections without a request.
    idle: Vec<TcpStream>,
    /// Streams whose clients have said that they will say no more: one half of a connection.
    half_closed: Vec<TcpStream>,
}

impl Crowd {
    fn gather(port: u16, n_deaf: usize) -> Crowd {
        let connect = |n| (0..n).map(move |_| TcpStream::connect(("127.0.0.1", port)).unwrap());
        let deaf: Vec<TcpStream> = (0..n_deaf).map(|_| deaf(port)).collect();
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
        let crowd = Crowd { deaf, slow, idle: connect(N_IDLE).collect(), half_closed };
        for socket in crowd.slow.iter().chain(&crowd.idle).chain(&crowd.half_closed) {
            socket.set_nonblocking(true).unwrap();
        }
        crowd
    }

    fn len(&self) -> usize {
        self.deaf.len() + self.slow.len() + self.idle.len() + self.half_closed.len()
    }

    /// The slow ones send one more byte each.
    fn drip(&self) {
        // Those that were ended may say so.
        self.slow.iter().for_each(|mut socket| drop(socket.write(b"x")));
    }

    /// How many of the slow and the idle ones the other side has not ended.
    fn n_waiting(&self) -> usize {
        self.slow.iter().chain(&self.idle).filter(|socket| is_open(socket)).count()
    }

    fn n_half_closed(&self) -> usize {
        self.half_closed.iter().filter(|socket| is_open(socket)).count()
    }
}

/// Whether the other side has not ended it, as far as what came of it tells.
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

/// A client that asks for all of the past, hears its stream begin, and reads no further.
fn deaf(port: u16) -> TcpStream {
    wait_for("a stream of the past", || {
        // Small segments and a small window, so that the kernel takes little of it.
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(4 << 10).unwrap();
        socket.set_tcp_mss(536).unwrap();
        socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into()).unwrap();
        let mut socket = TcpStream::from(socket);
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(b"GET /stream/?after=0 HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        // One who comes while all readers of the database are taken is told to come back.
        let (mut heard, mut bytes) = (String::new(), [0; 64]);
        while !heard.contains("event: sync") {
            match socket.read(&mut bytes) {
                Ok(n_bytes @ 1..) => heard.push_str(&String::from_utf8_lossy(&bytes[..n_bytes])),
                _ended => return None,
            }
        }
        Some(socket)
    })
}

/// Connections that come and go, so many a second.
#[derive(Clone, Copy)]
struct Connects {
    n_tried: usize,
    /// The rest met a full queue (128 of a listener on loopback), where the kernel drops the first
    /// packet; who waits for an answer, as honest clients do, tries again after a second.
    n_taken: usize,
}

fn connect_again_and_again(port: u16) -> Connects {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into();
    let (start, mut n_tried, mut n_taken) = (Instant::now(), 0, 0);
    while start.elapsed() < CONNECTING {
        let due = (start.elapsed().as_secs_f64() * N_CONNECTS_A_SECOND as f64) as usize;
        while n_tried < due && start.elapsed() < CONNECTING {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            // By RST, so that this machine does not run out of ports.
            socket.set_linger(Some(Duration::ZERO)).unwrap();
            // Nobody waits for an answer. On loopback it is there at once, or does not come.
            socket.set_nonblocking(true).unwrap();
            let _under_way = socket.connect(&address);
            n_tried += 1;
            n_taken += usize::from(socket.peer_addr().is_ok());
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
    Connects { n_tried, n_taken }
}

/// The streams that the server counts.
pub fn n_streams(house: &House) -> usize {
    let text = http().get(house.url("/metrics")).call().unwrap().body_mut().read_to_string();
    let text = text.unwrap();
    let sample = text.lines().find_map(|line| line.strip_prefix("rollcast_streams_open "));
    sample.unwrap().parse().unwrap()
}

/// The longest wait of 99 in 100 rolls that all listeners got from these places in their logs on.
pub fn p99(listeners: &[Listener], from: &[usize]) -> Duration {
    let mut delays = Vec::new();
    for (listener, from) in listeners.iter().zip(from) {
        delays.extend(listener.story().rolls[*from..].iter().map(|seen| seen.delay()));
    }
    delays.sort();
    assert!(delays.len() >= N_MEASURED, "only {} rolls came", delays.len());
    delays[delays.len() * 99 / 100]
}

/// Waits until there are enough rolls to measure, of each listener as many as of the others.
fn wait_for_enough(listeners: &[Listener], from: &[usize]) {
    let n_each = N_MEASURED / listeners.len();
    for (listener, from) in listeners.iter().zip(from) {
        wait_for("rolls", || (listener.story().rolls.len() > from + n_each).then_some(()));
    }
}

pub fn places(listeners: &[Listener]) -> Vec<usize> {
    listeners.iter().map(|listener| listener.story().rolls.len()).collect()
}

pub fn park(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        std::thread::park_timeout(time.saturating_sub(start.elapsed()));
    }
}

pub fn is_in_time(p99: Duration) -> Result<(), String> {
    if p99 < BOUND { Ok(()) } else { Err(format!("99 of 100 rolls came within {p99:?}")) }
}

struct Siege {
    n_hostile: usize,
    connects: Connects,
    /// The longest that one waits for a page of the past, by a connection of its own.
    slowest_page: Duration,
    n_lost: usize,
    n_repeated: usize,
    p99_before: Duration,
    p99: Duration,
    kib: u64,
    /// Slow and idle connections that are still open at its end.
    n_waiting: usize,
    /// Streams that the server still counts at its end, besides those of the listeners.
    n_held: usize,
    recovered: Duration,
}

/// What the crowd meets.
struct Front {
    port: u16,
    n_deaf: usize,
    patience: Patience,
}

/// With clients that do not read.
#[derive(PartialEq)]
enum Patience {
    IsEndless,
    #[cfg_attr(not(feature = "deploy"), allow(dead_code))]
    Ends,
}

/// Lays siege to what stands before the server.
fn lay_siege(house: &House, server: &mut Server, front: Front) -> Siege {
    let Front { port, n_deaf, patience } = front;
    let n_before = n_sockets(server.pid());
    let url = format!("http://127.0.0.1:{port}/stream/");
    let live = Manner { start: None, ..Manner::HONEST };
    let listeners: Vec<Listener> =
        (0..N_LISTENERS).map(|_| Listener::start(url.clone(), live)).collect();
    for listener in &listeners {
        wait_for("a roll", || (listener.story().last() > 0).then_some(()));
    }
    let from = places(&listeners);
    wait_for_enough(&listeners, &from);
    let p99_before = p99(&listeners, &from);
    let kib_before = resident_kib(server.pid());

    let from = places(&listeners);
    let crowd = Crowd::gather(port, n_deaf);
    let (start, mut kib) = (Instant::now(), 0);
    let page_url = format!("http://127.0.0.1:{port}/rolls?before=50");
    let (mut n_pages, mut n_refused, mut slowest_page) = (0, 0, Duration::ZERO);
    let connecting = std::thread::spawn(move || {
        // Once those who do not read have got what the kernel takes for them.
        park(SIEGE / 3);
        connect_again_and_again(port)
    });
    while start.elapsed() < SIEGE {
        crowd.drip();
        // Past rolls are there for others, too, whoever waits for some and then reads no further.
        let asked = Instant::now();
        let page = http().get(&page_url).call().unwrap();
        slowest_page = slowest_page.max(asked.elapsed());
        n_pages += 1;
        n_refused += usize::from(page.status() != 200);
        kib = kib.max(resident_kib(server.pid()));
        park(Duration::from_millis(100));
    }
    let connects = connecting.join().unwrap();
    let Connects { n_tried, n_taken } = connects;
    // Half of what it is to be; on a machine that is busy with other tests a tenth.
    let n_all = N_CONNECTS_A_SECOND * CONNECTING.as_secs() as usize;
    assert!(n_tried >= n_all / times(10, 2), "only {n_tried} connects in {CONNECTING:?}");
    assert_eq!(n_refused, 0, "of {n_pages} pages of the history, so many were refused");
    let p99_under_siege = p99(&listeners, &from);
    let n_waiting = crowd.n_waiting();
    // Who closes one half is taken to have left.
    assert_eq!(crowd.n_half_closed(), 0, "streams whose clients have closed their half go on");
    let n_held = || n_streams(house).saturating_sub(N_LISTENERS);
    if patience == Patience::Ends {
        wait_for("the deaf to be sent away", || (n_held() == 0).then_some(()));
        println!("the deaf are sent away after {:?}", start.elapsed());
    }
    let n_held = n_held();
    let n_hostile = crowd.len() + n_tried;
    println!("{} MiB of memory before, at most {} under siege", kib_before >> 10, kib >> 10);
    let kib = kib.saturating_sub(kib_before);
    let bound = KIB_AT_MOST + KIB_A_CONNECTION * crowd.len() as u64;
    assert!(kib < bound, "the crowd cost {kib} KiB of memory, expected less than {bound}");

    drop(crowd);
    let gone = Instant::now();
    wait_for("the crowd to be forgotten", || (n_streams(house) <= N_LISTENERS).then_some(()));
    let recovered = gone.elapsed();
    let (mut n_lost, mut n_repeated) = (0, 0);
    let stories: Vec<_> = listeners.into_iter().map(Listener::stop).collect();
    wait_for("no stream to be counted", || (n_streams(house) == 0).then_some(()));
    // Those that nginx keeps to ask again it closes after some seconds.
    wait_for("all descriptors to be free", || (n_sockets(server.pid()) <= n_before).then_some(()));
    println!("all descriptors free after {:?}", gone.elapsed());
    server.stop();
    let stored = Stored::read(house);
    for story in stories {
        assert_eq!(story.opened.len(), 1, "one who behaves lost the connection");
        let mut log = log_of(&story, story.rolls[0].number() - 1);
        log.settle(&stored);
        log.assert_is_whole("one who behaves");
        (n_lost, n_repeated) = (n_lost + log.n_lost, n_repeated + log.n_repeated);
    }
    is_in_time(p99_under_siege).unwrap();
    println!(
        "{n_hostile} hostile connections, {n_tried} of them in {CONNECTING:?}, {n_taken} taken; \
         p99 {p99_before:?} before, {p99_under_siege:?} under siege; a page within \
         {slowest_page:?} of {n_pages}; {kib} KiB; {n_waiting} still waited, {n_held} streams held"
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

/// A house with a history that no buffer holds.
fn large_house() -> House {
    let house = House::new("every = '20ms'\nheartbeat = '1s'\nmax_streams_per_address = 1000");
    house.fill(80_000, 1);
    // Their statistics are counted, which takes memory once.
    house.start().stop();
    house
}

impl Siege {
    fn write(&self, fault: &'static str, control: String, test: &'static str) {
        let Siege { n_hostile, n_lost, n_repeated, p99_before, p99, kib, recovered, .. } = *self;
        let Connects { n_tried, n_taken } = self.connects;
        assert_in_time(fault, recovered);
        let recovered = Recovered::Words(format!(
            "p99 of the healthy {} to {} ms, a page by a new connection within {:.1} s, +{} MiB; \
             {} connects a second, {} % of them taken; forgotten in {:.1} s",
            p99_before.as_millis(),
            p99.as_millis(),
            self.slowest_page.as_secs_f64(),
            kib >> 10,
            n_tried / CONNECTING.as_secs() as usize,
            100 * n_taken / n_tried,
            recovered.as_secs_f64()
        ));
        let n_injected = n_hostile;
        Row { fault, n_injected, n_lost, n_repeated, recovered, control, test }.write();
    }
}

#[test]
fn hostile_clients_on_loopback_harm_no_one_but_are_never_sent_away() {
    let house = large_house();
    let mut server = house.start();
    let front = Front { port: house.port(), n_deaf: N_DEAF, patience: Patience::IsEndless };
    let siege = lay_siege(&house, &mut server, front);
    // What nginx is for: without it they stay as long as they like.
    assert_eq!(siege.n_waiting, N_SLOW + N_IDLE);
    assert!(siege.n_held >= N_DEAF, "{} streams are held", siege.n_held);

    // Control: the same clients behind a network that holds back each piece for longer.
    let mut server = house.start();
    let late = Fault { pace: Pace::Late(BOUND + BOUND / 5), n_bytes: usize::MAX, end: End::Close };
    let chaos = Chaos::start(&house, move |_| Some(late));
    let listen = || Listener::start(chaos.url("/stream/"), Manner::HONEST);
    let listeners: Vec<Listener> = (0..N_LISTENERS).map(|_| listen()).collect();
    let all_heard = |n: usize| {
        let mut stories = listeners.iter().map(Listener::story);
        stories.all(|story| story.rolls.len() >= n).then_some(())
    };
    wait_for("all to hear late", || all_heard(100));
    let late = is_in_time(p99(&listeners, &[0; N_LISTENERS])).unwrap_err();
    listeners.iter().for_each(Listener::tell_to_stop);
    server.stop();
    siege.write(
        "a crowd on loopback: never read, slow headers, idle, half closed, connects for 2 s",
        format!("behind a slow network {late}, over the bound"),
        "siege::hostile_clients_on_loopback",
    );
}

#[cfg(feature = "deploy")]
#[test]
fn hostile_clients_are_sent_away_by_nginx() {
    use crate::nginx::{LOCATIONS, Nginx};

    let house = large_house();
    let mut server = house.start();
    let nginx = Nginx::start_with(house.port(), |files| {
        // The delivered half a minute, shortened; the ten seconds for a request are as delivered.
        files.replace(LOCATIONS, "send_timeout 30s;", "send_timeout 3s;");
    });
    let front = Front { port: nginx.port(), n_deaf: N_DEAF_OF_NGINX, patience: Patience::Ends };
    let siege = lay_siege(&house, &mut server, front);
    assert_eq!(siege.n_waiting, 0, "slow and idle connections are still open");
    assert_eq!(siege.n_held, 0, "streams that nobody reads are still open");
    siege.write(
        "the same crowd through nginx",
        "without it (above) the slow, the idle and the unread stay".into(),
        "siege::hostile_clients_are_sent_away",
    );
}
