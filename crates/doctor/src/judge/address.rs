//! Whether the server knows each client's own address, and believes no other.

use std::net::IpAddr;

use crate::front::Front;
use crate::judge::{Finding, fault, fine, note, unknown};
use crate::response::Head;
use crate::rollcast::reported_address;
use crate::visit::{ADDRESS_HEADERS, FORGED_ADDRESS, LIST_HEADERS, Observations};

const X_REAL_IP: &str = "nginx: `proxy_set_header X-Real-IP $remote_addr;` in the stream's location \
                         (one `proxy_set_header` there replaces those of the levels above)";
const REAL_IP: &str = "nginx: `proxy_set_header X-Real-IP $remote_addr;`, and `set_real_ip_from` \
                       only for proxies of your own";
const LISTS: &str = "nginx: `proxy_set_header X-Forwarded-For $remote_addr;` and \
                     `proxy_set_header Forwarded \"\";`";
const TRUSTED_PROXIES: &str = "rollcast: the proxy's address, or its network such as \
                               `10.0.0.0/8`, in `trusted_proxies` in Rocket.toml";

/// What became of a claim to have another address.
#[derive(PartialEq, Eq)]
enum Claim {
    /// The server takes the client for [`FORGED_ADDRESS`].
    Believed,
    /// The server no longer knows who the client is.
    Confusing,
    Ignored,
    /// The request got no answer.
    Unanswered,
}

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
    let is_direct = matches!(seen.front, Front::Rollcast | Front::Door);
    if local.is_loopback() && seen.proxy.is_none() && is_direct {
        return unknown(NAME, "rollcast itself answered, no proxy; use the public address");
    }
    let claim = claim(seen.forged_head.as_ref());
    let list_claim = claim_in_list(seen);
    if [&claim, &list_claim].contains(&&Claim::Believed) {
        let saw = format!("a client that claims another address ({FORGED_ADDRESS}) is believed");
        return match reported {
            Some(_) => fault(NAME, saw, REAL_IP),
            None => fault(NAME, format!("{saw}, and yours is not forwarded"), X_REAL_IP),
        };
    }
    let Some(reported) = reported else {
        let saw = "the server does not know the client's address: the proxy does not forward it, \
                   or not in one way (rollcast's log says how)";
        return fault(NAME, saw, X_REAL_IP);
    };
    if claim == Claim::Confusing {
        let saw = "the proxy passes on a client's own X-Real-IP, which contradicts the address \
                   that the proxy forwards; all such clients share the limit of one";
        return fault(NAME, saw, X_REAL_IP);
    }
    if seen.proxy.is_none() && reported != local && (reported.is_loopback() || local.is_loopback())
    {
        let saw = format!(
            "the server takes all clients for the proxy, {reported}, and they share its limit"
        );
        return fault(NAME, saw, TRUSTED_PROXIES);
    }
    if seen.proxy.is_none() && reported != local && is_private(reported) {
        let saw = format!(
            "the server sees {reported}, a private address, and this machine has {local}: "
        );
        let remote = seen.connection.remote.to_canonical();
        return if is_private(local) && is_private(remote) {
            let saw = saw + "right only if a router between them translates addresses";
            note(NAME, saw, TRUSTED_PROXIES)
        } else {
            let saw = saw + "the server takes all clients for the proxy, and they share its limit";
            fault(NAME, saw, TRUSTED_PROXIES)
        };
    }
    if list_claim == Claim::Confusing {
        let saw = "the proxy passes on a client's own X-Forwarded-For or Forwarded, which \
                   contradicts the address that the proxy forwards; all such clients share the \
                   limit of one";
        return note(NAME, saw, LISTS);
    }
    let forgeries = match claim {
        Claim::Unanswered => "the request with a forged address got no answer".into(),
        _ => format!("forged ones are ignored in {}", claimed_headers()),
    };
    if seen.proxy.is_some() {
        let saw = format!(
            "the server sees {reported}: right if that is your proxy's public address; {forgeries}"
        );
        return fine(NAME, saw);
    }
    if reported == local {
        return fine(NAME, format!("you are {reported}; {forgeries}"));
    }
    let saw = format!(
        "the server sees {reported}, this machine has {local}: right if {reported} is your \
         network's public address; {forgeries}"
    );
    fine(NAME, saw)
}

/// What became of a claim, by the head of its response.
fn claim(head: Option<&Head>) -> Claim {
    match head.map(reported_address) {
        None => Claim::Unanswered,
        Some(None | Some(None)) => Claim::Confusing,
        Some(Some(Some(address))) if address.to_string() == FORGED_ADDRESS => Claim::Believed,
        Some(Some(Some(_))) => Claim::Ignored,
    }
}

/// The same in a list. From the machine itself, a list that contradicts X-Real-IP is in order: the
/// client could be another proxy there, which may name its own client.
fn claim_in_list(seen: &Observations) -> Claim {
    match claim(seen.forged_list_head.as_ref()) {
        Claim::Confusing if seen.connection.local.to_canonical().is_loopback() => Claim::Ignored,
        claim => claim,
    }
}

/// Whether an address is of a network of its own, such as a home, a jail or a container
/// (<https://www.iana.org/assignments/iana-ipv4-special-registry>).
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [first, second, ..] = address.octets();
            // The addresses that providers share out behind one public address.
            let is_shared = first == 100 && (64..128).contains(&second);
            address.is_private() || address.is_link_local() || is_shared
        }
        IpAddr::V6(address) => address.is_unique_local() || address.is_unicast_link_local(),
    }
}

