//! HAProxy and nginx in front of three nodes. The nodes here are servers of their own with different
//! dice, so each answer shows which one it comes from. What a proxy does depends only on whether a
//! node answers, and whether it is ready.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::thread;

use rusqlite::Connection;

use crate::common::events::{Ask, Stream};
use crate::common::{Instance, Server, http, wait_for};
use crate::files::{Files, project};
use crate::front::{Front, HAPROXY_FLEET};
use crate::fronts::check_front;
use crate::nginx::{FLEET, Nginx, SITE};
use crate::program::{run, run_well};
use crate::proxy::as_event_source;

/// The dice of the nodes.
const DICE: [&str; 3] = ["1D4", "1D6", "1D8"];

struct Node {
    instance: Instance,
    server: Server,
}

/// Three nodes that roll.
fn nodes() -> [Node; 3] {
    DICE.map(|die| {
        let instance = Instance::new(&format!("every = '250ms'\ndice = ['{die}']"));
        let server = instance.start_rolling();
        Node { instance, server }
    })
}

fn ports(nodes: &[Node; 3]) -> [u16; 3] {
    [0, 1, 2].map(|n| nodes[n].instance.port())
}

impl Node {
    /// The node is not ready for as long as the result exists, because it cannot store rolls.
    fn lock(&self) -> Connection {
        let outside = Connection::open(self.instance.database()).unwrap();
        outside.execute_batch("begin immediate").unwrap();
        self.wait_for(503);
        outside
    }

    fn wait_for(&self, status: u16) {
        wait_for("the readiness of a node", || {
            let answer = http().get(self.instance.url("/readyz")).call().unwrap();
            (answer.status() == status).then_some(())
        });
    }
}

/// The die in an answer or a frame.
fn die_in(text: &str) -> Option<&'static str> {
    DICE.into_iter().find(|die| text.contains(die))
}

/// The nodes that answer 12 requests. All answers must be 200.
fn answering(url: &str) -> BTreeSet<&'static str> {
    (0..12)
        .map(|_| {
            let mut answer = http().get(url).call().unwrap();
            let text = answer.body_mut().read_to_string().unwrap();
            assert_eq!(answer.status(), 200, "{text}");
            die_in(&text).unwrap_or_else(|| panic!("no die in {text}"))
        })
        .collect()
}

