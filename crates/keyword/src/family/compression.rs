//! Builds `compression …` lines, and the limits of compression for the whole process.

use super::places::GLOBAL;
use super::{Args, Built, LineRow, places};
use crate::family::Loader;
use language::Diagnostic;
use model::codes;
use model::config::{Algorithm, Compressed, Compression, Direction, ProxyKind};
use model::state::compression::Limits;
use std::sync::Arc;

/// Maximum number of algorithms or types on a line.
const LIST_MAX: usize = 256;

const ALGORITHMS: [Algorithm; 4] = [
    Algorithm::Identity,
    Algorithm::Gzip,
    Algorithm::Deflate,
    Algorithm::RawDeflate,
];

pub(super) static LINES: &[LineRow] = language::rows! {
    "compression algo { gzip | deflate | raw-deflate | identity } …" places::ALL, algo,
        "compression algo gzip",
        "Compresses uncompressed responses of servers with an algorithm that the client accepts (`Accept-Encoding`). \
         Only complete responses (200 to 203) of HTTP/1.1 and later with a known end are compressed, and none with a \
         `Content-Encoding`, `Cache-Control: no-transform` or more than one `ETag`. A strong `ETag` becomes weak.";
    "compression algo-res { gzip | deflate | raw-deflate | identity } …" places::ALL, algo,
        "compression algo-res gzip",
        "The same as `compression algo`: algorithms for responses.";
    "compression algo-req { gzip | deflate | raw-deflate | identity }" places::ALL, algo,
        "compression algo-req gzip",
        "Algorithm for request bodies sent to servers, if `compression direction` enables that. Nothing negotiates \
         whether the servers support it, so check yours.";
    "compression type <mime type> …" places::ALL, kind, "compression type text/ application/json",
        "Compresses only responses whose `Content-Type` begins with one of these. By default all are compressed, even \
         images and archives, which gains nothing.";
    "compression type-res <mime type> …" places::ALL, kind, "compression type-res text/html",
        "The same as `compression type`: types of responses to compress.";
    "compression type-req <mime type> …" places::ALL, kind, "compression type-req application/json",
        "Compresses only requests whose `Content-Type` begins with one of these; by default all.";
    "compression minsize-res <size>" places::ALL, size_min, "compression minsize-res 256",
        "Does not compress responses known to be shorter, because their headers would grow by more than they shrink. \
         Responses of unknown length are compressed.";
    "compression minsize-req <size>" places::ALL, size_min, "compression minsize-req 1k",
        "Does not compress requests whose bodies are known to be shorter. Requests of unknown length are compressed.";
    "compression direction { request | response | both }" places::ALL, direction,
        "compression direction both",
        "Sets which messages are compressed: responses (the default), requests to servers, or both.";
    "compression offload" places::ALL, offload, "compression offload",
        "Removes `Accept-Encoding` from requests, so that only the proxy compresses. Use it for servers that compress \
         incorrectly; others should compress themselves. In a `defaults` section it is ignored with a warning.";
    "maxcomprate <number>" GLOBAL, limit, "maxcomprate 10000",
        "Maximum input of compression, in kilobytes per second for the process. Responses that begin above the limit \
         are not compressed. 0, the default, means no limit.";
    "maxcompcpuusage <percent>" GLOBAL, limit, "maxcompcpuusage 80",
        "CPU usage of the process, in percent, above which new responses are not compressed. 100, the default, means \
         no limit.";
    "maxzlibmem <megabytes>" GLOBAL, limit, "maxzlibmem 64",
        "Maximum memory for compression. A compressed response takes about 300 kB while it is transferred; responses \
         above the limit are sent uncompressed. The default is 1/32 of the machine's memory, between 32 and 512; 0 \
         means no limit. One client connection has at most 32 compressed responses at a time. A response that the \
         client does not read for two seconds releases its memory.";
    "tune.comp.maxlevel <number>" GLOBAL, limit, "tune.comp.maxlevel 3",
        "Compression level, from 1 (fast, the default) to 9 (small). Levels above 6 take much more time for little \
         gain.";
    "tune.zlib.windowsize <number>" GLOBAL, limit, "tune.zlib.windowsize 13",
        "Size of the compression window, as the binary logarithm of bytes, 9 to 15 (the default).";
    "tune.zlib.memlevel <number>" GLOBAL, limit, "tune.zlib.memlevel 8",
        "Memory for zlib beside its window, from 1 to 9. Evenkeel's encoder has a fixed size, so this has no effect; \
         `maxzlibmem` limits the number of encoders.";
};

fn compression(loader: &mut Loader) -> &mut Compression {
    loader.proxy().compression.get_or_insert_default()
}

fn side<'l>(loader: &'l mut Loader, keyword: &str) -> &'l mut Compressed {
    let compression = compression(loader);
    if keyword.ends_with("-req") {
        &mut compression.request
    } else {
        &mut compression.response
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
            return Err(Diagnostic::error(
                &codes::BAD_VALUE,
                word.span,
                format!(
                    "'{}' does not support the algorithm '{}'",
                    args.keyword,
                    word.text()
                ),
            )
            .label("no algorithm has this name")
            .help(format!("supported algorithms: {}", names.join(", "))));
        };
        algorithms.push(found);
    }
    if args.keyword == "compression algo-req" && algorithms.len() > 1 {
        return Err(Diagnostic::error(
            &codes::TOO_MANY_ARGUMENTS,
            words[1].span,
            "'compression algo-req' takes one algorithm",
        )
        .label("more than one algorithm"));
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
            return Err(Diagnostic::error(
                &codes::BAD_VALUE,
                word.span,
                format!(
                    "'compression direction' expects 'request', 'response' or 'both', not '{other}'"
                ),
            )
            .label("not understood"));
        }
    };
    args.end()
}

fn offload(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let span = args.keyword_span();
    if loader.proxy().kind == ProxyKind::Defaults {
        loader.report(
            Diagnostic::warning(
                &codes::NO_EFFECT,
                span,
                "'compression offload' is ignored in a 'defaults' section",
            )
            .label("no effect here")
            .help("add it to the proxies that need it"),
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
        // Accepts a window of 8 bits, for which encoders use 9.
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
    use crate::testing::{backend, codes_of};
    use model::config::{Algorithm, Direction};

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
