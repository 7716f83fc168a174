//! What somebody proves who they are with: a password, a code of the second factor, or a token; each
//! within what they may try.

use super::Common;
use crate::access::limiter::Key;
use crate::access::{device, session, token};
use crate::config::{Config, SecondFactor, Token, User};
use crate::pam;
use crate::shared::{now_ms, now_s};
use axum::http::HeaderMap;
use axum::http::header::COOKIE;
use configuration::{Account, Password};
use part::lock;
use part::voice::write_error;
use std::net::IpAddr;

/// The longest name and the longest password that are looked at.
const NAME_MAX: usize = 128;
const PASSWORD_MAX: usize = 512;

/// Why somebody does not come in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refused {
    /// It is not theirs, or there is no such user.
    Wrong,
    /// They tried too often: seconds until the next try.
    TooOften(u64),
    /// Nobody can say: the system that checks the password does not answer. The log says more.
    Unavailable,
}

impl Refused {
    fn after(wait_ms: u64) -> Refused {
        Refused::TooOften(wait_ms.div_ceil(1_000))
    }
}

/// Where somebody tries.
pub(super) struct Client<'h> {
    from: IpAddr,
    /// The cookies of browsers in which somebody has signed in.
    devices: Vec<&'h str>,
}

impl<'h> Client<'h> {
    /// Of a request.
    pub(super) fn of(from: IpAddr, headers: &'h HeaderMap) -> Client<'h> {
        let cookies = headers.get_all(COOKIE).iter();
        let cookies = cookies.filter_map(|value| value.to_str().ok());
        let devices = cookies.filter_map(|value| session::value_in(value, device::COOKIE));
        Client {
            from,
            devices: devices.collect(),
        }
    }

    /// A program: it keeps no cookies.
    pub(super) fn program(from: IpAddr) -> Client<'static> {
        Client {
            from,
            devices: Vec::new(),
        }
    }

    /// Whether this user has signed in here before.
    fn known(&self, shared: &Common, name: &str) -> Option<device::Id> {
        let sessions = lock(&shared.sessions);
        let mut devices = self.devices.iter();
        devices.find_map(|cookie| sessions.device_of(cookie, name, now_s()))
    }

    /// What counts their tries for a password. Who has signed in here before is not held up by what
    /// others do.
    fn keys(&self, known: Option<device::Id>, name: &str) -> Vec<Key> {
        match known {
            Some(id) => vec![Key::Device(id)],
            None => vec![Key::of(self.from), Key::For(name.to_owned())],
        }
    }
}

/// Verifies a password. One that is right does not give the tries back yet if a code is to come.
pub(super) async fn password(
    shared: &Common,
    client: &Client<'_>,
    name: &str,
    password: &str,
) -> Result<User, Refused> {
    if name.len() > NAME_MAX || password.len() > PASSWORD_MAX {
        return Err(Refused::Wrong);
    }
    let known = client.known(shared, name);
    let keys = client.keys(known, name);
    let config = shared.config();
    let user = config.user(name).cloned();
    // Whether there is such a user is not to be seen from the time that it takes.
    let account = match (&user, config.users.first()) {
        (Some(user), _) => user.account.clone(),
        (None, Some(decoy)) => decoy.account.clone(),
        (None, None) => nobody(),
    };
    let asks_system = config.asks_system();
    let turns = match asks_system {
        true => &shared.verifying.of_system,
        false => &shared.verifying.own,
    };
    let turns = match known {
        Some(_) => &turns.known,
        None => &turns.strangers,
    };
    let Ok(_turn) = turns.acquire().await else {
        return Err(Refused::Wrong);
    };
    {
        let mut limiter = lock(&shared.limiter);
        if let Some(ms) = limiter.wait(&keys, now_ms()) {
            return Err(Refused::after(ms));
        }
        if asks_system {
            limiter.count(&keys, now_ms());
        }
    }
    let is_right = verified(shared, (&config, user.as_ref()), account, password).await?;
    match user.filter(|_| is_right) {
        Some(user) => {
            if user.second_factor == SecondFactor::None {
                lock(&shared.limiter).forgive(&keys);
            }
            Ok(user)
        }
        None => {
            if !asks_system {
                lock(&shared.limiter).count(&keys, now_ms());
            }
            Err(Refused::Wrong)
        }
    }
}

