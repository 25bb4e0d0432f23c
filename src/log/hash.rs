//! Hashes of the tree, as in RFC 6962, section 2.1.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::seeds::sha256;
use crate::text::ValueError;

/// The hash of a leaf or of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hash(pub [u8; 32]);

impl fmt::Display for Hash {
    /// Padded base64.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64_STANDARD.encode(self.0))
    }
}

impl FromStr for Hash {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Hash, ValueError> {
        let bytes = BASE64_STANDARD.decode(text).ok();
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map(Hash).ok_or_else(|| ValueError::new("a hash of 32 bytes in base64", text))
    }
}

/// The hash of a leaf.
pub fn leaf_hash(text: &str) -> Hash {
    let mut bytes = Vec::with_capacity(1 + text.len());
    bytes.push(0);
    bytes.extend_from_slice(text.as_bytes());
    Hash(sha256(&bytes))
}

/// The hash of a node with two children.
pub fn node_hash(left: Hash, right: Hash) -> Hash {
    let mut bytes = [1; 65];
    bytes[1..33].copy_from_slice(&left.0);
    bytes[33..].copy_from_slice(&right.0);
    Hash(sha256(&bytes))
}
