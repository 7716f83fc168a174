//! Builds the basic settings of a proxy: `mode`, `maxconn`, `retries`, `default_backend`, names and
//! switches. References to other proxies are stored by name and resolved at the end of loading.

use super::places::{ALL, BACK, FRONT, PROXIES};
use super::value::{limit, parse_choice, unknown_choice_error};
use super::{Args, Built, LineRow};
use crate::family::Loader;
use language::{ConfigWord, Diagnostic};
use model::codes;
use model::config::{Mode, Reference, ReuseMode};
use model::rules::draft::Section;

/// Values of `mode` that Evenkeel supports.
const MODES: &[&str] = &["http", "tcp", "log"];
/// Values of `mode` that only HAProxy supports.
const MODES_NOT_BUILT: &[&str] = &["haterm", "peers", "spop", "syslog"];

/// Refuses an address with `rhttp@` (reverse HTTP), by which servers open connections to their
/// proxy.
pub(super) fn not_reverse(word: &ConfigWord) -> Built {
    if !word.str().starts_with("rhttp@") {
        return Ok(());
    }
    Err(Diagnostic::error(
            &codes::NOT_BUILT,
            word.span,
            "reverse HTTP (`rhttp@`, `attach-srv`) is not supported",
        )
        .label("connections opened by servers to their proxy")
        .help(
            "HAProxy marks this as experimental, and its syntax may change. With a tunnel between the two machines \
             (WireGuard, SSH), the proxy can connect normally",
        ))
}

/// Returns the error for a word that HAProxy supports here and Evenkeel does not.
pub(super) fn unsupported_word(word: &ConfigWord, what: &str) -> Diagnostic {
    Diagnostic::error(
        &codes::NOT_BUILT,
        word.span,
        format!("'{what}' is not supported"),
    )
    .help(model::known::instead(what).unwrap_or("remove it, or keep this proxy on HAProxy for now"))
}

fn mode(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let word = args.required("http or tcp")?;
    loader.proxy().health = loader
        .proxy()
        .health
        .take()
        .filter(|health| health.network.is_some());
    if let Some(health) = &mut loader.proxy().health {
        health.always = false;
    }
    loader.proxy().mode = match word.str() {
        "http" => Mode::Http,
        "tcp" => Mode::Tcp,
        "log" => Mode::Log,
        "health" => {
            super::legacy_health::mode(loader, word);
            return args.end();
        }
        other if MODES_NOT_BUILT.contains(&other) => {
            return Err(unsupported_word(word, &format!("mode {other}")));
        }
        _ => return Err(unknown_choice_error(args, word, MODES)),
    };
    args.end()
}

fn maxconn(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    if matches!(loader.section, Section::LogForward) {
        return super::log_forward::maxconn(loader, args);
    }
    let limit = limit(args, "a number of connections")?;
    if matches!(loader.section, Section::Global) {
        if loader.config.global.maxconn.is_some() {
            super::global::warn_of_repetition(loader, args);
        } else {
            loader.config.global.maxconn = limit;
        }
    } else {
        loader.proxy().maxconn = limit;
    }
    args.end()
}

fn fullconn(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let limit = limit(args, "a number of connections")?;
    loader.proxy().fullconn = limit;
    args.end()
}

fn backlog(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    if matches!(loader.section, Section::LogForward) {
        return super::log_forward::backlog(loader, args);
    }
    let length = limit(args, "a number of connections")?;
    loader.proxy().backlog = length;
    args.end()
}

fn retries(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let retries = args.integer(
        "a number of retries",
        i64::from(i32::MIN)..=i64::from(i32::MAX),
    )?;
    // Treats a negative number as no retries, as HAProxy does.
    loader.proxy().retries = Some(u32::try_from(retries).unwrap_or(0));
    args.end()
}

fn rate_limit(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let rate = limit(args, "a number of sessions per second")?;
    loader.proxy().session_rate_max = rate;
    args.warn_of_surplus()
}

fn switch(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    if loader.section == model::rules::draft::Section::Peers {
        return super::peers::switch(loader, args);
    }
    loader.proxy().disabled = args.keyword == "disabled";
    args.end()
}

fn id(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let id = args.count("a number greater than 0", 1..=i32::MAX as u32)?;
    let keyword = args.line().span;
    let taken = loader
        .config
        .proxies
        .iter()
        .find(|p| p.id == id)
        .map(|p| p.span);
    match taken {
        Some(first) if first != loader.proxy().span => loader.report(
            Diagnostic::error(&codes::DUPLICATE_ID, keyword, format!("duplicate id {id}"))
                .label("this id is taken")
                .with_label(first, "by this proxy"),
        ),
        _ => loader.proxy().id = id,
    }
    args.end()
}

