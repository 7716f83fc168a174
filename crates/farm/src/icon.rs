//! Reads the size of PNG icons, draws icons of the desktop and of programs, and converts PNG files
//! to `.ico`.

use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};
use std::io::Write;

/// Sides that an icon of a feed may have, pixels ([MS-TSWP] 2.2.2.1.6).
pub const SIDES: [u32; 6] = [16, 32, 48, 64, 100, 256];
/// Signature of a PNG, and the beginning of its first chunk (PNG, sections 5.2 and 11.2.2).
const MAGIC: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR";
const ICO_HEAD_BYTES: u32 = 22;
const SAMPLES: u32 = 4;

/// Motif of a drawn icon.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Drawn {
    /// A full desktop: a screen on its foot.
    Desktop,
    /// A program: a window with its title bar.
    App,
}

/// Returns the side of a square PNG that a feed may contain, in pixels. Returns None for any other
/// data.
pub fn side_of(png: &[u8]) -> Option<u32> {
    let rest = png.strip_prefix(MAGIC)?;
    let (width, rest) = rest.split_first_chunk()?;
    let (height, _) = rest.split_first_chunk()?;
    let side = u32::from_be_bytes(*width);
    (side == u32::from_be_bytes(*height) && SIDES.contains(&side)).then_some(side)
}

/// Wraps a PNG in an `.ico`, which may contain PNG.
pub fn ico(png: &[u8]) -> Vec<u8> {
    // Encodes 256 as 0, as `.ico` defines.
    let side = side_of(png)
        .and_then(|side| u8::try_from(side).ok())
        .unwrap_or_default();
    let length = u32::try_from(png.len()).unwrap_or_default();
    let mut bytes = vec![0, 0, 1, 0, 1, 0, side, side, 0, 0, 1, 0, 32, 0];
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&ICO_HEAD_BYTES.to_le_bytes());
    bytes.extend_from_slice(png);
    bytes
}

/// Draws an icon as PNG, with sides of that many pixels.
pub fn draw(what: Drawn, side: u32) -> Vec<u8> {
    let mut lines = Vec::new();
    for y in 0..side {
        // Selects PNG filter type 0: no filter.
        lines.push(0);
        for x in 0..side {
            lines.extend_from_slice(&pixel(what, side, x, y));
        }
    }
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    // Ignores the result: writing to memory cannot fail.
    let _ = encoder.write_all(&lines);
    let data = encoder.finish().unwrap_or_default();
    let mut png = MAGIC.get(..8).unwrap_or_default().to_vec();
    let mut head = [side.to_be_bytes(), side.to_be_bytes()].concat();
    // Selects eight bits for each of red, green, blue and alpha.
    head.extend_from_slice(&[8, 6, 0, 0, 0]);
    chunk(&mut png, b"IHDR", &head);
    chunk(&mut png, b"IDAT", &data);
    chunk(&mut png, b"IEND", &[]);
    png
}

fn chunk(png: &mut Vec<u8>, kind: &[u8], data: &[u8]) {
    png.extend_from_slice(&u32::try_from(data.len()).unwrap_or_default().to_be_bytes());
    let mut crc = Crc::new();
    crc.update(kind);
    crc.update(data);
    png.extend_from_slice(kind);
    png.extend_from_slice(data);
    png.extend_from_slice(&crc.sum().to_be_bytes());
}

fn pixel(what: Drawn, side: u32, x: u32, y: u32) -> [u8; 4] {
    let mut sum = [0_u32; 4];
    for step in 0..SAMPLES * SAMPLES {
        let at = |pixel: u32, step: u32| {
            f64::from(pixel * SAMPLES * 2 + step * 2 + 1) / f64::from(side * SAMPLES * 2) * 32.0
        };
        let (x, y) = (at(x, step % SAMPLES), at(y, step / SAMPLES));
        if let Some([red, green, blue]) = colour(what, x, y) {
            let add = [red, green, blue, 255];
            sum.iter_mut()
                .zip(add)
                .for_each(|(sum, one)| *sum += u32::from(one));
        }
    }
    let hits = sum[3] / 255;
    if hits == 0 {
        return [0; 4];
    }
    let mean = |sum: u32, of: u32| u8::try_from(sum / of).unwrap_or(u8::MAX);
    [
        mean(sum[0], hits),
        mean(sum[1], hits),
        mean(sum[2], hits),
        mean(sum[3], SAMPLES * SAMPLES),
    ]
}

/// Returns the colour at a point of a square of 32; None where the icon is transparent.
fn colour(what: Drawn, x: f64, y: f64) -> Option<[u8; 3]> {
    const BLUE: [u8; 3] = [0x2f, 0x6f, 0xbf];
    const LIGHT: [u8; 3] = [0xe8, 0xf0, 0xfa];
    let is_in = |[left, top, right, bottom]: [f64; 4], round: f64| {
        let off = |at: f64, low: f64, high: f64| (low + round - at).max(at - high + round).max(0.0);
        let (dx, dy) = (off(x, left, right), off(y, top, bottom));
        (left..=right).contains(&x)
            && (top..=bottom).contains(&y)
            && dx * dx + dy * dy <= round * round
    };
    match what {
        Drawn::Desktop => match () {
            () if is_in([4.0, 6.5, 28.0, 20.5], 0.5) => Some(LIGHT),
            () if is_in([2.0, 4.5, 30.0, 22.5], 2.5) => Some(BLUE),
            () if is_in([13.5, 22.5, 18.5, 26.0], 0.0) => Some(BLUE),
            () if is_in([9.0, 25.5, 23.0, 28.0], 1.2) => Some(BLUE),
            () => None,
        },
        Drawn::App => match () {
            () if is_in([4.5, 10.5, 27.5, 26.0], 0.8) => Some(LIGHT),
            () if is_in([2.5, 4.0, 29.5, 28.0], 3.0) => Some(BLUE),
            () => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn icons_are_drawn_as_png_of_their_size() {
        for (what, side) in [(Drawn::Desktop, 32), (Drawn::App, 64), (Drawn::App, 256)] {
            let png = draw(what, side);
            assert_eq!(side_of(&png), Some(side));
            let ico = ico(&png);
            assert_eq!(&ico[22..], png);
            assert_eq!(ico[6], if side == 256 { 0 } else { side as u8 });
        }
    }

    #[test]
    fn only_square_pictures_of_known_sides_are_icons() {
        let png = draw(Drawn::App, 32);
        assert_eq!(side_of(&draw(Drawn::App, 33)), None);
        for end in 0..24 {
            assert_eq!(side_of(&png[..end]), None);
        }
        let mut wide = png.clone();
        wide[23] = 48;
        assert_eq!(side_of(&wide), None);
        assert_eq!(side_of(b"\xff\xd8\xff"), None);
    }
}
