//! Replaces the known leases of a part that this node does not hold by those that its holder
//! reports, also for addresses that the holder withholds. Records which withheld addresses another
//! node knows.

use super::{Address, AddressUse, Holder, Pool};
use crate::mac::Mac;
use std::collections::BTreeMap;

/// Knowledge of this node about what the previous holder of an adopted part withholds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AdoptedKnowledge {
    /// True if the previous holder withholds, because of the holder before it, exactly the
    /// addresses whose leases this node knows.
    pub knows_before: bool,
    /// True if the previous holder knew the leases that this node did not know.
    pub is_left: bool,
}

impl<A: Address> Pool<A> {
    /// Replaces the known leases of a part that this node does not hold; each lease begins again.
    /// A withheld address stays with the client that had it as far as this node knew.
    pub fn adopt(
        &mut self,
        part: usize,
        known: impl IntoIterator<Item = (A, Holder)>,
        knowledge: AdoptedKnowledge,
        now_ms: u64,
    ) {
        let range = self.range;
        let known = known
            .into_iter()
            .filter(|(one, _)| range.has(*one) && range.part(*one) == part);
        let known: BTreeMap<A, Holder> = known.collect();
        let of_part = self.uses.keys().filter(|one| range.part(**one) == part);
        let gone: Vec<A> = of_part.copied().collect();
        let was = gone
            .iter()
            .map(|one| (*one, (self.holder(*one), self.user(*one))));
        let was: BTreeMap<A, (Holder, Option<Mac>)> = was.collect();
        gone.into_iter().for_each(|address| self.end(address));
        // Records the leases that the holder gave itself first, because they are newer than what
        // this node knew.
        let is_before =
            |holder: Holder| knowledge.knows_before && matches!(holder, Holder::Before(_));
        let (before, given): (Vec<_>, Vec<_>) = known
            .into_iter()
            .partition(|(_, holder)| is_before(*holder));
        for (address, holder) in given.into_iter().chain(before) {
            let (own, user) = was.get(&address).copied().unwrap_or((Holder::Nobody, None));
            let both = (knowledge.knows_before && knowledge.is_left)
                .then(|| of_both(holder, own))
                .flatten();
            let holder = if is_before(holder) { own } else { holder };
            if self.is_for_clients(address) {
                self.learn(address, both.unwrap_or(holder), user, now_ms);
            }
        }
    }

    /// Sets whether a node that is up knows what is withheld of a part. Once the nodes reach each
    /// other, that node reports the owner of each address, even if the client sleeps and another
    /// machine responds there.
    pub fn set_known_elsewhere(&mut self, part: usize, is_known: bool) {
        if is_known {
            self.known_elsewhere.insert(part)
        } else {
            self.known_elsewhere.remove(&part)
        };
    }

    /// Returns whether an address is withheld whose owner is known to a node that is up.
    pub fn is_known_elsewhere(&self, address: A) -> bool {
        let one = self.uses.get(&address).filter(|_| self.holds(address));
        let is_before = matches!(
            one,
            Some(AddressUse::Unclear {
                is_before: true,
                ..
            })
        );
        is_before && self.known_elsewhere.contains(&self.range.part(address))
    }

    /// Records that no node knows what is withheld of a part.
    pub fn has_no_former(&mut self, part: usize) {
        let range = self.range;
        let withheld = self.uses.iter().filter_map(|(address, one)| match one {
            AddressUse::Unclear {
                until_ms,
                user,
                is_before: true,
            } => Some((*address, AddressUse::unclear(*until_ms, *user, false))),
            _ => None,
        });
        let withheld = withheld.filter(|(address, _)| range.part(*address) == part);
        for (address, one) in withheld.collect::<Vec<_>>() {
            self.set(address, one);
        }
    }
}

/// Merges the owners of an address as two nodes know them, each of which knows what the other one
/// does not. None: the two disagree.
fn of_both(one: Holder, other: Holder) -> Option<Holder> {
    use Holder::{Before, Client, Nobody, Unclear};
    match (one, other) {
        (Before(None), Before(None)) => Some(Nobody),
        (Unclear(Some(client)), Nobody | Before(None)) | (Before(None), Unclear(Some(client))) => {
            Some(Client(client))
        }
        (Unclear(Some(client)), Before(Some(user)) | Client(user))
        | (Before(Some(user)), Unclear(Some(client)))
            if user == client =>
        {
            Some(Client(client))
        }
        _ => None,
    }
}
