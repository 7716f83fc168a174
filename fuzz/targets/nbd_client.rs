//! The client's side of NBD: a handshake, and the heads of replies behind it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::nbd::client::{Dial, NbdReplyHeader, error, extents, hole};

fuzz_target!(|input: (bool, bool, &[u8])| {
    let (is_plain, skips_handshake, bytes) = input;
    let mut input = bytes;
    if !skips_handshake {
        let Ok(mut dial) = Dial::new("mail", is_plain) else {
            return;
        };
        let mut out = Vec::new();
        if !matches!(dial.handle(&mut input, &mut out), Ok(Some(_))) {
            return;
        }
    }
    while let Ok(Some(_)) = NbdReplyHeader::decode(&mut input) {
        let _ = (hole(input), extents(input, 0), error(input));
    }
});
