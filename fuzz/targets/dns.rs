//! The answer of a nameserver.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::dns::{DnsName, DnsQuestion, DnsRecordType, parse};

fuzz_target!(|input: (u8, &[u8])| {
    let (kind, bytes) = input;
    let kinds = [DnsRecordType::A, DnsRecordType::Aaaa, DnsRecordType::Srv];
    let Some(name) = DnsName::new("example.test") else {
        return;
    };
    let kind = kinds[usize::from(kind) % kinds.len()];
    let id = bytes.first_chunk().map_or(0, |id| u16::from_be_bytes(*id));
    let _ = parse(bytes, id, &DnsQuestion { name, kind });
});
