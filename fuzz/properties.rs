//! Properties that hold for any input: no panic, one text form for each value, errors of bounded
//! length. The fuzz targets search for counterexamples by coverage, tests/faults/input.rs by proptest.

use std::fmt::Display;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use event_stream::parser::{Frame, Parser};
use jiff::Timestamp;
use lab::log::Line;
use lab::request::Request;
use lab::session::Next;
use lab::sessions::{Bounds, Sessions};
use rocket::figment::providers::{Format, Toml};
use rocket::figment::{Figment, Profile};
use rocket::http::Status;
use rocket::http::uri::Origin;
use rocket::local::asynchronous::{Client, LocalResponse};
use rollcast::config::{Config, Keep};
use rollcast::cursor::Cursor;
use rollcast::dice::{Die, Results};
use rollcast::draw::Label;
use rollcast::feed::Feed;
use rollcast::fleet::entry::Entry;
use rollcast::health::Health;
use rollcast::log::{
    Chains, Checkpoint, Leaf, Proof, Tile, VerifierKey, entries, entry, verify_roll,
};
use rollcast::metrics::Metrics;
use rollcast::roll::{Roll, RollId, RolledAt};
use rollcast::seeds::Secret;
use rollcast::store::Store;
use rollcast::text::ValueError;
use rollcast::time_spec::{TimeSpec, moment};
use rollcast::web::{self, SiteFiles};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// The maximum size in bytes of an error about a value: 80 characters of the value, and what was
/// expected.
const MAX_MESSAGE_BYTES: usize = 500;

/// Cursors, ids, dice and times: each value has one text form, or an error quotes the input.
pub fn values(text: &str) {
    if let Some(cursor) = parse::<Cursor>(text) {
        assert_eq!(cursor.to_string(), text);
    }
    if let Some(id) = parse::<RollId>(text) {
        assert_eq!(id.to_string(), text);
    }
    if let Some(die) = parse::<Die>(text) {
        assert_eq!(die.to_string(), text.to_uppercase());
        assert_eq!(die.to_string().parse(), Ok(die));
    }
    if let Some(rolled_at) = parse::<RolledAt>(text) {
        assert_eq!(rolled_at.to_string().parse(), Ok(rolled_at));
    }
    if let Some(since) = parse::<TimeSpec>(text) {
        let again = since.in_query().parse::<TimeSpec>();
        assert_eq!(again.map(TimeSpec::in_query), Ok(since.in_query()));
        since.moment(Timestamp::MIN);
        since.moment(Timestamp::MAX);
    }
    let _ = moment(text);
    if let Ok(results) = text.parse::<Results>() {
        assert_eq!(results.to_string().parse::<Results>().expect("its own text"), results);
    }
}

/// A request to the lab, and a run of any case in which a client requests and reports anything: no
/// panic, and what is remembered is bounded. The first byte chooses the case. Each line is reported, or is
/// the `Last-Event-ID` of a request.
pub fn lab(bytes: &[u8]) {
    if let Ok((request, _)) = lab::request::parse(bytes) {
        assert!(request.path.len() + request.query.len() < bytes.len());
    }
    let Some((first, rest)) = bytes.split_first() else { return };
    let cases = lab::cases::all();
    let case = &cases[usize::from(*first) % cases.len()];
    let sessions = Sessions::new(cases, Bounds::PUBLIC);
    let next = Next { url: "http://lab.example/next".into(), path: "/next".into() };
    let session = sessions.begin(case.id, "fuzz", 0, Ipv4Addr::LOCALHOST.into()).expect("a run");
    for line in String::from_utf8_lossy(rest).lines() {
        match Line::parse(line) {
            Some(Line::Heard(heard)) => session.hears(heard),
            Some(Line::Error { error }) => session.hears_error(&error),
            None => {
                let last_event_id = Some(line.as_bytes().to_vec());
                let request = Request { last_event_id, ..Request::default() };
                if let Some(taken) = session.take(&request, line.len() % 2 == 0, &next) {
                    session.rests();
                    session.ends(taken.number);
                }
            }
        }
    }
    session.exits("ended".into());
    let verdict = session.verdict();
    let n_heard_bytes: usize = verdict.heard.iter().map(|heard| heard.data.len()).sum();
    assert!(n_heard_bytes <= Bounds::PUBLIC.max_heard && verdict.requests.len() <= 50);
    assert!(verdict.because.iter().all(|reason| reason.said.len() < 4 * MAX_MESSAGE_BYTES));
}

