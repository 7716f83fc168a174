//! Issues and verifies the sessions of signed-in users, each a signed token in a cookie. Of the
//! sessions, a process remembers only those that have ended. So a session outlives the process, and
//! a user who is removed from the list loses access immediately.

use crate::ended::{EndedSessions, Id, SessionEndBatch};
use crate::random::random;
use crate::user::{AuthorizedUser, SecondFactor, Users};
use crate::{device, second_factor};
use aws_lc_rs::{digest, hmac};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use configuration::{Account, Password};
use part::{codec, lock};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

pub const LASTS_S: u64 = 12 * 3_600;
pub const HALF_S: u64 = 300;
/// Maximum number of users whose credentials are remembered. For users beyond it, an old session
/// becomes valid again if the old password is set again.
const PROOFS_MAX: usize = 4_096;
/// Maximum number of users whose last used code is remembered.
const CODES_MAX: usize = 65_536;
const STEPS_AHEAD_MAX: u64 = 4;
/// Maximum length of a token, bytes.
const TOKEN_MAX: usize = 3_072;
const GROUPS_BYTES_MAX: usize = 1_500;

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct SessionClaims {
    user: String,
    id: Id,
    until: u64,
    /// True if the user is in no list.
    #[serde(rename = "by_link")]
    unlisted: bool,
    /// Digest of the password and of the second factor. A change of either ends the session.
    password: [u8; 8],
    /// Groups that lines name, for a user of a directory. None for other users.
    #[serde(default)]
    groups: Option<Vec<String>>,
}

/// Proof that the password was correct, while the one-time code is missing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Half {
    user: String,
    until: u64,
    password: [u8; 8],
    #[serde(default)]
    groups: Option<Vec<String>>,
}

/// State of the sessions that is saved for the next process.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SavedSessions {
    #[serde(with = "serde_bytes")]
    secret: Vec<u8>,
    ended: BTreeMap<Id, u64>,
    #[serde(default)]
    ended_users: BTreeMap<Id, Id>,
    #[serde(default)]
    ended_before: u64,
    /// Last time step whose code each user has used. Kept as long as codes of that step would be
    /// accepted.
    #[serde(default)]
    codes: BTreeMap<String, u64>,
    /// Digests of the credentials of the listed users, by digests of their names.
    #[serde(default)]
    proofs: BTreeMap<Id, [u8; 8]>,
}

/// A user with a session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Visitor {
    pub name: String,
    /// True if the user is in no list: see [`Sessions::begin_unlisted`].
    pub unlisted: bool,
    pub csrf: String,
    /// Account according to the list, or according to the directory at the sign-in. None if the
    /// user is in neither.
    pub account: Option<Account>,
}

/// Issues and verifies the signed tokens of sessions. A running session exists only as its token.
/// Stored are the secret, the sessions that ended early, and the one-time codes that users have
/// used; the next process gets them as [`SavedSessions`].
pub struct Sessions {
    key: hmac::Key,
    secret: Vec<u8>,
    ended: Arc<Mutex<EndedSessions>>,
    codes: BTreeMap<String, u64>,
    proofs: BTreeMap<Id, [u8; 8]>,
}

/// Returns a digest of the credentials of a listed user, by the name of the account.
pub fn credentials_digest(users: &dyn Users, name: &str) -> [u8; 8] {
    password_of(users, &user_of(users, name, None))
}

/// Returns the identifier under which all sessions of a user end when the password has changed.
fn all_of(user: &str) -> Id {
    id_of("user ", user)
}

/// Returns the identifier under which the older sessions of a user end when too many have ended.
fn older_of(user: &str, unlisted: bool) -> Id {
    id_of(if unlisted { "unlisted " } else { "sessions " }, user)
}

fn id_of(kind: &str, user: &str) -> Id {
    let digest = digest::digest(&digest::SHA256, &[kind, user].concat().into_bytes());
    let mut id = Id::default();
    id.copy_from_slice(&digest.as_ref()[..16]);
    id
}

/// Returns the time at which all sessions of a user ended at once, seconds. Zero if they did not,
/// or if it is too long ago.
pub fn sessions_ended_at(ended: &EndedSessions, user: &str) -> u64 {
    ended.last_of(&all_of(user)).saturating_sub(LASTS_S)
}

