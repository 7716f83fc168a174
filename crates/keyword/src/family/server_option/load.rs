//! Options about how much a server gets: weight, limits, role, state.

use crate::family::Loader;
use crate::family::{Args, Built, ServerRow, places};
use language::value::TimeUnit;
use model::config::{RingKey, ServerOptions};

/// The options of this family.
pub static OPTIONS: &[ServerRow] = &[
    ServerRow {
        places: places::SERVER,
        syntax: "backup",
        doc: "Uses the server only when all other servers of its backend are down. Of several backup servers the \
            first one takes all streams, unless `option allbackups` is set.",
        example: "server web1 192.0.2.11:8080 backup",
        build: |_, options, _| on(&mut options.backup),
    },
    ServerRow {
        places: places::SERVER,
        syntax: "log-proto { legacy | octet-count }",
        doc: "Framing of log messages on a connection, for servers of a backend in `mode log`: a newline after each \
            message (`legacy`, the default), or its length before it.",
        example: "server logs 192.0.2.9:6514 log-proto octet-count",
        build: |_, options, args| {
            let word = args.required("legacy or octet-count")?;
            options.log_counted = match word.str() {
                "octet-count" => true,
                "legacy" => false,
                _ => {
                    let choices = ["legacy", "octet-count"];
                    return Err(crate::family::proxy::not_one_of(args, word, &choices));
                }
            };
            Ok(())
        },
    },
    ServerRow {
        places: places::SERVER,
        syntax: "non-stick",
        doc: "Stick tables do not store this server for a client (`stick on`, `stick store-request`). Clients that \
            got it, usually as a backup, return to other servers when these are back.",
        example: "server web1 192.0.2.11:8080 backup non-stick",
        build: |_, options, _| on(&mut options.non_stick),
    },
    ServerRow {
        places: places::SERVER,
        syntax: "no-backup",
        doc: "Cancels `backup` of `default-server`.",
        example: "server web1 192.0.2.11:8080 no-backup",
        build: |_, options, _| off(&mut options.backup),
    },
    ServerRow {
        places: places::SERVER,
        syntax: "disabled",
        doc: "Starts the server in maintenance: no traffic and no checks until an operator enables it.",
        example: "server web1 192.0.2.11:8080 disabled",
        build: |_, options, _| on(&mut options.disabled),
    },
    ServerRow {
        places: places::SERVER,
        syntax: "enabled",
        doc: "Cancels `disabled` of `default-server`.",
        example: "server web1 192.0.2.11:8080 enabled",
        build: |_, options, _| off(&mut options.disabled),
    },
    ServerRow {
        places: places::SERVER,
        syntax: "weight <weight>",
        doc: "Weight of the server for balancing, 0 to 256; the default is 1. With 0 it gets persistent sessions only.",
        example: "server web1 192.0.2.11:8080 weight 10",
        build: weight,
    },
    ServerRow {
        places: places::SERVER,
        syntax: "maxconn <sessions>",
        doc: "Maximum number of concurrent sessions; further ones wait in a queue. The default is 0, no limit.",
        example: "server web1 192.0.2.11:8080 maxconn 100",
        build: maxconn,
    },
    ServerRow {
        places: places::SERVER,
        syntax: "minconn <sessions>",
        doc: "Makes the `maxconn` limit depend on the load of the backend: this many sessions when it is idle, \
            `maxconn` from `fullconn` sessions on.",
        example: "server web1 192.0.2.11:8080 minconn 10 maxconn 100",
        build: minconn,
    },
    ServerRow {
        places: places::SERVER,
        syntax: "maxqueue <sessions>",
        doc: "Maximum number of streams that wait for this server; further ones use another server. The default is 0, \
            no limit.",
        example: "server web1 192.0.2.11:8080 maxconn 100 maxqueue 50",
        build: maxqueue,
    },
    ServerRow {
        places: places::SERVER,
        syntax: "slowstart <time>",
        doc: "After the server comes up, its weight and limit grow to their full values over this time. The default \
            is 0: immediately.",
        example: "server web1 192.0.2.11:8080 check slowstart 30s",
        build: slowstart,
    },
    ServerRow {
        places: places::SERVER_ONLY,
        syntax: "id <number>",
        doc: "A number above 0, unique in the proxy, that identifies the server in statistics and commands. The \
            default is the lowest free number.",
        example: "server web1 192.0.2.11:8080 id 12",
        build: id,
    },
    ServerRow {
        places: places::SERVER,
        syntax: "cookie <value>",
        doc: "Value of the backend's cookie for this server. Without a `cookie` line in the backend it has no effect.",
        example: "server web1 192.0.2.11:8080 cookie w1",
        build: cookie,
    },
    ServerRow {
        places: places::SERVER,
        syntax: "redir <prefix>",
        doc: "Redirects GET and HEAD requests for this server to this prefix and the request's path, instead of \
            forwarding them.",
        example: "server web1 192.0.2.11:8080 redir http://img.example.com",
        build: redir,
    },
    ServerRow {
        places: places::SERVER,
        syntax: "hash-key { id | addr | addr-port }",
        doc: "Sets how the position of the server on the ring of `hash-type consistent` is computed: from its id, its \
            address, or address and port. With the latter two, load balancers with a different order of servers still \
            agree. The default positions are those of HAProxy before 3.0. `hash-key id` gives those of 3.0 and later, \
            where it is the default: use it beside such load balancers.",
        example: "server web1 192.0.2.11:8080 hash-key addr-port",
        build: hash_key,
    },
    ServerRow {
        places: places::SERVER,
        syntax: "on-marked-down { shutdown-sessions }",
        doc: "When health checks mark the server down, ends its sessions at once instead of waiting until they fail.",
        example: "server web1 192.0.2.11:8080 check on-marked-down shutdown-sessions",
        build: on_marked_down,
    },
    ServerRow {
        places: places::SERVER,
        syntax: "on-marked-up { shutdown-backup-sessions }",
        doc: "When health checks mark the server up, ends the sessions of backup servers, so that their clients \
            return to it.",
        example: "server web1 192.0.2.11:8080 check on-marked-up shutdown-backup-sessions",
        build: on_marked_up,
    },
];

