//! Absolute `http` and `https` URLs.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::percent_decode_str;
use url::{Origin, Url};

/// An absolute `http` or `https` URL without a fragment. Reads, resolves and prints as browsers
/// do, but never prints a password.
///
/// ```
/// use event_stream::http_url::HttpUrl;
///
/// let page: HttpUrl = "https://me:secret@dice.example.org/live#top".parse()?;
/// assert_eq!(page.to_string(), "https://me:***@dice.example.org/live");
/// let stream = page.join("stream/?after=40")?;
/// assert_eq!(stream.to_string(), "https://me:***@dice.example.org/stream/?after=40");
/// # Ok::<(), event_stream::http_url::UrlError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct HttpUrl(Url);

/// A text that is no absolute `http` or `https` URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a URL such as `https://dice.example.org/`, got `{0}`")]
pub struct UrlError(String);

/// How many characters of a text an error quotes.
const MAX_QUOTED: usize = 80;

impl HttpUrl {
    /// Whether the scheme is `https`.
    pub fn is_tls(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// The host: a name in ASCII, or an address, IPv6 without its brackets.
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
    }

    /// The port, also where it is the scheme's own.
    pub fn port(&self) -> u16 {
        self.0.port_or_known_default().expect("http and https have a port of their own")
    }

    /// The path, which begins with a slash.
    pub fn path(&self) -> &str {
        self.0.path()
    }

    /// Scheme, host and port: pages of one origin may read each other.
    pub fn origin(&self) -> Origin {
        self.0.origin()
    }

    /// Where a link to `reference` on this page leads.
    ///
    /// # Errors
    ///
    /// The link leads to no `http` or `https` URL.
    pub fn join(&self, reference: &str) -> Result<HttpUrl, UrlError> {
        let url = self.0.join(reference).map_err(|_| UrlError::new(reference))?;
        HttpUrl::new(url).ok_or_else(|| UrlError::new(reference))
    }

    /// The URL without user name and password, as a request names it.
    pub(crate) fn without_credentials(&self) -> String {
        let mut url = self.0.clone();
        let _ = (url.set_username(""), url.set_password(None));
        url.into()
    }

    /// The URL with user name and password.
    pub(crate) fn with_credentials(&self) -> &str {
        self.0.as_str()
    }

    /// Takes over the user name and password of a URL that a redirect came from, for the same host
    /// and not from TLS to plain HTTP.
    pub(crate) fn keep_credentials(&mut self, from: &HttpUrl) {
        let is_as_safe = self.is_tls() || !from.is_tls();
        if self.0.username().is_empty() && self.host() == from.host() && is_as_safe {
            let _ = self.0.set_username(from.0.username());
            let _ = self.0.set_password(from.0.password());
        }
    }

    /// The value of an `Authorization` header for the user name and password, if there are any.
    /// <https://www.rfc-editor.org/rfc/rfc7617>
    pub fn authorization(&self) -> Option<String> {
        let (name, password) = (self.0.username(), self.0.password());
        if name.is_empty() && password.is_none() {
            return None;
        }
        let mut credentials: Vec<u8> = percent_decode_str(name).collect();
        credentials.push(b':');
        credentials.extend(percent_decode_str(password.unwrap_or_default()));
        Some(format!("Basic {}", BASE64_STANDARD.encode(credentials)))
    }

    fn new(mut url: Url) -> Option<HttpUrl> {
        url.set_fragment(None);
        matches!(url.scheme(), "http" | "https").then_some(HttpUrl(url))
    }
}

impl FromStr for HttpUrl {
    type Err = UrlError;

    /// Unlike a browser, insists on the two slashes and a host right after them.
    fn from_str(text: &str) -> Result<HttpUrl, UrlError> {
        let has_host = text.split_once("://").is_some_and(|(_, rest)| !rest.starts_with('/'));
        let url = Url::parse(text).ok().filter(|_| has_host);
        url.and_then(HttpUrl::new).ok_or_else(|| UrlError::new(text))
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut url = self.0.clone();
        if url.password().is_some() {
            let _ = url.set_password(Some("***"));
        }
        url.fmt(f)
    }
}

