//! Answers queries of a load with the results of earlier loads. A configuration that a machine
//! has accepted is loaded again even if a name no longer resolves or an account no longer exists:
//! the earlier result applies instead, and the load reports the missing item.

use super::{Account, AccountKind, Answers, SystemQuery};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

const ENTRIES_MAX: usize = 4_096;
/// Maximum number of missing items that are reported.
const LACKS_MAX: usize = 64;

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct EarlierAnswers {
    hosts: BTreeMap<String, Vec<IpAddr>>,
    accounts: BTreeMap<(AccountKind, String), u32>,
}

impl EarlierAnswers {
    /// Decodes the bytes of [`EarlierAnswers::encode`]; other bytes give an empty result.
    pub fn decode(bytes: &[u8]) -> EarlierAnswers {
        rmp_serde::from_slice(bytes).unwrap_or_default()
    }

    /// Returns the results encoded for a file.
    ///
    /// # Panics
    /// Never panics, because writing to memory does not fail.
    pub fn encode(&self) -> Vec<u8> {
        rmp_serde::to_vec_named(self).expect("memory takes all")
    }

    /// Adds the results of a load. If there are too many entries, those of earlier loads are
    /// dropped.
    pub(crate) fn add(&mut self, answers: &Answers) {
        let hosts = answers.hosts.iter().filter(|(_, found)| !found.is_empty());
        let hosts: BTreeMap<_, _> = hosts
            .take(ENTRIES_MAX)
            .map(|(name, found)| (name.clone(), found.to_vec()))
            .collect();
        merge(&mut self.hosts, hosts);
        let accounts = answers
            .accounts
            .iter()
            .filter_map(|(name, found)| match found {
                Account::Known(number) => Some((name.clone(), *number)),
                Account::Unknown(_) => None,
            });
        merge(&mut self.accounts, accounts.take(ENTRIES_MAX).collect());
    }
}

