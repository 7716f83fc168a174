//! The metadata of a copy as a disk may have it: slots with valid checksums, whatever is in them, then
//! pages. What can be read can be changed, and says the same afterwards.
#![no_main]

use libfuzzer_sys::fuzz_target;
use twox_hash::XxHash3_64;
use volume::layout::{FORMAT, MAGIC, Metadata, MetadataChange, stored_size};

/// Room for a slot of the ring, and how many there are.
const SLOT_BYTES: usize = 8192;
const SLOTS: usize = 8;
/// Pages of the bitmap behind them.
const PAGES_BYTES: usize = 8 << 12;

fn slot(content: &[u8], out: &mut [u8]) {
    let content = &content[..content.len().min(SLOT_BYTES - 24)];
    let length = 16 + content.len() + 8;
    let mut bytes = Vec::with_capacity(length);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&FORMAT.to_le_bytes());
    bytes.extend_from_slice(&(length as u32).to_le_bytes());
    bytes.extend_from_slice(content);
    let checksum = XxHash3_64::oneshot(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    out[..length].copy_from_slice(&bytes);
}

fuzz_target!(|input: (Vec<&[u8]>, &[u8])| {
    let (slots, pages) = input;
    let mut disk = vec![0; SLOTS * SLOT_BYTES + PAGES_BYTES];
    for (content, room) in slots.iter().zip(disk.chunks_mut(SLOT_BYTES)).take(SLOTS) {
        slot(content, room);
    }
    let count = pages.len().min(PAGES_BYTES);
    disk[SLOTS * SLOT_BYTES..][..count].copy_from_slice(&pages[..count]);
    let size = stored_size(&disk);
    let Ok((mut metadata, loaded)) = Metadata::load(&disk, None) else {
        return;
    };
    assert_eq!(size, Some(loaded.head.size_bytes));
    let change = MetadataChange {
        head: loaded.head.clone(),
        fill: None,
        bits: Vec::new(),
    };
    for write in metadata.plan(&change).into_iter().flat_map(|phase| phase.0) {
        let at = write.offset as usize;
        if let Some(room) = disk.get_mut(at..at + write.bytes.len()) {
            room.copy_from_slice(&write.bytes);
        }
    }
    let again = Metadata::load(&disk, None).map(|(_, loaded)| loaded.head);
    assert_eq!(again.ok(), Some(loaded.head));
});
