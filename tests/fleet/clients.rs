//! Clients that read event streams like browsers, while the fleet is disturbed.

use std::time::Duration;

use crate::balancer::Balancer;
use crate::client_oracle::{Log, log_of};
use crate::common::listener::{Behaviour, Listener};
use crate::common::wait_for;
use crate::fleet::Fleet;

/// Reconnects soon, so that it meets nodes that are behind.
const IMPATIENT: Behaviour =
    Behaviour { longest_pause: Duration::from_millis(50), ..Behaviour::EAGER };

/// One client for each node, and some that a balancer sends to any node. All of them read from the
/// first roll on.
pub struct Clients {
    listeners: Vec<(String, Listener)>,
    _balancer: Balancer,
}

impl Clients {
    pub fn start(fleet: &Fleet, n_balanced: usize) -> Clients {
        let balancer = Balancer::start(&fleet.nodes);
        let listen = |name: String, url| (name, Listener::start(url, IMPATIENT));
        let balanced = (0..n_balanced)
            .map(|n| listen(format!("balanced client {n}"), balancer.url("/stream/")));
        let nodes = fleet.nodes.iter().enumerate();
        let fixed = nodes.map(|(n, node)| listen(format!("client of {n}"), node.url("/stream/")));
        let listeners = balanced.chain(fixed).collect();
        Clients { listeners, _balancer: balancer }
    }

    /// Waits until all clients have seen roll `id` or a later one.
    pub fn wait_for_roll(&self, id: i64) {
        for (name, listener) in &self.listeners {
            wait_for(&format!("{name} to see roll {id}"), || {
                (listener.received().last() >= id).then_some(())
            });
        }
    }

    /// Makes all clients stop at the next frame, or when their streams end.
    pub fn tell_to_stop(&self) {
        self.listeners.iter().for_each(|(_, listener)| listener.tell_to_stop());
    }

    /// What each client saw, once it has stopped.
    pub fn stop(self) -> Vec<(String, Log)> {
        let logs = self.listeners.into_iter();
        logs.map(|(name, listener)| (name, log_of(&listener.stop(), 0))).collect()
    }
}
