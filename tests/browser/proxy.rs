//! A small HTTP proxy in front of a server that misbehaves as a test needs it. It handles one request
//! per connection and no request bodies.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::common::Instance;
use crate::common::hand_server::HandServer;

/// What the proxy does with a request.
pub enum Answer {
    /// Forwards the request to the server with this path.
    Forward(String),
    /// Responds itself, with a page.
    Page(String),
    /// The same with a script.
    Script(String),
    BadGateway,
}

/// A listening proxy. It stops when dropped and closes every connection.
pub struct Proxy {
    listener: HandServer,
    shared: Arc<Shared>,
}

struct Shared {
    server: u16,
    answer: Box<dyn Fn(&str) -> Answer + Send + Sync>,
    /// The time and path of every request so far.
    requests: Mutex<Vec<(Instant, String)>>,
    connections: Mutex<Vec<TcpStream>>,
    n_silences: AtomicUsize,
}

impl Proxy {
    /// A proxy whose `answer` decides by path and query, and may block.
    pub fn new(
        instance: &Instance,
        answer: impl Fn(&str) -> Answer + Send + Sync + 'static,
    ) -> Proxy {
        let shared = Arc::new(Shared {
            server: instance.port(),
            answer: Box::new(answer),
            requests: Mutex::default(),
            connections: Mutex::default(),
            n_silences: AtomicUsize::new(0),
        });
        let serving = shared.clone();
        let listener = HandServer::raw(move |_, client| serving.serve(client));
        Proxy { listener, shared }
    }

    pub fn url(&self, path: &str) -> String {
        self.listener.url(path)
    }

    /// Cuts all open connections.
    pub fn cut(&self) {
        for connection in self.shared.connections.lock().unwrap().drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    /// Keeps all connections open and sends nothing more on them.
    pub fn go_silent(&self) {
        self.shared.n_silences.fetch_add(1, Ordering::SeqCst);
    }

    /// The times of requests for the stream since `moment`.
    pub fn streams_since(&self, moment: Instant) -> Vec<Instant> {
        let requests = self.shared.requests.lock().unwrap();
        let streams = requests.iter().filter(|(_, path)| path.starts_with("/stream"));
        streams.map(|(at, _)| *at).filter(|at| *at >= moment).collect()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
    }
}

impl Shared {
    fn serve(&self, mut client: TcpStream) -> std::io::Result<()> {
        let (path, headers) = read_head(&client)?;
        self.requests.lock().unwrap().push((Instant::now(), path.clone()));
        match (self.answer)(&path) {
            Answer::Forward(path) => self.forward(client, &path, &headers),
            Answer::Page(page) => reply(&mut client, "200 OK", "html", &page),
            Answer::Script(script) => reply(&mut client, "200 OK", "javascript", &script),
            Answer::BadGateway => bad_gateway(&mut client),
        }
    }

    fn forward(&self, mut client: TcpStream, path: &str, headers: &str) -> std::io::Result<()> {
        let Ok(mut server) = TcpStream::connect(("127.0.0.1", self.server)) else {
            return bad_gateway(&mut client);
        };
        let connections = [client.try_clone()?, server.try_clone()?];
        self.connections.lock().unwrap().extend(connections);
        write!(server, "GET {path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n")?;
        let n_silences = self.n_silences.load(Ordering::SeqCst);
        let mut part = [0; 8192];
        loop {
            let n_bytes = server.read(&mut part)?;
            let is_silent = self.n_silences.load(Ordering::SeqCst) != n_silences;
            if n_bytes > 0 && is_silent && waits(&client) {
                continue;
            }
            if n_bytes == 0 || client.write_all(&part[..n_bytes]).is_err() {
                let _ = server.shutdown(Shutdown::Both);
                return client.shutdown(Shutdown::Both);
            }
        }
    }
}

/// Whether a client that has sent its request is still connected.
fn waits(client: &TcpStream) -> bool {
    let looks = client.set_nonblocking(true).and_then(|()| client.peek(&mut [0]));
    looks.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}

/// The path, and the headers without `Connection`.
fn read_head(client: &TcpStream) -> std::io::Result<(String, String)> {
    let mut lines = BufReader::new(client).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    let path = request.split(' ').nth(1).ok_or(std::io::ErrorKind::InvalidData)?;
    let mut headers = String::new();
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if !line.to_lowercase().starts_with("connection:") {
            headers += &format!("{line}\r\n");
        }
    }
    Ok((path.to_string(), headers))
}

fn bad_gateway(client: &mut TcpStream) -> std::io::Result<()> {
    reply(client, "502 Bad Gateway", "html", "no server here")
}

fn reply(client: &mut TcpStream, status: &str, kind: &str, text: &str) -> std::io::Result<()> {
    let length = text.len();
    write!(
        client,
        "HTTP/1.1 {status}\r\nContent-Type: text/{kind}; charset=utf-8\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{text}"
    )
}
