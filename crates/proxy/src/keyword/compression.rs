//! `compression …`: bodies that are compressed on their way, and how much of the
//! process that may take.

use super::global::row;
use super::{Args, Built, LineRow, places};
use crate::compression::Limits;
use crate::config::{Algorithm, Compressed, Compression, Direction, ProxyKind};
use crate::load::{Loader, codes};
use language::Diagnostic;
use std::sync::Arc;

/// Algorithms and types that a line may name.
const LIST_MAX: usize = 256;

const ALGORITHMS: [Algorithm; 4] = [
    Algorithm::Identity,
    Algorithm::Gzip,
    Algorithm::Deflate,
    Algorithm::RawDeflate,
];

pub(super) static LINES: &[LineRow] = &[
    LineRow {
        name: "compression algo",
        places: places::ALL,
        syntax: "compression algo { gzip | deflate | raw-deflate | identity } …",
        doc: "Compresses answers that servers send uncompressed, with what a client says that it takes (`Accept-Encoding`). \
              Only whole answers (200 to 203) of HTTP/1.1 and later whose end is known are, none that has a \
              `Content-Encoding`, `Cache-Control: no-transform` or more than one `ETag`; a strong `ETag` becomes a weak one.",
        example: "compression algo gzip",
        build: algo,
    },
    LineRow {
        name: "compression algo-res",
        places: places::ALL,
        syntax: "compression algo-res { gzip | deflate | raw-deflate | identity } …",
        doc: "The same as `compression algo`: what answers are compressed with.",
        example: "compression algo-res gzip",
        build: algo,
    },
    LineRow {
        name: "compression algo-req",
        places: places::ALL,
        syntax: "compression algo-req { gzip | deflate | raw-deflate | identity }",
        doc: "What the bodies of requests are compressed with on their way to servers, where `compression direction` says so. \
              Nothing tells whether a server understands it: know yours.",
        example: "compression algo-req gzip",
        build: algo,
    },
    LineRow {
        name: "compression type",
        places: places::ALL,
        syntax: "compression type <mime type> …",
        doc: "Compresses only answers whose `Content-Type` begins with one of these. Without the line all are, pictures and \
              archives too, which gains nothing.",
        example: "compression type text/ application/json",
        build: kind,
    },
    LineRow {
        name: "compression type-res",
        places: places::ALL,
        syntax: "compression type-res <mime type> …",
        doc: "The same as `compression type`: which answers are compressed, by how their `Content-Type` begins.",
        example: "compression type-res text/html",
        build: kind,
    },
    LineRow {
        name: "compression type-req",
        places: places::ALL,
        syntax: "compression type-req <mime type> …",
        doc: "Compresses only requests whose `Content-Type` begins with one of these; without the line all.",
        example: "compression type-req application/json",
        build: kind,
    },
    LineRow {
        name: "compression minsize-res",
        places: places::ALL,
        syntax: "compression minsize-res <size>",
        doc: "Leaves answers alone that are known to be shorter: their headers would grow by more than they shrink. Those \
              whose length is not known are compressed.",
        example: "compression minsize-res 256",
        build: size_min,
    },
    LineRow {
        name: "compression minsize-req",
        places: places::ALL,
        syntax: "compression minsize-req <size>",
        doc: "Leaves requests alone whose bodies are known to be shorter. Those whose length is not known are compressed.",
        example: "compression minsize-req 1k",
        build: size_min,
    },
    LineRow {
        name: "compression direction",
        places: places::ALL,
        syntax: "compression direction { request | response | both }",
        doc: "Says which messages are compressed: answers, which is the default, requests on their way to servers, or both.",
        example: "compression direction both",
        build: direction,
    },
    LineRow {
        name: "compression offload",
        places: places::ALL,
        syntax: "compression offload",
        doc: "Takes `Accept-Encoding` out of requests, so that all compressing is done here. It is for servers that compress \
              wrongly; others should do it themselves. In a `defaults` section it is passed over with a warning.",
        example: "compression offload",
        build: offload,
    },
    row(
        "maxcomprate",
        "maxcomprate <number>",
        "maxcomprate 10000",
        limit,
        "Kilobytes a second that the process gives to compression at most; answers that begin beyond it are not compressed. 0, the default, is no limit.",
    ),
    row(
        "maxcompcpuusage",
        "maxcompcpuusage <percent>",
        "maxcompcpuusage 80",
        limit,
        "How much of its processors the process may use for new answers to be compressed, percent. 100, the default, is no limit.",
    ),
    row(
        "maxzlibmem",
        "maxzlibmem <megabytes>",
        "maxzlibmem 64",
        limit,
        "Memory that compression takes at most; a compressed answer takes about 300 kB while it flows, others go as they are. Without this line it is a thirty-second of the machine's memory, from 32 to 512; 0 is no limit. One connection of a client has 32 compressed answers at once at most, and an answer that nobody takes for two seconds gives its memory back.",
    ),
    row(
        "tune.comp.maxlevel",
        "tune.comp.maxlevel <number>",
        "tune.comp.maxlevel 3",
        limit,
        "The level of compression, from 1 (fast, the default) to 9 (small). Levels above 6 take much more time for little.",
    ),
    row(
        "tune.zlib.windowsize",
        "tune.zlib.windowsize <number>",
        "tune.zlib.windowsize 13",
        limit,
        "How far back compression looks, as the binary logarithm of bytes, 9 to 15 (the default).",
    ),
    row(
        "tune.zlib.memlevel",
        "tune.zlib.memlevel <number>",
        "tune.zlib.memlevel 8",
        limit,
        "How much memory zlib may take beside its window, from 1 to 9. The encoder here has one size, so it changes nothing; `maxzlibmem` limits how many there are.",
    ),
];

