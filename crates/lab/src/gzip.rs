//! Gzip without compression, so that each write reaches the client at once.
//! RFC 1952 (the file), RFC 1951, section 3.2.4 (stored blocks).

/// The beginning of a file: deflate, no flags, no time, no system.
pub const HEADER: &[u8] = &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// A stored block that is not the last one. Panics beyond 65,535 bytes.
pub fn stored(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("a stored block has at most 65,535 bytes");
    let mut block = vec![0];
    block.extend_from_slice(&length.to_le_bytes());
    block.extend_from_slice(&(!length).to_le_bytes());
    block.extend_from_slice(bytes);
    block
}
