//! Clients behind HAProxy, with `deploy/haproxy/rollcast-fleet.cfg`, while nodes die, stop or hang,
//! and while the stream has no leader.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use crate::client_oracle::{Stored, log_of};
use crate::clients::{Clients, haproxy};
use crate::common::listener::{Behaviour, Listener, ResumeWith};
use crate::common::wait_for;
use crate::fleet::Fleet;
use crate::front::{Front, HAPROXY_FLEET};
use crate::kills::longest_silence;
use crate::nodes::Node;
use crate::oracle::{judge, median_and_max};
use crate::report::{Recovered, Row, times};

/// What happens to the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    NodeKilled,
    NodeStopped,
    NodePaused,
    LeaderKilled,
}

impl Fault {
    const ALL: [Fault; 4] =
        [Fault::NodeKilled, Fault::NodeStopped, Fault::LeaderKilled, Fault::NodePaused];

    fn in_words(self) -> &'static str {
        match self {
            Fault::NodeKilled => "a node killed",
            Fault::NodeStopped => "a node stopped",
            Fault::NodePaused => "a node paused",
            Fault::LeaderKilled => "the leader killed",
        }
    }
}

/// HAProxy ends the streams of a node that is not ready after this time.
const PATIENCE: Duration = Duration::from_secs(12);
/// The clients behind the load balancer.
const N_CLIENTS: usize = 30;
/// The clients of each control.
const N_OF_A_CONTROL: usize = 6;

/// Clients that are broken on purpose, or that are behind a load balancer that is.
struct Controls {
    /// Do not send a cursor when they reconnect.
    forgetful: Vec<Listener>,
    /// Behind a check that ends the streams of a node after a second.
    hasty: Vec<Listener>,
    /// Behind a check that only connects.
    blind: Vec<Listener>,
    blind_front: Front,
    _hasty_front: Front,
}

/// Clients of a control.
fn listen(url: &str, behaviour: Behaviour) -> Vec<Listener> {
    (0..N_OF_A_CONTROL).map(|_| Listener::start(url.into(), behaviour)).collect()
}

impl Controls {
    fn start(fleet: &Fleet, clients: &Clients) -> Controls {
        let hasty = haproxy(fleet, |files| {
            files.replace(HAPROXY_FLEET, "inter 1s fall 12", "inter 500 fall 2");
        });
        let blind = haproxy(fleet, |files| {
            files.replace(HAPROXY_FLEET, "    option httpchk GET /readyz\n", "");
            files.replace(HAPROXY_FLEET, "    option httpchk GET /healthz\n", "");
        });
        // They reconnect when the server says so, after a second or more.
        let patient = Behaviour { start: Some("0"), ..Behaviour::HONEST };
        Controls {
            forgetful: listen(&clients.balanced_url(), patient.with(ResumeWith::Nothing)),
            hasty: listen(&hasty.url("/stream/"), Behaviour::EAGER),
            blind: Vec::new(),
            blind_front: blind,
            _hasty_front: hasty,
        }
    }

    /// Starts the clients behind the blind check, which are then on all nodes.
    fn start_blind(&mut self, head: i64) {
        self.blind.drain(..).for_each(|listener| drop(listener.stop()));
        self.blind = listen(&self.blind_front.url("/stream/"), Behaviour::EAGER);
        wait_for("the clients behind the blind check", || {
            (self.n_blind_without(head) == 0).then_some(())
        });
    }

    fn n_opened_by_hasty(&self) -> usize {
        self.hasty.iter().map(|listener| listener.received().opened.len()).sum()
    }

    /// Stops all of them. Returns how many rolls those without a cursor have lost.
    fn stop(self, stored: &Stored) -> usize {
        for listener in self.hasty.into_iter().chain(self.blind) {
            listener.stop();
        }
        let n_lost = |listener: Listener| {
            let mut log = log_of(&listener.stop(), 0);
            log.settle(stored);
            log.n_lost
        };
        self.forgetful.into_iter().map(n_lost).sum()
    }

    /// How many clients behind the blind check have not seen roll `id`.
    fn n_blind_without(&self, id: i64) -> usize {
        self.blind.iter().filter(|listener| listener.received().last() < id).count()
    }
}

/// How many clients behind the load balancer have opened another stream.
fn n_reopened(clients: &Clients, before: &[usize]) -> usize {
    clients.n_opened().iter().zip(before).filter(|(now, before)| now > before).count()
}

/// What a fault did to the clients.
struct Effect {
    fault: Fault,
    silences: Vec<Duration>,
}

