//! Builds the lines for session persistence: the persistence cookie, `use-server`, the conditions
//! of both, `persist rdp-cookie`, `appsession`.

use super::places::{BACK, BACK_ONLY};
use super::value::parse_choice;
use super::{Args, Built, LineRow};
use crate::family::Loader;
use language::value::TimeUnit;
use language::{ConfigWord, Diagnostic, suggest};
use model::codes;
use model::config::{
    AppSession, Cookie, CookieMode, PersistRule, PersistRuleKind, ServerIndex, ServerName,
    UseServerRule,
};
use model::rules::{Condition, Format, Usage};
use std::collections::HashMap;
use std::sync::Arc;

pub static LINES: &[LineRow] = language::rows! {
    "cookie <name> [rewrite | insert | prefix] [indirect] [nocache] [postonly] [preserve] [httponly] [secure] [domain <domain>]* [maxidle <time>] [maxlife <time>] [dynamic] [attr <value>]*" BACK,
        cookie, "cookie SRV insert indirect nocache",
        "Binds each client to its server with a cookie, whose values come from the `cookie` options of `server` lines. \
         `insert` adds the cookie, `rewrite` changes the value of a cookie that the server sets, `prefix` prepends the \
         server's name to such a value. `indirect` hides an inserted cookie from servers. `nocache` prevents shared \
         caches from storing responses that set it. `maxidle` and `maxlife` make it expire. `dynamic` derives the \
         values from the servers' addresses and `dynamic-cookie-key`.";
    "dynamic-cookie-key <key>" BACK, dynamic_cookie_key, "dynamic-cookie-key correct-horse-battery",
        "Secret key from which `cookie … dynamic` derives the servers' cookies, together with their addresses. Load \
         balancers with the same key and servers use the same cookies.";
    "force-persist { if | unless } <condition>" BACK_ONLY,
        |loader, args| persist_rule(loader, args, PersistRuleKind::Force),
        "force-persist if { src 192.0.2.0/24 }",
        "If the condition is true, sends a stream to its persistent server even if that is down or in maintenance, for \
         example to test the server before users return.";
    "ignore-persist { if | unless } <condition>" BACK_ONLY,
        |loader, args| persist_rule(loader, args, PersistRuleKind::Ignore),
        "ignore-persist if { path_beg /static/ }",
        "If the condition is true, ignores the persistence cookie, balances the stream, and sets no cookie: for images \
         and other files that every server has.";
    "use-server <server> { if | unless } <condition>" BACK_ONLY, use_server,
        "server web1 192.0.2.11:8080\nuse-server web1 if { path_beg /upload/ }",
        "If the condition is true, sends a stream to this server while it is up. The rules are evaluated in order, \
         before cookies and balancing. The name may be a log format; if no server has that name, the rule is skipped.";
    "persist rdp-cookie[(<name>)]" BACK, persist, "persist rdp-cookie",
        "Sends a remote desktop client whose first packet has a server cookie (`msts`, or this name) to the server \
         with the address in it. A `tcp-request content` rule must wait for that packet.";
    "persist { rdp-cookie(<name>) }" BACK, persist, "persist rdp-cookie(msts)",
        "Like `persist rdp-cookie`, with another cookie name. Remote desktop brokers send `msts`.";
    "appsession <cookie> len <bytes> timeout <time> [request-learn] [prefix] [mode { path-parameters | query-string }]" BACK_ONLY,
        app_session, "appsession JSESSIONID len 52 timeout 3h",
        "HAProxy 1.5 syntax for application sessions: it remembers which server set the cookie, and sends clients with \
         that cookie, or with its value in the URL, to the same server. HAProxy now refuses it. In Evenkeel it works, \
         with a warning that shows the current lines.";
};

const WORDS: [&str; 14] = [
    "rewrite", "insert", "prefix", "indirect", "nocache", "postonly", "preserve", "httponly",
    "secure", "domain", "maxidle", "maxlife", "dynamic", "attr",
];

fn incompatible(word: &ConfigWord, message: &str) -> Diagnostic {
    Diagnostic::error(&codes::COOKIE_WORDS, word.span, message)
        .label("conflicts with the other words")
}

#[derive(Default)]
struct CookieOptions {
    domains: Vec<u8>,
    http_only: bool,
    secure: bool,
    extra_attributes: Vec<u8>,
}

