//! Tests copies between nodes, without the network: both ends of a stream, and a served volume.

use crate::served::VolumeServer;
use lab::{Random, ScratchDirectory};
use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use volume::client::Address;
use volume::copy::chunk::{CHUNK_BYTES, Sum};
use volume::copy::frame::CopyFrame;
use volume::copy::{CopyError, CopyTransfer, receive, send};
use volume::transfer::TransferSource;

const SIZE: usize = 40 << 20;

/// Creates a sparse file with compressible and incompressible data. Returns its bytes.
fn sample(path: &Path, length: usize) -> Vec<u8> {
    let mut random = Random::new(5);
    let mut bytes = vec![0; length];
    let file = fs::File::create(path).unwrap();
    file.set_len(length as u64).unwrap();
    for (index, part) in bytes.chunks_mut(300_000).enumerate() {
        match index % 4 {
            0 => part.fill(index as u8 + 1),
            1 => random.fill(part),
            _ => continue,
        }
        file.write_all_at(part, (index * 300_000) as u64).unwrap();
    }
    bytes
}

/// Served volume, and a shorter source.
struct CopyFixture {
    served: VolumeServer,
    source: PathBuf,
    bytes: Vec<u8>,
    _scratch: ScratchDirectory,
}

impl CopyFixture {
    fn new() -> CopyFixture {
        let served = VolumeServer::start("ring", SIZE as u64);
        let scratch = ScratchDirectory::new().unwrap();
        let source = scratch.path().join("disk.raw");
        let bytes = sample(&source, SIZE - 700_001);
        CopyFixture {
            served,
            source,
            bytes,
            _scratch: scratch,
        }
    }

    fn address(&self) -> Address {
        Address::parse(&self.served.uri()).unwrap()
    }

    /// Copies over a stream that breaks after `budget` bytes.
    fn copy(&self, sending: &mut CopyTransfer, budget: Option<usize>) -> Result<(), CopyError> {
        let (near, middle) = UnixStream::pair().unwrap();
        let (far, other) = UnixStream::pair().unwrap();
        let address = self.address();
        let mut source = TransferSource::open(self.source.to_str().unwrap()).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| carry(&middle, &other, budget));
            scope.spawn(|| carry(&other, &middle, None));
            let receiver = scope.spawn(move || receive(&far, "mail", &address, &Arc::default()));
            let sent = send(&near, &mut source, sending);
            drop(near);
            let received = receiver.join().unwrap();
            assert_eq!(sent.is_ok(), received.is_ok(), "{sent:?} {received:?}");
            sent
        })
    }

    #[track_caller]
    fn is_copied(&self) {
        let disk = fs::read(self.served.disk()).unwrap();
        let (copied, behind) = disk.split_at(self.bytes.len());
        let differs = copied.iter().zip(&self.bytes).position(|(a, b)| a != b);
        assert_eq!(differs, None);
        assert!(behind.iter().all(|byte| *byte == 0));
    }

    /// Writes into the volume's file directly, while the server has none of it cached.
    fn write(&self, at: u64, bytes: &[u8]) {
        let file = fs::File::options().write(true).open(self.served.disk());
        file.unwrap().write_all_at(bytes, at).unwrap();
    }
}