fn password_of(users: &dyn Users, user: &Option<AuthorizedUser>) -> [u8; 8] {
    let password = user.as_ref().map(|user| &user.account.password);
    let second = user.as_ref().map(|user| &user.second_factor);
    let second = second.filter(|second| **second != SecondFactor::None);
    let is_of_directory = password == Some(&Password::Directory);
    let directory = users.directory().filter(|_| is_of_directory);
    let bytes = match directory {
        Some(directory) => codec::encode(&(second, directory.identity())),
        None => codec::encode(&(password, second)),
    };
    let digest = digest::digest(&digest::SHA256, &bytes);
    let mut out = [0; 8];
    out.copy_from_slice(&digest.as_ref()[..8]);
    out
}

/// Finds a user by name: in the list, or in the directory, with the groups that the user had at the
/// sign-in. None if the user may not sign in.
fn user_of(users: &dyn Users, name: &str, groups: Option<&[String]>) -> Option<AuthorizedUser> {
    let Some(groups) = groups else {
        let (account, second) = users.find(name)?;
        return Some(AuthorizedUser {
            account: account.clone(),
            second_factor: second.clone(),
        });
    };
    let directory = users.directory()?;
    directory.can_sign_in(groups).then(|| AuthorizedUser {
        second_factor: directory.second_factor(name),
        account: Account {
            name: name.to_owned(),
            groups: groups.to_vec(),
            password: Password::Directory,
        },
    })
}

/// Returns the groups that the token of a user must contain. None for a user of the list, where the
/// groups are.
fn groups_of(account: &Account) -> Result<Option<Vec<String>>, String> {
    if account.password != Password::Directory {
        return Ok(None);
    }
    let bytes: usize = account.groups.iter().map(String::len).sum();
    if bytes <= GROUPS_BYTES_MAX {
        Ok(Some(account.groups.clone()))
    } else {
        Err("the user is in more groups than a session can store".to_owned())
    }
}