fn cookie(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let name = args.required("<cookie_name>")?;
    let mut cookie = Cookie {
        name: name.bytes.as_slice().into(),
        mode: None,
        indirect: false,
        nocache: false,
        post_only: false,
        preserve: false,
        dynamic: false,
        attributes: Box::default(),
        idle_max_s: None,
        life_max_s: None,
    };
    let mut words = CookieOptions::default();
    while let Some(word) = args.next() {
        cookie_word(args, word, &mut cookie, &mut words)?;
    }
    if cookie.mode == Some(CookieMode::Rewrite) && cookie.indirect {
        let message = "cookie 'rewrite' and 'indirect' modes are incompatible.";
        return Err(incompatible(name, message));
    }
    if cookie.preserve && !cookie.indirect && cookie.mode != Some(CookieMode::Insert) {
        let message = "cookie 'preserve' requires at least 'insert' or 'indirect'.";
        return Err(incompatible(name, message));
    }
    let mut attributes = words.domains;
    if words.http_only {
        attributes.extend_from_slice(b"; HttpOnly");
    }
    if words.secure {
        attributes.extend_from_slice(b"; Secure");
    }
    attributes.extend_from_slice(&words.extra_attributes);
    cookie.attributes = attributes.into();
    loader.proxy().cookie = Some(Arc::new(cookie));
    Ok(())
}

fn cookie_word(
    args: &mut Args<'_>,
    word: &ConfigWord,
    cookie: &mut Cookie,
    words: &mut CookieOptions,
) -> Built {
    match word.str() {
        "rewrite" => mode(cookie, word, CookieMode::Rewrite)?,
        "insert" => mode(cookie, word, CookieMode::Insert)?,
        "prefix" => mode(cookie, word, CookieMode::Prefix)?,
        "indirect" => cookie.indirect = true,
        "nocache" => cookie.nocache = true,
        "postonly" => cookie.post_only = true,
        "preserve" => cookie.preserve = true,
        "dynamic" => cookie.dynamic = true,
        "httponly" => words.http_only = true,
        "secure" => words.secure = true,
        "domain" => {
            let domain = args.required("<domain>")?;
            attribute_bytes(domain)?;
            let body = domain.bytes.strip_prefix(b".").unwrap_or(&domain.bytes);
            if !body.contains(&b'.') {
                let text = format!("domain '{}' contains no embedded dot", domain.text());
                args.add_warning(
                    Diagnostic::warning(&codes::COOKIE_DOMAIN, domain.span, text)
                        .label("browsers refuse such a cookie"),
                );
            }
            words.domains.extend_from_slice(b"; domain=");
            words.domains.extend_from_slice(&domain.bytes);
        }
        "attr" => {
            let value = args.required("<value>")?;
            attribute_bytes(value)?;
            words.extra_attributes.extend_from_slice(b"; ");
            words.extra_attributes.extend_from_slice(&value.bytes);
        }
        "maxidle" => cookie.idle_max_s = seconds(args, "<idletime>")?,
        "maxlife" => cookie.life_max_s = seconds(args, "<lifetime>")?,
        _ => return Err(super::value::unknown_choice_error(args, word, &WORDS)),
    }
    Ok(())
}

fn mode(cookie: &mut Cookie, word: &ConfigWord, mode: CookieMode) -> Built {
    if cookie.mode.is_some_and(|other| other != mode) {
        let message = "cookie 'rewrite', 'insert' and 'prefix' modes are incompatible.";
        return Err(incompatible(word, message));
    }
    cookie.mode = Some(mode);
    Ok(())
}

/// Parses a time and returns it in seconds. 0 means no limit, as in HAProxy.
fn seconds(args: &mut Args<'_>, what: &str) -> Result<Option<u32>, Diagnostic> {
    if args.peek().is_none() {
        args.required(what)?;
    }
    let seconds = args.time_s()?;
    Ok((seconds > 0).then_some(seconds))
}

/// Refuses control characters and semicolons, which would end a cookie attribute or the header
/// line.
fn attribute_bytes(word: &ConfigWord) -> Built {
    let bad = |byte: &&u8| **byte == b';' || byte.is_ascii_control();
    match word.bytes.iter().find(bad) {
        None => Ok(()),
        Some(bad) => Err(Diagnostic::error(
            &codes::BAD_VALUE,
            word.span,
            format!("character '%x{bad:02X}' is not permitted in attribute value."),
        )
        .label("it would end the attribute")),
    }
}

fn dynamic_cookie_key(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let key = args.required("<secret_key>")?.bytes.as_slice().into();
    loader.proxy().dynamic_cookie_key = Some(key);
    args.warn_of_surplus()
}