fn on(switch: &mut bool) -> Built {
    *switch = true;
    Ok(())
}

fn off(switch: &mut bool) -> Built {
    *switch = false;
    Ok(())
}

const COUNT_MAX: i64 = i32::MAX as i64;

fn weight(_: &mut Loader, options: &mut ServerOptions, args: &mut Args<'_>) -> Built {
    options.weight = args.integer("<weight>", 0..=256)? as u32;
    Ok(())
}

fn maxconn(_: &mut Loader, options: &mut ServerOptions, args: &mut Args<'_>) -> Built {
    options.maxconn = args.integer("<sessions>", 0..=COUNT_MAX)? as u32;
    Ok(())
}

fn minconn(_: &mut Loader, options: &mut ServerOptions, args: &mut Args<'_>) -> Built {
    options.minconn = args.integer("<sessions>", 0..=COUNT_MAX)? as u32;
    Ok(())
}

fn maxqueue(_: &mut Loader, options: &mut ServerOptions, args: &mut Args<'_>) -> Built {
    options.maxqueue = args.integer("<sessions>", 0..=COUNT_MAX)? as u32;
    Ok(())
}

fn slowstart(_: &mut Loader, options: &mut ServerOptions, args: &mut Args<'_>) -> Built {
    options.slowstart_ms = args.time_ms(TimeUnit::Milliseconds)?;
    Ok(())
}

fn id(_: &mut Loader, options: &mut ServerOptions, args: &mut Args<'_>) -> Built {
    options.id = args.integer("<number>", 1..=COUNT_MAX)? as u32;
    Ok(())
}

fn cookie(_: &mut Loader, options: &mut ServerOptions, args: &mut Args<'_>) -> Built {
    options.cookie = Some(args.required("<value>")?.bytes.as_slice().into());
    Ok(())
}

fn redir(_: &mut Loader, options: &mut ServerOptions, args: &mut Args<'_>) -> Built {
    options.redirect_prefix = Some(args.required("<prefix>")?.bytes.as_slice().into());
    Ok(())
}

fn hash_key(_: &mut Loader, options: &mut ServerOptions, args: &mut Args<'_>) -> Built {
    let key = match super::one_of(args, &["id", "addr", "addr-port"])? {
        "addr" => RingKey::Address,
        "addr-port" => RingKey::AddressAndPort,
        _ => RingKey::Id,
    };
    options.ring_key = Some(key);
    Ok(())
}

fn on_marked_down(_: &mut Loader, options: &mut ServerOptions, args: &mut Args<'_>) -> Built {
    super::one_of(args, &["shutdown-sessions"])?;
    options.shutdown_sessions_on_down = true;
    Ok(())
}

fn on_marked_up(_: &mut Loader, options: &mut ServerOptions, args: &mut Args<'_>) -> Built {
    super::one_of(args, &["shutdown-backup-sessions"])?;
    options.shutdown_backup_sessions_on_up = true;
    Ok(())
}
