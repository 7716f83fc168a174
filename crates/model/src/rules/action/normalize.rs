//! Implements the action `normalize-uri`, which brings equivalent targets into the same form, so
//! that another spelling cannot bypass rules that check paths.

use super::{ActionResult, ActionRow, Build, BuiltAction, RuleAction, places};
use crate::codes as load_codes;
use crate::compiled::action::normalize::Normalizer;
use crate::rules::draft::ConfigDraft;
use crate::transaction::{MessageVerdict, ProxyStream, StreamPhase, Termination, error_page};
use http::message::MessageEditError;
use language::suggest;

const NAMES: [(&str, Normalizer); 8] = [
    ("fragment-encode", Normalizer::FragmentEncode),
    ("fragment-strip", Normalizer::FragmentStrip),
    ("path-merge-slashes", Normalizer::MergeSlashes),
    ("path-strip-dot", Normalizer::StripDot),
    ("path-strip-dotdot", Normalizer::StripDotDot { full: false }),
    (
        "percent-decode-unreserved",
        Normalizer::Decode { strict: false },
    ),
    (
        "percent-to-uppercase",
        Normalizer::Uppercase { strict: false },
    ),
    ("query-sort-by-name", Normalizer::SortQuery),
];

pub(super) static ROWS: &[ActionRow] = language::rows! {
    "normalize-uri { fragment-encode | fragment-strip | path-merge-slashes | path-strip-dot | path-strip-dotdot [ full \
          ] | percent-decode-unreserved [ strict ] | percent-to-uppercase [ strict ] | query-sort-by-name \
          }" &[places::REQUEST],
        build,
        "normalize-uri path-strip-dotdot full",
        "Normalises the target of the request, one aspect per rule. With `strict`, an invalid percent-encoding gets \
         status 400. The server receives the changed target, so only use equivalences that the server shares.";
};

fn build(_: &mut ConfigDraft, build: &mut Build<'_, '_>) -> BuiltAction {
    let word = build.args.required("<normalizer>")?;
    let Some((_, normalizer)) = NAMES.iter().find(|(name, _)| word.is(name)) else {
        let message = format!("unknown normalizer '{}'", word.text());
        let diagnostic = build.wrong(
            &load_codes::BAD_VALUE,
            word,
            message,
            "expected a normalizer",
        );
        return Err(diagnostic.suggest(suggest::nearest(
            &word.text(),
            NAMES.iter().map(|(name, _)| *name),
        )));
    };
    Ok(RuleAction::Normalize(match normalizer {
        Normalizer::StripDotDot { .. } => Normalizer::StripDotDot {
            full: build.args.take_if("full"),
        },
        Normalizer::Decode { .. } => Normalizer::Decode {
            strict: build.args.take_if("strict"),
        },
        Normalizer::Uppercase { .. } => Normalizer::Uppercase {
            strict: build.args.take_if("strict"),
        },
        other => *other,
    }))
}

impl Normalizer {
    pub(super) fn run(self, stream: &mut ProxyStream) -> ActionResult {
        match self.apply(stream) {
            Ok(Ok(())) => ActionResult::Next,
            Ok(Err(_)) => ActionResult::Failed,
            Err(Invalid) => {
                stream.outcome.end(Termination::Proxy, StreamPhase::Request);
                let mut reply = error_page(stream, 400);
                reply.close = true;
                ActionResult::End(MessageVerdict::Answer(Box::new(reply)))
            }
        }
    }