impl fmt::Debug for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpUrl({self})")
    }
}

impl UrlError {
    /// Quotes the beginning of a text on one line, without a possible password.
    fn new(text: &str) -> UrlError {
        let text = without_password(text);
        let mut quoted: String = text.chars().take(MAX_QUOTED).collect();
        if quoted.len() < text.len() {
            quoted.push('…');
        }
        UrlError(quoted.escape_debug().to_string())
    }
}

/// A text that may be a URL, without a possible user name and password.
///
/// ```
/// use event_stream::http_url::without_password;
///
/// assert_eq!(without_password("htps://me:secret@a.example/"), "htps://***@a.example/");
/// assert_eq!(without_password("me:secret@a.example"), "***@a.example");
/// assert_eq!(without_password("https://a.example/"), "https://a.example/");
/// ```
pub fn without_password(text: &str) -> String {
    let authority = text.find("//").map_or(0, |at| at + 2);
    match text.rfind('@') {
        Some(at) if at >= authority => format!("{}***{}", &text[..authority], &text[at..]),
        _ => text.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> HttpUrl {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn a_link_leads_where_a_browser_goes() {
        let table = [
            ("/stream/", "https://a.example:8443/stream/"),
            ("stream/", "https://a.example:8443/dice/stream/"),
            ("./stream", "https://a.example:8443/dice/stream"),
            ("../stream?x=../y", "https://a.example:8443/stream?x=../y"),
            ("../../..", "https://a.example:8443/"),
            ("?after=4", "https://a.example:8443/dice/live?after=4"),
            ("//b.example/s", "https://b.example/s"),
            ("http://b.example/s#top", "http://b.example/s"),
            ("", "https://a.example:8443/dice/live?x=1"),
            ("a b/ü", "https://a.example:8443/dice/a%20b/%C3%BC"),
        ];
        let page = url("https://a.example:8443/dice/live?x=1#top");
        for (reference, expected) in table {
            let joined = page.join(reference).map(|url| url.to_string());
            assert_eq!(joined.as_deref(), Ok(expected), "{reference}");
        }
        for reference in ["mailto:a@b.example", "javascript:x", "ftp://b.example/"] {
            assert!(page.join(reference).is_err(), "{reference}");
        }
    }

    #[test]
    fn only_an_absolute_http_or_https_url_with_a_host_is_accepted() {
        let ipv6 = url("http://[::1]");
        assert_eq!((ipv6.host(), ipv6.port(), ipv6.is_tls()), ("::1", 80, false));
        assert_eq!(url("https://A.example").origin(), url("https://a.example:443/x").origin());
        assert_eq!(url("https://würfel.example/").host(), "xn--wrfel-kva.example");
        for text in ["", "dice.example.org", "/stream/", "ftp://a.example/", "http://", "http:///x"]
        {
            assert!(text.parse::<HttpUrl>().is_err(), "`{text}` was accepted");
        }
    }

    #[test]
    fn a_password_is_sent_decoded_and_never_printed() {
        let with_password = url("https://m%40e:s%3A%C3%BC@a.example/x");
        let authorization = format!("Basic {}", BASE64_STANDARD.encode("m@e:s:ü"));
        assert_eq!(with_password.authorization(), Some(authorization));
        assert_eq!(with_password.without_credentials(), "https://a.example/x");
        for printed in [with_password.to_string(), format!("{with_password:?}")] {
            assert!(printed.contains("https://m%40e:***@a.example/x"), "{printed}");
        }
        assert_eq!(url("https://a.example/").authorization(), None);
        let error = "htps://me:secret@a.example/".parse::<HttpUrl>().expect_err("a scheme");
        assert!(error.to_string().ends_with("got `htps://***@a.example/`"), "{error}");
    }

    #[test]
    fn an_error_quotes_a_bounded_text_on_one_line() {
        let text = format!("ftp://\x1b[2J\n{}", "x".repeat(1_000));
        let error = text.parse::<HttpUrl>().expect_err("a scheme").to_string();
        assert!(error.chars().count() < 200 && !error.contains(char::is_control), "{error}");
    }
}
