//! Whoever knows a seed knows all earlier ones of its block, and whoever knows the secret knows all
//! to come. So no byte that the server writes or sends contains the secret, or a seed before its
//! roll is stored.

use std::collections::HashMap;
use std::fs;
use std::process::Command;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};
use rollcast::log::Checkpoint;
use rollcast::roll::RollId;
use rollcast::seeds::{BLOCK_LEN, Block, BlockSeeds, Secret, hmac_sha256};
use rollcast::text::{from_hex, hex};
use rusqlite::Connection;

use crate::common::events::{Ask, Stream};
use crate::common::log_reader::checkpoint_of;
use crate::common::{Instance, Server, http, run, wait_for};
use crate::kills::head;

/// How many bytes of a value are searched for, in each of its encodings.
const N_BYTES: usize = 16;

/// The values to search for: the first bytes of each encoding, and what they are.
#[derive(Default)]
struct Needles(HashMap<[u8; N_BYTES], String>);

impl Needles {
    /// Adds a value: raw, in hex, in base64, and hex in base64, as a proof file has its leaf.
    fn add(&mut self, name: &str, value: [u8; 32]) {
        let hex = hex(&value);
        let mut encodings = vec![
            ("raw", value.to_vec()),
            ("hex", hex.clone().into_bytes()),
            ("upper hex", hex.to_uppercase().into_bytes()),
        ];
        for place in 0..3 {
            encodings.push(("base64", in_base64(&BASE64_STANDARD, &value, place)));
            encodings.push(("base64url", in_base64(&BASE64_URL_SAFE, &value, place)));
            encodings.push(("hex in base64", in_base64(&BASE64_STANDARD, hex.as_bytes(), place)));
        }
        for (encoding, bytes) in encodings {
            let bytes = bytes[..N_BYTES].try_into().unwrap();
            self.0.entry(bytes).or_insert_with(|| format!("{name}, {encoding}"));
        }
    }

    fn of(name: &str, value: [u8; 32]) -> Needles {
        let mut needles = Needles::default();
        needles.add(name, value);
        needles
    }

    /// All values that the bytes contain.
    fn in_bytes(&self, bytes: &[u8]) -> Vec<&str> {
        let found = bytes.windows(N_BYTES).filter_map(|window| self.0.get(window));
        found.map(String::as_str).collect()
    }
}

/// A value as it looks in a base64 text that begins `place` bytes before it. Without the characters
/// that also depend on those bytes.
fn in_base64(engine: &impl Engine, value: &[u8], place: usize) -> Vec<u8> {
    let text = engine.encode([&vec![0; place], value].concat());
    text.as_bytes()[[0, 2, 3][place]..].to_vec()
}

/// What the server wrote or sent: a name, and the bytes.
#[derive(Default)]
struct Found(Vec<(String, Vec<u8>)>);

impl Found {
    fn add(&mut self, name: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.0.push((name.into(), bytes.into()));
    }

    /// Fetches pages with their headers. Some do not exist.
    fn fetch(&mut self, instance: &Instance, paths: &[String]) {
        for path in paths {
            let mut response = http().get(instance.url(path)).call().unwrap();
            self.add(format!("the headers of {path}"), format!("{:?}", response.headers()));
            self.add(path, response.body_mut().read_to_vec().unwrap());
        }
    }

    /// Runs a command.
    fn run(&mut self, instance: &Instance, arguments: &[&str]) {
        let mut command = instance.command();
        let (_, stdout, stderr) = run(command.env("RUST_LOG", "trace").args(arguments));
        self.add(format!("{arguments:?}"), stdout + &stderr);
    }

    /// All files of the instance except those of secrets. A draft may vanish meanwhile.
    fn read_files(&mut self, instance: &Instance) {
        for entry in fs::read_dir(instance.path()).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let is_secret = name.starts_with("rolls.secret") && !name.ends_with(".checkpoint");
            if let Ok(bytes) = fs::read(&path)
                && !is_secret
            {
                self.add(name, bytes);
            }
        }
    }

    /// The names of everything in which one of the values is, with the value.
    fn search(&self, needles: &Needles) -> Vec<String> {
        let hits = self.0.iter().flat_map(|(name, bytes)| {
            needles.in_bytes(bytes).into_iter().map(move |value| format!("{name}: {value}"))
        });
        hits.collect()
    }
}

