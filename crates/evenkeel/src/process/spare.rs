//! Work that nobody waits for, beside those who serve: freeing versions that
//! nobody holds any more. Never done by a thread that serves.
//!
//! Free memory is left to the C library: malloc_trim(3) would give more of it
//! back (a fifth, after changes of ten thousand servers), but it takes the locks
//! of all arenas in turn, and requests were seen to wait for it, a tenth of a
//! second at worst.

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
pub fn forget(shared: &'static Runtime) {
    let thread = std::thread::Builder::new().name("spare".into());
    let started = thread.spawn(move || {
        step_back();
        shared.forget_unused();
    });
    if started.is_err() {
        // No room for a thread: all the more reason to free something.
        shared.forget_unused();
    }
}