/// Relays bytes until the end, or until the budget is spent; then closes the connection. If one end
/// is gone, its data is dropped, as the link does, because its final message may still arrive at
/// the other end.
fn carry(mut from: &UnixStream, mut to: &UnixStream, budget: Option<usize>) {
    let mut left = budget.unwrap_or(usize::MAX);
    let mut buffer = vec![0; 64 << 10];
    let mut is_deaf = false;
    while left > 0 {
        let room = buffer.len().min(left);
        let Ok(count @ 1..) = from.read(&mut buffer[..room]) else {
            break;
        };
        is_deaf = is_deaf || to.write_all(&buffer[..count]).is_err();
        left -= count;
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

fn data(sending: &CopyTransfer) -> u64 {
    sending.progress.data.load(Ordering::Relaxed)
}

#[test]
fn a_volume_becomes_equal_to_a_source_and_the_second_copy_sends_nothing() {
    let site = CopyFixture::new();
    let mut sending = CopyTransfer::default();
    site.copy(&mut sending, None).unwrap();
    site.is_copied();
    let (first, packed) = (data(&sending), sending.packed.load(Ordering::Relaxed));
    let stored = site.bytes.iter().filter(|byte| **byte != 0).count() as u64;
    assert!((stored..stored * 2).contains(&first), "{first} of {stored}");
    assert!(packed < first * 3 / 4, "{packed} of {first}");
    // The target is still sparse.
    let blocks = std::os::unix::fs::MetadataExt::blocks(&fs::metadata(site.served.disk()).unwrap());
    assert!(blocks * 512 < SIZE as u64 * 3 / 4, "{blocks}");
    let mut again = CopyTransfer::default();
    site.copy(&mut again, None).unwrap();
    assert_eq!(data(&again), 0);
    assert_eq!(again.skipped.load(Ordering::Relaxed), first);
    site.is_copied();
}

#[test]
fn an_interrupted_copy_continues_with_the_missing_blocks() {
    let site = CopyFixture::new();
    let mut sending = CopyTransfer::default();
    for budget in [100, 300_000, 3 << 20, 6 << 20] {
        let broken = site.copy(&mut sending, Some(budget));
        let error = broken.unwrap_err();
        assert!(error.may_repeat(), "{error:?}");
    }
    let before = data(&sending);
    site.copy(&mut sending, None).unwrap();
    site.is_copied();
    let all = data(&sending);
    let mut once = CopyTransfer::default();
    once.overwrites = true;
    let other = CopyFixture::new();
    other.copy(&mut once, None).unwrap();
    // Only data in flight at the break is sent again.
    assert!(
        before > 0 && all < data(&once) + (24 << 20),
        "{before} {all}"
    );
    // Another command can also resume, without a message about data that it would overwrite.
    site.write(0, &[0; CHUNK_BYTES]);
    let mut other = CopyTransfer::default();
    site.copy(&mut other, None).unwrap();
    assert_eq!(data(&other), CHUNK_BYTES as u64);
    site.is_copied();
}

#[test]
fn other_data_is_kept_unless_it_may_be_overwritten() {
    let site = CopyFixture::new();
    for at in [0, 500_000, SIZE as u64 - 4096] {
        site.write(at, &[0xee; 4096]);
        let before = fs::read(site.served.disk()).unwrap();
        let refused = site.copy(&mut CopyTransfer::default(), None).unwrap_err();
        let words = refused.to_string();
        assert!(words.contains("holds other data"), "{words}");
        assert!(words.contains("`--yes` overwrites"), "{words}");
        assert!(fs::read(site.served.disk()).unwrap() == before);
        site.write(at, &[0; 4096]);
    }
    site.write(500_000, &[0xee; 4096]);
    site.write(SIZE as u64 - 4096, &[0xee; 4096]);
    let mut sending = CopyTransfer::default();
    sending.overwrites = true;
    site.copy(&mut sending, None).unwrap();
    site.is_copied();
}

#[test]
fn a_larger_source_is_refused_with_the_size_that_is_needed() {
    let served = VolumeServer::start("ring", 1 << 20);
    let mut site = CopyFixture::new();
    site.served = served;
    let refused = site.copy(&mut CopyTransfer::default(), None).unwrap_err();
    let words = refused.to_string();
    assert!(words.contains("write `size "), "{words}");
}

#[test]
fn a_misbehaving_sender_is_refused_without_changes() {
    let site = CopyFixture::new();
    let begin = |size: u64, from: u64| CopyFrame::Begin {
        size,
        from,
        overwrites: false,
    };
    let sum = Sum::of(&[1; CHUNK_BYTES]);
    let offer = |first: u64, count: usize| CopyFrame::Offer {
        first,
        sums: vec![sum; count],
    };
    let chunk = |chunk: u64, bytes: Vec<u8>, is_packed: bool| CopyFrame::Data {
        chunk,
        is_packed,
        bytes,
    };
    let zeroes = |first, count| CopyFrame::Zeroes { first, count };
    let (size, wrong) = (1 << 20, vec![2; CHUNK_BYTES]);
    let many = (0..20).map(|index| offer(index * 64, 64));
    let many: Vec<CopyFrame> = std::iter::once(begin(SIZE as u64 * 3, 0))
        .chain(many)
        .collect();
    for frames in [
        vec![CopyFrame::Alive],
        vec![offer(0, 1)],
        vec![begin(u64::MAX, 0)],
        vec![begin(size, u64::MAX)],
        vec![begin(size, 17)],
        vec![begin(size, 0), begin(size, 0)],
        vec![begin(size, 0), offer(1, 1)],
        vec![begin(size, 0), offer(0, 17)],
        vec![begin(size, 0), offer(u64::MAX, 2)],
        vec![begin(size, 0), zeroes(0, 17)],
        vec![begin(size, 0), zeroes(0, u64::MAX)],
        vec![begin(size + 1, 0), zeroes(0, 17)],
        vec![begin(size, 0), CopyFrame::End(sum)],
        vec![begin(size, 0), chunk(0, wrong.clone(), false)],
        vec![begin(size, 0), offer(0, 1), chunk(0, wrong.clone(), false)],
        vec![begin(size, 0), offer(0, 1), chunk(0, wrong.clone(), true)],
        vec![begin(size, 0), offer(0, 1), chunk(1, wrong.clone(), false)],
        vec![begin(size, 0), offer(0, 1), chunk(0, vec![1; 9], false)],
        vec![begin(size, 0), CopyFrame::Stable(1)],
        many,
    ] {
        let (near, far) = UnixStream::pair().unwrap();
        let address = site.address();
        let receiver = std::thread::spawn(move || receive(&far, "mail", &address, &Arc::default()));
        let mut bytes = Vec::new();
        frames.iter().for_each(|frame| frame.encode(&mut bytes));
        // The receiver may end before everything is sent.
        let _ = (&near).write_all(&bytes);
        let error = receiver.join().unwrap().unwrap_err();
        assert!(!error.may_repeat(), "{frames:?}: {error}");
        // The receiver reports the refusal.
        let mut input = &near;
        let refused = loop {
            match CopyFrame::read(&mut input).unwrap() {
                CopyFrame::Refused { words, .. } => break words,
                _ => continue,
            }
        };
        assert_eq!(refused, error.to_string());
    }
    let disk = fs::read(site.served.disk()).unwrap();
    assert!(disk.iter().all(|byte| *byte == 0));
}
