//! A gateway for remote desktops: packets of its clients, which are the same if their bytes come in two
//! pieces, and the messages of NTLM.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::ntlm::{Authenticate, Exchange, NtlmTarget};
use protocol::tsgu::{Limits, Packets, TsguRequest, Tunnel};

/// What the packets ask for, with an answer to each.
fn asked(pieces: [&[u8]; 2]) -> (Vec<TsguRequest>, bool) {
    let (mut packets, mut tunnel) = (Packets::default(), Tunnel::new(true));
    let mut all = Vec::new();
    for piece in pieces {
        packets.push(piece);
        loop {
            let packet = match packets.take() {
                Ok(Some(packet)) => packet,
                Ok(None) => break,
                Err(_) => return (all, false),
            };
            let Ok(asked) = tunnel.handle(packet) else {
                return (all, false);
            };
            match asked {
                TsguRequest::Admit { .. } => drop(tunnel.admit(Ok(1))),
                TsguRequest::Authorise { .. } => drop(tunnel.authorise(Ok(Limits::default()))),
                TsguRequest::Connect { .. } => drop(tunnel.connect(Ok(1))),
                _ => {}
            }
            all.push(asked);
        }
    }
    (all, true)
}

fuzz_target!(|input: (u16, &[u8])| {
    let (at, bytes) = input;
    let (one, two) = bytes.split_at(bytes.len().min(at.into()));
    assert_eq!(asked([bytes, b""]), asked([one, two]));
    let target = NtlmTarget {
        name: "office",
        host: "desktop.example.org",
    };
    if let Ok(exchange) = Exchange::new(one, [7; 8], target, 7)
        && let Ok(message) = Authenticate::decode(two)
    {
        assert!(message.verify(&exchange, &[7; 16], &[]).is_err());
    }
});
