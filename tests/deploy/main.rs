//! Tests of the files in `deploy/`: real proxies, real supervisord, `make install`, and stand-ins for
//! FreeBSD. Each check has a control, a configuration that must fail it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

#[path = "../common/mod.rs"]
mod common;

mod program;
mod files;
mod nginx;
mod front;

mod install;
mod proxy;
mod fronts;
mod fanout;
mod fleet;
#[cfg(feature = "fleet")]
mod nats;
mod tiles;
mod supervisor;
mod prometheus;
mod restart;
mod systemd;
mod scripts;
#[cfg(feature = "machine")]
mod freebsd;
#[cfg(feature = "machine")]
mod machine;
#[cfg(feature = "machine")]
mod container;
#[cfg(feature = "machine")]
mod setup;
#[cfg(all(feature = "machine", feature = "fleet"))]
mod fleet_guide;
