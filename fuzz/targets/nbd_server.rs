//! The server's side of NBD: a handshake, and the heads of requests behind it. What is agreed on is the
//! same if the client's bytes come in two pieces.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::nbd::{
    Export, Handshake, NbdHandshakeStep, NbdRequestHeader, NbdTransport, REQUEST_BYTES,
};

/// The server's bytes, and how it ended.
fn served(pieces: [&[u8]; 2]) -> (Vec<u8>, String) {
    let exports = [Export {
        name: "mail".to_owned(),
        description: "the volume mail".to_owned(),
        size: 1 << 30,
        read_only: false,
        multi_conn: false,
        block_min: 512,
        block_preferred: 4096,
    }];
    let mut handshake = Handshake::new(NbdTransport::Plain);
    let mut out = Vec::new();
    let mut held = Vec::new();
    for piece in pieces {
        held.extend_from_slice(piece);
        let mut input = held.as_slice();
        let step = handshake.handle(&mut input, &exports, &mut out);
        let left = input.to_vec();
        match step {
            Ok(NbdHandshakeStep::Read) => held = left,
            Ok(NbdHandshakeStep::Transmit(session)) => {
                for head in left.chunks_exact(REQUEST_BYTES) {
                    if let Ok(request) =
                        NbdRequestHeader::decode(head.try_into().expect("its size"))
                    {
                        let _ = session.command(&request);
                    }
                }
                return (out, "transmits".to_owned());
            }
            ended => return (out, format!("{ended:?}")),
        }
    }
    (out, "reads".to_owned())
}

fuzz_target!(|input: (u16, u32, Vec<(u8, &[u8])>, &[u8])| {
    let (at, flags, options, rest) = input;
    let mut bytes = (flags & 7).to_be_bytes().to_vec();
    for (option, data) in options {
        bytes.extend_from_slice(b"IHAVEOPT");
        bytes.extend_from_slice(&u32::from(option).to_be_bytes());
        bytes.extend_from_slice(&(data.len() as u32).to_be_bytes());
        bytes.extend_from_slice(data);
    }
    bytes.extend_from_slice(rest);
    let (one, two) = bytes.split_at(bytes.len().min(at.into()));
    assert_eq!(served([&bytes, b""]), served([one, two]));
});
