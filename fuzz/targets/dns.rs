//! The answer of a nameserver.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::dns::{Kind, Name, Question, parse};

fuzz_target!(|input: (u8, &[u8])| {
    let (kind, bytes) = input;
    let kinds = [Kind::A, Kind::Aaaa, Kind::Srv];
    let Some(name) = Name::new("example.test") else {
        return;
    };
    let kind = kinds[usize::from(kind) % kinds.len()];
    let id = bytes.first_chunk().map_or(0, |id| u16::from_be_bytes(*id));
    let _ = parse(bytes, id, &Question { name, kind });
});
