//! A client's connection, with TLS or without.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream as StdStream;
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

/// The certificates to trust. Cheap to clone.
pub type Trust = Arc<ClientConfig>;

/// A non-blocking connection.
pub struct Connection {
    socket: TcpStream,
    tls: Option<Box<Tls>>,
}

struct Tls {
    session: ClientConnection,
    /// What the server sent, decrypted.
    plain: Vec<u8>,
}

/// What one read returned.
pub struct Part<'a> {
    /// The bytes from the socket; 0 at its end.
    pub n_read: usize,
    /// The bytes that the server sent. With TLS, they may be empty before the end.
    pub bytes: &'a [u8],
}

/// Trusts this certificate of `localhost`.
pub fn trust(certificate: &rcgen::Certificate) -> anyhow::Result<Trust> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.der().clone())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

impl Connection {
    /// A connection over a non-blocking socket, with TLS if there is something to trust.
    pub fn new(socket: StdStream, trust: Option<&Trust>) -> anyhow::Result<Connection> {
        let tls = match trust {
            None => None,
            Some(trust) => {
                let session =
                    ClientConnection::new(trust.clone(), ServerName::try_from("localhost")?)?;
                Some(Box::new(Tls { session, plain: Vec::new() }))
            }
        };
        Ok(Connection { socket: TcpStream::from_std(socket), tls })
    }

    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    pub fn socket_mut(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    /// Sends a request, which a new connection takes at once. Returns false if the connection is not
    /// established yet.
    ///
    /// # Errors
    ///
    /// The connection fails, or takes only a part of the request.
    pub fn send(&mut self, request: &[u8]) -> io::Result<bool> {
        let sent = match &mut self.tls {
            None => self.socket.write(request).map(|n| n == request.len()),
            Some(tls) if tls.session.wants_write() => {
                // The request follows the handshake.
                let sent = tls.session.write_tls(&mut self.socket);
                sent.and_then(|_| tls.session.writer().write_all(request)).map(|()| true)
            }
            Some(_) => Ok(false),
        };
        match sent {
            Ok(true) => Ok(true),
            Ok(false) => Err(ErrorKind::WriteZero.into()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Reads what the socket has, into `buffer`.
    ///
    /// # Errors
    ///
    /// The connection fails, or nothing can be read now.
    pub fn read<'a>(&'a mut self, buffer: &'a mut [u8]) -> io::Result<Part<'a>> {
        let n_read = self.socket.read(buffer)?;
        let Some(tls) = &mut self.tls else {
            return Ok(Part { n_read, bytes: &buffer[..n_read] });
        };
        tls.plain.clear();
        let mut sealed = &buffer[..n_read];
        while !sealed.is_empty() {
            tls.session.read_tls(&mut sealed)?;
            tls.session.process_new_packets().map_err(io::Error::other)?;
            match tls.session.reader().read_to_end(&mut tls.plain) {
                Ok(_) => {}
                // There is no more so far.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        while tls.session.wants_write() {
            tls.session.write_tls(&mut self.socket)?;
        }
        Ok(Part { n_read, bytes: &tls.plain })
    }
}
