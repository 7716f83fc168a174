//! Allocates the buffers of a volume's requests. The pages belong to one memory mapping, which the
//! kernel can use for direct I/O, and whose size bounds the memory of a volume.

use super::DiskError;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;

pub const POOL_BYTES: usize = 8 << 20;
/// Alignment and allocation unit of buffers, bytes.
pub const PAGE_BYTES: usize = 4096;
/// Maximum size of a buffer, bytes. Longer requests use several.
pub const BUFFER_BYTES_MAX: usize = PAGES_PER_WORD * PAGE_BYTES;

pub const ACCOUNTS_MAX: usize = 19;
/// Guaranteed memory of each account, bytes. The accounts share the rest.
pub const ACCOUNT_BYTES_MIN: usize = 256 << 10;
const SHARED_BYTES: usize = POOL_BYTES - ACCOUNTS_MAX * ACCOUNT_BYTES_MIN;

const PAGES_PER_WORD: usize = u64::BITS as usize;
const WORDS: usize = POOL_BYTES / BUFFER_BYTES_MAX;

/// Mapped memory. Each operation in flight on it keeps a reference.
pub(super) struct PoolMemory {
    base: NonNull<u8>,
}

// SAFETY: it is only an address range. Who may access which part is decided by `Buffer`s,
// which stay on one thread, and by operations that own theirs until they have ended.
unsafe impl Send for PoolMemory {}
// SAFETY: as above.
unsafe impl Sync for PoolMemory {}

impl PoolMemory {
    fn map() -> Result<PoolMemory, DiskError> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address that the kernel chooses.
        let base = unsafe {
            mmap_anonymous(
                std::ptr::null_mut(),
                POOL_BYTES,
                access,
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )
        };
        let base = base.map_err(DiskError::Memory)?;
        match NonNull::new(base.cast()) {
            Some(base) => Ok(PoolMemory { base }),
            None => Err(DiskError::Memory(rustix::io::Errno::NOMEM)),
        }
    }

    /// Returns the start address of the buffers, for their registration with the kernel.
    pub(super) fn base(&self) -> *mut u8 {
        self.base.as_ptr()
    }
}

impl Drop for PoolMemory {
    fn drop(&mut self) {
        // SAFETY: mapped by `map` with this length. All buffers and operations hold the
        // memory, so none is left.
        let _ = unsafe { munmap(self.base.as_ptr().cast(), POOL_BYTES) };
    }
}

/// User of the pool, with the amount that it holds. The guaranteed minimum protects the other
/// users.
#[derive(Debug)]
pub struct Account {
    held_bytes: Rc<Cell<usize>>,
}

struct Pages {
    taken: [u64; WORDS],
    free: usize,
    near: usize,
}

struct PoolState {
    memory: Arc<PoolMemory>,
    pages: RefCell<Pages>,
    /// Memory that all accounts together use beyond [`ACCOUNT_BYTES_MIN`] each.
    beyond_bytes: Cell<usize>,
    returned: Cell<u64>,
}

#[derive(Clone)]
pub struct Pool {
    shared: Rc<PoolState>,
}

/// Range of the pool's memory with one owner. Dropping it returns its pages.
pub struct Buffer {
    shared: Rc<PoolState>,
    held_bytes: Rc<Cell<usize>>,
    page: usize,
    pages: usize,
    length: usize,
}

impl Pool {
    /// Maps the memory. Pages that are never used take no memory.
    ///
    /// # Errors
    /// The kernel refuses the mapping.
    pub fn new() -> Result<Pool, DiskError> {
        let pages = Pages {
            taken: [0; WORDS],
            free: WORDS * PAGES_PER_WORD,
            near: 0,
        };
        Ok(Pool {
            shared: Rc::new(PoolState {
                memory: Arc::new(PoolMemory::map()?),
                pages: RefCell::new(pages),
                beyond_bytes: Cell::new(0),
                returned: Cell::new(0),
            }),
        })
    }

    pub(super) fn memory(&self) -> &Arc<PoolMemory> {
        &self.shared.memory
    }

    pub fn free_bytes(&self) -> usize {
        self.shared.pages.borrow().free * PAGE_BYTES
    }

    /// Returns the number of buffers that were returned since the pool was created. While it stays
    /// the same, a refused [`Pool::take`] would be refused again.
    pub fn returned(&self) -> u64 {
        self.shared.returned.get()
    }

