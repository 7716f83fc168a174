//! Counts the live heap memory of this process. A leak is visible to the byte, while resident
//! memory hides it among the pages of earlier peaks.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

struct Counting;

static LIVING: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Returns the number of bytes that were allocated and not freed.
pub fn bytes() -> usize {
    LIVING.load(Ordering::Relaxed)
}

// SAFETY: the system's allocator does all the work; only numbers are added.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVING.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        LIVING.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVING.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LIVING.fetch_add(size, Ordering::Relaxed);
        LIVING.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.realloc(at, layout, size) }
    }
}

/// Environment variable of the measuring process: the name of its test.
const APART: &str = "DRIVER_APART";

/// Runs a test that measures memory in a process of its own, without allocations of other
/// tests. None may run meanwhile, because two processes might choose the same free port.
pub fn apart(name: &str, measure: impl FnOnce()) {
    if std::env::var_os(APART).is_some_and(|test| test == name) {
        return measure();
    }
    let _alone = crate::bed::alone();
    let measured = std::process::Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", name, "--nocapture"])
        .env(APART, name)
        .output()
        .expect("a process");
    let told = String::from_utf8_lossy(&measured.stdout);
    let failed = String::from_utf8_lossy(&measured.stderr);
    assert!(measured.status.success(), "{told}{failed}");
    assert!(told.contains("1 passed"), "{told}");
}

/// Returns the maximum of live memory while a function runs, from frequent samples.
pub fn peak_during<T>(run: impl FnOnce() -> T) -> (T, usize) {
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let ends = stop.clone();
    let watch = std::thread::spawn(move || {
        let mut peak = 0;
        while !ends.load(Ordering::Relaxed) {
            peak = peak.max(bytes());
            std::thread::sleep(std::time::Duration::from_micros(500));
        }
        peak
    });
    let result = run();
    stop.store(true, Ordering::Relaxed);
    (result, watch.join().expect("the one that looks"))
}
