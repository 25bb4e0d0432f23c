//! Plain HTTP through a proxy: the request goes to the proxy and names its whole URL
//! (<https://www.rfc-editor.org/rfc/rfc9112#section-3.2.2>). ureq itself would ask for a tunnel,
//! which many proxies refuse except to port 443.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::Uri;
use ureq::Error;
use ureq::config::Config;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, NextTimeout, Transport,
};

use crate::http_url::HttpUrl;
use crate::proxy::{Proxies, ProxyServer};

/// How long a resolved name is reused. ureq would resolve it before each request, on a new thread,
/// even if a connection is open.
const LOOKUP_LIFETIME: Duration = Duration::from_secs(5);

/// The proxy that takes requests to `url` without a tunnel.
pub fn forwarding<'a>(proxies: &'a Proxies, url: &HttpUrl) -> Option<&'a ProxyServer> {
    let proxy = proxies.for_url(url).ok()??;
    (!url.is_tls() && !proxy.url().is_tls()).then_some(proxy)
}

/// Resolves the name of the proxy instead of the server's.
#[derive(Debug)]
pub struct ProxyResolver {
    proxies: Proxies,
    newest: Newest<ResolvedSocketAddrs>,
}

impl ProxyResolver {
    pub fn new(proxies: Proxies) -> ProxyResolver {
        ProxyResolver { proxies, newest: Newest(Mutex::new(None)) }
    }
}

impl Resolver for ProxyResolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let url = uri.to_string().parse().ok();
        let proxy = url.and_then(|url| forwarding(&self.proxies, &url));
        let proxy = proxy.map(|proxy| proxy.url().without_credentials().parse::<Uri>());
        let proxy = proxy.transpose().map_err(|error| Error::Http(error.into()))?;
        let uri = proxy.as_ref().unwrap_or(uri);
        let server = format!("{:?} {:?}", uri.scheme(), uri.authority());
        self.newest.get(server, || DefaultResolver::default().resolve(uri, config, timeout))
    }
}

/// The newest lookup: its name, its time and its result.
#[derive(Debug)]
struct Newest<T>(Mutex<Option<(String, Instant, T)>>);

impl<T: Clone> Newest<T> {
    /// The result for `name`: that of the newest lookup if it is recent, otherwise that of `lookup`.
    /// An error is not kept.
    fn get<E>(&self, name: String, lookup: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let newest = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match newest {
            Some((of, at, result)) if of == name && at.elapsed() < LOOKUP_LIFETIME => Ok(result),
            _ => {
                let result = lookup()?;
                let newest = Some((name, Instant::now(), result.clone()));
                *self.0.lock().unwrap_or_else(PoisonError::into_inner) = newest;
                Ok(result)
            }
        }
    }
}

/// Has requests on connections to the proxy name their whole URL.
#[derive(Debug)]
pub struct ForwardConnector {
    pub proxies: Proxies,
}

impl<In: Transport> Connector<In> for ForwardConnector {
    type Out = Either<In, Forward<In>>;

    fn connect(
        &self,
        details: &ConnectionDetails,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        let Some(transport) = chained else { return Ok(None) };
        let url = details.uri.to_string().parse().ok();
        let proxy = url.and_then(|url| forwarding(&self.proxies, &url));
        let (Some(proxy), Some(authority)) = (proxy, details.uri.authority()) else {
            return Ok(Some(Either::A(transport)));
        };
        let authorization = proxy.url().authorization();
        let authorization = authorization.map(|value| format!("Proxy-Authorization: {value}\r\n"));
        Ok(Some(Either::B(Forward {
            transport,
            origin: format!("http://{authority}"),
            authorization: authorization.unwrap_or_default(),
        })))
    }
}

/// A connection to the proxy.
#[derive(Debug)]
pub struct Forward<T> {
    transport: T,
    /// The scheme and host of the server.
    origin: String,
    /// A header line for the proxy, or nothing.
    authorization: String,
}

impl<T: Transport> Transport for Forward<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.transport.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let output = self.transport.buffers().output();
        let Some(head) = absolute_form(&output[..amount], &self.origin, &self.authorization) else {
            return self.transport.transmit_output(amount, timeout);
        };
        let Some(place) = output.get_mut(..head.len()) else {
            return Err(Error::Io(io::Error::other("the request is too long for a proxy")));
        };
        place.copy_from_slice(&head);
        self.transport.transmit_output(head.len(), timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.transport.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.transport.is_open()
    }
}

/// The beginning of a request, with its whole URL and a header line for the proxy. `None` if this
/// is not a beginning: requests have no body here, so the rest is header lines.
fn absolute_form(output: &[u8], origin: &str, header: &str) -> Option<Vec<u8>> {
    let n_method = ["GET ", "HEAD "].iter().find(|m| output.starts_with(m.as_bytes()))?.len();
    let n_line = output.windows(2).position(|end| end == b"\r\n")? + 2;
    let (line, rest) = output.split_at(n_line);
    let (method, target) = line.split_at(n_method);
    Some([method, origin.as_bytes(), target, header.as_bytes(), rest].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_looked_up_again_after_a_while_and_after_another_name_or_an_error() {
        let newest = Newest(Mutex::new(None));
        assert_eq!(newest.get("a".into(), || Err::<u32, _>("no answer")), Err("no answer"));
        let mut n_lookups = 0;
        let mut get = |name: &str| {
            newest.get(name.into(), || {
                n_lookups += 1;
                Ok::<u32, ()>(n_lookups)
            })
        };
        let names = ["a", "a", "b", "a", "a"];
        assert_eq!(names.map(|name| get(name).expect("a lookup")), [1, 1, 2, 3, 3]);
        if let Some((_, at, _)) = newest.0.lock().expect("the lock").as_mut() {
            *at -= LOOKUP_LIFETIME;
        }
        assert_eq!(get("a"), Ok(4));
    }

    #[test]
    fn a_request_names_its_whole_url_and_later_lines_stay() {
        let request = b"GET /stream/?after=4 HTTP/1.1\r\nhost: a.example\r\n\r\n";
        let header = "Proxy-Authorization: Basic x\r\n";
        let head = absolute_form(request, "http://a.example:81", header).expect("a request");
        let expected = "GET http://a.example:81/stream/?after=4 HTTP/1.1\r\n\
                        Proxy-Authorization: Basic x\r\nhost: a.example\r\n\r\n";
        assert_eq!(String::from_utf8_lossy(&head), expected);
        assert_eq!(absolute_form(b"accept: */*\r\n", "http://a.example", ""), None);
    }
}
