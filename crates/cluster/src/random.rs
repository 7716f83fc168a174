//! Which histories a test runs.

/// A number of the environment: which histories a test runs.
#[allow(clippy::disallowed_methods, reason = "which histories a test runs")]
pub fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
