//! `peer-rocket PORT WORKERS EVERY_US`: a feed as in Rocket's chat example, `EventStream` over a
//! broadcast channel. Each event carries its number and its time in microseconds.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rocket::response::stream::{Event, EventStream};
use rocket::tokio::select;
use rocket::tokio::sync::broadcast::{self, error::RecvError};
use rocket::tokio::time::{MissedTickBehavior, interval};
use rocket::{Config, Shutdown, State, get, routes};

#[derive(Clone)]
struct Roll {
    id: String,
    dice: String,
}

/// How many rolls a reader may lag before it loses some.
const N_RECENT: usize = 1_024;

#[get("/stream")]
fn stream(rolls: &State<broadcast::Sender<Roll>>, mut end: Shutdown) -> EventStream![] {
    let mut rolls = rolls.subscribe();
    EventStream! {
        loop {
            let roll = select! {
                roll = rolls.recv() => match roll {
                    Ok(roll) => roll,
                    Err(RecvError::Closed) => break,
                    // Lost rolls are skipped here. The benchmark detects the gap.
                    Err(RecvError::Lagged(_)) => continue,
                },
                () = &mut end => break,
            };
            yield Event::data(roll.dice).id(roll.id);
        }
    }
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

fn main() {
    let mut given = std::env::args().skip(1).map(|word| word.parse::<u64>().expect("a number"));
    let mut next = || given.next().expect("usage: peer-rocket PORT WORKERS EVERY_US");
    let (port, workers, every) = (next(), next(), Duration::from_micros(next()));
    let config = Config {
        port: u16::try_from(port).expect("a port"),
        workers: usize::try_from(workers).expect("a small number"),
        log_level: rocket::config::LogLevel::Off,
        ..Config::release_default()
    };
    // Rocket's own runtime reads only the configuration in the environment.
    let runtime = rocket::tokio::runtime::Builder::new_multi_thread()
        .worker_threads(config.workers)
        .thread_name("rocket-worker-thread")
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let (rolls, _) = broadcast::channel(N_RECENT);
        rocket::tokio::spawn(roll(rolls.clone(), every));
        rocket::custom(config)
            .manage(rolls)
            .mount("/", routes![stream])
            .launch()
            .await
            .expect("serving");
    });
}
