//! Defines the names and version numbers that Evenkeel reports.

pub const PRODUCT: &str = "Evenkeel";
pub const PRODUCT_VERSION: &str = env!("CARGO_PKG_VERSION");
/// Name that is reported to HAProxy's tools.
pub const NAME: &str = "HAProxy";
/// Version number that is reported to HAProxy's tools: the HAProxy version whose behaviour is
/// implemented, and the version of Evenkeel.
pub const VERSION: &str = concat!("3.4.0-evenkeel-", env!("CARGO_PKG_VERSION"));
/// Date on which Evenkeel was last compared with that HAProxy version, in HAProxy's format.
pub const RELEASE_DATE: &str = "2026/11/20";
