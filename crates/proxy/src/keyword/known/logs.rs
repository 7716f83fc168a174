//! What log formats and log profiles name.

use language::keyword::Known;

/// Log format aliases, without the percent sign.
pub static ALIASES: Known = Known {
    kind: "log alias",
    places: &["log-format"],
    names: &[
        "B", "CC", "CS", "H", "HM", "HP", "HPO", "HQ", "HU", "HV", "ID", "OG", "ST", "T", "TR",
        "Ta", "Tc", "Td", "Th", "Ti", "Tl", "Tq", "Tr", "Ts", "Tt", "Tu", "Tw", "U", "ac", "b",
        "bc", "bi", "bp", "bq", "ci", "cp", "f", "fc", "fi", "fp", "ft", "hr", "hrl", "hs", "hsl",
        "lc", "ms", "o", "pid", "r", "rc", "rt", "s", "sc", "si", "sp", "sq", "sslc", "sslv", "t",
        "tr", "trg", "trl", "ts", "tsc",
    ],
};

/// Steps of a stream that a log profile can describe.
pub static STEPS: Known = Known {
    kind: "log-profile step",
    places: &["log-profile"],
    names: &[
        "accept",
        "any",
        "close",
        "connect",
        "error",
        "http-after-res",
        "http-req",
        "http-res",
        "quic-init",
        "request",
        "response",
        "tcp-req-conn",
        "tcp-req-cont",
        "tcp-req-sess",
        "tcp-res-cont",
    ],
};
