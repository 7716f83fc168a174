//! Builds the `stats …` lines of proxies. Any of them enables the statistics page. As in HAProxy, a
//! section with a line of its own inherits nothing about the page from `defaults`.

use super::places::{ALL, PROXIES};
use super::{Args, Built, LineRow};
use crate::family::Loader;
use language::{Diagnostic, Span};
use model::codes;
use model::config::StatsPage;
use model::rules::{HttpRule, RuleSet, Usage, action_codes, http_rule, warn_unreachable};
use std::path::Path;

const URI_DEFAULT: &[u8] = b"/haproxy?stats";

pub(crate) fn page(loader: &mut Loader) -> &mut StatsPage {
    let stats = &mut loader.proxy().stats;
    if stats.as_ref().is_some_and(|page| page.inherited) {
        *stats = None;
    }
    stats.get_or_insert_with(|| {
        Box::new(StatsPage {
            uri: URI_DEFAULT.into(),
            ..StatsPage::default()
        })
    })
}

fn switch(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let page = page(loader);
    match args.keyword {
        "stats hide-version" => page.hide_version = true,
        "stats show-version" => page.hide_version = false,
        "stats show-legends" => page.legends = true,
        "stats show-modules" => page.modules = true,
        _ => {}
    }
    args.warn_of_surplus()
}

fn uri(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let word = args.required("a URI")?;
    if word.bytes.is_empty() {
        return Err(args.word_error(&codes::BAD_VALUE, word, "an empty URI never matches"));
    }
    page(loader).uri = word.bytes.clone().into();
    args.warn_of_surplus()
}

fn realm(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let word = args.required("a text")?;
    if word.bytes.iter().any(u8::is_ascii_control) {
        return Err(args.word_error(
            &action_codes::BAD_REALM,
            word,
            "a realm cannot contain control characters",
        ));
    }
    let page = page(loader);
    page.realm = Some(word.bytes.clone().into());
    refuse_users_with_rules(page, args.keyword_span())?;
    args.warn_of_surplus()
}

fn auth(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let word = args.required("user:password")?;
    let colon = word.bytes.iter().position(|b| *b == b':');
    let (user, password) = match colon {
        Some(colon) => (&word.bytes[..colon], &word.bytes[colon + 1..]),
        None => (&word.bytes[..], &b""[..]),
    };
    if password.is_empty() {
        args.add_warning(
            Diagnostic::warning(
                &codes::NO_EFFECT,
                word.span,
                format!(
                    "'stats auth' for the user '{}' has no password",
                    String::from_utf8_lossy(user)
                ),
            )
            .label("write it as user:password"),
        );
    }
    let page = page(loader);
    page.users.retain(|(known, _)| **known != *user);
    page.users.push((user.into(), password.into()));
    refuse_users_with_rules(page, args.keyword_span())?;
    readable_password(loader, args, word.span);
    args.warn_of_surplus()
}

/// Warns once of a password in a file that all users of the machine can read.
pub(super) fn readable_password(loader: &mut Loader, args: &mut Args<'_>, span: Span) {
    let name = loader.context.sources.file(span.file).name.clone();
    let told = |d: &Diagnostic| {
        d.code == &codes::READABLE_PASSWORD && d.primary.is_some_and(|p| p.file == span.file)
    };
    if loader.context.diagnostics.iter().any(told) {
        return;
    }
    if loader.context.outside.readable_by_all(Path::new(&name)) {
        args.add_warning(
            Diagnostic::warning(
                &codes::READABLE_PASSWORD,
                span,
                format!("every user of this machine can read this password in '{name}'"),
            )
            .help(format!("chmod o-r {name}")),
        );
    }
}

fn refresh(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    page(loader).refresh_s = args.time_s()?;
    args.warn_of_surplus()
}

fn scope(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let word = args.required("the name of a proxy, or `.`")?;
    page(loader).scope.push(word.text().into());
    args.warn_of_surplus()
}

fn node(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let name = args.next();
    let fits = |b: &u8| b.is_ascii_alphanumeric() || b"._-".contains(b);
    if let Some(word) = name.filter(|word| !word.bytes.iter().all(fits)) {
        return Err(args.word_error(
            &codes::BAD_VALUE,
            word,
            format!(
                "'{}' is not a valid node name: allowed are letters, digits, '.', '-' and '_'",
                word.text()
            ),
        ));
    }
    page(loader).node = Some(name.map(|word| word.text().into()).unwrap_or_default());
    args.warn_of_surplus()
}

