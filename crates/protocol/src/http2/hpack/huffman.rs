//! Implements the Huffman code of RFC 7541, appendix B.
//!
//! The code is canonical: a symbol's code follows from the lengths of all codes. So only the
//! lengths are listed here, and every table is computed from them at compile time. Codes of up to
//! ten bits (all common ones) are found in one step, the others by their length.

use super::HpackError;

/// End-of-string symbol, which no string may contain.
const EOS: usize = 256;
const SYMBOLS: usize = 257;
const BITS_MAX: usize = 30;
const BITS_MIN: usize = 5;
/// Maximum length of a code that is found in one step.
const FAST_BITS: u32 = 10;

#[rustfmt::skip]
const LENGTHS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

/// Symbols sorted by length, then by value; the index at which each length begins, and its first
/// code.
struct Canonical {
    sorted: [u16; SYMBOLS],
    first_index: [u16; BITS_MAX + 2],
    first_code: [u32; BITS_MAX + 1],
    codes: [u32; SYMBOLS],
}

const CANONICAL: Canonical = {
    let mut all = Canonical {
        sorted: [0; SYMBOLS],
        first_index: [0; BITS_MAX + 2],
        first_code: [0; BITS_MAX + 1],
        codes: [0; SYMBOLS],
    };
    let (mut index, mut code, mut bits) = (0, 0u32, 1);
    while bits <= BITS_MAX {
        all.first_index[bits] = index as u16;
        all.first_code[bits] = code;
        let mut symbol = 0;
        while symbol < SYMBOLS {
            if LENGTHS[symbol] as usize == bits {
                all.sorted[index] = symbol as u16;
                all.codes[symbol] = code;
                index += 1;
                code += 1;
            }
            symbol += 1;
        }
        code <<= 1;
        bits += 1;
    }
    all.first_index[BITS_MAX + 1] = index as u16;
    all
};

/// Indexed by the next ten bits: the symbol in the lower bits, the length of its code above; 0 if
/// the code is longer than ten bits.
static FAST: [u16; 1 << FAST_BITS] = {
    let mut table = [0; 1 << FAST_BITS];
    let mut symbol = 0;
    while symbol < EOS {
        let bits = LENGTHS[symbol] as u32;
        if bits <= FAST_BITS {
            let first = CANONICAL.codes[symbol] << (FAST_BITS - bits);
            let mut at = 0;
            while at < 1 << (FAST_BITS - bits) {
                table[(first + at) as usize] = (bits << 8) as u16 | symbol as u16;
                at += 1;
            }
        }
        symbol += 1;
    }
    table
};

static LONG: Canonical = CANONICAL;

static CODES: [(u32, u8); 256] = {
    let mut table = [(0, 0); 256];
    let mut symbol = 0;
    while symbol < 256 {
        table[symbol] = (CANONICAL.codes[symbol], LENGTHS[symbol]);
        symbol += 1;
    }
    table
};

/// Returns the symbol at the start of 64 bits, and the length of its code.
#[inline]
fn symbol(buffer: u64) -> (usize, u32) {
    let fast = FAST[(buffer >> (64 - FAST_BITS)) as usize];
    if fast != 0 {
        return ((fast & 0xff) as usize, u32::from(fast >> 8));
    }
    long_symbol(buffer)
}

#[cold]
fn long_symbol(buffer: u64) -> (usize, u32) {
    for bits in FAST_BITS as usize + 1..=BITS_MAX {
        let code = (buffer >> (64 - bits)) as u32;
        let count = u32::from(LONG.first_index[bits + 1] - LONG.first_index[bits]);
        let offset = code.wrapping_sub(LONG.first_code[bits]);
        if offset < count {
            let index = u32::from(LONG.first_index[bits]) + offset;
            return (usize::from(LONG.sorted[index as usize]), bits as u32);
        }
    }
    // Unreachable, because the code is complete.
    (EOS, BITS_MAX as u32)
}

/// Decodes a string and appends it to `out`. After an error, the appended bytes are meaningless.
pub(super) fn decode(input: &[u8], out: &mut Vec<u8>) -> Result<(), HpackError> {
    let start = out.len();
    out.resize(start + input.len() * 8 / BITS_MIN + 1, 0);
    let target = &mut out[start..];
    let mut at = 0;
    let (mut buffer, mut bits) = (0u64, 0u32);
    let mut rest = input;
    while let Some((chunk, after)) = rest.split_first_chunk::<4>() {
        // The buffer has fewer bits left than the longest code, so there is space for another
        // word.
        buffer |= u64::from(u32::from_be_bytes(*chunk)) << (32 - bits);
        bits += 32;
        rest = after;
        while bits >= BITS_MAX as u32 {
            let (symbol, used) = symbol(buffer);
            if symbol == EOS {
                return Err(HpackError::HuffmanEos);
            }
            target[at] = symbol as u8;
            at += 1;
            buffer <<= used;
            bits -= used;
        }
    }
    for byte in rest {
        buffer |= u64::from(*byte) << (56 - bits);
        bits += 8;
    }
    // The last bits are followed by ones, as padding must be.
    loop {
        let (symbol, used) = symbol(buffer | (u64::MAX >> bits));
        if used > bits {
            break;
        }
        if symbol == EOS {
            return Err(HpackError::HuffmanEos);
        }
        target[at] = symbol as u8;
        at += 1;
        buffer <<= used;
        bits -= used;
    }
    let ones = bits == 0 || buffer >> (64 - bits) == (1 << bits) - 1;
    if bits >= 8 || !ones {
        return Err(HpackError::HuffmanPadding);
    }
    out.truncate(start + at);
    Ok(())
}

