//! Builds the options of servers for the connections to them: PROXY headers, pools of idle
//! connections, and protocols.

use super::{parse_choice, set};
use crate::family::Loader;
use crate::family::value::limit;
use crate::family::{Args, Built, ServerRow, places};
use language::Diagnostic;
use language::value::TimeUnit::Milliseconds;
use model::codes;
use model::config::{HttpProtocol, ProxyExtensions, ServerOptions, WebSocketProto};
use model::rules::{Expression, Usage};
use std::sync::Arc;

pub static OPTIONS: &[ServerRow] = language::rows! {
    "send-proxy" places::SERVER, |_, options, _| send_proxy(options, Some(1)),
        "server web1 192.0.2.11:8080 send-proxy",
        "Begins each connection to the server with a PROXY header version 1, which contains the client's address.";
    "send-proxy-v2" places::SERVER, |_, options, _| send_proxy(options, Some(2)),
        "server web1 192.0.2.11:8080 send-proxy-v2",
        "Begins each connection to the server with a PROXY header version 2 (binary), which contains the client's \
         address.";
    "send-proxy-v2-ssl" places::SERVER, |_, options, _| send_proxy_tls(options, false),
        "server web1 192.0.2.11:8080 send-proxy-v2-ssl",
        "Like `send-proxy-v2`; the header also contains the client's TLS version, and whether it presented a \
         certificate.";
    "send-proxy-v2-ssl-cn" places::SERVER, |_, options, _| send_proxy_tls(options, true),
        "server web1 192.0.2.11:8080 send-proxy-v2-ssl-cn",
        "Like `send-proxy-v2-ssl`; the header also contains the common name of the client's certificate.";
    "proxy-v2-options <option>[,<option>]*" places::SERVER, proxy_v2_options,
        "server web1 192.0.2.11:8080 send-proxy-v2 proxy-v2-options authority,crc32c",
        "Additional fields in the header of `send-proxy-v2`: `ssl`, `cert-cn`, `ssl-cipher`, `cert-sig`, `cert-key` \
         (about the client's TLS connection), `authority` (its SNI), `unique-id`, and `crc32c`, a checksum.";
    "no-send-proxy-v2-ssl" places::SERVER, |_, options, _| send_proxy(options, None),
        "server web1 192.0.2.11:8080 no-send-proxy-v2-ssl",
        "Cancels `send-proxy-v2-ssl` of `default-server`.";
    "no-send-proxy-v2-ssl-cn" places::SERVER, |_, options, _| send_proxy(options, None),
        "server web1 192.0.2.11:8080 no-send-proxy-v2-ssl-cn",
        "Cancels `send-proxy-v2-ssl-cn` of `default-server`.";
    "no-send-proxy" places::SERVER, |_, options, _| send_proxy(options, None),
        "server web1 192.0.2.11:8080 no-send-proxy",
        "Cancels `send-proxy` of `default-server`.";
    "no-send-proxy-v2" places::SERVER, |_, options, _| send_proxy(options, None),
        "server web1 192.0.2.11:8080 no-send-proxy-v2",
        "Cancels `send-proxy-v2` of `default-server`.";
    "source <address>[:<port>[-<port>]] [usesrc { client | clientip | hdr_ip(<name>[,<occurrence>]) | <address>[:<port>] }] [interface <name>]" places::SERVER,
        crate::family::source::of_server, "server web1 192.0.2.11:8080 source 192.0.2.1",
        "Source address and interface of connections to the server. `usesrc` uses another address, such as that of the \
         client (with its port or another one) or of a header; the server's replies must then be routed through this \
         host. From a range of ports the next free one is used.";
    "tcp-ut <time>" places::SERVER,
        |_, options, args| {
            set(
                &mut options.tcp_user_timeout_ms,
                Some(args.time_ms(Milliseconds)?),
            )
        },
        "server web1 192.0.2.11:8080 tcp-ut 10s",
        "Closes a connection to the server when sent data is not acknowledged within this time. The default is the \
         system setting.";
    "tfo" places::SERVER, |_, options, _| set(&mut options.tcp_fast_open, true),
        "server web1 192.0.2.11:8080 tfo",
        "Sends the first data while the connection is being established (TCP Fast Open), if the system allows it.";
    "no-tfo" places::SERVER, |_, options, _| set(&mut options.tcp_fast_open, false),
        "server web1 192.0.2.11:8080 no-tfo",
        "Cancels `tfo` of `default-server`.";
    "pool-low-conn <connections>" places::SERVER,
        |_, options, args| set(&mut options.pool_low, limit(args, "<connections>")?),
        "server web1 192.0.2.11:8080 pool-low-conn 4",
        "Number of idle connections to the server from which a thread uses one of another thread; with fewer it opens \
         a new one. The default is 0: it always may (`tune.idle-pool.shared`).";
    "pool-max-conn <connections>" places::SERVER,
        |_, options, args| set(&mut options.pool_max, unlimited(args)?),
        "server web1 192.0.2.11:8080 pool-max-conn 20",
        "Maximum number of idle connections to the server; -1, the default, means no limit, and 0 keeps none.";
    "pool-purge-delay <time>" places::SERVER,
        |_, options, args| {
            set(
                &mut options.pool_purge_delay_ms,
                args.time_ms(Milliseconds)?,
            )
        },
        "server web1 192.0.2.11:8080 pool-purge-delay 1m",
        "Time after which unneeded idle connections are closed; the default is 5s.";
    "max-reuse <count>" places::SERVER,
        |_, options, args| set(&mut options.reuse_max, unlimited(args)?),
        "server web1 192.0.2.11:8080 max-reuse 1000",
        "Maximum number of times that a connection to the server is reused; -1, the default, means no limit.";
    "pool-conn-name <expression>" places::SERVER, pool_name,
        "server web1 192.0.2.11:8080 pool-conn-name req.hdr(x-tenant)",
        "The value of this expression names a new connection; only streams with the same name reuse it. It replaces \
         `sni` for this purpose: streams with different `sni` but the same name share connections.";
    "proto { h1 | h2 | none }" places::SERVER, proto, "server web1 192.0.2.11:8080 proto h2",
        "HTTP version for the server, regardless of TLS negotiation. The default is HTTP/1; `h2` does not need TLS.";
    "ws { auto | h1 | h2 }" places::SERVER, ws, "server web1 192.0.2.11:8080 ws h1",
        "HTTP version for WebSocket streams to the server. `auto` uses the version of other streams, or HTTP/1 if ALPN \
         offers it; `h2` needs a server that supports RFC 8441.";
};

