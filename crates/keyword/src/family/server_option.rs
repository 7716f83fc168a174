//! Joins the tables of the options of `server` and `default-server` lines, which have one file per
//! topic, and parses values that several of them use.

pub(in crate::family) mod check;
mod connection;
mod load;
pub(crate) mod observing;
mod proxy_fields;
pub(crate) mod resolve;
pub(crate) mod tls;

use super::{Args, Built, ServerBuilder};
use language::Diagnostic;
use language::keyword::Family;
use model::codes;

pub(super) use proxy_fields::NAME as WITH_ARGUMENT;

pub static FAMILIES: &[Family<ServerBuilder>] = &[
    ("server options: health checks", check::OPTIONS),
    ("server options: connections", connection::OPTIONS),
    ("server options: connections", proxy_fields::OPTIONS),
    ("server options: load and weight", load::OPTIONS),
    ("server options: state", observing::OPTIONS),
    ("server options: DNS", resolve::OPTIONS),
    ("server options: TLS", tls::OPTIONS),
    ("Accepted without effect", super::endpoint_hints::SERVERS),
];

/// Parses a time above zero, up to HAProxy's maximum for server options.
fn time_above_zero(args: &mut Args<'_>) -> Result<u32, Diagnostic> {
    let word = args.peek();
    let ms = args.time_ms(language::value::TimeUnit::Milliseconds)?;
    match (ms, word) {
        (0, Some(word)) => Err(Diagnostic::error(
            &codes::OUT_OF_RANGE,
            word.span,
            format!("invalid value 0 for '{}'", args.keyword),
        )
        .label("must be greater than 0")),
        _ => Ok(ms),
    }
}

fn port(args: &mut Args<'_>) -> Result<Option<u16>, Diagnostic> {
    let port = args.integer("<port>", 0..=65535)? as u16;
    Ok((port != 0).then_some(port))
}

fn unsupported_option(span: language::Span, what: &str) -> Diagnostic {
    Diagnostic::error(&codes::NOT_BUILT, span, format!("{what} is not supported"))
}

fn parse_choice<T: Copy>(
    args: &mut Args<'_>,
    words: &[(&'static str, T)],
) -> Result<T, Diagnostic> {
    let names: Vec<&'static str> = words.iter().map(|(name, _)| *name).collect();
    let expected = names.join(" or ");
    let word = args.required(&expected)?;
    if let Some((_, value)) = words.iter().find(|(name, _)| word.is(name)) {
        return Ok(*value);
    }
    let (keyword, text) = (args.keyword, word.text());
    let message = format!("'{keyword}' expects {expected}, got '{text}'");
    let near = language::suggest::nearest(word.str(), names);
    Err(Diagnostic::error(&codes::BAD_VALUE, word.span, message).did_you_mean(word.span, near))
}

fn set<T>(field: &mut T, value: T) -> Built {
    *field = value;
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{backend, codes_of};
    use model::config::ServerAddress;
    use model::config::ServerOptions;

    fn options(text: &str) -> ServerOptions {
        backend(&format!("server a 127.0.0.1:80 {text}")).servers[0]
            .options
            .clone()
    }

    #[test]
    fn each_option_sets_what_it_says() {
        let all = options(
            "backup check rise 3 fall 4 inter 1s fastinter 200 downinter 1m weight 30 maxconn 50 \
             minconn 5 maxqueue 9 slowstart 60s cookie c1 port 8080 addr 127.0.0.2 redir http://x \
             send-proxy-v2 check-send-proxy tcp-ut 5s tfo pool-low-conn 3 pool-max-conn 7 pool-purge-delay 1s \
             max-reuse 100 on-marked-down shutdown-sessions on-marked-up shutdown-backup-sessions \
             source 127.0.0.9 interface lo disabled id 12 init-addr last,libc,none proto h1",
        );
        assert!(
            all.backup && all.check && all.check_send_proxy && all.tcp_fast_open && all.disabled
        );
        assert_eq!((all.rise, all.fall, all.weight, all.id), (3, 4, 30, 12));
        assert_eq!(
            (all.inter_ms, all.fastinter_ms, all.downinter_ms),
            (1000, Some(200), Some(60_000))
        );
        assert_eq!(
            (all.maxconn, all.minconn, all.maxqueue, all.slowstart_ms),
            (50, 5, 9, 60_000)
        );
        assert_eq!(all.cookie.as_deref(), Some(&b"c1"[..]));
        assert_eq!(all.check_port, Some(8080));
        assert_eq!(
            all.check_host,
            Some(ServerAddress::SamePort([127, 0, 0, 2].into(), 0))
        );
        assert_eq!(all.redirect_prefix.as_deref(), Some(&b"http://x"[..]));
        assert_eq!(all.send_proxy, Some(2));
        assert_eq!(all.tcp_user_timeout_ms, Some(5000));
        assert_eq!(
            (
                all.pool_low,
                all.pool_max,
                all.pool_purge_delay_ms,
                all.reuse_max
            ),
            (Some(3), Some(7), 1000, Some(100))
        );
        assert!(all.shutdown_sessions_on_down && all.shutdown_backup_sessions_on_up);
        assert_eq!(all.source, "127.0.0.9:0".parse().ok());
        assert_eq!(all.source_ways.interface.as_deref(), Some("lo"));
        assert_eq!(all.resolving.init.map(|list| list.len()), Some(3));
    }

    #[test]
    fn the_no_forms_undo() {
        let none = options(
            "backup no-backup check no-check send-proxy no-send-proxy check-send-proxy \
             no-check-send-proxy tfo no-tfo disabled enabled",
        );
        assert!(!none.backup && !none.check && !none.check_send_proxy && !none.tcp_fast_open);
        assert!(none.send_proxy.is_none() && !none.disabled);
        assert_eq!(options("max-reuse -1 pool-max-conn -1").reuse_max, None);
    }

    #[test]
    fn values_out_of_bounds_are_refused() {
        for (text, want) in [
            ("weight 257", "E0204"),
            ("weight x", "E0203"),
            ("maxconn -1", "E0204"),
            ("inter 0", "E0204"),
            ("downinter 0", "E0204"),
            ("rise 0", "E0204"),
            ("fall 0", "E0204"),
            ("id 0", "E0204"),
            ("cookie", "E0201"),
            ("addr", "E0201"),
            ("on-marked-down shutdown-session", "E0207"),
            ("pool-low-conn x", "E0203"),
            ("pool-max-conn -2", "E0204"),
            ("init-addr foo", "E0207"),
            ("proto h9", "E0207"),
            ("observe layer5", "E0207"),
            ("track x/y", "E0472"),
        ] {
            assert_eq!(
                codes_of(&format!("server a 127.0.0.1:80 {text}")),
                [want],
                "{text}"
            );
        }
    }

    #[test]
    fn every_example_loads() {
        let rows = super::FAMILIES.iter().flat_map(|(_, rows)| rows.iter());
        for row in rows {
            assert_eq!(
                codes_of(&format!(
                    "{}\nresolvers dns\nnameserver local 192.0.2.53:53",
                    row.example
                )),
                Vec::<&str>::new(),
                "{}: {}",
                row.name(),
                row.example
            );
            assert!(row.example.contains(row.name()), "{}", row.name());
        }
        for row in crate::family::server::LINES
            .iter()
            .chain(crate::family::check::LINES)
            .chain(crate::family::balance::LINES)
            .filter(|row| row.places.contains(&"backend"))
        {
            assert_eq!(
                codes_of(row.example),
                Vec::<&str>::new(),
                "{}: {}",
                row.name(),
                row.example
            );
        }
    }
}
