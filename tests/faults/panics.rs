//! Panics in a page, a stream and the pump. The program has none on demand, so these tests run it in
//! a separate process with a page, a stream and a pump that panic.

use std::env;
use std::fs;
use std::future::ready;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::{self, Command};
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::{self, Stream};
use rocket::response::stream::{Event, EventStream};
use rocket::{State, get, routes};
use rollcast::app;
use rollcast::config::Config;
use rollcast::dice::{DieResult, Results};
use rollcast::feed::{Feed, Item, N_RECENT, Start};
use rollcast::health::Health;
use rollcast::metrics::Metrics;
use rollcast::panics;
use rollcast::roll::{RollId, RolledAt};
use rollcast::store::Store;
use rollcast::web::{self, SiteFiles};
use serde_json::Value;
use tokio::time::sleep;
use tracing_subscriber::EnvFilter;

use crate::common::events::{Ask, Frame, Stream as EventSource};
use crate::common::{Instance, Server, http, wait_for};
use crate::oracle::{Log, Stored};
use crate::report::{Recovered, Row, assert_in_time};

/// Tells the separate process what to panic in.
const FAULT: &str = "ROLLCAST_TEST_FAULT";
const N_GOOD_ROLLS: u32 = 3;

/// Starts a server in which something panics.
fn start(instance: &Instance, fault: &str) -> Server {
    Server::spawn(&mut command(instance, fault))
}

/// The command that starts the separate process.
pub fn command(instance: &Instance, fault: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "panics::the_process_that_panics", "--nocapture"]);
    command.env(FAULT, fault).env("ROCKET_CONFIG", instance.path().join("Rocket.toml"));
    command
}

/// Runs in the separate process. Does nothing among the other tests.
#[test]
fn the_process_that_panics() {
    let Ok(fault) = env::var(FAULT) else { return };
    let filter = EnvFilter::new("info,rocket=off");
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .init();
    let config = Config::load().unwrap();
    let files = SiteFiles::load(&config.web).unwrap();
    let ended = app::run(&config, async {
        match fault.as_str() {
            "pump" => {
                let ticks = ticks(config.file.clone().unwrap());
                app::serve_rolls(&config, files, ticks, |_, id| draw(id)).await
            }
            "detached task" => {
                let ticks = ticks(config.file.clone().unwrap()).enumerate();
                // Dropping the handle detaches the task.
                drop(tokio::spawn(ticks.for_each(|(n, _)| {
                    draw(RollId(n as i64 + 1));
                    ready(())
                })));
                serve_faulty_routes(&config, files, Metrics::default(), panics::watch).await
            }
            "unwatched" => serve_faulty_routes(&config, files, Metrics::default(), |_| {}).await,
            _ => serve_faulty_routes(&config, files, Metrics::default(), panics::watch).await,
        }
    });
    // The same as in `main`.
    if let Err(error) = ended.unwrap() {
        eprintln!("rollcast: {error:#}");
        process::exit(1);
    }
    process::exit(0);
}

/// The first ticks come at once, the others after a file `go` exists beside `beside`.
fn ticks(beside: PathBuf) -> impl Stream<Item = RolledAt> {
    stream::iter(1..).then(move |n| {
        let go = beside.with_file_name("go");
        async move {
            while n > N_GOOD_ROLLS && !go.exists() {
                sleep(Duration::from_millis(10)).await;
            }
            RolledAt::truncate(jiff::Timestamp::now())
        }
    })
}

/// Panics after the first few rolls.
fn draw(RollId(id): RollId) -> Results {
    assert!(id <= i64::from(N_GOOD_ROLLS), "the dice fell off the table");
    Results(vec![DieResult { die: "1D6".parse().unwrap(), result: id as u32 }])
}

