//! Defines the names and versions of the program.

pub const PRODUCT: &str = "Evenkeel";
pub const PRODUCT_VERSION: &str = env!("CARGO_PKG_VERSION");
/// Name that is reported to HAProxy's tools.
pub const NAME: &str = "HAProxy";
/// Version that is reported to HAProxy's tools: the HAProxy version whose behavior is implemented,
/// and the product version.
pub const VERSION: &str = concat!("3.4.0-evenkeel-", env!("CARGO_PKG_VERSION"));
/// Date of the last comparison with that HAProxy version, in HAProxy's format.
pub const RELEASE_DATE: &str = "2026/11/20";
