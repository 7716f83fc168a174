//! Tests disk operations with each engine: io_uring and threads.

use lab::ScratchDirectory;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;
use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use volume::disk::{
    Account, BUFFER_BYTES_MAX, BackingFile, Buffer, Completion, Disk, Extent, Failure,
    OPERATIONS_MAX, Operation, OperationOutput, Pool, Preference, Token,
};

const SIZE: u64 = 8 << 20;

pub(crate) struct DiskFixture {
    disk: Disk,
    pool: Pool,
    account: Account,
    _scratch: Option<ScratchDirectory>,
}

/// Opens a file, with direct I/O where supported.
pub(crate) fn open(path: &Path) -> File {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = File::options();
    options.read(true).write(true);
    let flags = rustix::fs::OFlags::DIRECT.bits() as i32;
    let directly = options.clone().custom_flags(flags).open(path);
    directly.or_else(|_| options.open(path)).unwrap()
}

type Results = HashMap<u64, Result<OperationOutput, Failure>>;

impl DiskFixture {
    fn new(prefers: Preference, first: u64, is_cached: bool) -> DiskFixture {
        let scratch = ScratchDirectory::new().unwrap();
        let path = scratch.write("disk", []).unwrap();
        let file = if is_cached {
            File::options().read(true).write(true).open(&path).unwrap()
        } else {
            open(&path)
        };
        file.set_len(first + SIZE).unwrap();
        let target = BackingFile {
            file: Arc::new(file),
            is_device: false,
            first,
        };
        let mut bench = DiskFixture::on(&target, prefers);
        if is_cached {
            bench.disk.use_cache(&target);
        }
        DiskFixture {
            _scratch: Some(scratch),
            ..bench
        }
    }

    pub(crate) fn on(target: &BackingFile, prefers: Preference) -> DiskFixture {
        let pool = Pool::new().unwrap();
        DiskFixture {
            disk: Disk::new(target, &pool, prefers).unwrap(),
            account: pool.account(),
            pool,
            _scratch: None,
        }
    }

    fn buffer(&self, length: usize, byte: u8) -> Buffer {
        let mut buffer = self.pool.take(&self.account, length).unwrap();
        buffer.bytes_mut().fill(byte);
        buffer
    }

    fn run(&mut self, operations: Vec<Operation>) -> Results {
        let count = operations.len();
        for (number, operation) in operations.into_iter().enumerate() {
            self.disk.submit(Token(number as u64), operation);
        }
        self.disk.start();
        let mut results = HashMap::new();
        let mut completions: Vec<Completion> = Vec::new();
        while results.len() < count {
            let timeout = self.disk.has_ended().then(Timespec::default);
            let mut fds: Vec<PollFd<'_>> = self
                .disk
                .descriptors()
                .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
                .collect();
            let _ = poll(&mut fds, timeout.as_ref());
            drop(fds);
            self.disk.completions(&mut completions);
            for one in completions.drain(..) {
                assert!(results.insert(one.token.0, one.result).is_none());
            }
        }
        assert_eq!(self.disk.operations(), 0);
        results
    }

    pub(crate) fn one(&mut self, operation: Operation) -> Result<OperationOutput, Failure> {
        self.run(vec![operation]).remove(&0).unwrap()
    }

    pub(crate) fn write(&mut self, offset: u64, length: usize, byte: u8, fua: bool) {
        let buffer = Rc::new(self.buffer(length, byte));
        let write = Operation::Write {
            offset,
            buffer,
            fua,
        };
        assert!(matches!(self.one(write), Ok(OperationOutput::Done)));
    }

    pub(crate) fn read(&mut self, offset: u64, length: usize) -> Vec<u8> {
        let buffer = self.buffer(length, 0xee);
        match self.one(Operation::Read { offset, buffer }) {
            Ok(OperationOutput::Data(buffer)) => buffer.bytes().to_vec(),
            other => panic!("{other:?}"),
        }
    }
}

