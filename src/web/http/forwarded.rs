//! Which client and which scheme a trusted proxy names in its headers. Pure rules, without I/O.
//!
//! Most proxies set one of `X-Real-IP`, `X-Forwarded-For` and `Forwarded` by default, and pass on
//! the others as the client sent them. One header alone could therefore be the client's own claim.
//! So every one of them that is present must name the same client.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The default of `ip_header`.
pub const DEFAULT_HEADER: &str = "X-Real-IP";

/// The headers in which proxies name a client, in the order in which they are read.
pub const HEADERS: [&str; 3] = [DEFAULT_HEADER, "X-Forwarded-For", FORWARDED];
const FORWARDED: &str = "Forwarded";
const SCHEMES: [&str; 2] = ["http", "https"];

/// What the headers of a request say about its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim<'r> {
    /// They name this client, and no other.
    Client(IpAddr),
    /// No header names a client.
    Missing,
    /// A header names something that is not an address.
    Unreadable { header: &'r str, value: String },
    /// Two headers name different clients.
    Contradiction { first: (&'r str, IpAddr), other: (&'r str, IpAddr) },
}

/// What one header says.
enum Named {
    Nothing,
    /// Only trusted proxies. The address is the outermost of them.
    Proxy(IpAddr),
    Client(IpAddr),
    Unreadable(String),
}

/// Reads the headers that a request may name its client in.
///
/// A `header` that the operator has set in place of the default is the only one that counts. The
/// default must agree with `X-Forwarded-For` and `Forwarded`, as far as they are present. In each
/// list the client is the last address that is not a trusted proxy, because each proxy appends the
/// address of its own client. Everything before it is only a claim. If a header names nothing but
/// trusted proxies, the client is one of them, unless another header names an outer client.
/// `X-Real-IP` is no list, so a loopback address there is a client on the proxy's own machine, and
/// whatever that client claims in a list contradicts it.
pub fn client<'r, I>(
    header: &'r str,
    values: impl Fn(&str) -> I,
    is_trusted: impl Fn(IpAddr) -> bool,
) -> Claim<'r>
where
    I: DoubleEndedIterator<Item = &'r str>,
{
    let headers = match header {
        header if header.eq_ignore_ascii_case(DEFAULT_HEADER) => HEADERS.to_vec(),
        header => vec![header],
    };
    let (mut client, mut proxy) = (None, None);
    for header in headers {
        let lines = values(header).rev();
        let named = if header.eq_ignore_ascii_case(FORWARDED) {
            named_in_forwarded(lines, &is_trusted)
        } else if header.eq_ignore_ascii_case(DEFAULT_HEADER) {
            named_in_list(lines, |address| is_trusted(address) && !address.is_loopback())
        } else {
            named_in_list(lines, &is_trusted)
        };
        match (named, client) {
            (Named::Nothing, _) => {}
            (Named::Proxy(address), _) => proxy = proxy.or(Some(address)),
            (Named::Unreadable(value), _) => return Claim::Unreadable { header, value },
            (Named::Client(address), None) => client = Some((header, address)),
            (Named::Client(address), Some(first)) if first.1 == address => {}
            (Named::Client(address), Some(first)) => {
                return Claim::Contradiction { first, other: (header, address) };
            }
        }
    }
    match (client, proxy) {
        (Some((_, address)), _) | (None, Some(address)) => Claim::Client(address),
        (None, None) => Claim::Missing,
    }
}

/// The scheme by which the visitor reached the trusted proxy: the last value of `X-Forwarded-Proto`,
/// or `proto=` in the last element of `Forwarded`. `None` if neither header names one.
pub fn scheme<'r, I>(values: impl Fn(&str) -> I) -> Option<&'static str>
where
    I: DoubleEndedIterator<Item = &'r str>,
{
    let known = |name: &str| SCHEMES.into_iter().find(|scheme| scheme.eq_ignore_ascii_case(name));
    if let Some(line) = values("X-Forwarded-Proto").next_back() {
        return known(line.rsplit(',').next().unwrap_or(line).trim());
    }
    let line = values(FORWARDED).next_back()?;
    let element = split_outside_quotes(line, ',').pop()?;
    parameter(element, "proto").and_then(|name| known(&name))
}

/// Reads lists of addresses, given with the last line first.
fn named_in_list<'r>(
    lines: impl Iterator<Item = &'r str>,
    is_trusted: impl Fn(IpAddr) -> bool,
) -> Named {
    let mut outermost = Named::Nothing;
    for entry in lines.flat_map(|line| line.rsplit(',')).map(str::trim) {
        match address(entry) {
            Some(address) if is_trusted(address) => outermost = Named::Proxy(address),
            Some(address) => return Named::Client(address),
            None => return Named::Unreadable(entry.into()),
        }
    }
    outermost
}