fn compression(loader: &mut Loader) -> &mut Compression {
    loader.proxy().compression.get_or_insert_default()
}

/// The side that a keyword is about.
fn side<'l>(loader: &'l mut Loader, keyword: &str) -> &'l mut Compressed {
    let compression = compression(loader);
    match keyword.ends_with("-req") {
        true => &mut compression.request,
        false => &mut compression.response,
    }
}

fn algo(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    args.required("an algorithm")?;
    let words = args.line().words.get(2..).unwrap_or_default();
    args.rest();
    let mut algorithms = Vec::new();
    for word in words.iter().take(LIST_MAX) {
        let found = ALGORITHMS.into_iter().find(|known| word.is(known.name()));
        let Some(found) = found else {
            let names: Vec<&str> = ALGORITHMS.iter().map(|a| a.name()).collect();
            return Err(Box::new(
                Diagnostic::error(
                    &codes::BAD_VALUE,
                    word.span,
                    format!(
                        "'{}' does not know the algorithm '{}'",
                        args.keyword,
                        word.text()
                    ),
                )
                .label("no algorithm of that name")
                .help(format!("one of these works: {}", names.join(", "))),
            ));
        };
        algorithms.push(found);
    }
    if args.keyword == "compression algo-req" && algorithms.len() > 1 {
        return Err(Box::new(
            Diagnostic::error(
                &codes::TOO_MANY_ARGUMENTS,
                words[1].span,
                "'compression algo-req' takes one algorithm",
            )
            .label("one too many"),
        ));
    }
    side(loader, args.keyword).algorithms.extend(algorithms);
    Ok(())
}

fn kind(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    args.required("a type")?;
    let words = args.line().words.get(2..).unwrap_or_default();
    args.rest();
    let types = words.iter().take(LIST_MAX).map(|word| word.bytes.clone());
    let types: Vec<Box<[u8]>> = types.map(Into::into).collect();
    side(loader, args.keyword).types.extend(types);
    Ok(())
}

fn size_min(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let bytes = args.size("a size")?;
    side(loader, args.keyword).size_min = bytes;
    args.end()
}

fn direction(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let word = args.required("'request', 'response' or 'both'")?;
    compression(loader).direction = match word.str() {
        "request" => Direction::Request,
        "response" => Direction::Response,
        "both" => Direction::Both,
        other => {
            return Err(Box::new(
                Diagnostic::error(
                    &codes::BAD_VALUE,
                    word.span,
                    format!("'compression direction' expects 'request', 'response' or 'both', not '{other}'"),
                )
                .label("not understood"),
            ));
        }
    };
    args.end()
}

fn offload(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let span = args.keyword_span();
    if loader.proxy().kind == ProxyKind::Defaults {
        loader.tell(
            Diagnostic::warning(
                &codes::NO_EFFECT,
                span,
                "'compression offload' is passed over in a 'defaults' section",
            )
            .label("does nothing here")
            .help("write it in the proxies that need it"),
        );
        return args.end();
    }
    compression(loader).offload = true;
    args.end()
}

fn limit(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let range = match args.keyword {
        "maxcompcpuusage" => 0..=100,
        "tune.comp.maxlevel" | "tune.zlib.memlevel" => 1..=9,
        // A window of 8 bits is one of 9 to every encoder.
        "tune.zlib.windowsize" => 8..=15,
        _ => 0..=i32::MAX as u32,
    };
    let number = args.count("a number", range)?;
    let limits: &mut Limits = Arc::make_mut(&mut loader.config.global.compression);
    match args.keyword {
        "maxcomprate" => limits.rate_max = u64::from(number) * 1024,
        "maxcompcpuusage" => limits.cpu_max = number,
        "maxzlibmem" => limits.memory_max = Some((number as usize).saturating_mul(1 << 20)),
        "tune.comp.maxlevel" => limits.level_max = number,
        "tune.zlib.windowsize" => limits.window_bits = number.clamp(9, 15) as u8,
        _ => {}
    }
    args.end()
}

#[cfg(test)]
mod tests {
    use crate::config::{Algorithm, Direction};
    use crate::keyword::testing::{backend, codes_of};

    #[test]
    fn lines_add_up_and_sides_are_apart() {
        let lines = "compression algo identity gzip\ncompression algo-req deflate\n\
                     compression type text/\ncompression type application/json text/x\n\
                     compression minsize-req 1k\ncompression direction both\ncompression offload";
        let compression = backend(lines).compression.unwrap();
        let response = &compression.response;
        assert_eq!(response.algorithms, [Algorithm::Identity, Algorithm::Gzip]);
        assert_eq!(response.types.len(), 3);
        assert_eq!(compression.request.algorithms, [Algorithm::Deflate]);
        assert_eq!(compression.request.size_min, 1024);
        assert_eq!(compression.direction, Direction::Both);
        assert!(compression.offload);
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (line, code) in [
            ("compression algo", "E0201"),
            ("compression algo gzip br", "E0207"),
            ("compression algo-req gzip deflate", "E0202"),
            ("compression direction up", "E0207"),
            ("compression type", "E0201"),
            ("compression minsize-res x", "E0206"),
        ] {
            assert_eq!(codes_of(line), [code], "{line}");
        }
    }
}
