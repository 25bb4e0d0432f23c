//! A network namespace for one test, in which the test may change how the network behaves.

use std::env;
use std::process::Command;

use rustix::process::geteuid;
use socket2::{Domain, Protocol, Socket, Type};

/// Set in the process that runs in the network namespace.
const OWN_NETWORK: &str = "ROLLCAST_TEST_NETWORK";

/// If `is_needed`, runs the test of this name again, in a network namespace of its own, and asserts
/// that it passes. Returns whether it did. In that namespace, prepares the network and returns
/// false.
pub fn runs_in_own_network(test: &str, is_needed: impl FnOnce() -> bool) -> bool {
    if env::var_os(OWN_NETWORK).is_some() {
        start_loopback();
        return false;
    }
    if !is_needed() {
        return false;
    }
    let mut command = Command::new("unshare");
    command.arg("--net");
    if !geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.arg(env::current_exe().unwrap());
    command.args(["--exact", "--nocapture", test]);
    let status = command.env(OWN_NETWORK, "1").status().unwrap();
    assert!(
        status.success(),
        "in a network namespace: {status}. If this system does not let you have one, run the test \
         as root"
    );
    true
}

/// Starts the loopback interface. In a new namespace it is the first interface, and it is down.
/// <https://docs.kernel.org/userspace-api/netlink/intro.html>
fn start_loopback() {
    const AF_NETLINK: i32 = 16;
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

    let protocol = Some(Protocol::from(0)); // NETLINK_ROUTE
    let kernel = Socket::new(Domain::from(AF_NETLINK), Type::RAW, protocol).unwrap();
    kernel.send(&request).unwrap();
    let mut answer = [0; 256];
    let length = std::io::Read::read(&mut &kernel, &mut answer).unwrap();
    assert!(length >= 20, "an answer with an error number");
    assert_eq!(answer[16..20], [0; 4], "the error number");
}
