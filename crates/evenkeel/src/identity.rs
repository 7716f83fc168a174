//! What the program says about itself: its versions, and what a configuration
//! can ask about it. It claims no ability that is not built.

use language::{Environment, Facts};

/// The version of Evenkeel.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The version of HAProxy whose behaviour ours is compared with.
pub const HAPROXY_LEVEL: &str = "2.6.12";

/// The version that messages in HAProxy's form show.
pub const HAPROXY_VERSION: &str = concat!("2.6.12-evenkeel-", env!("CARGO_PKG_VERSION"));

/// When the language of that level was last compared, as HAProxy shows dates.
pub const HAPROXY_DATE: &str = "2026/11/20";

/// The features of `haproxy -vv` that are built.
pub const FEATURES: &[&str] = &[
    "ACCEPT4",
    "CPU_AFFINITY",
    "EPOLL",
    "GETADDRINFO",
    "OPENSSL",
    "RT",
    "SYSTEMD",
    "TFO",
    "THREAD",
    "TPROXY",
];

/// Features that people ask for and that are not built.
pub const FEATURES_MISSING: &[&str] = &[
    "LUA",
    "LINUX_SPLICE",
    "NS",
    "PCRE",
    "PCRE2",
    "PROMEX",
    "QUIC",
    "SLZ",
    "ZLIB",
];

/// What `enabled(NAME)` says yes to.
const ENABLED: &[&str] = &["EPOLL"];

/// The library that speaks TLS, by its name.
pub const TLS_LIBRARY: &str = "rustls 0.23 with AWS-LC";

/// Files write `.if feature(OPENSSL)` and `.if openssl_version_atleast(1.1.1)`
/// around lines with `ssl`. What they ask is whether such lines work, and they do:
/// so the feature is there, and the version is that of the OpenSSL whose words are
/// understood (HAProxy 2.6 is built with 3.0). Who asks for the library itself
/// (`ssllib_name_startswith`) is told its name.
const TLS_OPENSSL_LEVEL: &str = "3.0.0";

/// What `.if` and `-cc` are evaluated against.
pub fn facts() -> Facts {
    Facts::new(HAPROXY_LEVEL)
        .with_features(FEATURES.iter().copied())
        .with_enabled(ENABLED.iter().copied())
        .with_tls_library(TLS_LIBRARY, TLS_OPENSSL_LEVEL)
}

/// The name of this host; empty where the system tells none.
pub fn host_name() -> String {
    nix::unistd::gethostname()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// The environment that files see: that of the process, and what HAProxy adds.
pub fn environment(files: &[String], local_peer: Option<&str>) -> Environment {
    let mut environment = Environment::from_process();
    environment.set("HAPROXY_CFGFILES", files.join(";"));
    environment.set(
        "HAPROXY_LOCALPEER",
        local_peer.map_or_else(host_name, str::to_owned),
    );
    environment
}

#[cfg(test)]
mod tests {
    use super::*;
    use language::evaluate_condition;

    #[test]
    fn conditions_see_the_level_and_only_what_is_built() {
        let (facts, environment) = (facts(), Environment::empty());
        for (condition, expected) in [
            ("version_atleast(2.6)", true),
            ("version_atleast(2.7)", false),
            ("feature(THREAD)", true),
            ("feature(OPENSSL)", true),
            ("openssl_version_atleast(1.1.1)", true),
            ("openssl_version_atleast(3.0.0)", true),
            ("openssl_version_before(3.0.0)", false),
            ("openssl_version_atleast(3.2)", false),
            ("ssllib_name_startswith(rustls)", true),
            ("ssllib_name_startswith(wolfSSL)", false),
            ("feature(LUA)", false),
        ] {
            let found = evaluate_condition(condition, &facts, &environment);
            assert_eq!(found.ok(), Some(expected), "{condition}");
        }
    }

    #[test]
    fn files_see_their_names_and_the_peer() {
        let environment = environment(&["a".into(), "b".into()], Some("me"));
        assert_eq!(environment.get("HAPROXY_CFGFILES"), Some(&b"a;b"[..]));
        assert_eq!(environment.get("HAPROXY_LOCALPEER"), Some(&b"me"[..]));
    }
}
