//! Builds the ClientHello of SSLv3 that `option ssl-hello-chk` sends to a server. No handshake
//! follows. An alert that refuses the old version is accepted like a response: both prove that
//! the server uses TLS.

const HANDSHAKE: u8 = 0x16;
/// The random bytes of the ClientHello can be fixed, because no secret depends on them.
const RANDOM: &[u8; 28] = b"Evenkeel asks: who is there?";

pub fn hello(unix_seconds: u32) -> Vec<u8> {
    let ciphers: Vec<u8> = (0x01..=0x1b).chain(0x2f..=0x3a).collect();
    let mut body = vec![3, 0];
    body.extend_from_slice(&unix_seconds.to_be_bytes());
    body.extend_from_slice(RANDOM);
    body.push(0);
    body.extend_from_slice(&[0, ciphers.len() as u8 * 2]);
    body.extend(ciphers.iter().flat_map(|cipher| [0, *cipher]));
    body.extend_from_slice(&[1, 0]);
    let length = body.len() as u8;
    let mut record = vec![HANDSHAKE, 3, 0, 0, length + 4, 1, 0, 0, length];
    record.extend_from_slice(&body);
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lengths_of_the_hello_are_those_of_its_parts() {
        let hello = hello(0x0102_0304);
        assert_eq!(hello.len(), 5 + usize::from(hello[4]));
        assert_eq!(hello.len(), 9 + usize::from(hello[8]));
        assert_eq!(
            hello[..15],
            [22, 3, 0, 0, 121, 1, 0, 0, 117, 3, 0, 1, 2, 3, 4]
        );
        assert_eq!(hello[43..46], [0, 0, 78]);
    }
}
