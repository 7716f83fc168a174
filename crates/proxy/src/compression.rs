//! Decides which HTTP bodies are compressed (`compression algo`), chooses the algorithm that the
//! client accepts, and provides the encoder of the body. This module does no IO;
//! [`crate::stream`] forwards the bodies. An encoder needs about
//! [`ENCODER_BYTES`](model::state::compression::ENCODER_BYTES) while its body is transferred, and
//! almost nothing while the transfer pauses.

mod encoder;

pub use encoder::{Encoder, EncoderBroke, Flush, release_kept};

use http::http1::{BodyLength, Parsed};
use http::message::{Fields, HttpMessage, HttpVersion, split_values, trim};
use model::config::{Algorithm, Compressed, Direction, Proxy, Rare};
use model::state::Tally;
use model::state::compression::OfClient;
use model::thread::current_thread_data;
use model::transaction::ProxyStream;

/// Maximum number of codings that are read from `Accept-Encoding`.
const CODINGS_MAX: usize = 64;
/// Maximum size in bytes of the header fields that compression adds.
const HEADERS_BYTES: usize = 128;

/// Returns the compression settings of the backend if it has any, otherwise those of the frontend.
fn settings(stream: &ProxyStream, side: fn(&Proxy) -> Option<&Compressed>) -> Option<&Compressed> {
    stream
        .backend()
        .and_then(side)
        .or_else(|| side(stream.frontend()))
}

fn of_response(proxy: &Proxy) -> Option<&Compressed> {
    let compression = proxy.compression.as_deref()?;
    let applies = compression.direction != Direction::Request;
    let compressed = &compression.response;
    (applies && !compressed.algorithms.is_empty()).then_some(compressed)
}

fn of_request(proxy: &Proxy) -> Option<&Compressed> {
    let compression = proxy.compression.as_deref()?;
    let applies = compression.direction != Direction::Response;
    let compressed = &compression.request;
    (applies && !compressed.algorithms.is_empty()).then_some(compressed)
}

#[inline]
fn is_configured(stream: &ProxyStream) -> bool {
    stream.route.rare.has(Rare::COMPRESSION)
}

/// Processes a request before it is sent to a server. Records the algorithms that the client
/// accepts, and with `offload` removes them from the request. Returns an encoder if the request
/// body is to be compressed.
pub fn request(stream: &mut ProxyStream, length: &BodyLength) -> Option<Box<Encoder>> {
    if !is_configured(stream) {
        return None;
    }
    let wanted = settings(stream, of_response)
        .filter(|_| !stream.asked_head())
        .and_then(|settings| choose(&stream.request, &settings.algorithms));
    stream.transfer.compression.wanted = wanted;
    let offloads = |proxy: &Proxy| proxy.compression.as_ref().is_some_and(|c| c.offload);
    if wanted.is_some() && (offloads(stream.frontend()) || stream.backend().is_some_and(offloads)) {
        stream.request.remove(b"accept-encoding");
    }
    let settings = settings(stream, of_request)?;
    let algorithm = *settings.algorithms.first()?;
    if stream.request.version() == HttpVersion::Http10
        || !is_compressible(&stream.request, settings, length)
    {
        return None;
    }
    let encoder = start(stream, algorithm)?;
    stream.request.remove(b"content-length");
    announce(&mut stream.request, algorithm, false);
    Some(encoder)
}

