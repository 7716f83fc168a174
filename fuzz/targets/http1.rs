//! The head of a request or of a response, and a body in chunks. What a head takes is within the
//! input, and a body is the same in one piece or in two.
#![no_main]

use http::http1::{
    Chunk, ChunkedDecoder, HttpParseError, Limits, ParseStatus, RequestFacts, parse_request,
    parse_response,
};
use http::message::HttpMessage;
use libfuzzer_sys::fuzz_target;

/// All of a body in chunks, and whether it has ended.
fn body(pieces: [&[u8]; 2]) -> Result<(Vec<u8>, bool), HttpParseError> {
    let mut decoder = ChunkedDecoder::new();
    let mut body = Vec::new();
    for mut piece in pieces {
        loop {
            match decoder.next(&mut piece)? {
                Chunk::Data(data) => body.extend_from_slice(data),
                Chunk::NeedMore => break,
                Chunk::End => return Ok((body, true)),
            }
        }
    }
    Ok((body, false))
}

fuzz_target!(|input: (bool, bool, u8, &[u8])| {
    let (lax, is_response, at, bytes) = input;
    let mut message = HttpMessage::new();
    let limits = Limits {
        accept_invalid: lax,
        ..Limits::default()
    };
    let parsed = match is_response {
        false => parse_request(bytes, &limits, &mut message),
        true => parse_response(bytes, &RequestFacts::default(), &limits, &mut message),
    };
    let rest = match parsed {
        Ok(ParseStatus::Done(parsed)) => &bytes[parsed.consumed..],
        _ => bytes,
    };
    let (one, two) = rest.split_at(rest.len().min(at.into()));
    let whole = body([rest, b""]);
    let split = body([one, two]);
    assert_eq!(whole.is_ok(), split.is_ok());
    if let (Ok(whole), Ok(split)) = (whole, split) {
        assert_eq!(whole, split);
    }
});
