//! Peers that vanish without a word, as a phone in a tunnel or a host without power: their
//! connections are open on one side only. They harm no one, go on where they were if they come
//! back, and are forgotten when TCP gives them up.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use socket2::{SockFilter, SockRef};

use crate::common::events::Stream;
use crate::common::listener::{Listener, Manner};
use crate::common::{House, PATIENCE, Server, wait_for};
use crate::kills::head;
use crate::oracle::{Log, Stored, log_of};
use crate::process::resident_kib;
use crate::report::{Recovered, Row};
use crate::siege::{
    KIB_A_CONNECTION, KIB_AT_MOST, N_LISTENERS, is_in_time, n_streams, p99, park, places,
};

/// Streams whose clients vanish, and as many connections without a request.
const N_GONE: usize = 100;
/// Long enough for TCP to have tried again several times.
const ABSENCE: Duration = Duration::from_secs(5);

/// A client that can vanish.
struct Peer {
    socket: TcpStream,
    stream: Stream,
    log: Log,
}

impl Peer {
    /// Listens from now on, and has heard a roll.
    fn listen(port: u16) -> Peer {
        let mut socket = connect(port);
        // By HTTP/1.0, so that the events stand there without chunks.
        socket.write_all(b"GET /stream/ HTTP/1.0\r\nHost: x\r\n\r\n").unwrap();
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            socket.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        let stream = Stream::read(socket.try_clone().unwrap());
        let mut peer = Peer { socket, stream, log: Log::default() };
        peer.hear(1);
        peer
    }

    /// Listens until it has a roll with this number, or a later one.
    fn hear(&mut self, number: i64) {
        while self.log.last() < number {
            let (id, dice) = self.stream.rolls(1).remove(0);
            let number = id.split('-').next().unwrap().parse().unwrap();
            self.log.see(number, format!("{id} {dice}"));
        }
    }
}

