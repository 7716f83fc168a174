//! Defines the sets of sections in which keywords are valid, named as the columns of the manual's
//! proxy keyword matrix.

pub const GLOBAL: &[&str] = &["global"];
pub const ALL: &[&str] = &["defaults", "frontend", "listen", "backend"];
pub const FRONT: &[&str] = &["defaults", "frontend", "listen"];
pub const BACK: &[&str] = &["defaults", "listen", "backend"];
pub const CHECKS: &[&str] = &["defaults", "listen", "backend", "healthcheck"];
pub const HEALTH_CHECK: &[&str] = &["healthcheck"];
pub const LOG_PROFILE: &[&str] = &["log-profile"];
pub const FCGI_APP: &[&str] = &["fcgi-app"];
pub const MAILERS: &[&str] = &["mailers"];
pub const PROXIES: &[&str] = &["frontend", "listen", "backend"];
pub const FRONT_ONLY: &[&str] = &["frontend", "listen"];
pub const BACK_ONLY: &[&str] = &["listen", "backend"];
pub const DEFAULTS: &[&str] = &["defaults"];
pub const BIND: &[&str] = &["bind"];
pub const SERVER: &[&str] = &["server", "default-server"];
pub const SERVER_ONLY: &[&str] = &["server"];
