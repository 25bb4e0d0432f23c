//! TLS, and how many streams a browser opens at once.

use rustls::CertificateError;

use crate::connection::Tls;
use crate::judge::{Finding, fault, fine, note, unknown};
use crate::visit::Observations;

const HTTP2: &str =
    "nginx: `http2 on;` beside `listen 443 ssl;` (before 1.25.1: `listen 443 ssl http2;`)";

/// Through which proxy of this network the visit went; `None` without one.
pub fn proxy(seen: &Observations) -> Option<Finding> {
    let saw = format!("the requests go through {}, which may change them", seen.proxy.as_ref()?);
    let change = "to see what the server sends, add its host to NO_PROXY";
    Some(note("proxy", saw, change))
}

/// Whether a browser accepts the certificate; `None` for plain HTTP.
pub fn tls(seen: &Observations) -> Option<Finding> {
    const NAME: &str = "tls";
    Some(match seen.connection.tls.as_ref()? {
        Tls::Trusted { expires_soon: false, .. } => fine(NAME, "the certificate is valid"),
        Tls::Trusted { expires_soon: true, .. } => note(
            NAME,
            "the certificate expires within 14 days",
            "renew it; nginx: `ssl_certificate`, then reload",
        ),
        Tls::Refused(why) => {
            let saw = format!("browsers refuse the certificate: {why}");
            let change = match why {
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    "renew the certificate; nginx: `ssl_certificate`, then reload"
                }
                CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. } => {
                    "nginx: `ssl_certificate` with this name, in the server with this \
                     `server_name`"
                }
                CertificateError::UnknownIssuer => {
                    "nginx: `ssl_certificate` with the whole chain (fullchain.pem); for an \
                     authority of your own, `rollcast doctor --cafile FILE`"
                }
                _ => "nginx: `ssl_certificate`",
            };
            fault(NAME, saw, change)
        }
    })
}

/// How many streams a browser opens at once.
pub fn connections(seen: &Observations) -> Option<Finding> {
    const NAME: &str = "connections";
    const SIX: &str = "a browser opens at most 6 streams to this host, in all of its tabs together";
    Some(match seen.connection.tls {
        Some(Tls::Trusted { http2: false, .. }) | None if seen.is_door => {
            fine(NAME, format!("HTTP/1.1: {SIX}; pages load from another address"))
        }
        Some(Tls::Trusted { http2: true, .. }) => {
            fine(NAME, "HTTP/2: a browser opens many streams on one connection")
        }
        Some(Tls::Trusted { http2: false, .. }) => {
            fault(NAME, format!("HTTP/1.1 over TLS: {SIX}"), HTTP2)
        }
        Some(Tls::Refused(_)) => unknown(NAME, "the certificate is refused"),
        None => note(
            NAME,
            format!("HTTP/1.1: {SIX}"),
            &format!("browsers use HTTP/2 only over TLS; {HTTP2}"),
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::Verdict::{Fault, Fine, Note, Unknown};
    use crate::judge::samples::{door, expect, rollcast};

    #[test]
    fn a_refused_certificate_is_a_fault_with_its_remedy() {
        let trusted = |http2, expires_soon| Tls::Trusted { http2, expires_soon };
        let table = [
            (trusted(true, false), Fine, Fine, "valid"),
            (trusted(true, true), Note, Fine, "within 14 days"),
            (trusted(false, false), Fine, Fault, "valid"),
            (Tls::Refused(CertificateError::Expired), Fault, Unknown, "renew"),
            (Tls::Refused(CertificateError::UnknownIssuer), Fault, Unknown, "--cafile"),
            (Tls::Refused(CertificateError::NotValidForName), Fault, Unknown, "`server_name`"),
            (Tls::Refused(CertificateError::Revoked), Fault, Unknown, "`ssl_certificate`"),
        ];
        for (state, verdict, of_connections, text) in table {
            let mut seen = rollcast();
            seen.connection.tls = Some(state.clone());
            expect(&format!("{state:?}"), &tls(&seen).expect("one"), verdict, text);
            let finding = connections(&seen).expect("one");
            expect(&format!("{state:?}"), &finding, of_connections, "");
        }
        // The door speaks no HTTP/2. Pages close their stream while they are hidden.
        expect("door", &connections(&door()).expect("one"), Fine, "another address");
        assert_eq!(tls(&rollcast()), None, "plain HTTP has no certificate");
        expect("plain", &connections(&rollcast()).expect("one"), Note, "at most 6 streams");
    }
}
