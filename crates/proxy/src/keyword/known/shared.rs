//! Line keywords that several kinds of section have. A name is in one group of its kind
//! only, so each group lists every place of its names.

use language::keyword::Known;

/// Named conditions.
pub static CONDITIONS: Known = Known {
    kind: "keyword",
    places: &["backend", "defaults", "fcgi-app", "frontend", "listen"],
    names: &["acl"],
};

/// Where log messages go.
pub static LOG_TARGETS: Known = Known {
    kind: "keyword",
    places: &[
        "backend",
        "defaults",
        "frontend",
        "global",
        "listen",
        "log-forward",
        "peers",
    ],
    names: &["log"],
};

/// The name in a log message.
pub static LOG_TAGS: Known = Known {
    kind: "keyword",
    places: &[
        "backend",
        "defaults",
        "frontend",
        "global",
        "listen",
        "log-profile",
    ],
    names: &["log-tag"],
};

/// Error answers from files.
pub static ERROR_FILES: Known = Known {
    kind: "keyword",
    places: &["backend", "defaults", "frontend", "http-errors", "listen"],
    names: &["errorfile"],
};

/// Whether a section is used at all.
pub static SWITCHES: Known = Known {
    kind: "keyword",
    places: &["backend", "defaults", "frontend", "listen", "peers"],
    names: &["disabled", "enabled"],
};

/// The steps of a health check.
pub static CHECK_RULES: Known = Known {
    kind: "keyword",
    places: &["backend", "defaults", "healthcheck", "listen"],
    names: &[
        "http-check comment",
        "http-check connect",
        "http-check disable-on-404",
        "http-check expect",
        "http-check send",
        "http-check send-state",
        "http-check set-var",
        "http-check set-var-fmt",
        "http-check unset-var",
        "tcp-check comment",
        "tcp-check connect",
        "tcp-check expect",
        "tcp-check send",
        "tcp-check send-binary",
        "tcp-check send-binary-lf",
        "tcp-check send-lf",
        "tcp-check set-var",
        "tcp-check set-var-fmt",
        "tcp-check unset-var",
    ],
};

/// What the servers that follow begin with.
pub static SERVER_DEFAULTS: Known = Known {
    kind: "keyword",
    places: &["backend", "defaults", "listen", "peers"],
    names: &["default-server"],
};

/// Timeouts towards servers, or log servers.
pub static SERVER_TIMEOUTS: Known = Known {
    kind: "keyword",
    places: &["backend", "defaults", "listen", "ring"],
    names: &["timeout connect", "timeout server"],
};

/// Text for people.
pub static DESCRIPTIONS: Known = Known {
    kind: "keyword",
    places: &["backend", "frontend", "global", "listen", "ring"],
    names: &["description"],
};

/// Servers.
pub static SERVERS: Known = Known {
    kind: "keyword",
    places: &["backend", "listen", "peers", "ring"],
    names: &["server"],
};

/// Where certificates and keys are looked for.
pub static CERTIFICATE_BASES: Known = Known {
    kind: "keyword",
    places: &["crt-store", "global"],
    names: &["crt-base", "key-base"],
};

/// How many connections at once.
pub static CONNECTION_LIMITS: Known = Known {
    kind: "keyword",
    places: &["defaults", "frontend", "global", "listen", "log-forward"],
    names: &["maxconn"],
};

/// What listens for clients, or for log messages.
pub static LISTENING: Known = Known {
    kind: "keyword",
    places: &["defaults", "frontend", "listen", "log-forward"],
    names: &["backlog", "timeout client"],
};

/// Addresses to listen on.
pub static LISTENERS: Known = Known {
    kind: "keyword",
    places: &["frontend", "listen", "log-forward", "peers"],
    names: &["bind"],
};

/// Who a process runs as, or who may log in.
pub static USER_AND_GROUP: Known = Known {
    kind: "keyword",
    places: &["global", "program", "userlist"],
    names: &["group", "user"],
};
