//! A session of the peers protocol, with the greeting done by the input.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::peers::{KeyType, PeersRole, PeersStatus, Session, TableDescription};

fuzz_target!(|input: (bool, Vec<&[u8]>)| {
    let (accepts, pieces) = input;
    let table = TableDescription {
        name: b"t".to_vec(),
        key: KeyType::String,
        key_length: 33,
        expire_ms: 0,
        stored: Vec::new(),
    };
    let role = if accepts {
        PeersRole::Accepting
    } else {
        PeersRole::Connecting
    };
    let mut session = Session::new(role, vec![table], 0);
    for (now, piece) in pieces.into_iter().enumerate() {
        if session.handle(piece, now as u64).is_err() {
            return;
        }
        if accepts && now == 0 {
            session.send_status(PeersStatus::Succeeded);
        }
    }
});
