//! Networks of IP addresses in CIDR form, such as `10.0.0.0/8`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use crate::text::{canonical_number, shortened};

/// All addresses that begin with the same bits. A single address is the network of that address.
///
/// An IPv4 address that is mapped into IPv6 (`::ffff:192.0.2.1`) counts as the IPv4 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(IpNet);

/// Why a text is not a network.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    #[error("expected an IP address or a network such as `10.0.0.0/8`, got `{0}`")]
    Form(String),
    #[error("expected a prefix length of 1 to {max} bits, got `{given}`")]
    Length { given: String, max: u8 },
    #[error("expected the first address of the network, `{network}`, got `{given}`")]
    HostBits { given: String, network: IpNet },
    #[error("expected a part of all addresses, got `{0}`, which is every address")]
    Everything(String),
}

impl Network {
    /// Whether an address is in this network.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Network {
        Network(address.to_canonical().into())
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    /// # Errors
    ///
    /// The text is neither an address nor a network, bits after the prefix are set, or the network
    /// is every address.
    fn from_str(text: &str) -> Result<Network, NetworkError> {
        let form = || NetworkError::Form(shortened(text));
        let Some((address, length)) = text.split_once('/') else {
            return text.parse::<IpAddr>().map(Network::from).map_err(|_| form());
        };
        let address: IpAddr = address.parse().map_err(|_| form())?;
        // `010` could be meant as octal, and `255.0.0.0` is another notation.
        let n_bits = canonical_number(length).ok_or_else(form)?;
        let network = u8::try_from(n_bits).ok().and_then(|n| IpNet::new(address, n).ok());
        let network = network.ok_or_else(|| NetworkError::Length {
            given: length.into(),
            max: IpNet::from(address).max_prefix_len(),
        })?;
        if network.network() != address {
            let (given, network) = (text.into(), network.trunc());
            return Err(NetworkError::HostBits { given, network });
        }
        let network = canonical(network);
        if network.prefix_len() == 0 {
            return Err(NetworkError::Everything(text.into()));
        }
        Ok(Network(network))
    }
}

/// The IPv4 network that is mapped into this one; otherwise this one.
fn canonical(network: IpNet) -> IpNet {
    let n_bits = network.prefix_len().checked_sub(96).filter(|_| network.addr().is_ipv6());
    let mapped = n_bits.and_then(|n_bits| IpNet::new(network.addr().to_canonical(), n_bits).ok());
    mapped.filter(|mapped| mapped.addr().is_ipv4()).unwrap_or(network)
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Network(network) = self;
        let is_address = network.prefix_len() == network.max_prefix_len();
        if is_address { network.addr().fmt(f) } else { network.fmt(f) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_contains_the_addresses_that_begin_with_its_bits() {
        let table = [
            ("10.0.0.0/8", "10.0.0.0", true),
            ("10.0.0.0/8", "10.255.255.255", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.0/8", "9.255.255.255", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("10.0.0.0/8", "a00::1", false),
            ("172.16.0.0/12", "172.31.9.9", true),
            ("172.16.0.0/12", "172.32.0.1", false),
            ("128.0.0.0/1", "255.1.1.1", true),
            ("128.0.0.0/1", "127.0.0.1", false),
            ("0.0.0.0/1", "127.0.0.1", true),
            ("192.0.2.1/32", "192.0.2.1", true),
            ("192.0.2.1/32", "192.0.2.2", false),
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("::1", "::1", true),
            ("::1", "127.0.0.1", false),
            ("fd00::/8", "fdff::1", true),
            ("fd00::/8", "fe00::1", false),
            ("2001:db8::/33", "2001:db8:7fff::1", true),
            ("2001:db8::/33", "2001:db8:8000::1", false),
            ("::/1", "1::", true),
            ("::ffff:10.0.0.0/104", "10.9.9.9", true),
            ("::ffff:10.0.0.0/104", "11.9.9.9", false),
            ("::ffff:192.0.2.1", "192.0.2.1", true),
        ];
        for (network, address, expected) in table {
            let parsed: Network = network.parse().expect(network);
            let address = address.parse().expect(address);
            assert_eq!(parsed.contains(address), expected, "{address} in {network}");
        }
    }

    #[test]
    fn a_network_is_written_as_it_is_read() {
        for text in ["10.0.0.0/8", "192.0.2.1", "fd00::/8", "::1", "128.0.0.0/1"] {
            let network: Network = text.parse().expect(text);
            assert_eq!(network.to_string(), text);
        }
    }

    #[test]
    fn a_text_that_is_not_a_network_is_refused_with_the_reason() {
        let forms = [
            "",
            "proxy",
            "/8",
            "10.0.0.0/",
            "10/8",
            "10.0.0/8",
            "10.0.0.0/08",
            "10.0.0.0/+8",
            "10.0.0.0/-1",
            "10.0.0.0/255.0.0.0",
            "10.0.0.0/8/8",
            " 10.0.0.0/8",
            "10.0.0.0 /8",
            "10.0.0.0/8 ",
            "fe80::1%1/64",
            "[::1]",
            "10.0.0.1:80",
            "localhost/8",
        ];
        let refusal = |text: &str| match text.parse::<Network>() {
            Ok(network) => panic!("`{text}` was read as {network:?}"),
            Err(error) => error.to_string(),
        };
        for text in forms {
            let expected = "expected an IP address or a network such as `10.0.0.0/8`";
            assert_eq!(refusal(text), format!("{expected}, got `{text}`"));
        }
        let table = [
            ("10.0.0.0/33", "a prefix length of 1 to 32 bits, got `33`"),
            ("fd00::/129", "a prefix length of 1 to 128 bits, got `129`"),
            ("10.0.0.0/999", "a prefix length of 1 to 32 bits, got `999`"),
            ("10.0.0.1/8", "the first address of the network, `10.0.0.0/8`, got `10.0.0.1/8`"),
            ("10.1.2.3/31", "the first address of the network, `10.1.2.2/31`, got `10.1.2.3/31`"),
            ("1.0.0.0/0", "the first address of the network, `0.0.0.0/0`, got `1.0.0.0/0`"),
            ("fd00::1/8", "the first address of the network, `fd00::/8`, got `fd00::1/8`"),
            ("0.0.0.0/0", "a part of all addresses, got `0.0.0.0/0`, which is every address"),
            ("::/0", "a part of all addresses, got `::/0`, which is every address"),
            ("::ffff:0.0.0.0/96", "got `::ffff:0.0.0.0/96`, which is every address"),
        ];
        for (text, expected) in table {
            let seen = refusal(text);
            assert!(seen.contains(expected), "expected `{expected}` in `{seen}`");
        }
    }
}
