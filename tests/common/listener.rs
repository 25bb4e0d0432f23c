//! A client that behaves like a browser's EventSource: it reconnects after the last `retry`, with
//! the last event id, and gives up if the response is no event stream.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use super::events::{Ask, Frame, Stream};

/// How a listener behaves.
#[derive(Clone, Copy)]
pub struct Behaviour {
    /// The cursor of its first connection; `None`: rolls from now on.
    pub start: Option<&'static str>,
    /// What it reconnects with.
    pub resume_with: ResumeWith,
    /// It reconnects after this pause at the latest, whatever `retry` says.
    pub longest_pause: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ResumeWith {
    LastEventId,
    /// Broken on purpose: no cursor, so that rolls are lost.
    Nothing,
    /// Broken on purpose: an event counts before its blank line is there.
    UnfinishedEvents,
}

impl Behaviour {
    /// Like a browser.
    pub const HONEST: Behaviour = Behaviour {
        start: None,
        resume_with: ResumeWith::LastEventId,
        longest_pause: Duration::MAX,
    };
    /// Starts with the very first roll and reconnects almost at once.
    pub const EAGER: Behaviour = Behaviour {
        start: Some("0"),
        longest_pause: Duration::from_millis(2),
        ..Behaviour::HONEST
    };

    /// The same, but reconnects with this.
    pub fn with(self, resume_with: ResumeWith) -> Behaviour {
        Behaviour { resume_with, ..self }
    }
}

/// A roll and when it arrived.
pub struct Seen {
    pub at: SystemTime,
    pub id: String,
    pub dice: String,
}

/// What a listener has received.
#[derive(Default)]
pub struct Received {
    pub rolls: Vec<Seen>,
    /// When each stream began with a `sync`.
    pub opened: Vec<Instant>,
    /// Why it gave up.
    pub gave_up: Option<String>,
}

/// A client that runs on its own thread until it is stopped.
pub struct Listener {
    received: Arc<Mutex<Received>>,
    over: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Seen {
    /// The roll's id without its time.
    pub fn number(&self) -> i64 {
        number(&self.id)
    }

    /// How long after its own timestamp it arrived.
    pub fn delay(&self) -> Duration {
        let millis = self.id.split('-').nth(1).unwrap().parse().unwrap();
        let rolled_at = SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
        self.at.duration_since(rolled_at).unwrap_or_default()
    }
}

impl Received {
    /// The number of the last roll; 0 before the first.
    pub fn last(&self) -> i64 {
        self.rolls.last().map_or(0, Seen::number)
    }
}

/// The number in a roll's id; 0 if the id is cut off.
fn number(id: &str) -> i64 {
    id.split('-').next().unwrap_or_default().parse().unwrap_or(0)
}

impl Listener {
    pub fn start(url: String, behaviour: Behaviour) -> Listener {
        let received = Arc::new(Mutex::new(Received::default()));
        let over = Arc::new(AtomicBool::new(false));
        let (tell, stop) = (received.clone(), over.clone());
        let thread = thread::spawn(move || listen(&url, behaviour, &tell, &stop));
        Listener { received, over, thread }
    }

    /// What it has received so far.
    pub fn received(&self) -> MutexGuard<'_, Received> {
        self.received.lock().unwrap()
    }

    /// Makes it stop at the next frame, or at the end of its stream.
    pub fn tell_to_stop(&self) {
        self.over.store(true, Ordering::SeqCst);
        self.thread.thread().unpark();
    }

    pub fn stop(self) -> Received {
        self.tell_to_stop();
        self.thread.join().unwrap();
        Arc::into_inner(self.received).unwrap().into_inner().unwrap()
    }
}

fn listen(url: &str, behaviour: Behaviour, received: &Mutex<Received>, over: &AtomicBool) {
    let (mut retry, mut last) = (Duration::from_secs(3), behaviour.start.map(String::from));
    while !over.load(Ordering::SeqCst) {
        let ask = Ask { last_event_id: last.as_deref(), ..Ask::default() };
        match Stream::open(url, ask) {
            Ok(stream) if behaviour.resume_with == ResumeWith::UnfinishedEvents => {
                follow(stream.counting_unfinished_events(), &mut retry, &mut last, received, over);
            }
            Ok(stream) => follow(stream, &mut retry, &mut last, received, over),
            Err(error) if error.contains("expected an event stream") => {
                received.lock().unwrap().gave_up = Some(error);
                return;
            }
            Err(_) => {}
        }
        if behaviour.resume_with == ResumeWith::Nothing {
            last = None;
        }
        let (lost, pause) = (Instant::now(), retry.min(behaviour.longest_pause));
        while !over.load(Ordering::SeqCst) && lost.elapsed() < pause {
            thread::park_timeout(pause.saturating_sub(lost.elapsed()));
        }
    }
}

/// Reads one stream to its end.
fn follow(
    stream: Stream,
    retry: &mut Duration,
    last: &mut Option<String>,
    received: &Mutex<Received>,
    over: &AtomicBool,
) {
    for frame in stream {
        if let Frame::Retry(ms) = frame {
            *retry = Duration::from_millis(ms);
        } else if let Some((id, dice)) = frame.roll() {
            *last = Some(id.clone());
            received.lock().unwrap().rolls.push(Seen { at: SystemTime::now(), id, dice });
        } else if matches!(&frame, Frame::Event { name, .. } if name == "sync") {
            received.lock().unwrap().opened.push(Instant::now());
        }
        if over.load(Ordering::SeqCst) {
            return;
        }
    }
}
