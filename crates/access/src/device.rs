//! Recognises known browsers, in which a user has signed in before, so that failed attempts of
//! strangers elsewhere do not block them. The browser keeps a cookie that does not contain the name
//! of the user, and that is valid only for the user who signed in.

use crate::random::random;
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;

/// Validity of the cookie of a known browser, seconds.
pub const LASTS_S: u64 = 180 * 86_400;
const VALUE_MAX: usize = 128;

pub type Id = [u8; 16];

fn signed(id: Id, until_s: u64, user: &str) -> Vec<u8> {
    [b"device", &id[..], &until_s.to_be_bytes(), user.as_bytes()].concat()
}

/// Creates the value of the cookie for the browser of a user.
///
/// # Errors
/// The system has no random numbers.
pub fn make(key: &hmac::Key, user: &str, now_s: u64) -> Result<String, String> {
    let id: Id = random()?;
    let until_s = now_s.saturating_add(LASTS_S);
    let tag = hmac::sign(key, &signed(id, until_s, user));
    let says = [&id[..], &until_s.to_be_bytes()].concat();
    let (says, tag) = (BASE64.encode(says), BASE64.encode(tag.as_ref()));
    Ok(format!("{says}.{tag}"))
}

/// Returns the identifier of a known browser of this user. None if the cookie is not one of the
/// user's, or has expired.
pub fn read(key: &hmac::Key, value: &str, user: &str, now_s: u64) -> Option<Id> {
    let (says, tag) = value.split_once('.').filter(|_| value.len() <= VALUE_MAX)?;
    let (says, tag) = (BASE64.decode(says).ok()?, BASE64.decode(tag).ok()?);
    let (id, until_s) = says.split_first_chunk()?;
    let until_s = u64::from_be_bytes(until_s.try_into().ok()?);
    hmac::verify(key, &signed(*id, until_s, user), &tag).ok()?;
    (until_s > now_s).then_some(*id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_known_for_its_user_and_for_a_while() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"a");
        let value = make(&key, "anna", 100).unwrap();
        let id = read(&key, &value, "anna", 101);
        assert!(id.is_some());
        assert_ne!(
            id,
            read(&key, &make(&key, "anna", 100).unwrap(), "anna", 101)
        );
        assert_eq!(read(&key, &value, "bert", 101), None);
        assert_eq!(read(&key, &value, "", 101), None);
        assert_eq!(read(&key, &value, "anna", 100 + LASTS_S), None);
        let other = hmac::Key::new(hmac::HMAC_SHA256, b"b");
        assert_eq!(read(&other, &value, "anna", 101), None);
        // Tests the extremes of the clock: zero, and the greatest time.
        assert_eq!(read(&key, &value, "anna", 0), id);
        let last = make(&key, "anna", u64::MAX).unwrap();
        assert_eq!(read(&key, &last, "anna", u64::MAX), None);
    }

    #[test]
    fn a_cookie_value_hides_its_user_and_detects_changes() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"a");
        let (one, long) = ("anna", "a-name-that-is-much-longer-than-the-other");
        let lengths = [one, long].map(|user| make(&key, user, 100).unwrap().len());
        assert_eq!(lengths[0], lengths[1]);
        let value = make(&key, one, 100).unwrap();
        let (says, tag) = value.split_once('.').unwrap();
        let later = BASE64.encode([&[1; 16][..], &u64::MAX.to_be_bytes()].concat());
        for value in [
            "",
            ".",
            says,
            &format!("{says}."),
            &format!("{later}.{tag}"),
            &format!("{says}A.{tag}"),
            &format!(".{tag}"),
            &"a".repeat(1 << 20),
        ] {
            assert_eq!(read(&key, value, one, 101), None, "{value:.80}");
        }
    }
}
