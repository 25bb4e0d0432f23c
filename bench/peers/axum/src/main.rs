//! `peer-axum PORT WORKERS EVERY_US`: a feed as in axum's documentation, `Sse` over a broadcast
//! channel. Each event carries its number and its time in microseconds.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::State;
use axum::response::sse::{Event, Sse};
use axum::routing::get;
use axum::serve::ListenerExt;
use futures::{Stream, StreamExt};
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio::time::{MissedTickBehavior, interval};
use tokio_stream::wrappers::BroadcastStream;

#[derive(Clone)]
struct Roll {
    id: String,
    dice: String,
}

/// How many rolls a reader may lag before it loses some.
const N_RECENT: usize = 1_024;

fn main() {
    let mut given = std::env::args().skip(1).map(|word| word.parse().expect("a number"));
    let mut next = || given.next().expect("usage: peer-axum PORT WORKERS EVERY_US");
    let (port, workers, every) = (next(), next(), Duration::from_micros(next()));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(usize::try_from(workers).expect("a small number"))
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(serve(u16::try_from(port).expect("a port"), every));
}

async fn serve(port: u16, every: Duration) {
    let (rolls, _) = broadcast::channel(N_RECENT);
    tokio::spawn(roll(rolls.clone(), every));
    let app = Router::new().route("/stream/", get(stream)).with_state(rolls);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.expect("a free port");
    let listener = listener.tap_io(|connection| {
        connection.set_nodelay(true).expect("a connection");
    });
    axum::serve(listener, app).await.expect("serving");
}

async fn stream(
    State(rolls): State<broadcast::Sender<Roll>>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let rolls = BroadcastStream::new(rolls.subscribe());
    // Lost rolls are skipped here. The benchmark detects the gap.
    Sse::new(rolls.filter_map(async |roll| {
        let roll = roll.ok()?;
        Some(Ok(Event::default().id(roll.id).data(roll.dice)))
    }))
}

async fn roll(rolls: broadcast::Sender<Roll>, every: Duration) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for n in 1_u64.. {
        ticks.tick().await;
        let dice = format!(r#"{{"1D6":{},"1D20":{}}}"#, n % 6 + 1, n % 20 + 1);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_micros();
        // Ignore the error: there may be no receivers.
        let _ = rolls.send(Roll { id: format!("{n}-{now}"), dice });
    }
}
