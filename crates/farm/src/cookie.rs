//! Issues and verifies the cookies for the gateway, which `.rdp` files of the portal contain as
//! `gatewayaccesstoken`. A cookie, unlike a routing token, authenticates its user at the gateway
//! until it expires. It has no meaning at a host.

use crate::token::{Key, NameId};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

const PREFIX: &str = "evenkeel1.";
/// Label from which the key of cookies is derived, so that no routing token is a valid cookie.
const LABEL: &[u8] = b"gateway cookie";
const HEAD_BYTES: usize = 4 + 8;
const MAC_BYTES: usize = 32;
const LETTERS_MAX: usize = 1_024;

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CookieError {
    #[error("the cookie has an unknown format")]
    Foreign,
    /// The cookie is not signed with the key of this farm, or the credentials of its user have
    /// changed.
    #[error(
        "the cookie is not signed by this farm, or the password or the second factor of its user has changed"
    )]
    Forged,
    #[error("the cookie is of another farm")]
    OtherFarm,
    /// The cookie has expired. The signature is valid, so the user is known.
    #[error("the cookie has expired")]
    Expired { user: String },
}

impl CookieError {
    /// Returns the user of the cookie if the signature is valid, or else an empty string.
    pub fn user(&self) -> &str {
        match self {
            CookieError::Expired { user } => user,
            CookieError::Foreign | CookieError::Forged | CookieError::OtherFarm => "",
        }
    }
}

pub const PROOF_BYTES: usize = 8;

/// Creates the gateway cookie of a user. `proof` is the digest of the user's current credentials:
/// if the password or second factor changes, the cookie becomes invalid.
pub fn issue(
    key: &Key,
    farm: NameId,
    user: &str,
    proof: [u8; PROOF_BYTES],
    expires_s: u32,
) -> String {
    let mut bytes = expires_s.to_be_bytes().to_vec();
    bytes.extend_from_slice(farm.bytes());
    bytes.extend_from_slice(user.as_bytes());
    let mac = key.derived(LABEL).sign(&[&bytes, &proof[..]].concat());
    bytes.extend_from_slice(&mac);
    PREFIX.to_owned() + &URL_SAFE_NO_PAD.encode(bytes)
}

/// Verifies a cookie. Returns the name of its user and the expiry time. `proof_of` returns the
/// digest of a user's current credentials by name.
///
/// # Errors
/// Returns why the cookie is refused.
pub fn read(
    key: &Key,
    farm: NameId,
    cookie: &str,
    proof_of: impl FnOnce(&str) -> [u8; PROOF_BYTES],
    now_s: u64,
) -> Result<(String, u64), CookieError> {
    let letters = cookie.strip_prefix(PREFIX).ok_or(CookieError::Foreign)?;
    if letters.len() > LETTERS_MAX {
        return Err(CookieError::Foreign);
    }
    let bytes = URL_SAFE_NO_PAD.decode(letters);
    let bytes = bytes.map_err(|_| CookieError::Foreign)?;
    let signed = bytes.len().checked_sub(MAC_BYTES);
    let (signed, mac) = signed
        .and_then(|at| bytes.split_at_checked(at))
        .filter(|(signed, _)| signed.len() > HEAD_BYTES)
        .ok_or(CookieError::Foreign)?;
    let (head, name) = signed.split_at(HEAD_BYTES);
    let name = String::from_utf8(name.to_vec()).map_err(|_| CookieError::Foreign)?;
    let expected = key
        .derived(LABEL)
        .sign(&[signed, &proof_of(&name)].concat());
    if aws_lc_rs::constant_time::verify_slices_are_equal(&expected, mac).is_err() {
        return Err(CookieError::Forged);
    }
    let (expires, of) = head.split_first_chunk().ok_or(CookieError::Foreign)?;
    if of != farm.bytes() {
        return Err(CookieError::OtherFarm);
    }
    let expires_s = u64::from(u32::from_be_bytes(*expires));
    if expires_s <= now_s {
        return Err(CookieError::Expired { user: name });
    }
    Ok((name, expires_s))
}

#[cfg(test)]
mod tests {
    use super::*;
    use access::session::credentials_digest;
    use access::user::{AuthorizedUser, List};
    use configuration::{Account, Password};
    use proptest::prelude::*;

    const PROOF: [u8; PROOF_BYTES] = [5; PROOF_BYTES];

    fn cookie() -> String {
        issue(
            &Key::new(&[7; 32]),
            NameId::of("office"),
            "anna",
            PROOF,
            2_000,
        )
    }

    fn is_of(cookie: &str, key: u8, farm: &str, now_s: u64) -> Result<String, CookieError> {
        let proof_of = |_: &str| PROOF;
        read(
            &Key::new(&[key; 32]),
            NameId::of(farm),
            cookie,
            proof_of,
            now_s,
        )
        .map(|(user, _)| user)
    }

    #[test]
    fn a_cookie_is_of_its_user_until_it_expires() {
        assert_eq!(is_of(&cookie(), 7, "office", 1_999), Ok("anna".to_owned()));
        let expired = is_of(&cookie(), 7, "office", 2_000).unwrap_err();
        assert_eq!(expired.to_string(), "the cookie has expired");
        assert_eq!(expired.user(), "anna");
        // A client may write any name into a cookie without a valid signature.
        let forged = is_of(&cookie(), 8, "office", 2_000).unwrap_err();
        assert_eq!(forged.user(), "");
        assert_eq!(is_of(&cookie(), 8, "office", 0), Err(CookieError::Forged));
        assert_eq!(
            is_of(&cookie(), 7, "school", 0),
            Err(CookieError::OtherFarm)
        );
        for foreign in ["", "evenkeel1.", "evenkeel1.AAAA", "Cookie: msts=a"] {
            assert_eq!(is_of(foreign, 7, "office", 0), Err(CookieError::Foreign));
        }
        let other = read(
            &Key::new(&[7; 32]),
            NameId::of("office"),
            &cookie(),
            |_| [6; PROOF_BYTES],
            0,
        );
        assert_eq!(other, Err(CookieError::Forged), "another password");
        // The xfreerdp scenario uses the same user.
        let anna = AuthorizedUser::new(Account {
            name: "anna".to_owned(),
            groups: Vec::new(),
            password: Password::Clear(b"secret".to_vec()),
        });
        let list = List {
            users: vec![anna],
            ..List::default()
        };
        let proof = credentials_digest(&list, "anna");
        let office = NameId::of("office");
        let endless = issue(&Key::new(&[7; 32]), office, "anna", proof, u32::MAX);
        assert_eq!(
            endless,
            "evenkeel1._____1zD-Cg4unJgYW5uYfjF4YR5wlxq-OJzNTxgEQjZxb_KVbngipOPRXoGT9gY"
        );
        // Cookies and routing tokens have different keys.
        let key = Key::new(&[7; 32]);
        assert_ne!(key.derived(LABEL).sign(b"a"), key.sign(b"a"));
    }

    proptest! {
        #[test]
        fn modified_cookies_are_refused(at in 10_usize..70, letter in "[A-Za-z0-9_-]") {
            let mut changed = cookie().into_bytes();
            let at = at.min(changed.len() - 2);
            prop_assume!(changed[at] != letter.as_bytes()[0]);
            changed[at] = letter.as_bytes()[0];
            let changed = String::from_utf8(changed).unwrap();
            prop_assert!(is_of(&changed, 7, "office", 0).is_err());
        }
    }
}
