//! The head of the PROXY protocol, versions 1 and 2.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::proxy_protocol::{Progress, parse};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(Progress::Incomplete { missing_bytes }) = parse(bytes) {
        assert!(missing_bytes > 0, "it waits for nothing");
    }
});
