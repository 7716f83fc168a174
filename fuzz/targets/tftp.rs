//! A request of TFTP, and a transfer that it begins: whatever packets come, and whenever, the transfer
//! sends only bytes that the file has, not many more blocks than the client confirms, and ends.
#![no_main]

use boot::tftp::packet::TftpPacket;
use boot::tftp::transfer::{DuePackets, Transfer, TransferTerms};
use libfuzzer_sys::fuzz_target;
use std::time::{Duration, Instant};

/// Sends what is due; how many blocks.
fn sent(transfer: &mut Transfer, size: u64, now: Instant) -> u64 {
    let mut count = 0;
    while let Some(due) = transfer.due() {
        let blocks = match due {
            DuePackets::Options => 1,
            DuePackets::Blocks(blocks) => {
                let bytes = transfer.bytes_of(&blocks);
                let block = u64::from(transfer.terms().block_bytes());
                assert!(bytes.start <= bytes.end && bytes.end <= size);
                assert!(bytes.end - bytes.start <= (blocks.end - blocks.start) * block);
                blocks.end - blocks.start
            }
        };
        assert!(blocks > 0);
        transfer.sent(blocks, now);
        count += blocks;
    }
    assert!(count <= 64);
    count
}

fuzz_target!(|input: (&[u8], u64, u16, Vec<(u16, &[u8])>)| {
    let (request, size, block_max, packets) = input;
    let Ok(TftpPacket::Read(request)) = TftpPacket::parse(request) else {
        return;
    };
    let terms = TransferTerms::agree(&request.options, size, block_max);
    assert!((8..=65_464).contains(&terms.block_bytes()));
    let mut now = Instant::now();
    let mut transfer = Transfer::new(terms, size, now);
    let (mut blocks, mut silences) = (sent(&mut transfer, size, now), 1);
    for (pause_ms, packet) in packets {
        now += Duration::from_millis(pause_ms.into());
        silences += u64::from(transfer.deadline() <= now);
        transfer.handle_time(now);
        blocks += sent(&mut transfer, size, now);
        if let Ok(packet) = TftpPacket::parse(packet) {
            transfer.handle(&packet, now);
        }
        blocks += sent(&mut transfer, size, now);
        assert!(transfer.confirmed_bytes() <= size);
        let confirmed = transfer.confirmed_bytes() / u64::from(transfer.terms().block_bytes()) + 1;
        assert!(blocks <= 2 * confirmed + 64 * (silences + 6));
    }
    let mut rounds = 0;
    while transfer.end().is_none() {
        now = transfer.deadline();
        transfer.handle_time(now);
        sent(&mut transfer, size, now);
        rounds += 1;
        assert!(rounds < 10);
    }
});
