//! Authenticates clients of the gateway: by Basic, by NTLMv2, or by a cookie that the client sends
//! later within the tunnel.

use super::Gateway;
use super::visitor::{AuthenticationState, Visitor};
use crate::user::{account_of, asked_name};
use access::ldap::TypedName;
use access::limiter::Key;
use access::proof::{SignInError, SignInOrigin, now_ms};
use access::user::{AuthorizedUser, List, SecondFactor};
use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use configuration::{Account, Password};
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HeaderValue};
use part::lock;
use part::report::Moment;
use protocol::ntlm::{Authenticate, Exchange, MESSAGE_BYTES_MAX, NtlmTarget, nt_hash};
use zeroize::Zeroizing;

const SCHEME: &str = "rdg-auth-scheme";
const LETTERS_MAX: usize = MESSAGE_BYTES_MAX / 3 * 4 + 16;
/// Units of 100 ns from 1601 to 1970.
const EPOCH: u64 = 116_444_736_000_000_000;
const SECOND_FACTOR: &str = "the user has a second factor, which the gateway cannot ask for: the portal's .rdp files let the user in";

/// Result of the authentication of a client by its headers.
pub(super) enum ClientIdentity {
    User(String),
    /// Not known yet: the cookie that the client sends in the tunnel names the user.
    Cookie,
    /// Not known: the client has to authenticate in response to these challenges.
    Challenge(Vec<HeaderValue>),
    /// Refused; the client may retry after this number of seconds.
    Later(u64),
}

pub(super) async fn identify(
    gateway: &Gateway,
    visitor: &Visitor,
    headers: &HeaderMap,
) -> ClientIdentity {
    let Some(value) = headers.get(AUTHORIZATION) else {
        let has_cookie = headers.get(SCHEME).is_some_and(|value| value == "PAA");
        return match (visitor.user(), has_cookie) {
            (Some(name), _) => ClientIdentity::User(name),
            (None, true) => ClientIdentity::Cookie,
            (None, false) => anew(gateway),
        };
    };
    let text = Some(value).filter(|value| value.len() <= LETTERS_MAX);
    let words = text.and_then(|value| value.to_str().ok()?.trim().split_once(' '));
    let Some((scheme, letters)) = words else {
        return anew(gateway);
    };
    let Ok(bytes) = STANDARD.decode(letters.trim()).map(Zeroizing::new) else {
        return anew(gateway);
    };
    match scheme.to_ascii_lowercase().as_str() {
        "basic" => basic(gateway, visitor, &bytes).await,
        "ntlm" => ntlm(gateway, visitor, &bytes),
        _ => anew(gateway),
    }
}

fn anew(gateway: &Gateway) -> ClientIdentity {
    let has_clear = gateway
        .site
        .with_farm(|farm| farm.users.users.iter().any(|user| clear(user).is_some()));
    let mut challenges = Vec::new();
    if has_clear {
        challenges.push(HeaderValue::from_static("NTLM"));
    }
    challenges.push(HeaderValue::from_static(
        "Basic realm=\"Remote desktops\", charset=\"UTF-8\"",
    ));
    ClientIdentity::Challenge(challenges)
}

/// Returns the user for any form of a name: `Anna`, `EXAMPLE\anna` and `anna@example.org` are the
/// same user.
pub(super) fn user(gateway: &Gateway, name: &str) -> Option<AuthorizedUser> {
    gateway.site.with_farm(|farm| {
        // Accepts any name: the LDAP server confirms the user together with the password, and the
        // user of a cookie was confirmed before.
        if let Some(directory) = &farm.users.directory {
            let name = TypedName::parse_name(name)?.short;
            return Some(AuthorizedUser {
                second_factor: directory.second_factor(&name),
                account: Account {
                    name,
                    groups: Vec::new(),
                    password: Password::Directory,
                },
            });
        }
        account_of(&farm.users.users, name).cloned()
    })
}

async fn basic(gateway: &Gateway, visitor: &Visitor, bytes: &[u8]) -> ClientIdentity {
    let text = std::str::from_utf8(bytes).ok();
    let Some((name, password)) = text.and_then(|text| text.split_once(':')) else {
        return anew(gateway);
    };
    let found = user(gateway, name);
    // Lists only this user, or another one if the user does not exist, so that the response time
    // does not show which users exist.
    let list = gateway.site.with_farm(|farm| List {
        users: found
            .clone()
            .or_else(|| farm.users.users.first().cloned())
            .into_iter()
            .filter(|user: &AuthorizedUser| user.account.password != Password::Directory)
            .collect(),
        system: farm.users.system.clone(),
        directory: farm.users.directory.clone(),
    });
    let shown = found.as_ref().map_or(name, |user| &user.account.name);
    // Uses the requested name, because the password of a user who does not exist must not match
    // that of the decoy.
    let asked = gateway.site.with_farm(|farm| asked_name(&farm.users, name));
    let client = SignInOrigin::program(visitor.from());
    let verified = gateway
        .desk
        .password(&list, &client, &asked, password)
        .await;
    match verified {
        Ok(user) => admit(gateway, visitor, &user),
        Err(refused) => {
            // Adds only failures that the limiter counts to the user's history. Others could
            // displace everything else.
            let (identity, why) = match refused {
                SignInError::Wrong => {
                    refuse(gateway, visitor, shown, "wrong name or password");
                    return anew(gateway);
                }
                SignInError::NoTry => (anew(gateway), "wrong name or password"),
                SignInError::TooOften(seconds) => {
                    has_to_wait(gateway, visitor, shown);
                    return ClientIdentity::Later(seconds);
                }
                SignInError::Unavailable => (
                    ClientIdentity::Later(10),
                    "the password check does not respond",
                ),
            };
            refuse_unnoted(gateway, visitor, shown, why);
            identity
        }
    }
}

