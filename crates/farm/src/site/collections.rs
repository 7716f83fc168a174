//! Shows the collections of a farm to operators, if some programs do not run on all hosts.

use super::{FarmState, FarmStateInner};
use crate::collection::CollectionId;
use crate::user::UserId;
use part::lock;
use part::report::{Grade, Subject};
use std::collections::BTreeSet;

const ALL: &str = "all hosts";

fn name(hosts: &BTreeSet<String>) -> String {
    let names: Vec<&str> = hosts.iter().map(String::as_str).collect();
    if names.is_empty() {
        ALL.to_owned()
    } else {
        names.join(",")
    }
}

impl FarmState {
    /// Returns the titles of the programs that run on this host, and on no host that accepts users.
    pub fn closed_with(&self, host: &str) -> Vec<String> {
        let inner = lock(&self.inner);
        let all = inner.farm.all_collections();
        let has = |hosts: &BTreeSet<String>| hosts.is_empty() || hosts.contains(host);
        let closed = all
            .iter()
            .filter(|(id, hosts)| has(hosts) && inner.agreement.directory.taking(**id) == 0);
        let titles = closed.flat_map(|(id, _)| inner.farm.starts(*id));
        titles.map(str::to_owned).collect()
    }
}

impl FarmStateInner {
    /// Returns the collections for a report, each with whether none of its hosts accepts users.
    pub(super) fn collections(&self) -> Vec<(bool, Subject)> {
        let all = self.farm.all_collections();
        let subject = |(id, hosts): (&CollectionId, &BTreeSet<String>)| {
            let taking = self.agreement.directory.taking(*id);
            let all = if hosts.is_empty() {
                self.farm.hosts.len()
            } else {
                hosts.len()
            };
            let (word, grade) = match taking {
                0 => ("full", Grade::Bad),
                taking if taking < all => ("degraded", Grade::Busy),
                _ => ("serving", Grade::Good),
            };
            let starts = self.farm.starts(*id).into_iter().map(str::to_owned);
            let mut subject = Subject::new("collection", &name(hosts))
                .label("collection")
                .state(word, grade)
                .list("starts", starts.collect())
                .number(
                    "hosts taking users",
                    u64::try_from(taking).unwrap_or(u64::MAX),
                );
            if taking == 0 {
                "none of its hosts accepts new users: programs that only they have cannot be started"
                    .clone_into(&mut subject.why);
            }
            (taking == 0, subject)
        };
        all.iter().map(subject).collect()
    }

    pub(super) fn collections_of(&self, user: UserId, host: &str) -> Vec<String> {
        let all = self.farm.all_collections();
        if all.is_empty() {
            return Vec::new();
        }
        let directory = &self.agreement.directory;
        let own = directory
            .of_user(user)
            .filter(|(_, entry)| entry.host == host);
        let name = |id: &CollectionId| match all.get(id) {
            Some(hosts) => name(hosts),
            None if *id == CollectionId::ALL => ALL.to_owned(),
            None => "of a previous configuration".to_owned(),
        };
        own.map(|(id, _)| name(&id.collection)).collect()
    }
}
