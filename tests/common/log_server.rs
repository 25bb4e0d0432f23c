//! Logs of rolls for tests: one that a test makes and signs itself, and a proxy that falsifies the
//! answers of a real server.

use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rollcast::log::{
    Checkpoint, Frontier, Hash, Nodes, Proof, SigningKey, TILE_LEN, Tile, TileKind, entry,
    inclusion_proof, leaf_hash, node_hash,
};
use rollcast::seeds::Secret;
use serde_json::Value;

use super::hand_server::HandServer;
use super::{Instance, Server, http, wait_for};

/// Changes the body of an answer. It gets the path of the request.
pub type Falsify = Box<dyn Fn(&str, &mut Vec<u8>) + Send + Sync>;

/// Changes nothing.
pub fn honest() -> Falsify {
    Box::new(|_, _| ())
}

/// The test vectors of the format.
pub fn vectors() -> Value {
    serde_json::from_str(include_str!("../../docs/proof-vectors.json")).unwrap()
}

/// Leaves 1 to 520 of the log in the test vectors. An unannounced chain begins with roll 301, and
/// roll 310 has no seed.
pub fn vector_leaves() -> Vec<String> {
    let lines = vectors()["log"]["lines"].as_array().unwrap().clone();
    lines.iter().map(|line| line.as_str().unwrap().to_owned()).collect()
}

/// The key of the secret `A`, `B` or `C` of the test vectors, with the origin `dice.example.org`.
pub fn signing_key(secret: &str) -> SigningKey {
    let secret = format!("{}\n", vectors()["secrets"][secret].as_str().unwrap());
    SigningKey::new(&Secret::parse(&secret).unwrap(), Some("dice.example.org"))
}

/// A log in memory.
pub struct Log {
    pub leaves: Vec<String>,
    /// The secret of the test vectors that signs the log.
    pub secret: &'static str,
    /// The first roll whose leaf is kept.
    pub oldest: i64,
    pub falsify: Falsify,
    /// The answer to the next request of this path is that the rolls are pruned.
    pub gone_once: Option<&'static str>,
    /// Bodies of paths that begin so arrive byte by byte and never end.
    pub drips: Option<&'static str>,
    /// Whether the server answers at all.
    pub is_up: bool,
}

impl Log {
    /// A log of these leaves, signed with the secret A, that keeps all of them.
    pub fn new(leaves: &[String]) -> Log {
        let (leaves, falsify) = (leaves.to_vec(), honest());
        let (gone_once, drips) = (None, None);
        Log { leaves, secret: "A", oldest: 1, falsify, gone_once, drips, is_up: true }
    }

    /// The newest checkpoint.
    pub fn checkpoint(&self) -> String {
        let mut tree = Frontier::default();
        self.leaves.iter().for_each(|leaf| tree.push(leaf_hash(leaf)));
        let checkpoint = Checkpoint { size: tree.size(), root: tree.root() };
        checkpoint.sign(&signing_key(self.secret))
    }

    /// The status, the content type and the body of an answer.
    fn answer(&self, path: &str) -> (u16, &'static str, Vec<u8>) {
        let text = "text/plain; charset=utf-8";
        if path == "/checkpoint" {
            return (200, text, self.checkpoint().into_bytes());
        }
        if path == "/api/proof" {
            let key = signing_key(self.secret).verifier().to_string();
            let json = serde_json::json!({ "key": key, "oldest": self.oldest });
            return (200, "application/json", json.to_string().into_bytes());
        }
        if let Some(id) = path.strip_prefix("/rolls/").and_then(|id| id.strip_suffix("/proof")) {
            return (200, text, self.proof(id.parse().unwrap()).into_bytes());
        }
        match path[1..].parse::<Tile>() {
            Ok(Tile { kind: TileKind::Entries, n, .. })
                if ((n * TILE_LEN) as i64) < self.oldest - 1 =>
            {
                (410, text, Vec::new())
            }
            Ok(tile) if tile.min_size().is_some_and(|size| size <= self.leaves.len() as u64) => {
                (200, "application/octet-stream", self.tile(tile))
            }
            Ok(_) | Err(_) => (404, text, Vec::new()),
        }
    }

    /// The proof file of a roll.
    pub fn proof(&self, id: u64) -> String {
        let Ok(hashes) = inclusion_proof(self, id - 1, self.leaves.len() as u64);
        let leaf = self.leaves[id as usize - 1].clone();
        Proof { leaf, index: id - 1, hashes, checkpoint: self.checkpoint() }.to_string()
    }

