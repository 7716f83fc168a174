//! Implements a pinned box for futures whose memory returns to a free list of the thread instead
//! of the allocator. Meant for the state of a request, which is allocated with its first byte and
//! freed with its last.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll};

/// Maximum number of layouts with a free list on a thread; other layouts use the allocator.
const LAYOUTS_MAX: usize = 16;
/// Maximum free memory that a thread keeps for one layout, in bytes.
const FREE_BYTES_MAX: usize = 1024 * 1024;

struct FreeList {
    layout: Layout,
    free: Vec<NonNull<u8>>,
}

impl Drop for FreeList {
    fn drop(&mut self) {
        for memory in self.free.drain(..) {
            // SAFETY: the memory came from `alloc` with this layout, and no box uses it.
            unsafe { dealloc(memory.as_ptr(), self.layout) };
        }
    }
}

thread_local! {
    static LISTS: RefCell<Vec<FreeList>> = const { RefCell::new(Vec::new()) };
}

pub(super) fn release_pool() {
    let lists = LISTS.try_with(|lists| std::mem::take(&mut *lists.borrow_mut()));
    drop(lists);
}

/// Returns memory of this layout, whose size must not be zero.
fn take(layout: Layout) -> NonNull<u8> {
    let pooled = LISTS.try_with(|lists| {
        let mut lists = lists.borrow_mut();
        lists
            .iter_mut()
            .find(|list| list.layout == layout)?
            .free
            .pop()
    });
    if let Ok(Some(memory)) = pooled {
        return memory;
    }
    // SAFETY: the size of the layout is not zero, as the callers ensure.
    NonNull::new(unsafe { alloc(layout) }).unwrap_or_else(|| handle_alloc_error(layout))
}

fn return_memory(memory: NonNull<u8>, layout: Layout) {
    let kept = LISTS.try_with(|lists| {
        let mut lists = lists.borrow_mut();
        let position = lists.iter().position(|list| list.layout == layout);
        let list = match position {
            Some(position) => lists.get_mut(position),
            None if lists.len() < LAYOUTS_MAX => {
                lists.push(FreeList {
                    layout,
                    free: Vec::new(),
                });
                lists.last_mut()
            }
            None => None,
        };
        match list {
            Some(list) if list.free.len() < FREE_BYTES_MAX / layout.size() => {
                list.free.push(memory);
                true
            }
            Some(_) | None => false,
        }
    });
    if kept != Ok(true) {
        // SAFETY: the memory came from `alloc` with this layout, and no list keeps it.
        unsafe { dealloc(memory.as_ptr(), layout) };
    }
}

/// A pinned future in pooled memory.
#[must_use = "futures do nothing unless polled"]
pub struct PoolBox<F> {
    /// Dangling when `F` has no size. The pointer makes the box not `Send`, so the memory returns
    /// to the thread that allocated it.
    future: NonNull<F>,
}

pub fn pool_box<F>(future: F) -> PoolBox<F> {
    let layout = Layout::new::<F>();
    let place = if layout.size() == 0 {
        NonNull::dangling()
    } else {
        take(layout).cast::<F>()
    };
    // SAFETY: nothing else uses the memory, and it has the right layout; or the size is zero and
    // the pointer is aligned.
    unsafe { place.write(future) };
    PoolBox { future: place }
}

// The box can be moved; the future in it cannot.
impl<F> Unpin for PoolBox<F> {}

impl<F: Future> Future for PoolBox<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: the box owns the future, which never moves until it is dropped in place, and its
        // memory is not reused before that.
        unsafe { Pin::new_unchecked(self.get_mut().future.as_mut()) }.poll(context)
    }
}

impl<F> Drop for PoolBox<F> {
    fn drop(&mut self) {
        /// Returns the memory even when the future's own drop panics.
        struct FutureMemory(NonNull<u8>, Layout);
        impl Drop for FutureMemory {
            fn drop(&mut self) {
                if self.1.size() > 0 {
                    return_memory(self.0, self.1);
                }
            }
        }
        let memory = FutureMemory(self.future.cast(), Layout::new::<F>());
        // SAFETY: the box owns the future, `pool_box` initialised it, and it is dropped once.
        unsafe { self.future.drop_in_place() };
        drop(memory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;
    use std::task::Waker;

    fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
        Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn memory_is_reused_for_the_same_layout() {
        let first = pool_box(std::future::ready([1_u64; 9]));
        let place = first.future.as_ptr().addr();
        drop(first);
        let mut second = pool_box(std::future::ready([2_u64; 9]));
        assert_eq!(second.future.as_ptr().addr(), place);
        assert_eq!(poll_once(&mut second), Poll::Ready([2_u64; 9]));
    }

    #[test]
    fn the_future_is_dropped_with_the_box() {
        let witness = Rc::new(());
        let copy = Rc::clone(&witness);
        let mut boxed = pool_box(async move {
            std::future::pending::<()>().await;
            drop(copy);
        });
        assert!(poll_once(&mut boxed).is_pending());
        assert_eq!(Rc::strong_count(&witness), 2);
        drop(boxed);
        assert_eq!(Rc::strong_count(&witness), 1);
    }

    #[test]
    fn a_future_without_size_needs_no_memory() {
        struct Nothing;
        impl Future for Nothing {
            type Output = u8;
            fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<u8> {
                Poll::Ready(7)
            }
        }
        let mut boxed = pool_box(Nothing);
        assert_eq!(poll_once(&mut boxed), Poll::Ready(7));
    }

    #[test]
    fn a_panic_in_the_drop_of_a_future_keeps_the_memory() {
        struct Bomb([u64; 11]);
        impl Drop for Bomb {
            fn drop(&mut self) {
                if self.0[0] == 0 {
                    std::panic::resume_unwind(Box::new(()));
                }
            }
        }
        let boxed = pool_box(std::future::ready(Bomb([0; 11])));
        let place = boxed.future.as_ptr().addr();
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(boxed))).is_err());
        let again = pool_box(std::future::ready(Bomb([1; 11])));
        assert_eq!(again.future.as_ptr().addr(), place);
    }

    #[test]
    fn layouts_and_free_memory_are_bounded() {
        let many: Vec<_> = (0..20)
            .map(|_| pool_box(std::future::ready([0_u8; 100_000])))
            .collect();
        drop(many);
        LISTS.with(|lists| {
            let lists = lists.borrow();
            assert!(lists.len() <= LAYOUTS_MAX);
            assert!(
                lists
                    .iter()
                    .all(|l| l.free.len() * l.layout.size() <= FREE_BYTES_MAX)
            );
        });
    }
}