fn merge<K: Ord, V>(earlier: &mut BTreeMap<K, V>, new: BTreeMap<K, V>) {
    let room = ENTRIES_MAX.saturating_sub(new.len());
    let mut kept = std::mem::take(earlier)
        .into_iter()
        .filter(|(key, _)| !new.contains_key(key));
    let kept: Vec<(K, V)> = kept.by_ref().take(room).collect();
    *earlier = new;
    earlier.extend(kept);
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lack {
    pub question: SystemQuery,
    /// Result of an earlier load that is used in place of the missing item, as text; None if there
    /// is none.
    pub instead: Option<String>,
}

/// Results of earlier loads, for a load that continues although items are missing, and the list of
/// missing items.
#[derive(Debug)]
pub struct Fallback {
    /// True if the configuration was accepted earlier; otherwise only names that do not resolve
    /// are recorded.
    is_of_accepted: bool,
    found: EarlierAnswers,
    lacks: Mutex<Vec<Lack>>,
    /// Remaining time for nameservers that do not respond. Without this limit, a machine with many
    /// names would wait for each of them before it serves anything.
    patience: Mutex<Duration>,
}

impl Fallback {
    /// Creates a fallback with results of earlier loads. All lookups without a result may together
    /// take `patience`; names after that count as unresolved.
    pub fn new(found: EarlierAnswers, patience: Duration) -> Fallback {
        Fallback {
            is_of_accepted: true,
            found,
            lacks: Mutex::default(),
            patience: Mutex::new(patience),
        }
    }

    /// Creates a fallback for files that were not accepted yet: names that do not resolve are
    /// recorded, but no earlier results are used, and any other missing item is an error.
    pub fn of_names(patience: Duration) -> Fallback {
        Fallback {
            is_of_accepted: false,
            ..Fallback::new(EarlierAnswers::default(), patience)
        }
    }

    pub fn is_of_accepted(&self) -> bool {
        self.is_of_accepted
    }

    /// Returns the missing items in the order in which they were queried.
    pub fn missing_items(&self) -> Vec<Lack> {
        let lacks = self.lacks.lock().unwrap_or_else(PoisonError::into_inner);
        lacks.clone()
    }

    /// Records a query without an answer.
    pub fn record_missing(&self, question: SystemQuery, instead: Option<String>) {
        let mut lacks = self.lacks.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = lacks.iter().any(|lack| lack.question == question);
        if lacks.len() < LACKS_MAX && !is_known {
            lacks.push(Lack { question, instead });
        }
    }

    /// Returns the addresses of a name: those that `look_up` finds in time, otherwise those of an
    /// earlier load. If there are neither, the line that needs the name reports it.
    pub fn host(&self, name: &str, look_up: fn(&str) -> Arc<[IpAddr]>) -> Arc<[IpAddr]> {
        let now = self.look_up_within_limit(name, look_up);
        if !now.is_empty() {
            return now;
        }
        let Some(earlier) = self.found.hosts.get(name) else {
            return now;
        };
        let texts: Vec<String> = earlier.iter().map(ToString::to_string).collect();
        self.record_missing(SystemQuery::Host(name.to_owned()), Some(texts.join(", ")));
        earlier.as_slice().into()
    }

    fn look_up_within_limit(
        &self,
        name: &str,
        look_up: fn(&str) -> Arc<[IpAddr]>,
    ) -> Arc<[IpAddr]> {
        let mut left = self.patience.lock().unwrap_or_else(PoisonError::into_inner);
        if left.is_zero() {
            return Arc::new([]);
        }
        let (give, take) = std::sync::mpsc::channel();
        let (owned, begun) = (name.to_owned(), Instant::now());
        // Looks the name up in a thread of its own, because a lookup cannot be interrupted: one
        // that exceeds the timeout continues until it or the process ends.
        let thread = std::thread::Builder::new().spawn(move || give.send(look_up(&owned)));
        let found = match thread {
            Ok(_) => take.recv_timeout(*left).unwrap_or_else(|_| Arc::new([])),
            Err(_) => look_up(name),
        };
        if found.is_empty() {
            *left = left.saturating_sub(begun.elapsed());
        }
        found
    }

    pub fn account(&self, kind: AccountKind, name: &str) -> Option<u32> {
        let number = *self.found.accounts.get(&(kind, name.to_owned()))?;
        self.record_missing(
            SystemQuery::Account(kind, name.to_owned()),
            Some(number.to_string()),
        );
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nobody(_: &str) -> Arc<[IpAddr]> {
        Arc::new([])
    }

    fn found() -> EarlierAnswers {
        let mut answers = Answers::default();
        let address: IpAddr = [192, 0, 2, 1].into();
        answers
            .hosts
            .insert("web.example".to_owned(), Arc::new([address]));
        answers
            .hosts
            .insert("gone.example".to_owned(), Arc::new([]));
        let user = (AccountKind::User, "www".to_owned());
        answers.accounts.insert(user, Account::Known(33));
        let mut found = EarlierAnswers::default();
        found.add(&answers);
        found
    }

    #[test]
    fn earlier_answers_apply_and_are_reported() {
        let bytes = found().encode();
        assert_eq!(EarlierAnswers::decode(&bytes), found());
        let fallback = Fallback::new(EarlierAnswers::decode(&bytes), Duration::from_secs(60));
        let address: IpAddr = [192, 0, 2, 1].into();
        assert_eq!(&*fallback.host("web.example", nobody), [address]);
        assert!(fallback.host("gone.example", nobody).is_empty());
        assert_eq!(fallback.account(AccountKind::User, "www"), Some(33));
        assert_eq!(fallback.account(AccountKind::Group, "www"), None);
        let lacks = fallback.missing_items();
        let instead: Vec<_> = lacks.iter().map(|lack| lack.instead.as_deref()).collect();
        assert_eq!(instead, [Some("192.0.2.1"), Some("33")]);
        // Addresses that a lookup finds now have priority over those of an earlier load.
        fn other(_: &str) -> Arc<[IpAddr]> {
            Arc::new([[192, 0, 2, 9].into()])
        }
        let other_address: IpAddr = [192, 0, 2, 9].into();
        assert_eq!(&*fallback.host("web.example", other), [other_address]);
    }

    #[test]
    fn silent_nameservers_together_take_a_bounded_time() {
        fn silent(_: &str) -> Arc<[IpAddr]> {
            std::thread::park_timeout(Duration::from_secs(600));
            Arc::new([])
        }
        let fallback = Fallback::new(found(), Duration::from_millis(20));
        // Without the limit, the lookups would take ten minutes each.
        for n in 0..50 {
            assert!(fallback.host(&format!("n{n}.example"), silent).is_empty());
        }
        assert!(!fallback.host("web.example", silent).is_empty());
    }

    #[test]
    fn entries_are_bounded_and_damaged_bytes_are_nothing() {
        let mut found = EarlierAnswers::default();
        for round in 0..3 {
            let mut answers = Answers::default();
            for n in 0..3_000 {
                let name = format!("h{round}-{n}.example");
                answers
                    .hosts
                    .insert(name, Arc::new([[192, 0, 2, 1].into()]));
            }
            found.add(&answers);
            assert!(found.hosts.contains_key(&format!("h{round}-0.example")));
        }
        assert_eq!(found.hosts.len(), ENTRIES_MAX);
        let bytes = found.encode();
        for end in [0, 1, bytes.len() / 2] {
            assert_eq!(
                EarlierAnswers::decode(&bytes[..end]),
                EarlierAnswers::default()
            );
        }
    }
}