    fn tile(&self, tile: Tile) -> Vec<u8> {
        let nodes = tile.n * TILE_LEN..tile.n * TILE_LEN + tile.width;
        match tile.kind {
            TileKind::Entries => nodes.flat_map(|n| entry(&self.leaves[n as usize])).collect(),
            TileKind::Hashes(level) => nodes
                .flat_map(|n| {
                    let Ok(hash) = self.node(8 * level, n);
                    hash.0
                })
                .collect(),
        }
    }
}

impl Nodes for Log {
    type Error = std::convert::Infallible;

    fn node(&self, level: u32, index: u64) -> Result<Hash, Self::Error> {
        if level == 0 {
            return Ok(leaf_hash(&self.leaves[index as usize]));
        }
        let Ok(left) = self.node(level - 1, 2 * index);
        let Ok(right) = self.node(level - 1, 2 * index + 1);
        Ok(node_hash(left, right))
    }
}

/// Serves a log. The test may change the log while it is served.
pub struct LogServer {
    log: Arc<Mutex<Log>>,
    server: HandServer,
}

impl LogServer {
    pub fn new(log: Log) -> LogServer {
        let log = Arc::new(Mutex::new(log));
        let served = log.clone();
        let server = HandServer::answering(move |_, request, client| {
            let mut log = served.lock().unwrap();
            if !log.is_up {
                return Ok(());
            }
            if log.gone_once.take_if(|path| *path == request.path).is_some() {
                return respond(client, 410, "text/plain", b"");
            }
            if log.drips.is_some_and(|path| request.path.starts_with(path)) {
                drop(log);
                return drip(client);
            }
            let (status, content_type, mut body) = log.answer(&request.path);
            (log.falsify)(&request.path, &mut body);
            respond(client, status, content_type, &body)
        });
        LogServer { log, server }
    }

    /// Changes the log.
    pub fn change(&self, change: impl FnOnce(&mut Log)) {
        change(&mut self.log.lock().unwrap());
    }

    pub fn url(&self, path: &str) -> String {
        self.server.url(path)
    }

    pub fn server(&self) -> &HandServer {
        &self.server
    }
}

/// A proxy of a server, which falsifies the bodies of its answers.
pub fn falsifying_proxy(upstream: String, falsify: Falsify) -> HandServer {
    HandServer::answering(move |_, request, client| {
        let url = format!("{upstream}{}", request.path);
        let mut response = http().get(&url).call().map_err(io::Error::other)?;
        let content_type = response.headers()["content-type"].to_str().unwrap().to_owned();
        let mut body = response.body_mut().read_to_vec().map_err(io::Error::other)?;
        falsify(&request.path, &mut body);
        respond(client, response.status().as_u16(), &content_type, &body)
    })
}

/// Sends a byte of a response from time to time, until the client goes away.
fn drip(mut client: TcpStream) -> io::Result<()> {
    let head = "HTTP/1.1 200 x\r\ncontent-type: application/octet-stream\r\n\
                content-length: 100000\r\n\r\n";
    client.write_all(head.as_bytes())?;
    loop {
        client.write_all(b"x")?;
        thread::sleep(Duration::from_millis(100));
    }
}

fn respond(mut client: TcpStream, status: u16, content_type: &str, body: &[u8]) -> io::Result<()> {
    let len = body.len();
    let head = format!(
        "HTTP/1.1 {status} x\r\ncontent-type: {content_type}\r\ncontent-length: {len}\r\n\
         connection: close\r\n\r\n"
    );
    client.write_all(&[head.as_bytes(), body].concat())
}

/// A running server with at least `n_rolls` rolls, all of them signed, and its key. The server
/// makes no more rolls for an hour.
pub fn server_with_log(n_rolls: usize) -> (Instance, Server, String) {
    let instance = Instance::new("every = '1ms'");
    let mut server = instance.start();
    wait_for("enough rolls", || (n_stored(&instance) >= n_rolls).then_some(()));
    server.stop();
    let n_before = n_stored(&instance);
    instance.configure("every = '1h'");
    let server = instance.start();
    // It makes one roll at once.
    wait_for("the newest roll to be signed", || {
        let note = get(&instance.url("/checkpoint"))?;
        let size: usize = note.lines().nth(1)?.parse().ok()?;
        (size > n_before).then_some(())
    });
    let json: Value = serde_json::from_str(&get(&instance.url("/api/proof")).unwrap()).unwrap();
    (instance, server, json["key"].as_str().unwrap().to_owned())
}

fn n_stored(instance: &Instance) -> usize {
    let sql = "select count(*) from rolls";
    instance.sqlite().query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap() as usize
}

/// The body of a response with the status 200.
pub fn get(url: &str) -> Option<String> {
    let mut response = http().get(url).call().ok()?;
    (response.status() == 200).then(|| response.body_mut().read_to_string().unwrap())
}
