//! Sets of sections in which keywords are valid, named as the columns of the manual's proxy
//! keyword matrix.

/// Section `global`.
pub const GLOBAL: &[&str] = &["global"];
/// All proxies, and `defaults`.
pub const ALL: &[&str] = &["defaults", "frontend", "listen", "backend"];
/// Proxies with a frontend, and `defaults`.
pub const FRONT: &[&str] = &["defaults", "frontend", "listen"];
/// Proxies with servers, and `defaults`.
pub const BACK: &[&str] = &["defaults", "listen", "backend"];
/// Sections that configure health checks.
pub const CHECKS: &[&str] = &["defaults", "listen", "backend", "healthcheck"];
/// Section `healthcheck` only.
pub const HEALTH_CHECK: &[&str] = &["healthcheck"];
/// Section `log-profile`.
pub const LOG_PROFILE: &[&str] = &["log-profile"];
/// Section `fcgi-app`.
pub const FCGI_APP: &[&str] = &["fcgi-app"];
/// Section `mailers`.
pub const MAILERS: &[&str] = &["mailers"];
/// All proxies, but not `defaults`.
pub const PROXIES: &[&str] = &["frontend", "listen", "backend"];
/// Proxies with a frontend, but not `defaults`.
pub const FRONT_ONLY: &[&str] = &["frontend", "listen"];
/// Proxies with servers, but not `defaults`.
pub const BACK_ONLY: &[&str] = &["listen", "backend"];
/// Section `defaults` only.
pub const DEFAULTS: &[&str] = &["defaults"];
/// Options of `bind` lines.
pub const BIND: &[&str] = &["bind"];
/// Options of `server` and `default-server` lines.
pub const SERVER: &[&str] = &["server", "default-server"];
/// Options of `server` lines only.
pub const SERVER_ONLY: &[&str] = &["server"];
