//! `deploy/nats/README.md` as written, on an isolated machine with systemd. The machine is n1 and front.
//! The NATS servers of n2 and n3 run beside it, each in its own folder, and so does the node of n2.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;

use crate::common::ROLLCAST;
use crate::files::project;
use crate::machine::on_a_machine;
use crate::nats::nats_server;

/// The guide, and the places of its command blocks that were taken.
struct Guide {
    text: String,
    taken: RefCell<BTreeSet<usize>>,
}

impl Guide {
    fn read() -> Guide {
        let text = fs::read_to_string(project().join("deploy/nats/README.md")).unwrap();
        Guide { text, taken: RefCell::default() }
    }

    /// Takes the command blocks below a heading, such as `## Add a node`.
    fn blocks<const N: usize>(&self, heading: &str) -> [String; N] {
        let title = format!("\n{heading}\n");
        let start = self.text.find(&title).unwrap_or_else(|| panic!("no `{heading}`"));
        let rest = &self.text[start + title.len()..];
        let ends = ["\n## ", "\n### "].into_iter().filter_map(|next| rest.find(next));
        let end = start + title.len() + ends.min().unwrap_or(rest.len());
        let places = self.places().filter(|place| (start..end).contains(place));
        let blocks: Vec<String> = places.map(|place| self.take(place)).collect();
        let n_blocks = blocks.len();
        blocks.try_into().unwrap_or_else(|_| panic!("{n_blocks} blocks below `{heading}`, not {N}"))
    }

    /// Where the command blocks are.
    fn places(&self) -> impl Iterator<Item = usize> + '_ {
        self.text.match_indices("\n```sh\n").map(|(place, fence)| place + fence.len())
    }

    fn take(&self, place: usize) -> String {
        self.taken.borrow_mut().insert(place);
        let (block, _) = self.text[place..].split_once("\n```\n").expect("the end of a block");
        block.to_owned()
    }

    /// The command blocks that were not taken.
    fn left(&self) -> Vec<String> {
        let taken: Vec<usize> = self.taken.borrow().iter().copied().collect();
        let left = self.places().filter(|place| !taken.contains(place));
        left.map(|place| self.take(place)).collect()
    }
}

/// Commands for the node of n2, which is on the same machine as that of n1.
fn on_second(block: &str) -> String {
    let mut text = block.to_owned();
    for (old, new) in [
        ("/var/lib/rollcast", "/var/lib/rollcast2"),
        ("systemctl stop rollcast", "systemctl stop rollcast2"),
        ("systemctl enable --now rollcast", "systemctl enable --now rollcast2"),
        ("systemctl disable --now rollcast", "systemctl disable --now rollcast2"),
        (
            "sudo -u rollcast rollcast",
            "sudo -u rollcast env ROCKET_CONFIG=/usr/local/etc/rollcast2/Rocket.toml rollcast",
        ),
        ("http://127.0.0.1:5000/", "http://127.0.0.1:5002/"),
    ] {
        text = text.replace(old, new);
    }
    assert_ne!(text, block);
    text
}