/// Processes a response. Returns an encoder if the body is to be compressed: the length was then
/// removed from the head, and an HTTP/1 client gets chunks (`in_chunks`).
pub fn response(
    stream: &mut ProxyStream,
    parsed: &Parsed,
    in_chunks: bool,
) -> Option<Box<Encoder>> {
    let algorithm = stream.transfer.compression.wanted?;
    let settings = settings(stream, of_response)?;
    let response = &stream.response;
    if !matches!(response.status(), 200..=203)
        || response.version() == HttpVersion::Http10
        || !has_one_valid_etag(response)
        || !is_compressible(response, settings, &parsed.body)
    {
        return None;
    }
    let Some(encoder) = start(stream, algorithm) else {
        stream.transfer.compression.bypassed = true;
        return None;
    };
    stream.transfer.compression.used = Some(algorithm);
    count(stream, Tally::CompressedAnswers, 1);
    let response = &mut stream.response;
    response.remove(b"content-length");
    weaken_etag(response);
    if in_chunks && parsed.body != BodyLength::Chunked {
        _ = response.add(b"transfer-encoding", b"chunked");
    }
    announce(response, algorithm, true);
    Some(encoder)
}

/// Adds to a counter of a stream's frontend and of its backend.
pub fn count(stream: &ProxyStream, tally: Tally, n: u64) {
    stream
        .frontend()
        .state
        .frontend
        .counters
        .current_shard()
        .add(tally, n);
    if let Some(backend) = stream.backend() {
        backend.state.backend.counters.current_shard().add(tally, n);
    }
}

#[derive(Clone, Copy, Default, Debug)]
pub struct Coded {
    /// Number of bytes before compression.
    pub given: u64,
    /// Number of bytes after compression.
    pub made: u64,
}

pub fn count_coded(stream: &ProxyStream, Coded { given, made }: Coded) {
    if given > 0 {
        count(stream, Tally::CompressedIn, given);
        count(stream, Tally::CompressedOut, made);
    }
}

fn start(stream: &ProxyStream, algorithm: Algorithm) -> Option<Box<Encoder>> {
    let limits = &stream.config.global.compression;
    let level = limits.level(
        current_thread_data().now_ms(),
        current_thread_data().process.threads(),
    )?;
    let client = stream.session.encoders.get_or_init(OfClient::default);
    Encoder::new(algorithm, level, limits, client)
}

/// Adds `Accept-Encoding` to `Vary`, at the end of its first line if there is one.
fn vary(fields: &mut Fields) {
    const NAME: &[u8] = b"Accept-Encoding";
    let Some(at) = fields.position(b"vary", 0) else {
        _ = fields.add(b"vary", NAME);
        return;
    };
    if fields
        .values(b"vary")
        .any(|value| value.eq_ignore_ascii_case(NAME))
    {
        return;
    }
    let mut value = fields
        .at(at)
        .map(|(_, value)| value.to_vec())
        .unwrap_or_default();
    if !value.is_empty() {
        value.push(b',');
    }
    value.extend_from_slice(NAME);
    _ = fields.replace_value(at, &value);
}

/// Sets the header fields of a compressed message. [`is_compressible`] has checked that there
/// is room.
fn announce(head: &mut HttpMessage, algorithm: Algorithm, varies: bool) {
    if varies {
        vary(head.fields_mut());
    }
    if algorithm != Algorithm::Identity {
        _ = head.add(b"content-encoding", algorithm.coding());
    }
}

fn is_compressible(head: &HttpMessage, settings: &Compressed, length: &BodyLength) -> bool {
    match length {
        BodyLength::Length(bytes) if *bytes < settings.size_min => return false,
        BodyLength::Length(_) | BodyLength::Chunked | BodyLength::Stream => {}
        BodyLength::None | BodyLength::UntilClose | BodyLength::Tunnel => return false,
    }
    let fields = head.fields();
    if fields.free_bytes() < HEADERS_BYTES || fields.contains(b"content-encoding") {
        return false;
    }
    let no_transform = |value: &[u8]| value.eq_ignore_ascii_case(b"no-transform");
    if fields.values(b"cache-control").any(no_transform) {
        return false;
    }
    let kind = head.get(b"content-type");
    if kind.is_some_and(|kind| begins_with(kind, b"multipart")) {
        return false;
    }
    settings.types.is_empty()
        || kind.is_some_and(|kind| settings.types.iter().any(|begin| begins_with(kind, begin)))
}

