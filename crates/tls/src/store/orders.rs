//! Records the commands by which operators changed certificates and other files of the
//! certificate store. The next process repeats them, because the files themselves did not change.
//! Commands contain private keys, which are kept in memory only and wiped when they are dropped.

use super::command::{decoded, part};
use super::lists::list_name;
use super::{Store, StoreState};
use crate::describe::hex;
use crate::ocsp;
use crate::tickets::{FILE_KEYS, SettingsDigest};
use std::fmt;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Maximum number of stored commands.
const ORDERS_MAX: usize = 10_000;
const BYTES_MAX: usize = 16 << 20;

/// A command that changed the store, or is a step of such a change.
#[derive(Clone)]
pub struct StoreOrder {
    /// Words of the command up to the file name: `set`, `ssl`, `cert`, `/etc/ssl/a.pem`. For a
    /// crt-list, also the certificate.
    pub words: Vec<Box<str>>,
    /// Payload of the command. May contain a private key.
    pub payload: Option<Arc<Zeroizing<String>>>,
    /// Name of the certificate, file or list that the command changes.
    pub subject: Box<str>,
    /// Digest of the file's content when it was loaded; None if there is no file.
    pub of_file: Option<[u8; 32]>,
}

impl fmt::Debug for StoreOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Order({})", self.words.join(" "))
    }
}

#[derive(Debug, Default)]
pub(super) struct StoreOrders {
    /// Commands that took effect, oldest first.
    effective: Vec<StoreOrder>,
    pending: Vec<StoreOrder>,
}

impl StoreOrder {
    fn verb(&self) -> &str {
        self.words.first().map_or("", |word| word)
    }

    fn kind(&self) -> &str {
        self.words.get(2).map_or("", |word| word)
    }

    fn is_about(&self, other: &StoreOrder) -> bool {
        self.kind() == other.kind() && self.subject == other.subject
    }

    /// Returns whether the command replaces the whole certificate or file, not only one of its
    /// extra files.
    fn replaces_subject(&self) -> bool {
        self.words.get(3) == Some(&self.subject)
    }

    fn is_issuer(&self) -> bool {
        self.words
            .get(3)
            .is_some_and(|name| name.ends_with(".issuer"))
    }
}

impl Store {
    /// Creates a record of a command from its words. The caller executes the command, then calls
    /// [`Store::ordered`].
    pub fn order(&self, words: &[&str], payload: Option<&str>) -> StoreOrder {
        let inner = self.inner();
        let kind = words.get(2).copied().unwrap_or_default();
        let asked = words.get(3).copied().unwrap_or_default();
        // Takes ticket keys and OCSP responses from the payload or, without one, from a word.
        let (known, sent) = match kind {
            "tls-key" => (4, payload.or(words.get(4).copied())),
            "ocsp-response" => (3, payload.or(words.get(3).copied())),
            _ => (words.len(), payload),
        };
        let subject: Box<str> = match kind {
            "cert" => part(asked, &inner).0.into(),
            "crt-list" => list_name(asked).into(),
            "ocsp-response" => {
                let der = sent.and_then(|text| decoded(text.as_bytes()));
                let id = der.and_then(|der| ocsp::Response::id_of(&der).ok());
                id.map_or_else(String::new, |id| hex(&id, false)).into()
            }
            _ => asked.into(),
        };
        let mut order = StoreOrder {
            words: words
                .iter()
                .take(known)
                .map(|word| (*word).into())
                .collect(),
            payload: sent.map(|text| Arc::new(Zeroizing::new(text.to_owned()))),
            subject,
            of_file: None,
        };
        let mut before = inner.orders.effective.iter().chain(&inner.orders.pending);
        order.of_file = match before.find(|before| before.is_about(&order)) {
            Some(before) => before.of_file,
            None => inner.digest(&order),
        };
        order
    }

    /// Returns whether the file is the same as before the first command about it. If not, the new
    /// file takes precedence over the commands.
    pub fn is_subject_unchanged(&self, order: &StoreOrder) -> bool {
        self.inner().digest(order) == order.of_file
    }