/// Injects a fault, waits until all clients go on, and repairs the fleet.
fn inject(fleet: &mut Fleet, clients: &Clients, controls: &mut Controls, fault: Fault) -> Effect {
    if fault == Fault::NodePaused {
        controls.start_blind(fleet.head());
    }
    // The node with the most streams, also of the controls: a node that has just returned has none.
    let n_open = |n: &usize| fleet.nodes[*n].metric("rollcast_streams_open").unwrap() as usize;
    let n_nodes = fleet.nodes.len();
    let victim = (0..n_nodes).max_by_key(n_open).unwrap();
    let n_open = n_open(&victim);
    let before = clients.n_opened();
    let start = SystemTime::now();
    match fault {
        Fault::NodeKilled => fleet.nodes[victim].kill(),
        Fault::NodeStopped => fleet.nodes[victim].stop(),
        Fault::NodePaused => fleet.nodes[victim].server.as_ref().unwrap().signal("STOP"),
        Fault::LeaderKilled => {
            let hasty_before = controls.n_opened_by_hasty();
            let leader = fleet.engine.leader();
            fleet.engine.kill(leader);
            let silence = longest_silence(&fleet.nodes[victim], 3);
            clients.wait_for_balanced(fleet.head());
            // A machine under load may need another election.
            if silence < PATIENCE - Duration::from_secs(2) {
                assert_eq!(n_reopened(clients, &before), 0, "streams ended within {silence:?}");
            }
            // Control: a check without patience ends the streams.
            let n_ended = controls.n_opened_by_hasty() - hasty_before;
            println!("no leader for {silence:?}; a hasty check ended {n_ended} streams");
            assert!(n_ended > 0 || silence < Duration::from_secs(4), "no stream for {silence:?}");
            fleet.engine.restart(leader);
            fleet.engine.wait_until_ready();
            fleet.engine.wait_for_replicas();
        }
    }
    let healthy = &fleet.nodes[(victim + 1) % n_nodes];
    healthy.wait_for_more(3);
    let newest = healthy.head();
    clients.wait_for_balanced(newest);
    let silences = clients.longest_silences(start);
    if fault != Fault::LeaderKilled {
        let n_moved = n_reopened(clients, &before);
        println!("{fault:?}: {n_moved} clients moved");
        assert!((1..=n_open).contains(&n_moved), "{n_moved} clients moved, of {n_open} streams");
    }
    match fault {
        Fault::LeaderKilled => {}
        Fault::NodeKilled | Fault::NodeStopped => {
            fleet.nodes[victim].start();
        }
        Fault::NodePaused => {
            // Control: a check that only connects leaves the clients on the node that hangs.
            let n_left = controls.n_blind_without(newest);
            assert!(n_left > 0, "all clients moved without a health check");
            fleet.nodes[victim].server.as_ref().unwrap().signal("CONT");
            wait_for("the clients of the node that hung", || {
                (controls.n_blind_without(newest) == 0).then_some(())
            });
        }
    }
    fleet.nodes.iter().for_each(Node::wait_until_it_follows);
    Effect { fault, silences }
}

#[test]
fn thirty_clients_behind_haproxy_get_every_roll_once_although_nodes_and_the_leader_fail() {
    let mut fleet = Fleet::start(3, 3);
    let clients = Clients::start(&fleet, N_CLIENTS);
    clients.wait_for_roll(1);
    let mut controls = Controls::start(&fleet, &clients);
    fleet.nodes[0].wait_for_more(3);
    clients.wait_for_roll(fleet.head());
    let n_rounds = times(1, 5);
    let mut effects = Vec::new();
    for _ in 0..n_rounds {
        for fault in Fault::ALL {
            effects.push(inject(&mut fleet, &clients, &mut controls, fault));
        }
    }
    let verdict = judge(&mut fleet, clients);
    let stored = Stored::read(&fleet.nodes[0].instance);
    let n_lost_without_cursor = controls.stop(&stored);
    let mut recovered = "longest silence of a client".to_owned();
    for fault in Fault::ALL {
        let of_fault = effects.iter().filter(|effect| effect.fault == fault);
        let mut silences: Vec<Duration> =
            of_fault.flat_map(|effect| effect.silences.clone()).collect();
        write!(recovered, "; {}: {}", fault.in_words(), median_and_max(&mut silences)).unwrap();
    }
    Row {
        fault: "30 clients behind HAProxy; a node is killed, stopped and paused, the leader killed",
        n_injected: effects.len(),
        n_lost: verdict.n_lost,
        n_repeated: verdict.n_repeated,
        recovered: Recovered::Words(recovered),
        control: format!(
            "{N_OF_A_CONTROL} clients without a cursor lose {n_lost_without_cursor} rolls; behind \
             a check that only connects, clients stay on the paused node"
        ),
        test: "haproxy::thirty",
    }
    .write();
    verdict.assert_sound();
    assert!(n_lost_without_cursor > 0, "clients without a cursor lost nothing");
}
