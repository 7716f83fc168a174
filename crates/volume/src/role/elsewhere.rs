//! Manages volumes in external storage, whose data no node keeps. This node owns such a volume
//! while it holds the lease and a local role uses the volume exclusively. No data passes through
//! this role.

use crate::config::{ExternalVolume, size_words};
use crate::report::{BACKING, NO_OWNER, OWNER, OWNER_HERE, REPLICATION, SERVING, SIZE, VOLUME};
use part::clock::boottime_ns;
use part::report::{Grade, Moment, Subject};
use part::role::{KnownLease, VolumeUse};
use part::status::{VolumeReport, VolumeServiceState};

const USED_HERE: u32 = 4;

#[derive(Debug)]
pub(super) struct ExternalVolumeState {
    pub(super) spec: ExternalVolume,
    lease: Option<KnownLease>,
    used: Option<VolumeUse>,
    shown: (&'static str, Moment),
}

impl ExternalVolumeState {
    pub(super) fn new(spec: ExternalVolume) -> ExternalVolumeState {
        ExternalVolumeState {
            spec,
            lease: None,
            used: None,
            shown: (FREE, Moment::now()),
        }
    }

    pub(super) fn learn(&mut self, lease: Option<KnownLease>) {
        self.lease = lease;
        self.see();
    }

    pub(super) fn set_use(&mut self, used: Option<VolumeUse>) {
        self.used = used;
        self.see();
    }

    /// Returns the lease rank of this node. Zero: the node only watches the lease.
    pub(super) fn rank(&self) -> u32 {
        match self.used {
            Some(VolumeUse::Alone) => USED_HERE,
            Some(VolumeUse::Reads | VolumeUse::HandsOver) | None => 0,
        }
    }

    fn is_here(&self) -> bool {
        let held = |lease: &KnownLease| lease.until_ns > boottime_ns();
        !self.spec.has_lease() || self.lease.as_ref().is_some_and(held)
    }

    /// Returns the node that holds the lease, as far as this node knows; empty if none does.
    /// Without a lease it is this node.
    fn owner(&self) -> &str {
        if self.spec.has_lease() {
            self.lease.as_ref().map_or("", |lease| &lease.holder)
        } else {
            &self.spec.me
        }
    }

    /// Checks that the volume is ready for this use.
    ///
    /// # Errors
    /// [`VolumeUse::Alone`]: this node does not hold the lease. [`VolumeUse::HandsOver`]: the
    /// volume cannot move, or no other node holds its lease.
    pub(super) fn is_ready(&self, used: VolumeUse) -> Result<(), String> {
        let owner = self.owner();
        match used {
            VolumeUse::Reads => Ok(()),
            VolumeUse::Alone if self.is_here() => Ok(()),
            VolumeUse::Alone if self.lease.is_none() => Err(
                "no cluster has reported its lease yet: run `evenkeel run` without `-f`".to_owned(),
            ),
            VolumeUse::Alone if owner.is_empty() || owner == self.spec.me => {
                Err("this node does not hold its lease yet".to_owned())
            }
            VolumeUse::Alone => Err(format!("{owner} was the last holder of its lease")),
            VolumeUse::HandsOver if !self.spec.has_lease() => {
                Err("its line `on` names only this node: it cannot move to another one".to_owned())
            }
            VolumeUse::HandsOver if !owner.is_empty() && owner != self.spec.me => Ok(()),
            VolumeUse::HandsOver => Err("no other node holds its lease yet".to_owned()),
        }
    }

    fn see(&mut self) {
        let word = self.word();
        if self.shown.0 != word {
            self.shown = (word, Moment::now());
        }
    }

    fn word(&self) -> &'static str {
        let others = !self.owner().is_empty() && self.owner() != self.spec.me;
        match (self.used, others) {
            (Some(VolumeUse::Alone), _) if self.is_here() => OWNED,
            (Some(VolumeUse::Alone), _) => WAITING,
            (_, true) => ELSEWHERE,
            (_, false) => FREE,
        }
    }

