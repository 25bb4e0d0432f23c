//! A proxy between a node and one server. While it is closed, it holds everything that either side
//! sends, and nobody is told.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::common::hand_server::HandServer;

pub struct Gate {
    listener: HandServer,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    is_closed: AtomicBool,
    is_over: AtomicBool,
    closes_at: Mutex<Option<&'static str>>,
}

impl Gate {
    /// An open gate to a server.
    pub fn to(server: SocketAddr) -> Gate {
        let state = Arc::new(State::default());
        let shared = state.clone();
        let listener = HandServer::raw(move |_, client| {
            let server = TcpStream::connect(server)?;
            thread::scope(|scope| {
                scope.spawn(|| shared.forward(&client, &server, true));
                shared.forward(&server, &client, false);
            });
            Ok(())
        });
        Gate { listener, state }
    }

    /// The gate as a server of a node's configuration.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.listener.port())
    }

    pub fn close(&self) {
        self.state.is_closed.store(true, Ordering::SeqCst);
    }

    /// Closes when the node sends this text, before the server gets it.
    pub fn close_at(&self, text: &'static str) {
        *self.state.closes_at.lock().unwrap() = Some(text);
    }

    pub fn open(&self) {
        *self.state.closes_at.lock().unwrap() = None;
        self.state.is_closed.store(false, Ordering::SeqCst);
    }
}

impl State {
    /// Forwards one direction until either side ends it.
    fn forward(&self, mut from: &TcpStream, mut to: &TcpStream, is_of_node: bool) {
        let mut bytes = vec![0; 16 << 10];
        while let Ok(n_bytes @ 1..) = from.read(&mut bytes) {
            let closes_at = self.closes_at.lock().unwrap().filter(|_| is_of_node);
            if closes_at.is_some_and(|text| contains(&bytes[..n_bytes], text)) {
                self.is_closed.store(true, Ordering::SeqCst);
            }
            while self.is_closed.load(Ordering::SeqCst) && !self.is_over.load(Ordering::SeqCst) {
                thread::park_timeout(Duration::from_millis(1));
            }
            if self.is_over.load(Ordering::SeqCst) || to.write_all(&bytes[..n_bytes]).is_err() {
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|part| part == text.as_bytes())
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::SeqCst);
    }
}
