//! Plays an answer on a connection: exactly these bytes, pauses and this end.

use std::io;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::WriteHalf;
use tokio::select;
use tokio::time::{sleep, timeout};

use crate::closing::{close, closed};
use crate::gzip;
use crate::script::{End, Framing, Reply, Step};
use crate::session::Session;

/// How long an answer waits for an event to be reported.
const HEARD_TIMEOUT: Duration = Duration::from_secs(3);
/// How long one write may take.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Plays a reply. `number` is the number of its request. Returns for how long the port is to be
/// closed.
pub async fn play(
    stream: &mut TcpStream,
    reply: &Reply,
    accepts_gzip: bool,
    session: &Session,
    number: usize,
) -> Option<Duration> {
    let played = {
        let _rests = Rests(session);
        let gzip = reply.gzip && accepts_gzip;
        let (mut reader, writer) = stream.split();
        let mut player = Player { writer, framing: reply.framing, gzip, session };
        select! {
            played = player.play(reply, number) => played,
            // The client has gone, so nobody waits for the rest.
            () = closed(&mut reader) => Ok(()),
            // The run is over, or too old.
            _ = session.wait(session.time_left(), |_| false) => Ok(()),
        }
    };
    session.ends(number);
    match reply.end {
        End::Reset => {
            // Without a linger time, closing a socket resets the connection.
            let _ = stream.set_zero_linger();
        }
        End::Away(time) => {
            // The port closes at once: the client may come back soon.
            let _ = stream.shutdown().await;
            return Some(time);
        }
        _ if played.is_ok() => close(stream).await,
        _ => {}
    }
    None
}

/// Notes that an answer is over when it is dropped.
struct Rests<'a>(&'a Session);

impl Drop for Rests<'_> {
    fn drop(&mut self) {
        self.0.rests();
    }
}

struct Player<'a> {
    writer: WriteHalf<'a>,
    framing: Framing,
    gzip: bool,
    session: &'a Session,
}

impl Player<'_> {
    async fn play(&mut self, reply: &Reply, number: usize) -> io::Result<()> {
        for step in &reply.head {
            self.head_step(step).await?;
        }
        if self.gzip {
            self.framed(gzip::HEADER).await?;
        }
        for step in &reply.body {
            self.body_step(step).await?;
        }
        match reply.end {
            End::Hold => {
                self.session.wait(reply.hold, |_| false).await;
            }
            End::Orderly | End::Away(_) if self.framing == Framing::Chunked => {
                // The client may reconnect as soon as it has the last chunk.
                self.session.ends(number);
                self.write(b"0\r\n\r\n").await?;
            }
            End::Orderly | End::Cut | End::Reset | End::Away(_) => {}
        }
        Ok(())
    }

    async fn head_step(&mut self, step: &Step) -> io::Result<()> {
        match step {
            Step::Write(bytes) if self.gzip => {
                let head = String::from_utf8_lossy(bytes);
                let head = head.replacen("\r\n", "\r\nContent-Encoding: gzip\r\n", 1);
                self.write(head.as_bytes()).await
            }
            Step::Write(bytes) => self.write(bytes).await,
            Step::Bytewise(bytes, pause) => {
                for byte in bytes {
                    self.write(&[*byte]).await?;
                    sleep(*pause).await;
                }
                Ok(())
            }
            Step::Pause(time) => {
                sleep(*time).await;
                Ok(())
            }
            Step::Repeat(..) | Step::UntilHeard(_) => unreachable!("not in a head"),
        }
    }

    async fn body_step(&mut self, step: &Step) -> io::Result<()> {
        match step {
            Step::Write(bytes) => self.body(bytes).await,
            Step::Repeat(bytes, times) => {
                for _ in 0..*times {
                    self.body(bytes).await?;
                }
                Ok(())
            }
            Step::Bytewise(bytes, pause) => {
                for byte in bytes {
                    self.body(&[*byte]).await?;
                    sleep(*pause).await;
                }
                Ok(())
            }
            Step::Pause(time) => {
                sleep(*time).await;
                Ok(())
            }
            Step::UntilHeard(n) => {
                let was_in_time =
                    self.session.wait(HEARD_TIMEOUT, |progress| progress.n_heard >= *n).await;
                self.session.notes_in_time(was_in_time);
                Ok(())
            }
        }
    }

    /// Writes bytes of the body with one write.
    async fn body(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        if self.gzip { self.framed(&gzip::stored(bytes)).await } else { self.framed(bytes).await }
    }

    async fn framed(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.framing {
            Framing::Plain => self.write(bytes).await,
            Framing::Chunked => {
                let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
                chunk.extend_from_slice(bytes);
                chunk.extend_from_slice(b"\r\n");
                self.write(&chunk).await
            }
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.session.spend(bytes.len()) {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        timeout(WRITE_TIMEOUT, self.writer.write_all(bytes)).await?
    }
}
