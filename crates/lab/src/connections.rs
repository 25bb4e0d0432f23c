//! How many connections are open, altogether and from each address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The open connections.
#[derive(Debug)]
pub struct Connections {
    all: Arc<Semaphore>,
    from: Mutex<HashMap<IpAddr, usize>>,
    max_per_address: usize,
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
