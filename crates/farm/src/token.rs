//! Creates and verifies routing tokens: a client repeats its token in the clear before TLS, and is
//! routed to the host of its session. A token is signed, so that no client can choose a host, and
//! authorises nothing.

use crate::collection::{self, CollectionId};
use crate::user::{ID_BYTES, UserId};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Prefix of a token: the cookie in which clients send routing tokens.
const PREFIX: &[u8] = b"Cookie: msts=";
/// End of a token in a redirection. With it the length in bytes is even, as mstsc requires.
const END: &[u8] = b"\r\n";
const VERSION: u8 = 2;
const NAME_BYTES: usize = 8;
/// Length of the signed data, in bytes: version, expiry, farm, user, collection, host.
const SIGNED_BYTES: usize = 1 + 4 + NAME_BYTES + ID_BYTES + collection::ID_BYTES + NAME_BYTES;
/// Length of the truncated HMAC-SHA256, in bytes (RFC 2104, section 5). With it the number of
/// characters is even.
const MAC_BYTES: usize = 17;
const TOKEN_BYTES: usize = SIGNED_BYTES + MAC_BYTES;
const LETTERS: usize = TOKEN_BYTES.div_ceil(3) * 4 - (3 - TOKEN_BYTES % 3) % 3;

/// Digest of a farm's or a host's name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct NameId([u8; NAME_BYTES]);

impl NameId {
    pub fn of(name: &str) -> NameId {
        let mut id = [0; NAME_BYTES];
        let hash = digest(&SHA256, name.as_bytes());
        id.iter_mut()
            .zip(hash.as_ref())
            .for_each(|(to, from)| *to = *from);
        NameId(id)
    }

    pub fn bytes(&self) -> &[u8; NAME_BYTES] {
        &self.0
    }
}

