//! Writes images as PNG files: one chunk with the size, one with the pixels, and an end.
//!
//! Source: <https://www.w3.org/TR/png-3/>. A crate that also reads PNG would bring seven others, but
//! a picture is only written, and in one format.

use miniz_oxide::deflate::compress_to_vec_zlib;

const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
/// 8 bits for each of red, green and blue; compressed, without interlacing.
const FORMAT: [u8; 5] = [8, 2, 0, 0, 0];
/// 1 is the fastest, 10 the smallest.
const COMPRESSION: u8 = 4;

/// A PNG file of the pixels, which are bytes of red, green and blue, row by row.
pub fn encode(width: usize, height: usize, pixels: &[u8]) -> Vec<u8> {
    let mut head = Vec::new();
    head.extend((width as u32).to_be_bytes());
    head.extend((height as u32).to_be_bytes());
    head.extend(FORMAT);
    // Each row begins with its filter. Areas of one colour need none.
    let rows = pixels.chunks(3 * width).flat_map(|row| [&[0], row].concat());
    let rows: Vec<u8> = rows.collect();

    let mut file = SIGNATURE.to_vec();
    add_chunk(&mut file, *b"IHDR", &head);
    add_chunk(&mut file, *b"IDAT", &compress_to_vec_zlib(&rows, COMPRESSION));
    add_chunk(&mut file, *b"IEND", &[]);
    file
}

fn add_chunk(file: &mut Vec<u8>, name: [u8; 4], content: &[u8]) {
    file.extend((content.len() as u32).to_be_bytes());
    let start = file.len();
    file.extend(name);
    file.extend(content);
    let checksum = crc32(&file[start..]);
    file.extend(checksum.to_be_bytes());
}

/// The checksum of a chunk: CRC-32, bit by bit. Compressed pictures are small.
fn crc32(bytes: &[u8]) -> u32 {
    let of_bit = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
    let of_byte = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), of_bit);
    !bytes.iter().fold(!0, of_byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    use miniz_oxide::inflate::decompress_to_vec_zlib;

    /// The name and the content of each chunk.
    fn chunks(file: &[u8]) -> Vec<(String, Vec<u8>)> {
        let mut rest = file.strip_prefix(SIGNATURE).expect("a signature");
        let mut chunks = Vec::new();
        while let Some((length, after)) = rest.split_first_chunk() {
            let length = u32::from_be_bytes(*length) as usize;
            let (chunk, after) = after.split_at(4 + length);
            let (checksum, after) = after.split_first_chunk().expect("a checksum");
            assert_eq!(crc32(chunk), u32::from_be_bytes(*checksum));
            let name = String::from_utf8_lossy(&chunk[..4]).into_owned();
            chunks.push((name, chunk[4..].to_vec()));
            rest = after;
        }
        chunks
    }

    #[test]
    fn a_file_has_the_size_and_every_pixel() {
        let pixels = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
        let chunks = chunks(&encode(2, 2, &pixels));
        let names: Vec<&str> = chunks.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["IHDR", "IDAT", "IEND"]);
        assert_eq!(chunks[0].1, [0, 0, 0, 2, 0, 0, 0, 2, 8, 2, 0, 0, 0]);
        let rows = decompress_to_vec_zlib(&chunks[1].1).expect("compressed rows");
        assert_eq!(rows, [0, 1, 2, 3, 4, 5, 6, 0, 7, 8, 9, 10, 11, 12]);
    }

    #[test]
    fn the_checksum_is_that_of_the_standard() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b"IEND"), 0xae42_6082);
    }
}
