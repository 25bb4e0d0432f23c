//! `deploy/nats/README.md` as written, on an isolated machine with systemd. The machine is n1. The NATS
//! servers of n2 and n3 run beside it, each in its own folder, and so does a second node.

use std::fs;

use crate::common::ROLLCAST;
use crate::files::project;
use crate::machine::on_a_machine;
use crate::nats::nats_server;

/// The command blocks below a heading of the guide, such as `## Add a node`.
fn blocks(heading: &str) -> Vec<String> {
    let guide = fs::read_to_string(project().join("deploy/nats/README.md")).unwrap();
    let (_, chapter) = guide.split_once(&format!("\n{heading}\n")).expect("the heading");
    let end = chapter.find("\n## ").unwrap_or(chapter.len());
    let end = chapter.find("\n### ").map_or(end, |step| step.min(end));
    let blocks = chapter[..end].split("\n```sh\n").skip(1);
    blocks.map(|block| block.split("\n```").next().unwrap().to_owned()).collect()
}

/// The steps up to a NATS server on n1. `others` are the other servers that run.
fn servers(others: &str) -> String {
    let program = nats_server().get_program().to_string_lossy().into_owned();
    let passwords = &blocks("### 2. Certificates and passwords, on n1")[0];
    let server = blocks("### 3. The NATS server, on each machine").join("\n");
    format!(
        r#"
for n in 1 2 3; do ip addr add 10.0.0.$n/32 dev lo; done
install -m 0755 '{program}' /usr/local/bin/nats-server
export HOME=/root
make install PROGRAM='{ROLLCAST}'
adduser --quiet --system --group --home /var/lib/rollcast --no-create-home rollcast
install -d -o rollcast -g rollcast -m 0750 /var/lib/rollcast
(
{passwords}
)
start_others() {{
  for n in {others}; do
    systemd-run --quiet --unit=nats$n nats-server -c /srv/n$n/nats-server.conf
  done
}}
for n in {others}; do
  etc=/srv/n$n
  mkdir -p $etc/data
  sed -e "s|/etc/nats|$etc|; s|/var/lib/nats|$etc/data|; s|127.0.0.1:8222|127.0.0.$n:8222|" \
    ~/fleet/nats-server.conf >$etc/nats-server.conf
  cp ~/fleet/n$n.pem $etc/server.pem
  cp ~/fleet/n$n.key $etc/server.key
  cp ~/fleet/ca.pem $etc/
  sed -e "s/n1 /n$n /" -e "s/10\.0\.0\.1/10.0.0.$n/" deploy/nats/machine.conf >$etc/machine.conf
done
start_others
healthy() {{ curl -sSf --retry 60 --retry-delay 1 --retry-all-errors http://127.0.0.1:8222/healthz; }}
ready() {{ curl -sSf --retry 60 --retry-delay 1 --retry-all-errors http://127.0.0.1:$1/readyz; }}
set -x
{server}
test "$(ps -o user= -p $(systemctl show --property MainPID --value nats-server))" = nats
test $(stat -c %U:%a /etc/nats/server.key) = root:640
systemctl reload nats-server
systemctl restart nats-server
healthy
"#
    )
}

#[test]
fn the_guide_starts_a_nats_server_under_systemd() {
    let (code, output) = on_a_machine("systemd", &(servers("2 3") + "echo completed\n"));
    assert!(code == 0 && output.ends_with("completed\n"), "exit code {code}:\n{output}");
    // Control: one of three servers is no majority.
    let (code, output) = on_a_machine("systemd", &servers(""));
    assert!(code != 0 && output.contains("returned error: 503"), "exit code {code}:\n{output}");
}

/// The steps of the guide with rollcast, after [`servers`].
fn nodes() -> String {
    let configuration = blocks("### 4. The configuration of rollcast, on each machine").join("\n");
    let first = blocks("### 5. The first node and the stream, on n1").join("\n");
    let [give, take] = &blocks("## Add a node")[..] else { panic!("expected two blocks") };
    // The second node is on the same machine, in other folders.
    let (take, _) = take.split_once("sudo -u rollcast rollcast check").unwrap();
    let take = take.replace("/var/lib/rollcast/", "/var/lib/rollcast2/");
    let lost = blocks("## The NATS servers lost the log").join("\n");
    let secret = blocks("## Replace the secret").join("\n");
    assert_eq!(blocks("## Two histories").join("\n"), secret, "only one of them is run");
    let restore = blocks("## Restore a node").join("\n");
    // The second node is stopped already.
    let (_, aside) = restore.split_once("sudo systemctl stop rollcast\n").expect("a stop");
    let aside = aside.replace("cd /var/lib/rollcast\n", "cd /var/lib/rollcast2\n");
    assert!(aside.contains("/var/lib/rollcast2"), "{aside}");
    let leave = blocks("## Leave the fleet").join("\n");
    format!(
        r#"
{configuration}
{first}
ready 5000

install -d -o rollcast -g rollcast -m 0750 /var/lib/rollcast2
cd ~
ssh() {{ sh -c "$2"; }}
{give}
{take}
test $(stat -c %U:%a /var/lib/rollcast2/rolls.secret) = rollcast:600
test ! -e node.tar
cp -Rp /usr/local/etc/rollcast /usr/local/etc/rollcast2
sed -i 's|/var/lib/rollcast/|/var/lib/rollcast2/|; s/^port = 5000/port = 5002/' \
  /usr/local/etc/rollcast2/Rocket.toml
start_second() {{
  systemd-run --quiet --unit=rollcast2 --uid=rollcast -E ROCKET_PROFILE=release \
    -E ROCKET_CONFIG=/usr/local/etc/rollcast2/Rocket.toml rollcast serve
  ready 5002
}}
start_second
leaf() {{ curl -sSf http://127.0.0.1:$1/rolls/1/proof | awk '/^extra/ {{print $2}}'; }}
test "$(leaf 5000)" = "$(leaf 5002)"
key() {{ curl -sSf http://127.0.0.1:$1/api/proof | cut -d '"' -f 4; }}
old=$(key 5000)
test "$old" = "$(key 5002)"

# The NATS servers lose their disks.
systemctl stop nats-server nats2 nats3
rm -r /var/lib/nats/jetstream /srv/n2/data/jetstream /srv/n3/data/jetstream
systemctl start nats-server
start_others
healthy
{lost}
ready 5000

systemctl stop rollcast2
systemctl stop rollcast
{secret}
ready 5000
test "$old" != "$(key 5000)"

# The second node has the old secret and its old history, so it is restored.
{aside}
test -f /var/lib/rollcast2/put-aside-*/rolls.secret.checkpoint
{give}
{take}
start_second
test "$(key 5000)" = "$(key 5002)"
systemctl stop rollcast2

systemctl stop rollcast
{leave}
ready 5000
test $(curl -s -o /dev/null -w '%{{http_code}}' http://127.0.0.1:5000/fleet) = 404
{{ set +x; }} 2>/dev/null
echo completed
"#
    )
}

#[test]
fn the_guide_sets_up_a_fleet_adds_a_node_repairs_it_and_leaves_it() {
    let (code, output) = on_a_machine("systemd", &(servers("2 3") + &nodes()));
    assert!(code == 0 && output.ends_with("completed\n"), "exit code {code}:\n{output}");

    // Control: rollcast's own unit permits no connection to another machine.
    let without = nodes().replace("nats/fleet.conf /etc/systemd", "nats/fleet.conf /tmp #");
    assert_ne!(without, nodes());
    let (code, output) = on_a_machine("systemd", &(servers("2 3") + &without));
    println!("control: {code}");
    assert!(code != 0 || !output.ends_with("completed\n"), "exit code {code}:\n{output}");
}
