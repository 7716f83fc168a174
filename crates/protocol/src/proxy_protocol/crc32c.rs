//! Computes CRC-32C (Castagnoli, reflected), the checksum in version 2 of the PROXY header. A
//! header is short and occurs once per connection, so a table of 256 entries is fast enough.

const POLYNOMIAL: u32 = 0x82f6_3b78;

const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut n = 0;
    while n < 256 {
        let mut rest = n as u32;
        let mut bit = 0;
        while bit < 8 {
            rest = if rest & 1 == 1 {
                rest >> 1 ^ POLYNOMIAL
            } else {
                rest >> 1
            };
            bit += 1;
        }
        table[n] = rest;
        n += 1;
    }
    table
}

pub(super) fn crc32c(pieces: &[&[u8]]) -> u32 {
    let mut rest = u32::MAX;
    for byte in pieces.iter().flat_map(|piece| piece.iter()) {
        rest = rest >> 8 ^ TABLE[usize::from(rest as u8 ^ byte)];
    }
    !rest
}

#[cfg(test)]
mod tests {
    use super::crc32c;

    #[test]
    fn published_check_values_match() {
        let ascending: Vec<u8> = (0..32).collect();
        for (bytes, sum) in [
            (&b""[..], 0),
            (b"123456789", 0xe306_9283),
            (&[0; 32], 0x8a91_36aa),
            (&[0xff; 32], 0x62a8_ab43),
            (&ascending, 0x46dd_794e),
        ] {
            assert_eq!(crc32c(&[bytes]), sum, "{bytes:?}");
        }
    }

    #[test]
    fn pieces_count_as_one() {
        assert_eq!(crc32c(&[b"1234", b"", b"56789"]), 0xe306_9283);
    }
}
