//! Maps phrases that users search for in the manual to the keywords that they mean.

/// Words that users search for, each with the keywords to show first.
pub static PHRASES: &[(&str, &[&str])] = &[
    ("sticky", &["cookie", "stick on", "stick-table", "balance"]),
    (
        "sticky session",
        &["cookie", "stick on", "stick-table", "balance"],
    ),
    (
        "session affinity",
        &["cookie", "stick on", "stick-table", "balance"],
    ),
    (
        "persistence",
        &["cookie", "stick on", "stick-table", "appsession"],
    ),
    ("redirect https", &["redirect", "ssl_fc", "bind"]),
    ("http to https", &["redirect", "ssl_fc"]),
    ("force ssl", &["redirect", "ssl_fc"]),
    ("hsts", &["set-header"]),
    (
        "real ip",
        &["option forwardfor", "accept-proxy", "set-src", "src"],
    ),
    (
        "client ip",
        &["option forwardfor", "src", "accept-proxy", "send-proxy"],
    ),
    ("x-forwarded-for", &["option forwardfor", "set-src"]),
    ("x-forwarded-proto", &["set-header", "ssl_fc"]),
    (
        "proxy protocol",
        &[
            "accept-proxy",
            "send-proxy",
            "send-proxy-v2",
            "proxy-v2-options",
        ],
    ),
    (
        "health check",
        &["option httpchk", "http-check expect", "check", "inter"],
    ),
    (
        "healthcheck",
        &["option httpchk", "http-check expect", "check", "inter"],
    ),
    (
        "rate limit",
        &[
            "stick-table",
            "track-sc0",
            "sc_http_req_rate",
            "rate-limit sessions",
        ],
    ),
    (
        "throttle",
        &[
            "stick-table",
            "track-sc0",
            "sc_http_req_rate",
            "rate-limit sessions",
        ],
    ),
    (
        "brute force",
        &["stick-table", "track-sc0", "sc_http_err_rate"],
    ),
    (
        "ddos",
        &[
            "stick-table",
            "track-sc0",
            "timeout http-request",
            "sc_conn_rate",
        ],
    ),
    (
        "slowloris",
        &["timeout http-request", "timeout http-keep-alive"],
    ),
    ("round robin", &["balance"]),
    ("least connections", &["balance"]),
    ("consistent hashing", &["hash-type", "balance"]),
    ("load balancing algorithm", &["balance", "hash-type"]),
    (
        "failover",
        &["backup", "option allbackups", "option redispatch"],
    ),
    ("retry", &["retries", "retry-on", "option redispatch"]),
    ("maintenance", &["disabled", "disable server", "set server"]),
    ("drain", &["set server", "disable server", "weight"]),
    ("sni", &["req.ssl_sni", "ssl_fc_sni", "sni", "crt"]),
    (
        "certificate",
        &["crt", "crt-list", "ca-file", "set ssl cert"],
    ),
    (
        "client certificate",
        &["ca-file", "verify", "ssl_c_used", "ssl_c_verify"],
    ),
    ("mtls", &["ca-file", "verify", "ssl_c_used", "ssl_c_verify"]),
    ("letsencrypt", &["crt", "set ssl cert", "use_backend"]),
    (
        "ssl passthrough",
        &["req.ssl_sni", "tcp-request inspect-delay", "mode"],
    ),
    ("ssl termination", &["bind", "crt", "ssl"]),
    (
        "cipher",
        &[
            "ssl-default-bind-ciphers",
            "ciphers",
            "ciphersuites",
            "ssl-min-ver",
        ],
    ),
    (
        "tls version",
        &["ssl-min-ver", "ssl-max-ver", "ssl-default-bind-options"],
    ),
    (
        "http2",
        &["alpn", "proto", "tune.h2.max-concurrent-streams"],
    ),
    ("websocket", &["timeout tunnel", "ws"]),
    ("gzip", &["compression algo", "compression type"]),
    ("virtual host", &["use_backend", "hdr", "map"]),
    ("vhost", &["use_backend", "hdr", "map"]),
    ("host header", &["hdr", "req.hdr", "set-header"]),
    ("path based routing", &["use_backend", "path", "path_beg"]),
    (
        "rewrite url",
        &["replace-path", "set-path", "replace-uri", "redirect"],
    ),
    ("strip prefix", &["replace-path", "set-path"]),
    ("basic auth", &["user", "auth", "http_auth"]),
    ("password", &["user", "http_auth", "auth"]),
    ("allow ip", &["deny", "src", "acl"]),
    ("block ip", &["deny", "src", "acl"]),
    ("whitelist", &["deny", "src", "acl"]),
    ("blacklist", &["deny", "src", "acl"]),
    ("cors", &["set-header", "return"]),
    (
        "dns",
        &["nameserver", "resolvers", "init-addr", "resolve-prefer"],
    ),
    (
        "service discovery",
        &["server-template", "nameserver", "resolvers"],
    ),
    ("max connections", &["maxconn", "fullconn", "maxqueue"]),
    ("queue", &["maxconn", "timeout queue", "maxqueue"]),
    (
        "connection limit",
        &["maxconn", "rate-limit sessions", "sc_conn_cur"],
    ),
    ("graceful shutdown", &["hard-stop-after", "grace"]),
    ("reload", &["hard-stop-after", "stats socket"]),
    (
        "statistics",
        &["stats enable", "stats uri", "stats socket", "show stat"],
    ),
    ("stats page", &["stats enable", "stats uri", "stats auth"]),
    ("metrics", &["use-service", "show stat", "stats enable"]),
    ("prometheus", &["use-service"]),
    ("admin socket", &["stats socket", "set server", "show stat"]),
    (
        "runtime api",
        &["stats socket", "set server", "show stat", "show info"],
    ),
    ("syslog", &["log", "log-format", "option httplog"]),
    (
        "log format",
        &[
            "log-format",
            "option httplog",
            "option tcplog",
            "format of option httplog",
        ],
    ),
    ("access log", &["option httplog", "log-format", "log"]),
    ("error page", &["errorfile", "errorloc", "http-error"]),
    ("custom error", &["errorfile", "http-error", "errorfiles"]),
    ("maintenance page", &["errorfile", "return", "nbsrv"]),
    ("upload size", &["req.body_size", "deny"]),
    ("large headers", &["tune.bufsize", "tune.http.maxhdr"]),
    (
        "keepalive",
        &[
            "option http-keep-alive",
            "timeout http-keep-alive",
            "option tcpka",
        ],
    ),
    (
        "connection pool",
        &["http-reuse", "pool-max-conn", "pool-conn-name"],
    ),
    (
        "transparent proxy",
        &["source", "option transparent", "transparent"],
    ),
    ("geoip", &["map_ip", "src"]),
    ("mirror traffic", &["filter"]),
    ("canary", &["weight", "use_backend", "rand"]),
    ("504", &["timeout server", "sH"]),
    ("503", &["timeout queue", "timeout connect", "SC", "sQ"]),
    ("502", &["SH", "PH"]),
    ("408", &["timeout http-request", "cR"]),
    ("400", &["PR", "show errors"]),
];
