//! `rollcast fleet create`, and what `rollcast check` says about a fleet.

use crate::app;
use crate::cli::{Failure, say};
use crate::config::{Config, FleetConfig};
use crate::cursor::Cursor;
use crate::fleet::entry::{KeyId, roll_after};
use crate::fleet::{self, FleetError, Replica, Status, Verdict};
use crate::log::SigningKey;
use crate::roll::{Roll, RollId};
use crate::seeds::Seeds;
use crate::store::{Archive, IdRange, Store, StoreError};

/// Creates the fleet's log for the history of this node.
///
/// # Errors
///
/// There is no table `[default.rollcast.fleet]`: exit code 2. There is no database, a log of this
/// name exists, or the servers refuse: exit code 1.
pub fn create(config: Config, n_replicas: usize, replace: bool) -> Result<(), Failure> {
    let Some(fleet) = &config.fleet else {
        let error = anyhow::anyhow!(
            "expected the table [default.rollcast.fleet] in {}; add its key `servers`",
            config.source()
        );
        return Err(Failure::usage(error));
    };
    let archive = Archive::open(&config.store).map_err(anyhow::Error::new)?;
    let head = archive.head().map_err(anyhow::Error::new)?;
    if replace {
        refuse_to_lose_rolls(&config, fleet, &archive, head)?;
    }
    let created = app::run(&config, fleet::create(fleet, head, n_replicas, replace))?;
    let created = created.map_err(anyhow::Error::new)?;
    let stream = &fleet.stream;
    let replaced = if created.replaced { ", in place of an older one" } else { "" };
    say("fleet", format!("created the stream {stream} on {n_replicas} servers{replaced}"))?;
    say("", format!("it begins with roll {}, after {}", created.head.id.next(), created.head))?;
    Ok(())
}

/// Refuses to replace a log that this node could follow to more rolls: they would be lost.
fn refuse_to_lose_rolls(
    config: &Config,
    fleet: &FleetConfig,
    archive: &Archive,
    head: Cursor,
) -> anyhow::Result<()> {
    let Status { stream, common, next, .. } =
        app::run(config, fleet::status(fleet, head.id))?.map_err(anyhow::Error::new)?;
    // Without a log there is nothing to lose.
    let Ok(stream) = stream else { return Ok(()) };
    // With the same history, other nodes refuse an entry that this one refuses. So nobody has the
    // rolls after it.
    let next = next.map(|next| next_roll(config, head, &next)).transpose()?;
    let takes_next = next.is_some_and(|next| next.is_ok());
    let has_more = match common {
        Ok(Some(common)) => {
            takes_next && common.compare(roll(archive, common.id)?.as_ref()).is_ok()
        }
        // A node without a common place cannot tell whose the log is.
        Ok(None) | Err(FleetError::TooFarBehind { .. }) => stream.last > head.id,
        Err(_) => false,
    };
    anyhow::ensure!(
        !has_more,
        "the log has rolls up to {}, and this node only those up to {}: run this on a node that \
         has all of them, or wait until this one has",
        stream.last,
        head.id
    );
    Ok(())
}

/// The roll of the log's entry after `head`, or why this node would not take it.
fn next_roll(
    config: &Config,
    head: Cursor,
    entry: &str,
) -> anyhow::Result<Result<Roll, FleetError>> {
    let secret = Store::secret(&config.store)?;
    let key = KeyId(SigningKey::new(&secret, config.store.origin.as_deref()).verifier().id());
    Ok(roll_after(head, entry, key, &Seeds::new(secret)))
}

/// Prints how the configured database and its fleet agree.
///
/// # Errors
///
/// The fleet cannot be reached, or the node would not follow it: exit code 1.
pub fn check(config: &Config, fleet: &FleetConfig) -> Result<(), Failure> {
    say("fleet", format!("{}, stream {}", fleet.servers.join(", "), fleet.stream))?;
    let archive = match Archive::open(&config.store) {
        Ok(archive) => Some(archive),
        Err(StoreError::UnusableDatabase { .. }) => None,
        Err(error) => return Err(anyhow::Error::new(error).into()),
    };
    let head = match &archive {
        Some(archive) => archive.head().map_err(anyhow::Error::new)?,
        None => Cursor::from(RollId::BEFORE_FIRST),
    };
    let status = app::run(config, fleet::status(fleet, head.id))?;
    let Status { server: (name, version), stream, common, next } =
        status.map_err(anyhow::Error::new)?;
    say("", format!("connected to {name}, NATS server {version}"))?;
    let stream = stream.map_err(anyhow::Error::new)?;
    let replicas = stream.replicas.iter().map(replica).collect::<Vec<_>>();
    if !replicas.is_empty() {
        say("", format!("replicas: {}", replicas.join(", ")))?;
    }
    match stream.first > stream.last {
        true => say("", format!("the log is empty; it begins with roll {}", stream.first))?,
        false => say("", format!("the log has rolls {} to {}", stream.first, stream.last))?,
    }
    say("", format!("this node has rolls up to {}", head.id))?;
    if let Some(common) = common.map_err(anyhow::Error::new)? {
        let ours = archive.as_ref().map(|archive| roll(archive, common.id)).transpose()?.flatten();
        common.compare(ours.as_ref()).map_err(anyhow::Error::new)?;
    }
    if let Some(next) = next {
        next_roll(config, head, &next)?.map_err(anyhow::Error::new)?;
    }
    match fleet::verdict(head.id, &stream) {
        Verdict::Follow => say("", "this node follows the fleet".into())?,
        Verdict::GiveBack => say("", "the log ends early: this node gives its rolls back".into())?,
    }
    Ok(())
}

/// The roll `id`, if the database has it.
fn roll(archive: &Archive, id: RollId) -> anyhow::Result<Option<Roll>> {
    let ids = IdRange { after: id.previous(), before: id.next() };
    Ok(archive.between(ids, 1)?.rolls.into_iter().next())
}

fn replica(Replica { server, leads, current }: &Replica) -> String {
    match (leads, current) {
        (true, _) => format!("{server} (leader)"),
        (false, true) => server.clone(),
        (false, false) => format!("{server} (not up to date)"),
    }
}
