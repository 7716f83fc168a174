//! Accepts options of `bind` and `server` lines that tune the internals of HAProxy or disable
//! features that do not exist here. Each is checked and accepted, and its documentation says why it
//! has no effect.

use super::places::{BIND, SERVER};
use super::value::on_off;
use super::{Args, BindRow, Built, ServerRow};
use crate::family::Loader;
use model::codes;
use model::config::{Bind, ServerOptions};

const NICE: std::ops::RangeInclusive<i64> = -1024..=1024;

fn bind_number(_: &mut Loader, _: &mut Bind, args: &mut Args<'_>) -> Built {
    let range = match args.keyword {
        "nice" => NICE,
        _ => 0..=i64::from(i32::MAX),
    };
    args.integer("a number", range).map(|_| ())
}

fn shards(_: &mut Loader, _: &mut Bind, args: &mut Args<'_>) -> Built {
    let word = args.required("a number, by-thread or by-group")?;
    let number = word.str().parse::<u16>();
    if matches!(word.str(), "by-thread" | "by-group") || number.is_ok_and(|n| n > 0) {
        return Ok(());
    }
    let told = format!("'shards': '{}' is not a number of sockets", word.text());
    Err(args.word_error(&codes::BAD_VALUE, word, told))
}

fn word(args: &mut Args<'_>) -> Built {
    args.required("a value").map(|_| ())
}

pub static BINDS: &[BindRow] = language::rows! {
    "shards { <number> | by-thread | by-group }" BIND, shards, "bind :8080 shards by-thread",
        "In HAProxy, the number of sockets for the address. Evenkeel always uses one socket; any idle thread accepts \
         from it.";
    "nbconn <number>" BIND, bind_number, "bind :8080 nbconn 1",
        "In HAProxy, the number of connections to the server of a reversed connection, on a `bind` with `rev@`, which \
         is not supported. No effect on others.";
    "nice <number>" BIND, bind_number, "bind :8080 nice -100",
        "In HAProxy, the scheduler priority of the listener's streams, from -1024 (highest) to 1024. In Evenkeel every \
         stream has the same budget of operations, so none waits long for another; the number has no effect.";
    "ktls { on | off }" BIND, |_, _, args| on_off(args).map(drop), "bind :8080 ktls off",
        "In HAProxy, moves TLS encryption into the kernel. Evenkeel never does so.";
    "quic-cc-algo <algorithm>" BIND, |_, _, args| word(args), "bind :8080 quic-cc-algo cubic",
        "In HAProxy, the congestion control of QUIC on a `bind` with `quic4@` or `quic6@`, which is not supported. No \
         effect on others.";
    "quic-force-retry" BIND, |_, _, _| Ok(()), "bind :8080 quic-force-retry",
        "In HAProxy, validates addresses of QUIC clients on a `bind` with `quic4@` or `quic6@`, which is not \
         supported. No effect on others.";
    "quic-socket { connection | listener }" BIND, |_, _, args| word(args),
        "bind :8080 quic-socket listener",
        "In HAProxy, how QUIC connections share sockets on a `bind` with `quic4@` or `quic6@`, which is not supported. \
         No effect on others.";
};

fn nothing(_: &mut Loader, _: &mut ServerOptions, _: &mut Args<'_>) -> Built {
    Ok(())
}

pub static SERVERS: &[ServerRow] = language::rows! {
    "no-sni-auto" SERVER, nothing, "server web1 192.0.2.11:8080 no-sni-auto",
        "Disables the automatic SNI of newer HAProxy versions. Evenkeel never adds one: `sni` sets the name.";
    "no-check-sni-auto" SERVER, nothing, "server web1 192.0.2.11:8080 no-check-sni-auto",
        "Disables the automatic SNI for checks of newer HAProxy versions. Evenkeel never adds one: `check-sni` sets \
         the name.";
    "no-check-reuse-pool" SERVER, nothing, "server web1 192.0.2.11:8080 no-check-reuse-pool",
        "Makes checks of newer HAProxy versions open their own connections. Evenkeel always does so.";
    "stick" SERVER, nothing, "server web1 192.0.2.11:8080 stick",
        "In HAProxy 2.6, allows stick tables to refer to this server. In Evenkeel they may refer to every server \
         without `non-stick`.";
    "no-renegotiate" SERVER, nothing, "server web1 192.0.2.11:8080 no-renegotiate",
        "Refuses TLS renegotiation by servers. Evenkeel always does so.";
    "ktls { on | off }" SERVER, |_, _, args| on_off(args).map(drop),
        "server web1 192.0.2.11:8080 ktls off",
        "In HAProxy, moves TLS encryption into the kernel. Evenkeel never does so.";
};

#[cfg(test)]
mod tests {
    use crate::testing::{codes_of, load_text};

    #[test]
    fn what_cannot_be_meant_is_refused_all_the_same() {
        for (option, wanted) in [
            ("shards by-thread", 0),
            ("shards 4", 0),
            ("shards 0", 1),
            ("shards", 1),
            ("nice -1024", 0),
            ("nice 2000", 1),
            ("ktls maybe", 1),
        ] {
            let loaded = load_text(&format!("listen a\n bind 127.0.0.1:1 {option}\n"));
            assert_eq!(loaded.diagnostics.errors(), wanted, "{option}");
        }
        assert_eq!(
            codes_of("server a 127.0.0.1:1 no-sni-auto"),
            Vec::<&str>::new()
        );
    }
}