/// The texts that verifiers read from a server, the files of the log, and the entries of a fleet: each value has one text
/// form, or an error quotes the input. No refused text makes a verifier panic.
pub fn log(text: &str) {
    has_one_form::<Leaf>(text);
    has_one_form::<Tile>(text);
    has_one_form::<Chains>(text);
    has_one_form::<Label>(text);
    has_one_form::<Entry>(text);
    if let Some(secret) = Secret::parse(text) {
        assert_eq!(secret.to_file(), text);
    }
    let key = has_one_form::<VerifierKey>(text);
    let key = key.unwrap_or_else(|| KEY.parse().expect("a key"));
    if let Ok((origin, checkpoint)) = Checkpoint::read(text) {
        let beginning = format!("{origin}\n{}\n{}\n\n", checkpoint.size, checkpoint.root);
        assert!(text.starts_with(&beginning), "{checkpoint:?}");
        let _ = Checkpoint::open(text, &key);
    }
    // The error quotes only one line of the file.
    let proof = text.parse::<Proof>().inspect_err(|error| is_short(&error.to_string())).ok();
    if let Some(proof) = proof {
        assert_eq!(proof.to_string(), text);
        let _ = verify_roll(&proof, &key, None);
    }
    for n in [1, 2, 256] {
        if let Some(leaves) = entries(text.as_bytes(), n) {
            assert_eq!(leaves.len() as u64, n);
            assert_eq!(leaves.into_iter().flat_map(entry).collect::<Vec<_>>(), text.as_bytes());
        }
    }
}

/// The key of the test vectors.
const KEY: &str = "dice.example.org+eb3fa449+AS5LSGKZ8vqI+Qqsd+to5WZQHSW05Et1/joXu0PafNSv";

/// Parses `text`. Asserts that the value prints as it was parsed.
fn has_one_form<T: std::str::FromStr<Err = ValueError> + Display>(text: &str) -> Option<T> {
    parse(text).inspect(|value: &T| assert_eq!(value.to_string(), text))
}

/// Parses `text`. Asserts that an error is short and quotes the beginning of the text.
fn parse<T: std::str::FromStr<Err = ValueError>>(text: &str) -> Option<T> {
    text.parse()
        .inspect_err(|error: &ValueError| {
            let message = error.to_string();
            let beginning: String = text.chars().take(80).collect();
            assert!(message.contains(&format!("got `{beginning}")), "`{text}`: {message}");
            is_short(&message);
        })
        .ok()
}

fn is_short(message: &str) {
    assert!(message.len() <= MAX_MESSAGE_BYTES, "{} bytes: {message}", message.len());
}

/// An event stream parses the same in pieces of any size, and after it is written again.
pub fn events(bytes: &[u8]) {
    let frames = Parser::default().feed(bytes);
    for size in [1, 2, 3, 5, 8] {
        let mut parser = Parser::default();
        let in_pieces: Vec<Frame> =
            bytes.chunks(size).flat_map(|piece| parser.feed(piece)).collect();
        assert_eq!(in_pieces, frames, "in pieces of {size}");
    }
    let written: String = frames.iter().map(written).collect();
    assert_eq!(Parser::default().feed(written.as_bytes()), frames, "written as {written:?}");
}

fn written(frame: &Frame) -> String {
    match frame {
        Frame::Comment => ":\n".into(),
        Frame::Retry(milliseconds) => format!("retry: {milliseconds}\n"),
        Frame::Id(id) => format!("id: {id}\n\n"),
        Frame::Event { name, id, data } => {
            let id = id.as_ref().map(|id| format!("id: {id}\n")).unwrap_or_default();
            let data: String = data.split('\n').map(|line| format!("data: {line}\n")).collect();
            format!("event: {name}\n{id}{data}\n")
        }
    }
}

