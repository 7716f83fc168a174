//! Keywords of the separate files that `filter spoe` reads (stream processing offload).

use language::keyword::Known;

/// In `spoe-agent`.
pub static AGENT: Known = Known {
    kind: "spoe keyword",
    places: &["spoe-agent"],
    names: &[
        "groups",
        "log",
        "max-frame-size",
        "max-waiting-frames",
        "maxconnrate",
        "maxerrrate",
        "option async",
        "option continue-on-error",
        "option dontlog-normal",
        "option force-set-var",
        "option pipelining",
        "option send-frag-payload",
        "option set-on-error",
        "option set-process-time",
        "option set-total-time",
        "option var-prefix",
        "register-var-names",
        "timeout hello",
        "timeout idle",
        "timeout processing",
        "use-backend",
    ],
};

/// In `spoe-agent` and `spoe-group`.
pub static MESSAGES: Known = Known {
    kind: "spoe keyword",
    places: &["spoe-agent", "spoe-group"],
    names: &["messages"],
};

/// In `spoe-message`.
pub static MESSAGE: Known = Known {
    kind: "spoe keyword",
    places: &["spoe-message"],
    names: &["acl", "args", "event"],
};

/// Sections of such a file.
pub static SECTIONS: Known = Known {
    kind: "spoe section",
    places: &["spoe"],
    names: &["spoe-agent", "spoe-group", "spoe-message"],
};