impl Sessions {
    /// Restores the state that a previous process saved, if any.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn new(kept: Option<SavedSessions>) -> Result<Sessions, String> {
        let kept = match kept.filter(|kept| kept.secret.len() == 32) {
            Some(kept) => kept,
            None => SavedSessions {
                secret: random::<32>()?.to_vec(),
                ..SavedSessions::default()
            },
        };
        let ended = EndedSessions::from_saved(&SessionEndBatch {
            named: kept.ended.into_iter().collect(),
            users: kept.ended_users,
            before: kept.ended_before,
        });
        Ok(Sessions {
            key: hmac::Key::new(hmac::HMAC_SHA256, &kept.secret),
            secret: kept.secret,
            ended: Arc::new(Mutex::new(ended)),
            codes: kept.codes,
            proofs: kept.proofs,
        })
    }

    /// Ends the sessions of users whose credentials have changed, or who are no longer listed. The
    /// sessions stay ended when the change is reverted. `names` are the listed users.
    pub fn end_changed_users<'n>(
        &mut self,
        users: &dyn Users,
        names: impl Iterator<Item = &'n str>,
        now: u64,
    ) {
        let proofs = names.take(PROOFS_MAX).map(|name| {
            let proof = hmac::sign(&self.key, &credentials_digest(users, name));
            let mut kept = [0; 8];
            kept.copy_from_slice(&proof.as_ref()[..8]);
            (all_of(name), kept)
        });
        let proofs = proofs.collect();
        let before = std::mem::replace(&mut self.proofs, proofs);
        let mut ended = lock(&self.ended);
        for (id, proof) in before {
            if self.proofs.get(&id) != Some(&proof) {
                ended.end(id, now.saturating_add(LASTS_S), now);
            }
        }
    }

    /// Signs with this secret from now on. Tokens that another process has signed with it are
    /// accepted here, too.
    pub fn set_shared_secret(&mut self, secret: [u8; 32]) {
        self.secret = secret.to_vec();
        self.key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
    }

    pub fn saved_state(&self) -> SavedSessions {
        let ended = lock(&self.ended).to_saved();
        SavedSessions {
            secret: self.secret.clone(),
            ended: ended.named.into_iter().collect(),
            ended_users: ended.users,
            ended_before: ended.before,
            codes: self.codes.clone(),
            proofs: self.proofs.clone(),
        }
    }

    /// Returns the sessions that have ended before their expiry, to share them with processes that
    /// sign with the same secret.
    pub fn ended(&self) -> Arc<Mutex<EndedSessions>> {
        Arc::clone(&self.ended)
    }

    /// Begins a session of an authenticated user, and returns the token.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn begin(&self, users: &dyn Users, user: &str, now: u64) -> Result<String, String> {
        self.begin_in(users, user, None, now)
    }

    /// Begins a session of a user of a list or of a directory.
    ///
    /// # Errors
    /// The system has no random numbers, or the user is in too many groups.
    pub fn begin_of(
        &self,
        users: &dyn Users,
        account: &Account,
        now: u64,
    ) -> Result<String, String> {
        self.begin_in(users, &account.name, groups_of(account)?, now)
    }

    fn begin_in(
        &self,
        users: &dyn Users,
        name: &str,
        groups: Option<Vec<String>>,
        now: u64,
    ) -> Result<String, String> {
        self.token(&SessionClaims {
            user: name.to_owned(),
            id: random()?,
            until: self.session_expiry(&[all_of(name), older_of(name, false)], now),
            unlisted: false,
            password: password_of(users, &user_of(users, name, groups.as_deref())),
            groups,
        })
    }

    /// Begins a session of a user who is in no list, and returns the token.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn begin_unlisted(&self, name: &str, now: u64) -> Result<String, String> {
        self.token(&SessionClaims {
            user: name.to_owned(),
            id: random()?,
            until: self.session_expiry(&[older_of(name, true)], now),
            unlisted: true,
            password: [0; 8],
            groups: None,
        })
    }

    /// Returns the expiry of a new session: later than that of all sessions that ended in the same
    /// second, whose end would otherwise include the new one.
    fn session_expiry(&self, names: &[Id], now: u64) -> u64 {
        let ended = lock(&self.ended);
        let last = names.iter().map(|name| ended.last_of(name)).max();
        let last = last.unwrap_or_default().saturating_add(1);
        now.saturating_add(LASTS_S).max(last)
    }

    fn token(&self, claim: &SessionClaims) -> Result<String, String> {
        Ok(self.signed(b"", &codec::encode(claim)))
    }

    /// Signs a value. `kind` keeps it from being accepted as a value of another kind.
    fn signed(&self, kind: &[u8], bytes: &[u8]) -> String {
        let tag = hmac::sign(&self.key, &[kind, bytes].concat());
        format!("{}.{}", BASE64.encode(bytes), BASE64.encode(tag.as_ref()))
    }

    fn verified(&self, kind: &[u8], text: &str) -> Option<Vec<u8>> {
        let (bytes, tag) = text.split_once('.').filter(|_| text.len() <= TOKEN_MAX)?;
        let (bytes, tag) = (BASE64.decode(bytes).ok()?, BASE64.decode(tag).ok()?);
        hmac::verify(&self.key, &[kind, &bytes].concat(), &tag).ok()?;
        Some(bytes)
    }

    /// Returns a proof that the password of a user was correct, for the form with the one-time
    /// code.
    pub fn password_proof(&self, users: &dyn Users, user: &str, now: u64) -> String {
        self.password_proof_in(users, user, None, now)
    }

    /// As [`Sessions::password_proof`], for a user of a list or of a directory.
    ///
    /// # Errors
    /// The user is in too many groups.
    pub fn password_proof_for(
        &self,
        users: &dyn Users,
        account: &Account,
        now: u64,
    ) -> Result<String, String> {
        Ok(self.password_proof_in(users, &account.name, groups_of(account)?, now))
    }

    fn password_proof_in(
        &self,
        users: &dyn Users,
        name: &str,
        groups: Option<Vec<String>>,
        now: u64,
    ) -> String {
        let half = Half {
            user: name.to_owned(),
            until: now.saturating_add(HALF_S),
            password: password_of(users, &user_of(users, name, groups.as_deref())),
            groups,
        };
        self.signed(b"half", &codec::encode(&half))
    }

    /// Returns the user of a [`Sessions::password_proof`]. None if the proof is invalid or has
    /// expired.
    pub fn user_of_password_proof(
        &self,
        users: &dyn Users,
        text: &str,
        now: u64,
    ) -> Option<AuthorizedUser> {
        let half: Half = codec::decode(&self.verified(b"half", text)?).ok()?;
        let user = user_of(users, &half.user, half.groups.as_deref());
        let same = password_of(users, &user) == half.password;
        user.filter(|_| same && half.until > now)
    }

    /// Consumes a code of a user, and returns its time step. None if it is wrong, or was used.
    pub fn use_code(&mut self, user: &str, secret: &[u8], typed: &str, now: u64) -> Option<u64> {
        let last = self.codes.get(user).copied();
        let step = second_factor::step_of(secret, typed, now, last)?;
        self.claim_code(user, step, now).then_some(step)
    }

    /// Records that a code of this time step was used at this or at another node. Returns whether
    /// it was new: no code of this or a later step was used here before.
    pub fn claim_code(&mut self, user: &str, step: u64, now: u64) -> bool {
        let codes = &mut self.codes;
        // Drops codes of earlier steps, which are not accepted anyway. Does not store a step far
        // ahead, which would lock the user out.
        let current = second_factor::step(now);
        let oldest = current.saturating_sub(2);
        codes.retain(|_, step| *step >= oldest);
        let is_new = codes.get(user).is_none_or(|last| *last < step);
        let is_possible = step <= current.saturating_add(STEPS_AHEAD_MAX);
        if is_new && is_possible && (codes.len() < CODES_MAX || codes.contains_key(user)) {
            codes.insert(user.to_owned(), step);
        }
        is_new
    }

    /// Returns the last time step of each user whose code was used, for a node that connects.
    pub fn used_codes(&self) -> impl Iterator<Item = (&str, u64)> {
        self.codes.iter().map(|(user, step)| (user.as_str(), *step))
    }

    /// Creates the cookie of a browser in which a user has signed in.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn device(&self, user: &str, now: u64) -> Result<String, String> {
        device::make(&self.key, user, now)
    }

    /// Returns the identifier of a known browser of this user. None if the cookie is not one of the
    /// user's.
    pub fn device_of(&self, cookie: &str, user: &str, now: u64) -> Option<device::Id> {
        device::read(&self.key, cookie, user, now)
    }

    fn claim(&self, token: &str, now: u64) -> Option<SessionClaims> {
        let claim: SessionClaims = codec::decode(&self.verified(b"", token)?).ok()?;
        let ended = lock(&self.ended);
        let has = |name: Id| ended.has_ended(&name, claim.until);
        let has_ended = has(claim.id)
            || has(older_of(&claim.user, claim.unlisted))
            || !claim.unlisted && has(all_of(&claim.user));
        (claim.until > now && !has_ended).then_some(claim)
    }

    /// Returns the current user of a token. None if the session is no longer valid.
    pub fn visitor(&self, users: &dyn Users, token: &str, now: u64) -> Option<Visitor> {
        let claim = self.claim(token, now)?;
        let user = if claim.unlisted {
            None
        } else {
            Some(user_of(users, &claim.user, claim.groups.as_deref())?)
        };
        if user.is_some() && password_of(users, &user) != claim.password {
            return None;
        }
        let csrf = hmac::sign(&self.key, &[b"form", &claim.id[..]].concat());
        Some(Visitor {
            name: claim.user,
            unlisted: claim.unlisted,
            csrf: BASE64.encode(csrf.as_ref()),
            account: user.map(|user| user.account),
        })
    }

    /// Returns a seal: a signature which proves that this process, or a previous one, wrote a text.
    pub fn seal(&self, words: &str) -> String {
        let tag = hmac::sign(&self.key, &[b"told", words.as_bytes()].concat());
        BASE64.encode(&tag.as_ref()[..16])
    }

    pub fn end(&self, token: &str, now: u64) {
        if let Some(claim) = self.claim(token, now) {
            let of = older_of(&claim.user, claim.unlisted);
            lock(&self.ended).end_of(claim.id, Some(of), claim.until, now);
        }
    }
}

