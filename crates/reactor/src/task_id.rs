//! Packs the ID of a task into a pointer, so that a waker needs no memory of its own: its thread,
//! the slot in the thread's slab and the generation of that slot.

use super::THREADS_MAX;

const _: () = assert!(
    usize::BITS == 64,
    "a task's name is packed into a 64-bit pointer"
);
const _: () = assert!(THREADS_MAX <= 1 << THREAD_BITS);

const THREAD_BITS: u32 = 8;
const GENERATION_BITS: u32 = 24;
/// Mask of the generation bits; generations wrap around.
pub(super) const GENERATION_MASK: u32 = (1 << GENERATION_BITS) - 1;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TaskId {
    pub(super) thread: u8,
    /// Generation of the slot, below 2^24.
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
}

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
}