async fn serve_faulty_routes(
    config: &Config,
    files: SiteFiles,
    metrics: Metrics,
    watch: impl FnOnce(Metrics),
) -> anyhow::Result<()> {
    let store = Store::open(&config.store).await?;
    let feed = Feed::open(store.clone(), N_RECENT, config.feed.heartbeat).await?;
    watch(metrics.clone());
    let health = Health::new(config.roller.every);
    let rocket = web::rocket(files, config, store, feed.clone(), health, metrics).manage(feed);
    let rocket = rocket.mount("/", routes![faulty_page, faulty_stream]).ignite().await?;
    let (shutdown, stop_signal) = (rocket.shutdown(), app::stop_signal()?);
    tokio::spawn(async move {
        stop_signal.await;
        shutdown.notify();
    });
    rocket.launch().await?;
    Ok(())
}

#[get("/faulty-page")]
fn faulty_page() -> &'static str {
    panic!("a page went wrong");
}

/// A stream of all rolls that panics after the second.
#[get("/faulty-stream")]
async fn faulty_stream(feed: &State<Feed>) -> EventStream<impl Stream<Item = Event>> {
    let reader = feed.after(Start::After("0".parse().unwrap())).await.unwrap();
    let events = stream::unfold((reader, 0), |(mut reader, n_rolls)| async move {
        assert!(n_rolls < 2, "a stream went wrong");
        match reader.next().await.unwrap()? {
            Item::Roll(sent) => {
                let frame = str::from_utf8(sent.frame()).expect("text");
                let dice = frame.lines().find_map(|line| line.strip_prefix("data: "));
                let event = Event::data(dice.expect("dice").to_string());
                let event = event.id(sent.cursor.to_string());
                Some((event, (reader, n_rolls + 1)))
            }
            _ => Some((Event::comment(""), (reader, n_rolls))),
        }
    });
    EventStream::from(events)
}

fn n_panics(instance: &Instance) -> u32 {
    let text = http().get(instance.url("/metrics")).call().unwrap().body_mut().read_to_string();
    let text = text.unwrap();
    let sample = text.lines().find_map(|line| line.strip_prefix("rollcast_panics_total "));
    sample.unwrap_or_else(|| panic!("no count of panics in {text}")).parse().unwrap()
}

/// The logged panics.
fn faults(server: &Server) -> Vec<String> {
    let faults = server.log().into_iter().filter_map(|line| {
        let line: Value = serde_json::from_str(&line).ok()?;
        let message = line["message"].as_str()?.to_string();
        (line["level"] == "ERROR" && message.contains("a bug in rollcast")).then_some(message)
    });
    faults.collect()
}