/// Whether a password is that of an account. Where the system checks some passwords, it is asked at each try
/// that is not right already, by a name that no user has if need be: else the time that it takes would tell
/// whose these are.
async fn verified(
    shared: &Common,
    (config, user): (&Config, Option<&User>),
    account: Account,
    password: &str,
) -> Result<bool, Refused> {
    let is_of_system = account.password == Password::System;
    if !is_of_system {
        let (verify, password) = (shared.verify, password.to_owned());
        let verified = tokio::task::spawn_blocking(move || verify(&account, password.as_bytes()));
        let is_right = verified.await.unwrap_or_default() && user.is_some();
        if is_right || !config.asks_system() {
            return Ok(is_right);
        }
    }
    let name = user.filter(|_| is_of_system);
    let name = name.map_or(pam::NOBODY, |user| &user.account.name);
    match config.system.verify(name, password).await {
        Ok(is_right) => Ok(is_right && is_of_system),
        // It was only to take its time.
        Err(_) if user.is_some() && !is_of_system => Ok(false),
        Err(words) => {
            write_error(&format!("evenkeel: console: {words}\n"));
            Err(Refused::Unavailable)
        }
    }
}

fn nobody() -> Account {
    Account {
        name: String::new(),
        groups: Vec::new(),
        password: Password::None,
    }
}

/// Verifies the code of a user who has given the password.
pub(super) fn code(
    shared: &Common,
    client: &Client<'_>,
    user: &User,
    typed: &str,
) -> Result<(), Refused> {
    let name = &user.account.name;
    let SecondFactor::Codes(secret) = &user.second_factor else {
        return Err(Refused::Wrong);
    };
    let known = client.known(shared, name);
    let key = match known {
        Some(id) => Key::CodeOf(id),
        None => Key::Code(name.clone()),
    };
    // Held until the try has counted.
    let mut limiter = lock(&shared.limiter);
    if let Some(ms) = limiter.wait(std::slice::from_ref(&key), now_ms()) {
        return Err(Refused::after(ms));
    }
    if !lock(&shared.sessions).use_code(name, secret, typed, now_s()) {
        limiter.count(&[key], now_ms());
        return Err(Refused::Wrong);
    }
    let mut keys = client.keys(known, name);
    keys.push(key);
    limiter.forgive(&keys);
    drop(limiter);
    // The next process is to know that this code was used.
    shared.wake();
    Ok(())
}

/// Why a token does not let a program in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum BadToken {
    /// As for passwords.
    Refused(Refused),
    /// This one has expired.
    Expired(String),
    /// Its user is in no list any more.
    NoUser(String),
}

/// Verifies a token.
pub(super) fn bearer(shared: &Common, from: IpAddr, text: &str) -> Result<(User, Token), BadToken> {
    let config = shared.config();
    let Some(token) = token::find(&config, text) else {
        let keys = [Key::of_token(from)];
        let mut limiter = lock(&shared.limiter);
        return Err(BadToken::Refused(match limiter.wait(&keys, now_ms()) {
            Some(ms) => Refused::after(ms),
            None => {
                limiter.count(&keys, now_ms());
                Refused::Wrong
            }
        }));
    };
    if token.until_s.is_some_and(|until_s| until_s <= now_s()) {
        return Err(BadToken::Expired(token.name.clone()));
    }
    match config.user(&token.user) {
        Some(user) => Ok((user.clone(), token.clone())),
        None => Err(BadToken::NoUser(token.name.clone())),
    }
}