/// Parses the condition of a line that requires one.
fn condition(
    loader: &mut Loader,
    args: &mut Args<'_>,
    usage: Usage,
) -> Result<Condition, Diagnostic> {
    let begin = args.peek().map_or(args.line().end(), |word| word.span);
    let begins = args.peek().is_some_and(|w| w.is("if") || w.is("unless"));
    let parsed = if begins {
        Condition::parse(loader, args, usage)?
    } else {
        None
    };
    parsed.ok_or_else(|| {
        Diagnostic::error(
            &codes::MISSING_ARGUMENT,
            begin,
            format!(
                "'{}' requires either 'if' or 'unless' followed by a condition.",
                args.keyword
            ),
        )
        .label("the condition is missing")
        .help(format!("write `{}`", args.syntax))
    })
}

fn persist_rule(loader: &mut Loader, args: &mut Args<'_>, kind: PersistRuleKind) -> Built {
    let condition = condition(loader, args, Usage::USE_SERVER)?;
    let rule = PersistRule { kind, condition };
    loader.proxy().persist_rules.push(rule);
    Ok(())
}

fn use_server(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let word = args.required("a server name")?;
    let server = if word.bytes.contains(&b'%') {
        ServerName::Dynamic(Format::parse(loader, word, Usage::USE_SERVER)?)
    } else {
        ServerName::Static(word.text().into(), None)
    };
    let condition = condition(loader, args, Usage::USE_SERVER)?;
    loader.proxy().use_server.push(UseServerRule {
        span: word.span,
        server,
        condition,
    });
    Ok(())
}

/// Finds the servers of `use-server` rules by name, after all lines were read.
pub(crate) fn finish(loader: &mut Loader) {
    let mut told = Vec::new();
    for proxy in &mut loader.config.proxies {
        if proxy.use_server.is_empty() {
            continue;
        }
        // Indexes the servers by name, because both servers and rules may be thousands. Of servers
        // with one name the first counts.
        let places = proxy.servers.iter().enumerate().rev();
        let places: HashMap<&str, usize> = places.map(|(at, s)| (&*s.name, at)).collect();
        for rule in &mut proxy.use_server {
            let ServerName::Static(name, index) = &mut rule.server else {
                continue;
            };
            *index = places.get(&**name).map(|at| ServerIndex(*at as u32));
            if index.is_some() {
                continue;
            }
            let text = format!(
                "backend '{}': unable to find server '{name}' referenced in a 'use-server' rule.",
                proxy.name
            );
            let error = Diagnostic::error(&codes::UNKNOWN_SERVER, rule.span, text)
                .label("no server has this name");
            let names = proxy.servers.iter().map(|server| &*server.name);
            told.push(error.did_you_mean(rule.span, suggest::nearest(name, names)));
        }
    }
    loader.report_all(told);
}

/// Default RDP cookie of a terminal server farm.
const RDP_COOKIE: &str = "msts";

/// Returns the name in `rdp-cookie(<name>)`, or the default name without parentheses. Returns None
/// for another word.
pub(super) fn rdp_name(word: &ConfigWord, default: &str) -> Option<String> {
    let text = word.text();
    let rest = text.strip_prefix("rdp-cookie")?;
    if rest.is_empty() {
        return Some(default.to_owned());
    }
    let name = rest.strip_prefix('(')?.strip_suffix(')')?;
    Some(name.to_owned())
}

fn persist(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    // Reads the second word of the line if it is part of the keyword, with the argument in it.
    let word = match args.keyword {
        "persist" => args.required("rdp-cookie(<name>)")?,
        _ => args.line().word(1).unwrap_or(&args.line().words[0]),
    };
    let name = match rdp_name(word, RDP_COOKIE) {
        Some(name) if !name.is_empty() => name,
        _ => {
            let message = format!("unknown argument '{}' of 'persist'", word.text());
            return Err(Diagnostic::error(&codes::BAD_VALUE, word.span, message)
                .label("`rdp-cookie` or `rdp-cookie(<name>)`"));
        }
    };
    loader.proxy().rdp_persist = Some(name.into_bytes().into());
    args.end()
}

