//! Opens a connection as a browser does, to see its TLS and its addresses.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use event_stream::http_url::HttpUrl;
use event_stream::proxy::{Proxies, ProxyServer};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, ClientConnection, RootCertStore};

/// A line that is not HTTP. A proxy refuses it in its own way and never passes it on.
pub const NONSENSE: &[u8] = b"rollcast-doctor\r\n\r\n";
/// How much of the answer to [`NONSENSE`] is read, and for how long.
const MAX_REFUSAL_BYTES: u64 = 8 << 10;
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);
/// A certificate that expires within this time is worth a note.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);
/// How many bytes of a proxy's response are read.
const MAX_HEAD_BYTES: usize = 16 << 10;

/// A connection that was opened and closed again.
#[derive(Clone, Debug)]
pub struct Connection {
    /// The address of this end.
    pub local: IpAddr,
    /// The address of the other end: the server, or the proxy that the environment names.
    pub remote: IpAddr,
    /// `None` for plain HTTP.
    pub tls: Option<Tls>,
}

/// What a browser learns from a TLS handshake.
#[derive(Clone, Debug)]
pub enum Tls {
    /// The certificate is valid.
    Trusted {
        /// Whether both sides agreed on HTTP/2.
        http2: bool,
        /// Whether the certificate expires within 14 days.
        expires_soon: bool,
    },
    /// A browser shows a warning instead of the page.
    Refused(CertificateError),
}

/// Opens connections and verifies certificates.
pub struct Connector {
    authorities: Arc<RootCertStore>,
    timeout: Duration,
    proxies: Proxies,
}

impl Connector {
    /// Each connection, TLS included, may take `timeout`. A certificate is valid if it is of one
    /// of `authorities`; `None`: of one that browsers trust.
    pub fn new(
        timeout: Duration,
        authorities: Option<&[CertificateDer<'static>]>,
        proxies: Proxies,
    ) -> Connector {
        let mut store = RootCertStore::empty();
        match authorities {
            Some(authorities) => {
                store.add_parsable_certificates(authorities.iter().cloned());
            }
            None => store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        }
        Connector { authorities: Arc::new(store), timeout, proxies }
    }

    /// Opens a connection to the host of `url`, or to the proxy for it, with TLS for `https`, and
    /// closes it.
    ///
    /// # Errors
    ///
    /// The name does not resolve, no address accepts a connection, the proxy opens no tunnel, or
    /// the server does not speak TLS. A certificate that is refused is no error.
    pub fn connect(&self, url: &HttpUrl) -> io::Result<Connection> {
        match self.proxies.for_url(url).map_err(io::Error::other)? {
            None => self.connect_to(url, url, None),
            Some(proxy) => self.connect_to(proxy.url(), url, Some(proxy)).map_err(|error| {
                io::Error::new(error.kind(), format!("through the proxy {proxy}: {error}"))
            }),
        }
    }

    /// Opens a connection to the host of `first`, which is the server or the proxy.
    fn connect_to(
        &self,
        first: &HttpUrl,
        url: &HttpUrl,
        proxy: Option<&ProxyServer>,
    ) -> io::Result<Connection> {
        let mut socket = open(first, self.timeout)?;
        let (local, remote) = (socket.socket.local_addr()?.ip(), socket.socket.peer_addr()?.ip());
        if let Some(proxy) = proxy.filter(|_| url.is_tls()) {
            open_tunnel(&mut socket, url, proxy)?;
        }
        let tls = if url.is_tls() { Some(self.handshake(url, socket)?) } else { None };
        Ok(Connection { local, remote, tls })
    }

    /// What the server at the host of `url` answers to [`NONSENSE`]; `None` if it does not answer,
    /// if its certificate is refused, or if only a proxy of the environment would read the line.
    pub fn refusal(&self, url: &HttpUrl) -> Option<String> {
        let timeout = self.timeout.min(REFUSAL_TIMEOUT);
        let mut socket = match self.proxies.for_url(url).ok()? {
            None => open(url, timeout).ok()?,
            Some(proxy) if url.is_tls() => {
                let mut socket = open(proxy.url(), timeout).ok()?;
                open_tunnel(&mut socket, url, proxy).ok()?;
                socket
            }
            Some(_) => return None,
        };
        let mut answer = Vec::new();
        // Some servers break the connection off after the answer.
        if url.is_tls() {
            let mut tls = self.client(url, &[b"http/1.1"]).ok()?;
            let mut stream = rustls::Stream::new(&mut tls, &mut socket);
            stream.write_all(NONSENSE).ok()?;
            let _ = stream.take(MAX_REFUSAL_BYTES).read_to_end(&mut answer);
        } else {
            socket.write_all(NONSENSE).ok()?;
            let _ = socket.take(MAX_REFUSAL_BYTES).read_to_end(&mut answer);
        }
        if answer.is_empty() { None } else { Some(String::from_utf8_lossy(&answer).into_owned()) }
    }

    /// A TLS connection to the host of `url` that offers these protocols.
    fn client(&self, url: &HttpUrl, protocols: &[&[u8]]) -> io::Result<ClientConnection> {
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(self.authorities.clone())
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        ClientConnection::new(Arc::new(config), server_name(url)?).map_err(io::Error::other)
    }

    fn handshake(&self, url: &HttpUrl, mut socket: DeadlineSocket) -> io::Result<Tls> {
        let mut connection = self.client(url, &[b"h2", b"http/1.1"])?;
        while connection.is_handshaking() {
            if let Err(error) = connection.complete_io(&mut socket) {
                let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
                return match cause {
                    Some(rustls::Error::InvalidCertificate(why)) => Ok(Tls::Refused(why.clone())),
                    _ if error.kind() == io::ErrorKind::TimedOut => {
                        Err(io::Error::other("the server does not answer in TLS"))
                    }
                    _ if is_closed(&error) => Err(io::Error::other(format!(
                        "the server closes the connection instead of a TLS handshake: {error}; \
                         rollcast's fan-out door does so if `proxy_protocol = true` and no trusted \
                         proxy is in front of it"
                    ))),
                    _ => Err(io::Error::other(format!("the server does not speak TLS: {error}"))),
                };
            }
        }
        let provider = Arc::new(ring::default_provider());
        let verifier =
            WebPkiServerVerifier::builder_with_provider(self.authorities.clone(), provider);
        let name = server_name(url)?;
        let verifier = verifier.build().map_err(io::Error::other)?;
        let now = Duration::from_secs(UnixTime::now().as_secs());
        let soon = UnixTime::since_unix_epoch(now + SOON);
        let expires_soon = connection.peer_certificates().is_some_and(|certificates| {
            let Some((own, intermediates)) = certificates.split_first() else {
                return false;
            };
            matches!(
                verifier.verify_server_cert(own, intermediates, &name, &[], soon),
                Err(rustls::Error::InvalidCertificate(
                    CertificateError::Expired | CertificateError::ExpiredContext { .. }
                ))
            )
        });
        let http2 = connection.alpn_protocol() == Some(b"h2");
        Ok(Tls::Trusted { http2, expires_soon })
    }
}

/// Whether the other end closed the connection.
fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

fn server_name(url: &HttpUrl) -> io::Result<ServerName<'static>> {
    ServerName::try_from(url.host().to_owned()).map_err(io::Error::other)
}

