//! Frames of the farm role of another node: whatever it says, this node takes it or refuses it, and what it
//! sends on is what another node takes.
#![no_main]

use farm::agreement::{Agreement, AgreementMessage, InvalidMessage, Logon};
use farm::config::{Balance, Check, Farm, SessionHost, Sessions, Tokens};
use farm::directory::DirectoryId;
use farm::link::{LinkFrame, decode};
use farm::user::FarmUser;
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeSet;
use std::net::SocketAddr;

const OTHER: &str = "beta";

fn farm() -> Farm {
    let host = |last: u8| {
        let host = SessionHost {
            address: SocketAddr::from(([10, 0, 0, last], 3389)),
            weight: 1,
            drained: false,
        };
        (format!("ts{last}"), host)
    };
    Farm {
        name: "desktop.example.org".to_owned(),
        binds: Vec::new(),
        hosts: (1..=2).map(host).collect(),
        balance: Balance::Load,
        check: Check::default(),
        sessions: Sessions::default(),
        tokens: Tokens::default(),
        maxconn: 10,
        users: Default::default(),
        web: Vec::new(),
        portal: None,
        gateway: None,
        agents: Default::default(),
        proxies: Default::default(),
    }
}

fn node() -> Agreement {
    let mut agreement = Agreement::shared(DirectoryId(1), 0);
    agreement.directory.configure(&farm());
    agreement.set_peers(&BTreeSet::from([OTHER.to_owned()]), 0);
    agreement.linked(OTHER, DirectoryId(2), 0);
    // Without what the other one knows every logon would wait.
    let _ = agreement.handle(OTHER, AgreementMessage::Whole, 0);
    agreement
}

fuzz_target!(|frames: Vec<(u16, &[u8])>| {
    let mut agreement = node();
    let mut now_ms = 0;
    for (pause_ms, bytes) in frames {
        now_ms += u64::from(pause_ms);
        if let Some(user) = FarmUser::named(&format!("user{}", pause_ms % 4)) {
            let logon = Logon {
                id: user.id.into(),
                name: user.name,
                hint: None,
            };
            agreement.request(logon, now_ms);
        }
        if let Ok(frame) = decode(bytes) {
            let again = part::codec::encode(&frame);
            assert_eq!(decode(&again).ok(), Some(frame.clone()));
            if let LinkFrame::Farm { message, .. } = frame
                && agreement.handle(OTHER, message, now_ms).is_err()
            {
                return;
            }
        }
        agreement.tick(now_ms);
        agreement.take_resolved();
        agreement.take_broken();
        while let Some(message) = agreement.next_message(OTHER, [0; 8], now_ms) {
            // A clock that another node has set near the end of all clocks goes beyond it.
            let checked = message.check();
            assert!(
                matches!(checked, Ok(()) | Err(InvalidMessage::Time)),
                "{message:?}"
            );
        }
    }
});