fn send_proxy(options: &mut ServerOptions, version: Option<u8>) -> Built {
    options.send_proxy = version;
    if version.is_none() {
        options.proxy_extensions = ProxyExtensions::default();
        options.proxy_fields = Vec::new();
    }
    Ok(())
}

fn send_proxy_tls(options: &mut ServerOptions, common_name: bool) -> Built {
    options.send_proxy = Some(2);
    options.proxy_extensions.tls = true;
    options.proxy_extensions.common_name |= common_name;
    Ok(())
}

/// Function that returns the flag of a field.
type Switch = fn(&mut ProxyExtensions) -> &mut bool;

const PROXY_V2_FIELDS: [(&str, Switch); 8] = [
    ("ssl", |told| &mut told.tls),
    ("cert-cn", |told| &mut told.common_name),
    ("ssl-cipher", |told| &mut told.cipher),
    ("cert-sig", |told| &mut told.signature),
    ("cert-key", |told| &mut told.key),
    ("authority", |told| &mut told.authority),
    ("crc32c", |told| &mut told.checksum),
    ("unique-id", |told| &mut told.unique_id),
];

fn proxy_v2_options(_: &mut Loader, options: &mut ServerOptions, args: &mut Args<'_>) -> Built {
    let word = args.required("<option>[,<option>]*")?;
    let told = &mut options.proxy_extensions;
    for name in word.str().split(',') {
        let Some((_, field)) = PROXY_V2_FIELDS.iter().find(|(known, _)| *known == name) else {
            let message = format!("'{name}' : proxy v2 option not implemented.");
            let told = Diagnostic::error(&codes::BAD_VALUE, word.span, message);
            let known = PROXY_V2_FIELDS.map(|(known, _)| known);
            return Err(told.suggest(language::suggest::nearest(name, known)));
        };
        *field(told) = true;
    }
    // Sends the TLV about TLS if one of the values in it is requested.
    told.tls |= told.common_name || told.cipher || told.signature || told.key;
    Ok(())
}

fn unlimited(args: &mut Args<'_>) -> Result<Option<u32>, Diagnostic> {
    let count = args.integer("<count>", -1..=i64::from(i32::MAX))?;
    Ok(u32::try_from(count).ok())
}

fn pool_name(loader: &mut Loader, options: &mut ServerOptions, args: &mut Args<'_>) -> Built {
    let word = args.required("<expression>")?;
    let expression = Expression::parse(loader, word, Usage::SERVER_SOURCE)?;
    options.pool_name = Some((word.text().into(), Arc::new(expression)));
    Ok(())
}

fn proto(_: &mut Loader, options: &mut ServerOptions, args: &mut Args<'_>) -> Built {
    let versions = [
        ("h1", Some(HttpProtocol::Http1)),
        ("h2", Some(HttpProtocol::Http2)),
        ("fcgi", Some(HttpProtocol::FastCgi)),
        ("none", None),
    ];
    set(&mut options.protocol, parse_choice(args, &versions)?)
}

fn ws(_: &mut Loader, options: &mut ServerOptions, args: &mut Args<'_>) -> Built {
    let versions = [
        ("auto", WebSocketProto::Auto),
        ("h1", WebSocketProto::H1),
        ("h2", WebSocketProto::H2),
    ];
    set(&mut options.web_socket, parse_choice(args, &versions)?)
}
