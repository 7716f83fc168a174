//! Caches TLS sessions for clients that resume without tickets. The process has one bounded
//! cache; each listener finds only sessions with its own settings.

use super::build::Resumption;
use super::tickets::{
    LIFETIME_S, SettingsDigest, Ticketer, began_s, can_resume_session, lifetime_s, now_s,
    set_lifetime,
};
use crate::settings::{BindTls, ServerSettings, TlsDefaults};
use rustls::server::{NoServerSessionStorage, StoresServerSessions};
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use zeroize::Zeroizing;

/// Default number of sessions (`tune.ssl.cachesize`).
const SESSIONS_DEFAULT: u32 = 20_000;
const SESSIONS_MAX: u32 = 10_000_000;
/// Maximum length of a cached session, bytes. It contains the certificates of the client.
const SESSION_BYTES_MAX: usize = 8 * 1024;
const SHARDS: usize = 16;

static MOST: AtomicU32 = AtomicU32::new(SESSIONS_DEFAULT);
static LOOKUPS: AtomicU64 = AtomicU64::new(0);
static MISSES: AtomicU64 = AtomicU64::new(0);
static STORE: LazyLock<[Mutex<Shard>; SHARDS]> = LazyLock::new(Default::default);

type Key = (SettingsDigest, Vec<u8>);

/// A cached session with its secrets.
#[derive(Clone)]
struct CachedSession {
    value: Zeroizing<Vec<u8>>,
    until_s: u64,
    began_s: u64,
}

#[derive(Default)]
struct Shard {
    sessions: HashMap<Key, CachedSession>,
    /// Keys in the order of insertion. Some of their sessions may already have been removed.
    order: VecDeque<Key>,
}

/// Sets the number of cached sessions and their lifetime: `tune.ssl.cachesize` and
/// `tune.ssl.lifetime`.
pub fn set_limits(settings: &TlsDefaults) {
    let sessions = settings.cached_sessions_max.unwrap_or(SESSIONS_DEFAULT);
    MOST.store(sessions.min(SESSIONS_MAX), Relaxed);
    let lifetime_s = settings.session_lifetime_s.unwrap_or(LIFETIME_S);
    set_lifetime(lifetime_s);
}

/// Creates the session resumption of a listener. A session can be resumed on any listener with the
/// same settings, under this configuration or another one.
pub fn resumption(words: &BindTls, settings: &ServerSettings) -> Resumption {
    let client = &settings.client;
    // Disables resumption: a resumed session does not record which errors of the client's
    // certificate were ignored, so rules that check these errors could be bypassed.
    if !client.ca_ignore_err.is_empty() || !client.crt_ignore_err.is_empty() {
        return Resumption {
            tickets: None,
            sessions: Arc::new(NoServerSessionStorage {}),
        };
    }
    let digest = digest(words, settings);
    let file = words.ticket_keys.as_ref();
    let file = file.map(|file| Arc::clone(&file.ring));
    Resumption {
        tickets: Some(Arc::new(Ticketer::new(digest, None, file))),
        sessions: Sessions::of(digest),
    }
}

/// Returns a digest of the requirements for clients, of the server's certificates, and of the
/// negotiated parameters. A listener with other certificates counts as another server, even if its
/// name is the same.
fn digest(words: &BindTls, settings: &ServerSettings) -> SettingsDigest {
    let client = &settings.client;
    let words = format!(
        "{:?} {:?} {:?} {:?}",
        client.mode, settings.parameters, settings.alpn, words.sources
    );
    let authorities = client.authorities.iter().chain(&client.more_authorities);
    let authorities = authorities.flat_map(|list| list.iter().map(|one| one.der.as_ref()));
    let lists = client.crls.iter().flat_map(|lists| lists.iter());
    let lists = lists.flat_map(|list| [&*list.signed.message, &*list.signed.signature]);
    let parts = [words.as_bytes(), b"authorities"].into_iter();
    let parts = parts.chain(authorities).chain([&b"lists"[..]]);
    SettingsDigest::of(parts.chain(lists))
}

/// Returns the number of session lookups, and of those without a result.
pub fn lookups() -> (u64, u64) {
    (LOOKUPS.load(Relaxed), MISSES.load(Relaxed))
}

/// The cached sessions that were established with the same settings.
#[derive(Debug)]
pub struct Sessions(SettingsDigest);

impl Sessions {
    /// Returns the session cache for these settings, which all configurations share.
    pub fn of(settings: SettingsDigest) -> Arc<Sessions> {
        Arc::new(Sessions(settings))
    }

    fn key(&self, id: &[u8]) -> Key {
        (self.0, id.to_vec())
    }

    fn find(&self, id: &[u8], take: bool) -> Option<Vec<u8>> {
        LOOKUPS.fetch_add(1, Relaxed);
        let key = self.key(id);
        let found = with_shard(id, |shard| {
            let kept = if take {
                shard.sessions.remove(&key)?
            } else {
                shard.sessions.get(&key)?.clone()
            };
            let now_s = now_s();
            let goes_on = now_s <= kept.until_s
                && can_resume_session(kept.began_s, now_s, u64::from(lifetime_s()));
            goes_on.then(|| kept.value.to_vec())
        });
        if found.is_none() {
            MISSES.fetch_add(1, Relaxed);
        }
        found
    }
}

