//! `rollcast verify`.

mod earlier;
mod file;
pub mod history;
mod one_log;
mod roll;

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::{Args, ValueHint};
use event_stream::http_url::{HttpUrl, without_password};

use crate::cli::export::output::Output;
use crate::cli::remote_log::{LogArgs, LogError, RemoteLog};
use crate::cli::verify::history::Saved;
use crate::cli::verify::one_log::OneLog;
use crate::cli::{Failure, note, say};
use crate::draft::Existing;
use crate::log::{Checkpoint, Refusal, VerifierKey};
use crate::remote::server_url;
use crate::roll::RollId;
use crate::seeds::Seed;
use crate::text::ValueError;

#[derive(Clone, Debug, Args)]
#[command(after_help = "\
The command checks one roll, or a whole history: the dice follow from their seeds, the seeds lead
back to each other, and the signed log holds the rolls. With the URL of a roll, or a URL and --roll,
it checks one roll. With any other URL it checks all rolls that the server keeps. A file is a proof
from a roll's page, or a history from --save: one leaf per line, an empty line and the checkpoint.
For a proof file without --seed, it checks only the log and the dice.

Exit codes: 0 verified; 1 refused, or not checked because of an error; 2 usage error. For one roll
of a server, 1 also if the server shows no earlier seed to which the roll's own leads back. The
command reports a break (a chain that nobody announced) and rolls without a seed, and still exits
with 0.")]
pub struct VerifyArgs {
    /// The URL of a server or of one of its rolls, or a file: a proof, or a history from --save
    #[arg(value_name = "URL|FILE", value_parser = target, value_hint = ValueHint::FilePath)]
    target: Target,
    /// Check only this roll; with a proof file, refuse a proof of any other roll
    #[arg(long, value_name = "ID")]
    roll: Option<RollId>,
    /// An earlier roll and its seed, such as 40:9f3c…, to which the checked seed must lead back.
    /// For the anchor of a block, give the id before the block's first roll
    #[arg(long, value_name = "ID:SEED", value_parser = known_seed)]
    seed: Option<(RollId, Seed)>,
    /// Write the history to this file, which appears only when all of it is verified
    #[arg(long, value_name = "FILE", conflicts_with_all = ["roll", "seed"])]
    save: Option<PathBuf>,
    #[command(flatten)]
    log: LogArgs,
}

/// What to verify.
#[derive(Clone, Debug)]
enum Target {
    /// The history of a server.
    Server(HttpUrl),
    /// One roll of a server.
    Roll(HttpUrl, RollId),
    /// A proof or a history.
    File(PathBuf),
}

/// What to check in a proof.
struct Question {
    /// The roll that the proof must be of; `None` for any roll.
    roll: Option<RollId>,
    /// An earlier seed that was public before the roll.
    known: Option<(RollId, Seed)>,
}

/// Reads a target. A text with `://` is always a URL, so an error about it never shows a password.
fn target(text: &str) -> Result<Target, String> {
    if !text.contains("://") {
        return Ok(Target::File(text.into()));
    }
    let url = server_url(text).map_err(|error| error.to_string())?;
    let roll = url.path().strip_prefix("/rolls/").filter(|rest| !rest.is_empty());
    let Some(roll) = roll else { return Ok(Target::Server(url)) };
    let roll = roll.strip_suffix("/proof").unwrap_or(roll);
    let id = roll.parse().map_err(|error: ValueError| error.to_string())?;
    Ok(Target::Roll(url, id))
}

fn known_seed(text: &str) -> Result<(RollId, Seed), ValueError> {
    let known = text.split_once(':').and_then(|(id, seed)| {
        let id: RollId = id.parse().ok()?;
        Some((id, seed.parse::<Seed>().ok()?))
    });
    known.ok_or_else(|| ValueError::new("a roll and its seed such as `40:9f3c…` (64 digits)", text))
}

/// Verifies a roll or a history, and prints what was found.
///
/// # Errors
///
/// The target is refused, or cannot be read: exit code 1. The arguments cannot be used: exit code
/// 2.
pub fn verify(args: VerifyArgs) -> Result<(), Failure> {
    let question = Question { roll: args.roll, known: args.seed };
    match &args.target {
        Target::File(path) => {
            // The address of a server without `http://` is taken for a file.
            if let Ok(false) = path.try_exists() {
                let given = without_password(&path.to_string_lossy());
                let expected = "a URL such as `https://dice.example.org/` or a file";
                return Err(Failure::usage(ValueError::new(expected, given)));
            }
            if args.save.is_some() {
                return usage("--save needs the URL of a server");
            }
            let key = args.log.key.as_ref();
            let Some(key) = key else {
                return usage("a file needs --key: the log's key, from a source that you trust");
            };
            file::verify(path, key, &question)
        }
        Target::Roll(url, id) => {
            if args.save.is_some() || args.roll.is_some_and(|roll| roll != *id) {
                return usage(
                    "a URL of one roll needs no --roll, and --save needs a whole history",
                );
            }
            verify_roll(&RemoteLog::new(url, &args.log)?, &args, *id)
        }
        Target::Server(url) => {
            let log = RemoteLog::new(url, &args.log)?;
            match args.roll {
                Some(id) => verify_roll(&log, &args, id),
                None if args.seed.is_some() => usage("--seed needs one roll: add --roll ID"),
                None => verify_history(&log, &args),
            }
        }
    }
}

