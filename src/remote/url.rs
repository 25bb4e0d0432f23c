//! Addresses: `http` and `https`, taken apart and put together as far as a visit needs it.
//!
//! Source: <https://www.rfc-editor.org/rfc/rfc3986#section-5.2>.

use std::fmt;
use std::str::FromStr;

use ureq::http::Uri;

use crate::text::ValueError;

/// An absolute address without a fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url(Uri);

impl Url {
    /// Whether it is `https`.
    pub fn is_tls(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }

    /// The host; an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        self.0.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
    }

    /// The port, also where it is the scheme's own.
    pub fn port(&self) -> u16 {
        self.0.port_u16().unwrap_or(if self.is_tls() { 443 } else { 80 })
    }

    /// Scheme, host and port: what a browser holds apart.
    pub fn origin(&self) -> (bool, String, u16) {
        (self.is_tls(), self.host().to_lowercase(), self.port())
    }

    /// Where a link to `reference` on this page leads.
    pub fn join(&self, reference: &str) -> Result<Url, ValueError> {
        let reference = reference.split('#').next().unwrap_or_default();
        let scheme = self.0.scheme_str().unwrap_or_default();
        let authority = self.0.authority().map_or("", |authority| authority.as_str());
        let path = self.0.path();
        let text = match reference {
            _ if has_scheme(reference) => return reference.parse(),
            "" => self.to_string(),
            _ if reference.starts_with("//") => format!("{scheme}:{reference}"),
            _ if reference.starts_with('/') => format!("{scheme}://{authority}{reference}"),
            _ if reference.starts_with('?') => format!("{scheme}://{authority}{path}{reference}"),
            _ => {
                let folder = &path[..path.rfind('/').map_or(0, |at| at + 1)];
                let (rest, query) = match reference.split_once('?') {
                    Some((rest, query)) => (rest, format!("?{query}")),
                    None => (reference, String::new()),
                };
                format!("{scheme}://{authority}{}{query}", without_dots(&format!("{folder}{rest}")))
            }
        };
        text.parse()
    }
}

/// Whether a reference is absolute, such as `https://…` and `mailto:…`.
fn has_scheme(reference: &str) -> bool {
    reference.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    })
}

fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let parts = path.split('/').skip(1);
    for part in parts.clone() {
        match part {
            "." => {}
            ".." => drop(kept.pop()),
            part => kept.push(part),
        }
    }
    if matches!(parts.last(), Some("." | "..")) {
        kept.push("");
    }
    format!("/{}", kept.join("/"))
}

impl FromStr for Url {
    type Err = ValueError;

    /// Reads an absolute `http` or `https` address.
    fn from_str(text: &str) -> Result<Url, ValueError> {
        let expected = "an address such as `https://dice.example.org/`";
        let without_fragment = text.split('#').next().unwrap_or_default();
        let uri = without_fragment.parse::<Uri>().ok();
        uri.filter(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some())
            .map(Url)
            .ok_or_else(|| ValueError::new(expected, text))
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        ];
        let page: Url = "https://a.example:8443/dice/live?x=1#top".parse().expect("an address");
        for (reference, expected) in table {
            let seen = page.join(reference).map(|url| url.to_string());
            assert_eq!(seen.as_deref(), Ok(expected), "{reference}");
        }
        for reference in ["mailto:a@b.example", "javascript:x", "ftp://b.example/"] {
            assert!(page.join(reference).is_err(), "{reference}");
        }
    }

    #[test]
    fn an_address_is_absolute_and_of_the_web() {
        let url: Url = "http://[::1]".parse().expect("an address");
        assert_eq!((url.host(), url.port(), url.is_tls()), ("::1", 80, false));
        assert_eq!("https://A.example".parse::<Url>().expect("one").origin().1, "a.example");
        for text in ["", "dice.example.org", "/stream/", "ftp://a.example/", "http://", "http:///x"]
        {
            assert!(text.parse::<Url>().is_err(), "`{text}` was taken for an address");
        }
    }
}
