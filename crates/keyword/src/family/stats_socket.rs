//! Builds `stats socket`, `stats maxconn` and `stats bind-process` of `global`: they define the
//! sockets of the runtime API and their limits.

use super::places::GLOBAL;
use super::{Args, Built, LineRow, bind, legacy};
use crate::family::{Loader, SocketRights};
use model::config::{Bind, StatsSocket};

fn socket(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let word = args.required("an address")?;
    let mut listener = bind::template(word.span);
    loader.socket = Some(SocketRights::default());
    let options = bind::options(loader, args, &mut listener);
    let rights = loader.socket.take().unwrap_or_default();
    if listener.tls_words.as_ref().is_some_and(|words| words.ssl) {
        return Err(super::proxy::unsupported_word(
            word,
            "ssl on a stats socket",
        ));
    }
    for address in bind::addresses(loader, word, args.keyword)? {
        let bind = Bind {
            address,
            ..listener.clone()
        };
        loader.config.global.stats_sockets.push(StatsSocket {
            bind,
            level: rights.level,
            expose_listeners: rights.expose_listeners,
            severity: rights.severity,
        });
    }
    options
}

fn maxconn(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let limit = args.count("a number of connections", 1..=i32::MAX as u32)?;
    loader.config.global.stats_maxconn = Some(limit);
    args.warn_of_surplus()
}

fn processes(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    args.required("a set of processes")?;
    args.rest();
    legacy::warn_needless(
        loader,
        args,
        "stats bind-process",
        "there is only one process",
    );
    Ok(())
}

pub static LINES: &[LineRow] = language::rows! {
    "stats socket <address> [level <level>] [expose-fd listeners] [<bind option> …]" GLOBAL, socket,
        "stats socket /run/evenkeel/admin.sock mode 660 level admin expose-fd listeners",
        "A socket for the runtime API, with which operators query and change the process (`show stat`, `disable \
         server`). Use a path with a restrictive mode, and `level admin` only if servers must be changed. Anyone who \
         can reach an address with a port can use it.";
    "stats maxconn <connections>" GLOBAL, maxconn, "stats maxconn 20",
        "Maximum number of concurrent connections to all `stats socket`s. The default is 10.";
    "stats bind-process { all | odd | even | <number>[-<number>] } …" GLOBAL, processes,
        "stats bind-process 1",
        "In older HAProxy versions, selected the process of a `stats socket`. Evenkeel has one process: no effect, \
         with a warning.";
};
