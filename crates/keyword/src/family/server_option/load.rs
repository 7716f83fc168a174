//! Options about how much a server gets: weight, limits, role, state.

use super::{one_of, set};
use crate::family::value::octets_counted;
use crate::family::{Args, ServerRow, places};
use language::Diagnostic;
use language::value::TimeUnit::Milliseconds;
use model::config::RingKey;

/// The options of this family.
pub static OPTIONS: &[ServerRow] = &[
    ServerRow {
        places: places::SERVER,
        syntax: "backup",
        doc: "Uses the server only when all other servers of its backend are down. Of several backup servers the \
            first one takes all streams, unless `option allbackups` is set.",
        example: "server web1 192.0.2.11:8080 backup",
        build: |_, options, _| set(&mut options.backup, true),
    },
    ServerRow {
        places: places::SERVER,
        syntax: "log-proto { legacy | octet-count }",
        doc: "Framing of log messages on a connection, for servers of a backend in `mode log`: a newline after each \
            message (`legacy`, the default), or its length before it.",
        example: "server logs 192.0.2.9:6514 log-proto octet-count",
        build: |_, options, args| set(&mut options.log_counted, octets_counted(args)?),
    },
    ServerRow {
        places: places::SERVER,
        syntax: "non-stick",
        doc: "Stick tables do not store this server for a client (`stick on`, `stick store-request`). Clients that \
            got it, usually as a backup, return to other servers when these are back.",
        example: "server web1 192.0.2.11:8080 backup non-stick",
        build: |_, options, _| set(&mut options.non_stick, true),
    },
    ServerRow {
        places: places::SERVER,
        syntax: "no-backup",
        doc: "Cancels `backup` of `default-server`.",
        example: "server web1 192.0.2.11:8080 no-backup",
        build: |_, options, _| set(&mut options.backup, false),
    },
    ServerRow {
        places: places::SERVER,
        syntax: "disabled",
        doc: "Starts the server in maintenance: no traffic and no checks until an operator enables it.",
        example: "server web1 192.0.2.11:8080 disabled",
        build: |_, options, _| set(&mut options.disabled, true),
    },
    ServerRow {
        places: places::SERVER,
        syntax: "enabled",
        doc: "Cancels `disabled` of `default-server`.",
        example: "server web1 192.0.2.11:8080 enabled",
        build: |_, options, _| set(&mut options.disabled, false),
    },
    ServerRow {
        places: places::SERVER,
        syntax: "weight <weight>",
        doc: "Weight of the server for balancing, 0 to 256; the default is 1. With 0 it gets persistent sessions only.",
        example: "server web1 192.0.2.11:8080 weight 10",
        build: |_, options, args| set(&mut options.weight, args.count("<weight>", 0..=256)?),
    },
    ServerRow {
        places: places::SERVER,
        syntax: "maxconn <sessions>",
        doc: "Maximum number of concurrent sessions; further ones wait in a queue. The default is 0, no limit.",
        example: "server web1 192.0.2.11:8080 maxconn 100",
        build: |_, options, args| set(&mut options.maxconn, sessions(args)?),
    },
    ServerRow {
        places: places::SERVER,
        syntax: "minconn <sessions>",
        doc: "Makes the `maxconn` limit depend on the load of the backend: this many sessions when it is idle, \
            `maxconn` from `fullconn` sessions on.",
        example: "server web1 192.0.2.11:8080 minconn 10 maxconn 100",
        build: |_, options, args| set(&mut options.minconn, sessions(args)?),
    },
    ServerRow {
        places: places::SERVER,
        syntax: "maxqueue <sessions>",
        doc: "Maximum number of streams that wait for this server; further ones use another server. The default is 0, \
            no limit.",
        example: "server web1 192.0.2.11:8080 maxconn 100 maxqueue 50",
        build: |_, options, args| set(&mut options.maxqueue, sessions(args)?),
    },
    ServerRow {
        places: places::SERVER,
        syntax: "slowstart <time>",
        doc: "After the server comes up, its weight and limit grow to their full values over this time. The default \
            is 0: immediately.",
        example: "server web1 192.0.2.11:8080 check slowstart 30s",
        build: |_, options, args| set(&mut options.slowstart_ms, args.time_ms(Milliseconds)?),
    },
    ServerRow {
        places: places::SERVER_ONLY,
        syntax: "id <number>",
        doc: "A number above 0, unique in the proxy, that identifies the server in statistics and commands. The \
            default is the lowest free number.",
        example: "server web1 192.0.2.11:8080 id 12",
        build: |_, options, args| set(&mut options.id, args.count("<number>", 1..=COUNT_MAX)?),
    },
    ServerRow {
        places: places::SERVER,
        syntax: "cookie <value>",
        doc: "Value of the backend's cookie for this server. Without a `cookie` line in the backend it has no effect.",
        example: "server web1 192.0.2.11:8080 cookie w1",
        build: |_, options, args| set(&mut options.cookie, Some(bytes(args, "<value>")?)),
    },
    ServerRow {
        places: places::SERVER,
        syntax: "redir <prefix>",
        doc: "Redirects GET and HEAD requests for this server to this prefix and the request's path, instead of \
            forwarding them.",
        example: "server web1 192.0.2.11:8080 redir http://img.example.com",
        build: |_, options, args| set(&mut options.redirect_prefix, Some(bytes(args, "<prefix>")?)),
    },
    ServerRow {
        places: places::SERVER,
        syntax: "hash-key { id | addr | addr-port }",
        doc: "Sets how the position of the server on the ring of `hash-type consistent` is computed: from its id, its \
            address, or address and port. With the latter two, load balancers with a different order of servers still \
            agree. The default positions are those of HAProxy before 3.0. `hash-key id` gives those of 3.0 and later, \
            where it is the default: use it beside such load balancers.",
        example: "server web1 192.0.2.11:8080 hash-key addr-port",
        build: |_, options, args| {
            let keys = [
                ("id", RingKey::Id),
                ("addr", RingKey::Address),
                ("addr-port", RingKey::AddressAndPort),
            ];
            set(&mut options.ring_key, Some(one_of(args, &keys)?))
        },
    },
    ServerRow {
        places: places::SERVER,
        syntax: "on-marked-down { shutdown-sessions }",
        doc: "When health checks mark the server down, ends its sessions at once instead of waiting until they fail.",
        example: "server web1 192.0.2.11:8080 check on-marked-down shutdown-sessions",
        build: |_, options, args| {
            let shuts = one_of(args, &[("shutdown-sessions", true)])?;
            set(&mut options.shutdown_sessions_on_down, shuts)
        },
    },
    ServerRow {
        places: places::SERVER,
        syntax: "on-marked-up { shutdown-backup-sessions }",
        doc: "When health checks mark the server up, ends the sessions of backup servers, so that their clients \
            return to it.",
        example: "server web1 192.0.2.11:8080 check on-marked-up shutdown-backup-sessions",
        build: |_, options, args| {
            let shuts = one_of(args, &[("shutdown-backup-sessions", true)])?;
            set(&mut options.shutdown_backup_sessions_on_up, shuts)
        },
    },
];

const COUNT_MAX: u32 = i32::MAX as u32;

fn sessions(args: &mut Args<'_>) -> Result<u32, Diagnostic> {
    args.count("<sessions>", 0..=COUNT_MAX)
}

fn bytes(args: &mut Args<'_>, what: &str) -> Result<Box<[u8]>, Diagnostic> {
    Ok(args.required(what)?.bytes.as_slice().into())
}
