//! What the other node says first, and a head of the link of volumes: what can be read is written as
//! the same bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use volume::link::frame::{FrameHeader, HEAD_BYTES, checksum};
use volume::link::greeting::Greeting;

fuzz_target!(|bytes: &[u8]| {
    let _ = Greeting::read(&mut &*bytes);
    let Some(mut head) = bytes.first_chunk::<HEAD_BYTES>().copied() else {
        return;
    };
    // Its last eight bytes are the checksum of those before it.
    let (body, sum) = head.split_at_mut(HEAD_BYTES - 8);
    sum.copy_from_slice(&checksum(body).to_le_bytes());
    if let Some(read) = FrameHeader::decode(&head) {
        let again = FrameHeader::decode(&read.encode());
        assert_eq!(again, Some(read));
    }
});
