//! Tests zero as a value: which lines HAProxy 2.6.12 accepts with 0.

use crate::testing::load_text;

fn file(section: &str, line: &str) -> String {
    let of = |name: &str| {
        if section == name {
            format!(" {line}\n")
        } else {
            String::new()
        }
    };
    let rest = match section {
        "resolvers" => format!("resolvers r\n nameserver a 127.0.0.1:53\n {line}\n"),
        "cache" => format!("cache c\n total-max-size 4\n {line}\n"),
        "ring" => format!("ring r\n {line}\n"),
        "mailers" => format!("mailers m\n mailer a 127.0.0.1:25\n {line}\n"),
        _ => String::new(),
    };
    format!(
        "global\n{}defaults\n mode http\n timeout connect 2s\n timeout client 2s\n timeout server 2s\n\
         frontend f\n bind 127.0.0.1:28500\n default_backend b\n{}backend b\n{}backend t\n \
         stick-table type ip size 1k store gpc0\n{rest}",
        of("global"),
        of("frontend"),
        of("backend"),
    )
}

#[test]
fn zero_is_accepted_where_haproxy_accepts_it() {
    let mut wrong = Vec::new();
    let tables = [(true, ACCEPTED), (false, REFUSED)];
    let rows = tables.iter().flat_map(|(accepts, table)| {
        table
            .iter()
            .map(move |(section, lines)| (*accepts, *section, *lines))
    });
    for (accepts, section, lines) in rows {
        for line in lines {
            let loaded = load_text(&file(section, line));
            let errors: Vec<_> = loaded
                .diagnostics
                .iter()
                .filter(|diagnostic| diagnostic.severity == language::Severity::Error)
                .map(|diagnostic| diagnostic.message.clone())
                .collect();
            if errors.is_empty() != accepts {
                wrong.push(format!("{section}: {line}: {errors:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Lines that HAProxy accepts, with the section of each group.
const ACCEPTED: &[(&str, &[&str])] = &[
    (
        "global",
        &[
            "maxconn 0",
            "maxconnrate 0",
            "maxsessrate 0",
            "maxsslconn 0",
            "maxsslrate 0",
            "maxpipes 0",
            "maxcomprate 0",
            "maxcompcpuusage 0",
            "spread-checks 0",
            "hard-stop-after 0",
            "tune.maxrewrite 0",
            "tune.maxaccept 0",
            "tune.maxpollevents 0",
            "tune.http.cookielen 0",
            "tune.http.logurilen 0",
            "tune.idletimer 0",
            "tune.pattern.cache-size 0",
            "tune.rcvbuf.client 0",
            "tune.sndbuf.server 0",
            "tune.ssl.cachesize 0",
            "tune.ssl.lifetime 0",
            "tune.ssl.maxrecord 0",
            "tune.vars.global-max-size 0",
            "tune.h2.initial-window-size 0",
            "tune.h2.max-concurrent-streams 0",
            "tune.pool-high-fd-ratio 0",
            "tune.runqueue-depth 0",
            "tune.recv_enough 0",
            "ulimit-n 0",
            "tune.buffers.limit 0",
            "tune.buffers.reserve 0",
            "max-spread-checks 0",
            "tune.pipesize 0",
            "grace 0",
            "tune.ssl.capture-buffer-size 0",
            "tune.fail-alloc 0",
        ],
    ),
    (
        "frontend",
        &[
            "clitcpka-cnt 0",
            "clitcpka-idle 0",
            "clitcpka-intvl 0",
            "maxconn 0",
            "backlog 0",
            "rate-limit sessions 0",
            "timeout client 0",
            "timeout http-request 0",
            "timeout http-keep-alive 0",
            "timeout client-fin 0",
            "timeout tarpit 0",
            "tcp-request inspect-delay 0",
            "bind 127.0.0.1:28501 maxconn 0",
            "bind 127.0.0.1:28501 backlog 0",
            "bind 127.0.0.1:28501 tcp-ut 0",
            "bind 127.0.0.1:28501 nice 0",
            "capture request header X len 0",
            "capture cookie c len 0",
            "http-request set-nice 0",
            "http-request set-mark 0",
            "http-request set-tos 0",
            "http-request wait-for-body time 0",
            "stats refresh 0",
        ],
    ),
    (
        "backend",
        &[
            "srvtcpka-cnt 0",
            "srvtcpka-idle 0",
            "srvtcpka-intvl 0",
            "fullconn 0",
            "retries 0",
            "timeout connect 0",
            "timeout server 0",
            "timeout queue 0",
            "timeout check 0",
            "timeout tunnel 0",
            "timeout server-fin 0",
            "hash-balance-factor 0",
            "server s 127.0.0.1:80 weight 0",
            "server s 127.0.0.1:80 maxconn 0",
            "server s 127.0.0.1:80 minconn 0",
            "server s 127.0.0.1:80 maxqueue 0",
            "server s 127.0.0.1:80 slowstart 0",
            "server s 127.0.0.1:80 check port 0",
            "server s 127.0.0.1:80 pool-max-conn 0",
            "server s 127.0.0.1:80 pool-low-conn 0",
            "server s 127.0.0.1:80 pool-purge-delay 0",
            "server s 127.0.0.1:80 max-reuse 0",
            "server s 127.0.0.1:80 tcp-ut 0",
            "server s 127.0.0.1:0",
            "stick-table type ip size 1k expire 0",
            "balance url_param x check_post 0",
            "cookie c insert maxidle 0",
            "cookie c insert maxlife 0",
            "max-keep-alive-queue 0",
            "option redispatch 0",
            "http-check expect min-recv 0 string x",
            "tcp-check expect min-recv 0 string x",
            "retry-on 0rtt-rejected",
            "default-server weight 0",
            "default-server maxconn 0",
        ],
    ),
    (
        "resolvers",
        &[
            "timeout resolve 0",
            "timeout retry 0",
            "resolve_retries 0",
            "hold valid 0",
            "hold obsolete 0",
            "hold nx 0",
        ],
    ),
    ("cache", &["max-age 0", "max-object-size 0"]),
    ("ring", &["timeout connect 0"]),
    ("mailers", &["timeout mail 0"]),
];

/// Lines that HAProxy refuses, with the section of each group.
const REFUSED: &[(&str, &[&str])] = &[
    (
        "global",
        &[
            "nbthread 0",
            "tune.bufsize 0",
            "tune.http.maxhdr 0",
            "tune.zlib.memlevel 0",
            "tune.h2.header-table-size 0",
            "tune.h2.max-frame-size 0",
            "tune.comp.maxlevel 0",
            "tune.peers.max-updates-at-once 0",
            "stats maxconn 0",
            "stats timeout 0",
            "tune.quic.max-idle-timeout 0",
            "tune.ssl.default-dh-param 0",
        ],
    ),
    (
        "frontend",
        &[
            "bind 127.0.0.1:0",
            "bind 127.0.0.1:28501 id 0",
            "bind 127.0.0.1:28501 mss 0",
            "id 0",
            "http-request set-log-level 0",
            "http-request capture hdr(x) len 0",
            "log 127.0.0.1 len 0 local0",
            "declare capture request len 0",
            "http-request return status 0",
            "http-request deny deny_status 0",
            "http-request redirect code 0 location /",
            "monitor fail if { nbsrv 0 }",
        ],
    ),
    (
        "backend",
        &[
            "server-template s 0 127.0.0.1:80",
            "server s 127.0.0.1:80 check inter 0",
            "server s 127.0.0.1:80 check fastinter 0",
            "server s 127.0.0.1:80 check downinter 0",
            "server s 127.0.0.1:80 check rise 0",
            "server s 127.0.0.1:80 check fall 0",
            "server s 127.0.0.1:80 error-limit 0",
            "server s 127.0.0.1:80 id 0",
            "server s 127.0.0.1:80 agent-check agent-port 0",
            "server s 127.0.0.1:80 agent-check agent-port 1 agent-inter 0",
            "server s 127.0.0.1:80 log-bufsize 0",
            "stick-table type ip size 0",
            "stick-table type string len 0 size 1k",
            "stick-table type binary len 0 size 1k",
            "balance random(0)",
            "balance uri len 0",
            "balance uri depth 0",
            "tcp-check connect port 0",
            "id 0",
            "default-server inter 0",
        ],
    ),
    ("resolvers", &["accepted_payload_size 0"]),
    ("cache", &["total-max-size 0", "max-secondary-entries 0"]),
    ("ring", &["size 0", "maxlen 0"]),
];
