//! The PROXY protocol: a proxy that forwards TCP names its client before the first byte.
//!
//! Source: <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use proxy_header::{Error, ParseConfig, ProxyHeader};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::sleep;

/// The longest header that is read. Those of HAProxy and nginx have about 100 bytes.
const MAX_HEADER_BYTES: usize = 1_024;
/// Proxies send the header in one piece. If only a part has arrived, the door looks again after this
/// pause.
const PAUSE: Duration = Duration::from_millis(5);

/// Reads the header and nothing after it. Returns the address of the client; `None` for a
/// connection of the proxy itself, such as a health check.
///
/// # Errors
///
/// The connection does not begin with a header, or it fails.
pub async fn client(socket: &mut TcpStream) -> io::Result<Option<IpAddr>> {
    let mut header = [0; MAX_HEADER_BYTES];
    loop {
        let n_bytes = socket.peek(&mut header).await?;
        if n_bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match client_in(&header[..n_bytes]) {
            Ok((client, n_bytes)) => {
                socket.read_exact(&mut header[..n_bytes]).await?;
                return Ok(client);
            }
            Err(Error::BufferTooShort) if n_bytes < header.len() => sleep(PAUSE).await,
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
    }
}

/// The client, and the length of the header.
fn client_in(bytes: &[u8]) -> Result<(Option<IpAddr>, usize), Error> {
    let (header, n_bytes) = ProxyHeader::parse(bytes, ParseConfig::default())?;
    let client = header.proxied_address().map(|address| address.source.ip().to_canonical());
    Ok((client, n_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header of version 2 from the command and the addresses.
    fn version_2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
        header.extend([0x20 | command, family]);
        header.extend((addresses.len() as u16).to_be_bytes());
        header.extend(addresses);
        header
    }

    #[test]
    fn both_versions_name_the_client_and_a_health_check_names_none() {
        let v4 = [203, 0, 113, 7, 127, 0, 0, 1, 0x12, 0x67, 0x13, 0x89];
        let v6 = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[1], &[0; 15], &[1, 1, 2, 3, 4]].concat();
        let table = [
            (b"PROXY TCP4 203.0.113.7 127.0.0.1 4711 5001\r\n".to_vec(), Some("203.0.113.7")),
            (b"PROXY TCP6 2001:db8::1 ::1 4711 5001\r\n".to_vec(), Some("2001:db8::1")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (version_2(1, 0x11, &v4), Some("203.0.113.7")),
            (version_2(1, 0x21, &v6), Some("2001:db8::1")),
            (version_2(0, 0, &[]), None),
        ];
        for (header, client) in table {
            let request = [&header[..], b"GET /stream/ HTTP/1.1\r\n"].concat();
            let client = client.map(|client| client.parse().expect("an address"));
            let read = client_in(&request).expect("a header");
            assert_eq!(read, (client, header.len()), "{}", header.escape_ascii());
            for n_bytes in 1..header.len() {
                let part = client_in(&header[..n_bytes]);
                assert!(matches!(part, Err(Error::BufferTooShort)), "{n_bytes} bytes: {part:?}");
            }
        }
        for request in [
            &b"GET /stream/ HTTP/1.1\r\n"[..],
            b"PROXY TCP4 nobody 127.0.0.1 1 2\r\n",
            b"\r\n\r\nX-Not-A-Signature",
        ] {
            let read = client_in(request);
            assert!(matches!(read, Err(error) if error != Error::BufferTooShort), "{request:?}");
        }
    }
}
