//! Hosts in network namespaces of their own, joined by a bridge in the namespace of the test. A host
//! whose link is down is a partition: packets vanish, and nobody is told.

use std::fs;
use std::process::Command;

use crate::common::{ROLLCAST, wait_for};
use crate::engine::Place;
use crate::process::Process;

/// One host. Its namespace ends with its last process.
pub struct Host {
    n: usize,
    keeper: Process,
}

/// Runs `ip` with these words.
fn ip(words: &str) {
    let output = Command::new("ip").args(words.split(' ')).output().expect("ip, of iproute2");
    assert!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Makes hosts `192.0.2.1` and so on, of which the test itself is `192.0.2.254`.
pub fn hosts(n: usize) -> Vec<Host> {
    ip("link add bridge type bridge");
    ip("address add 192.0.2.254/24 dev bridge");
    ip("link set bridge up");
    (1..=n).map(Host::new).collect()
}

impl Host {
    fn new(n: usize) -> Host {
        let keeper = Process::start(Command::new("unshare").args(["--net", "sleep", "3600"]));
        let namespace = |process: &str| fs::read_link(format!("/proc/{process}/ns/net")).ok();
        let own = namespace("self");
        wait_for("a network namespace", || {
            let other = namespace(&keeper.pid().to_string())?;
            (Some(other) != own).then_some(())
        });
        let host = Host { n, keeper };
        ip(&format!("link add host{n} type veth peer name eth0 netns {}", host.keeper.pid()));
        ip(&format!("link set host{n} master bridge"));
        host.connect();
        host.ip(&format!("address add {}/24 dev eth0", host.address()));
        host.ip("link set eth0 up");
        host.ip("link set lo up");
        host
    }

    pub fn address(&self) -> String {
        format!("192.0.2.{}", self.n)
    }

    /// The command that runs a program on this host, without the program.
    fn enter(&self) -> Vec<String> {
        let process = self.keeper.pid().to_string();
        ["nsenter", "--target", &process, "--net"].map(String::from).into()
    }

    /// Where a server of the engine runs.
    pub fn place(&self) -> Place {
        Place { address: self.address(), enter: self.enter() }
    }

    /// Makes a node's command run on this host.
    pub fn launch(&self) -> impl Fn(&crate::common::Instance) -> Command + Send + Sync + 'static {
        let (enter, address) = (self.enter(), self.address());
        move |instance| {
            let plain = instance.command();
            let mut command = Command::new(&enter[0]);
            command.args(&enter[1..]).arg(ROLLCAST).current_dir(instance.path());
            for (name, value) in plain.get_envs() {
                match value {
                    Some(value) => command.env(name, value),
                    None => command.env_remove(name),
                };
            }
            command.env("ROCKET_ADDRESS", &address);
            command
        }
    }

    /// Cuts the host off.
    pub fn disconnect(&self) {
        ip(&format!("link set host{} down", self.n));
    }

    pub fn connect(&self) {
        ip(&format!("link set host{} up", self.n));
    }

    fn ip(&self, words: &str) {
        let enter = self.enter();
        let mut command = Command::new(&enter[0]);
        let output = command.args(&enter[1..]).arg("ip").args(words.split(' ')).output().unwrap();
        assert!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
