//! Checkpoints: the size and the root of the tree, signed. <https://c2sp.org/tlog-checkpoint>

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::log::{Hash, SigningKey, VerifierKey};
use crate::text::{canonical_number, shortened};

/// The size and the root of the tree at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The number of rolls: the id of the newest one.
    pub size: u64,
    /// The root of the tree over them.
    pub root: Hash,
}

/// Why a checkpoint is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// The text is not a checkpoint.
    #[error("the checkpoint is malformed")]
    Malformed,
    /// It belongs to another log.
    #[error("the checkpoint is from the log `{seen}`, expected `{expected}`")]
    Origin {
        /// The origin of the key.
        expected: String,
        /// The origin of the checkpoint.
        seen: String,
    },
    /// The key has not signed it.
    #[error("the checkpoint has no valid signature by this key")]
    Signature,
}

impl Checkpoint {
    /// The signed note, as served: three lines, an empty line and the signature.
    pub fn sign(&self, key: &SigningKey) -> String {
        let origin = key.verifier().origin();
        let text = format!("{origin}\n{}\n{}\n", self.size, self.root);
        let signature = [key.verifier().id().as_slice(), &key.sign(&text)].concat();
        format!("{text}\n— {origin} {}\n", BASE64_STANDARD.encode(signature))
    }

    /// Reads a signed note. Ignores signatures of other keys.
    ///
    /// # Errors
    ///
    /// The note is not a checkpoint, is from another log, or is not signed by `key`.
    pub fn open(note: &str, key: &VerifierKey) -> Result<Checkpoint, NoteError> {
        let (origin, checkpoint) = Checkpoint::read(note)?;
        if origin != key.origin() {
            let seen = shortened(origin);
            return Err(NoteError::Origin { expected: key.origin().into(), seen });
        }
        let (text, signatures) = parts(note).ok_or(NoteError::Malformed)?;
        let mut by_key = signatures.lines().filter_map(|line| signature_by(line, key));
        by_key.any(|it| key.has_signed(text, &it)).then_some(checkpoint).ok_or(NoteError::Signature)
    }

    /// Reads a note without checking its signatures: the origin, and the checkpoint that it claims.
    ///
    /// # Errors
    ///
    /// [`NoteError::Malformed`].
    pub fn read(note: &str) -> Result<(&str, Checkpoint), NoteError> {
        let (text, _) = parts(note).ok_or(NoteError::Malformed)?;
        let mut lines = text.lines();
        let mut line = || lines.next().ok_or(NoteError::Malformed);
        let (origin, size, root) = (line()?, line()?, line()?);
        let size = canonical_number(size).and_then(|size| size.try_into().ok());
        let checkpoint = Checkpoint {
            size: size.ok_or(NoteError::Malformed)?,
            root: root.parse().map_err(|_| NoteError::Malformed)?,
        };
        // There are no extension lines in this version.
        if lines.next().is_some() { Err(NoteError::Malformed) } else { Ok((origin, checkpoint)) }
    }
}

/// The signed text, with its last newline, and the lines of the signatures.
fn parts(note: &str) -> Option<(&str, &str)> {
    let end = note.find("\n\n")?;
    let (text, signatures) = note.split_at(end + 1);
    let signatures = &signatures[1..];
    let well_formed = signatures.ends_with('\n')
        && signatures.lines().all(|line| line.starts_with("— ") && line.matches(' ').count() == 2)
        && !note.contains('\r');
    well_formed.then_some((text, signatures))
}

/// The signature in a line, if it names this key.
fn signature_by(line: &str, key: &VerifierKey) -> Option<Vec<u8>> {
    let mut words = line.strip_prefix("— ")?.split(' ');
    let bytes = (words.next()? == key.origin()).then(|| words.next())??;
    let bytes = BASE64_STANDARD.decode(bytes).ok()?;
    bytes.strip_prefix(&key.id()).map(<[u8]>::to_vec)
}
