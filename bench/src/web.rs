//! A blocking client for pages and for one resuming stream.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::decode::Decoder;
use crate::fleet::Target;
use crate::marks::{Arrival, Marks, Progress};

const TIMEOUT: Duration = Duration::from_secs(30);

/// A keep-alive connection.
pub struct Pages {
    address: SocketAddr,
    connection: TcpStream,
    buffer: Vec<u8>,
}

impl Pages {
    pub fn connect(address: SocketAddr) -> Result<Pages> {
        Ok(Pages { address, connection: connect(address)?, buffer: vec![0; 64 << 10] })
    }

    /// The time until a page has arrived completely. Any status but 200 is an error.
    pub fn get(&mut self, path: &str) -> Result<Duration> {
        self.fetch(path).map(|(time, _)| time)
    }

    /// The same, and the size of the page in bytes.
    pub fn fetch(&mut self, path: &str) -> Result<(Duration, u64)> {
        self.read(path, |_| {})
    }

    /// A page as text.
    pub fn text(&mut self, path: &str) -> Result<String> {
        let mut bytes = Vec::new();
        self.read(path, |body| bytes.extend_from_slice(body))?;
        String::from_utf8(bytes).with_context(|| format!("expected a text at {path}"))
    }

    fn read(&mut self, path: &str, mut read: impl FnMut(&[u8])) -> Result<(Duration, u64)> {
        let begin = Instant::now();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address);
        self.connection.write_all(request.as_bytes())?;
        let (mut decoder, mut n_bytes) = (Decoder::default(), 0);
        while !decoder.is_done() {
            let n = self.connection.read(&mut self.buffer)?;
            if n == 0 {
                bail!("the server closed the connection before the end of {path}");
            }
            decoder.feed(&self.buffer[..n], |body| {
                n_bytes += body.len() as u64;
                read(body);
                Ok(())
            })?;
        }
        let time = begin.elapsed();
        match decoder.status() {
            Some(200) if n_bytes > 0 => Ok((time, n_bytes)),
            status => bail!("expected a page at {path}, got status {status:?}, {n_bytes} bytes"),
        }
    }
}

/// Opens a stream after roll `after` and reads to roll `last` without a gap. Returns the time it
/// took, including the connection.
pub fn resume(target: Target, after: u64, last: u64) -> Result<Duration> {
    let begin = Instant::now();
    let mut connection = connect(target.address)?;
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nAccept: text/event-stream\r\nLast-Event-ID: {after}\r\n\r\n",
        target.path, target.address
    );
    connection.write_all(request.as_bytes())?;
    let (mut decoder, mut marks) = (Decoder::default(), Marks::new(target.field));
    let mut progress = Progress::after(after);
    let mut buffer = vec![0; 256 << 10];
    while progress.next <= last {
        let n = connection.read(&mut buffer).context("waiting for missed rolls")?;
        if n == 0 {
            bail!("the server ended the stream before roll {last}");
        }
        decoder.feed(&buffer[..n], |body| {
            marks.feed(body, |mark| match progress.take(mark.n) {
                Arrival::InOrder => Ok(()),
                _ => bail!("a resume came out of order at roll {}", mark.n),
            })
        })?;
        if decoder.status().is_some_and(|status| status != 200) {
            bail!("expected a stream, got status {:?}", decoder.status());
        }
    }
    Ok(begin.elapsed())
}

fn connect(address: SocketAddr) -> Result<TcpStream> {
    let connection = TcpStream::connect(address).context("cannot connect")?;
    connection.set_nodelay(true)?;
    connection.set_read_timeout(Some(TIMEOUT))?;
    Ok(connection)
}
