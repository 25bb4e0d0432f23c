//! Peers that vanish without closing their connections, like a phone in a tunnel or a host without
//! power. They do not harm other clients, continue where they were when they return, and their
//! streams end when TCP gives up.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use socket2::{Domain, SockFilter, SockRef, Socket, Type};

use crate::common::events::Stream;
use crate::common::listener::{Behaviour, Listener};
use crate::common::{Instance, Server, TIMEOUT, wait_for};
use crate::kills::head;
use crate::oracle::{Log, Stored, log_of};
use crate::own_network::ran_in_own_network;
use crate::process::resident_kib;
use crate::report::{Recovered, Row};
use crate::siege::{
    KIB_PER_CONNECTION, MAX_EXTRA_KIB, N_LISTENERS, is_in_time, n_streams, p99, park, places,
};

/// How many streams vanish, and how many connections without a request.
const N_GONE: usize = 100;
/// Long enough for several TCP retransmissions.
const ABSENCE: Duration = Duration::from_secs(5);

/// A client that can vanish.
struct Peer {
    socket: TcpStream,
    stream: Stream,
    log: Log,
}

impl Peer {
    /// Opens a live stream and waits for a roll.
    fn listen(port: u16) -> Peer {
        let mut socket = connect(port);
        // HTTP/1.0, so that the events come without chunks.
        socket.write_all(b"GET /stream/ HTTP/1.0\r\nHost: x\r\n\r\n").unwrap();
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            socket.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        let stream = Stream::read(socket.try_clone().unwrap());
        let mut peer = Peer { socket, stream, log: Log::default() };
        peer.wait_for_roll(1);
        peer
    }

    /// Reads until the roll with this id, or a later one.
    fn wait_for_roll(&mut self, number: i64) {
        while self.log.last() < number {
            let (id, dice) = self.stream.rolls(1).remove(0);
            let number = id.split('-').next().unwrap().parse().unwrap();
            self.log.see(number, format!("{id} {dice}"));
        }
    }
}

fn connect(port: u16) -> TcpStream {
    let socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(TIMEOUT)).unwrap();
    socket
}

/// Makes the kernel drop all incoming packets of this socket, so that even TCP does not answer.
fn vanish(socket: &TcpStream) {
    try_to_vanish(socket).unwrap();
}

fn try_to_vanish(socket: &TcpStream) -> io::Result<()> {
    /// `BPF_RET | BPF_K`: keep this many bytes of the packet.
    /// <https://www.kernel.org/doc/html/latest/networking/filter.html>
    const RETURN: u16 = 0x06;
    SockRef::from(socket).attach_filter(&[SockFilter::new(RETURN, 0, 0, 0)])
}

/// Whether this process may filter packets. Some kernels allow this only to root and to the owner of
/// the network namespace.
fn may_vanish() -> bool {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    try_to_vanish(&socket.into()).is_ok()
}

fn reappear(socket: &TcpStream) {
    SockRef::from(socket).detach_filter().unwrap();
}

/// Peers that have vanished, and listeners that stay.
struct Gone {
    peers: Vec<Peer>,
    idle: Vec<TcpStream>,
    listeners: Vec<Listener>,
    from: Vec<usize>,
    kib_before: u64,
}

impl Gone {
    /// Connects listeners and peers at `port`, and makes the peers vanish.
    fn from(server: &Server, port: u16) -> Gone {
        let url = format!("http://127.0.0.1:{port}/stream/");
        let listen = || Listener::start(url.clone(), Behaviour::HONEST);
        let listeners: Vec<Listener> = (0..N_LISTENERS).map(|_| listen()).collect();
        for listener in &listeners {
            wait_for("a roll", || (listener.received().last() > 0).then_some(()));
        }
        let kib_before = resident_kib(server.pid());
        let peers: Vec<Peer> = (0..N_GONE).map(|_| Peer::listen(port)).collect();
        let idle: Vec<TcpStream> = (0..N_GONE).map(|_| connect(port)).collect();
        let from = places(&listeners);
        peers.iter().map(|peer| &peer.socket).chain(&idle).for_each(vanish);
        Gone { peers, idle, listeners, from, kib_before }
    }

    /// Asserts that delay and memory stay within bounds. Returns the p99 delay of the listeners.
    fn assert_harmless(&self, server: &Server) -> Duration {
        let p99 = p99(&self.listeners, &self.from);
        is_in_time(p99).unwrap();
        let kib = resident_kib(server.pid()).saturating_sub(self.kib_before);
        let bound = MAX_EXTRA_KIB + KIB_PER_CONNECTION * 2 * N_GONE as u64;
        assert!(kib < bound, "they used {kib} KiB of memory, expected less than {bound}");
        p99
    }

    /// Stops the listeners and returns their logs.
    fn stop_listeners(&mut self) -> Vec<Log> {
        let stories = self.listeners.drain(..).map(Listener::stop);
        let log = |received: crate::common::listener::Received| {
            assert_eq!(received.opened.len(), 1, "a listener lost its connection");
            log_of(&received, received.rolls[0].number() - 1)
        };
        stories.map(log).collect()
    }
}

fn instance() -> Instance {
    Instance::new("every = '20ms'\nheartbeat = '1s'\nmax_streams_per_address = 1000")
}