    pub(super) fn subject(&self, name: &str) -> Subject {
        let (word, since) = self.shown;
        let grade = match word {
            WAITING => Grade::Bad,
            _ => Grade::Good,
        };
        let size = self.spec.external.size_bytes;
        let size_text = size.map_or_else(|| "that of the storage".to_owned(), size_words);
        let storage = &self.spec.external.storage;
        let mut subject = Subject::new(VOLUME, name)
            .label("volume")
            .state(word, grade)
            .fact("size", size_text)
            .fact(BACKING, storage.to_string())
            .fact(
                REPLICATION,
                "by the storage system: Evenkeel has no copy of it",
            );
        if self.spec.has_lease() {
            let owner = match self.owner() {
                "" => NO_OWNER,
                owner => owner,
            };
            subject = subject.fact(OWNER, owner);
        }
        if word == WAITING {
            subject.why = self.is_ready(VolumeUse::Alone).err().unwrap_or_default();
        }
        subject.since = Some(since);
        let status = VolumeReport {
            state: match word {
                OWNED => VolumeServiceState::Serving,
                WAITING => VolumeServiceState::Frozen,
                _ => VolumeServiceState::External,
            },
            external_storage: storage.to_string(),
            owner: self.owner().to_owned(),
            is_owner: word == OWNED,
            ..VolumeReport::default()
        };
        let is_owned = u64::from(word == OWNED);
        let epoch = self.lease.as_ref().map_or(0, |lease| lease.epoch);
        subject
            .publish(&status)
            .number(SIZE, size.unwrap_or_default())
            .number(SERVING, is_owned)
            .number(OWNER_HERE, is_owned)
            .number("epoch", epoch)
    }

    pub(super) fn refusal(&self, name: &str) -> String {
        refusal(name, &self.spec.external.storage.to_string())
    }
}

/// Returns the error message for commands about replicas, which do not apply to external storage.
pub fn refusal(name: &str, storage: &str) -> String {
    format!(
        "volume '{name}' is stored by an external storage system ({storage}): Evenkeel has no copy of it \
         and no socket for it, so this command does not apply. Create, grow, copy, check and snapshot the \
         image with the tools of the storage system; a larger `size` in the section takes effect when its \
         guest starts again"
    )
}

const OWNED: &str = "owned here";
const ELSEWHERE: &str = "owned elsewhere";
const WAITING: &str = "waiting";
const FREE: &str = "not in use";

#[cfg(test)]
mod tests {
    use super::*;
    use configuration::{External, Storage};

    fn owned(nodes: &[&str]) -> ExternalVolumeState {
        ExternalVolumeState::new(ExternalVolume {
            external: External {
                storage: Storage::Nfs {
                    server: [10, 0, 0, 9].into(),
                    path: "/srv/mail.img".to_owned(),
                },
                size_bytes: None,
            },
            me: "alpha".to_owned(),
            nodes: nodes.iter().map(|node| (*node).to_owned()).collect(),
        })
    }

    fn lease(holder: &str) -> KnownLease {
        KnownLease {
            name: "volume/mail".to_owned(),
            epoch: 7,
            until_ns: if holder == "alpha" { u64::MAX } else { 0 },
            holder: holder.to_owned(),
            ..KnownLease::default()
        }
    }

    #[test]
    fn a_replicated_volume_is_ready_where_its_lease_is() {
        let mut one = owned(&["alpha", "beta"]);
        assert_eq!((one.rank(), one.word()), (0, FREE));
        one.set_use(Some(VolumeUse::Alone));
        assert_eq!((one.rank(), one.word()), (USED_HERE, WAITING));
        assert!(one.is_ready(VolumeUse::Alone).is_err());
        one.learn(Some(lease("beta")));
        let why = one.is_ready(VolumeUse::Alone).unwrap_err();
        assert_eq!(why, "beta was the last holder of its lease");
        one.learn(Some(lease("alpha")));
        assert_eq!(one.is_ready(VolumeUse::Alone), Ok(()));
        assert_eq!(one.word(), OWNED);
        one.set_use(Some(VolumeUse::HandsOver));
        assert_eq!(one.rank(), 0);
        assert!(one.is_ready(VolumeUse::HandsOver).is_err());
        one.learn(Some(lease("beta")));
        assert_eq!(one.is_ready(VolumeUse::HandsOver), Ok(()));
        one.set_use(None);
        assert_eq!(one.word(), ELSEWHERE);
        assert!(one.subject("mail").why.is_empty());
    }

    #[test]
    fn a_volume_of_one_node_needs_no_lease() {
        let one = owned(&["alpha"]);
        assert_eq!(one.is_ready(VolumeUse::Alone), Ok(()));
        assert!(one.is_ready(VolumeUse::HandsOver).is_err());
        assert!(owned(&[]).is_ready(VolumeUse::Alone).is_ok());
    }
}