    /// Stores a command that was executed. Returns false if a limit is exceeded.
    pub fn ordered(&self, order: StoreOrder) -> bool {
        let mut inner = self.inner();
        let orders = &mut inner.orders;
        let about = |one: &StoreOrder| one.is_about(&order);
        match (order.verb(), order.kind()) {
            ("set", "cert" | "ca-file" | "crl-file") => {
                if order.replaces_subject() {
                    orders.pending.retain(|one| !about(one) || one.is_issuer());
                }
                orders.pending.push(order);
                return true;
            }
            ("abort", kind) => {
                orders.pending.retain(|one| one.kind() != kind);
                return true;
            }
            ("commit", kind) => {
                let (steps, others) = std::mem::take(&mut orders.pending)
                    .into_iter()
                    .partition(|one: &StoreOrder| one.kind() == kind);
                orders.pending = others;
                let steps: Vec<StoreOrder> = steps;
                let has_issuer = orders
                    .effective
                    .iter()
                    .any(|one| about(one) && one.is_issuer());
                if steps.iter().any(StoreOrder::replaces_subject) && !has_issuer {
                    orders
                        .effective
                        .retain(|one| !about(one) || one.verb() == "new");
                }
                orders.effective.extend(steps);
            }
            ("del", "cert" | "ca-file" | "crl-file") => {
                orders.effective.retain(|one| !about(one));
                if order.of_file.is_none() {
                    return true;
                }
            }
            ("set", "ocsp-response") => orders.effective.retain(|one| !about(one)),
            ("set", "tls-key") => {
                let count = orders.effective.iter().filter(|one| about(one)).count();
                let oldest = orders.effective.iter().position(about);
                if let Some(oldest) = oldest.filter(|_| count >= FILE_KEYS) {
                    orders.effective.remove(oldest);
                }
            }
            _ => {}
        }
        let bytes = |one: &StoreOrder| one.payload.as_ref().map_or(0, |payload| payload.len());
        let kept: usize = orders.effective.iter().map(bytes).sum();
        let has_room =
            orders.effective.len() < ORDERS_MAX && kept.saturating_add(bytes(&order)) <= BYTES_MAX;
        if has_room {
            orders.effective.push(order);
        }
        has_room
    }

    /// Returns the commands that took effect, oldest first.
    pub fn orders(&self) -> Vec<StoreOrder> {
        self.inner().orders.effective.clone()
    }
}

impl StoreState {
    fn digest(&self, order: &StoreOrder) -> Option<[u8; 32]> {
        let (stock, name) = (&self.stock, &*order.subject);
        let digest = |parts: Vec<Vec<u8>>| {
            let parts = parts.iter().map(Vec::as_slice);
            SettingsDigest::of(parts).0
        };
        match order.kind() {
            "cert" => {
                let found = stock.certificates.get(name)?.as_ref();
                let chain = found.map(|found| found.parts.chain.iter());
                let chain = chain.into_iter().flatten();
                Some(digest(chain.map(|der| der.to_vec()).collect()))
            }
            "ca-file" => {
                let found = stock.authorities.get(name)?.as_ref();
                let all = found.iter().flat_map(|all| all.iter());
                Some(digest(all.map(|one| one.der.to_vec()).collect()))
            }
            "crl-file" => {
                let found = stock.revocations.get(name)?.as_ref();
                let all = found.iter().flat_map(|all| all.iter());
                let parts = all.flat_map(|one| {
                    [
                        one.issuer.to_vec(),
                        one.this_update_s.to_be_bytes().to_vec(),
                    ]
                });
                Some(digest(parts.collect()))
            }
            "crt-list" => {
                let list = stock.lists.get(name)?;
                let lines = list.entries.iter();
                Some(digest(
                    lines.map(|entry| entry.to_string().into_bytes()).collect(),
                ))
            }
            "tls-key" => {
                let (_, keys) = self.ticket_keys.iter().find(|(file, _)| **file == *name)?;
                let lines = keys.lines();
                let lines = lines.iter().map(|line| line.as_bytes());
                Some(SettingsDigest::of(lines).0)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(words: &str, payload: Option<&str>) -> StoreOrder {
        let store = Store::default();
        let words: Vec<&str> = words.split(' ').collect();
        store.order(&words, payload)
    }

    #[test]
    fn replaced_and_aborted_contents_are_dropped() {
        let store = Store::default();
        let give = |words: &str, payload| assert!(store.ordered(order(words, payload)));
        give("new ssl cert a", None);
        for payload in ["1", "2"] {
            give("set ssl cert a", Some(payload));
            give("commit ssl cert a", None);
        }
        give("set ssl cert a", Some("3"));
        give("abort ssl cert a", None);
        give("set ssl ca-file c", Some("4"));
        let orders = store.orders();
        let kept: Vec<String> = orders
            .iter()
            .map(|one| one.words.join(" ") + one.payload.as_ref().map_or("", |payload| payload))
            .collect();
        assert_eq!(
            kept,
            ["new ssl cert a", "set ssl cert a2", "commit ssl cert a"]
        );
        give("del ssl cert a", None);
        assert!(store.orders().is_empty());
    }

    #[test]
    fn orders_are_bounded() {
        let store = Store::default();
        let big = "x".repeat(BYTES_MAX);
        assert!(store.ordered(order("set ssl ca-file a", Some(&big))));
        assert!(store.ordered(order("commit ssl ca-file a", None)));
        assert!(!store.ordered(order("add ssl crt-list l c", Some("more"))));
        for key in 0..9 {
            store.ordered(order(&format!("set ssl tls-key k {key}"), None));
        }
        let keys = store.orders();
        assert!(keys.iter().filter(|one| one.kind() == "tls-key").count() <= FILE_KEYS);
    }

    #[test]
    fn key_is_in_no_word_and_no_debug_output() {
        let order = order("set ssl tls-key k SECRET", None);
        assert_eq!(format!("{order:?}"), "Order(set ssl tls-key k)");
        assert_eq!(
            order.payload.as_ref().map(|key| key.as_str()),
            Some("SECRET")
        );
    }
}
