//! Permits for streams or downloads, limited in total and per client address.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use crate::web::http::client::Client;

/// Why a client gets no permit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Busy {
    pub reason: BusyReason,
    pub limit: usize,
}

/// Which limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BusyReason {
    /// The limit of the server.
    Total,
    /// The limit of one client address.
    Address,
}

impl BusyReason {
    /// The reason as the `busy` event and the metrics name it.
    pub fn word(self) -> &'static str {
        match self {
            BusyReason::Total => "total",
            BusyReason::Address => "address",
        }
    }
}

impl fmt::Display for BusyReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BusyReason::Total => "all streams are in use",
            BusyReason::Address => "all streams of its address are in use",
        })
    }
}

/// A limited number of permits.
pub struct Permits {
    max_total: usize,
    max_per_address: usize,
    held: Mutex<HeldPermits>,
}

#[derive(Default)]
struct HeldPermits {
    total: usize,
    /// By client, with an address as the limit counts it.
    by_client: HashMap<Client, usize>,
}

/// One permit, released when dropped.
pub struct Permit {
    permits: Arc<Permits>,
    /// As a key of `by_client`.
    client: Option<Client>,
}

impl Permits {
    pub fn new(max_total: usize, max_per_address: usize) -> Arc<Permits> {
        Arc::new(Permits { max_total, max_per_address, held: Mutex::default() })
    }

    /// The most permits that can be held.
    pub fn max_total(&self) -> usize {
        self.max_total
    }

    /// A permit for a client. All clients whose address is unclear count as one. A client whose
    /// proxy does not forward its address counts only towards the total.
    ///
    /// # Errors
    ///
    /// A limit is reached.
    pub fn acquire(self: &Arc<Self>, client: Client) -> Result<Permit, Busy> {
        let client = limited_client(client);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.total >= self.max_total {
            return Err(Busy { reason: BusyReason::Total, limit: self.max_total });
        }
        if let Some(client) = client {
            let n_held = held.by_client.entry(client).or_default();
            if *n_held >= self.max_per_address {
                return Err(Busy { reason: BusyReason::Address, limit: self.max_per_address });
            }
            *n_held += 1;
        }
        held.total += 1;
        Ok(Permit { permits: self.clone(), client })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut held = self.permits.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.total -= 1;
        let Some(client) = self.client else { return };
        let n_held = held.by_client.get_mut(&client).expect("a held permit is counted");
        *n_held -= 1;
        if *n_held == 0 {
            held.by_client.remove(&client);
        }
    }
}

/// The client as the limit per address counts it; `None` if the limit does not apply.
fn limited_client(client: Client) -> Option<Client> {
    match client {
        Client::Known(address) => Some(Client::Known(limited_address(address))),
        Client::Unclear => Some(Client::Unclear),
        Client::Unknown => None,
    }
}

/// The address that a limit counts: one host or household has a whole IPv6 /64 network.
fn limited_address(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(network))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Client {
        Client::Known(text.parse().expect("an address"))
    }

    #[test]
    fn each_address_has_its_limit_and_a_released_permit_is_free_again() {
        let permits = Permits::new(10, 2);
        let first = permits.acquire(address("192.0.2.1")).ok();
        let _second = permits.acquire(address("::ffff:192.0.2.1")).ok();
        let rejected = permits.acquire(address("192.0.2.1")).err();
        assert_eq!(rejected, Some(Busy { reason: BusyReason::Address, limit: 2 }));
        assert!(permits.acquire(address("192.0.2.2")).is_ok(), "another address");
        drop(first);
        assert!(permits.acquire(address("192.0.2.1")).is_ok(), "a permit was released");
    }

    #[test]
    fn an_ipv6_network_of_64_bits_counts_as_one_address() {
        let permits = Permits::new(10, 1);
        let _first = permits.acquire(address("2001:db8:0:1::1")).ok();
        assert!(permits.acquire(address("2001:db8:0:1:ffff::2")).is_err(), "the same /64");
        assert!(permits.acquire(address("2001:db8:0:2::1")).is_ok(), "the next /64");
    }

    #[test]
    fn all_clients_whose_address_is_unclear_count_as_one() {
        let permits = Permits::new(10, 1);
        let first = permits.acquire(Client::Unclear).ok();
        let rejected = permits.acquire(Client::Unclear).err();
        assert_eq!(rejected, Some(Busy { reason: BusyReason::Address, limit: 1 }));
        assert!(permits.acquire(address("192.0.2.1")).is_ok(), "a known address");
        drop(first);
        assert!(permits.acquire(Client::Unclear).is_ok(), "a permit was released");
    }

    #[test]
    fn unknown_addresses_count_only_towards_the_total_and_every_permit_is_released() {
        let permits = Permits::new(3, 1);
        let all: Vec<Permit> =
            (0..3).filter_map(|_| permits.acquire(Client::Unknown).ok()).collect();
        assert_eq!(all.len(), 3);
        let rejected = permits.acquire(Client::Unknown).err();
        assert_eq!(rejected, Some(Busy { reason: BusyReason::Total, limit: 3 }));
        drop(all);
        drop(permits.acquire(address("192.0.2.1")));
        let held = permits.held.lock().expect("not poisoned");
        assert_eq!((held.total, held.by_client.len()), (0, 0));
    }
}