/// A `Rocket.toml` is refused with a reason, or everything in it is within its bounds.
pub fn configuration(toml: &str) {
    let set = Figment::from(Toml::string(toml).nested());
    match Config::read(PathBuf::from("/srv/Rocket.toml"), set, Profile::new("release")) {
        Ok(config) => {
            let times = [config.roller.every, config.feed.heartbeat];
            let max_times = [Duration::from_secs(3_600), Duration::from_secs(600)];
            assert!(times <= max_times && times[0] >= Duration::from_millis(1), "{config:?}");
            assert!((1..=16).contains(&config.roller.dice.iter().count()), "{config:?}");
            assert!((1..=500).contains(&config.web.page_size), "{config:?}");
            let is_kept = match config.store.keep {
                Keep::Forever => true,
                Keep::Age(age) => (1..=36_500 * 86_400).contains(&age.as_secs()),
                Keep::Count(n_rolls) => (1..=1_000_000_000_000).contains(&n_rolls),
            };
            assert!(is_kept, "{config:?}");
            let limits = [config.web.max_streams, config.web.max_streams_per_address];
            assert!(limits.iter().all(|n| (1..=1_000_000).contains(n)), "{config:?}");
        }
        Err(error) => {
            let message = error.to_string();
            // An error contains the whole key, or the line of a syntax error.
            let max_bytes = 4 * toml.len() + 1_000;
            assert!((1..=max_bytes).contains(&message.len()), "{} bytes: {message}", message.len());
        }
    }
}

/// The server's routes over a hundred rolls, without a network.
pub struct Server {
    runtime: Runtime,
    client: Client,
    _folder: TempDir,
}

impl Server {
    /// `project` is the folder with `templates` and `static`.
    pub fn new(project: &str) -> Server {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let runtime = Runtime::new().expect("a runtime");
        let client = runtime.block_on(async {
            let set = Figment::from(Toml::string("").nested());
            let file = Path::new(project).join("Rocket.toml");
            let mut config = Config::read(file, set, Profile::new("release")).expect("defaults");
            config.store.database = folder.path().join("rolls.db");
            config.rocket = config.rocket.merge(("log_level", "off"));
            let store = Store::open(&config.store).await.expect("a store");
            let rolls = (0..100).map(|n| Roll {
                id: RollId(n + 1),
                rolled_at: RolledAt::truncate(
                    Timestamp::from_second(1_795_392_000 + n).expect("a moment"),
                ),
                dice: r#"{"1D6":4,"1D20":17}"#.parse().expect("faces"),
            });
            store.apply(rolls.collect()).await.expect("room");
            let feed = Feed::open(store.clone(), 16, config.feed.heartbeat).await.expect("a feed");
            let health = Health::new(config.roller.every);
            let files = SiteFiles::load(&config.web).expect("templates and static files");
            let rocket = web::rocket(files, &config, store, feed, health, Metrics::default());
            Client::untracked(rocket).await.expect("a rocket")
        });
        Server { runtime, client, _folder: folder }
    }

    /// Any query is answered, or refused with a short message, and every link of an answer works.
    pub fn query(&self, query: &str) {
        self.runtime.block_on(async {
            for path in ["/api/rolls", "/api/rolls.csv", "/api/rolls/50", "/rolls", "/"] {
                let Ok(uri) = Origin::parse_owned(format!("{path}?{query}")) else { return };
                let answer = self.client.get(uri.clone()).dispatch().await;
                let links = links(&answer);
                let (status, body) = (answer.status(), answer.into_bytes().await);
                let n_bytes = body.unwrap_or_default().len();
                let expected = [200, 303, 409, 422];
                assert!(expected.contains(&status.code), "{uri} was answered with {status}");
                let is_short = status == Status::Ok || path == "/rolls" || n_bytes < 1_000;
                assert!(is_short, "{uri} was refused with {n_bytes} bytes");
                for link in links {
                    let linked = self.client.get(link.clone()).dispatch().await.status();
                    assert_eq!(linked, Status::Ok, "{link}, linked from {uri}");
                }
            }
        });
    }
}

/// The addresses in a `Link` header.
fn links(answer: &LocalResponse<'_>) -> Vec<String> {
    let header = answer.headers().get_one("Link").unwrap_or_default();
    let addresses = header.split('<').skip(1);
    addresses.filter_map(|link| Some(link.split_once('>')?.0.to_string())).collect()
}