    fn apply(self, stream: &mut ProxyStream) -> Result<Result<(), MessageEditError>, Invalid> {
        let request = &stream.request;
        let whole = request.path_and_query();
        if whole.is_empty() || whole == b"*" {
            return Ok(Ok(()));
        }
        let (path, query) = match memchr::memchr(b'?', whole) {
            Some(at) => whole.split_at(at),
            None => (whole, &whole[whole.len()..]),
        };
        let new = match self {
            Normalizer::FragmentStrip => until_fragment(whole).to_vec(),
            Normalizer::FragmentEncode => encode_fragment(whole),
            Normalizer::Decode { strict } => decode(whole, strict)?,
            Normalizer::Uppercase { strict } => uppercase(whole, strict)?,
            Normalizer::MergeSlashes => [&merge_slashes(path), query].concat(),
            Normalizer::StripDot => [&strip_dot(path), query].concat(),
            Normalizer::StripDotDot { full } => [&strip_dotdot(path, full), query].concat(),
            Normalizer::SortQuery => [path, &sort_query(query)].concat(),
        };
        if new == whole {
            return Ok(Ok(()));
        }
        stream.keep_received();
        Ok(stream.request.set_path_and_query(&new))
    }
}

/// Error of `strict`: a percent sign begins no valid encoding.
struct Invalid;

fn until_fragment(target: &[u8]) -> &[u8] {
    let end = memchr::memchr(b'#', target).unwrap_or(target.len());
    &target[..end]
}

fn encode_fragment(target: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(target.len());
    for byte in target {
        match byte {
            b'#' => out.extend_from_slice(b"%23"),
            byte => out.push(*byte),
        }
    }
    out
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

/// Copies a target and replaces each `%XX` by the result of `encoding`.
fn each_encoding(
    target: &[u8],
    strict: bool,
    mut encoding: impl FnMut(&mut Vec<u8>, [u8; 3], u8),
) -> Result<Vec<u8>, Invalid> {
    let mut out = Vec::with_capacity(target.len());
    let mut rest = target;
    while let [byte, after @ ..] = rest {
        if let [b'%', high, low, behind @ ..] = rest
            && let (Some(h), Some(l)) = (hex(*high), hex(*low))
        {
            encoding(&mut out, [b'%', *high, *low], h << 4 | l);
            rest = behind;
            continue;
        }
        if *byte == b'%' && strict {
            return Err(Invalid);
        }
        out.push(*byte);
        rest = after;
    }
    Ok(out)
}

fn decode(target: &[u8], strict: bool) -> Result<Vec<u8>, Invalid> {
    each_encoding(target, strict, |out, as_is, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte);
        } else {
            out.extend_from_slice(&as_is);
        }
    })
}

fn uppercase(target: &[u8], strict: bool) -> Result<Vec<u8>, Invalid> {
    each_encoding(target, strict, |out, as_is, _| {
        out.extend_from_slice(&as_is.map(|byte| byte.to_ascii_uppercase()));
    })
}

fn merge_slashes(path: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(path.len());
    for byte in path {
        if *byte != b'/' || out.last() != Some(&b'/') {
            out.push(*byte);
        }
    }
    out
}

/// Returns the segments of a path, without the empty one before its leading slash.
fn segments(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.strip_prefix(b"/")
        .unwrap_or(path)
        .split(|byte| *byte == b'/')
}

/// Joins segments into a path; `open` adds a slash at the end. Without segments the path is `/`.
fn joined(segments: &[&[u8]], open: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for segment in segments {
        out.push(b'/');
        out.extend_from_slice(segment);
    }
    if open || segments.is_empty() {
        out.push(b'/');
    }
    out
}

fn strip_dot(path: &[u8]) -> Vec<u8> {
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut open = false;
    for segment in segments(path) {
        open = segment == b".";
        if !open {
            kept.push(segment);
        }
    }
    joined(&kept, open)
}

fn strip_dotdot(path: &[u8], full: bool) -> Vec<u8> {
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut open = false;
    for segment in segments(path) {
        open = false;
        if segment != b".." {
            kept.push(segment);
            continue;
        }
        match kept.last() {
            Some(last) if *last != b".." => {
                kept.pop();
                open = true;
            }
            _ if full => open = true,
            _ => {
                kept.push(segment);
                open = true;
            }
        }
    }
    joined(&kept, open)
}

