//! A waker without memory of its own: which thread, which slot of its slab and
//! which generation of that slot fit into the data pointer, so a clone is a
//! copy and nothing is counted or freed.
//!
//! A wake never touches the task: it puts the name of the task on the run queue
//! of this thread or into the inbox of another. A waker that outlives its task
//! names a generation that is gone; after 2^24 tasks in one slot it could name
//! a later task, whose wake is then spurious and does no harm.

use super::{THREADS_MAX, executor, inbox};
use std::ptr;
use std::task::{RawWaker, RawWakerVTable, Waker};

const _: () = assert!(
    usize::BITS == 64,
    "a task's name is packed into a 64-bit pointer"
);
const _: () = assert!(THREADS_MAX <= 1 << THREAD_BITS);

const THREAD_BITS: u32 = 8;
const GENERATION_BITS: u32 = 24;
/// What a generation is counted modulo.
pub(super) const GENERATION_MASK: u32 = (1 << GENERATION_BITS) - 1;

/// The name of one task of this process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TaskId {
    pub(super) thread: u8,
    /// Below 2^24.
    pub(super) generation: u32,
    pub(super) index: u32,
}

impl TaskId {
    pub(super) const fn pack(self) -> u64 {
        (self.thread as u64) << 56
            | ((self.generation & GENERATION_MASK) as u64) << 32
            | self.index as u64
    }

    pub(super) const fn unpack(word: u64) -> TaskId {
        TaskId {
            thread: (word >> 56) as u8,
            generation: (word >> 32) as u32 & GENERATION_MASK,
            index: word as u32,
        }
    }

    /// The waker of this task.
    pub(super) fn waker(self) -> Waker {
        let data = ptr::without_provenance(self.pack() as usize);
        // SAFETY: the functions of the table only read the number in the
        // pointer, may be called from any thread, and own nothing.
        unsafe { Waker::from_raw(RawWaker::new(data, &TABLE)) }
    }
}

static TABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake, drop_nothing);

fn clone(data: *const ()) -> RawWaker {
    RawWaker::new(data, &TABLE)
}

fn wake(data: *const ()) {
    let id = TaskId::unpack(data.addr() as u64);
    if !executor::wake_here(id) {
        inbox::wake_elsewhere(id);
    }
}

fn drop_nothing(_: *const ()) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_survives_its_packing() {
        for id in [
            TaskId {
                thread: 0,
                generation: 0,
                index: 0,
            },
            TaskId {
                thread: 63,
                generation: GENERATION_MASK,
                index: u32::MAX,
            },
            TaskId {
                thread: 7,
                generation: 0x00ab_cdef,
                index: 0x1234_5678,
            },
        ] {
            assert_eq!(TaskId::unpack(id.pack()), id);
        }
    }

    #[test]
    fn a_clone_wakes_the_same_task_and_waking_nobody_is_harmless() {
        let waker = TaskId {
            thread: 63,
            generation: 1,
            index: 2,
        }
        .waker();
        let other = TaskId {
            thread: 63,
            generation: 1,
            index: 3,
        }
        .waker();
        assert!(waker.will_wake(&waker.clone()));
        assert!(!waker.will_wake(&other));
        waker.wake_by_ref();
        waker.wake();
    }
}