pub(super) fn encoded_len(input: &[u8]) -> usize {
    let bits: usize = input
        .iter()
        .map(|byte| usize::from(LENGTHS[usize::from(*byte)]))
        .sum();
    bits.div_ceil(8)
}

pub(super) fn encode(input: &[u8], out: &mut Vec<u8>) {
    let (mut buffer, mut bits) = (0u64, 0u32);
    for byte in input {
        let (code, len) = CODES[usize::from(*byte)];
        buffer = buffer << len | u64::from(code);
        bits += u32::from(len);
        if bits >= 32 {
            bits -= 32;
            out.extend_from_slice(&((buffer >> bits) as u32).to_be_bytes());
        }
    }
    if bits > 0 {
        let padding = bits.next_multiple_of(8) - bits;
        let last = (buffer << padding | ((1 << padding) - 1)) << (32 - bits - padding);
        let bytes = (last as u32).to_be_bytes();
        out.extend_from_slice(&bytes[..bits.div_ceil(8) as usize]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(input: &[u8]) -> Result<Vec<u8>, HpackError> {
        let mut out = b"before".to_vec();
        decode(input, &mut out)?;
        assert!(out.starts_with(b"before"));
        Ok(out[6..].to_vec())
    }

    #[test]
    fn the_code_is_that_of_the_rfc() {
        // An example of each code length, as appendix B prints them.
        let table = [
            (b'0', 0x0, 5),
            (b' ', 0x14, 6),
            (b':', 0x5c, 7),
            (b'&', 0xf8, 8),
            (b'!', 0x3f8, 10),
            (b'\'', 0x7fa, 11),
            (b'#', 0xffa, 12),
            (0, 0x1ff8, 13),
            (b'^', 0x3ffc, 14),
            (b'\\', 0x7fff0, 19),
            (128, 0xfffe6, 20),
            (255, 0x3ffffee, 26),
            (b'\r', 0x3ffffffd, 30),
        ];
        for (symbol, code, bits) in table {
            assert_eq!(CODES[usize::from(symbol)], (code, bits), "{symbol}");
        }
        assert_eq!(CANONICAL.codes[EOS], 0x3fff_ffff);
    }

    #[test]
    fn every_byte_is_decoded_as_encoded() {
        for byte in 0..=u8::MAX {
            for count in [1, 2, 3, 7, 8, 9] {
                let mut plain = vec![byte; count];
                for _ in 0..2 {
                    let mut wire = Vec::new();
                    encode(&plain, &mut wire);
                    assert_eq!(wire.len(), encoded_len(&plain));
                    assert_eq!(decoded(&wire), Ok(plain.clone()));
                    plain.splice(0..0, b"www.example/".iter().copied());
                }
            }
        }
        assert_eq!(decoded(b""), Ok(Vec::new()));
    }

    #[test]
    fn padding_is_at_most_seven_ones() {
        // The code of the letter a is 00011.
        assert_eq!(decoded(&[0b0001_1111]), Ok(b"a".to_vec()));
        for zero in [0b0001_1110, 0b0001_1011, 0b0001_1101] {
            assert_eq!(decoded(&[zero]), Err(HpackError::HuffmanPadding));
        }
        assert_eq!(decoded(&[0xff]), Err(HpackError::HuffmanPadding));
        assert_eq!(
            decoded(&[0b0001_1111, 0xff]),
            Err(HpackError::HuffmanPadding)
        );
        assert_eq!(decoded(&[0xff; 3]), Err(HpackError::HuffmanPadding));
    }

    #[test]
    fn the_end_of_string_symbol_is_refused_wherever_it_stands() {
        assert_eq!(decoded(&[0xff; 4]), Err(HpackError::HuffmanEos));
        for before in 0..12 {
            let mut wire = Vec::new();
            encode(&vec![b'e'; before * 8], &mut wire);
            wire.extend_from_slice(&[0xff; 4]);
            assert_eq!(decoded(&wire), Err(HpackError::HuffmanEos));
            wire.extend_from_slice(&[0x18; 9]);
            assert_eq!(decoded(&wire), Err(HpackError::HuffmanEos));
        }
    }
}
