//! Checks `filter` lines, which name filters of message bodies, and notes the names of caches in
//! them. Compression and the cache need no such line. A line may state the order of filters, which
//! is fixed: the cache stores what the server sent, and the client gets it compressed.

use super::{Args, Built, LineRow, places};
use crate::family::Loader;
use language::{Diagnostic, suggest};
use model::codes;
use model::known;

pub(super) static LINES: &[LineRow] = language::rows! {
    "filter { compression | cache <name> | fcgi-app <name> }" places::PROXIES, filter,
        "compression algo gzip\nfilter compression",
        "Declares a filter. `compression`, caches and `use-fcgi-app` do not need the line. Responses are always stored \
         as the server sent them, and compressed afterwards.";
};

fn filter(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let word = args.required("a filter")?;
    match word.str() {
        "compression" | "comp-res" | "comp-req" => args.end(),
        // Accepts this filter at any position; it runs before compression and caches, as in
        // HAProxy.
        "fcgi-app" => {
            args.required("<name>")?;
            args.end()
        }
        "cache" => {
            let name = args.required("<name>")?;
            loader.cache_names.push((name.text().into(), name.span));
            args.end()
        }
        other => {
            if known::names("filter").any(|name| name == other) {
                return Err(super::proxy::unsupported_word(
                    word,
                    &format!("filter {other}"),
                ));
            }
            let near = suggest::nearest(other, known::names("filter"));
            let told = Diagnostic::error(
                &codes::BAD_VALUE,
                word.span,
                format!("unknown filter '{other}'"),
            )
            .label("no filter has this name");
            Err(told.did_you_mean(word.span, near))
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::codes_of;

    #[test]
    fn what_needs_no_line_is_taken_and_others_are_told_apart() {
        for (line, codes) in [
            ("compression algo gzip\nfilter compression", &[][..]),
            ("filter spoe engine x config y", &["E0434"]),
            ("filter compresion", &["E0207"]),
            ("filter", &["E0201"]),
        ] {
            assert_eq!(codes_of(line), codes, "{line}");
        }
    }
}
