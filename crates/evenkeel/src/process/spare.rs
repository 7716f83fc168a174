//! Memory that nobody uses goes back to the system. A change builds a tree
//! beside the one before, so each leaves holes where the last one was, and the
//! C library keeps the pages of holes: a process whose file changes often would
//! come to hold what its largest change ever needed, several times over.
//!
//! Never done by a thread that serves, and not while changes come one after the
//! other: the next one wants the same pages again.

/// Gives whole free pages back.
#[cfg(target_env = "gnu")]
pub fn give_back() {
    /// What stays at the top of the heap: nothing is worth keeping for later.
    const KEPT_BYTES: usize = 0;
    // SAFETY: it takes the allocator's own locks and touches free memory only.
    let _ = unsafe { nix::libc::malloc_trim(KEPT_BYTES) };
}

/// Other C libraries have no such call, and keep less.
#[cfg(not(target_env = "gnu"))]
pub fn give_back() {}