    /// Opens an account. The caller ensures that there are at most [`ACCOUNTS_MAX`] at a time.
    pub fn account(&self) -> Account {
        Account {
            held_bytes: Rc::default(),
        }
    }

    /// Allocates a buffer of `wanted` bytes. The buffer is shorter (a whole number of pages) if
    /// memory is short or `wanted` exceeds [`BUFFER_BYTES_MAX`]. The old content is not cleared.
    /// Returns `None` if the account is at its limit.
    pub fn take(&self, account: &Account, wanted: usize) -> Option<Buffer> {
        let wanted = wanted.clamp(1, BUFFER_BYTES_MAX);
        let mut count = wanted.div_ceil(PAGE_BYTES);
        let shared = &self.shared;
        let mut pages = shared.pages.borrow_mut();
        loop {
            if shared.may_hold(account, count * PAGE_BYTES)
                && let Some(page) = pages.take(count)
            {
                let buffer = Buffer {
                    shared: Rc::clone(shared),
                    held_bytes: Rc::clone(&account.held_bytes),
                    page,
                    pages: count,
                    length: wanted.min(count * PAGE_BYTES),
                };
                let before = account.held_bytes.get();
                shared.set_held(&account.held_bytes, before + buffer.memory_bytes());
                return Some(buffer);
            }
            if count == 1 {
                return None;
            }
            count = count.div_ceil(2);
        }
    }
}

impl PoolState {
    fn may_hold(&self, account: &Account, more: usize) -> bool {
        let before = account.held_bytes.get();
        let grows = beyond(before + more) - beyond(before);
        grows == 0 || self.beyond_bytes.get() + grows <= SHARED_BYTES
    }

    fn set_held(&self, held_bytes: &Cell<usize>, after: usize) {
        let before = held_bytes.replace(after);
        let others = self.beyond_bytes.get() - beyond(before);
        self.beyond_bytes.set(others + beyond(after));
    }
}

fn beyond(held: usize) -> usize {
    held.saturating_sub(ACCOUNT_BYTES_MIN)
}

impl Pages {
    /// Takes the first free pages within a word, so that a buffer never spans two words.
    fn take(&mut self, count: usize) -> Option<usize> {
        if self.free < count {
            return None;
        }
        for step in 0..WORDS {
            let word = (self.near + step) % WORDS;
            if let Some(bit) = run(!self.taken[word], count) {
                self.taken[word] |= mask(bit, count);
                self.free -= count;
                self.near = word;
                return Some(word * PAGES_PER_WORD + bit);
            }
        }
        None
    }

    fn give_back(&mut self, page: usize, count: usize) {
        let mask = mask(page % PAGES_PER_WORD, count);
        let word = &mut self.taken[page / PAGES_PER_WORD];
        debug_assert_eq!(*word & mask, mask, "pages are returned once");
        *word &= !mask;
        self.free += count;
    }
}

/// Returns the first of `count` (1 to 64) consecutive set bits.
fn run(mut bits: u64, count: usize) -> Option<usize> {
    let mut left = count - 1;
    let mut shift = 1;
    // Keeps, in each step, the bits at which twice as many free pages begin.
    while left > 0 && bits != 0 {
        let by = shift.min(left);
        bits &= bits >> by;
        left -= by;
        shift *= 2;
    }
    (bits != 0).then(|| bits.trailing_zeros() as usize)
}

fn mask(bit: usize, count: usize) -> u64 {
    (u64::MAX >> (PAGES_PER_WORD - count)) << bit
}

impl Buffer {
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Returns the memory in use, bytes: whole pages.
    pub fn memory_bytes(&self) -> usize {
        self.pages * PAGE_BYTES
    }

    pub(super) fn address(&self) -> *mut u8 {
        // SAFETY: the page is within the mapping.
        unsafe { self.shared.memory.base().add(self.page * PAGE_BYTES) }
    }