const NO_HOST: [u8; NAME_BYTES] = [0; NAME_BYTES];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claims {
    pub farm: NameId,
    pub user: UserId,
    pub collection: CollectionId,
    /// Host of the user when the token was created; None: the directory decides as for a logon.
    pub host: Option<NameId>,
    pub expires_s: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RoutingTokenError {
    #[error("the routing token has an unknown format")]
    Foreign,
    #[error("the routing token is not signed by this farm")]
    Forged,
    #[error("the routing token is of another farm")]
    OtherFarm,
    #[error("the routing token has expired")]
    Expired(CollectionId),
}

pub struct Key(hmac::Key);

impl Key {
    /// Creates a key from these bytes; at least 32 are needed for the full strength.
    pub fn new(bytes: &[u8]) -> Key {
        Key(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// Derives a key for another purpose. It does not reveal this key.
    pub fn derived(&self, purpose: &[u8]) -> Key {
        Key::new(&self.sign(purpose))
    }

    /// Signs bytes; returns the complete HMAC.
    pub fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        hmac::sign(&self.0, bytes).as_ref().to_vec()
    }

    /// Returns a check value with which two nodes find out whether they have the same key. It does
    /// not reveal the key.
    pub fn check(&self) -> [u8; 8] {
        let mac = hmac::sign(&self.0, b"evenkeel farm: one key on all nodes");
        let mut check = [0; 8];
        let bytes = check.iter_mut().zip(mac.as_ref());
        bytes.for_each(|(to, from)| *to = *from);
        check
    }

    pub fn issue(&self, claims: &Claims) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(TOKEN_BYTES);
        bytes.push(VERSION);
        bytes.extend_from_slice(&claims.expires_s.to_be_bytes());
        bytes.extend_from_slice(&claims.farm.0);
        bytes.extend_from_slice(&claims.user.0);
        bytes.extend_from_slice(&claims.collection.0);
        bytes.extend_from_slice(&claims.host.map_or(NO_HOST, |host| host.0));
        let mac = hmac::sign(&self.0, &bytes);
        bytes.extend(mac.as_ref().iter().take(MAC_BYTES));
        [PREFIX, URL_SAFE_NO_PAD.encode(bytes).as_bytes(), END].concat()
    }

    /// Verifies a token without its terminator, and returns its claims.
    ///
    /// # Errors
    /// Returns why the token is refused.
    pub fn read(
        &self,
        token: &[u8],
        farm: NameId,
        now_s: u64,
    ) -> Result<Claims, RoutingTokenError> {
        let text = token
            .strip_prefix(PREFIX)
            .ok_or(RoutingTokenError::Foreign)?;
        if text.len() != LETTERS {
            return Err(RoutingTokenError::Foreign);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text);
        let bytes = bytes.map_err(|_| RoutingTokenError::Foreign)?;
        let (signed, mac) = bytes
            .split_at_checked(SIGNED_BYTES)
            .ok_or(RoutingTokenError::Foreign)?;
        if signed.first() != Some(&VERSION) {
            return Err(RoutingTokenError::Foreign);
        }
        let expected = hmac::sign(&self.0, signed);
        let expected = expected.as_ref().get(..MAC_BYTES).unwrap_or_default();
        if aws_lc_rs::constant_time::verify_slices_are_equal(expected, mac).is_err() {
            return Err(RoutingTokenError::Forged);
        }
        let claims = claims(signed).ok_or(RoutingTokenError::Foreign)?;
        if claims.farm != farm {
            return Err(RoutingTokenError::OtherFarm);
        }
        if u64::from(claims.expires_s) > now_s {
            Ok(claims)
        } else {
            Err(RoutingTokenError::Expired(claims.collection))
        }
    }
}

fn claims(signed: &[u8]) -> Option<Claims> {
    let (expires, rest) = signed.get(1..)?.split_first_chunk()?;
    let (farm, rest) = rest.split_first_chunk()?;
    let (user, rest) = rest.split_first_chunk()?;
    let (collection, rest) = rest.split_first_chunk()?;
    let (host, _) = rest.split_first_chunk()?;
    Some(Claims {
        farm: NameId(*farm),
        user: UserId(*user),
        collection: CollectionId(*collection),
        host: (*host != NO_HOST).then_some(NameId(*host)),
        expires_s: u32::from_be_bytes(*expires),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::user::FarmUser;
    use proptest::prelude::*;

    fn anna() -> Claims {
        Claims {
            farm: NameId::of("office"),
            user: FarmUser::named("anna").unwrap().id,
            collection: CollectionId([3; collection::ID_BYTES]),
            host: Some(NameId::of("ts1")),
            expires_s: 2_000_000_000,
        }
    }

    fn text(token: &[u8]) -> &[u8] {
        token.strip_suffix(END).expect("it has its end")
    }

    #[test]
    fn a_token_is_valid_until_it_expires() {
        let key = Key::new(&[7; 32]);
        let token = key.issue(&anna());
        assert_eq!(token.len(), PREFIX.len() + LETTERS + END.len());
        assert!(token.len() <= protocol::rdp::LOAD_BALANCE_BYTES_MAX);
        assert_eq!(
            token.len() % 2,
            0,
            "mstsc cuts the last of an odd number of bytes"
        );
        let read = |now_s| key.read(text(&token), NameId::of("office"), now_s);
        assert_eq!(read(1_999_999_999), Ok(anna()));
        let expired = Err(RoutingTokenError::Expired(anna().collection));
        assert_eq!(read(2_000_000_000), expired);
        assert_eq!(read(u64::MAX), expired);
    }

    #[test]
    fn tokens_with_and_without_a_host_have_equal_length() {
        let key = Key::new(&[7; 32]);
        let any = Claims {
            host: None,
            ..anna()
        };
        let token = key.issue(&any);
        assert_eq!(token.len(), key.issue(&anna()).len());
        assert_eq!(key.read(text(&token), NameId::of("office"), 0), Ok(any));
    }

    #[test]
    fn tokens_of_others_are_refused_with_the_reason() {
        let key = Key::new(&[7; 32]);
        let token = key.issue(&anna());
        let read = |key: &Key, token: &[u8], farm| key.read(token, NameId::of(farm), 0);
        assert_eq!(
            read(&Key::new(&[8; 32]), text(&token), "office"),
            Err(RoutingTokenError::Forged)
        );
        assert_eq!(
            read(&key, text(&token), "school"),
            Err(RoutingTokenError::OtherFarm)
        );
        for foreign in [
            b"Cookie: msts=3640205228.15629.0000".as_slice(),
            b"tsv://MS Terminal Services Plugin.1.Office",
            b"",
            &token,
            &text(&token)[..80],
        ] {
            assert_eq!(
                read(&key, foreign, "office"),
                Err(RoutingTokenError::Foreign)
            );
        }
    }

    proptest! {
        #[test]
        fn modified_tokens_do_not_route(at in 0_usize..83, letter in "[A-Za-z0-9_-]") {
            let key = Key::new(&[7; 32]);
            let token = key.issue(&anna());
            let mut changed = text(&token).to_vec();
            let at = PREFIX.len() + at;
            prop_assume!(changed[at] != letter.as_bytes()[0]);
            changed[at] = letter.as_bytes()[0];
            let read = key.read(&changed, NameId::of("office"), 0);
            prop_assert!(read.is_err(), "{read:?}");
        }

        #[test]
        fn random_bytes_are_no_token(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let key = Key::new(&[7; 32]);
            prop_assert!(key.read(&bytes, NameId::of("office"), 0).is_err());
            let with_prefix = [PREFIX, &bytes].concat();
            prop_assert!(key.read(&with_prefix, NameId::of("office"), 0).is_err());
        }
    }
}
