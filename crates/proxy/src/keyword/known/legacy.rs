//! Line keywords of HAProxy 1.1 to 2.x that later versions removed. Files of any age are
//! to work, so they count as keywords like all others.

use language::keyword::Known;

/// A delay before the process stops.
pub static STOPPING: Known = Known {
    kind: "keyword",
    places: &["backend", "defaults", "frontend", "global", "listen"],
    names: &["grace"],
};

/// Options of connection modes that are gone, and process binding.
pub static ANY_PROXY: Known = Known {
    kind: "keyword",
    places: &["backend", "defaults", "frontend", "listen"],
    names: &[
        "bind-process",
        "option forceclose",
        "option http-tunnel",
        "option http-use-htx",
        "option http_proxy",
        "option independant-streams",
        "option tcpsplice",
    ],
};

/// Old names of the server's timeouts and of redispatching.
pub static SERVER_SIDE: Known = Known {
    kind: "keyword",
    places: &["backend", "defaults", "listen"],
    names: &[
        "contimeout",
        "option lb-agent-chk",
        "redisp",
        "redispatch",
        "srvexp",
        "srvtimeout",
        "timeout appsession",
        "timeout contimeout",
        "timeout srvtimeout",
    ],
};

/// Header rewriting by regular expression, and `block`.
pub static REWRITING: Known = Known {
    kind: "keyword",
    places: &["backend", "frontend", "listen"],
    names: &[
        "block",
        "reqadd",
        "reqallow",
        "reqdel",
        "reqdeny",
        "reqiallow",
        "reqidel",
        "reqideny",
        "reqipass",
        "reqirep",
        "reqisetbe",
        "reqitarpit",
        "reqpass",
        "reqrep",
        "reqsetbe",
        "reqtarpit",
        "rspadd",
        "rspdel",
        "rspdeny",
        "rspidel",
        "rspideny",
        "rspirep",
        "rsprep",
    ],
};

/// Persistence from an application's own cookie.
pub static SESSIONS: Known = Known {
    kind: "keyword",
    places: &["backend", "listen"],
    names: &["appsession"],
};

/// Old names of the client's timeouts, and monitoring by network.
pub static CLIENT_SIDE: Known = Known {
    kind: "keyword",
    places: &["defaults", "frontend", "listen"],
    names: &["cliexp", "clitimeout", "monitor-net", "timeout clitimeout"],
};
