//! The runs of a lab, with bounds.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::case::Case;
use crate::connections::network;
use crate::session::Session;

/// What a lab allows.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How many runs there are at once.
    pub max_runs: usize,
    /// How many of them come from one address.
    pub max_runs_per_address: usize,
    /// How long a run exists.
    pub max_age: Duration,
    /// How many requests a run answers.
    pub max_requests: usize,
    /// How many bytes of bodies a run sends.
    pub max_bytes: u64,
    /// How many bytes of events it remembers, and how long the body of a request may be.
    pub max_heard: usize,
    /// How many connections there are at once.
    pub max_connections: usize,
    /// How many of them come from one address.
    pub max_connections_per_address: usize,
    /// Whether the lab is public: each address sees only its own runs, and no run has a port of its
    /// own.
    pub is_public: bool,
}

impl Bounds {
    /// For clients on this machine.
    pub const LOCAL: Bounds = Bounds {
        max_runs: 1_024,
        max_runs_per_address: 1_024,
        max_age: Duration::from_secs(900),
        max_requests: 20_000,
        max_bytes: 1 << 30,
        max_heard: 64 << 20,
        max_connections: 4_096,
        max_connections_per_address: 4_096,
        is_public: false,
    };

    /// For any client on the network.
    pub const PUBLIC: Bounds = Bounds {
        max_runs: 64,
        max_runs_per_address: 8,
        max_age: Duration::from_secs(60),
        max_requests: 400,
        max_bytes: 16 << 20,
        max_heard: 64 << 10,
        max_connections: 512,
        max_connections_per_address: 32,
        is_public: true,
    };
}

/// The runs of a lab.
#[derive(Debug)]
pub struct Sessions {
    cases: &'static [Case],
    bounds: Bounds,
    runs: Mutex<Runs>,
}

/// The runs by case and name.
type Runs = HashMap<(&'static str, String), Arc<Session>>;

/// Why there is no run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRun {
    #[error("there is no such case")]
    NoCase,
    #[error("expected the name of a run, 4 to 32 of a-z, 0-9 and -")]
    Name,
    #[error("there are too many runs: try again in a minute")]
    TooMany,
    #[error("too many runs from this address: try again in a minute")]
    TooManyHere,
    #[error("another client has a run with this name: choose another one")]
    Taken,
}

impl Sessions {
    /// No runs yet.
    pub fn new(cases: &'static [Case], bounds: Bounds) -> Sessions {
        Sessions { cases, bounds, runs: Mutex::default() }
    }

    /// All cases.
    pub fn cases(&self) -> &'static [Case] {
        self.cases
    }

    /// What is allowed.
    pub fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// The run with this name, which begins if there is none.
    ///
    /// # Errors
    ///
    /// There is no such case, or it is no name, or there are too many runs.
    pub fn begin(
        &self,
        case: &str,
        run: &str,
        seed: u64,
        address: IpAddr,
    ) -> Result<Arc<Session>, NoRun> {
        let case = self.cases.iter().find(|it| it.id == case).ok_or(NoRun::NoCase)?;
        let is_allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if !(4..=32).contains(&run.len()) || !run.bytes().all(is_allowed) {
            return Err(NoRun::Name);
        }
        let mut runs = self.runs();
        if let Some(session) = runs.get(&(case.id, run.to_owned())) {
            return if self.may_see(session, address) {
                Ok(session.clone())
            } else {
                Err(NoRun::Taken)
            };
        }
        let is_here = |session: &Session| network(session.address()) == network(address);
        let n_here = runs.values().filter(|session| is_here(session)).count();
        if n_here >= self.bounds.max_runs_per_address && !forget_oldest(&mut runs, is_here) {
            return Err(NoRun::TooManyHere);
        }
        if runs.len() >= self.bounds.max_runs && !forget_oldest(&mut runs, |_| true) {
            return Err(NoRun::TooMany);
        }
        let session = Arc::new(Session::new(case, self.bounds, seed, address));
        runs.insert((case.id, run.to_owned()), session.clone());
        Ok(session)
    }

    /// The run with this name, if this address may see it.
    pub fn find(&self, case: &str, run: &str, address: IpAddr) -> Option<Arc<Session>> {
        let case = self.cases.iter().find(|it| it.id == case)?;
        let session = self.runs().get(&(case.id, run.to_owned())).cloned();
        session.filter(|session| self.may_see(session, address))
    }

    fn may_see(&self, session: &Session, address: IpAddr) -> bool {
        !self.bounds.is_public || network(session.address()) == network(address)
    }

    /// Forgets a run, and ends its answers.
    pub fn forget(&self, session: &Session) {
        session.close();
        self.runs().retain(|_, it| !std::ptr::eq(&**it, session));
    }

    /// The runs, without those that are too old.
    fn runs(&self) -> MutexGuard<'_, Runs> {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        runs.retain(|_, session| {
            let is_young = session.age() < self.bounds.max_age;
            if !is_young {
                session.close();
            }
            is_young
        });
        runs
    }
}

/// Forgets the oldest of these runs that is over. Returns whether there was one.
fn forget_oldest(runs: &mut Runs, is_meant: impl Fn(&Session) -> bool) -> bool {
    let over = runs.iter().filter(|(_, session)| is_meant(session) && session.is_over());
    let oldest = over.max_by_key(|(_, session)| session.age()).map(|(name, _)| name.clone());
    let forgotten = oldest.and_then(|name| runs.remove(&name));
    forgotten.inspect(|session| session.close()).is_some()
}
