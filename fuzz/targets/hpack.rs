//! Blocks of compressed fields, one after the other with one table.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::http2::FieldList;
use protocol::http2::hpack::Decoder;

fuzz_target!(|blocks: Vec<&[u8]>| {
    let mut decoder = Decoder::new(4096);
    for block in blocks {
        let mut fields = FieldList::new(65_536, 101);
        if decoder.decode(block, &mut fields).is_err() {
            return;
        }
    }
});
