//! Implements `show cache`: lists the contents of the HTTP caches.

use super::{Context, Session};
use std::fmt::Write;

const SHOWN_MAX: usize = 10_000;
/// Size in bytes of the blocks in which HAProxy counts cache memory.
const BLOCK: usize = 1024;

pub fn show(context: &Context, _: &Session, _: &[&str]) -> String {
    let mut out = String::new();
    let now_ms = context.runtime.now_ms();
    for cache in &context.runtime.config().caches {
        let (bytes, entries) = cache.report(SHOWN_MAX);
        let left = cache.settings.total_max.saturating_sub(bytes) / BLOCK;
        let at = std::sync::Arc::as_ptr(cache);
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "{at:p}: {} (shctx:{at:p}, available blocks:{left})",
            cache.settings.name
        );
        for (key, entry) in entries {
            let at = std::sync::Arc::as_ptr(&entry);
            let hash = twox_hash::XxHash64::oneshot(0, &key) as u32;
            let expires = i64::from(entry.lifetime_s) - entry.age_s(now_ms) as i64;
            let _ = writeln!(
                out,
                "{at:p} hash:{hash} vary:0x{:016x} size:{} ({} blocks), refcount:{}, expire:{expires}",
                0,
                entry.bytes(),
                entry.bytes().div_ceil(BLOCK),
                std::sync::Arc::strong_count(&entry) - 2,
            );
        }
    }
    out
}