fn connect(port: u16) -> TcpStream {
    let socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// From now on its kernel drops whatever comes, and answers nothing, not even for TCP.
fn vanish(socket: &TcpStream) {
    /// `BPF_RET | BPF_K`: keep so many bytes of the packet.
    /// <https://www.kernel.org/doc/html/latest/networking/filter.html>
    const RETURN: u16 = 0x06;
    SockRef::from(socket).attach_filter(&[SockFilter::new(RETURN, 0, 0, 0)]).unwrap();
}

fn come_back(socket: &TcpStream) {
    SockRef::from(socket).detach_filter().unwrap();
}

/// A crowd that has vanished, and those who stay.
struct Gone {
    peers: Vec<Peer>,
    idle: Vec<TcpStream>,
    since: Instant,
    listeners: Vec<Listener>,
    from: Vec<usize>,
    kib_before: u64,
}

impl Gone {
    /// Of those who listen at `port`, most vanish.
    fn from(server: &Server, port: u16) -> Gone {
        let url = format!("http://127.0.0.1:{port}/stream/");
        let listen = || Listener::start(url.clone(), Manner::HONEST);
        let listeners: Vec<Listener> = (0..N_LISTENERS).map(|_| listen()).collect();
        for listener in &listeners {
            wait_for("a roll", || (listener.story().last() > 0).then_some(()));
        }
        let kib_before = resident_kib(server.pid());
        let peers: Vec<Peer> = (0..N_GONE).map(|_| Peer::listen(port)).collect();
        let idle: Vec<TcpStream> = (0..N_GONE).map(|_| connect(port)).collect();
        let from = places(&listeners);
        peers.iter().map(|peer| &peer.socket).chain(&idle).for_each(vanish);
        Gone { peers, idle, since: Instant::now(), listeners, from, kib_before }
    }

    /// Those who stay have lost nothing by it; gives back the longest wait of 99 in 100 rolls.
    fn assert_harmless(&self, server: &Server) -> Duration {
        let p99 = p99(&self.listeners, &self.from);
        is_in_time(p99).unwrap();
        let kib = resident_kib(server.pid()).saturating_sub(self.kib_before);
        let bound = KIB_AT_MOST + KIB_A_CONNECTION * 2 * N_GONE as u64;
        assert!(kib < bound, "they cost {kib} KiB of memory, expected less than {bound}");
        p99
    }

    /// Of those who stay.
    fn stop_listeners(&mut self) -> Vec<Log> {
        let stories = self.listeners.drain(..).map(Listener::stop);
        let log = |story: crate::common::listener::Story| {
            assert_eq!(story.opened.len(), 1, "one who stayed lost the connection");
            log_of(&story, story.rolls[0].number() - 1)
        };
        stories.map(log).collect()
    }
}

fn house() -> House {
    House::new("every = '20ms'\nheartbeat = '1s'\nmax_streams_per_address = 1000")
}

/// All logs against what is stored, whoever's they are: what was lost, and what came twice.
fn judge(house: &House, logs: Vec<Log>) -> (usize, usize) {
    let stored = Stored::read(house);
    let judge = |mut log: Log| {
        log.settle(&stored);
        log.assert_is_whole("a client");
        (log.n_lost, log.n_repeated)
    };
    logs.into_iter().map(judge).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
}

#[test]
fn peers_that_vanish_harm_no_one_and_go_on_where_they_were_when_they_are_back() {
    let house = house();
    let mut server = house.start();
    let mut gone = Gone::from(&server, house.port());
    park(ABSENCE);
    let p99 = gone.assert_harmless(&server);
    assert_eq!(n_streams(&house), N_LISTENERS + N_GONE, "TCP has not given them up yet");

    // Control: who is back by a new connection, without a cursor, has missed something.
    let mut anew = Peer::listen(house.port());
    anew.log = std::mem::take(&mut gone.peers[0].log);
    let last = anew.log.last();
    anew.hear(last + 1);
    gone.peers[0].log.turn_to(last);
    let n_missed = anew.log.n_lost;
    assert!(n_missed > 0, "who came back without a cursor missed nothing");

    let back = Instant::now();
    let head = head(&house);
    gone.peers.iter().map(|peer| &peer.socket).chain(&gone.idle).for_each(come_back);
    gone.peers.iter_mut().for_each(|peer| peer.hear(head + 1));
    let recovered = back.elapsed();
    let mut logs = gone.stop_listeners();
    logs.extend(gone.peers.drain(..).map(|peer| peer.log));
    drop((anew, gone));
    wait_for("no stream to be counted", || (n_streams(&house) == 0).then_some(()));
    server.stop();
    let (n_lost, n_repeated) = judge(&house, logs);
    Row {
        fault: "peers vanish for 5 s without a word, half of them with a stream",
        n_injected: 2 * N_GONE,
        n_lost,
        n_repeated,
        recovered: Recovered::Words(format!(
            "p99 of those who stay {} ms; {:.1} s after they are back, when TCP tries again",
            p99.as_millis(),
            recovered.as_secs_f64()
        )),
        control: format!("who comes back without a cursor misses {n_missed}"),
        test: "vanished::peers_that_vanish",
    }
    .write();
}

/// Where the kernel can be told to give up sooner: in a network of its own, which takes a root.
#[cfg(all(feature = "deploy", feature = "machine"))]
mod for_good {
    use super::*;

    use std::env;
    use std::fs;
    use std::process::Command;

    use crate::nginx::Nginx;
    use crate::process::n_sockets;

    /// Tells the process that it has a network of its own.
    const OWN_NETWORK: &str = "ROLLCAST_TEST_NETWORK";
    /// How often the kernel tries again: three times for 3 s instead of 15 times for 15 minutes.
    /// <https://docs.kernel.org/networking/ip-sysctl.html>
    const TRIES: &str = "/proc/sys/net/ipv4/tcp_retries2";

    #[test]
    fn peers_that_never_come_back_are_forgotten_when_tcp_gives_them_up() {
        if env::var_os(OWN_NETWORK).is_none() {
            let mut command = Command::new("unshare");
            command.args(["--net", "sh", "-c", "ip link set lo up && exec \"$0\" \"$@\""]);
            command.arg(env::current_exe().unwrap());
            command.args(["--exact", "--nocapture"]);
            command.arg("vanished::for_good::peers_that_never_come_back_are_forgotten_when_tcp_gives_them_up");
            let status = command.env(OWN_NETWORK, "1").status().unwrap();
            assert!(status.success(), "in a network of its own: {status}");
            return;
        }
        let usual = fs::read_to_string(TRIES).unwrap();
        let house = house();
        let mut server = house.start();
        let nginx = Nginx::start(house.port());
        let n_before = n_sockets(server.pid());
        let mut logs = Vec::new();

        fs::write(TRIES, "3").unwrap();
        let mut forgotten = Vec::new();
        for port in [house.port(), nginx.port()] {
            let mut gone = Gone::from(&server, port);
            wait_for("the vanished to be forgotten", || {
                (n_streams(&house) == N_LISTENERS).then_some(())
            });
            forgotten.push(gone.since.elapsed());
            gone.assert_harmless(&server);
            // Where nothing is sent nothing is noticed; behind nginx they have cost nothing.
            let n_idle = n_sockets(server.pid()).saturating_sub(n_before + N_LISTENERS);
            if port == house.port() {
                assert!(n_idle >= N_GONE, "{n_idle} of {N_GONE} connections are still there");
            }
            logs.extend(gone.stop_listeners());
        }
        // Control: a kernel as it is usually set still has all of them after as long.
        fs::write(TRIES, usual).unwrap();
        let mut gone = Gone::from(&server, house.port());
        let as_long = forgotten.iter().max().unwrap().saturating_sub(gone.since.elapsed());
        park(as_long);
        let n_held = n_streams(&house) - N_LISTENERS;
        assert_eq!(n_held, N_GONE, "there was another reason to forget them");
        logs.extend(gone.stop_listeners());
        drop(gone);
        wait_for("no stream to be counted", || (n_streams(&house) == 0).then_some(()));
        server.stop();
        let (n_lost, n_repeated) = judge(&house, logs);
        let [directly, through_nginx] = [0, 1].map(|n| forgotten[n].as_secs_f64());
        Row {
            fault: "peers vanish for good, on loopback and through nginx; the kernel tries 3 times",
            n_injected: 4 * N_GONE,
            n_lost,
            n_repeated,
            recovered: Recovered::Words(format!(
                "forgotten after {directly:.1} s, and {through_nginx:.1} s through nginx"
            )),
            control: format!(
                "with the kernel's usual 15 times {n_held} of {N_GONE} are still there"
            ),
            test: "vanished::for_good",
        }
        .write();
    }
}
