//! Accepts syntax of HAProxy 1.x that current versions of HAProxy refuse, with a warning that shows
//! the current form. Keywords that belong to a family are in its file (`clitimeout` next to
//! `timeout client`).

use super::places::{ALL, BACK};
use super::{Args, Built, LineRow};
use crate::family::Loader;
use language::{ConfigLine, ConfigWord, Diagnostic, Span};
use model::codes;
use model::config::ProxyOption;

/// Warns that a keyword is an old form, and suggests to replace the words of the span by the
/// current form.
pub(crate) fn warn(loader: &mut Loader, span: Span, old: &str, new: &str) {
    loader.report(
        Diagnostic::warning(
            &codes::LEGACY,
            span,
            format!("'{old}' is an old form of '{new}'"),
        )
        .label("removed from HAProxy")
        .help(format!("write `{new}`"))
        .fix(span, new),
    );
}

/// Warns of a word that no longer has any effect.
pub(crate) fn warn_needless(loader: &mut Loader, args: &Args<'_>, old: &str, why: &str) {
    let span = args.keyword_span();
    loader.report(
        Diagnostic::warning(
            &codes::LEGACY,
            span,
            format!("'{old}' is obsolete and unnecessary"),
        )
        .label("removed from HAProxy")
        .note(why)
        .help("remove the line")
        .fix(args.line().span, ""),
    );
}

impl Loader {
    /// Builds the address and options after the name of a `listen` or `frontend` section, a form of
    /// HAProxy 1.x, and warns that they belong on a separate `bind` line.
    pub(crate) fn legacy_bind(&mut self, line: &ConfigLine, word: &ConfigWord) {
        let (kind, name) = (line.words[0].text(), line.words[1].text());
        let base = line.words.iter().position(|word| word.is("from"));
        let last = base.map_or(line.end(), |at| line.words[at - 1].span);
        let whole = self
            .context
            .sources
            .snippet(word.span.to(last))
            .into_owned();
        self.report(
            Diagnostic::warning(
                &codes::LEGACY,
                word.span,
                format!("an address on the line of '{kind} {name}' is obsolete syntax"),
            )
            .label("removed from HAProxy")
            .help(format!("move it to a separate line: `bind {whole}`"))
            .fix(
                Span {
                    start: line.words[1].span.end,
                    ..word.span.to(last)
                },
                "",
            )
            .with_further_fix(line.end(), format!("\nbind {whole}")),
        );
        let mut template = super::bind::template(word.span);
        let mut args = Args::new(
            line,
            3,
            "bind",
            "bind <address> [options…]",
            &codes::OF_ARGUMENTS,
        );
        let options = match base {
            None => super::bind::options(self, &mut args, &mut template),
            Some(_) => Ok(()),
        };
        let listeners = super::bind::listeners(self, word, &template);
        self.report_all(args.take_warnings());
        self.report_all([options, listeners].into_iter().filter_map(Result::err));
    }
}

fn redispatch(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let span = args.keyword_span();
    warn(loader, span, args.keyword, "option redispatch");
    loader.proxy().redispatch = Some(super::option::REDISPATCH_DEFAULT);
    args.end()
}

fn force_close(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let span = args.keyword_span();
    warn(loader, span, "option forceclose", "option httpclose");
    super::option::connection_mode(
        loader,
        ProxyOption::HttpClose,
        !(args.negated || args.reset),
    );
    args.end()
}

fn tunnel_mode(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    warn_needless(
        loader,
        args,
        "option http-tunnel",
        "all requests of a connection pass the rules, as in HAProxy since 2.1; the connection is kept alive",
    );
    super::option::connection_mode(
        loader,
        ProxyOption::HttpKeepAlive,
        !(args.negated || args.reset),
    );
    args.end()
}

fn needless(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let why = match args.keyword {
        "option http-use-htx" => "it selected HAProxy's current HTTP engine while there were two",
        "option tcpsplice" => "it needed a patched kernel of 2006",
        _ => "it selected the processes of a proxy; there is now one process with threads",
    };
    warn_needless(loader, args, args.keyword, why);
    if args.keyword == "bind-process" {
        args.rest();
    }
    args.warn_of_surplus()
}

fn independant_streams(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let span = args.keyword_span();
    warn(loader, span, args.keyword, "option independent-streams");
    let on = !(args.negated || args.reset);
    loader
        .proxy()
        .options
        .set(ProxyOption::IndependentStreams, on);
    args.end()
}

pub static LINES: &[LineRow] = language::rows! {
    "redispatch" BACK, redispatch, "redispatch",
        "The name of `option redispatch` in HAProxy 1.x. It still works, with a warning that shows the current form.";
    "redisp" BACK, redispatch, "redisp",
        "The name of `option redispatch` in HAProxy 1.0. It still works, with a warning that shows the current form.";
    "option forceclose" ALL, force_close, "option forceclose",
        "Closes both connections after each response, even if the server keeps its own open. Obsolete name of `option \
         httpclose`; it still works, with a warning.";
    "option http-tunnel" ALL, tunnel_mode, "option http-tunnel",
        "In older HAProxy versions, only the first request of a connection passed the rules. HAProxy has removed the \
         option. In Evenkeel too, all requests pass the rules and the connection is kept alive, with a warning.";
    "option http-use-htx" ALL, needless, "option http-use-htx",
        "Selected one of two HTTP engines in HAProxy 1.9 and 2.0. No effect, with a warning.";
    "option tcpsplice" ALL, needless, "option tcpsplice",
        "Needed a kernel patch that HAProxy has not used since 1.4. No effect, with a warning.";
    "bind-process { all | odd | even | <number>[-<number>] } …" ALL, needless, "bind-process all",
        "Selected the processes of a proxy when HAProxy had several. Evenkeel has one process, and all threads serve \
         every proxy. No effect, with a warning.";
    "option independant-streams" ALL, independant_streams, "option independant-streams",
        "A misspelling of `option independent-streams` that HAProxy 1.x documented. It still works, with a warning.";
};