/// Reads `Forwarded` headers (<https://www.rfc-editor.org/rfc/rfc7239>), given with the last one
/// first. An element without `for=` says nothing about a client, and ends the list: what stands
/// before it was sent by an unnamed peer.
fn named_in_forwarded<'r>(
    lines: impl Iterator<Item = &'r str>,
    is_trusted: impl Fn(IpAddr) -> bool,
) -> Named {
    let mut outermost = Named::Nothing;
    for line in lines {
        for element in split_outside_quotes(line, ',').into_iter().rev() {
            let Some(node) = parameter(element, "for") else { return outermost };
            match address(&node) {
                Some(address) if is_trusted(address) => outermost = Named::Proxy(address),
                Some(address) => return Named::Client(address),
                None => return Named::Unreadable(node),
            }
        }
    }
    outermost
}

/// The value of a parameter such as `for=` in one element of a `Forwarded` header, without quotes.
fn parameter(element: &str, wanted: &str) -> Option<String> {
    split_outside_quotes(element, ';').into_iter().find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        if !name.trim().eq_ignore_ascii_case(wanted) {
            return None;
        }
        let value = value.trim();
        let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        Some(quoted.map_or_else(|| value.to_owned(), |quoted| quoted.replace('\\', "")))
    })
}

/// Splits a text at a separator, except between double quotes. A quote that is never closed ends at
/// the end of the text.
fn split_outside_quotes(text: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut start, mut is_quoted, mut is_escaped) = (Vec::new(), 0, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            c if c == separator && !is_quoted => {
                parts.push(&text[start..at]);
                start = at + c.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// Reads an address, with or without brackets and port: `203.0.113.7:4711`, `[2001:db8::1]`.
fn address(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let in_brackets = || {
        let inner = text.strip_prefix('[')?.strip_suffix(']')?;
        inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
    };
    let address = text.parse().ok().or_else(with_port).or_else(in_brackets);
    address.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of a header. `headers` has a header in each line.
    fn values_in<'r>(headers: &'r str, wanted: &str) -> std::vec::IntoIter<&'r str> {
        let wanted = wanted.to_lowercase();
        let lines = headers.lines().filter_map(|line| line.split_once(':'));
        let values = lines.filter(|(name, _)| name.trim().to_lowercase() == wanted);
        values.map(|(_, value)| value.trim()).collect::<Vec<_>>().into_iter()
    }

    /// The claim of a request in words. Only `127.0.0.1`, `::1` and addresses that begin with `10.`
    /// are trusted.
    fn claim_in(header: &str, headers: &str) -> String {
        let values = |wanted: &str| values_in(headers, wanted);
        let is_trusted = |address: IpAddr| {
            address.is_loopback() || matches!(address, IpAddr::V4(v4) if v4.octets()[0] == 10)
        };
        match client(header, values, is_trusted) {
            Claim::Client(address) => address.to_string(),
            Claim::Missing => "missing".into(),
            Claim::Unreadable { header, value } => format!("unreadable {header} `{value}`"),
            Claim::Contradiction { first, other } => {
                format!("{} {} but {} {}", first.0, first.1, other.0, other.1)
            }
        }
    }

    #[track_caller]
    fn check(headers: &str, expected: &str) {
        assert_eq!(claim_in("X-Real-IP", headers), expected, "{headers}");
    }

    #[test]
    fn an_honest_client_is_named_by_whichever_header_its_proxy_sets() {
        check("", "missing");
        check("X-Real-IP: 203.0.113.7", "203.0.113.7");
        // Apache, Caddy, lighttpd, Varnish, and HAProxy with `option forwardfor`.
        check("X-Forwarded-For: 203.0.113.7", "203.0.113.7");
        // HAProxy 2.8 with `option forwarded`.
        check("Forwarded: proto=https;for=203.0.113.7", "203.0.113.7");
        // The delivered files of nginx, and the usual ones.
        check("X-Real-IP: 203.0.113.7\nX-Forwarded-For: 203.0.113.7", "203.0.113.7");
        check("X-Real-IP: 203.0.113.7\nX-Forwarded-For: 192.168.1.5, 203.0.113.7", "203.0.113.7");
        check("X-Real-IP: ::ffff:203.0.113.7\nX-Forwarded-For: 203.0.113.7", "203.0.113.7");
        check("x-real-ip: 2001:db8::1\nx-forwarded-for: 2001:DB8:0::1", "2001:db8::1");
    }

    #[test]
    fn a_claim_in_the_header_that_the_proxy_passes_on_is_never_believed() {
        // Apache, Caddy and others by default: only X-Forwarded-For is their own.
        let contradiction = "X-Real-IP 6.6.6.6 but X-Forwarded-For 203.0.113.7";
        check("X-Real-IP: 6.6.6.6\nX-Forwarded-For: 203.0.113.7", contradiction);
        check("X-Real-IP: 6.6.6.6\nX-Forwarded-For: 6.6.6.6, 203.0.113.7", contradiction);
        check(
            "X-Real-IP: 6.6.6.6\nX-Forwarded-For: 6.6.6.6\nX-Forwarded-For: 203.0.113.7",
            contradiction,
        );
        check(
            "X-Real-IP: 6.6.6.6\nX-Real-IP: 6.6.6.6\nX-Forwarded-For: 203.0.113.7",
            contradiction,
        );
        // nginx with nothing but `proxy_set_header X-Real-IP`.
        check(
            "X-Real-IP: 203.0.113.7\nX-Forwarded-For: 6.6.6.6",
            "X-Real-IP 203.0.113.7 but X-Forwarded-For 6.6.6.6",
        );
        // A proxy that sets only Forwarded.
        check(
            "X-Real-IP: 6.6.6.6\nForwarded: for=203.0.113.7",
            "X-Real-IP 6.6.6.6 but Forwarded 203.0.113.7",
        );
        check(
            "X-Real-IP: 6.6.6.6\nX-Forwarded-For: 6.6.6.6\nForwarded: for=6.6.6.6, for=203.0.113.7",
            "X-Real-IP 6.6.6.6 but Forwarded 203.0.113.7",
        );
        // A claim to be a proxy says nothing about the client.
        check("X-Real-IP: 10.0.0.1\nX-Forwarded-For: 203.0.113.7", "203.0.113.7");
        check("X-Real-IP: 10.0.0.1\nX-Forwarded-For: 10.0.0.1, 203.0.113.7", "203.0.113.7");
        check("X-Real-IP: 203.0.113.7\nX-Forwarded-For: 10.0.0.1", "203.0.113.7");
        check(
            "X-Real-IP: 127.0.0.1\nX-Forwarded-For: 203.0.113.7",
            "X-Real-IP 127.0.0.1 but X-Forwarded-For 203.0.113.7",
        );
        // A client on the proxy's own machine.
        check(
            "X-Real-IP: 127.0.0.1\nX-Forwarded-For: 6.6.6.6, 127.0.0.1",
            "X-Real-IP 127.0.0.1 but X-Forwarded-For 6.6.6.6",
        );
    }

    #[test]
    fn a_claim_before_the_entry_of_a_proxy_does_not_count() {
        for before in ["6.6.6.6", "10.0.0.1", "nonsense", "", ",,", "6.6.6.6, 10.0.0.1"] {
            check(&format!("X-Real-IP: {before}, 203.0.113.7"), "203.0.113.7");
            check(&format!("X-Real-IP: {before}\nX-Real-IP: 203.0.113.7"), "203.0.113.7");
            check(&format!("X-Forwarded-For: {before} , 203.0.113.7"), "203.0.113.7");
            check(
                &format!("X-Forwarded-For: {before}\nX-Forwarded-For: 203.0.113.7"),
                "203.0.113.7",
            );
        }
        for before in ["for=6.6.6.6", "for=unknown", "\"", "for=\"", "=", ""] {
            check(&format!("Forwarded: {before}\nForwarded: for=203.0.113.7"), "203.0.113.7");
        }
        check("Forwarded: for=6.6.6.6, for=203.0.113.7", "203.0.113.7");
    }

    #[test]
    fn the_entries_of_trusted_proxies_are_skipped() {
        check("X-Forwarded-For: 6.6.6.6, 203.0.113.7, 10.0.0.1", "203.0.113.7");
        check("X-Forwarded-For: 203.0.113.7, 10.0.0.2, 10.0.0.1, 127.0.0.1", "203.0.113.7");
        check("X-Real-IP: 10.0.0.1\nX-Forwarded-For: 203.0.113.7, 10.0.0.1", "203.0.113.7");
        check("Forwarded: for=203.0.113.7, for=10.0.0.1", "203.0.113.7");
        // A client on the machine of a trusted proxy.
        check("X-Real-IP: 127.0.0.1\nX-Forwarded-For: 127.0.0.1", "127.0.0.1");
        check("X-Forwarded-For: 10.0.0.7, 10.0.0.1", "10.0.0.7");
    }

    #[test]
    fn what_is_not_an_address_is_reported_and_nothing_else_is_believed() {
        for value in ["nonsense", "unknown", "", "203.0.113.7,", "203.0.113.7, unknown", "1.2.3"] {
            let entry = value.rsplit(',').next().unwrap_or_default().trim();
            for header in ["X-Real-IP", "X-Forwarded-For"] {
                let expected = format!("unreadable {header} `{entry}`");
                check(&format!("{header}: {value}"), &expected);
                check(&format!("{header}: {value}\nForwarded: for=6.6.6.6"), &expected);
            }
        }
        check("X-Real-IP: 6.6.6.6\nX-Forwarded-For: x", "unreadable X-Forwarded-For `x`");
        check("X-Forwarded-For: 6.6.6.6, x, 10.0.0.1", "unreadable X-Forwarded-For `x`");
        for node in ["unknown", "_hidden", "\"\"", ""] {
            let plain = node.trim_matches('"');
            check(&format!("Forwarded: for={node}"), &format!("unreadable Forwarded `{plain}`"));
        }
    }

    #[test]
    fn a_port_and_brackets_are_removed() {
        for (text, expected) in [
            ("203.0.113.7:4711", "203.0.113.7"),
            ("203.0.113.7:0", "203.0.113.7"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("[::ffff:203.0.113.7]:4711", "203.0.113.7"),
        ] {
            check(&format!("X-Real-IP: {text}"), expected);
            check(&format!("X-Real-IP: {text}\nX-Forwarded-For: x, {expected}"), expected);
            check(&format!("X-Forwarded-For: 6.6.6.6, {text}, [::1]:1, 10.0.0.1:2"), expected);
            check(&format!("Forwarded: for=6.6.6.6, for=\"{text}\";proto=http"), expected);
        }
        for text in [
            "203.0.113.7:",
            "203.0.113.7:70000",
            "203.0.113.7:http",
            "203.0.113.7:1:2",
            "[203.0.113.7]",
            "[2001:db8::1",
            "2001:db8::1]",
            "[2001:db8::1]:",
            "[[2001:db8::1]]",
            "[]",
            ":80",
            "unix:",
        ] {
            check(&format!("X-Real-IP: {text}"), &format!("unreadable X-Real-IP `{text}`"));
        }
    }

    #[test]
    fn forwarded_is_read_with_its_own_syntax() {
        for element in [
            "for=203.0.113.7",
            "For=\"203.0.113.7\"",
            "by=10.0.0.1 ; FOR=203.0.113.7;host=\"a,b;for=6.6.6.6\"",
            "proto=https;for=\"203.0.113\\.7\"",
            "host=\"\\\",for=6.6.6.6\";for=203.0.113.7",
        ] {
            check(&format!("Forwarded: {element}"), "203.0.113.7");
            check(&format!("Forwarded: for=6.6.6.6, {element}"), "203.0.113.7");
        }
        // The last proxy does not name its client, so the first element is only a claim.
        check("Forwarded: for=6.6.6.6, proto=https", "missing");
        check("Forwarded: for=6.6.6.6;\nForwarded: by=_x", "missing");
        check("X-Real-IP: 203.0.113.7\nForwarded: for=6.6.6.6, proto=https", "203.0.113.7");
        // A client that opens a quote hides only its own header.
        check("Forwarded: for=\"6.6.6.6\nForwarded: for=203.0.113.7", "203.0.113.7");
        check("Forwarded: for=\", for=203.0.113.7", "unreadable Forwarded `\", for=203.0.113.7`");
    }

    #[test]
    fn the_scheme_is_the_one_that_the_last_proxy_names() {
        for (headers, expected) in [
            ("", None),
            ("X-Forwarded-Proto: https", Some("https")),
            ("x-forwarded-proto: HTTP", Some("http")),
            ("X-Forwarded-Proto: http, https", Some("https")),
            ("X-Forwarded-Proto: http\nX-Forwarded-Proto: https", Some("https")),
            ("X-Forwarded-Proto: gopher", None),
            ("X-Forwarded-Proto: \nForwarded: proto=https", None),
            ("X-Forwarded-Proto: http\nForwarded: proto=https", Some("http")),
            ("Forwarded: for=203.0.113.7;proto=\"https\"", Some("https")),
            ("Forwarded: proto=https, for=203.0.113.7", None),
            ("Forwarded: proto=http, proto=https", Some("https")),
        ] {
            assert_eq!(scheme(|name| values_in(headers, name)), expected, "{headers}");
        }
    }

    #[test]
    fn a_header_that_the_operator_names_counts_alone() {
        let all = "X-Real-IP: 6.6.6.6\nX-Forwarded-For: 198.51.100.1, 198.51.100.2, 10.0.0.1\n\
                   Forwarded: for=198.51.100.3\nCF-Connecting-IP: 198.51.100.4";
        let table = [
            ("X-Forwarded-For", "198.51.100.2"),
            ("x-forwarded-for", "198.51.100.2"),
            ("Forwarded", "198.51.100.3"),
            ("CF-Connecting-IP", "198.51.100.4"),
            ("True-Client-IP", "missing"),
        ];
        for (header, expected) in table {
            assert_eq!(claim_in(header, all), expected, "{header}");
        }
        // The default in any case.
        assert!(claim_in("x-real-ip", all).contains("but"), "{}", claim_in("x-real-ip", all));
    }
}
