//! A whole fleet: nodes, and the engine that they use.

use rollcast::log::SigningKey;
use rollcast::seeds::Secret;

use crate::engine::{Engine, Options};
use crate::nodes::{Node, Settings, new_secret};

/// Its nodes are killed before the engine.
pub struct Fleet {
    pub nodes: Vec<Node>,
    pub engine: Engine,
    pub secret: String,
}

impl Fleet {
    /// A running fleet whose nodes have the same new history.
    pub fn start(n_servers: usize, n_nodes: usize) -> Fleet {
        Fleet::start_with(Engine::start(n_servers), n_nodes, |_| ())
    }

    /// The same with changed settings.
    pub fn start_with(engine: Engine, n_nodes: usize, change: impl Fn(&mut Settings)) -> Fleet {
        let secret = new_secret();
        let mut settings = Settings::of(&engine);
        change(&mut settings);
        let nodes = (0..n_nodes).map(|_| Node::new(&secret, settings.clone())).collect();
        let mut fleet = Fleet { nodes, engine, secret };
        fleet.begin();
        fleet
    }

    /// One node on one server that knows users and TLS.
    pub fn start_alone(options: Options, change: impl Fn(&mut Settings)) -> Fleet {
        Fleet::start_with(Engine::start_with(1, options), 1, change)
    }

    /// The verifier key of nobody.
    pub fn key_of_a_new_secret() -> String {
        let secret = Secret::parse(&new_secret()).unwrap();
        SigningKey::new(&secret, None).verifier().to_string()
    }

    /// A fleet in which nobody rolls before an hour is over.
    pub fn start_silent(n_nodes: usize) -> Fleet {
        Fleet::start_with(Engine::start(1), n_nodes, |settings| settings.every = "1h".into())
    }

    /// Starts all nodes, creates the stream, and waits for the first roll unless it takes an hour.
    pub fn begin(&mut self) {
        self.start_all();
        let n_replicas = self.engine.len().to_string();
        self.nodes[0].create(&["--replicas", &n_replicas]);
        for node in &self.nodes {
            node.wait_until_it_follows();
            if node.settings.every != "1h" {
                node.wait_for_roll(1);
            }
        }
    }

    /// Starts all nodes that do not run, at the same time.
    pub fn start_all(&mut self) {
        std::thread::scope(|scope| {
            for node in self.nodes.iter_mut().filter(|node| !node.is_running()) {
                scope.spawn(move || node.start());
            }
        });
    }

    pub fn stop_all(&mut self) {
        std::thread::scope(|scope| {
            for node in &mut self.nodes {
                scope.spawn(move || node.stop());
            }
        });
    }

    /// The newest roll that any node has.
    pub fn head(&self) -> i64 {
        self.nodes.iter().map(Node::head).max().unwrap()
    }

    /// Waits until every node has the newest roll that any node has now.
    pub fn wait_until_equal(&self) {
        let head = self.head();
        self.nodes.iter().for_each(|node| node.wait_for_roll(head));
    }

    /// Restarts all nodes with an hour between rolls, so that all end with the same roll.
    pub fn stop_rolling(&mut self) {
        self.stop_all();
        for node in &mut self.nodes {
            node.configure(Settings { every: "1h".into(), ..node.settings.clone() });
        }
        self.start_all();
        let last = self.engine.stream_info()["state"]["last_seq"].as_i64().unwrap();
        for node in &self.nodes {
            node.wait_until_it_follows();
            node.wait_for_roll(last);
        }
    }
}