/// Sorts the parameters of a query, which includes its question mark.
fn sort_query(query: &[u8]) -> Vec<u8> {
    let Some(parameters) = query.strip_prefix(b"?") else {
        return query.to_vec();
    };
    let name = |parameter: &&[u8]| {
        let end = memchr::memchr(b'=', parameter).unwrap_or(parameter.len());
        parameter[..end].to_vec()
    };
    let mut sorted: Vec<&[u8]> = parameters.split(|byte| *byte == b'&').collect();
    sorted.sort_by_cached_key(name);
    [b"?", &*sorted.join(&b'&')].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::sample;

    fn normalized(normalizer: Normalizer, target: &str) -> String {
        let head = format!("GET {target} HTTP/1.1\r\nhost: h\r\n\r\n");
        let mut stream = sample::request(head.as_bytes());
        match normalizer.run(&mut stream) {
            ActionResult::Next => String::from_utf8_lossy(stream.request.target()).into_owned(),
            ActionResult::End(MessageVerdict::Answer(reply)) => reply.head.status().to_string(),
            _ => panic!("{target}"),
        }
    }

    #[test]
    fn targets_become_what_haproxy_makes_of_them() {
        let full = Normalizer::StripDotDot { full: true };
        let up = Normalizer::StripDotDot { full: false };
        let rows = [
            (Normalizer::StripDot, "/.", "/"),
            (Normalizer::StripDot, "/./bar/", "/bar/"),
            (Normalizer::StripDot, "/a/./a", "/a/a"),
            (Normalizer::StripDot, "/.well-known/", "/.well-known/"),
            (Normalizer::StripDot, "/a/.?x=/./", "/a/?x=/./"),
            (up, "/foo/../", "/"),
            (up, "/foo/../bar/", "/bar/"),
            (up, "/foo/bar/../", "/foo/"),
            (up, "/../bar/", "/../bar/"),
            (up, "/bar/../../", "/../"),
            (up, "/a/../../b/../..", "/../../"),
            (up, "/foo//../", "/foo/"),
            (up, "/foo/%2E%2E/", "/foo/%2E%2E/"),
            (up, "/foo/..", "/"),
            (up, "/foo/..?a=/../", "/?a=/../"),
            (full, "/../bar/", "/bar/"),
            (full, "/bar/../../", "/"),
            (full, "/..", "/"),
            (Normalizer::MergeSlashes, "//", "/"),
            (Normalizer::MergeSlashes, "/foo//bar?a=//", "/foo/bar?a=//"),
            (Normalizer::Decode { strict: false }, "/%61dmin", "/admin"),
            (
                Normalizer::Decode { strict: false },
                "/foo%3Fbar=baz",
                "/foo%3Fbar=baz",
            ),
            (Normalizer::Decode { strict: false }, "/%%36%36", "/%66"),
            (Normalizer::Decode { strict: false }, "/%ZZ", "/%ZZ"),
            (Normalizer::Decode { strict: true }, "/%%36%36", "400"),
            (Normalizer::Decode { strict: true }, "/%ZZ", "400"),
            (Normalizer::Uppercase { strict: false }, "/%6f", "/%6F"),
            (Normalizer::Uppercase { strict: false }, "/%zz", "/%zz"),
            (Normalizer::Uppercase { strict: true }, "/%zz", "400"),
            (Normalizer::SortQuery, "/?c=3&a=1&b=2", "/?a=1&b=2&c=3"),
            (
                Normalizer::SortQuery,
                "/?aaa=3&a=1&aa=2",
                "/?a=1&aa=2&aaa=3",
            ),
            (
                Normalizer::SortQuery,
                "/?a=3&b=4&a=1&b=5&a=2",
                "/?a=3&a=1&a=2&b=4&b=5",
            ),
            (Normalizer::SortQuery, "/x", "/x"),
        ];
        for (normalizer, target, wanted) in rows {
            assert_eq!(normalized(normalizer, target), wanted, "{target}");
        }
        assert_eq!(until_fragment(b"/a#b"), b"/a");
        assert_eq!(encode_fragment(b"/#foo"), b"/%23foo");
    }
}
