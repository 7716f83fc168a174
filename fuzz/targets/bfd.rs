//! A packet of BFD.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::bfd::Packet;

fuzz_target!(|bytes: &[u8]| {
    let _ = Packet::decode(bytes);
});
