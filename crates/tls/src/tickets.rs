//! Encrypts and decrypts session tickets. The keys belong to the process, so a session can be
//! resumed on any thread and under any configuration. They are rotated, and old ones are dropped.
//! A ticket is decrypted only under the same TLS settings: a ticket that was issued without a
//! client certificate is worthless where one is required.
//!
//! Tickets contain rustls' session state. Files of `tls-ticket-keys` therefore let several
//! Evenkeel processes share sessions, but not Evenkeel and HAProxy.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::{hmac, rand};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::server::ProducesTickets;
use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use zeroize::Zeroizing;

/// Default lifetime of a session (`tune.ssl.lifetime`), seconds.
pub const LIFETIME_S: u32 = 300;
static LIFETIME: AtomicU32 = AtomicU32::new(LIFETIME_S);
/// Time for which a key encrypts new tickets, seconds. The key decrypts until its last ticket has
/// expired.
const KEY_SEALS_S: u64 = 3600;
/// Maximum lifetime, seconds: that of TLS 1.3.
const LIFETIME_MAX_S: u64 = 7 * 24 * 3600;
/// Longest time after a full handshake for which a session can be resumed, seconds, however often
/// it got new tickets (RFC 8446, 4.6.1): the certificate that the client presented may have been
/// revoked since.
pub(super) const WHOLE_LIFE_S: u64 = 24 * 3600;
/// Number of keys in a file that are used: the last ones.
pub(crate) const FILE_KEYS: usize = 3;
/// Maximum length of a ticket that is decrypted, bytes. Tickets are shorter unless a client sends
/// many certificates.
const TICKET_MAX: usize = 60 * 1024;
const NAME: usize = 16;
const SALT: usize = 16;
const NONCE: usize = 12;
const TAG: usize = 16;

/// Digest of all settings under which a session may be resumed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SettingsDigest(pub [u8; 32]);

impl SettingsDigest {
    /// Hashes several parts with their lengths, so that the boundaries between them count.
    pub fn of<'p>(parts: impl IntoIterator<Item = &'p [u8]>) -> SettingsDigest {
        let mut context = Context::new(&SHA256);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut bytes = [0; 32];
        bytes.copy_from_slice(context.finish().as_ref());
        SettingsDigest(bytes)
    }
}

thread_local! {
    /// Time of the full handshake of the session that the current handshake resumes.
    static BEGAN_S: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Performs a step of a handshake. rustls does not say which session a new ticket belongs to, so
/// the time of the session's full handshake is stored in the thread.
pub(super) fn with_session_start<R>(began_s: &mut Option<u64>, step: impl FnOnce() -> R) -> R {
    BEGAN_S.set(*began_s);
    let done = step();
    *began_s = BEGAN_S.take();
    done
}

pub(super) fn began_s(now_s: u64) -> u64 {
    BEGAN_S.get().unwrap_or(now_s)
}

/// Returns whether a session whose full handshake was at this time may be resumed, and if so
/// stores that time for the current handshake. A longer configured ticket lifetime extends the
/// limit.
pub(super) fn can_resume_session(began_s: u64, now_s: u64, lifetime_s: u64) -> bool {
    let may = now_s.saturating_sub(began_s) <= WHOLE_LIFE_S.max(lifetime_s);
    if may {
        BEGAN_S.set(Some(began_s));
    }
    may
}

/// A secret from which keys are derived.
#[derive(Clone)]
struct Master {
    name: [u8; NAME],
    secret: Zeroizing<Vec<u8>>,
    made_s: u64,
}

impl Master {
    /// Derives the key for some settings and a single ticket. Keys from a file may be in use for
    /// years, so no derived key encrypts more than one ticket.
    fn key(&self, settings: &SettingsDigest, salt: &[u8; SALT]) -> Option<LessSafeKey> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.secret);
        let mut context = hmac::Context::with_key(&key);
        context.update(&settings.0);
        context.update(salt);
        let derived = context.sign();
        let key = UnboundKey::new(&AES_256_GCM, derived.as_ref()).ok()?;
        Some(LessSafeKey::new(key))
    }

    fn random(now_s: u64) -> Option<Master> {
        let (mut name, mut secret) = ([0; NAME], Zeroizing::new(vec![0; 32]));
        rand::fill(&mut name).ok()?;
        rand::fill(&mut secret).ok()?;
        Some(Master {
            name,
            secret,
            made_s: now_s,
        })
    }
}

