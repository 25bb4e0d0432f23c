//! A load balancer: each connection goes to the next node that is ready, or, if none is, to the next
//! one that answers.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use crate::common::hand_server::HandServer;
use crate::nodes::Node;

pub struct Balancer(HandServer);

impl Balancer {
    /// Balances over nodes on loopback, whether they run or not.
    pub fn start(nodes: &[Node]) -> Balancer {
        let ports: Vec<u16> = nodes.iter().map(|node| node.instance.port()).collect();
        Balancer(HandServer::raw(move |n, client| {
            let mut turns = ports.iter().cycle().skip(n % ports.len()).take(ports.len());
            let ready = turns.clone().find(|port| answers(**port, "/readyz"));
            let node = ready.or_else(|| turns.find(|port| answers(**port, "/healthz")));
            let Some(node) = node else { return Ok(()) };
            let node = TcpStream::connect(("127.0.0.1", *node))?;
            thread::scope(|scope| {
                scope.spawn(|| forward(&client, &node));
                forward(&node, &client);
            });
            Ok(())
        }))
    }

    pub fn url(&self, path: &str) -> String {
        self.0.url(path)
    }
}

/// Whether a node answers 200 at once, as a health check asks.
fn answers(port: u16, path: &str) -> bool {
    let ask = || -> io::Result<bool> {
        let mut socket = TcpStream::connect(("127.0.0.1", port))?;
        socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        socket.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        Ok(answer.split(' ').nth(1) == Some("200"))
    };
    ask().unwrap_or(false)
}

fn forward(mut from: &TcpStream, mut to: &TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
