//! Work that nobody waits for, beside those who serve: freeing versions that
//! nobody holds any more, and giving their memory back to the system. A change
//! builds a tree beside the one before, so each leaves holes where the last one
//! was, and the C library keeps the pages of holes: a process whose file changes
//! often would come to hold what its largest change ever needed, several times
//! over.
//!
//! Never done by a thread that serves, and not while changes come one after the
//! other: the next one wants the same pages again.

use proxy::runtime::Runtime;

/// Of a thread that works beside those that serve.
const NICENESS: i32 = 10;

/// This thread takes what processor time those who serve leave. Without the
/// right to say so it takes its share.
pub fn step_back() {
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICENESS);
}

/// Frees what nobody holds any more, on a thread of its own: a tree of ten
/// thousand servers takes its time.
pub fn tidy(shared: &'static Runtime) {
    let work = move || {
        shared.forget_unused();
        give_back();
    };
    let thread = std::thread::Builder::new().name("spare".into());
    let started = thread.spawn(move || {
        step_back();
        work();
    });
    if started.is_err() {
        // No room for a thread: all the more reason to free something.
        work();
    }
}

/// Gives whole free pages back.
#[cfg(target_env = "gnu")]
fn give_back() {
    /// What stays at the top of the heap: nothing is worth keeping for later.
    const KEPT_BYTES: usize = 0;
    // SAFETY: it takes the allocator's own locks and touches free memory only.
    let _ = unsafe { nix::libc::malloc_trim(KEPT_BYTES) };
}

/// Other C libraries have no such call, and keep less.
#[cfg(not(target_env = "gnu"))]
fn give_back() {}
