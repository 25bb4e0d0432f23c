//! The listening sockets: one for each thread, at one address. The kernel distributes connections.

use std::io;
use std::net::{SocketAddr, TcpListener};

use anyhow::anyhow;
use socket2::{Domain, Protocol, Socket, Type};

/// Connections that may wait to be accepted. The kernel lowers this to its own limit
/// (`net.core.somaxconn`).
const BACKLOG: i32 = 4_096;

/// Listens with `n` sockets at one address. With port 0, all have the same free port.
///
/// # Errors
///
/// The address cannot be used. The error says what to do.
pub fn listen(address: SocketAddr, n: usize) -> anyhow::Result<Vec<TcpListener>> {
    sockets(address, n).map_err(|error| {
        anyhow!(
            "cannot listen on {address} (rollcast.fanout): {error}; {}",
            listen_remedy(error.kind(), "rollcast.fanout.port", "rollcast.fanout.address")
        )
    })
}

fn sockets(mut address: SocketAddr, n: usize) -> io::Result<Vec<TcpListener>> {
    // Sockets that share an address also share it with those of another process of this user. So an
    // address that somebody uses is refused here.
    socket(address)?.bind(&address.into())?;
    let mut listeners = Vec::with_capacity(n);
    for _ in 0..n {
        let listener = match listeners.first().map(TcpListener::try_clone) {
            Some(shared) if !SHARES_ADDRESS => shared?,
            _ => {
                let socket = bind_shared(address)?;
                socket.listen(BACKLOG)?;
                socket.set_nonblocking(true)?;
                socket.into()
            }
        };
        address = listener.local_addr()?;
        listeners.push(listener);
    }
    Ok(listeners)
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of a server that has just stopped do not keep the address.
    socket.set_reuse_address(true)?;
    Ok(socket)
}

/// Whether the kernel distributes connections over several sockets at one address. Elsewhere, all
/// threads accept from one socket.
const SHARES_ADDRESS: bool = cfg!(any(target_os = "linux", target_os = "freebsd"));

fn bind_shared(address: SocketAddr) -> io::Result<Socket> {
    let socket = socket(address)?;
    #[cfg(target_os = "linux")]
    socket.set_reuse_port(true)?;
    #[cfg(target_os = "freebsd")]
    socket.set_reuse_port_lb(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// What to do if the server cannot listen. `port` and `address` are the settings to change.
pub fn listen_remedy(kind: io::ErrorKind, port: &str, address: &str) -> String {
    match kind {
        io::ErrorKind::AddrInUse => {
            format!("stop the program that listens there, or set another port ({port})")
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("this machine has no such address; set one that it has ({address})")
        }
        io::ErrorKind::PermissionDenied => format!(
            "a port below 1024 needs root; set a higher one ({port}) and run a proxy in front"
        ),
        _ => format!("set another address or port ({address}, {port})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::BTreeSet;
    use std::net::Ipv4Addr;

    #[test]
    fn all_sockets_share_one_free_port_and_nobody_else_gets_it() {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listeners = listen(any, 3).expect("sockets");
        let addresses: BTreeSet<SocketAddr> =
            listeners.iter().map(|listener| listener.local_addr().expect("an address")).collect();
        let [address] = Vec::from_iter(addresses)[..] else { panic!("several addresses") };
        let refusal = listen(address, 3).expect_err("the address is in use").to_string();
        assert!(refusal.contains("rollcast.fanout.port"), "{refusal}");
        drop(listeners);
        listen(address, 1).expect("a free address");
    }

    #[test]
    fn the_remedy_fits_the_error() {
        let table = [
            (io::ErrorKind::AddrInUse, "stop the program that listens there"),
            (io::ErrorKind::AddrNotAvailable, "(address = 127.0.0.1)"),
            (io::ErrorKind::PermissionDenied, "below 1024"),
            (io::ErrorKind::Unsupported, "another address or port"),
        ];
        for (kind, expected) in table {
            let remedy = listen_remedy(kind, "port = 5000", "address = 127.0.0.1");
            assert!(remedy.contains(expected), "{kind}: {remedy}");
        }
    }
}
