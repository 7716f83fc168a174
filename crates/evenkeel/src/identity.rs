//! What the program says about itself: its versions, and what a configuration
//! can ask about it. It claims no ability that is not built.

use language::{Environment, Facts};
pub use part::identity::{HAPROXY_LEVEL, HAPROXY_VERSION, VERSION, keepalived_name};

/// When the language of HAProxy's level was last compared, as HAProxy shows dates.
pub const HAPROXY_DATE: &str = "2026/11/20";

/// The version of HAProxy whose language files may be written in. A file that asks
/// `.if version_atleast(3.0)` wants to know whether it may use what came with that
/// version: what did, and is not built, is refused by name.
pub const LANGUAGE_LEVEL: &str = "3.4.0";

/// The features of `haproxy -vv` that a configuration can count on here, whatever
/// does them: one that asks for PCRE wants its expressions, one that asks for ZLIB or
/// SLZ wants compression, one that asks for splicing wants `option splice-auto` taken.
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

/// Features that people ask for and that are not built.
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

/// What `enabled(NAME)` says yes to.
const ENABLED: &[&str] = &["EPOLL", "FAST-FORWARD", "SPLICE"];

/// The library that speaks TLS, by its name.
pub const TLS_LIBRARY: &str = "rustls 0.23 with AWS-LC";

/// Files write `.if feature(OPENSSL)`, `.if openssl_version_atleast(1.1.1)` and
/// `.if ssllib_name_startswith(OpenSSL)` around lines with `ssl`. What they ask is
/// whether such lines work, and they do: so the feature is there, and name and version
/// are those of the OpenSSL whose words are understood (HAProxy 2.6 is built with 3.0).
/// Which library speaks TLS stands beside it in `-vv`.
pub const OPENSSL_LEVEL: &str = "3.0.0";

/// What `.if` and `-cc` are evaluated against.
pub fn facts() -> Facts {
    Facts::new(LANGUAGE_LEVEL)
        .with_features(FEATURES.iter().copied())
        .with_enabled(ENABLED.iter().copied())
        .with_tls_library(&format!("OpenSSL {OPENSSL_LEVEL}"), OPENSSL_LEVEL)
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
    fn conditions_see_the_language_and_what_can_be_done_here() {
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