fn pages(newest: i64) -> Vec<String> {
    let fixed = [
        "/",
        "/rolls",
        "/stats",
        "/verify",
        "/verify/offline.html",
        "/draw",
        "/checkpoint",
        "/api/proof",
        "/api/rolls?after=0&limit=1000",
        "/api/rolls.csv",
        "/api/rolls.ndjson",
        "/api/stats",
        "/api/openapi.json",
        "/api/",
        "/metrics",
        "/readyz",
        "/healthz",
        "/tile/0/000",
        "/tile/entries/000",
        "/tile/1/000.p/1",
        "/tile/entries/999",
        "/rolls/0",
        "/rolls/x/proof",
        "/draw?roll=5&dice=1D6&label=x",
    ];
    let mut paths: Vec<String> = fixed.map(str::to_owned).to_vec();
    for id in [1, newest, newest + 1_000_000, BLOCK_LEN, BLOCK_LEN + 1] {
        paths.extend([format!("/rolls/{id}"), format!("/api/rolls/{id}")]);
        paths.push(format!("/draw?roll={id}&dice=2D6&label=who%20wins"));
        if id != newest {
            paths.push(format!("/rolls/{id}/proof"));
        }
    }
    paths
}

/// The first bytes of the stream with all rolls.
fn stream(instance: &Instance) -> String {
    let mut stream = Stream::open(&instance.url("/stream/?after=0"), Ask::default()).unwrap();
    format!("{:?}", stream.frames(300))
}

