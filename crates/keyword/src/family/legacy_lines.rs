//! Builds `reqrep`, `rspidel`, `block` and similar lines: the rules of HAProxy 1.x, which later
//! versions of HAProxy refuse. Each works here, with a warning that shows the current form.
//! [`model::rules::lines`] contains their effect on a message.

use super::places::{FRONT_ONLY, PROXIES};
use super::{Args, Built, LineRow};
use crate::family::Loader;
use model::rules::lines::{self, Direction};

fn filter(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    lines::filter(loader, args, direction(args.keyword))
}

fn add(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    lines::addition(loader, args, direction(args.keyword))
}

fn direction(keyword: &str) -> Direction {
    if keyword.starts_with("req") {
        Direction::Request
    } else {
        Direction::Response
    }
}

fn rule(
    loader: &mut Loader,
    args: &mut Args<'_>,
    build: fn(&mut Loader, &mut Args<'_>) -> Built,
) -> Built {
    let line = args.line();
    build(loader, args)?;
    loader.old_rule(args.keyword, line);
    Ok(())
}

macro_rules! rows {
    ($($name:literal $arguments:literal $places:expr, $build:expr, $example:literal, $doc:literal;)*) => {
        &[$(LineRow {
            places: $places,
            syntax: concat!($name, " ", $arguments, " [ { if | unless } <condition> ]"),
            doc: concat!($doc, " HAProxy has removed this keyword; it still works, with a warning that shows the \
                current form."),
            example: $example,
            build: |loader, args| rule(loader, args, $build),
        }),*]
    };
}

pub(super) static LINES: &[LineRow] = rows! {
    "block" "" PROXIES, |loader, args| lines::blocking(loader, args), "block if { path_beg /private }",
        "Denies requests with 403, before all `http-request` rules. The current form is `http-request deny`.";
    "reqadd" "<string>" PROXIES, add, "reqadd X-Forwarded-Proto:\\ https",
        "Adds a header to requests, after all other rules of the section except `redirect`. The current form is \
         `http-request add-header`.";
    "reqrep" "<search> <string>" PROXIES, filter, "reqrep ^([^\\ :]*)\\ /static/(.*) \\1\\ /\\2",
        "Replaces each request line that matches the regular expression; `\\1` to `\\9` insert its groups. The first \
         line is `GET /path HTTP/1.1`, the others are headers. If the first line matches, headers are skipped. The \
         version and headers that determine the end of the body never change. If the result is not a valid line, the \
         request gets status 400.";
    "reqirep" "<search> <string>" PROXIES, filter, "reqirep ^Host:\\ www.(.*) Host:\\ \\1",
        "Like `reqrep`, ignoring case.";
    "reqdel" "<search>" PROXIES, filter, "reqdel ^X-Forwarded-For:",
        "Removes the request headers that match the regular expression.";
    "reqidel" "<search>" PROXIES, filter, "reqidel ^X-Forwarded-For:",
        "Like `reqdel`, ignoring case.";
    "reqdeny" "<search>" PROXIES, filter, "reqdeny ^GET\\ /private",
        "Denies a request with 403 if any of its lines matches, unless an earlier `reqallow` allowed it.";
    "reqideny" "<search>" PROXIES, filter, "reqideny ^User-Agent:.*badbot",
        "Like `reqdeny`, ignoring case.";
    "reqallow" "<search>" PROXIES, filter, "reqallow ^Host:\\ www\\.",
        "If any line of the request matches, later `reqdeny` and `reqtarpit` rules of the section do not apply to it.";
    "reqiallow" "<search>" PROXIES, filter, "reqiallow ^Host:\\ www\\.",
        "Like `reqallow`, ignoring case.";
    "reqpass" "<search>" PROXIES, filter, "reqpass ^[^:\\ ]*:",
        "Later rules of the section skip the matching lines of the request.";
    "reqipass" "<search>" PROXIES, filter, "reqipass ^Cookie:",
        "Like `reqpass`, ignoring case.";
    "reqtarpit" "<search>" PROXIES, filter, "reqtarpit ^[^:\\ ]*\\ /cgi-bin/",
        "Delays a request with a matching line for `timeout tarpit` (or else `timeout connect`), then responds with \
         500.";
    "reqitarpit" "<search>" PROXIES, filter, "reqitarpit ^[^:\\ ]*\\ /.*\\.exe",
        "Like `reqtarpit`, ignoring case.";
    "reqsetbe" "<search> <backend>" FRONT_ONLY, filter, "reqsetbe ^GET\\ /static/ static",
        "Sends a request with a matching line to this backend, regardless of `use_backend`. The first such rule \
         applies.";
    "reqisetbe" "<search> <backend>" FRONT_ONLY, filter, "reqisetbe ^Host:\\ static\\. static",
        "Like `reqsetbe`, ignoring case.";
    "rspadd" "<string>" PROXIES, add, "rspadd X-Via:\\ lb1",
        "Adds a header to responses of servers. The current form is `http-response add-header`.";
    "rsprep" "<search> <string>" PROXIES, filter, "rsprep ^Location:\\ http://[^/]*(/.*) Location:\\ \\1",
        "Replaces each response line that matches the regular expression; `\\1` to `\\9` insert its groups. The first \
         line is `HTTP/1.1 200 OK`. The rules of the backend run before those of the frontend, and after the \
         `http-response` rules of their section.";
    "rspirep" "<search> <string>" PROXIES, filter, "rspirep ^Location:\\s*http://.*?\\.example\\.com(/.*)$ Location:\\ \\1",
        "Like `rsprep`, ignoring case.";
    "rspdel" "<search>" PROXIES, filter, "rspdel ^Server:",
        "Removes the response headers that match the regular expression.";
    "rspidel" "<search>" PROXIES, filter, "rspidel ^Server:.*$",
        "Like `rspdel`, ignoring case.";
    "rspdeny" "<search>" PROXIES, filter, "rspdeny ^Content-Type:\\ application/x-secret",
        "Responds with 502 instead of a server response with a matching line.";
    "rspideny" "<search>" PROXIES, filter, "rspideny ^X-Internal:",
        "Like `rspdeny`, ignoring case.";
};