fn admit(gateway: &Gateway, visitor: &Visitor, user: &AuthorizedUser) -> ClientIdentity {
    let name = &user.account.name;
    if user.second_factor != SecondFactor::None {
        refuse(gateway, visitor, name, SECOND_FACTOR);
        return anew(gateway);
    }
    ClientIdentity::User(name.clone())
}

pub(super) fn refuse(gateway: &Gateway, visitor: &Visitor, name: &str, why: &str) {
    gateway.site.count_gateway(|counters| &mut counters.unknown);
    gateway.site.gateway_refuses(name, visitor.from(), why);
}

/// Refuses without adding a step to the output of `farm why`.
fn refuse_unnoted(gateway: &Gateway, visitor: &Visitor, name: &str, why: &str) {
    gateway.site.count_gateway(|counters| &mut counters.unknown);
    gateway
        .site
        .gateway_refuses_unnoted(name, visitor.from(), why);
}

fn has_to_wait(gateway: &Gateway, visitor: &Visitor, name: &str) {
    refuse_unnoted(gateway, visitor, name, "too many attempts");
    gateway.site.has_to_wait(name, visitor.from(), "gateway");
}

/// Returns the password of a user who can use NTLM: it is in clear text in the configuration, and
/// not empty.
fn clear(user: &AuthorizedUser) -> Option<&str> {
    match &user.account.password {
        Password::Clear(bytes) => std::str::from_utf8(bytes)
            .ok()
            .filter(|clear| !clear.is_empty()),
        Password::None | Password::System | Password::Directory | Password::Hashed(_) => None,
    }
}

fn ntlm(gateway: &Gateway, visitor: &Visitor, bytes: &[u8]) -> ClientIdentity {
    match visitor.take() {
        AuthenticationState::Challenged(exchange) if bytes.get(8) == Some(&3) => {
            authenticate(gateway, visitor, bytes, &exchange)
        }
        _ => negotiate(gateway, visitor, bytes).unwrap_or_else(|| anew(gateway)),
    }
}

/// Responds to the first NTLM message. Returns None if the message is another one, or without
/// random numbers.
fn negotiate(gateway: &Gateway, visitor: &Visitor, bytes: &[u8]) -> Option<ClientIdentity> {
    let mut nonce = [0; 8];
    rand::fill(&mut nonce).ok()?;
    let host = gateway
        .site
        .with_farm(|farm| farm.gateway.as_ref().map(|gateway| gateway.name.clone()))?;
    let target = NtlmTarget {
        name: gateway.site.name().get(..15).unwrap_or(gateway.site.name()),
        host: &host,
    };
    let time = Moment::now().unix_ms.saturating_mul(10_000);
    let exchange = Exchange::new(bytes, nonce, target, time.saturating_add(EPOCH)).ok()?;
    let letters = STANDARD.encode(exchange.challenge());
    visitor.know(AuthenticationState::Challenged(exchange));
    let challenge = HeaderValue::from_str(&format!("NTLM {letters}")).ok()?;
    Some(ClientIdentity::Challenge(vec![challenge]))
}

fn authenticate(
    gateway: &Gateway,
    visitor: &Visitor,
    bytes: &[u8],
    exchange: &Exchange,
) -> ClientIdentity {
    let message = match Authenticate::decode(bytes) {
        Ok(message) => message,
        Err(malformed) => {
            refuse(gateway, visitor, "", &malformed.to_string());
            return anew(gateway);
        }
    };
    let found = user(gateway, &message.user);
    let name = gateway
        .site
        .with_farm(|farm| asked_name(&farm.users, &message.user));
    let keys = Key::of_stranger(visitor.from(), &name);
    // Holds the lock until the attempt has been counted, so that parallel attempts cannot exceed
    // the limit.
    let mut limiter = lock(&gateway.desk.limiter);
    if let Some(ms) = limiter.wait(&keys, now_ms()) {
        drop(limiter);
        has_to_wait(gateway, visitor, &name);
        return ClientIdentity::Later(ms.div_ceil(1_000));
    }
    let password = found.as_ref().and_then(clear);
    let hash = Zeroizing::new(password.map(nt_hash).unwrap_or_default());
    let verified = message.verify(exchange, &hash, &visitor.channels);
    let why = match (&found, password, verified) {
        (Some(user), Some(_), Ok(())) => {
            limiter.reset(&keys, now_ms());
            drop(limiter);
            let identity = admit(gateway, visitor, user);
            if let ClientIdentity::User(name) = &identity {
                visitor.know(AuthenticationState::User(name.clone()));
            }
            return identity;
        }
        (Some(user), None, _) if user.account.password == Password::Directory => {
            "NTLM cannot ask an LDAP directory; Basic and the portal's .rdp files work".to_owned()
        }
        (Some(_), None, _) => "the userlist has only a hash of the password, and NTLM needs `insecure-password`; Basic \
            and the portal's .rdp files work"
            .to_owned(),
        (Some(_), _, Err(refused)) => refused.to_string(),
        (None, ..) => "unknown user".to_owned(),
    };
    limiter.count(&keys, now_ms());
    drop(limiter);
    refuse(gateway, visitor, &name, &why);
    anew(gateway)
}
