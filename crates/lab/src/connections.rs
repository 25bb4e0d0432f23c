//! How many connections are open, altogether and from each address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The open connections.
#[derive(Debug)]
pub struct Connections {
    all: Arc<Semaphore>,
    from: Mutex<HashMap<IpAddr, usize>>,
    max_per_address: usize,
}

/// The network that counts as one client: an IPv4 address, or the /64 of an IPv6 address.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from(u128::from(address) & !u128::from(u64::MAX)))
        }
        address @ IpAddr::V4(_) => address,
    }
}

/// An open connection. Dropping it ends the count.
#[derive(Debug)]
pub struct Open {
    connections: Arc<Connections>,
    address: IpAddr,
    _permit: OwnedSemaphorePermit,
}

impl Connections {
    /// No connections yet.
    pub fn new(max: usize, max_per_address: usize) -> Arc<Connections> {
        let (all, from) = (Arc::new(Semaphore::new(max)), Mutex::default());
        Arc::new(Connections { all, from, max_per_address })
    }

    /// Waits until one more connection may be open.
    pub async fn wait(&self) -> OwnedSemaphorePermit {
        self.all.clone().acquire_owned().await.expect("the semaphore is never closed")
    }

    /// Counts a connection; `None` if its address has too many.
    pub fn open(self: &Arc<Self>, address: IpAddr, permit: OwnedSemaphorePermit) -> Option<Open> {
        let address = network(address);
        let mut from = self.from.lock().unwrap_or_else(PoisonError::into_inner);
        let n = from.entry(address).or_default();
        if *n >= self.max_per_address {
            return None;
        }
        *n += 1;
        Some(Open { connections: self.clone(), address, _permit: permit })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut from = self.connections.from.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(n) = from.get_mut(&self.address) {
            *n -= 1;
            if *n == 0 {
                from.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_an_ipv4_address_or_the_first_half_of_an_ipv6_address() {
        let same = |a: &str, b: &str| {
            let [a, b] = [a, b].map(|it| network(it.parse().expect("an address")));
            a == b
        };
        assert!(same("2001:db8:1:2::1", "2001:db8:1:2:ffff::9"));
        assert!(!same("2001:db8:1:2::1", "2001:db8:1:3::1"));
        assert!(same("192.0.2.1", "::ffff:192.0.2.1"));
        assert!(!same("192.0.2.1", "192.0.2.2"));
    }
}