fn description(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let words: Vec<_> = args.rest().iter().map(|word| word.text()).collect();
    let text = words.join(" ");
    if text.is_empty() && loader.config.global.description.is_none() {
        loader.report(
            Diagnostic::warning(
                &codes::NO_EFFECT,
                args.line().span,
                "'stats show-desc' has no text",
            )
            .help("write the text after it, or a `description` in `global`"),
        );
    }
    let text = match &loader.config.global.description {
        Some(global) if text.is_empty() => global.clone(),
        _ => text.into(),
    };
    page(loader).description = Some(text);
    Ok(())
}

fn admin(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let usage = Usage::http_request(loader.proxy().kind);
    let condition = super::monitor::condition(loader, args, usage)?;
    page(loader).admin.push(condition);
    Ok(())
}

const RULES: &[&str] = &["allow", "deny", "auth"];

fn http_request(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let word = args
        .peek()
        .filter(|word| RULES.iter().any(|rule| word.is(rule)));
    if word.is_none() {
        let word = args.required("'allow', 'deny' or 'auth'")?;
        let told = format!("unknown argument '{}' of 'stats http-request'", word.text());
        let near = language::suggest::nearest(&word.text(), RULES.iter().copied());
        let told = args.word_error(&codes::BAD_VALUE, word, told);
        return Err(told.did_you_mean(word.span, near));
    }
    let rule = http_rule(loader, args, RuleSet::HttpRequest)?;
    let before = page(loader).http_request.last().cloned();
    warn_unreachable(loader, before.as_ref().map(HttpRule::rule), rule.rule());
    let page = page(loader);
    page.http_request.push(rule);
    refuse_users_with_rules(page, args.keyword_span())
}

/// Refuses a page that has rules together with users or a realm, as HAProxy does.
fn refuse_users_with_rules(page: &StatsPage, span: Span) -> Built {
    if page.http_request.is_empty() || (page.users.is_empty() && page.realm.is_none()) {
        return Ok(());
    }
    let told = "stats 'auth'/'realm' and 'http-request' can't be used at the same time";
    Err(Diagnostic::error(&codes::STATS_TWO_WAYS, span, told)
            .label("conflicts with the other one")
            .help("write `stats http-request auth realm REALM unless { http_auth(LIST) }` and a `userlist LIST`"))
}

/// Lines that are not valid in `defaults`.
pub static OWN: &[LineRow] = language::rows! {
    "stats http-request { allow | deny | auth [realm <realm>] } [ { if | unless } <condition> ]" PROXIES,
        http_request,
        "stats http-request auth unless { http_auth(staff) }",
        "Access rule for the statistics page: the first rule whose condition is true decides. `auth` asks for a user \
         name and password, which a condition with `http_auth` verifies. Cannot be combined with `stats auth` and \
         `stats realm`.";
    "stats admin { if | unless } <condition>" PROXIES, admin, "stats admin if LOCALHOST",
        "Allows changes of servers on the page while the condition is true: maintenance, drain, ready. Without the \
         line nobody can change them. `if LOCALHOST` is a good start.";
};

pub static LINES: &[LineRow] = language::rows! {
    "stats enable" ALL, switch, "stats enable",
        "Enables the statistics page of this proxy with its defaults: all proxies, no password, the URI \
         /haproxy?stats. Every other `stats` line enables it, too.";
    "stats uri <prefix>" ALL, uri, "stats uri /admin?stats",
        "URI prefix of the statistics page. The default is /haproxy?stats.";
    "stats realm <text>" ALL, realm, "stats realm The\\ site",
        "Text that browsers show when they ask for the user name and password of the page. Escape spaces with a \
         backslash.";
    "stats auth <user>:<password>" ALL, auth, "stats auth admin:AdMiN123",
        "A user of the page; repeat the line for more users. The password is in clear text, so restrict the \
         permissions of the file (W0109).";
    "stats refresh <delay>" ALL, refresh, "stats refresh 10s",
        "Interval at which browsers reload the page; a bare number is in seconds. By default they do not.";
    "stats scope { <name> | \".\" }" ALL, scope, "stats scope .",
        "Limits the page to the named proxies, one per line; `.` is the current one. By default all are shown.";
    "stats show-node [<name>]" ALL, node, "stats show-node Europe-1",
        "Shows the name of this machine: the given name, `node` of `global`, or the host name.";
    "stats show-desc [<text>]" ALL, description, "stats show-desc The master node of Europe",
        "Shows a description: the rest of the line, or `description` of `global`.";
    "stats show-legends" ALL, switch, "stats show-legends",
        "Shows more details of each object under the mouse pointer: addresses, cookies, modes. They may be \
         confidential.";
    "stats show-modules" ALL, switch, "stats show-modules",
        "Shows the counters of internal modules on the page, for debugging.";
    "stats hide-version" ALL, switch, "stats hide-version",
        "Hides the version of the program on the page. This makes an attack slightly harder.";
    "stats show-version" ALL, switch, "stats show-version",
        "Shows the version of the program on the page. This is the default.";
};