/// Longest lifetime of any tickets so far, which determines how long keys are kept.
static LONGEST_S: AtomicU64 = AtomicU64::new(LIFETIME_S as u64);
/// Keys of the process, the newest first.
static KEYS: Mutex<Vec<Master>> = Mutex::new(Vec::new());

/// Keys of a file of `tls-ticket-keys`.
pub struct FileKeys {
    /// Keys in the order of the file: the last but one encrypts, all of them decrypt.
    masters: Mutex<Vec<Master>>,
}

impl fmt::Debug for FileKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Leaves out the keys, which the output must never contain.
        f.debug_struct("FileKeys").finish_non_exhaustive()
    }
}

pub(super) fn lifetime_s() -> u32 {
    LIFETIME.load(Relaxed)
}

pub(super) fn set_lifetime(lifetime_s: u32) {
    LIFETIME.store(lifetime_s, Relaxed);
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FileKeysError {
    /// A line, counted from 1, is not 48 or 80 bytes in Base64, or its length differs from that of
    /// the first.
    #[error("line {0} is not a Base64 key of 48 or 80 bytes")]
    BadKey(usize),
    #[error("at least 3 keys are needed")]
    TooFew,
}

impl FileKeys {
    /// Reads a file: a key on each line, as base64 of 48 or 80 bytes.
    ///
    /// # Errors
    /// `BadKey` if a line is not a key, or differs in length from the first. `TooFew` if there are
    /// fewer than three keys.
    pub fn parse(text: &str) -> Result<FileKeys, FileKeysError> {
        let mut masters: Vec<Master> = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            let bad = FileKeysError::BadKey(at + 1);
            let bytes = Zeroizing::new(STANDARD.decode(line).map_err(|_| bad)?);
            if !matches!(bytes.len(), 48 | 80) {
                return Err(bad);
            }
            // Requires the length of the first key, as HAProxy does.
            let first = masters.first().map(|first| first.secret.len() + NAME);
            if first.is_some_and(|length| length != bytes.len()) {
                return Err(bad);
            }
            let (name, secret) = bytes.split_first_chunk::<NAME>().ok_or(bad)?;
            masters.push(Master {
                name: *name,
                secret: Zeroizing::new(secret.to_vec()),
                made_s: 0,
            });
        }
        if masters.len() < FILE_KEYS {
            return Err(FileKeysError::TooFew);
        }
        masters.drain(..masters.len() - FILE_KEYS);
        Ok(FileKeys {
            masters: Mutex::new(masters),
        })
    }

    fn masters(&self) -> MutexGuard<'_, Vec<Master>> {
        self.masters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sealing(&self) -> Option<Master> {
        self.masters().iter().rev().nth(1).cloned()
    }

    fn opening(&self, name: &[u8; NAME]) -> Option<Master> {
        self.masters().iter().find(|m| m.name == *name).cloned()
    }

    /// Adds a key in place of the oldest. It decrypts at once, and it encrypts once another key
    /// was added after it. Returns false if its length differs from that of the others.
    pub fn push(&self, key: &[u8]) -> bool {
        let mut masters = self.masters();
        let length = masters.first().map(|first| first.secret.len());
        let Some((name, secret)) = key.split_first_chunk::<NAME>() else {
            return false;
        };
        if length != Some(secret.len()) {
            return false;
        }
        masters.remove(0);
        masters.push(Master {
            name: *name,
            secret: Zeroizing::new(secret.to_vec()),
            made_s: 0,
        });
        true
    }

    /// Returns the keys in the format of a file, for an operator with permission to see them.
    pub fn lines(&self) -> Vec<Zeroizing<String>> {
        let masters = self.masters();
        let line = |master: &Master| {
            let whole = Zeroizing::new([&master.name[..], &master.secret].concat());
            Zeroizing::new(STANDARD.encode(&whole[..]))
        };
        masters.iter().map(line).collect()
    }
}

/// Encrypts and decrypts the tickets of some settings.
#[derive(Debug)]
pub struct Ticketer {
    settings: SettingsDigest,
    /// Lifetime of the tickets. None: `tune.ssl.lifetime` applies.
    lifetime_s: Option<u32>,
    file: Option<Arc<FileKeys>>,
}

impl Ticketer {
    /// Uses the keys of the process, or those of a file.
    pub fn new(
        settings: SettingsDigest,
        lifetime_s: Option<u32>,
        file: Option<Arc<FileKeys>>,
    ) -> Ticketer {
        Ticketer {
            settings,
            lifetime_s,
            file,
        }
    }

