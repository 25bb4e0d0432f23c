//! A network namespace for one test, in which the test may change how the network behaves.

use std::env;
use std::io::Read;
use std::process::Command;

use rustix::process::geteuid;
use socket2::{Domain, Protocol, Socket, Type};

/// Set in the process that runs in the network namespace.
const OWN_NETWORK: &str = "ROLLCAST_TEST_NETWORK";

/// If `is_needed`, runs the test `name` again in a process with a network namespace of its own,
/// asserts that it passes, and returns true. In that process, prepares the network and returns false.
pub fn ran_in_own_network(name: &str, is_needed: bool) -> bool {
    if env::var_os(OWN_NETWORK).is_some() {
        start_loopback();
        return false;
    }
    if !is_needed {
        return false;
    }
    let mut command = Command::new("unshare");
    command.arg("--net");
    if !geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.arg(env::current_exe().unwrap());
    command.args(["--exact", "--nocapture", name]);
    let output = command.env(OWN_NETWORK, "1").output().expect("unshare, of util-linux");
    let [stdout, stderr] = [output.stdout, output.stderr].map(|it| String::from_utf8(it).unwrap());
    print!("{stdout}");
    eprint!("{stderr}");
    // The process also succeeds if no test has this name.
    assert!(
        output.status.success() && stdout.contains("1 passed"),
        "`{name}` in a network namespace: {}. If you may not create one, run the test as root",
        output.status
    );
    true
}

/// Starts the loopback interface. In a new namespace it is the first interface, and it is down.
/// <https://docs.kernel.org/userspace-api/netlink/intro.html>
fn start_loopback() {
    const AF_NETLINK: i32 = 16;
    const NETLINK_ROUTE: i32 = 0;
    const RTM_NEWLINK: u16 = 16;
    const NLM_F_REQUEST_AND_ACK: u16 = 1 | 4;
    const IFF_UP: u32 = 1;
    let mut request = Vec::new();
    // The header: length, type, flags, sequence number, sender.
    request.extend(32_u32.to_ne_bytes());
    request.extend(RTM_NEWLINK.to_ne_bytes());
    request.extend(NLM_F_REQUEST_AND_ACK.to_ne_bytes());
    request.extend([0; 8]);
    // The interface: family and type, number, flags, mask of the flags to change.
    request.extend([0; 4]);
    request.extend(1_u32.to_ne_bytes());
    request.extend(IFF_UP.to_ne_bytes());
    request.extend(IFF_UP.to_ne_bytes());

    let protocol = Some(Protocol::from(NETLINK_ROUTE));
    let kernel = Socket::new(Domain::from(AF_NETLINK), Type::RAW, protocol).unwrap();
    kernel.send(&request).unwrap();
    let mut answer = [0; 256];
    let n_bytes = (&kernel).read(&mut answer).unwrap();
    assert!(n_bytes >= 20, "an answer of {n_bytes} bytes has no error number");
    assert_eq!(answer[16..20], [0; 4], "the error number");
}
