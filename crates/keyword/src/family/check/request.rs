//! Builds the check step `http-check send`.

use super::{Comment, FIELDS_MAX, text_of, unknown_word};
use crate::family::Args;
use crate::family::Loader;
use language::{ConfigWord, Diagnostic};
use model::check::HttpSend;
use model::codes;
use model::rules::{Dialect, Format, Usage};

const WORDS: &[&str] = &[
    "meth", "uri", "uri-lf", "ver", "hdr", "body", "body-lf", "comment",
];

fn format(loader: &mut Loader, word: &ConfigWord) -> Result<Format, Diagnostic> {
    Format::parse_as(loader, word, Usage::CHECK, Dialect::Text)
}

pub(super) fn request(
    loader: &mut Loader,
    args: &mut Args<'_>,
) -> Result<(HttpSend, Comment), Diagnostic> {
    let mut request = HttpSend {
        text: text_of(args),
        ..HttpSend::default()
    };
    let mut comment = None;
    while let Some(word) = args.next() {
        match word.str() {
            "meth" => request.method = Some(args.required("<method>")?.text().into()),
            "uri" => request.uri = Some(Format::constant(&args.required("<uri>")?.bytes)),
            "uri-lf" => request.uri = Some(format(loader, args.required("<fmt>")?)?),
            "ver" => request.version = Some(args.required("<version>")?.text().into()),
            "body" => request.body = Some(Format::constant(&args.required("<text>")?.bytes)),
            "body-lf" => request.body = Some(format(loader, args.required("<fmt>")?)?),
            "comment" => comment = Some(args.required("<text>")?.bytes.as_slice().into()),
            "hdr" => {
                let name = args.required("<name> and <fmt>")?;
                let value = format(loader, args.required("<fmt>")?)?;
                if request.headers.len() == FIELDS_MAX {
                    return Err(args.word_error(
                        &codes::OUT_OF_RANGE,
                        word,
                        format!("a check request has at most {FIELDS_MAX} headers"),
                    ));
                }
                request.headers.push((name.bytes.as_slice().into(), value));
            }
            _ => return Err(unknown_word(args, word, WORDS)),
        }
    }
    Ok((request, comment))
}
