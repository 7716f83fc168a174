//! The beginning of RDP: requests and confirmations in the clear, redirections, and a client behind TLS
//! until it is known. The last is the same if its bytes come in two pieces.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::rdp::{
    Acceptor, ConnectionRequest, Negotiated, REQUEST_BYTES_MAX, RdpAcceptorStep, Redirection, frame,
};

/// What the client gets, and how it ended.
fn said(pieces: [&[u8]; 2]) -> (Vec<u8>, String) {
    let mut acceptor = Acceptor::new(3);
    let (mut held, mut out) = (Vec::new(), Vec::new());
    for piece in pieces {
        held.extend_from_slice(piece);
        let mut input = held.as_slice();
        let step = acceptor.handle(&mut input, &mut out);
        if step != Ok(RdpAcceptorStep::Read) {
            return (out, format!("{step:?}"));
        }
        held = input.to_vec();
    }
    (out, "reads".to_owned())
}

fuzz_target!(|input: (u16, &[u8])| {
    let (at, bytes) = input;
    let _ = frame(bytes, REQUEST_BYTES_MAX);
    if let Ok(request) = ConnectionRequest::decode(bytes) {
        assert!(request.encode().len() <= REQUEST_BYTES_MAX);
    }
    let _ = Negotiated::decode(bytes);
    let _ = Redirection::decode(bytes);
    let (one, two) = bytes.split_at(bytes.len().min(at.into()));
    assert_eq!(said([bytes, b""]), said([one, two]));
});
