//! `reqrep`, `rspidel`, `block` and their kin: the rules of HAProxy 1.x, which
//! later versions refuse. They work here, each with a warning that shows today's
//! form. What they do to a message stands in [`crate::rules::lines`].

use super::places::{FRONT_ONLY, PROXIES};
use super::{Args, Built, LineRow};
use crate::load::Loader;
use crate::rules::lines::{self, Direction};

fn request(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let line = args.line();
    lines::filter(loader, args, Direction::Request)?;
    loader.old_rule(args.keyword, line);
    Ok(())
}

fn response(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let line = args.line();
    lines::filter(loader, args, Direction::Response)?;
    loader.old_rule(args.keyword, line);
    Ok(())
}

fn add_request(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let line = args.line();
    lines::addition(loader, args, Direction::Request)?;
    loader.old_rule(args.keyword, line);
    Ok(())
}

fn add_response(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let line = args.line();
    lines::addition(loader, args, Direction::Response)?;
    loader.old_rule(args.keyword, line);
    Ok(())
}

fn block(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let line = args.line();
    lines::blocking(loader, args)?;
    loader.old_rule(args.keyword, line);
    Ok(())
}

macro_rules! rows {
    ($($name:literal $arguments:literal $places:expr, $build:expr, $example:literal, $doc:literal;)*) => {
        &[$(LineRow {
            name: $name,
            places: $places,
            syntax: concat!($name, " ", $arguments, " [ { if | unless } <condition> ]"),
            doc: concat!($doc, " HAProxy no longer knows it; it works here, with a warning that shows today's form."),
            example: $example,
            build: $build,
        }),*]
    };
}

/// The table.
pub(super) static LINES: &[LineRow] = rows! {
    "block" "" PROXIES, block, "block if { path_beg /private }",
        "Refuses requests with 403, before all `http-request` rules. Today it is `http-request deny`.";
    "reqadd" "<string>" PROXIES, add_request, "reqadd X-Forwarded-Proto:\\ https",
        "Adds a header to requests, when all other rules of the section but `redirect` have run. Today it is `http-request add-header`.";
    "reqrep" "<search> <string>" PROXIES, request, "reqrep ^([^\\ :]*)\\ /static/(.*) \\1\\ /\\2",
        "Replaces each line of a request that the regular expression matches by a whole new line, `\\1` to `\\9` standing for its groups. The first \
         line is `GET /path HTTP/1.1`, the others are headers; where the first line matches, headers are not looked at. The version is not changed, \
         nor is a header that says where the body ends; a line that is none any more is answered with 400.";
    "reqirep" "<search> <string>" PROXIES, request, "reqirep ^Host:\\ www.(.*) Host:\\ \\1",
        "Like `reqrep`, and the case of letters does not matter.";
    "reqdel" "<search>" PROXIES, request, "reqdel ^X-Forwarded-For:",
        "Removes the header lines of requests that the regular expression matches.";
    "reqidel" "<search>" PROXIES, request, "reqidel ^X-Forwarded-For:",
        "Like `reqdel`, and the case of letters does not matter.";
    "reqdeny" "<search>" PROXIES, request, "reqdeny ^GET\\ /private",
        "Refuses a request with 403 when any of its lines matches, unless `reqallow` allowed it before.";
    "reqideny" "<search>" PROXIES, request, "reqideny ^User-Agent:.*badbot",
        "Like `reqdeny`, and the case of letters does not matter.";
    "reqallow" "<search>" PROXIES, request, "reqallow ^Host:\\ www\\.",
        "No `reqdeny` or `reqtarpit` of the section behind it refuses a request of which a line matches.";
    "reqiallow" "<search>" PROXIES, request, "reqiallow ^Host:\\ www\\.",
        "Like `reqallow`, and the case of letters does not matter.";
    "reqpass" "<search>" PROXIES, request, "reqpass ^[^:\\ ]*:",
        "The rules of the section behind it do not look at the lines of a request that match.";
    "reqipass" "<search>" PROXIES, request, "reqipass ^Cookie:",
        "Like `reqpass`, and the case of letters does not matter.";
    "reqtarpit" "<search>" PROXIES, request, "reqtarpit ^[^:\\ ]*\\ /cgi-bin/",
        "Holds a request of which a line matches for `timeout tarpit` (else `timeout connect`), then answers it with 500.";
    "reqitarpit" "<search>" PROXIES, request, "reqitarpit ^[^:\\ ]*\\ /.*\\.exe",
        "Like `reqtarpit`, and the case of letters does not matter.";
    "reqsetbe" "<search> <backend>" FRONT_ONLY, request, "reqsetbe ^GET\\ /static/ static",
        "A request of which a line matches goes to the backend, whatever `use_backend` says. The first such rule counts.";
    "reqisetbe" "<search> <backend>" FRONT_ONLY, request, "reqisetbe ^Host:\\ static\\. static",
        "Like `reqsetbe`, and the case of letters does not matter.";
    "rspadd" "<string>" PROXIES, add_response, "rspadd X-Via:\\ lb1",
        "Adds a header to answers of servers. Today it is `http-response add-header`.";
    "rsprep" "<search> <string>" PROXIES, response, "rsprep ^Location:\\ http://[^/]*(/.*) Location:\\ \\1",
        "Replaces each line of an answer that the regular expression matches by a whole new line, `\\1` to `\\9` standing for its groups. The first \
         line is `HTTP/1.1 200 OK`. The backend's rules run before the frontend's, and behind the `http-response` rules of their section.";
    "rspirep" "<search> <string>" PROXIES, response, "rspirep ^Location:\\s*http://.*?\\.example\\.com(/.*)$ Location:\\ \\1",
        "Like `rsprep`, and the case of letters does not matter.";
    "rspdel" "<search>" PROXIES, response, "rspdel ^Server:",
        "Removes the header lines of answers that the regular expression matches.";
    "rspidel" "<search>" PROXIES, response, "rspidel ^Server:.*$",
        "Like `rspdel`, and the case of letters does not matter.";
    "rspdeny" "<search>" PROXIES, response, "rspdeny ^Content-Type:\\ application/x-secret",
        "Answers with 502 in place of an answer of which a line matches.";
    "rspideny" "<search>" PROXIES, response, "rspideny ^X-Internal:",
        "Like `rspdeny`, and the case of letters does not matter.";
};