/// Shell functions for the checks.
const FUNCTIONS: &str = r#"
eventually() { for _ in $(seq 60); do "$@" && return; sleep 1; done; return 1; }
is() { expected=$1; shift; "$@" | grep -qi "$expected"; }
status() { curl -s -o /dev/null -w '%{http_code}\n' "$1"; }
ready() { curl -sSf --retry 60 --retry-delay 1 --retry-all-errors http://127.0.0.1:$1/readyz; }
healthy() { curl -sSf --retry 60 --retry-delay 1 --retry-all-errors http://127.0.0.1:8222/healthz; }
pid() { systemctl show --property MainPID --value $1; }
leaf() { curl -sSf http://127.0.0.1:$1/rolls/1/proof | awk '/^extra/ {print $2}'; }
key() { curl -sSf http://127.0.0.1:$1/api/proof | cut -d '"' -f 4; }

# The home folders of n2 and n3.
ssh() { mkdir -p /srv/$1; (cd /srv/$1; sh -c "$2"); }
scp() { local to=${!#}; cp -p "${@:2:$#-2}" "/srv/${to%%:*}/${to#*:}"; }

# The NATS servers of n2 and n3, with the files that n1 sent.
configure_others() {
  for n in 2 3; do
    etc=/srv/n$n
    mkdir -p $etc/data
    sed -e "s|/etc/nats|$etc|; s|/var/lib/nats|$etc/data|; s|127.0.0.1:8222|127.0.0.$n:8222|" \
      $etc/fleet/nats-server.conf >$etc/nats-server.conf
    cp $etc/fleet/n$n.pem $etc/server.pem
    cp $etc/fleet/n$n.key $etc/server.key
    cp $etc/fleet/ca.pem $etc/
    sed -e "s/n1 /n$n /" -e "s/10\.0\.0\.1/10.0.0.$n/" \
      /usr/local/share/examples/rollcast/nats/machine.conf >$etc/machine.conf
  done
}
start_others() {
  for n in 2 3; do
    systemd-run --quiet --unit=nats$n nats-server -c /srv/n$n/nats-server.conf
  done
}

# The certificate of the NATS server of n1, as a hash, and its answer to a password of `rollcast`.
cat >/srv/log_in.py <<'END'
import hashlib, json, os, socket, ssl, sys
connection = socket.create_connection(("10.0.0.1", 4222), 30)
while not connection.recv(1) == b"\n":
    pass
authority = ssl.create_default_context(cafile=os.path.expanduser("~/fleet/ca.pem"))
connection = authority.wrap_socket(connection, server_hostname="10.0.0.1")
print(hashlib.sha256(connection.getpeercert(True)).hexdigest())
options = json.dumps({"user": "rollcast", "pass": sys.argv[1], "verbose": False})
connection.sendall(f"CONNECT {options}\r\nPING\r\n".encode())
print(next(line for line in connection.makefile() if line.startswith(("PONG", "-ERR"))))
END
log_in() { python3 /srv/log_in.py "$1"; }
"#;

/// The whole guide as one script, with checks.
fn script(guide: &Guide) -> String {
    let program = nats_server().get_program().to_string_lossy().into_owned();
    let [packages, nats] = guide.blocks("### 1. Programs, on each machine");
    let [passwords, copy] = guide.blocks("### 2. Certificates and passwords, on n1");
    let [server, server_runs] = guide.blocks("### 3. The NATS server, on each machine");
    let [configuration] = guide.blocks("### 4. The configuration of rollcast, on each machine");
    let [first, create] = guide.blocks("### 5. The first node and the stream, on n1");
    let [balancer] = guide.blocks("### 7. The load balancer, on front");
    let [give, take] = guide.blocks("## Add a node");
    let take = on_second(&take);
    let [password, certificates, change] = guide.blocks("## Change a password or a certificate");
    let [update_nats, update] = guide.blocks("## Update");
    let [heads, lost] = guide.blocks("## The NATS servers lost the log");
    let [secret] = guide.blocks("## Replace the secret");
    let [two_histories] = guide.blocks("## Two histories");
    assert_eq!(two_histories, secret, "only one of them is run");
    let [aside] = guide.blocks("## Restore a node");
    let aside = on_second(&aside);
    let [remove_from_front, remove] = guide.blocks("## Remove a node");
    assert!(remove_from_front.contains("node=3\n"), "{remove_from_front}");
    let remove_from_front = remove_from_front.replace("node=3\n", "node=2\n");
    let remove = on_second(&remove);
    let [leave] = guide.blocks("## Leave the fleet");
    format!(
        r#"
for n in 1 2 3 9; do ip addr add 10.0.0.$n/32 dev lo; done
export HOME=/root
make install PROGRAM='{ROLLCAST}'
adduser --quiet --system --group --home /var/lib/rollcast --no-create-home rollcast
install -d -o rollcast -g rollcast -m 0750 /var/lib/rollcast
{FUNCTIONS}
# systemd empties /tmp when the first unit starts.
mkdir /srv/unpacked
cp '{program}' /srv/unpacked/nats-server
cd /srv/unpacked
set -x
{packages}
{nats}
(
{passwords}
{copy}
)
configure_others
{server}
# Control: one of three servers is no majority.
eventually is 503 status http://127.0.0.1:8222/healthz
start_others
{server_runs}
test "$(ps -o user= -p $(pid nats-server))" = nats
test $(stat -c %U:%a /etc/nats/server.key) = root:640
systemctl restart nats-server
healthy

{configuration}
{first}
eventually is '"state":"refused"' curl -s -H 'Accept: application/json' http://127.0.0.1:5000/fleet
{create}
ready 5000

# Control: rollcast's own unit permits no connection to another machine.
mv /etc/systemd/system/rollcast.service.d/fleet.conf /tmp
systemctl daemon-reload
systemctl restart rollcast
eventually is 'cannot connect' curl -s -H 'Accept: application/json' http://127.0.0.1:5000/fleet
test $(status http://127.0.0.1:5000/readyz) = 503
mv /tmp/fleet.conf /etc/systemd/system/rollcast.service.d/
systemctl daemon-reload
systemctl restart rollcast
ready 5000

# The second node has its own unit, folders and port.
install -d -o rollcast -g rollcast -m 0750 /var/lib/rollcast2
cp -Rp /usr/local/etc/rollcast /usr/local/etc/rollcast2
sed -i 's|/var/lib/rollcast/|/var/lib/rollcast2/|; s/^port = 5000/port = 5002/' \
  /usr/local/etc/rollcast2/Rocket.toml
sed -e 's|^Environment=|&ROCKET_CONFIG=/usr/local/etc/rollcast2/Rocket.toml |' \
  -e 's|^\(WorkingDirectory=.*\)rollcast$|\1rollcast2|; s|^StateDirectory=rollcast$|&2|' \
  /usr/local/lib/systemd/system/rollcast.service >/etc/systemd/system/rollcast2.service
cp -R /etc/systemd/system/rollcast.service.d /etc/systemd/system/rollcast2.service.d
systemctl daemon-reload
{give}
(
cd /srv/n2
{take}
)
test $(stat -c %U:%a /var/lib/rollcast2/rolls.secret) = rollcast:600
test ! -e /srv/n2/node.tar
test "$(leaf 5000)" = "$(leaf 5002)"
old=$(key 5000)
test "$old" = "$(key 5002)"

# The load balancer has a certificate. Its connections come from the address of front.
mkdir /tmp/front
(cd /tmp/front; sh /usr/local/share/examples/rollcast/nats/certificates.sh front=example.com)
cat /tmp/front/front.pem /tmp/front/front.key >/etc/haproxy/example.com.pem
export CURL_CA_BUNDLE=/tmp/front/ca.pem
for n in 1 2 3; do ip route replace local 10.0.0.$n dev lo table local src 10.0.0.9; done
# n2 has another port here, and n3 has no node. A machine for tests may have a limit of open files.
sed -i -e 's/10\.0\.0\.2:5000/10.0.0.2:5002/; s/10\.0\.0\.3:5000/10.0.0.3:5003/' \
  -e 's/maxconn 60000/maxconn 500/' /usr/local/share/examples/rollcast/haproxy/rollcast-fleet.cfg
systemctl start systemd-journald-dev-log.socket
(
{balancer}
) >/tmp/stream
cat /tmp/stream
is '^event: sync' cat /tmp/stream
is '^data: {{"1D6"' cat /tmp/stream
test $(status https://example.com/readyz) = 404
# The nodes trust the load balancer, and see the address of its client.
is '^rollcast-client: 127\.0\.0\.1' curl -sI https://example.com/stream/
# From here on, a client follows the rolls through the load balancer.
rollcast tail --json --cafile /tmp/front/ca.pem https://example.com/ >/tmp/rolls &
client=$!
eventually test -s /tmp/rolls

old_password=$(cat ~/fleet/rollcast.password)
log_in $old_password >/tmp/before
is PONG cat /tmp/before
(
{password}
{certificates}
{copy}
)
{change}
configure_others
systemctl kill --signal HUP nats2 nats3
install -o rollcast -g rollcast -m 0400 ~/fleet/rollcast.password /usr/local/etc/rollcast2/nats.password
systemctl restart rollcast2
ready 5002
log_in $old_password >/tmp/after
is 'Authorization Violation' cat /tmp/after
log_in $(cat ~/fleet/rollcast.password) >/tmp/after
is PONG cat /tmp/after
test $(head -n 1 /tmp/before) != $(head -n 1 /tmp/after)
is $(head -n 1 /tmp/after) sh -c 'openssl x509 -in /etc/nats/server.pem -outform DER | sha256sum'

before="$(pid nats-server) $(pid rollcast)"
n_rolls=$(wc -l </tmp/rolls)
(
cd /srv/unpacked
{update_nats}
{update}
)
for pid in $before; do test "$pid" != "$(pid nats-server)" -a "$pid" != "$(pid rollcast)"; done

# The client goes on, and lost no roll. (Code 3 says that rolls are missing.)
for _ in $(seq 60); do test $(wc -l </tmp/rolls) -gt $((n_rolls + 10)) && break; sleep 1; done
kill -TERM $client
wait $client
sed 's/^{{"id":\([0-9]*\),.*/\1/' /tmp/rolls | awk 'NR > 1 && $1 != last + 1 {{ exit 1 }} {{ last = $1 }}'
test $(wc -l </tmp/rolls) -gt $((n_rolls + 10))

# The NATS servers lose their disks.
systemctl stop nats-server nats2 nats3
rm -r /var/lib/nats/jetstream /srv/n2/data/jetstream /srv/n3/data/jetstream
systemctl start nats-server
start_others
healthy
{heads}
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
(
cd /srv/n2
{take}
)
test "$(key 5000)" = "$(key 5002)"

{remove_from_front}
if grep NODE2 /etc/haproxy/haproxy.cfg; then false; fi
eventually is '^event: sync' curl -sN --max-time 2 -H 'Accept: text/event-stream' https://example.com/stream/
{remove}
test $(ls /var/lib/rollcast2/rolls.secret* | wc -l) = 0
if systemctl is-active rollcast2 || systemctl is-enabled rollcast2; then false; fi
test $(status https://example.com/api/rolls/1) = 200

systemctl stop rollcast
{leave}
ready 5000
test $(status http://127.0.0.1:5000/fleet) = 404
{{ set +x; }} 2>/dev/null
echo completed
"#
    )
}

#[test]
fn the_guide_sets_up_a_fleet_changes_it_repairs_it_and_leaves_it() {
    let (code, output) = on_a_machine("systemd", &script(&Guide::read()));
    assert!(code == 0 && output.ends_with("completed\n"), "exit code {code}:\n{output}");
}

#[test]
fn every_command_block_of_the_guide_for_a_fleet_is_run() {
    let guide = Guide::read();
    let script = script(&guide);
    assert_eq!(guide.left(), [""; 0]);
    // Control: a block that is not taken.
    let other = Guide::read();
    other.blocks::<2>("## Update");
    assert!(!other.left().is_empty());
    assert!(script.ends_with("echo completed\n"));
}