const SESSION_WORDS: [&str; 5] = ["len", "timeout", "request-learn", "prefix", "mode"];
fn app_session(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let name = args.required("<cookie>")?;
    let mut session = AppSession {
        name: name.bytes.as_slice().into(),
        bytes_max: 0,
        timeout_ms: 0,
        learns_requests: false,
        prefix: false,
        query_string: false,
    };
    let span = args.line().span;
    while let Some(word) = args.next() {
        match word.str() {
            "len" => session.bytes_max = args.count("<length>", 1..=16_384)?,
            "timeout" => session.timeout_ms = args.time_ms(TimeUnit::Milliseconds)?,
            "request-learn" => session.learns_requests = true,
            "prefix" => session.prefix = true,
            "mode" => {
                let modes = [("path-parameters", false), ("query-string", true)];
                session.query_string =
                    parse_choice(args, "path-parameters or query-string", &modes)?;
            }
            _ => {
                return Err(super::value::unknown_choice_error(
                    args,
                    word,
                    &SESSION_WORDS,
                ));
            }
        }
    }
    if session.bytes_max == 0 || session.timeout_ms == 0 {
        return Err(Diagnostic::error(
            &codes::MISSING_ARGUMENT,
            args.line().end(),
            "'appsession' expects 'len <length>' and 'timeout <time>'",
        )
        .help(format!("write `{}`", args.syntax)));
    }
    let (name, len, seconds) = (name.text(), session.bytes_max, session.timeout_ms / 1000);
    let today = [
        format!("stick-table type string len {len} size 1m expire {seconds}s"),
        format!("stick on req.cook({name})"),
        format!("stick store-response res.cook({name})"),
    ];
    loader.report(
        Diagnostic::warning(
            &codes::LEGACY,
            span,
            "'appsession' is an obsolete form of 'stick'",
        )
        .label("removed from HAProxy")
        .help(format!("write three lines: `{}`", today.join("`, `"))),
    );
    loader.proxy().app_session = Some(Arc::new(session));
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{backend, codes_of};
    use model::config::CookieMode;

    #[test]
    fn cookies_are_read_with_all_their_words() {
        let proxy = backend(
            "cookie SRV insert indirect nocache postonly preserve httponly secure domain .a.com \
             domain b.com maxidle 30m maxlife 8h dynamic attr SameSite=Strict attr \"Foo bar\"",
        );
        let cookie = proxy.cookie.unwrap();
        assert_eq!(&*cookie.name, b"SRV");
        assert_eq!(cookie.mode, Some(CookieMode::Insert));
        assert!(cookie.indirect && cookie.nocache && cookie.post_only && cookie.preserve);
        assert!(cookie.dynamic && cookie.is_dated());
        assert_eq!(
            (cookie.idle_max_s, cookie.life_max_s),
            (Some(1800), Some(28_800))
        );
        assert_eq!(
            String::from_utf8_lossy(&cookie.attributes),
            "; domain=.a.com; domain=b.com; HttpOnly; Secure; SameSite=Strict; Foo bar"
        );
    }

    #[test]
    fn lines_are_refused_as_haproxy_refuses_them() {
        let a = "server a 127.0.0.1:1\n";
        for (line, want) in [
            ("cookie", &["E0201"][..]),
            ("cookie SRV insert rewrite", &["E0451"]),
            ("cookie SRV rewrite indirect", &["E0451"]),
            ("cookie SRV prefix preserve", &["E0451"]),
            ("cookie SRV indirect preserve", &[]),
            ("cookie SRV insert maxidle", &["E0201"]),
            ("cookie SRV insert maxidle 0", &[]),
            ("cookie SRV insert maxidle 30d maxlife 365d", &[]),
            ("cookie SRV insert maxlife 24856d", &["E0205"]),
            ("cookie SRV insert domain foo", &["W0450"]),
            ("cookie SRV insert attr \"a;b\"", &["E0207"]),
            ("cookie SRV insert foo", &["E0207"]),
            ("force-persist", &["E0201"]),
            ("ignore-persist TRUE", &["E0201"]),
            ("ignore-persist unless FALSE", &[]),
            ("use-server a", &["E0201"]),
            ("use-server b if TRUE", &["E0450"]),
            ("use-server a unless TRUE", &[]),
            ("use-server %[src] if TRUE", &[]),
            ("persist rdp-cookie", &[]),
            ("persist rdp-cookie(x)", &[]),
            ("persist rdp-cookie()", &["E0207"]),
            ("persist foo", &["E0207"]),
            (
                "appsession A len 5 timeout 1h prefix mode query-string",
                &["W0104"],
            ),
            ("appsession A len 5", &["E0201"]),
        ] {
            assert_eq!(codes_of(&format!("mode http\n{a}{line}")), want, "{line}");
        }
        let in_tcp = codes_of("mode tcp\nserver a 127.0.0.1:1\ncookie SRV insert");
        assert_eq!(in_tcp, ["W0105"], "a cookie in mode tcp");
    }

    #[test]
    fn every_example_loads() {
        for row in super::LINES {
            let codes = codes_of(row.example);
            assert!(
                codes.iter().all(|code| code.starts_with('W')),
                "{}: {codes:?}",
                row.name()
            );
        }
    }
}
