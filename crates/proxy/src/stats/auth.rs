//! `stats auth`: who may see the page.

use crate::config::StatsPage;
use crate::message::{Message, Refusal};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The realm where the file names none.
const REALM: &[u8] = b"HAProxy Statistics";

/// Whether a request may see the page: anyone, where the page has no users.
pub fn allowed(page: &StatsPage, request: &Message) -> bool {
    if page.users.is_empty() {
        return true;
    }
    let Some(given) = credentials(request) else {
        return false;
    };
    let colon = given.iter().position(|b| *b == b':');
    let (user, password) = match colon {
        Some(at) => (&given[..at], &given[at + 1..]),
        None => (&given[..], &b""[..]),
    };
    // Every user is looked at, so that the time says nothing about them.
    page.users.iter().fold(false, |found, (name, secret)| {
        found | (same(name, user) & same(secret, password))
    })
}

/// What `Authorization: Basic` holds.
fn credentials(request: &Message) -> Option<Vec<u8>> {
    let value = request.get(b"authorization")?.trim_ascii();
    let space = value.iter().position(|b| *b == b' ')?;
    let (scheme, encoded) = value.split_at(space);
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return None;
    }
    STANDARD.decode(encoded.trim_ascii()).ok()
}

/// Compares in a time that depends on the length of what was sent only.
fn same(secret: &[u8], given: &[u8]) -> bool {
    let mut difference = usize::from(secret.len() != given.len());
    for (at, byte) in given.iter().enumerate() {
        let expected = secret.get(at % secret.len().max(1)).copied().unwrap_or(0);
        difference |= usize::from(expected ^ byte);
    }
    std::hint::black_box(difference) == 0
}

/// Asks for a name and a password.
pub fn challenge(page: &StatsPage, head: &mut Message) -> Result<(), Refusal> {
    let mut value = b"Basic realm=\"".to_vec();
    for byte in page.realm.as_deref().unwrap_or(REALM) {
        if b"\"\\".contains(byte) {
            value.push(b'\\');
        }
        value.push(*byte);
    }
    value.push(b'"');
    head.set(b"www-authenticate", &value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Version;

    fn request(authorization: &[u8]) -> Message {
        let mut message = Message::new();
        message
            .begin_request(b"GET", b"/", Version::Http11)
            .unwrap();
        if !authorization.is_empty() {
            message.add(b"authorization", authorization).unwrap();
        }
        message
    }

    #[test]
    fn any_user_of_the_page_with_the_right_password_passes() {
        let users = vec![
            (b"a"[..].into(), b"b:c"[..].into()),
            (b"x"[..].into(), b""[..].into()),
        ];
        let page = StatsPage {
            users,
            ..StatsPage::default()
        };
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text)).into_bytes();
        for (authorization, passes) in [
            (basic("a:b:c"), true),
            (basic("x:"), true),
            (basic("x"), true),
            (basic("a:b"), false),
            (basic("a:b:cc"), false),
            (basic("a:"), false),
            (basic(":"), false),
            (basic("x:b:c"), false),
            (b"basic YTpiOmM=".to_vec(), true),
            (b"Bearer YTpiOmM=".to_vec(), false),
            (b"Basic".to_vec(), false),
            (b"Basic !!!".to_vec(), false),
            (Vec::new(), false),
        ] {
            assert_eq!(
                allowed(&page, &request(&authorization)),
                passes,
                "{authorization:?}"
            );
        }
        assert!(allowed(&StatsPage::default(), &request(b"")));
    }

    #[test]
    fn the_realm_is_quoted() {
        let mut head = request(b"");
        challenge(&StatsPage::default(), &mut head).unwrap();
        let value = head.get(b"www-authenticate").map(<[u8]>::to_vec);
        assert_eq!(
            value.as_deref(),
            Some(&b"Basic realm=\"HAProxy Statistics\""[..])
        );
        let page = StatsPage {
            realm: Some(b"a\"b"[..].into()),
            ..StatsPage::default()
        };
        challenge(&page, &mut head).unwrap();
        assert_eq!(
            head.get(b"www-authenticate"),
            Some(&b"Basic realm=\"a\\\"b\""[..])
        );
    }
}
