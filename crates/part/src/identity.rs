//! The versions of the program, as processes of all parts report them.

/// The version of Evenkeel.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The version of HAProxy whose behaviour ours is compared with.
pub const HAPROXY_LEVEL: &str = "2.6.12";

/// The version that messages in HAProxy's form show: that of the language of configuration files,
/// so that it agrees with what `.if version_atleast()` finds.
pub const HAPROXY_VERSION: &str = concat!("3.4.0-evenkeel-", env!("CARGO_PKG_VERSION"));

/// The version of keepalived whose behaviour ours is compared with.
const KEEPALIVED_LEVEL: &str = "2.2.7";

/// The program's name in lines of keepalived's log.
pub fn keepalived_name() -> String {
    format!("Keepalived v{KEEPALIVED_LEVEL} (evenkeel {VERSION})")
}
