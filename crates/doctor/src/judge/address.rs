//! Whether the server knows each client's own address, and believes no other.

use crate::judge::{Finding, fault, fine, unknown};
use crate::rollcast::{SERVER, reported_address};
use crate::visit::{ADDRESS_HEADERS, FORGED_ADDRESS, Observations};

const X_REAL_IP: &str = "nginx: `proxy_set_header X-Real-IP $remote_addr;` in the stream's location \
                         (one `proxy_set_header` there replaces those of the levels above)";
const REAL_IP: &str = "nginx: `proxy_set_header X-Real-IP $remote_addr;`, and `set_real_ip_from` \
                       only for proxies of your own";
const TRUSTED_PROXIES: &str = "rollcast: the proxy's address in `trusted_proxies` in Rocket.toml";

/// Whether the server knows the client's address, and believes no forged one.
pub fn address(seen: &Observations) -> Finding {
    const NAME: &str = "address";
    let Some(plain) = &seen.plain_head else {
        return unknown(NAME, "the server does not answer `HEAD`");
    };
    let Some(reported) = reported_address(plain) else {
        return unknown(NAME, "the server does not report the client's address");
    };
    let local = seen.connection.local.to_canonical();
    // rollcast rightly believes a client on its own machine, which could be its proxy.
    if local.is_loopback()
        && seen.proxy.is_none()
        && plain.header("server").as_deref() == Some(SERVER)
    {
        return unknown(NAME, "rollcast itself answered, no proxy; use the public address");
    }
    let forged = seen.forged_head.as_ref().and_then(reported_address).flatten();
    if forged.is_some_and(|address| address.to_string() == FORGED_ADDRESS) {
        let saw = format!("a client that claims another address ({FORGED_ADDRESS}) is believed");
        return match reported {
            Some(_) => fault(NAME, saw, REAL_IP),
            None => fault(NAME, format!("{saw}, and yours is not forwarded"), X_REAL_IP),
        };
    }
    match reported {
        None => fault(NAME, "the client's address is not forwarded", X_REAL_IP),
        Some(reported) if seen.proxy.is_some() => fine(
            NAME,
            format!(
                "the server sees {reported}: right if that is your proxy's public address; {}",
                forgeries(seen)
            ),
        ),
        Some(reported) if reported == local => {
            fine(NAME, format!("you are {reported}; {}", forgeries(seen)))
        }
        Some(reported) if reported.is_loopback() || local.is_loopback() => {
            let saw = format!(
                "the server takes all clients for the proxy, {reported}, and they share its limit"
            );
            fault(NAME, saw, TRUSTED_PROXIES)
        }
        Some(reported) => fine(
            NAME,
            format!(
                "the server sees {reported}, this machine has {local}: right if {reported} is \
                 your network's public address; {}",
                forgeries(seen)
            ),
        ),
    }
}

/// The headers in which a forged address was ignored.
fn forgeries(seen: &Observations) -> String {
    match seen.forged_head {
        Some(_) => {
            format!("forged ones are ignored in {} or Forwarded", ADDRESS_HEADERS.join(", "))
        }
        None => "the request with a forged address got no answer".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::Verdict::{Fault, Fine, Unknown};
    use crate::judge::samples::{expect, foreign, rollcast, stream_head, watch};
    use crate::watch::End;

    #[test]
    fn an_address_must_be_forwarded_and_must_not_be_forgeable() {
        let (own, proxy) = ("203.0.113.7", "127.0.0.1");
        let table = [
            // The address here, the one reported, and the one reported to a client that forges.
            (own, own, own, Fine, "you are 203.0.113.7"),
            ("::ffff:203.0.113.7", own, own, Fine, "you are 203.0.113.7"),
            ("10.0.0.5", own, own, Fine, "your network's public address"),
            (own, "unknown", "unknown", Fault, "not forwarded"),
            (own, "unknown", FORGED_ADDRESS, Fault, "and yours is not forwarded"),
            (own, own, FORGED_ADDRESS, Fault, "`set_real_ip_from`"),
            (own, proxy, proxy, Fault, "`trusted_proxies`"),
            (proxy, "127.0.0.9", "127.0.0.9", Fault, "`trusted_proxies`"),
            (proxy, proxy, proxy, Fine, "you are 127.0.0.1"),
            (own, own, own, Fine, "in X-Real-IP, X-Forwarded-For, X-Client-IP, CF-Connecting-IP,"),
            (own, own, own, Fine, "True-Client-IP or Forwarded"),
        ];
        for (here, plain, forged, verdict, text) in table {
            let mut seen = rollcast();
            seen.connection.local = here.parse().expect("an address");
            seen.plain_head = Some(stream_head(&[("rollcast-client", plain)]));
            seen.forged_head = Some(stream_head(&[("rollcast-client", forged)]));
            expect(&format!("{here} {plain} {forged}"), &address(&seen), verdict, text);
        }
        let mut unknown = rollcast();
        unknown.forged_head = None;
        expect("no second answer", &address(&unknown), Fine, "got no answer");
        let mut direct = rollcast();
        let unknown = stream_head(&[("rollcast-client", "unknown"), ("server", "rollcast")]);
        (direct.plain_head, direct.forged_head) = (Some(unknown.clone()), Some(unknown));
        expect("one that keeps the name", &address(&direct), Fault, "not forwarded");
        direct.connection.local = "127.0.0.1".parse().expect("an address");
        expect("direct", &address(&direct), Unknown, "no proxy");
        let foreign = foreign(watch(vec![], End::Open, 1_000));
        expect("foreign", &address(&foreign), Unknown, "does not report");
    }
}
