//! The newest checkpoint that a monitor has verified, in a file.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use event_stream::http_url::HttpUrl;

use crate::cli::Failure;
use crate::cli::monitor::unverified::Unverified;
use crate::draft::{self, Draft, Existing};
use crate::log::{Chains, Checkpoint, VerifierKey};
use crate::seeds::sha256;
use crate::text::hex;

const FIRST_LINE: &str = "rollcast monitor v1";
/// The umask applies, as to any file that a command creates.
const MODE: u32 = 0o666;

/// What is known of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The key.
    pub key: VerifierKey,
    /// The chains so far, to which later seeds must lead back.
    pub chains: Chains,
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// The checkpoint as served.
    pub note: String,
}

/// The file of a state.
pub struct StateFile {
    path: PathBuf,
}

impl StateFile {
    /// The file at `path`; by default one that is named after the server, in the working folder.
    ///
    /// # Errors
    ///
    /// The path cannot be used: exit code 2.
    pub fn new(url: &HttpUrl, path: Option<&Path>) -> Result<StateFile, Failure> {
        let by_default = || PathBuf::from(format!("{}-{}.monitor", url.host(), url.port()));
        let path = path.map_or_else(by_default, Path::to_path_buf);
        Ok(StateFile { path: draft::resolve(&path).map_err(Failure::usage)? })
    }

    /// The absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is known; `None` without a file.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is not a state.
    pub fn read(&self) -> anyhow::Result<Option<Known>> {
        let path = self.path.display();
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read `{path}`")),
        };
        let known = parse(&text);
        let known = known.ok_or_else(|| anyhow!("expected the state of a monitor in `{path}`"))?;
        Ok(Some(known))
    }

    /// Replaces the state in one step. It is durable when this returns.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn write(&self, known: &Known) -> anyhow::Result<()> {
        replace(&self.path, &to_text(known))
    }

    /// Saves a checkpoint beside the state, and returns its path.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn keep(&self, note: &str) -> anyhow::Result<PathBuf> {
        let (_, Checkpoint { size, root }) = Checkpoint::read(note)?;
        // Two keys may sign the same tree.
        let digest = sha256(note.as_bytes());
        let path = self.beside(&format!("{size}-{}-{}", hex(&root.0[..4]), hex(&digest[..4])));
        replace(&path, note)?;
        Ok(path)
    }

    /// The checkpoints that are not verified yet, in a file beside the state.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn unverified(&self, key: &VerifierKey) -> anyhow::Result<Unverified> {
        Unverified::read(self.beside("unverified"), key)
    }

    /// The path of a file beside the state: the state's own, a dot and `suffix`.
    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.file_name().unwrap_or_default().to_os_string();
        name.push(format!(".{suffix}"));
        self.path.with_file_name(name)
    }
}

/// Replaces a file in one step. It is durable when this returns.
///
/// # Errors
///
/// It cannot be written.
pub fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut draft = Draft::create(path, Existing::Replace, MODE)?;
    let written = draft.write_all(text.as_bytes());
    written.with_context(|| format!("cannot write `{}`", draft.path().display()))?;
    Ok(draft.publish()?)
}

fn to_text(known: &Known) -> String {
    let Known { key, chains, note, .. } = known;
    format!("{FIRST_LINE}\nkey {key}\nseeds {chains}\n\n{note}")
}

fn parse(text: &str) -> Option<Known> {
    let (head, note) = text.split_once("\n\n")?;
    let mut lines = head.split('\n');
    if lines.next()? != FIRST_LINE {
        return None;
    }
    let key: VerifierKey = lines.next()?.strip_prefix("key ")?.parse().ok()?;
    let chains = lines.next()?.strip_prefix("seeds ")?.parse().ok()?;
    let checkpoint = Checkpoint::open(note, &key).ok()?;
    let is_whole = lines.next().is_none();
    is_whole.then(|| Known { key, chains, checkpoint, note: note.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::log::{Hash, SigningKey};
    use crate::seeds::Secret;

    #[test]
    fn a_state_is_read_as_it_was_written_and_any_other_text_is_refused() {
        let secret = Secret::generate().expect("a secret");
        let key = SigningKey::new(&secret, Some("dice.example.org"));
        let checkpoint = Checkpoint { size: 41, root: Hash([7; 32]) };
        let known = Known {
            key: key.verifier().clone(),
            chains: "none".parse().expect("no seeds"),
            checkpoint,
            note: checkpoint.sign(&key),
        };
        let text = to_text(&known);
        assert_eq!(parse(&text), Some(known));
        for cut in 0..text.len() {
            assert_eq!(text.get(..cut).and_then(parse), None, "{cut}");
        }
        for (from, to) in [("v1", "v2"), ("\n41\n", "\n42\n"), ("none", "nobody")] {
            assert_eq!(parse(&text.replacen(from, to, 1)), None, "{to}");
        }
        let other = SigningKey::new(&Secret::generate().expect("a secret"), None);
        let text = text.replacen(&key.verifier().to_string(), &other.verifier().to_string(), 1);
        assert_eq!(parse(&text), None, "signed by another key");
    }
}