/// Locks the shard for a session identifier, chosen by its last byte. Identifiers are random, so
/// this distributes them evenly.
fn with_shard<R>(id: &[u8], with: impl FnOnce(&mut Shard) -> R) -> R {
    let at = id.last().map_or(0, |byte| usize::from(*byte)) % SHARDS;
    with(&mut STORE[at].lock().unwrap_or_else(PoisonError::into_inner))
}

impl StoresServerSessions for Sessions {
    fn put(&self, id: Vec<u8>, value: Vec<u8>) -> bool {
        let most = MOST.load(Relaxed) as usize;
        if most == 0 || value.len() > SESSION_BYTES_MAX || id.len() > 64 {
            return false;
        }
        let key = self.key(&id);
        let now_s = now_s();
        let kept = CachedSession {
            value: Zeroizing::new(value),
            until_s: now_s + u64::from(lifetime_s()),
            began_s: began_s(now_s),
        };
        with_shard(&id, |shard| {
            shard.sessions.insert(key.clone(), kept);
            shard.order.push_back(key);
            while shard.order.len() > most.div_ceil(SHARDS) {
                if let Some(oldest) = shard.order.pop_front() {
                    shard.sessions.remove(&oldest);
                }
            }
        });
        true
    }

    fn get(&self, id: &[u8]) -> Option<Vec<u8>> {
        self.find(id, false)
    }

    fn take(&self, id: &[u8]) -> Option<Vec<u8>> {
        self.find(id, true)
    }

    fn can_cache(&self) -> bool {
        MOST.load(Relaxed) > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_found_again_by_the_same_settings_only() {
        let settings = |name: &[u8]| Sessions::of(SettingsDigest::of([name]));
        let (one, other) = (settings(b"one"), settings(b"other"));
        assert!(one.put(b"id 1".to_vec(), b"session".to_vec()));
        assert_eq!(one.get(b"id 1").as_deref(), Some(&b"session"[..]));
        assert_eq!(other.get(b"id 1"), None);
        assert_eq!(
            settings(b"one").take(b"id 1").as_deref(),
            Some(&b"session"[..])
        );
        assert_eq!(one.take(b"id 1"), None);
        assert!(!one.put(b"id 2".to_vec(), vec![0; SESSION_BYTES_MAX + 1]));
        let (lookups, misses) = lookups();
        assert!(lookups >= 4 && misses >= 2);
    }

    #[test]
    fn settings_and_certificates_that_differ_share_no_sessions() {
        use crate::authorities::Authorities;
        use crate::revocation::Revocations;
        use crate::settings::{CertificateSource, ClientAuth, Verify};
        use lab::pki::Authority;
        let named = |name: &str| BindTls {
            sources: vec![CertificateSource::Certificates(vec![name.into()])],
            ..BindTls::default()
        };
        let (one, other) = (Authority::new("ca").unwrap(), Authority::new("ca").unwrap());
        let believed = |all: &[&Authority]| {
            let text: String = all.iter().map(|a| a.certificate_pem()).collect();
            Some(Arc::new(Authorities::from_pem(text.as_bytes()).unwrap()))
        };
        let crls = |text: &str| Some(Arc::new(Revocations::from_pem(text.as_bytes()).unwrap()));
        let asks = |mode, authorities, crls| ServerSettings {
            client: ClientAuth {
                mode,
                authorities,
                crls,
                ..ClientAuth::default()
            },
            ..ServerSettings::default()
        };
        let list = one.crl(&[]).unwrap();
        let all = [
            digest(&named("a.pem"), &ServerSettings::default()),
            digest(&named("b.pem"), &ServerSettings::default()),
            digest(
                &named("a.pem"),
                &asks(Verify::Required, believed(&[&one]), None),
            ),
            digest(
                &named("a.pem"),
                &asks(Verify::Optional, believed(&[&one]), None),
            ),
            digest(
                &named("a.pem"),
                &asks(Verify::Required, believed(&[&other]), None),
            ),
            digest(
                &named("a.pem"),
                &asks(Verify::Required, believed(&[&one, &other]), None),
            ),
            digest(
                &named("a.pem"),
                &asks(Verify::Required, believed(&[&one]), crls(&list)),
            ),
            digest(
                &named("a.pem"),
                &asks(
                    Verify::Required,
                    believed(&[&one]),
                    crls(&one.crl(&[b"1"]).unwrap()),
                ),
            ),
        ];
        for (at, digest) in all.iter().enumerate() {
            assert!(!all[..at].contains(digest), "{at}");
        }
        let again = asks(Verify::Required, believed(&[&one]), crls(&list));
        assert_eq!(all[6], digest(&named("a.pem"), &again));
    }

    #[test]
    fn the_store_is_bounded() {
        let one = Sessions::of(SettingsDigest::of([&b"bounded"[..]]));
        // All of these identifiers belong to one shard.
        for n in 0..3000_u32 {
            let id = [&n.to_be_bytes()[..], &[7]].concat();
            assert!(one.put(id, vec![0; 10]));
        }
        with_shard(&[7], |shard| {
            let most = (SESSIONS_DEFAULT as usize).div_ceil(SHARDS);
            assert!(shard.order.len() <= most && shard.sessions.len() <= most);
        });
        assert_eq!(one.get(&[0, 0, 0, 1, 7]), None);
        assert!(
            one.get(&[&2999_u32.to_be_bytes()[..], &[7]].concat())
                .is_some()
        );
    }
}