fn description(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    if matches!(loader.section, model::rules::draft::Section::Ring(_)) {
        return super::ring::description(loader, args);
    }
    args.required("a text")?;
    // Joins all words, as HAProxy does, because descriptions are often not quoted.
    let words = args.line().words[1..].iter().map(|w| w.text());
    let text = words.collect::<Vec<_>>().join(" ");
    args.rest();
    if matches!(loader.section, Section::Global) {
        loader.config.global.description = Some(text.into());
    } else {
        loader.proxy().description = Some(text.into());
    }
    Ok(())
}

fn http_reuse(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let modes = [
        ("never", ReuseMode::Never),
        ("safe", ReuseMode::Safe),
        ("aggressive", ReuseMode::Aggressive),
        ("always", ReuseMode::Always),
    ];
    loader.proxy().reuse = parse_choice(args, "never, safe, aggressive or always", &modes)?;
    args.end()
}

fn default_backend(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let word = args.required("the name of a backend")?;
    let reference = Reference {
        name: word.text().into(),
        span: word.span,
        index: None,
    };
    loader.proxy().default_backend = Some(reference);
    args.end()
}

pub static LINES: &[LineRow] = language::rows! {
    "mode { tcp | http }" ALL, mode, "mode http",
        "Sets whether the proxy forwards bytes (`tcp`, the default) or parses requests and responses (`http`). HTTP \
         rules, cookies, statistics pages and most options need `mode http`. A frontend and its backends must have the \
         same mode.";
    "maxconn <conns>" &["global", "defaults", "frontend", "listen", "log-forward"], maxconn,
        "maxconn 2000",
        "In a proxy: maximum number of concurrent client connections; further ones wait in the kernel's queue. In \
         `global`: the limit for the whole process, which also determines its number of file descriptors. 0 means no \
         separate limit.";
    "fullconn <conns>" BACK, fullconn, "fullconn 10000",
        "Load of the backend at which its servers with a `minconn` reach their `maxconn`; below it their limit is \
         proportionally smaller. The default is a tenth of the `maxconn` of the frontends that use the backend.";
    "backlog <conns>" &["defaults", "frontend", "listen", "log-forward"], backlog, "backlog 10000",
        "Number of connections that the kernel may hold until they are accepted. The default is the frontend's \
         `maxconn`. The kernel's own limit (net.core.somaxconn) always applies.";
    "retries <value>" BACK, retries, "retries 3",
        "Number of retries for a failed server connection, one second apart, before the request fails with 503. The \
         default is 3; 0 or a negative number disables retries. With `option redispatch` the last attempt can go to another server.";
    "rate-limit sessions <rate>" FRONT, rate_limit, "rate-limit sessions 100",
        "Maximum number of new sessions per second; further ones wait in the kernel's queue, which smooths peaks. 0, \
         the default, means no limit.";
    "disabled" &["defaults", "frontend", "listen", "backend", "peers"], switch, "disabled",
        "The proxy is read and checked, but not started: it does not listen, its servers are not checked, and \
         `use_backend` to it fails. In `defaults` it applies to all following proxies without `enabled`.";
    "enabled" &["defaults", "frontend", "listen", "backend", "peers"], switch, "enabled",
        "Cancels `disabled` of the `defaults` section. Proxies are enabled by default.";
    "id <value>" PROXIES, id, "id 100",
        "A stable number for the proxy, for programs that read the statistics: it does not change when other proxies \
         are added. By default proxies are numbered in the order of the file.";
    "description <text>" &["global", "frontend", "listen", "backend", "ring"], description,
        "description The shop, without its pictures",
        "A description shown on the statistics page. It consists of all words of the line.";
    "http-reuse { never | safe | aggressive | always }" BACK, http_reuse, "http-reuse always",
        "Sets when an idle server connection may carry a request of another client. `safe`, the default, does not use \
         it for the first request of a client, which could not be retried if the server closes at that moment. \
         `aggressive` uses connections that were already reused, `always` uses all, `never` none. \
         A connection that its server authenticates (NTLM, Negotiate), or that was made with another TLS name, \
         address, PROXY header or packet mark, is never used for another client.";
    "source <addr>[:<port>] [usesrc { client | clientip | hdr_ip(<name>[,<occurrence>]) | <addr>[:<port>] }] [interface <name>]" BACK,
        super::source::of_proxy, "source 127.0.0.1",
        "Local address for connections to servers; `source` on a server line takes precedence. `usesrc` shows another \
         address to servers, such as the client's.";
    "default_backend <backend>" FRONT, default_backend, "default_backend sample",
        "Backend for requests that match no `use_backend` rule. Without it, such requests get status 503, or in a \
         `listen` use its own servers. The backend may be defined later in the file.";
};
