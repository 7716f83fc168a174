//! Builds the options of servers for load balancing: weight, limits of sessions, role, and initial
//! state.

use super::{parse_choice, set};
use crate::family::value::octets_counted;
use crate::family::{Args, ServerRow, places};
use language::Diagnostic;
use language::value::TimeUnit::Milliseconds;
use model::config::RingKey;

pub static OPTIONS: &[ServerRow] = language::rows! {
    "backup" places::SERVER, |_, options, _| set(&mut options.backup, true),
        "server web1 192.0.2.11:8080 backup",
        "Uses the server only when all other servers of its backend are down. Of several backup servers the first one \
         takes all streams, unless `option allbackups` is set.";
    "log-proto { legacy | octet-count }" places::SERVER,
        |_, options, args| set(&mut options.log_counted, octets_counted(args)?),
        "server logs 192.0.2.9:6514 log-proto octet-count",
        "Framing of log messages on a connection, for servers of a backend in `mode log`: a newline after each message \
         (`legacy`, the default), or its length before it.";
    "non-stick" places::SERVER, |_, options, _| set(&mut options.non_stick, true),
        "server web1 192.0.2.11:8080 backup non-stick",
        "Stick tables do not store this server for a client (`stick on`, `stick store-request`). Clients that got it, \
         usually as a backup, return to other servers when these are back.";
    "no-backup" places::SERVER, |_, options, _| set(&mut options.backup, false),
        "server web1 192.0.2.11:8080 no-backup",
        "Cancels `backup` of `default-server`.";
    "disabled" places::SERVER, |_, options, _| set(&mut options.disabled, true),
        "server web1 192.0.2.11:8080 disabled",
        "Starts the server in maintenance: no traffic and no checks until an operator enables it.";
    "enabled" places::SERVER, |_, options, _| set(&mut options.disabled, false),
        "server web1 192.0.2.11:8080 enabled",
        "Cancels `disabled` of `default-server`.";
    "weight <weight>" places::SERVER,
        |_, options, args| set(&mut options.weight, args.count("<weight>", 0..=256)?),
        "server web1 192.0.2.11:8080 weight 10",
        "Weight of the server for balancing, 0 to 256; the default is 1. With 0 it gets persistent sessions only.";
    "maxconn <sessions>" places::SERVER,
        |_, options, args| set(&mut options.maxconn, sessions(args)?),
        "server web1 192.0.2.11:8080 maxconn 100",
        "Maximum number of concurrent sessions; further ones wait in a queue. The default is 0, no limit.";
    "minconn <sessions>" places::SERVER,
        |_, options, args| set(&mut options.minconn, sessions(args)?),
        "server web1 192.0.2.11:8080 minconn 10 maxconn 100",
        "Makes the `maxconn` limit depend on the load of the backend: this many sessions when it is idle, `maxconn` \
         from `fullconn` sessions on.";
    "maxqueue <sessions>" places::SERVER,
        |_, options, args| set(&mut options.maxqueue, sessions(args)?),
        "server web1 192.0.2.11:8080 maxconn 100 maxqueue 50",
        "Maximum number of streams that wait for this server; further ones use another server. The default is 0, no \
         limit.";
    "slowstart <time>" places::SERVER,
        |_, options, args| set(&mut options.slowstart_ms, args.time_ms(Milliseconds)?),
        "server web1 192.0.2.11:8080 check slowstart 30s",
        "After the server comes up, its weight and limit grow to their full values over this time. The default is 0: \
         immediately.";
    "id <number>" places::SERVER_ONLY,
        |_, options, args| set(&mut options.id, args.count("<number>", 1..=COUNT_MAX)?),
        "server web1 192.0.2.11:8080 id 12",
        "A number above 0, unique in the proxy, that identifies the server in statistics and commands. The default is \
         the lowest free number.";
    "cookie <value>" places::SERVER,
        |_, options, args| set(&mut options.cookie, Some(bytes(args, "<value>")?)),
        "server web1 192.0.2.11:8080 cookie w1",
        "Value of the backend's cookie for this server. Without a `cookie` line in the backend it has no effect.";
    "redir <prefix>" places::SERVER,
        |_, options, args| set(&mut options.redirect_prefix, Some(bytes(args, "<prefix>")?)),
        "server web1 192.0.2.11:8080 redir http://img.example.com",
        "Redirects GET and HEAD requests for this server to this prefix and the request's path, instead of forwarding \
         them.";
    "hash-key { id | addr | addr-port }" places::SERVER,
        |_, options, args| {
            let keys = [
                ("id", RingKey::Id),
                ("addr", RingKey::Address),
                ("addr-port", RingKey::AddressAndPort),
            ];
            set(&mut options.ring_key, Some(parse_choice(args, &keys)?))
        },
        "server web1 192.0.2.11:8080 hash-key addr-port",
        "Sets how the position of the server on the ring of `hash-type consistent` is computed: from its id, its \
         address, or address and port. With the latter two, load balancers with a different order of servers still \
         agree. The default positions are those of HAProxy before 3.0. `hash-key id` gives those of 3.0 and later, \
         where it is the default: use it beside such load balancers.";
    "on-marked-down { shutdown-sessions }" places::SERVER,
        |_, options, args| {
            let shuts = parse_choice(args, &[("shutdown-sessions", true)])?;
            set(&mut options.shutdown_sessions_on_down, shuts)
        },
        "server web1 192.0.2.11:8080 check on-marked-down shutdown-sessions",
        "When health checks mark the server down, ends its sessions at once instead of waiting until they fail.";
    "on-marked-up { shutdown-backup-sessions }" places::SERVER,
        |_, options, args| {
            let shuts = parse_choice(args, &[("shutdown-backup-sessions", true)])?;
            set(&mut options.shutdown_backup_sessions_on_up, shuts)
        },
        "server web1 192.0.2.11:8080 check on-marked-up shutdown-backup-sessions",
        "When health checks mark the server up, ends the sessions of backup servers, so that their clients return to \
         it.";
};

const COUNT_MAX: u32 = i32::MAX as u32;

fn sessions(args: &mut Args<'_>) -> Result<u32, Diagnostic> {
    args.count("<sessions>", 0..=COUNT_MAX)
}

fn bytes(args: &mut Args<'_>, what: &str) -> Result<Box<[u8]>, Diagnostic> {
    Ok(args.required(what)?.bytes.as_slice().into())
}