    fn lifetime_s(&self) -> u64 {
        let lifetime_s = self.lifetime_s.unwrap_or_else(lifetime_s);
        u64::from(lifetime_s).min(LIFETIME_MAX_S)
    }

    fn seal(&self, plain: &[u8], now_s: u64) -> Option<Vec<u8>> {
        let master = match &self.file {
            Some(file) => file.sealing()?,
            None => sealing(now_s, self.lifetime_s())?,
        };
        let (mut salt, mut nonce) = ([0; SALT], [0; NONCE]);
        rand::fill(&mut salt).ok()?;
        rand::fill(&mut nonce).ok()?;
        let key = master.key(&self.settings, &salt)?;
        let mut content = Vec::with_capacity(16 + plain.len() + TAG);
        content.extend_from_slice(&now_s.to_be_bytes());
        content.extend_from_slice(&began_s(now_s).to_be_bytes());
        content.extend_from_slice(plain);
        key.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(master.name),
            &mut content,
        )
        .ok()?;
        Some([&master.name[..], &salt, &nonce, &content].concat())
    }

    fn open(&self, ticket: &[u8], now_s: u64) -> Option<Vec<u8>> {
        if ticket.len() > TICKET_MAX {
            return None;
        }
        let (name, rest) = ticket.split_first_chunk::<NAME>()?;
        let (salt, rest) = rest.split_first_chunk::<SALT>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE>()?;
        let master = match &self.file {
            Some(file) => file.opening(name)?,
            None => opening(name, now_s, self.lifetime_s())?,
        };
        let key = master.key(&self.settings, salt)?;
        let mut content = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = key
            .open_in_place(nonce, Aad::from(*name), &mut content)
            .ok()?;
        let (made_s, plain) = plain.split_first_chunk::<8>()?;
        let (began_s, plain) = plain.split_first_chunk::<8>()?;
        let age_s = now_s.saturating_sub(u64::from_be_bytes(*made_s));
        let is_fresh = age_s <= self.lifetime_s();
        let began_s = u64::from_be_bytes(*began_s);
        (is_fresh && can_resume_session(began_s, now_s, self.lifetime_s())).then(|| plain.to_vec())
    }
}

impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.lifetime_s() as u32
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.seal(plain, now_s())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.open(cipher, now_s())
    }
}

pub(super) fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// Returns the key with which the process encrypts now. Makes a new one if the last is too old.
fn sealing(now_s: u64, lifetime_s: u64) -> Option<Master> {
    LONGEST_S.fetch_max(lifetime_s, Relaxed);
    let mut keys = KEYS.lock().unwrap_or_else(PoisonError::into_inner);
    let is_fresh = |master: &Master| now_s.abs_diff(master.made_s) < KEY_SEALS_S;
    if !keys.first().is_some_and(is_fresh) {
        keys.insert(0, Master::random(now_s)?);
    }
    drop_expired_keys(&mut keys, now_s, LONGEST_S.load(Relaxed));
    keys.first().cloned()
}

fn drop_expired_keys(keys: &mut Vec<Master>, now_s: u64, longest_s: u64) {
    keys.retain(|master| now_s.abs_diff(master.made_s) <= KEY_SEALS_S + longest_s);
}