fn each(test: impl Fn(&mut DiskFixture)) {
    for prefers in [Preference::Best, Preference::Threads] {
        for (first, is_cached) in [(0, false), (1 << 20, false), (0, true), (1 << 20, true)] {
            let mut bench = DiskFixture::new(prefers, first, is_cached);
            assert!(prefers == Preference::Best || !bench.disk.uses_ring());
            test(&mut bench);
        }
    }
}

#[test]
fn what_was_written_is_read() {
    each(|bench| {
        bench.write(4096, 8192, 1, false);
        bench.write(8192, 512, 2, true);
        assert_eq!(bench.read(0, 4096), vec![0; 4096]);
        assert_eq!(bench.read(8192, 512), vec![2; 512]);
        assert_eq!(bench.read(8704, 3584), vec![1; 3584]);
        let past = Operation::Read {
            offset: SIZE,
            buffer: bench.buffer(4096, 0),
        };
        assert!(matches!(bench.one(past), Err(Failure::Short)));
        assert_eq!(bench.pool.free_bytes(), volume::disk::POOL_BYTES);
    });
}

#[test]
fn zeroes_discards_and_extents() {
    each(|bench| {
        bench.write(0, BUFFER_BYTES_MAX, 9, false);
        for (offset, allocate, fast) in [(0, false, true), (65_536, true, false)] {
            let zero = Operation::Zero {
                offset,
                length: 65_536,
                allocate,
                fast,
            };
            assert!(matches!(bench.one(zero), Ok(OperationOutput::Done)));
            assert_eq!(bench.read(offset, 65_536), vec![0; 65_536]);
        }
        let (offset, length) = (131_072, 65_536);
        let discard = bench.one(Operation::Discard { offset, length });
        assert!(matches!(discard, Ok(OperationOutput::Done)));
        assert_eq!(bench.read(196_608, 65_536), vec![9; 65_536]);
        let (offset, length) = (0, SIZE);
        let Ok(OperationOutput::Extents(extents)) =
            bench.one(Operation::Extents { offset, length })
        else {
            panic!("no extents");
        };
        let whole: u64 = extents.iter().map(|extent| extent.length).sum();
        assert_eq!(whole, SIZE);
        let data = Extent {
            length: 65_536,
            is_hole: false,
        };
        assert!(extents.contains(&data), "{extents:?}");
        assert!(extents.last().unwrap().is_hole);
    });
}

#[test]
fn more_operations_than_slots_are_all_done_and_flushes_are_shared() {
    each(|bench| {
        let mut operations = Vec::new();
        for number in 0..OPERATIONS_MAX as u64 * 2 {
            operations.push(Operation::Write {
                offset: number * 4096,
                buffer: Rc::new(bench.buffer(4096, number as u8)),
                fua: false,
            });
            operations.push(Operation::Flush);
        }
        let results = bench.run(operations);
        assert!(
            results
                .values()
                .all(|one| matches!(one, Ok(OperationOutput::Done)))
        );
        assert_eq!(bench.read(300 * 4096, 4096), vec![300_u32 as u8; 4096]);
    });
}

#[test]
fn a_disk_that_is_dropped_waits_for_its_operations() {
    each(|bench| {
        for number in 0..100_u64 {
            let buffer = Rc::new(bench.buffer(65_536, 3));
            let offset = number * 65_536 % SIZE;
            let fua = true;
            bench.disk.submit(
                Token(number),
                Operation::Write {
                    offset,
                    buffer,
                    fua,
                },
            );
            bench.disk.start();
            if bench.pool.free_bytes() < 5 << 20 {
                break;
            }
        }
        let other = DiskFixture::new(Preference::Threads, 0, false);
        drop(std::mem::replace(&mut bench.disk, other.disk));
        assert_eq!(bench.pool.free_bytes(), volume::disk::POOL_BYTES);
    });
}
