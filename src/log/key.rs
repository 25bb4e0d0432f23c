//! Keys that sign checkpoints. <https://c2sp.org/signed-note>

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use crate::seeds::{Secret, sha256};
use crate::text::{ValueError, from_hex, hex};

/// The signature type of Ed25519.
const TYPE: u8 = 1;

/// The points of Ed25519 whose order is at most 8, without their sign bit, in hex. Anybody can sign
/// with such a point, and the `ring` crate accepts that. These are all their encodings (RFC 8032,
/// section 5.1.2), also those with a coordinate of `2^255 - 19` or more. libsodium refuses the same
/// ones, in `ge25519_has_small_order`.
const SMALL_ORDER: [&str; 7] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

/// The public key of a log, with the log's origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    origin: String,
    public: [u8; 32],
}

impl VerifierKey {
    /// The name of the log.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The key id: four bytes with which a signature names its key.
    pub fn id(&self) -> [u8; 4] {
        let bytes = [self.origin.as_bytes(), b"\n", &[TYPE], &self.public].concat();
        let [a, b, c, d, ..] = sha256(&bytes);
        [a, b, c, d]
    }

    /// Whether the signature of a text is by this key.
    pub fn has_signed(&self, text: &str, signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.public).verify(text.as_bytes(), signature).is_ok()
    }
}

impl fmt::Display for VerifierKey {
    /// `<origin>+<key id>+<base64>`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let public = BASE64_STANDARD.encode([&[TYPE], self.public.as_slice()].concat());
        write!(f, "{}+{}+{public}", self.origin, hex(&self.id()))
    }
}

impl FromStr for VerifierKey {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<VerifierKey, ValueError> {
        let key = parse(text);
        let key = key.ok_or_else(|| {
            ValueError::new("a key such as `dice.example.org+eb3fa449+AS5L…`", text)
        })?;
        if has_small_order(key.public) {
            return Err(ValueError::new("a key with which only its owner can sign", text));
        }
        Ok(key)
    }
}

fn has_small_order(mut public: [u8; 32]) -> bool {
    public[31] &= 0x7f;
    SMALL_ORDER.contains(&hex(&public).as_str())
}

fn parse(text: &str) -> Option<VerifierKey> {
    let mut parts = text.splitn(3, '+');
    let (origin, id, public) = (parts.next()?, parts.next()?, parts.next()?);
    let public: [u8; 33] = BASE64_STANDARD.decode(public).ok()?.try_into().ok()?;
    let [TYPE, public @ ..] = public else { return None };
    let key = VerifierKey { origin: origin.into(), public };
    (is_origin(origin) && from_hex(id)? == key.id()).then_some(key)
}

/// Whether a text can name a log: not empty, and without white space or `+`.
pub fn is_origin(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '+')
}

/// The private key of a log.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    verifier: VerifierKey,
}

impl SigningKey {
    /// Derives the key from a secret. Without an `origin`, the log's name is `rollcast/` and the
    /// first 16 hex digits of the SHA-256 of the public key.
    pub fn new(secret: &Secret, origin: Option<&str>) -> SigningKey {
        let pair = Ed25519KeyPair::from_seed_unchecked(&secret.signing_key());
        let pair = pair.expect("any 32 bytes are a private key");
        let public: [u8; 32] = pair.public_key().as_ref().try_into().expect("32 bytes");
        let origin = origin.map_or_else(|| default_origin(&public), String::from);
        SigningKey { pair, verifier: VerifierKey { origin, public } }
    }

    /// The public key.
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// The signature of a text.
    pub fn sign(&self, text: &str) -> Vec<u8> {
        self.pair.sign(text.as_bytes()).as_ref().to_vec()
    }
}

fn default_origin(public: &[u8; 32]) -> String {
    format!("rollcast/{}", &hex(&sha256(public))[..16])
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::log::{Checkpoint, Hash, NoteError};

    #[test]
    fn a_key_with_which_anybody_can_sign_is_refused() {
        for point in SMALL_ORDER {
            for sign in [0, 0x80] {
                let mut public: [u8; 32] = from_hex(point).expect("32 bytes");
                public[31] |= sign;
                let key = VerifierKey { origin: "dice.example.org".into(), public };
                let error = key.to_string().parse::<VerifierKey>().expect_err("a refused key");
                let expected = "expected a key with which only its owner can sign, got `dice.";
                assert!(error.to_string().starts_with(expected), "{error}");
            }
        }
        // The reason: the identity and a zero are a signature of any text by the first of them.
        let identity: [u8; 32] = from_hex(SMALL_ORDER[1]).expect("32 bytes");
        let key = VerifierKey { origin: "dice.example.org".into(), public: identity };
        let signature = [key.id().as_slice(), &identity, &[0; 32]].concat();
        let text = format!("dice.example.org\n1\n{}\n", Hash([7; 32]));
        let note = format!("{text}\n— dice.example.org {}\n", BASE64_STANDARD.encode(signature));
        assert_ne!(Checkpoint::open(&note, &key), Err(NoteError::Signature));
    }
}
