//! Frames of `evenkeel copy`: what can be read can be written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use volume::copy::frame::CopyFrame;

fuzz_target!(|bytes: &[u8]| {
    let mut input = bytes;
    while let Ok(frame) = CopyFrame::read(&mut input) {
        let mut written = Vec::new();
        frame.encode(&mut written);
        let again = CopyFrame::read(&mut written.as_slice());
        assert_eq!(again.ok(), Some(frame));
    }
});
