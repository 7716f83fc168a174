//! Line keywords of one section that is neither `global` nor a proxy.

use language::keyword::Known;

/// Only in `acme`.
pub static ACME: Known = Known {
    kind: "keyword",
    places: &["acme"],
    names: &[
        "account-key",
        "acme-provider",
        "acme-vars",
        "bits",
        "challenge",
        "challenge-ready",
        "contact",
        "curves",
        "directory",
        "dns-delay",
        "dns-timeout",
        "eab-key-id",
        "eab-mac-alg",
        "eab-mac-key",
        "keytype",
        "map",
        "profile",
        "provider-name",
        "reuse-key",
    ],
};

/// Only in `cache`.
pub static CACHE: Known = Known {
    kind: "keyword",
    places: &["cache"],
    names: &[
        "max-age",
        "max-object-size",
        "max-secondary-entries",
        "process-vary",
        "total-max-size",
    ],
};

/// Only in `crt-store`.
pub static CRT_STORE: Known = Known {
    kind: "keyword",
    places: &["crt-store"],
    names: &["load"],
};

/// Only in `fcgi-app`.
pub static FCGI_APP: Known = Known {
    kind: "keyword",
    places: &["fcgi-app"],
    names: &[
        "docroot",
        "index",
        "log-stderr",
        "option get-values",
        "option keep-conn",
        "option max-reqs",
        "option mpxs-conns",
        "pass-header",
        "path-info",
        "set-param",
    ],
};

/// Only in `healthcheck`.
pub static HEALTHCHECK: Known = Known {
    kind: "keyword",
    places: &["healthcheck"],
    names: &["type"],
};

/// Only in `log-forward`.
pub static LOG_FORWARD: Known = Known {
    kind: "keyword",
    places: &["log-forward"],
    names: &[
        "dgram-bind",
        "option assume-rfc6587-ntf",
        "option dont-parse-log",
        "option host",
    ],
};

/// Only in `log-profile`.
pub static LOG_PROFILE: Known = Known {
    kind: "keyword",
    places: &["log-profile"],
    names: &["on"],
};

/// Only in `mailers`.
pub static MAILERS: Known = Known {
    kind: "keyword",
    places: &["mailers"],
    names: &["mailer", "timeout mail"],
};

/// Only in `namespace_list`.
pub static NAMESPACE_LIST: Known = Known {
    kind: "keyword",
    places: &["namespace_list"],
    names: &["namespace"],
};

/// Only in `peers`.
pub static PEERS: Known = Known {
    kind: "keyword",
    places: &["peers"],
    names: &["default-bind", "peer", "shards", "table"],
};

/// Only in `program`.
pub static PROGRAM: Known = Known {
    kind: "keyword",
    places: &["program"],
    names: &["command", "option start-on-reload"],
};

/// Only in `resolvers`.
pub static RESOLVERS: Known = Known {
    kind: "keyword",
    places: &["resolvers"],
    names: &[
        "accepted_payload_size",
        "hold",
        "nameserver",
        "parse-resolv-conf",
        "resolution_pool_size",
        "resolve_retries",
        "timeout resolve",
        "timeout retry",
    ],
};

/// Only in `ring`.
pub static RING: Known = Known {
    kind: "keyword",
    places: &["ring"],
    names: &["backing-file", "format", "maxlen", "size"],
};

/// Only in `traces`.
pub static TRACES: Known = Known {
    kind: "keyword",
    places: &["traces"],
    names: &["trace"],
};