fn claimed_headers() -> String {
    let [first, last] = LIST_HEADERS;
    format!("{}, {first} or {last}", ADDRESS_HEADERS.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::Verdict::{Fault, Fine, Note, Unknown};
    use crate::judge::samples::{expect, foreign, rollcast, stream_head, watch};
    use crate::watch::End;

    #[test]
    fn an_address_must_be_forwarded_and_must_not_be_forgeable() {
        let (own, proxy) = ("203.0.113.7", "127.0.0.1");
        let table = [
            // The address here, the one reported, and the ones reported to a client that forges.
            (own, own, own, own, Fine, "you are 203.0.113.7"),
            ("::ffff:203.0.113.7", own, own, own, Fine, "you are 203.0.113.7"),
            ("10.0.0.5", own, own, own, Fine, "your network's public address"),
            (own, "unknown", "unknown", "unknown", Fault, "does not know"),
            (own, "unknown", FORGED_ADDRESS, own, Fault, "and yours is not forwarded"),
            (own, "unknown", "unknown", FORGED_ADDRESS, Fault, "and yours is not forwarded"),
            (own, own, FORGED_ADDRESS, own, Fault, "`set_real_ip_from`"),
            (own, own, own, FORGED_ADDRESS, Fault, "`set_real_ip_from`"),
            (own, own, "unknown", own, Fault, "X-Real-IP, which contradicts"),
            (own, own, own, "unknown", Note, "`proxy_set_header Forwarded \"\";`"),
            (proxy, proxy, proxy, "unknown", Fine, "you are 127.0.0.1"),
            (proxy, proxy, "unknown", proxy, Fault, "X-Real-IP, which contradicts"),
            (own, proxy, proxy, proxy, Fault, "`trusted_proxies`"),
            (proxy, "127.0.0.9", "127.0.0.9", "127.0.0.9", Fault, "`trusted_proxies`"),
            (proxy, proxy, proxy, proxy, Fine, "you are 127.0.0.1"),
            (own, own, own, own, Fine, "in X-Real-IP, X-Client-IP, CF-Connecting-IP,"),
            (own, own, own, own, Fine, "True-Client-IP, X-Forwarded-For or Forwarded"),
        ];
        for (here, plain, forged, forged_list, verdict, text) in table {
            let mut seen = rollcast();
            seen.connection.local = here.parse().expect("an address");
            let head = |address| Some(stream_head(&[("rollcast-client", address)]));
            seen.plain_head = head(plain);
            (seen.forged_head, seen.forged_list_head) = (head(forged), head(forged_list));
            let case = format!("{here} {plain} {forged} {forged_list}");
            expect(&case, &address(&seen), verdict, text);
        }
        let mut unknown = rollcast();
        unknown.forged_head = None;
        expect("no second answer", &address(&unknown), Fine, "got no answer");
        let foreign = foreign(watch(vec![], End::Open, 1_000));
        expect("foreign", &address(&foreign), Unknown, "does not report");
    }

    #[test]
    fn a_private_address_is_a_fault_where_a_public_one_is_expected() {
        let (public, other) = ("203.0.113.1", "203.0.113.80");
        let table = [
            // The address here, the one of the site, and the one reported.
            (public, other, "10.9.0.1", Fault, "`trusted_proxies`"),
            (public, other, "172.16.0.1", Fault, "`trusted_proxies`"),
            (public, other, "172.32.0.1", Fine, "public address"),
            (public, other, "192.168.1.1", Fault, "`10.0.0.0/8`"),
            (public, other, "100.64.0.1", Fault, "`trusted_proxies`"),
            (public, other, "100.128.0.1", Fine, "public address"),
            (public, other, "169.254.1.1", Fault, "`trusted_proxies`"),
            (public, other, "198.51.100.2", Fine, "public address"),
            ("2001:db8::7", "2001:db8::80", "fd00::1", Fault, "`trusted_proxies`"),
            ("2001:db8::7", "2001:db8::80", "fe80::1", Fault, "`trusted_proxies`"),
            // At home behind a router, and the site is on the internet.
            ("192.168.1.5", other, "10.9.0.1", Fault, "`trusted_proxies`"),
            ("192.168.1.5", other, "203.0.113.1", Fine, "public address"),
            // All in private networks.
            ("192.168.1.5", "192.168.1.2", "10.9.0.1", Note, "only if a router"),
            ("192.168.1.5", "192.168.1.2", "192.168.1.5", Fine, "you are 192.168.1.5"),
        ];
        for (here, site, reported, verdict, text) in table {
            let mut seen = rollcast();
            seen.connection.local = here.parse().expect("an address");
            seen.connection.remote = site.parse().expect("an address");
            let head = Some(stream_head(&[("rollcast-client", reported)]));
            seen.plain_head = head.clone();
            (seen.forged_head, seen.forged_list_head) = (head.clone(), head);
            expect(&format!("{here} {site} {reported}"), &address(&seen), verdict, text);
        }
    }

    #[test]
    fn only_rollcast_itself_is_believed_to_be_without_a_proxy() {
        let mut direct = rollcast();
        let unknown = Some(stream_head(&[("rollcast-client", "unknown"), ("server", "rollcast")]));
        let forged = Some(stream_head(&[("rollcast-client", FORGED_ADDRESS)]));
        (direct.plain_head, direct.forged_head) = (unknown, forged);
        direct.connection.local = "127.0.0.1".parse().expect("an address");
        direct.front = Front::Rollcast;
        expect("direct", &address(&direct), Unknown, "no proxy");
        direct.front = Front::Haproxy;
        expect("a proxy that keeps the name", &address(&direct), Fault, "is believed");
        direct.front = Front::Rollcast;
        direct.connection.local = "203.0.113.7".parse().expect("an address");
        expect("from elsewhere", &address(&direct), Fault, "is believed");
    }
}
