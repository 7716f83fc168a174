//! Verification of the tokens of programs, with a limit of attempts.

use super::Common;
use crate::access::token;
use crate::config::{Token, User};
use crate::shared::{now_ms, now_s};
use ::access::limiter::Key;
use ::access::proof::Refused;
use part::lock;
use std::net::IpAddr;

/// Reason why a token is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum BadToken {
    /// Refused as a wrong password is: by the result or the limit of attempts.
    Refused(Refused),
    /// The token has expired. Its name.
    Expired(String),
    /// The user of the token is no longer in a list. The name.
    NoUser(String),
}

pub(super) fn verify(shared: &Common, from: IpAddr, text: &str) -> Result<(User, Token), BadToken> {
    let config = shared.config();
    let Some(token) = token::find(&config, text) else {
        let keys = [Key::of_token(from)];
        let mut limiter = lock(&shared.desk.limiter);
        return Err(BadToken::Refused(match limiter.wait(&keys, now_ms()) {
            Some(ms) => Refused::after(ms),
            None => {
                limiter.count(&keys, now_ms());
                Refused::Wrong
            }
        }));
    };
    if token.has_expired(now_s()) {
        return Err(BadToken::Expired(token.name.clone()));
    }
    match config.user(&token.user) {
        Some(user) => Ok((user.clone(), token.clone())),
        None => Err(BadToken::NoUser(token.name.clone())),
    }
}
