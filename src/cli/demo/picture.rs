//! A picture drawn in code and written as PNG: jars on the shelves of a larder.

/// Width and height in pixels.
const WIDTH: usize = 320;
const HEIGHT: usize = 200;

/// The colours that pixels are indices of: wall, shelf, shelf's edge, glass, light on glass, lid, and five fillings.
const PALETTE: [[u8; 3]; 11] = [
    [247, 239, 226],
    [150, 102, 62],
    [112, 74, 43],
    [214, 226, 226],
    [255, 255, 255],
    [92, 84, 78],
    [176, 48, 52],
    [222, 150, 40],
    [98, 128, 62],
    [106, 58, 112],
    [206, 108, 66],
];

/// The picture as a PNG file (W3C PNG, third edition).
pub(super) fn png() -> Vec<u8> {
    let pixels = draw();
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut head = Vec::with_capacity(13);
    head.extend_from_slice(&(WIDTH as u32).to_be_bytes());
    head.extend_from_slice(&(HEIGHT as u32).to_be_bytes());
    // Eight bits a pixel, indexed colour, deflate, adaptive filters, not interlaced.
    head.extend_from_slice(&[8, 3, 0, 0, 0]);
    chunk(&mut file, b"IHDR", &head);
    chunk(&mut file, b"PLTE", PALETTE.as_flattened());
    // Every row begins with its filter: 0, none.
    let rows: Vec<u8> =
        pixels.chunks(WIDTH).flat_map(|row| std::iter::once(0).chain(row.iter().copied())).collect();
    chunk(&mut file, b"IDAT", &zlib_stored(&rows));
    chunk(&mut file, b"IEND", &[]);
    file
}

fn draw() -> Vec<u8> {
    let mut pixels = vec![0u8; WIDTH * HEIGHT];
    let mut fill = |left: usize, top: usize, width: usize, height: usize, colour: u8| {
        for y in top..top + height {
            pixels[y * WIDTH + left..y * WIDTH + left + width].fill(colour);
        }
    };
    for (shelf, floor) in [90, 182].into_iter().enumerate() {
        fill(0, floor, WIDTH, 8, 1);
        fill(0, floor + 8, WIDTH, 3, 2);
        for jar in 0..6 {
            let left = 14 + jar * 51;
            let height = 44 + (jar * 7 + shelf * 5) % 17;
            fill(left, floor - height, 38, height, 3);
            fill(left + 3, floor - height + 12, 32, height - 15, 6 + ((jar + shelf * 2) % 5) as u8);
            fill(left + 6, floor - height + 6, 3, height - 12, 4);
            fill(left + 2, floor - height - 7, 34, 7, 5);
        }
    }
    pixels
}

fn chunk(file: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
    file.extend_from_slice(&(data.len() as u32).to_be_bytes());
    let start = file.len();
    file.extend_from_slice(kind);
    file.extend_from_slice(data);
    let sum = crc32(&file[start..]);
    file.extend_from_slice(&sum.to_be_bytes());
}

/// A zlib stream (RFC 1950) of stored blocks (RFC 1951 §3.2.4): valid, and not smaller than its input.
fn zlib_stored(data: &[u8]) -> Vec<u8> {
    let mut stream = vec![0x78, 0x01];
    let mut blocks = data.chunks(usize::from(u16::MAX)).peekable();
    while let Some(block) = blocks.next() {
        stream.push(u8::from(blocks.peek().is_none()));
        let len = block.len() as u16;
        stream.extend_from_slice(&len.to_le_bytes());
        stream.extend_from_slice(&(!len).to_le_bytes());
        stream.extend_from_slice(block);
    }
    stream.extend_from_slice(&adler32(data).to_be_bytes());
    stream
}

/// The check sum of PNG chunks and gzip files.
fn crc32(data: &[u8]) -> u32 {
    !data.iter().fold(!0u32, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0xEDB8_8320 & (sum & 1).wrapping_neg()))
    })
}

/// The check sum of zlib streams (RFC 1950 §8.2).
fn adler32(data: &[u8]) -> u32 {
    let (low, high) = data.iter().fold((1u32, 0u32), |(low, high), byte| {
        let low = (low + u32::from(*byte)) % 65521;
        (low, (high + low) % 65521)
    });
    (high << 16) | low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_sums_are_the_published_ones() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(adler32(b"Wikipedia"), 0x11E6_0398);
    }

    #[test]
    fn the_picture_has_a_head_and_an_end() {
        let file = png();
        assert!(file.starts_with(b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\x01\x40\0\0\0\xc8"));
        assert!(file.ends_with(b"IEND\xae\x42\x60\x82"));
    }

    #[test]
    fn the_precompressed_words_are_the_words() {
        // A gzip file ends with the check sum and the length of what it holds (RFC 1952 §2.3.1).
        let (plain, packed) = (super::super::pages::WORDS, super::super::pages::WORDS_GZIP);
        assert!(packed.starts_with(b"\x1f\x8b\x08"));
        let (sum, len) = packed[packed.len() - 8..].split_at(4);
        assert_eq!(sum, crc32(plain.as_bytes()).to_le_bytes());
        assert_eq!(len, (plain.len() as u32).to_le_bytes());
        assert!(packed.len() < plain.len() / 2);
    }
}
