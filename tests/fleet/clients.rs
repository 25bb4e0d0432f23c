//! Clients that read event streams like browsers, while the fleet is disturbed.

use std::time::{Duration, SystemTime};

use crate::client_oracle::{Log, log_of};
use crate::common::listener::{Behaviour, Listener};
use crate::common::wait_for;
use crate::files::Files;
use crate::fleet::Fleet;
use crate::front::Front;

/// Reconnects soon, so that it meets nodes that are behind.
const IMPATIENT: Behaviour =
    Behaviour { longest_pause: Duration::from_millis(50), ..Behaviour::EAGER };

/// Clients that read from the first roll on: some behind a load balancer, and one for each node.
pub struct Clients {
    balanced: Vec<Listener>,
    fixed: Vec<Listener>,
    front: Option<Front>,
}

/// HAProxy with the delivered file in front of up to three nodes, after `edit`.
pub fn haproxy(fleet: &Fleet, edit: impl FnOnce(&mut Files)) -> Front {
    let ports = fleet.nodes.iter().map(|node| node.instance.port()).cycle();
    let ports: Vec<u16> = ports.take(3).collect();
    Front::fleet(ports.try_into().unwrap(), edit)
}

impl Clients {
    pub fn start(fleet: &Fleet, n_balanced: usize) -> Clients {
        let front = (n_balanced > 0).then(|| haproxy(fleet, |_| ()));
        let listen = |url| Listener::start(url, IMPATIENT);
        let urls = front.iter().flat_map(|front| vec![front.url("/stream/"); n_balanced]);
        let balanced = urls.map(listen).collect();
        let fixed = fleet.nodes.iter().map(|node| listen(node.url("/stream/"))).collect();
        Clients { balanced, fixed, front }
    }

    /// The address of the stream behind the load balancer.
    pub fn balanced_url(&self) -> String {
        self.front.as_ref().expect("a load balancer").url("/stream/")
    }

    /// Waits until all clients have seen roll `id` or a later one.
    pub fn wait_for_roll(&self, id: i64) {
        self.wait_for_balanced(id);
        for (n, listener) in self.fixed.iter().enumerate() {
            wait_for_roll(&format!("the client of {n}"), listener, id);
        }
    }

    /// The same for the clients behind the load balancer.
    pub fn wait_for_balanced(&self, id: i64) {
        for (n, listener) in self.balanced.iter().enumerate() {
            wait_for_roll(&format!("balanced client {n}"), listener, id);
        }
    }

    /// How many streams each client behind the load balancer has opened.
    pub fn n_opened(&self) -> Vec<usize> {
        self.balanced.iter().map(|listener| listener.received().opened.len()).collect()
    }

    /// The longest time without a roll since `start`, for each client behind the load balancer.
    pub fn longest_silences(&self, start: SystemTime) -> Vec<Duration> {
        let longest = |listener: &Listener| {
            let received = listener.received();
            let times = received.rolls.iter().map(|seen| seen.at);
            let times: Vec<SystemTime> = times.collect();
            let pairs = times.windows(2).filter(|pair| pair[1] > start);
            let gaps = pairs.map(|pair| pair[1].duration_since(pair[0]).unwrap_or_default());
            gaps.max().unwrap_or_default()
        };
        self.balanced.iter().map(longest).collect()
    }

    /// Makes all clients stop at the next frame, or when their streams end.
    pub fn tell_to_stop(&self) {
        self.balanced.iter().chain(&self.fixed).for_each(Listener::tell_to_stop);
    }

    /// What each client saw, once it has stopped.
    pub fn stop(self) -> Vec<(String, Log)> {
        let name = |kind: &'static str| {
            move |(n, listener): (usize, Listener)| {
                (format!("{kind} {n}"), log_of(&listener.stop(), 0))
            }
        };
        let balanced = self.balanced.into_iter().enumerate().map(name("balanced client"));
        let fixed = self.fixed.into_iter().enumerate().map(name("client of"));
        balanced.chain(fixed).collect()
    }
}

fn wait_for_roll(name: &str, listener: &Listener, id: i64) {
    wait_for(&format!("{name} to see roll {id}"), || {
        (listener.received().last() >= id).then_some(())
    });
}
