//! Networks of IP addresses in CIDR form, such as `10.0.0.0/8`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// All addresses that begin with the same bits. A single address is the network of that address.
///
/// An IPv4 address that is mapped into IPv6 (`::ffff:192.0.2.1`) counts as the IPv4 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    first: IpAddr,
    n_bits: u8,
}

/// Why a text is not a network.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    #[error("expected an IP address or a network such as `10.0.0.0/8`, got `{0}`")]
    Form(String),
    #[error("expected a prefix length of 1 to {max} bits, got `{given}`")]
    Length { given: String, max: u8 },
    #[error("expected the first address of the network, `{first}/{n_bits}`, got `{given}`")]
    HostBits { given: String, first: IpAddr, n_bits: u8 },
    #[error("expected a part of all addresses, got `{0}`, which is every address")]
    Everything(String),
}

impl Network {
    /// Whether an address is in this network.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.first.is_ipv4() && first(address, self.n_bits) == self.first
    }
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Network {
        let first = address.to_canonical();
        Network { first, n_bits: max_bits(first) }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    /// # Errors
    ///
    /// The text is neither an address nor a network, bits after the prefix are set, or the network
    /// is every address.
    fn from_str(text: &str) -> Result<Network, NetworkError> {
        let form = || NetworkError::Form(crate::text::shortened(text));
        let Some((address, length)) = text.split_once('/') else {
            return text.parse::<IpAddr>().map(Network::from).map_err(|_| form());
        };
        let address: IpAddr = address.parse().map_err(|_| form())?;
        let max = max_bits(address);
        // `010` could be meant as octal, and `255.0.0.0` is another notation.
        let n_bits = crate::text::canonical_number(length).ok_or_else(form)?;
        let n_bits = u8::try_from(n_bits).ok().filter(|n_bits| *n_bits <= max);
        let n_bits = n_bits.ok_or_else(|| NetworkError::Length { given: length.into(), max })?;
        let (first, given) = (first(address, n_bits), || text.to_owned());
        if first != address {
            return Err(NetworkError::HostBits { given: given(), first, n_bits });
        }
        let network = match (address, address.to_canonical()) {
            (IpAddr::V6(_), IpAddr::V4(first)) if n_bits >= 96 => {
                Network { first: first.into(), n_bits: n_bits - 96 }
            }
            _ => Network { first, n_bits },
        };
        if network.n_bits == 0 {
            return Err(NetworkError::Everything(given()));
        }
        Ok(network)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first)?;
        if self.n_bits < max_bits(self.first) { write!(f, "/{}", self.n_bits) } else { Ok(()) }
    }
}

fn max_bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// An address without the bits after the first `n_bits`.
fn first(address: IpAddr, n_bits: u8) -> IpAddr {
    let n_bits = u32::from(n_bits);
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - n_bits).unwrap_or_default();
            Ipv4Addr::from(u32::from(address) & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - n_bits).unwrap_or_default();
            Ipv6Addr::from(u128::from(address) & mask).into()
        }
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
