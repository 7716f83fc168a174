//! Authenticates the user of a request: reads the credentials, and verifies the password against
//! a userlist of the configuration.
//!
//! A clear-text password is compared at once. A hashed password is verified on another thread:
//! the fetch that needs the result registers the verification at the stream and returns false.
//! The rules stop there, wait, and are evaluated again ([`unanswered`]). Thus earlier rules that
//! refuse an attacker save the work, and no thread that serves clients computes a hash. `cache`
//! keeps the results.

mod cache;
mod credentials;
mod verifier;

pub use crate::password::{Hash, same};
pub use credentials::{Basic, bearer, header, is_proxied};

use crate::config::{Password, Userlist};
use crate::password::{ANSWERS_MAX, Busy, Key, PasswordCheck};
use crate::thread;
use crate::transaction::{
    Applied, MessageVerdict, ProxyStream, StreamPhase, Termination, Wait, error_page,
};
use http::message::HttpMessage;
use reactor::{after, with_deadline};
use std::sync::Arc;
use verifier::Client;
use zeroize::Zeroizing;
/// Default realm of the statistics.
pub const STATISTICS_REALM: &[u8] = b"HAProxy Statistics";
/// Maximum wait of a stream without `timeout http-request`, milliseconds.
const WAIT_MS: u32 = 30_000;

/// Returns the request with the credentials; also one that content rules found in a stream that is
/// not HTTP.
fn request(stream: &ProxyStream) -> Option<&HttpMessage> {
    if stream.request.start().is_some() {
        return Some(&stream.request);
    }
    stream.payloads.sniffed.get().map(|found| &**found)
}

/// Returns the user of a list who sent the request, if the password is correct.
pub fn verified<'l>(
    list: &'l Userlist,
    stream: &ProxyStream,
) -> Option<&'l crate::config::UserAccount> {
    let basic = Basic::of(stream)?;
    let user = list.user(basic.user());
    match user.map(|user| &user.password) {
        Some(Password::Clear(secret)) => {
            same(secret.bytes(), basic.password()).then_some(())?;
        }
        Some(Password::Hashed(hash)) => check(stream, hash, &basic, true).then_some(())?,
        // Computes the decoy hash for an unknown user, so that the response time does not reveal
        // whether a user exists.
        None => _ = check(stream, list.decoy.as_ref()?, &basic, false),
        Some(Password::None) => return None,
    }
    user
}

/// Returns whether a password matches a hash, or false if that is not known yet.
fn check(stream: &ProxyStream, hash: &Arc<Hash>, basic: &Basic, exists: bool) -> bool {
    let key = Key::of(hash.bytes(), basic.user(), basic.password());
    let checked = stream.rules.checked_users.get_or_init(Box::default);
    match checked.known(&key) {
        Some(Ok(right)) => return right,
        Some(Err(Busy)) => {
            checked.busy.set(true);
            return false;
        }
        None => {}
    }
    if let Some(right) = cache::known(&key) {
        checked.keep(key, Ok(right));
        return right;
    }
    if checked.answers.borrow().len() < ANSWERS_MAX {
        *checked.wanted.borrow_mut() = Some(PasswordCheck {
            key,
            hash: Arc::clone(hash),
            password: Zeroizing::new(basic.password().to_vec()),
            exists,
        });
    }
    false
}

/// Returns what the rules must do first if one of them needs credentials that are not verified yet:
/// wait and evaluate again, or refuse if too many verifications wait.
#[inline]
pub fn unanswered(stream: &mut ProxyStream) -> Option<MessageVerdict> {
    // Returns at once for the many streams without such credentials.
    stream.rules.checked_users.get()?;
    ask(stream)
}

fn ask(stream: &mut ProxyStream) -> Option<MessageVerdict> {
    let checked = stream.rules.checked_users.get()?;
    if checked.busy.take() {
        stream
            .outcome
            .end(Termination::Resource, StreamPhase::Request);
        return Some(MessageVerdict::Answer(Box::new(error_page(stream, 503))));
    }
    let job = checked.wanted.take()?;
    let key = job.key;
    let client = Client::of(stream.source().ip());
    let threads = thread::running().map_or(1, |thread| thread.process.threads());
    let begun = verifier::begin(job, client, threads);
    let deadline = after(stream.frontend().timeouts.http_request_ms.or(Some(WAIT_MS)));
    Some(MessageVerdict::Wait(Wait::new(async move {
        let answer = match begun {
            Ok(result) => match with_deadline(deadline, result).await {
                Ok(Ok(right)) => Ok(right),
                Ok(Err(_)) | Err(_) => Err(Busy),
            },
            Err(busy) => Err(busy),
        };
        let applied: Applied = Box::new(move |stream: &mut ProxyStream| {
            if let Some(checked) = stream.rules.checked_users.get() {
                checked.keep(key, answer);
            }
        });
        applied
    })))
}
