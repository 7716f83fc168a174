//! Defines the version numbers of the program, as the processes of all roles report them, and reads
//! the host name.

pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The version of HAProxy against which the behaviour is compared.
pub const HAPROXY_LEVEL: &str = "2.6.12";

/// The version that messages in HAProxy's format show: that of the configuration language, so that
/// it agrees with the result of `.if version_atleast()`.
pub const HAPROXY_VERSION: &str = concat!("3.4.0-evenkeel-", env!("CARGO_PKG_VERSION"));

/// The version of keepalived against which the behaviour is compared.
const KEEPALIVED_LEVEL: &str = "2.2.7";

/// Returns the name of this host; empty if the system provides none.
pub fn host_name() -> String {
    nix::unistd::gethostname()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// Returns the program's name in lines of keepalived's log.
pub fn keepalived_name() -> String {
    format!("Keepalived v{KEEPALIVED_LEVEL} (evenkeel {VERSION})")
}
