//! Executes disk operations with io_uring. The volume's memory and file are registered where the
//! kernel permits. A helper thread runs the steps for which io_uring has no operation.

use super::pool::{POOL_BYTES, PoolMemory};
use super::step::{self, DiskStep, StepCompletion};
use super::threads::{DiskThreads, failure};
use super::{BackingFile, DiskError, OPERATIONS_MAX};
use io_uring::types::{Fd, FsyncFlags};
use io_uring::{IoUring, Probe, opcode, squeue};
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;

/// Limit of kernel worker threads for steps that would block.
const WORKERS_MAX: u32 = 16;
const POOL_INDEX: u16 = 0;

pub(super) struct Ring {
    ring: IoUring,
    threads: DiskThreads,
    file: Arc<File>,
    is_device: bool,
    /// Keeps the memory mapped until all steps have ended.
    _memory: Arc<PoolMemory>,
    memory_is_registered: bool,
    file_is_registered: bool,
    steps: Vec<Option<DiskStep>>,
    pushed: usize,
}

impl Ring {
    pub(super) fn new(target: &BackingFile, memory: &Arc<PoolMemory>) -> Result<Ring, DiskError> {
        let errno = |error: std::io::Error| {
            DiskError::Engine(Errno::from_io_error(&error).unwrap_or(Errno::NOSYS))
        };
        let entries = OPERATIONS_MAX as u32;
        // Sets COOP_TASKRUN, without which the kernel interrupts an idle thread. Kernels before
        // 5.19 lack the flag.
        let ring = IoUring::builder()
            .setup_coop_taskrun()
            .build(entries)
            .or_else(|_| IoUring::new(entries))
            .map_err(errno)?;
        let mut probe = Probe::new();
        ring.submitter().register_probe(&mut probe).map_err(errno)?;
        let needed = [
            opcode::Read::CODE,
            opcode::Write::CODE,
            opcode::ReadFixed::CODE,
            opcode::WriteFixed::CODE,
            opcode::Fsync::CODE,
            opcode::Fallocate::CODE,
        ];
        if !needed.iter().all(|code| probe.is_supported(*code)) {
            return Err(DiskError::Engine(Errno::NOSYS));
        }
        let whole = libc::iovec {
            iov_base: memory.base().cast(),
            iov_len: POOL_BYTES,
        };
        // SAFETY: the memory is mapped until the ring is dropped, which `_memory` sees to.
        let buffers = unsafe { ring.submitter().register_buffers(&[whole]) };
        let files = ring.submitter().register_files(&[target.file.as_raw_fd()]);
        // Ignores failures: this is only a bound, which kernels before 5.15 lack.
        let _ = ring
            .submitter()
            .register_iowq_max_workers(&mut [WORKERS_MAX, WORKERS_MAX]);
        Ok(Ring {
            ring,
            threads: DiskThreads::new(target, memory, 1)?,
            file: Arc::clone(&target.file),
            is_device: target.is_device,
            _memory: Arc::clone(memory),
            memory_is_registered: buffers.is_ok(),
            file_is_registered: files.is_ok(),
            steps: vec![None; OPERATIONS_MAX],
            pushed: 0,
        })
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        // SAFETY: the ring owns it as long as `self` lives.
        unsafe { BorrowedFd::borrow_raw(self.ring.as_raw_fd()) }
    }

    pub(super) fn threads(&self) -> &DiskThreads {
        &self.threads
    }

    pub(super) fn push(&mut self, slot: u32, step: DiskStep) {
        let Some(entry) = self.entry(step) else {
            return self.threads.push(slot, step);
        };
        let entry = entry.user_data(u64::from(slot));
        self.steps[slot as usize] = Some(step);
        // Hands the step to the helper thread if the queue is full and the kernel accepts nothing.
        // There are as many entries as slots.
        // SAFETY: the step's memory stays until it has ended, as in `Threads`.
        while unsafe { self.ring.submission().push(&entry) }.is_err() {
            if self.ring.submit().is_err() {
                self.steps[slot as usize] = None;
                return self.threads.push(slot, step);
            }
        }
        self.pushed += 1;
    }

    pub(super) fn is_held_up(&self) -> bool {
        self.pushed > 0
    }

    pub(super) fn start(&mut self) {
        // Ignores an interruption and a lack of kernel memory: the entries stay in the queue, and
        // `reap` submits them again.
        if self.pushed > 0
            && let Ok(taken) = self.ring.submit()
        {
            self.pushed = self.pushed.saturating_sub(taken);
        }
    }

    pub(super) fn reap(&mut self, out: &mut Vec<StepCompletion>) {
        self.start();
        self.threads.reap(out);
        let Ring {
            ring,
            threads,
            steps,
            ..
        } = self;
        for entry in ring.completion() {
            let slot = entry.user_data() as u32;
            let Some(step) = steps.get_mut(slot as usize).and_then(Option::take) else {
                continue;
            };
            let result = match u32::try_from(entry.result()) {
                Ok(done) => Ok(done as usize),
                Err(_) => Err(Errno::from_raw_os_error(-entry.result())),
            };
            match (step, result) {
                // Runs the step on the helper thread, by other system calls, because io_uring
                // refused it.
                (DiskStep::Zero { .. } | DiskStep::Discard { .. }, Err(Errno::OPNOTSUPP)) => {
                    threads.push(slot, step);
                }
                (step, result) => out.push(StepCompletion {
                    slot,
                    result: result.map_err(|errno| failure(step, errno)),
                    extents: None,
                }),
            }
        }
    }

    fn entry(&self, step: DiskStep) -> Option<squeue::Entry> {
        if self.file_is_registered {
            let entry = entry(Fd(0), step, self.is_device, self.memory_is_registered)?;
            return Some(entry.flags(squeue::Flags::FIXED_FILE));
        }
        let file = Fd(self.file.as_raw_fd());
        entry(file, step, self.is_device, self.memory_is_registered)
    }
}

fn entry(file: Fd, step: DiskStep, is_device: bool, is_registered: bool) -> Option<squeue::Entry> {
    Some(match step {
        DiskStep::Read {
            offset,
            address,
            length,
        } => {
            let (address, length) = (address as *mut u8, length as u32);
            if is_registered {
                opcode::ReadFixed::new(file, address, length, POOL_INDEX)
                    .offset(offset)
                    .build()
            } else {
                opcode::Read::new(file, address, length)
                    .offset(offset)
                    .build()
            }
        }
        DiskStep::Write {
            offset,
            address,
            length,
            fua,
        } => {
            let flags = step::write_flags(fua).bits() as i32;
            let (address, length) = (address as *const u8, length as u32);
            if is_registered {
                opcode::WriteFixed::new(file, address, length, POOL_INDEX)
                    .offset(offset)
                    .rw_flags(flags)
                    .build()
            } else {
                opcode::Write::new(file, address, length)
                    .offset(offset)
                    .rw_flags(flags)
                    .build()
            }
        }
        DiskStep::Flush => opcode::Fsync::new(file).flags(FsyncFlags::DATASYNC).build(),
        DiskStep::Zero {
            offset,
            length,
            allocate,
            fast,
        } => {
            let flags = step::zero_flags(is_device, allocate, fast)?;
            opcode::Fallocate::new(file, length)
                .offset(offset)
                .mode(flags.bits() as i32)
                .build()
        }
        DiskStep::Discard { offset, length } => opcode::Fallocate::new(file, length)
            .offset(offset)
            .mode(step::hole_flags().bits() as i32)
            .build(),
        DiskStep::Extents { .. } => return None,
    })
}
