//! A client of LDAP: replies of servers, which are the same if their bytes come in two pieces, filters, and names.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::ldap::{LdapFilter, LdapResponse, Replies, escape, first_value};

fn replies(pieces: [&[u8]; 2]) -> (Vec<(u32, LdapResponse)>, bool) {
    let (mut replies, mut all) = (Replies::default(), Vec::new());
    for piece in pieces {
        replies.add(piece);
        loop {
            match replies.take() {
                Ok(Some(reply)) => all.push(reply),
                Ok(None) => break,
                Err(_) => return (all, false),
            }
        }
    }
    (all, true)
}

fuzz_target!(|input: (u16, &[u8])| {
    let (at, bytes) = input;
    let (one, two) = bytes.split_at(bytes.len().min(at.into()));
    assert_eq!(replies([bytes, b""]), replies([one, two]));
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let _ = (first_value(text), LdapFilter::parse(text));
    if text.len() < 1_000 {
        let filter = LdapFilter::parse(&format!("(uid={})", escape(text)))
            .expect("a value is no part of a filter");
        assert!(!filter.equal_to(&[text]).is_empty());
    }
});