/// Creates the header `Set-Cookie` of a cookie that is sent to this site only, over TLS, and is
/// invisible to scripts.
pub fn set_cookie(name: &str, value: &str, lasts_s: u64) -> String {
    format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age={lasts_s}")
}

/// Returns the value of a cookie in a header `Cookie`.
pub fn value_in<'c>(cookies: &'c str, name: &str) -> Option<&'c str> {
    let mut all = cookies.split(';').map(str::trim);
    all.find_map(|one| one.strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::user::{AuthorizedUser, List};
    use configuration::{Account, Password};

    fn config(password: &str) -> List {
        let user = AuthorizedUser::new(Account {
            name: "anna".to_owned(),
            groups: Vec::new(),
            password: Password::Clear(password.into()),
        });
        List {
            users: vec![user],
            ..List::default()
        }
    }

    #[test]
    fn a_session_lasts_until_its_end_and_only_with_its_user() {
        let sessions = Sessions::new(None).unwrap();
        let config = config("one");
        let token = sessions.begin(&config, "anna", 100).unwrap();
        let visitor = sessions.visitor(&config, &token, 101).unwrap();
        assert_eq!((&*visitor.name, visitor.unlisted), ("anna", false));
        // A token is refused after its expiry, with another password, another list or another
        // secret.
        assert_eq!(sessions.visitor(&config, &token, 100 + LASTS_S), None);
        assert_eq!(
            sessions.visitor(&super::tests::config("two"), &token, 101),
            None
        );
        assert_eq!(sessions.visitor(&List::default(), &token, 101), None);
        let other = Sessions::new(None).unwrap();
        assert_eq!(other.visitor(&config, &token, 101), None);
        // The next process accepts the session, and knows which sessions have ended.
        let next = Sessions::new(Some(sessions.saved_state())).unwrap();
        assert_eq!(next.visitor(&config, &token, 101), Some(visitor));
        sessions.end(&token, 101);
        assert_eq!(sessions.visitor(&config, &token, 101), None);
        let next = Sessions::new(Some(sessions.saved_state())).unwrap();
        assert_eq!(next.visitor(&config, &token, 101), None);
    }

    #[test]
    fn a_session_of_an_old_password_stays_ended_when_the_password_comes_back() {
        let mut sessions = Sessions::new(None).unwrap();
        let [one, two] = ["one", "two"].map(config);
        let learn = |sessions: &mut Sessions, list: &List, now| {
            let names = list.users.iter().map(|user| &*user.account.name);
            sessions.end_changed_users(list, names, now);
        };
        learn(&mut sessions, &one, 90);
        let old = sessions.begin(&one, "anna", 100).unwrap();
        let unlisted = sessions.begin_unlisted("anna", 100).unwrap();
        // Sessions survive a change of the list that does not concern the user, and a restart of
        // the process.
        learn(&mut sessions, &one, 100);
        assert!(sessions.visitor(&one, &old, 100).is_some());
        let mut next = Sessions::new(Some(sessions.saved_state())).unwrap();
        learn(&mut next, &two, 100);
        let between = next.begin(&two, "anna", 100).unwrap();
        assert!(next.visitor(&two, &between, 100).is_some());
        learn(&mut next, &one, 100);
        for ended in [&old, &between] {
            assert_eq!(next.visitor(&one, ended, 101), None);
        }
        let new = next.begin(&one, "anna", 100).unwrap();
        assert!(next.visitor(&one, &new, 101).is_some());
        assert!(next.visitor(&one, &unlisted, 101).is_some());
        // Another process gets the ends of sessions, also those of a user who was removed from the
        // list for a while.
        learn(&mut next, &List::default(), 200);
        learn(&mut next, &one, 300);
        let told = lock(&next.ended()).after(0, 100).0;
        lock(&sessions.ended()).merge_ends(&told, 300);
        assert_eq!(sessions.visitor(&one, &new, 301), None);
        let last = sessions.begin(&one, "anna", 301).unwrap();
        assert!(sessions.visitor(&one, &last, 302).is_some());
    }

    #[test]
    fn somebody_who_signs_in_and_out_often_ends_no_session_of_others() {
        let mut config = config("one");
        config.users.extend(self::config("one").users);
        config.users[1].account.name = "bert".to_owned();
        let sessions = Sessions::new(None).unwrap();
        let begin = |user: &str, now| sessions.begin(&config, user, now).unwrap();
        let others = [
            begin("bert", 100),
            sessions.begin_unlisted("anna", 100).unwrap(),
        ];
        let mut ended = Vec::new();
        for number in 0..4_200 {
            // Begins and ends ten sessions in each second.
            let now = 100 + number / 10;
            let token = begin("anna", now);
            sessions.end(&token, now);
            ended.push(token);
        }
        let last = begin("anna", 520);
        let next = Sessions::new(Some(sessions.saved_state())).unwrap();
        let far = Sessions::new(Some(SavedSessions {
            secret: sessions.saved_state().secret,
            ..SavedSessions::default()
        }));
        let far = far.unwrap();
        let told = lock(&sessions.ended()).after(0, 500).0;
        lock(&far.ended()).merge_ends(&told, 520);
        for sessions in [&sessions, &next, &far] {
            let is_there = |token: &String| sessions.visitor(&config, token, 521).is_some();
            assert!(others.iter().all(is_there) && is_there(&last));
            assert!(!ended.iter().any(is_there));
        }
        assert_eq!(sessions_ended_at(&lock(&sessions.ended()), "anna"), 0);
    }

    #[test]
    fn a_modified_session_token_is_refused() {
        let sessions = Sessions::new(None).unwrap();
        let config = config("one");
        let token = sessions.begin(&config, "anna", 100).unwrap();
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            // Accepts a changed token only if the change is in bits that decoding ignores, at the
            // end of each half.
            if let Some(visitor) = sessions.visitor(&config, &changed, 101) {
                assert_eq!(visitor.name, "anna", "{at}");
            }
        }
        for token in ["", ".", "a.b", "a", &"a.".repeat(4_000)] {
            assert_eq!(sessions.visitor(&config, token, 101), None);
        }
    }

    #[test]
    fn a_session_of_no_configured_user_is_marked() {
        let sessions = Sessions::new(None).unwrap();
        let token = sessions.begin_unlisted("root", 100).unwrap();
        let visitor = sessions.visitor(&List::default(), &token, 101).unwrap();
        assert_eq!((&*visitor.name, visitor.unlisted), ("root", true));
        assert_eq!(
            sessions.visitor(&List::default(), &token, 100 + LASTS_S),
            None
        );
    }

    #[test]
    fn a_half_sign_in_is_no_session_and_expires_soon() {
        let sessions = Sessions::new(None).unwrap();
        let one = config("one");
        let half = sessions.password_proof(&one, "anna", 100);
        let user = sessions.user_of_password_proof(&one, &half, 101);
        assert_eq!(user.as_ref(), one.users.first());
        assert_eq!(sessions.visitor(&one, &half, 101), None);
        let token = sessions.begin(&one, "anna", 100).unwrap();
        assert_eq!(sessions.user_of_password_proof(&one, &token, 101), None);
        // A proof of the password is refused after its expiry, with another password, another list
        // or another secret.
        assert_eq!(
            sessions.user_of_password_proof(&one, &half, 100 + HALF_S),
            None
        );
        assert_eq!(
            sessions.user_of_password_proof(&config("two"), &half, 101),
            None
        );
        assert_eq!(
            sessions.user_of_password_proof(&List::default(), &half, 101),
            None
        );
        let other = Sessions::new(None).unwrap();
        assert_eq!(other.user_of_password_proof(&one, &half, 101), None);
        for text in ["", ".", "a.b", &"a.".repeat(4_000)] {
            assert_eq!(sessions.user_of_password_proof(&one, text, 101), None);
        }
    }

    #[test]
    fn a_code_is_used_once_and_the_next_process_knows_it() {
        let mut sessions = Sessions::new(None).unwrap();
        let (secret, now) = ([7; 20], 30_000);
        let code = second_factor::code(&secret, second_factor::step(now));
        assert_eq!(sessions.use_code("anna", &secret, "", now), None);
        assert!(sessions.use_code("anna", &secret, &code, now).is_some());
        assert_eq!(sessions.use_code("anna", &secret, &code, now), None);
        let mut next = Sessions::new(Some(sessions.saved_state())).unwrap();
        assert_eq!(next.use_code("anna", &secret, &code, now + 30), None);
        // Accepts the same code for another user. Also checks that used codes of old steps are
        // removed.
        assert!(next.use_code("bert", &secret, &code, now).is_some());
        let later = second_factor::code(&secret, second_factor::step(now + 120));
        assert!(next.use_code("carl", &secret, &later, now + 120).is_some());
        assert_eq!(next.codes.len(), 1);
    }

    #[test]
    fn another_second_factor_ends_a_session() {
        let sessions = Sessions::new(None).unwrap();
        let mut config = config("one");
        let token = sessions.begin(&config, "anna", 100).unwrap();
        for second in [SecondFactor::Missing, SecondFactor::Codes(vec![1; 20])] {
            config.users[0].second_factor = second;
            assert_eq!(sessions.visitor(&config, &token, 101), None);
        }
        config.users[0].second_factor = SecondFactor::None;
        assert!(sessions.visitor(&config, &token, 101).is_some());
    }

    #[test]
    fn the_token_is_found_among_cookies() {
        let token_in = |cookies| value_in(cookies, "__Host-evenkeel");
        assert_eq!(token_in("a=b; __Host-evenkeel=x.y; c"), Some("x.y"));
        assert_eq!(token_in("x__Host-evenkeel=x"), None);
        assert_eq!(token_in("__Host-evenkeelx=x"), None);
        assert_eq!(token_in(""), None);
    }
}