impl Question {
    /// Checks that the known seed is that of a roll before `id`. The seed of the roll itself leads
    /// back to itself, which proves nothing.
    fn check(&self, id: RollId) -> Result<(), Failure> {
        let Some((known, _)) = self.known.filter(|(known, _)| *known >= id) else { return Ok(()) };
        let error = anyhow!("--seed needs a roll before roll {id}, got that of roll {known}");
        Err(Failure::usage(error))
    }
}

fn usage<T>(what: &'static str) -> Result<T, Failure> {
    Err(Failure { error: anyhow!(what), exit_code: 2 })
}

fn verify_roll(log: &RemoteLog, args: &VerifyArgs, id: RollId) -> Result<(), Failure> {
    let question = Question { roll: Some(id), known: args.seed };
    question.check(id)?;
    let key = key_of(log, args.log.key.as_ref()).map_err(anyhow::Error::new)?;
    let proof = log.proof(id).map_err(anyhow::Error::new)?;
    let leaf = roll::verify(&proof, &key, &question)?;
    if args.seed.is_none() {
        roll::show_earlier(log, &key, &proof, leaf)?;
    }
    Ok(())
}

fn verify_history(log: &RemoteLog, args: &VerifyArgs) -> Result<(), Failure> {
    let key = key_of(log, args.log.key.as_ref()).map_err(anyhow::Error::new)?;
    let mut output = None;
    let saved = match &args.save {
        Some(file) => {
            let refuse_none = |_: &Path| anyhow::Ok(());
            Saved::To(output.insert(Output::new(Some(file), Existing::RefuseAlways, refuse_none)?))
        }
        None => Saved::Nowhere,
    };
    let one_log = OneLog::new(log);
    let verified = history::verify_log(log, &key, saved, |seen, note| one_log.add(seen, note))?;
    history::print(&verified)?;
    if let Some(output) = output {
        output.finish().context("cannot write the history")?;
    }
    Ok(())
}

/// The log's key: the one that the user trusts, or the one that the server names.
///
/// # Errors
///
/// The server does not name one.
pub fn key_of(log: &RemoteLog, trusted: Option<&VerifierKey>) -> Result<VerifierKey, LogError> {
    if let Some(key) = trusted {
        return Ok(key.clone());
    }
    let key = log.info()?.key;
    note(format_args!(
        "the server names the key {key}; compare it with a copy from another source, and \
         pass it with --key, because a server can name any key"
    ));
    Ok(key)
}

/// Opens a checkpoint.
///
/// # Errors
///
/// The key has not signed it.
pub fn open_checkpoint(note: &str, key: &VerifierKey) -> anyhow::Result<Checkpoint> {
    Checkpoint::open(note, key).map_err(|error| refused(error.into()))
}

/// The error for a refused proof or history.
pub fn refused(refusal: Refusal) -> anyhow::Error {
    anyhow::Error::new(refusal).context("refused")
}

/// Prints the log's size, key and root.
fn say_log(key: &VerifierKey, checkpoint: &Checkpoint) -> anyhow::Result<()> {
    say("log", format!("{} rolls, signed by {key}", checkpoint.size))?;
    say("root", checkpoint.root.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_server_one_of_its_rolls_or_a_file() {
        let kind = |text: &str| match target(text) {
            Ok(Target::Server(url)) => format!("server {url}"),
            Ok(Target::Roll(_, id)) => format!("roll {id}"),
            Ok(Target::File(path)) => format!("file {}", path.display()),
            Err(error) => error,
        };
        let table = [
            ("http://127.0.0.1:5000", "server http://127.0.0.1:5000/"),
            ("https://dice.example.org/rolls/", "server https://dice.example.org/rolls/"),
            ("https://dice.example.org/rolls/41", "roll 41"),
            ("https://dice.example.org/rolls/41/proof", "roll 41"),
            ("https://dice.example.org/rolls/041", "expected a roll id such as `41`, got `041`"),
            ("roll-41.proof", "file roll-41.proof"),
            ("./http", "file ./http"),
        ];
        for (text, expected) in table {
            assert_eq!(kind(text), expected, "{text}");
        }
        assert!(kind("htps://dice.example.org/").starts_with("expected a URL"));
        assert!(kind("https://dice.example.org/dice/").contains("does not work below a path"));
    }

    #[test]
    fn a_known_seed_has_its_roll() {
        let seed = "9f".repeat(32);
        let known = known_seed(&format!("40:{seed}")).expect("a seed");
        assert_eq!(known, (RollId(40), Seed([0x9f; 32])));
        for text in ["", "40", &seed, &format!("40 {seed}"), &format!("-1:{seed}"), "40:9f"] {
            assert!(known_seed(text).is_err(), "{text}");
        }
    }
}