fn opening(name: &[u8; NAME], now_s: u64, lifetime_s: u64) -> Option<Master> {
    LONGEST_S.fetch_max(lifetime_s, Relaxed);
    let mut keys = KEYS.lock().unwrap_or_else(PoisonError::into_inner);
    drop_expired_keys(&mut keys, now_s, LONGEST_S.load(Relaxed));
    keys.iter().find(|master| master.name == *name).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticketer(settings: &str) -> Ticketer {
        Ticketer::new(SettingsDigest::of([settings.as_bytes()]), Some(300), None)
    }

    #[test]
    fn ticket_is_valid_only_for_its_settings() {
        let now = now_s();
        let open = ticketer("no certificate");
        let ticket = open.seal(b"session", now).unwrap();
        assert_eq!(open.open(&ticket, now).as_deref(), Some(&b"session"[..]));
        // An equal digest, as of another thread or a later configuration.
        let again = ticketer("no certificate").open(&ticket, now);
        assert_eq!(again.as_deref(), Some(&b"session"[..]));
        assert_eq!(ticketer("a certificate").open(&ticket, now), None);
        assert_ne!(
            SettingsDigest::of([&b"ab"[..], b"c"]),
            SettingsDigest::of([&b"a"[..], b"bc"])
        );
    }

    #[test]
    fn tickets_and_keys_expire() {
        let now = now_s();
        let one = ticketer("old");
        let ticket = one.seal(b"session", now).unwrap();
        assert!(one.open(&ticket, now + 300).is_some());
        assert!(one.open(&ticket, now + 301).is_none());
        let long = Ticketer::new(SettingsDigest::of([&b"old"[..]]), Some(u32::MAX), None);
        assert!(long.open(&ticket, now + 5000).is_some());
        let mut keys = vec![Master::random(now).unwrap()];
        drop_expired_keys(&mut keys, now + KEY_SEALS_S + 300, 300);
        assert_eq!(keys.len(), 1);
        drop_expired_keys(&mut keys, now + KEY_SEALS_S + 301, 300);
        assert!(keys.is_empty());
    }

    #[test]
    fn session_ends_after_a_day_despite_resumptions() {
        // Other tests decrypt tickets at the real time, a day before the end of this test. Without
        // a longer lifetime this test would drop their keys.
        LONGEST_S.fetch_max(2 * WHOLE_LIFE_S, Relaxed);
        let begin = now_s();
        let one = ticketer("day");
        let mut ticket = one.seal(b"session", begin).unwrap();
        let mut resumed = 0;
        for now in (begin + 300..).step_by(300) {
            // Each round is a handshake: it decrypts the last ticket and issues a new one.
            let mut began = None;
            let opened = with_session_start(&mut began, || one.open(&ticket, now));
            if opened.is_none() {
                assert_eq!(began, None);
                break;
            }
            assert_eq!(began, Some(begin));
            ticket = with_session_start(&mut began, || one.seal(b"session", now)).unwrap();
            resumed += 1;
        }
        assert_eq!(resumed, WHOLE_LIFE_S / 300);
        assert_eq!(began_s(7), 7);
    }

    #[test]
    fn broken_tickets_are_not_opened() {
        let now = now_s();
        let one = ticketer("broken");
        let ticket = one.seal(b"session", now).unwrap();
        for at in 0..ticket.len() {
            let mut broken = ticket.clone();
            broken[at] ^= 1;
            assert_eq!(one.open(&broken, now), None, "byte {at}");
            assert_eq!(one.open(&ticket[..at], now), None, "cut at {at}");
        }
    }

    #[test]
    fn a_file_seals_with_its_last_key_but_one_and_opens_with_three() {
        let key = |n: u8, length| STANDARD.encode(vec![n; length]);
        let text = [key(1, 48), key(2, 48), key(3, 48), key(4, 48)].join("\n");
        let settings = SettingsDigest::of([&b"file"[..]]);
        let of = |text: &str| {
            let keys = Arc::new(FileKeys::parse(text).unwrap());
            Ticketer::new(settings, None, Some(keys))
        };
        let ticket = of(&text).seal(b"session", 100).unwrap();
        assert_eq!(ticket[..NAME], [3; NAME]);
        let moved = [key(3, 48), key(4, 48), key(5, 48)].join("\n");
        assert!(of(&moved).open(&ticket, 100).is_some());
        let gone = [key(4, 48), key(5, 48), key(6, 48)].join("\n");
        assert!(of(&gone).open(&ticket, 100).is_none());
        let keys = Arc::new(FileKeys::parse(&text).unwrap());
        let serving = Ticketer::new(settings, None, Some(Arc::clone(&keys)));
        assert!(!keys.push(&[5; 80]) && keys.push(&[5; 48]));
        assert_eq!(*keys.lines()[2], key(5, 48));
        let moved_on = serving.seal(b"session", 100).unwrap();
        assert_eq!(moved_on[..NAME], [4; NAME]);
        assert!(serving.open(&ticket, 100).is_some());
        let error = |text: &str| FileKeys::parse(text).err();
        assert_eq!(error(&key(1, 48)), Some(FileKeysError::TooFew));
        assert_eq!(error("!"), Some(FileKeysError::BadKey(1)));
        let mixed = [key(1, 48), key(2, 80)].join("\n");
        assert_eq!(error(&mixed), Some(FileKeysError::BadKey(2)));
        assert_eq!(error(&key(1, 47)), Some(FileKeysError::BadKey(1)));
    }
}