#[test]
fn no_byte_contains_the_secret_or_a_seed_before_its_roll() {
    let instance = Instance::new("every = '4ms'");
    let mut found = Found::default();
    let start = || instance.start_with(instance.command().env("RUST_LOG", "trace"));
    let mut server = start();
    let size = checkpoint_of(&instance, 400).size;
    found.fetch(&instance, &pages(size as i64));
    found.fetch(&instance, &["/rolls/256/proof".into()]);
    found.add("the stream", stream(&instance));
    for arguments in [&["backup", "copy.db"][..], &["check"], &["stats"]] {
        found.run(&instance, arguments);
    }
    found.run(&instance, &["verify", &instance.url("/")]);
    found.read_files(&instance);
    server.stop();
    found.add("the server's output", server.log().join("\n"));
    found.read_files(&instance);

    // Rolls that were thrown, but are never stored.
    let mut server = start();
    let _ = checkpoint_of(&instance, size + 200);
    let outside = Connection::open(instance.database()).unwrap();
    wait_for("the lock", || outside.execute_batch("begin immediate").ok());
    wait_for("a roll that is not stored", || {
        server.log().iter().any(|line| line.contains("no roll can be stored")).then_some(())
    });
    found.fetch(&instance, &pages(size as i64));
    server.kill();
    found.add("the output of the killed server", server.log().join("\n"));
    drop(outside);
    let newest = head(&instance);
    found.read_files(&instance);

    // Starts without the secret, and with one that is not well formed.
    let file = instance.path().join("rolls.secret");
    let text = fs::read_to_string(&file).unwrap();
    for refused in [None, Some(format!("x{text}")), Some(text.to_uppercase())] {
        match refused {
            Some(text) => fs::write(&file, text).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        let mut server = Server::spawn(instance.command().env("RUST_LOG", "trace"));
        assert!(!server.wait().success());
        found.add("the output of a refused start", server.log().join("\n"));
        found.run(&instance, &["check"]);
    }
    fs::write(&file, &text).unwrap();
    found.run(&instance, &["rekey"]);
    found.read_files(&instance);
    let secret = Secret::parse(&text).unwrap();

    let mut hidden = Needles::default();
    let value: [u8; 32] = from_hex(text.trim()).unwrap();
    hidden.add("the secret", value);
    hidden.add("the private key", secret.signing_key());
    for n in 0..4 {
        let message = format!("rollcast/v1 block {n}");
        hidden.add(&message, hmac_sha256(&value, message.as_bytes()));
    }
    let new = fs::read_to_string(&file).unwrap();
    hidden.add("the new secret", from_hex(new.trim()).unwrap());
    // Those of the next rolls, and one of each segment of the block.
    let mut seeds = BlockSeeds::compute(&secret, Block::of(RollId(1)));
    let future = (newest + 1..newest + 2_000).chain((1..=1_024).map(|n| n * 1_024));
    for id in future.filter(|id| *id > newest) {
        hidden.add(&format!("the seed of roll {id}"), seeds.seed(RollId(id)).0);
    }
    let hits = found.search(&hidden);
    assert!(hits.is_empty(), "the newest roll is {newest}: {hits:#?}");

    // Control: the same search finds what is public, in every encoding.
    let shown = |id| Needles::of("shown", seeds_of(&secret, id));
    for (id, expected) in [
        (256, "rolls.db: shown, raw"),
        (256, "copy.db: shown, raw"),
        (1, "/rolls/1: shown, hex"),
        (256, "/tile/entries/000: shown, hex"),
        (1, "/rolls/1/proof: shown, hex in base64"),
        (256, "/rolls/256/proof: shown, hex in base64"),
        (5, "/draw?roll=5&dice=1D6&label=x: shown, hex"),
    ] {
        let hits = found.search(&shown(id));
        assert!(hits.iter().any(|hit| hit == expected), "{expected} is not in {hits:?}");
    }
    let note = found.0.iter().find(|(name, _)| name == "/checkpoint").unwrap().1.clone();
    let root = Checkpoint::read(str::from_utf8(&note).unwrap()).unwrap().1.root;
    let hits = found.search(&Needles::of("root", root.0));
    assert!(hits.iter().any(|hit| hit == "/checkpoint: root, base64"), "{hits:?}");
    let mut file = Found::default();
    file.add("the file", text);
    assert_eq!(file.search(&hidden), ["the file: the secret, hex"]);
}

fn seeds_of(secret: &Secret, id: i64) -> [u8; 32] {
    BlockSeeds::compute(secret, Block::of(RollId(id))).seed(RollId(id)).0
}

#[test]
fn a_value_is_found_at_any_place_of_a_text_in_base64() {
    let value: [u8; 32] = std::array::from_fn(|n| n as u8 * 7);
    for n_before in 0..9 {
        let bytes = [&vec![0xa5; n_before], &value[..], b"after"].concat();
        let text = BASE64_STANDARD.encode(&bytes);
        assert_eq!(
            Needles::of("it", value).in_bytes(text.as_bytes()),
            ["it, base64"],
            "{n_before}"
        );
        assert!(Needles::of("it", [9; 32]).in_bytes(text.as_bytes()).is_empty());
    }
}

/// The soft and the hard limit of core dumps, in bytes.
fn core_limits(process: u32) -> [String; 2] {
    let limits = fs::read_to_string(format!("/proc/{process}/limits")).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    let mut words = line.split_whitespace().skip(4).map(str::to_owned);
    [words.next().unwrap(), words.next().unwrap()]
}

#[test]
fn a_server_writes_no_core_dump_whatever_limit_it_is_started_with() {
    let instance = Instance::new("every = '1h'");
    // The shell raises the soft limit to the hard one.
    let raised = "ulimit -S -c \"$(ulimit -H -c)\" && exec \"$0\" \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", raised, crate::common::ROLLCAST]).current_dir(instance.path());
    let server = instance.start_with(&mut command);
    let [soft, _] = core_limits(server.pid());
    // Linux ignores a limit of 0 where dumps go to a program, but not one of a byte.
    assert!(["0", "1"].contains(&soft.as_str()), "{soft}");
    // Control: another program started the same way.
    let mut other = Command::new("sh").args(["-c", raised, "sleep", "60"]).spawn().unwrap();
    let limits = wait_for("sleep", || {
        let name = fs::read_to_string(format!("/proc/{}/comm", other.id())).unwrap();
        (name == "sleep\n").then(|| core_limits(other.id()))
    });
    other.kill().unwrap();
    other.wait().unwrap();
    assert_eq!(limits[0], limits[1]);
}