fn wait_until_only(url: &str, dice: &[&'static str]) {
    let dice = BTreeSet::from_iter(dice.iter().copied());
    wait_for("answers from these nodes only", || (answering(url) == dice).then_some(()));
}

/// A stream, and the die of its node.
fn open_stream(url: &str) -> (Stream, &'static str) {
    let mut stream = Stream::open(url, Ask::default()).unwrap();
    let die = die_in(&format!("{:?}", stream.rolls(1))).unwrap();
    (stream, die)
}

/// Shorter than delivered, so that the test is short too.
fn soon(files: &mut Files) {
    files.replace(HAPROXY_FLEET, "inter 1s fall 12", "inter 1s fall 4");
}

#[test]
fn haproxy_with_the_file_for_a_fleet_does_all_that_it_does_for_one_server() {
    check_front(|port| Front::fleet([port; 3], |_| {}));
}

#[test]
fn haproxy_sends_requests_to_ready_nodes_and_to_all_that_answer_if_none_is_ready() {
    let mut nodes = nodes();
    let front = Front::fleet(ports(&nodes), soon);
    let rolls = front.url("/api/rolls");
    wait_until_only(&rolls, &DICE);
    for path in ["/readyz", "//readyz", "/metrics"] {
        assert_eq!(http().get(front.url(path)).call().unwrap().status(), 404, "{path}");
    }
    // A verifier stays on one node.
    let log = |_| http().get(front.url("/checkpoint")).call().unwrap().body_mut().read_to_string();
    let origins: BTreeSet<String> =
        (0..12).map(log).map(|text| text.unwrap().lines().next().unwrap().into()).collect();
    assert_eq!(origins.len(), 1, "{origins:?}");

    let streams = [0, 1, 2].map(|_| open_stream(&front.url("/stream/")));
    let on: BTreeSet<&str> = streams.iter().map(|(_, die)| *die).collect();
    assert_eq!(on, BTreeSet::from(DICE));

    // A node that is not ready gets no more requests, and then its streams end.
    let lock = nodes[0].lock();
    wait_until_only(&rolls, &DICE[1..]);
    let [(first, _), (second, _), (third, _)] = {
        let mut streams = streams;
        streams.sort_by_key(|(_, die)| *die);
        streams
    };
    println!("{} more frames on the node that is not ready", first.count());
    for mut stream in [second, third] {
        stream.rolls(2);
    }

    // Control: if the check does not ask whether the node is ready, it still gets requests.
    let control = Front::fleet(ports(&nodes), |files| {
        files.replace(HAPROXY_FLEET, "option httpchk GET /readyz", "option httpchk GET /healthz");
    });
    assert_eq!(answering(&control.url("/api/rolls")), BTreeSet::from(DICE));

    // While no node is ready, all answer.
    let locks = [nodes[1].lock(), nodes[2].lock()];
    wait_until_only(&rolls, &DICE);
    drop((lock, locks));
    nodes.iter().for_each(|node| node.wait_for(200));
    wait_until_only(&rolls, &DICE);

    // No request fails because a node has gone.
    nodes[1].server.kill();
    let dice = answering(&rolls);
    assert!(!dice.contains(DICE[1]), "{dice:?}");
    let (_, die) = open_stream(&front.url("/stream/"));
    assert_ne!(die, DICE[1]);
}

#[test]
fn haproxy_accepts_the_file_for_the_containers_and_finds_mistakes_in_it() {
    // As the guide says, in a copy of the folder.
    let guide = fs::read_to_string(project().join("deploy/README.md")).unwrap();
    let lines = guide.lines().skip_while(|line| !line.ends_with("rollcast-fleet")).skip(1);
    let lines: Vec<&str> = lines.map_while(|line| line.strip_prefix("    ")).collect();
    let end = lines.iter().position(|line| line.contains(">haproxy.cfg")).unwrap();
    let command = lines[..=end].join("\n");
    let folder = tempfile::tempdir().unwrap();
    Files::read("haproxy").write(&folder.path().join("haproxy"));
    let inside = folder.path().join("container");
    fs::create_dir(&inside).unwrap();
    run_well(Command::new("bash").args(["-euc", &command]).current_dir(&inside));

    let check = |text: &str| {
        let file = inside.join("checked.cfg");
        fs::write(&file, text).unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        let mut haproxy = Command::new("haproxy");
        haproxy.env("PATH", format!("{path}:/usr/sbin:/usr/local/sbin"));
        run(haproxy.args(["-c", "-f"]).arg(file))
    };
    let made = fs::read_to_string(inside.join("haproxy.cfg")).unwrap();
    assert_eq!(check(&made).0, 0, "{}", check(&made).1);
    assert_ne!(check(&made.replace("balance leastconn", "balance leastcon")).0, 0);

    // It has the nodes of the compose file, and no others. HAProxy looks up their names.
    let compose =
        fs::read_to_string(project().join("deploy/container/compose-fleet.yaml")).unwrap();
    let names = compose.lines().filter_map(|line| line.strip_prefix("  ")?.strip_suffix(':'));
    let places: Vec<String> = names
        .filter(|name| name.starts_with("rollcast"))
        .map(|name| format!("{name}:5000"))
        .collect();
    assert_eq!(places.len(), 3, "{compose}");
    let used = made.lines().filter_map(|line| line.trim().strip_prefix("setenv NODE"));
    let used: Vec<&str> = used.filter_map(|line| line.split(' ').nth(1)).collect();
    assert_eq!(used, places);
    assert!(!made.contains("10.0.0."), "{made}");
    for line in ["    default-server resolvers containers init-addr none", "resolvers containers"] {
        assert_eq!(made.lines().filter(|other| *other == line).count(), 1, "{made}");
    }
    // podman-compose 1.0 of Debian 12 refuses a fixed address.
    assert!(!compose.contains("ipv4_address"), "{compose}");
}

/// Removes the block of the single server, as the command in the head of nginx's file for a fleet does.
fn without_the_single_server(files: &mut Files, port: u16) {
    let folder = project().join("deploy/nginx");
    let [fleet, site] = [FLEET, SITE].map(|name| fs::read_to_string(folder.join(name)).unwrap());
    let command = fleet.lines().find_map(|line| line.strip_prefix("#   sed -i '")).unwrap();
    let script = command.split('\'').next().unwrap();
    let edited = run_well(Command::new("sed").args(["-e", script]).arg(folder.join(SITE)));
    let start = site.find("upstream rollcast {\n").unwrap();
    let end = start + site[start..].find("\n}\n").unwrap() + 3;
    let block = &site[start..end];
    assert_eq!(edited, site.replace(block, ""));
    files.replace(SITE, &block.replace(":5000", &format!(":{port}")), "");
}

#[test]
fn nginx_spreads_requests_over_the_nodes_and_no_request_fails_because_one_has_gone() {
    let mut nodes = nodes();
    let ports = ports(&nodes);
    let place = move |files: &mut Files| {
        for (n, port) in ports.iter().enumerate() {
            let old = format!("10.0.0.{}:5000", n + 1);
            files.replace(FLEET, &old, &format!("127.0.0.1:{port}"));
        }
    };
    let nginx = Nginx::start_sites(&[SITE, FLEET], ports[0], |files| {
        place(files);
        without_the_single_server(files, ports[0]);
    });
    let rolls = nginx.url("/api/rolls");
    assert_eq!(answering(&rolls), BTreeSet::from(DICE));
    assert_eq!(nginx.status("/metrics"), 404);
    nodes[1].server.kill();
    assert!(!answering(&rolls).contains(DICE[1]));
    // New streams go to the nodes with fewer streams.
    let streams = [0, 1, 2, 3].map(|_| open_stream(&nginx.url("/stream/")));
    let first = streams.iter().filter(|(_, die)| *die == DICE[0]).count();
    assert_eq!(first, 2, "two on each node");

    // A client whose node has gone reconnects to another one.
    nodes[0].server.kill();
    let (_, die) = open_stream(&nginx.url("/stream/"));
    assert_eq!(die, DICE[2]);
    nodes[2].server.kill();
    let frames = as_event_source(&nginx.url("/stream/")).unwrap();
    assert_eq!(frames.last().unwrap().closing().as_deref(), Some("unreachable"), "{frames:?}");

    // Control: with the block of the single server, nginx does not start.
    let both = thread::spawn(move || Nginx::start_sites(&[SITE, FLEET], ports[0], place));
    assert!(both.join().is_err(), "expected a duplicate upstream to be refused");
}
