//! Places for streams, or for downloads: so many in all, so many for one client address.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

/// Why a client is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Busy {
    pub reason: BusyReason,
    pub limit: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BusyReason {
    /// As many are open as the server takes.
    Total,
    /// As many are open as one address gets.
    Address,
}

impl BusyReason {
    /// The reason as the `busy` event has it.
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
            BusyReason::Address => "its address has all of its streams open",
        })
    }
}

/// Which places are taken.
pub struct Slots {
    max_in_all: usize,
    max_per_address: usize,
    open: Mutex<OpenSlots>,
}

#[derive(Default)]
struct OpenSlots {
    n_in_all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// One place, given back when dropped.
pub struct Slot {
    slots: Arc<Slots>,
    address: Option<IpAddr>,
}

impl Slots {
    pub fn new(max_in_all: usize, max_per_address: usize) -> Arc<Slots> {
        Arc::new(Slots { max_in_all, max_per_address, open: Mutex::default() })
    }

    /// A place for a client; one without a known address counts only in all.
    pub fn take(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Slot, Busy> {
        let address = address.map(shared_address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.n_in_all >= self.max_in_all {
            return Err(Busy { reason: BusyReason::Total, limit: self.max_in_all });
        }
        if let Some(address) = address {
            let n_open = open.by_address.entry(address).or_default();
            if *n_open >= self.max_per_address {
                return Err(Busy { reason: BusyReason::Address, limit: self.max_per_address });
            }
            *n_open += 1;
        }
        open.n_in_all += 1;
        Ok(Slot { slots: self.clone(), address })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut open = self.slots.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.n_in_all -= 1;
        let Some(address) = self.address else { return };
        let n_open = open.by_address.get_mut(&address).expect("what is open is counted");
        *n_open -= 1;
        if *n_open == 0 {
            open.by_address.remove(&address);
        }
    }
}

/// What counts as one address: a household or a host gets a whole IPv6 /64.
fn shared_address(address: IpAddr) -> IpAddr {
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

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().expect("an address"))
    }

    #[test]
    fn an_address_gets_its_share_and_a_place_that_is_left_is_free_again() {
        let slots = Slots::new(10, 2);
        let first = slots.take(address("192.0.2.1")).ok();
        let _second = slots.take(address("::ffff:192.0.2.1")).ok();
        let turned_away = slots.take(address("192.0.2.1")).err();
        assert_eq!(turned_away, Some(Busy { reason: BusyReason::Address, limit: 2 }));
        assert!(slots.take(address("192.0.2.2")).is_ok(), "another address has its own share");
        drop(first);
        assert!(slots.take(address("192.0.2.1")).is_ok(), "a place was left");
    }

    #[test]
    fn an_ipv6_network_of_64_bits_counts_as_one_address() {
        let slots = Slots::new(10, 1);
        let _first = slots.take(address("2001:db8:0:1::1")).ok();
        assert!(slots.take(address("2001:db8:0:1:ffff::2")).is_err(), "the same /64");
        assert!(slots.take(address("2001:db8:0:2::1")).is_ok(), "the /64 next to it");
    }

    #[test]
    fn unknown_addresses_count_only_in_all_and_everything_is_given_back() {
        let slots = Slots::new(3, 1);
        let all: Vec<Slot> = (0..3).filter_map(|_| slots.take(None).ok()).collect();
        assert_eq!(all.len(), 3);
        let turned_away = slots.take(None).err();
        assert_eq!(turned_away, Some(Busy { reason: BusyReason::Total, limit: 3 }));
        drop(all);
        drop(slots.take(address("192.0.2.1")));
        let open = slots.open.lock().expect("not poisoned");
        assert_eq!((open.n_in_all, open.by_address.len()), (0, 0));
    }
}
