//! Defines the versions and features of Evenkeel that configurations query by `.if`, that `-vv`
//! prints, and that environment variables contain. Only implemented features are reported.

use language::{Environment, Facts};
pub use part::identity::{HAPROXY_LEVEL, HAPROXY_VERSION, VERSION, host_name, keepalived_name};

/// Date at which the language was last compared with HAProxy, in HAProxy's format.
pub const HAPROXY_DATE: &str = "2026/11/20";

/// HAProxy version whose language configurations may use. `.if version_atleast(3.0)` queries
/// whether features of that version are available. A feature of that version that is not
/// implemented is refused by name.
pub const LANGUAGE_LEVEL: &str = "3.4.0";

/// Features of `haproxy -vv` that a configuration can rely on, whichever library implements them:
/// PCRE stands for its regular expressions, ZLIB and SLZ for compression.
pub const FEATURES: &[&str] = &[
    "ACCEPT4",
    "CPU_AFFINITY",
    "EPOLL",
    "GETADDRINFO",
    "LIBCRYPT",
    "LINUX_SPLICE",
    "LINUX_TPROXY",
    "OPENSSL",
    "PCRE",
    "PCRE2",
    "PROMEX",
    "RT",
    "SLZ",
    "SYSTEMD",
    "TFO",
    "THREAD",
    "TPROXY",
    "ZLIB",
];

pub const FEATURES_MISSING: &[&str] = &[
    "51DEGREES",
    "DEVICEATLAS",
    "ENGINE",
    "LUA",
    "NS",
    "OBSOLETE_LINKER",
    "OPENSSL_AWSLC",
    "OPENSSL_WOLFSSL",
    "OT",
    "PCRE2_JIT",
    "PCRE_JIT",
    "POLL",
    "QUIC",
    "WURFL",
];

const ENABLED: &[&str] = &["EPOLL", "FAST-FORWARD", "SPLICE"];

pub const TLS_LIBRARY: &str = "rustls 0.23 with AWS-LC";

/// OpenSSL version that conditions and `-vv` report, although the TLS library is rustls.
/// Configurations write `.if feature(OPENSSL)`, `.if openssl_version_atleast(1.1.1)` and `.if
/// ssllib_name_startswith(OpenSSL)` around lines with `ssl`, which work. The version is that of the
/// OpenSSL whose keywords are supported. `-vv` also prints the actual TLS library.
pub const OPENSSL_LEVEL: &str = "3.0.0";

/// Returns the facts for evaluating `.if` and `-cc`.
pub fn facts() -> Facts {
    Facts::new(LANGUAGE_LEVEL)
        .with_features(FEATURES.iter().copied())
        .with_enabled(ENABLED.iter().copied())
        .with_tls_library(&format!("OpenSSL {OPENSSL_LEVEL}"), OPENSSL_LEVEL)
}

/// Returns the environment for loading configuration files: the variables of the process, and those
/// that HAProxy sets (`HAPROXY_CFGFILES`, `HAPROXY_LOCALPEER`).
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
    fn conditions_see_language_version_and_features() {
        let (facts, environment) = (facts(), Environment::empty());
        for (condition, expected) in [
            ("version_atleast(2.6)", true),
            ("version_atleast(3.4)", true),
            ("version_atleast(3.4-dev2)", true),
            ("version_atleast(3.5)", false),
            ("version_before(2.5)", false),
            ("feature(THREAD)", true),
            ("feature(OPENSSL)", true),
            ("openssl_version_atleast(1.1.1)", true),
            ("openssl_version_atleast(3.0.0)", true),
            ("openssl_version_before(3.0.0)", false),
            ("openssl_version_atleast(3.2)", false),
            ("ssllib_name_startswith(OpenSSL)", true),
            (
                "feature(PCRE) && feature(LINUX_SPLICE) && enabled(SPLICE)",
                true,
            ),
            ("feature(OPENSSL_AWSLC) || feature(NS)", false),
            ("ssllib_name_startswith(wolfSSL)", false),
            ("feature(LUA)", false),
        ] {
            let found = evaluate_condition(condition, &facts, &environment);
            assert_eq!(found.ok(), Some(expected), "{condition}");
        }
    }

    #[test]
    fn versions_of_messages_and_conditions_agree() {
        for version in [HAPROXY_VERSION, model::config::product::VERSION] {
            let prefix = format!("{LANGUAGE_LEVEL}-");
            assert!(version.starts_with(&prefix), "{version}");
        }
    }

    #[test]
    fn files_see_their_names_and_the_peer() {
        let environment = environment(&["a".into(), "b".into()], Some("me"));
        assert_eq!(environment.get("HAPROXY_CFGFILES"), Some(&b"a;b"[..]));
        assert_eq!(environment.get("HAPROXY_LOCALPEER"), Some(&b"me"[..]));
    }
}
