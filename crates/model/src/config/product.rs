//! The names and versions by which the program is known.

/// The name of the product.
pub const PRODUCT: &str = "Evenkeel";
/// Its version.
pub const PRODUCT_VERSION: &str = env!("CARGO_PKG_VERSION");
/// The name by which tools of HAProxy know whom they speak with.
pub const NAME: &str = "HAProxy";
/// The same of the version: that of HAProxy whose behaviour ours is, and ours.
pub const VERSION: &str = concat!("3.4.0-evenkeel-", env!("CARGO_PKG_VERSION"));
/// When the language of that level was last compared, as HAProxy writes dates.
pub const RELEASE_DATE: &str = "2026/11/20";
