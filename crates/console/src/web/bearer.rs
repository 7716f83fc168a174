//! Verifies the API tokens of programs, with a limit of attempts.

use super::Common;
use crate::access::token;
use crate::config::{ConsoleUser, Token};
use crate::shared::{now_ms, now_s};
use ::access::limiter::Key;
use ::access::proof::SignInError;
use part::lock;
use std::net::IpAddr;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum BearerError {
    /// The token is wrong, or refused by the limit of attempts, like a wrong password.
    Refused(SignInError),
    /// The token has expired. Contains its name.
    Expired(String),
    /// No list contains the user of the token any more. Contains the user's name.
    NoUser(String),
}

pub(super) fn verify(
    shared: &Common,
    from: IpAddr,
    text: &str,
) -> Result<(ConsoleUser, Token), BearerError> {
    let config = shared.config();
    let Some(token) = token::find(&config, text) else {
        let keys = [Key::of_token(from)];
        let mut limiter = lock(&shared.authentication.limiter);
        return Err(BearerError::Refused(match limiter.wait(&keys, now_ms()) {
            Some(ms) => SignInError::after(ms),
            None => {
                limiter.count(&keys, now_ms());
                SignInError::Wrong
            }
        }));
    };
    if token.has_expired(now_s()) {
        return Err(BearerError::Expired(token.name.clone()));
    }
    match config.user(&token.user) {
        Some(user) => Ok((user.clone(), token.clone())),
        None => Err(BearerError::NoUser(token.name.clone())),
    }
}