/// Opens a socket to the host of `url`; everything on it may take `timeout`.
fn open(url: &HttpUrl, timeout: Duration) -> io::Result<DeadlineSocket> {
    let deadline = Instant::now() + timeout;
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in resolve(url, deadline)? {
        match left(deadline).and_then(|left| TcpStream::connect_timeout(&address, left)) {
            Ok(socket) => return Ok(DeadlineSocket { socket, deadline }),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Has the proxy connect this socket to the host of `url`.
/// <https://www.rfc-editor.org/rfc/rfc9110#name-connect>
fn open_tunnel(socket: &mut DeadlineSocket, url: &HttpUrl, proxy: &ProxyServer) -> io::Result<()> {
    if proxy.url().is_tls() {
        return Err(io::Error::other("the doctor knows only proxies with `http://`"));
    }
    let host = if url.host().contains(':') { &format!("[{}]", url.host()) } else { url.host() };
    let target = format!("{host}:{}", url.port());
    let authorization = proxy.url().authorization();
    let authorization = authorization.map(|value| format!("Proxy-Authorization: {value}\r\n"));
    let authorization = authorization.unwrap_or_default();
    let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{authorization}\r\n");
    socket.write_all(request.as_bytes())?;
    let mut head = Vec::new();
    // Read single bytes, because the bytes after the head belong to TLS.
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte)?;
        head.extend(byte);
        if head.len() > MAX_HEAD_BYTES {
            return Err(io::Error::other("it sends more than a response head"));
        }
    }
    let line = String::from_utf8_lossy(&head);
    let line = line.lines().next().unwrap_or_default();
    match line.split(' ').nth(1) {
        Some(status) if status.starts_with('2') => Ok(()),
        _ => Err(io::Error::other(format!("it opens no tunnel: `{line}`"))),
    }
}

/// The addresses of a host. Name resolution cannot be interrupted, so it runs on its own thread
/// and is left behind at the deadline.
fn resolve(url: &HttpUrl, deadline: Instant) -> io::Result<Vec<SocketAddr>> {
    let (sender, receiver) = mpsc::channel();
    let (host, port) = (url.host().to_owned(), url.port());
    thread::spawn(move || {
        let addresses = (&*host, port).to_socket_addrs().map(Iterator::collect);
        // Nobody receives it after the deadline.
        let _ = sender.send(addresses);
    });
    receiver.recv_timeout(left(deadline)?).unwrap_or_else(|_| {
        Err(io::Error::new(io::ErrorKind::TimedOut, "the name does not resolve in time"))
    })
}

/// The time left until `deadline`; an error when it has passed.
fn left(deadline: Instant) -> io::Result<Duration> {
    match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
        left => Ok(left),
    }
}

/// A socket with one deadline for everything, however small the pieces in which it arrives.
struct DeadlineSocket {
    socket: TcpStream,
    deadline: Instant,
}

impl Read for DeadlineSocket {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(Some(left(self.deadline)?))?;
        self.socket.read(bytes).map_err(timed_out)
    }
}

impl Write for DeadlineSocket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(Some(left(self.deadline)?))?;
        self.socket.write(bytes).map_err(timed_out)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

/// Some systems report a socket's timeout as `WouldBlock`.
fn timed_out(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    }
}
