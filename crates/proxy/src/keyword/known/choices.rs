//! Words that stand as an argument of one keyword and choose among ways to do it.

use language::keyword::Known;

/// After `balance`.
pub static BALANCE: Known = Known {
    kind: "balance algorithm",
    places: &["balance"],
    names: &[
        "first",
        "hash",
        "hdr",
        "leastconn",
        "log-hash",
        "random",
        "rdp-cookie",
        "roundrobin",
        "source",
        "static-rr",
        "sticky",
        "uri",
        "url_param",
    ],
};

/// After `filter`.
pub static FILTERS: Known = Known {
    kind: "filter",
    places: &["filter"],
    names: &[
        "bwlim-in",
        "bwlim-out",
        "cache",
        "comp-req",
        "comp-res",
        "compression",
        "fcgi-app",
        "opentracing",
        "otel",
        "spoe",
        "trace",
    ],
};

/// What `http-check expect` compares.
pub static HTTP_CHECK_EXPECT: Known = Known {
    kind: "http-check expect match",
    places: &["http-check expect"],
    names: &[
        "fhdr",
        "hdr",
        "rstatus",
        "rstring",
        "status",
        "string",
        "string-lf",
    ],
};

/// What `tcp-check expect` compares.
pub static TCP_CHECK_EXPECT: Known = Known {
    kind: "tcp-check expect match",
    places: &["tcp-check expect"],
    names: &[
        "binary",
        "binary-lf",
        "rbinary",
        "rstring",
        "string",
        "string-lf",
    ],
};

/// After `use-service`; those of Lua scripts are named by the scripts.
pub static SERVICES: Known = Known {
    kind: "service",
    places: &["use-service"],
    names: &["haterm", "prometheus-exporter"],
};
