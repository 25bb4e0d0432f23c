//! Proof files: one leaf, the proof that it is in the tree, and the checkpoint. To check a roll, a
//! verifier needs only the proof file and the key. <https://c2sp.org/tlog-proof>

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::log::Hash;
use crate::text::{ValueError, canonical_number};

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";
/// The number of hashes in a proof from a tree of 2^63 leaves, the largest one.
const MAX_HASHES: usize = 63;

/// A proof file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The text of the leaf.
    pub leaf: String,
    /// The leaf's place in the tree: one less than the roll's id.
    pub index: u64,
    /// The hashes from the leaf up to the root.
    pub hashes: Vec<Hash>,
    /// The signed checkpoint.
    pub checkpoint: String,
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let extra = BASE64_STANDARD.encode(&self.leaf);
        writeln!(f, "{FIRST_LINE}\nextra {extra}\nindex {}", self.index)?;
        self.hashes.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

impl FromStr for Proof {
    type Err = ValueError;

    fn from_str(file: &str) -> Result<Proof, ValueError> {
        // The error quotes the file on one line.
        let given = || file.trim().replace('\n', " ");
        if file.starts_with(FIRST_LINE) && file.contains('\r') {
            let expected = "a proof file without the carriage returns (CR) of another system";
            return Err(ValueError::new(expected, given()));
        }
        if file.split('\n').next() != Some(FIRST_LINE) {
            return Err(ValueError::new("a proof file, `c2sp.org/tlog-proof@v1 …`", given()));
        }
        let Some((proof, checkpoint)) = file.split_once("\n\n") else {
            let last = file.trim_end().rsplit('\n').next().unwrap_or_default();
            let expected = "a proof file that ends with an empty line and a checkpoint";
            return Err(ValueError::new(expected, last));
        };
        let mut lines = proof.split('\n').skip(1);
        let line = lines.next().unwrap_or_default();
        let leaf = leaf(line).ok_or_else(|| {
            ValueError::new("a proof file whose line 2 is `extra` and a leaf in base64", line)
        })?;
        let line = lines.next().unwrap_or_default();
        let index = index(line).ok_or_else(|| {
            ValueError::new("a proof file whose line 3 is `index` and a number", line)
        })?;
        let hash = |line: &str| {
            let expected = "a proof file whose lines from the 4th on are hashes in base64";
            line.parse().map_err(|_| ValueError::new(expected, line))
        };
        let hashes: Vec<Hash> = lines.map(hash).collect::<Result<_, _>>()?;
        if hashes.len() > MAX_HASHES {
            return Err(ValueError::new("a proof file with at most 63 hashes", hashes.len()));
        }
        Ok(Proof { leaf, index, hashes, checkpoint: checkpoint.into() })
    }
}

fn leaf(line: &str) -> Option<String> {
    let leaf = BASE64_STANDARD.decode(line.strip_prefix("extra ")?).ok()?;
    String::from_utf8(leaf).ok()
}

fn index(line: &str) -> Option<u64> {
    canonical_number(line.strip_prefix("index ")?)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_names_what_is_wrong_with_a_proof_file() {
        let hash = Hash([7; 32]);
        let (leaf, checkpoint) = ("rollcast/v1 41 - - -".into(), "a note\n".into());
        let file = Proof { leaf, index: 40, hashes: vec![hash; 2], checkpoint }.to_string();
        assert!(file.parse::<Proof>().is_ok());
        let part = |end: &str| file[..file.find(end).expect("a part")].to_owned();
        let hash = hash.to_string();
        for (file, expected) in [
            (String::new(), "a proof file, `c2sp.org/tlog-proof@v1 …`, got ``"),
            (file.replace("@v1", "@v2"), "a proof file, `c2sp.org/tlog-proof@v1 …`, got `c2sp."),
            (file.replace('\n', "\r\n"), "a proof file without the carriage returns (CR)"),
            (
                part("\n\n"),
                &format!(
                    "a proof file that ends with an empty line and a checkpoint, got `{hash}`"
                ),
            ),
            (
                part(" 40"),
                "a proof file that ends with an empty line and a checkpoint, got `index`",
            ),
            (file.replace("extra ", "extra"), "a proof file whose line 2 is `extra` and a leaf"),
            (
                file.replace(" 40", " 040"),
                "a proof file whose line 3 is `index` and a number, got `index 040`",
            ),
            (
                file.replacen(&hash, "x", 1),
                "a proof file whose lines from the 4th on are hashes in base64, got `x`",
            ),
            (
                file.replacen(&hash, &[hash.as_str(); 64].join("\n"), 1),
                "a proof file with at most 63 hashes, got `65`",
            ),
        ] {
            let error = file.parse::<Proof>().expect_err("no proof").to_string();
            assert!(error.starts_with(&format!("expected {expected}")), "{error}");
        }
    }
}