#[test]
fn a_panicking_page_is_an_error_page_and_a_panicking_stream_ends_and_can_be_resumed() {
    let instance = Instance::new("every = '1h'");
    instance.fill(10, 1);
    let control = start(&instance, "unwatched");
    let answer = wait_for("an answer", || http().get(instance.url("/faulty-page")).call().ok());
    assert_eq!((answer.status().as_u16(), n_panics(&instance)), (500, 0));
    drop(control);

    let mut server = start(&instance, "routes");
    wait_for("the server to listen", || http().get(instance.url("/healthz")).call().ok());
    assert_eq!(n_panics(&instance), 0);

    let page = |accept: &str| {
        let mut answer = http().get(instance.url("/faulty-page")).header("Accept", accept).call();
        let answer = answer.as_mut().unwrap();
        (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
    };
    let (status, text) = page("text/html");
    assert_eq!(status, 500);
    assert!(text.contains("Something went wrong here") && text.contains("</html>"), "{text}");
    let (status, text) = page("application/json");
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, json["error"]["code"].as_str()), (500, Some("internal_error")));
    assert_eq!(n_panics(&instance), 2);

    let mut log = Log::after(0);
    let mut last = None;
    let mut socket = instance.connect();
    let head = "GET /faulty-stream HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    socket.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("\r\n0\r\n\r\n"), "the stream did not end cleanly: {answer}");
    for frame in EventSource::open(&instance.url("/faulty-stream"), Ask::default()).unwrap() {
        if let Some((id, dice)) = frame.roll() {
            log.see(id.split('-').next().unwrap().parse().unwrap(), format!("{id} {dice}"));
            last = Some(id);
        }
    }
    assert_eq!(log.last(), 2);
    let ask = Ask { last_event_id: last.as_deref(), ..Ask::default() };
    let mut stream = EventSource::open(&instance.url("/stream/"), ask).unwrap();
    for (id, dice) in stream.rolls(8) {
        log.see(id.split('-').next().unwrap().parse().unwrap(), format!("{id} {dice}"));
    }
    assert_eq!(n_panics(&instance), 4);
    assert_eq!(http().get(instance.url("/")).call().unwrap().status(), 200);
    let faults = faults(&server);
    let n_logged = |text: &str| faults.iter().filter(|fault| fault.contains(text)).count();
    let n_faults = (n_logged("a page went wrong"), n_logged("a stream went wrong"));
    assert_eq!(n_faults, (2, 2), "{faults:#?}");
    server.stop();
    log.settle(&Stored::read(&instance));
    log.assert_is_whole("a client");
    Row {
        fault: "a page panics, a stream panics",
        n_injected: 4,
        n_lost: log.n_lost,
        n_repeated: log.n_repeated,
        recovered: Recovered::Words("at the next request".into()),
        control: "panics that are not watched are not counted".into(),
        test: "panics::a_panicking_page",
    }
    .write();
}

#[test]
fn a_panicking_pump_stops_the_server_with_the_reason_and_ends_every_stream_cleanly() {
    // Control: a panic in a detached task stops nothing. The server looks healthy without rolls.
    let instance = Instance::new("every = '1h'");
    let mut server = start(&instance, "detached task");
    let healthz = || http().get(instance.url("/healthz")).call().ok();
    wait_for("the server to listen", healthz);
    fs::write(instance.path().join("go"), "").unwrap();
    wait_for("the panic", || faults(&server).first().cloned());
    assert_eq!(healthz().map(|answer| answer.status().as_u16()), Some(200));
    assert!(!server.has_ended(), "{:#?}", server.log());
    drop(server);

    let instance = Instance::new("every = '1h'");
    let mut server = start(&instance, "pump");
    let ask = Ask { last_event_id: Some("0"), ..Ask::default() };
    let mut stream =
        wait_for("a stream", || EventSource::open(&instance.url("/stream/"), ask).ok());
    assert_eq!(stream.rolls(N_GOOD_ROLLS as usize).len(), N_GOOD_ROLLS as usize);
    fs::write(instance.path().join("go"), "").unwrap();
    let last = stream.last();
    let reason = last.as_ref().and_then(Frame::closing);
    assert_eq!(reason.as_deref(), Some("shutdown"), "the stream did not end cleanly: {last:?}");
    let status = server.wait();
    let log = server.log();
    assert_eq!(status.code(), Some(1), "{log:#?}");
    let message = log.last().unwrap();
    assert!(message.contains("rollcast: the pump panicked"), "{log:#?}");
    assert!(faults(&server)[0].contains("the dice fell off the table"), "{log:#?}");
    assert_eq!(instance.stored().len(), N_GOOD_ROLLS as usize, "all earlier rolls are stored");
    let started = Instant::now();
    let mut server = instance.start();
    wait_for("the next server to continue", || {
        (instance.stored().len() > N_GOOD_ROLLS as usize).then_some(())
    });
    assert_in_time("the pump panics", started.elapsed());
    server.stop();
    Row {
        fault: "the pump panics",
        n_injected: 1,
        n_lost: 0,
        n_repeated: 0,
        recovered: Recovered::Ends,
        control: "with a panic in a detached task, the server continues without rolls".into(),
        test: "panics::a_panicking_pump",
    }
    .write();
}
