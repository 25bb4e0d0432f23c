//! A hand-made server, for answers that depend on the request, and for what is not HTTP. Answers that
//! are known before are in `replies.rs`.

use std::io::{self, BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use super::wait_for;

/// A server that listens on a port of its own until it is dropped. Each connection has a thread.
pub struct HandServer {
    port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
    is_over: Arc<AtomicBool>,
}

/// The head of a request, in lower case except for the first line.
#[derive(Clone, Debug)]
pub struct Request {
    /// When it had arrived.
    pub at: Instant,
    /// Its method.
    pub method: String,
    /// Its path and query.
    pub path: String,
    headers: Vec<(String, String)>,
}

impl Request {
    /// Reads up to the blank line, or to the end.
    fn read(client: &TcpStream) -> io::Result<Request> {
        let mut lines = BufReader::new(client.try_clone()?).lines();
        let first = lines.next().transpose()?.unwrap_or_default();
        let mut words = first.split_whitespace().map(String::from);
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let mut headers = Vec::new();
        for line in lines {
            let line = line?.to_lowercase();
            let Some((name, value)) = line.split_once(':') else { break };
            headers.push((name.to_string(), value.trim().to_string()));
        }
        Ok(Request { at: Instant::now(), method, path, headers })
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|(header, _)| *header == name.to_lowercase());
        header.map(|(_, value)| value.as_str())
    }
}

impl HandServer {
    /// Hands over each connection as it was accepted, with its number from 0 on. An error ends
    /// only its connection: clients may go away at any time.
    pub fn raw(
        serve: impl Fn(usize, TcpStream) -> io::Result<()> + Send + Sync + 'static,
    ) -> HandServer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (is_over, serve) = (Arc::new(AtomicBool::new(false)), Arc::new(serve));
        let stop = is_over.clone();
        thread::spawn(move || {
            for (n, client) in listener.incoming().map_while(Result::ok).enumerate() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let serve = serve.clone();
                thread::spawn(move || serve(n, client));
            }
        });
        HandServer { port, requests: Arc::default(), is_over }
    }

    /// Reads each request and hands it over with its connection.
    pub fn answering(
        answer: impl Fn(usize, &Request, TcpStream) -> io::Result<()> + Send + Sync + 'static,
    ) -> HandServer {
        let requests: Arc<Mutex<Vec<Request>>> = Arc::default();
        let kept = requests.clone();
        let mut server = HandServer::raw(move |n, client| {
            let request = Request::read(&client)?;
            kept.lock().unwrap().push(request.clone());
            answer(n, &request, client)
        });
        server.requests = requests;
        server
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A URL on it.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// Waits until there are `n` requests.
    pub fn wait_for_requests(&self, n: usize) -> Vec<Request> {
        wait_for(&format!("{n} requests"), || {
            let requests = self.requests();
            (requests.len() >= n).then_some(requests)
        })
    }
}

impl Drop for HandServer {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts, which then ends.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}