    pub fn bytes(&self) -> &[u8] {
        // SAFETY: these pages are within the mapping, initialised (the kernel maps zeroes)
        // and this buffer's alone; they are changed only through `&mut self`, or by an
        // operation of the disk, which owns the buffer meanwhile.
        unsafe { std::slice::from_raw_parts(self.address(), self.length) }
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.address(), self.length) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut pages = self.shared.pages.borrow_mut();
        pages.give_back(self.page, self.pages);
        let after = self.held_bytes.get() - self.memory_bytes();
        self.shared.set_held(&self.held_bytes, after);
        let returned = &self.shared.returned;
        returned.set(returned.get().wrapping_add(1));
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool({} bytes free)", self.free_bytes())
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} bytes, page {})", self.length, self.page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn buffers_are_aligned_and_shorter_ones_come_when_memory_is_short() {
        let pool = Pool::new().unwrap();
        let account = pool.account();
        let take = |wanted| pool.take(&account, wanted);
        let all: Vec<Buffer> = std::iter::from_fn(|| take(usize::MAX)).collect();
        let limit = SHARED_BYTES + ACCOUNT_BYTES_MIN;
        assert_eq!(all.len(), limit / BUFFER_BYTES_MAX);
        assert!(all.iter().all(|buffer| buffer.len() == BUFFER_BYTES_MAX));
        assert!(take(1).is_none());
        drop(all);

        let mut small: Vec<Buffer> = std::iter::from_fn(|| take(512)).collect();
        assert_eq!(small.len(), limit / PAGE_BYTES);
        assert!(small.iter().all(|buffer| buffer.len() == 512));
        assert!(
            small
                .iter()
                .all(|b| (b.address() as usize).is_multiple_of(PAGE_BYTES))
        );
        small.pop();
        assert_eq!(take(2 * PAGE_BYTES).unwrap().len(), PAGE_BYTES);
        small.truncate(1);
        assert_eq!(take(2 * PAGE_BYTES).unwrap().len(), 2 * PAGE_BYTES);
    }

    #[test]
    fn a_greedy_account_leaves_each_other_its_share() {
        let pool = Pool::new().unwrap();
        let greedy = pool.account();
        let held: Vec<Buffer> = std::iter::from_fn(|| pool.take(&greedy, 4096)).collect();
        let others: Vec<Account> = (1..ACCOUNTS_MAX).map(|_| pool.account()).collect();
        let mut theirs = Vec::new();
        for account in &others {
            let before = theirs.len();
            theirs.extend(std::iter::from_fn(|| pool.take(account, usize::MAX)));
            let bytes: usize = theirs[before..].iter().map(Buffer::memory_bytes).sum();
            assert_eq!(bytes, ACCOUNT_BYTES_MIN);
        }
        assert_eq!(pool.free_bytes(), 0);
        drop((held, theirs));
        assert_eq!(pool.free_bytes(), POOL_BYTES);
        assert_eq!(pool.shared.beyond_bytes.get(), 0);
    }

    #[test]
    fn a_buffer_outlives_its_pool() {
        let pool = Pool::new().unwrap();
        let account = pool.account();
        let mut buffer = pool.take(&account, 9000).unwrap();
        drop((pool, account));
        buffer.bytes_mut().fill(7);
        assert!(buffer.bytes().iter().all(|byte| *byte == 7));
        assert_eq!(
            (buffer.len(), buffer.memory_bytes()),
            (9000, 3 * PAGE_BYTES)
        );
    }

    proptest! {
        #[test]
        fn no_page_is_given_out_twice(steps in proptest::collection::vec((0usize..300_000, any::<bool>()), 1..60)) {
            let pool = Pool::new().unwrap();
            let account = pool.account();
            let mut held: Vec<(Buffer, u8)> = Vec::new();
            for (place, (wanted, keep)) in steps.into_iter().enumerate() {
                let mark = place as u8;
                if let Some(mut buffer) = pool.take(&account, wanted) {
                    prop_assert!(buffer.len() <= wanted.max(1));
                    buffer.bytes_mut().fill(mark);
                    held.push((buffer, mark));
                }
                if !keep && !held.is_empty() {
                    held.swap_remove(wanted % held.len());
                }
                for (buffer, mark) in &held {
                    prop_assert!(buffer.bytes().iter().step_by(PAGE_BYTES).all(|byte| byte == mark));
                }
            }
            let used: usize = held.iter().map(|(buffer, _)| buffer.memory_bytes()).sum();
            prop_assert_eq!(pool.free_bytes(), POOL_BYTES - used);
        }
    }
}
