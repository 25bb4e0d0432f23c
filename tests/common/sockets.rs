//! Connections by hand.

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::thread;

use socket2::{Domain, Socket, Type};

use super::TIMEOUT;

/// Forwards bytes both ways until one of them has ended.
pub fn forward(mut client: TcpStream, mut server: TcpStream) -> io::Result<()> {
    let (mut from_server, mut to_client) = (server.try_clone()?, client.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut from_server, &mut to_client);
        to_client.shutdown(Shutdown::Both)
    });
    let _ = io::copy(&mut client, &mut server);
    server.shutdown(Shutdown::Both)
}

/// A connection to a port of this machine, with small segments and a small window. So the kernel
/// buffers little for a client that does not read.
pub fn narrow_connection(port: u16) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4 << 10).unwrap();
    socket.set_tcp_mss(536).unwrap();
    socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into()).unwrap();
    let socket = TcpStream::from(socket);
    socket.set_read_timeout(Some(TIMEOUT)).unwrap();
    socket
}