fn begins_with(text: &[u8], begin: &[u8]) -> bool {
    text.get(..begin.len())
        .is_some_and(|text| text.eq_ignore_ascii_case(begin))
}

/// Returns whether the head has at most one entity tag, and a valid one. The text between its
/// quotes is not examined (RFC 9110, section 8.8.3).
fn has_one_valid_etag(head: &HttpMessage) -> bool {
    let mut tags = head.fields().get_all(b"etag");
    let Some(tag) = tags.next() else {
        return true;
    };
    let tag = tag.strip_prefix(b"W/").unwrap_or(tag);
    let quoted = tag.len() >= 2 && tag.starts_with(b"\"") && tag.ends_with(b"\"");
    quoted && tags.next().is_none()
}

/// Makes a strong entity tag weak, because the compressed body differs byte by byte.
fn weaken_etag(head: &mut HttpMessage) {
    let Some(tag) = head.get(b"etag").filter(|tag| !tag.starts_with(b"W/")) else {
        return;
    };
    let weak = [b"W/", tag].concat();
    _ = head.set(b"etag", &weak);
}

fn choose(request: &HttpMessage, offered: &[Algorithm]) -> Option<Algorithm> {
    if request.version() == HttpVersion::Http10
        || request.method() == b"HEAD"
        || request.get(b"user-agent").is_some_and(is_old_explorer)
    {
        return None;
    }
    let mut best: Option<(u16, Algorithm)> = None;
    let lines = request.fields().get_all(b"accept-encoding");
    for coding in lines.flat_map(split_values).take(CODINGS_MAX) {
        let mut parts = coding.split(|byte| *byte == b';').map(trim);
        let name = parts.next().unwrap_or_default();
        let quality = parts.find_map(quality).unwrap_or(1000);
        let named = offered
            .iter()
            .copied()
            .filter(|a| *a != Algorithm::Identity);
        let mut named =
            named.filter(|algorithm| name == b"*" || algorithm.coding().eq_ignore_ascii_case(name));
        let better = quality > best.map_or(0, |(quality, _)| quality);
        if better && let Some(algorithm) = named.next() {
            best = Some((quality, algorithm));
        }
    }
    let identity = offered.iter().find(|a| **a == Algorithm::Identity);
    best.map(|(_, algorithm)| algorithm).or(identity.copied())
}

/// Parses `q=0.5` into thousandths; an invalid value counts as 0.
fn quality(parameter: &[u8]) -> Option<u16> {
    let value = parameter
        .strip_prefix(b"q=")
        .or_else(|| parameter.strip_prefix(b"Q="))?;
    let (whole, fraction) = match value.iter().position(|byte| *byte == b'.') {
        Some(at) => (&value[..at], &value[at + 1..]),
        None => (value, &b""[..]),
    };
    let mut thousandths = match whole {
        b"1" => 1000,
        b"0" | b"" => 0,
        _ => return Some(0),
    };
    for (byte, unit) in fraction.iter().zip([100, 10, 1]) {
        if !byte.is_ascii_digit() {
            return Some(0);
        }
        thousandths += u16::from(byte - b'0') * unit;
    }
    Some(thousandths.min(1000))
}

/// Returns whether the browser wrongly claims to support compression: "Mozilla/4" except
/// Internet Explorer 6 of XP SP2, or 7 and later.
fn is_old_explorer(agent: &[u8]) -> bool {
    let Some(rest) = agent.strip_prefix(b"Mozilla/4") else {
        return false;
    };
    let explorer = memchr::memmem::find(rest, b"MSIE ").and_then(|at| rest.get(at + 5..));
    let version = explorer.and_then(|rest| rest.first().copied());
    let two_digits = explorer.is_some_and(|rest| rest.get(1).is_some_and(u8::is_ascii_digit));
    match version {
        Some(b'7'..=b'9') => false,
        Some(b'1') if two_digits => false,
        Some(b'6') => memchr::memmem::find(rest, b"SV1").is_none(),
        _ => true,
    }
}

#[cfg(test)]
mod tests;