/// Compares all logs with the stored rolls. Returns how many rolls were lost and repeated.
fn judge(instance: &Instance, logs: Vec<Log>) -> (usize, usize) {
    let stored = Stored::read(instance);
    let judge = |mut log: Log| {
        log.settle(&stored);
        log.assert_is_whole("a client");
        (log.n_lost, log.n_repeated)
    };
    logs.into_iter().map(judge).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
}

#[test]
fn peers_that_vanish_harm_no_one_and_continue_where_they_were_when_they_return() {
    const NAME: &str =
        "vanished::peers_that_vanish_harm_no_one_and_continue_where_they_were_when_they_return";
    if ran_in_own_network(NAME, !may_vanish()) {
        return;
    }
    let instance = instance();
    let mut server = instance.start();
    let mut gone = Gone::from(&server, instance.port());
    park(ABSENCE);
    let p99 = gone.assert_harmless(&server);
    assert_eq!(n_streams(&instance), N_LISTENERS + N_GONE, "TCP has not given them up yet");

    // Control: a client that reconnects without a cursor misses rolls.
    let mut reconnected = Peer::listen(instance.port());
    reconnected.log = std::mem::take(&mut gone.peers[0].log);
    let last = reconnected.log.last();
    reconnected.wait_for_roll(last + 1);
    gone.peers[0].log.continue_after(last);
    let n_missed = reconnected.log.n_lost;
    assert!(n_missed > 0, "a client that reconnected without a cursor missed nothing");

    let returned = Instant::now();
    let head = head(&instance);
    gone.peers.iter().map(|peer| &peer.socket).chain(&gone.idle).for_each(reappear);
    gone.peers.iter_mut().for_each(|peer| peer.wait_for_roll(head + 1));
    let recovered = returned.elapsed();
    let mut logs = gone.stop_listeners();
    logs.extend(gone.peers.drain(..).map(|peer| peer.log));
    drop((reconnected, gone));
    wait_for("no stream to be counted", || (n_streams(&instance) == 0).then_some(()));
    server.stop();
    let (n_lost, n_repeated) = judge(&instance, logs);
    Row {
        fault: "peers vanish for 5 s without closing, half of them with a stream",
        n_injected: 2 * N_GONE,
        n_lost,
        n_repeated,
        recovered: Recovered::Words(format!(
            "p99 of the others {} ms; {:.1} s after they return, with TCP's next retransmission",
            p99.as_millis(),
            recovered.as_secs_f64()
        )),
        control: format!("a client that reconnects without a cursor misses {n_missed}"),
        test: "vanished::peers_that_vanish",
    }
    .write();
}

/// In a network namespace of its own, a test can configure the kernel to give up sooner.
#[cfg(all(feature = "deploy", feature = "machine"))]
mod for_good {
    use super::*;

    use std::fs;

    use crate::nginx::Nginx;
    use crate::process::n_sockets;

    /// The number of retransmissions: 3 take 3 s; the default of 15 takes 15 minutes.
    /// <https://docs.kernel.org/networking/ip-sysctl.html>
    const TRIES: &str = "/proc/sys/net/ipv4/tcp_retries2";

    #[test]
    fn peers_that_never_return_are_dropped_when_tcp_gives_up() {
        const NAME: &str =
            "vanished::for_good::peers_that_never_return_are_dropped_when_tcp_gives_up";
        if ran_in_own_network(NAME, true) {
            return;
        }
        let usual = fs::read_to_string(TRIES).unwrap();
        let instance = instance();
        let mut server = instance.start();
        let nginx = Nginx::start(instance.port());
        let n_before = n_sockets(server.pid());
        let mut logs = Vec::new();

        fs::write(TRIES, "3").unwrap();
        let mut forgotten = Vec::new();
        for port in [instance.port(), nginx.port()] {
            let mut gone = Gone::from(&server, port);
            let vanished = Instant::now();
            wait_for("the streams of vanished peers to end", || {
                (n_streams(&instance) == N_LISTENERS).then_some(())
            });
            forgotten.push(vanished.elapsed());
            gone.assert_harmless(&server);
            // TCP notices nothing where nothing is sent. nginx ends such connections itself.
            let n_idle = n_sockets(server.pid()).saturating_sub(n_before + N_LISTENERS);
            if port == instance.port() {
                assert!(n_idle >= N_GONE, "{n_idle} of {N_GONE} connections are still there");
            }
            logs.extend(gone.stop_listeners());
        }
        // Control: with the default, the kernel still has all of them after the same time.
        fs::write(TRIES, usual).unwrap();
        let mut gone = Gone::from(&server, instance.port());
        park(*forgotten.iter().max().unwrap());
        let n_held = n_streams(&instance) - N_LISTENERS;
        assert_eq!(n_held, N_GONE, "the streams ended for another reason");
        logs.extend(gone.stop_listeners());
        drop(gone);
        wait_for("no stream to be counted", || (n_streams(&instance) == 0).then_some(()));
        server.stop();
        let (n_lost, n_repeated) = judge(&instance, logs);
        let [directly, through_nginx] = [0, 1].map(|n| forgotten[n].as_secs_f64());
        Row {
            fault: "peers vanish for good, on loopback and through nginx; 3 TCP retransmissions",
            n_injected: 4 * N_GONE,
            n_lost,
            n_repeated,
            recovered: Recovered::Words(format!(
                "dropped after {directly:.1} s, and {through_nginx:.1} s through nginx"
            )),
            control: format!("with the default of 15, {n_held} of {N_GONE} are still connected"),
            test: "vanished::for_good",
        }
        .write();
    }
}
