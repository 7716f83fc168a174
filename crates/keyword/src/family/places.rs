//! The sets of sections in which keywords are legal, by the names that the
//! manual's matrix of proxy keywords has for its columns.

/// `global`.
pub const GLOBAL: &[&str] = &["global"];
/// All proxies and their defaults.
pub const ALL: &[&str] = &["defaults", "frontend", "listen", "backend"];
/// What takes connections, and defaults.
pub const FRONT: &[&str] = &["defaults", "frontend", "listen"];
/// What has servers, and defaults.
pub const BACK: &[&str] = &["defaults", "listen", "backend"];
/// What says what health checks ask.
pub const CHECKS: &[&str] = &["defaults", "listen", "backend", "healthcheck"];
/// A `healthcheck` section alone.
pub const HEALTH_CHECK: &[&str] = &["healthcheck"];
/// A `log-profile` section.
pub const LOG_PROFILE: &[&str] = &["log-profile"];
/// An `fcgi-app` section.
pub const FCGI_APP: &[&str] = &["fcgi-app"];
/// A `mailers` section.
pub const MAILERS: &[&str] = &["mailers"];
/// All proxies, not defaults.
pub const PROXIES: &[&str] = &["frontend", "listen", "backend"];
/// What takes connections, not defaults.
pub const FRONT_ONLY: &[&str] = &["frontend", "listen"];
/// What has servers, not defaults.
pub const BACK_ONLY: &[&str] = &["listen", "backend"];
/// `defaults` alone.
pub const DEFAULTS: &[&str] = &["defaults"];
/// Options of `bind`.
pub const BIND: &[&str] = &["bind"];
/// Options of `server` and `default-server`.
pub const SERVER: &[&str] = &["server", "default-server"];
/// Options of `server` alone.
pub const SERVER_ONLY: &[&str] = &["server"];
