//! What only the fan-out door does, and that it answers as Rocket's `/stream/` does.

mod answers;
mod limits;
mod parity;
mod proxied;
mod site;
mod stop;
mod timeouts;
mod tls;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use crate::common::{Door, Instance, Server, TIMEOUT, http, wait_for};

/// A server with both doors; see [`Door::instance`].
fn both_doors(rollcast: &str) -> (Instance, Server) {
    let instance = Door::Fanout.instance(rollcast);
    let server = instance.start();
    (instance, server)
}

/// A connection to a port of this machine that has sent these bytes. Its reads have a timeout.
fn connect(port: u16, bytes: impl AsRef<[u8]>) -> TcpStream {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(TIMEOUT)).unwrap();
    socket.write_all(bytes.as_ref()).unwrap();
    socket
}

/// Reads until `text` arrives, and returns all that was read.
fn read_until(socket: &mut TcpStream, text: &str) -> String {
    let (mut seen, mut piece) = (Vec::new(), [0; 4096]);
    while !String::from_utf8_lossy(&seen).contains(text) {
        match socket.read(&mut piece) {
            Ok(n @ 1..) => seen.extend_from_slice(&piece[..n]),
            ended => panic!("expected `{text}`, got {ended:?} after {}", seen.escape_ascii()),
        }
    }
    String::from_utf8_lossy(&seen).into_owned()
}

/// Waits until the server closes the connection. Returns what it sent before.
fn rest(socket: &mut TcpStream) -> String {
    let (mut seen, mut piece) = (Vec::new(), [0; 64 << 10]);
    loop {
        match socket.read(&mut piece) {
            Ok(n @ 1..) => seen.extend_from_slice(&piece[..n]),
            Ok(0) => break,
            // The server closes a connection whose bytes it has not read with RST.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("expected the end of the connection, got {error}"),
        }
    }
    String::from_utf8_lossy(&seen).into_owned()
}

/// Whether the server has not closed the connection yet. Reads what it has sent.
fn is_open(mut socket: &TcpStream) -> bool {
    socket.set_nonblocking(true).unwrap();
    let mut bytes = [0; 1024];
    let is_open = loop {
        match socket.read(&mut bytes) {
            Ok(1..) => {}
            Ok(0) => break false,
            Err(error) => break error.kind() == ErrorKind::WouldBlock,
        }
    };
    socket.set_nonblocking(false).unwrap();
    is_open
}

/// A sample of the server's metrics, such as `rollcast_streams_open`.
fn metric(instance: &Instance, sample: &str) -> u64 {
    let text = http().get(instance.url("/metrics")).call().unwrap().into_body().read_to_string();
    let text = text.unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {sample} in {text}")).parse().unwrap()
}

/// How many connections the door has closed for a reason.
fn n_cut(instance: &Instance, reason: &str) -> u64 {
    metric(instance, &format!("rollcast_fanout_cut_total{{reason=\"{reason}\"}}"))
}

/// Waits until the door has closed `n` connections for a reason, and asserts that it logged each.
fn wait_for_cuts(instance: &Instance, server: &Server, reason: &str, n: u64) {
    wait_for(&format!("{n} connections closed for {reason}"), || {
        let n_cut = n_cut(instance, reason);
        assert!(n_cut <= n, "{n_cut} connections were closed for {reason}, expected {n}");
        (n_cut == n).then_some(())
    });
    let is_of = |line: &String| line.contains(&format!("closed ({reason})"));
    wait_for("their log lines", || {
        (server.log().into_iter().filter(is_of).count() as u64 == n).then_some(())
    });
}
