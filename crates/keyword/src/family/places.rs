//! Sets of sections in which keywords are valid, named as the columns of the manual's proxy
//! keyword matrix.

pub const GLOBAL: &[&str] = &["global"];
pub const ALL: &[&str] = &["defaults", "frontend", "listen", "backend"];
/// Proxies with a frontend, and `defaults`.
pub const FRONT: &[&str] = &["defaults", "frontend", "listen"];
/// Proxies with servers, and `defaults`.
pub const BACK: &[&str] = &["defaults", "listen", "backend"];
/// Sections that configure health checks.
pub const CHECKS: &[&str] = &["defaults", "listen", "backend", "healthcheck"];
pub const HEALTH_CHECK: &[&str] = &["healthcheck"];
pub const LOG_PROFILE: &[&str] = &["log-profile"];
pub const FCGI_APP: &[&str] = &["fcgi-app"];
pub const MAILERS: &[&str] = &["mailers"];
/// All proxies, but not `defaults`.
pub const PROXIES: &[&str] = &["frontend", "listen", "backend"];
/// Proxies with a frontend, but not `defaults`.
pub const FRONT_ONLY: &[&str] = &["frontend", "listen"];
/// Proxies with servers, but not `defaults`.
pub const BACK_ONLY: &[&str] = &["listen", "backend"];
pub const DEFAULTS: &[&str] = &["defaults"];
pub const BIND: &[&str] = &["bind"];
/// Options of `server` and `default-server` lines.
pub const SERVER: &[&str] = &["server", "default-server"];
/// Options of `server` lines only.
pub const SERVER_ONLY: &[&str] = &["server"];
