//! Spreads data that needs no agreement between members, outside of the log: each member's view of
//! the others and of its servers.
//!
//! Each member writes only its own entry: topics with bytes. Two members exchange what
//! the other one lacks ([`Gossip::ask`], [`Gossip::answer`], [`Gossip::merge_response`]), including
//! entries of third members, so that two members without a connection learn of each other
//! through a third. Merging is commutative and idempotent. No clock is read: the time is
//! an argument, and only used for the age of the last news of a member.

use crate::member::MemberId;
use part::codec::{self, InvalidEncoding};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

pub const TOPICS_MAX: usize = 64;
pub const TOPIC_NAME_BYTES_MAX: usize = 64;
/// Largest size of all topics of a member, bytes.
pub const ENTRY_BYTES_MAX: usize = 64 << 10;
pub const ENTRIES_MAX: usize = crate::state::MEMBERS_MAX;
/// Largest gossip message, bytes; covers entries of all members.
pub const MESSAGE_BYTES_MAX: usize = 2 * ENTRIES_MAX * ENTRY_BYTES_MAX;

/// A topic or its content exceeds a limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TooMuch {
    #[error("more than {TOPICS_MAX} topics")]
    Topics,
    #[error("a topic's name of more than {TOPIC_NAME_BYTES_MAX} bytes")]
    Name,
    #[error("more than {ENTRY_BYTES_MAX} bytes in total")]
    Bytes,
}

/// Reason why a message is refused.
#[derive(Debug, thiserror::Error)]
pub enum GossipError {
    #[error("invalid gossip message: {0}")]
    Malformed(InvalidEncoding),
    /// The message exceeds [`MESSAGE_BYTES_MAX`], or another limit.
    #[error("the gossip message exceeds the size limit")]
    TooLarge,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
struct Topic {
    /// Sequence number of the entry when the value was set.
    #[serde(rename = "s")]
    sequence: u64,
    /// None: the topic was removed.
    #[serde(rename = "b", with = "serde_bytes")]
    bytes: Option<Vec<u8>>,
}

/// Age of an entry. Compared in the order of the fields: incarnation and start of its member, then
/// the number of changes since that start.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
pub struct Age {
    /// Incarnation of the member, one for each start. If it is below an earlier one, the
    /// member continues above that.
    #[serde(rename = "i")]
    pub incarnation: u64,
    /// Number with which this start began, unique to it: two starts may continue above
    /// the same earlier one.
    #[serde(rename = "b", default)]
    pub start: u64,
    #[serde(rename = "s")]
    pub sequence: u64,
}

impl Age {
    fn life(self) -> (u64, u64) {
        (self.incarnation, self.start)
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Entry {
    #[serde(rename = "a")]
    age: Age,
    #[serde(rename = "t")]
    topics: BTreeMap<String, Topic>,
}

impl Entry {
    fn is_within_bounds(&self) -> bool {
        check_bounds(&self.topics).is_ok()
    }
}

fn check_bounds(topics: &BTreeMap<String, Topic>) -> Result<(), TooMuch> {
    let bytes: usize = topics
        .values()
        .map(|topic| topic.bytes.as_ref().map_or(0, Vec::len))
        .sum();
    if topics.len() > TOPICS_MAX {
        return Err(TooMuch::Topics);
    }
    if topics.keys().any(|name| name.len() > TOPIC_NAME_BYTES_MAX) {
        return Err(TooMuch::Name);
    }
    if bytes > ENTRY_BYTES_MAX {
        return Err(TooMuch::Bytes);
    }
    Ok(())
}

/// Ages of the entries that a member has.
pub type Ages = BTreeMap<MemberId, Age>;

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct EntryChange {
    /// Holds all values that were set after this sequence number, in the same
    /// incarnation; zero: all.
    #[serde(rename = "f")]
    after: u64,
    #[serde(rename = "e")]
    entry: Entry,
}

/// Changes that another member lacks.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Delta(BTreeMap<MemberId, EntryChange>);

impl Delta {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
struct GossipMessage {
    /// Ages of the sender's entries; None: no response is needed.
    #[serde(default)]
    ages: Option<Ages>,
    #[serde(default)]
    delta: Delta,
}

/// Entries of all members that a member knows. Each member writes only its own entry, so messages
/// merge in any order and may be repeated. The time is an argument, milliseconds.
#[derive(Clone, Debug)]
pub struct Gossip {
    me: MemberId,
    members: BTreeSet<MemberId>,
    entries: BTreeMap<MemberId, Entry>,
    heard_ms: BTreeMap<MemberId, u64>,
}

impl Gossip {
    /// Creates the gossip of a member that starts. No earlier start may have used the
    /// incarnation, which can be the milliseconds since 1970. It should grow. If the
    /// clock went back, the others report a higher one, and the member continues above
    /// that.
    pub fn new(me: MemberId, incarnation: u64) -> Gossip {
        let entry = Entry {
            age: Age {
                incarnation,
                start: incarnation,
                sequence: 1,
            },
            topics: BTreeMap::new(),
        };
        Gossip {
            me,
            members: BTreeSet::from([me]),
            entries: BTreeMap::from([(me, entry)]),
            heard_ms: BTreeMap::new(),
        }
    }

    /// Sets the members of the cluster: entries of others are dropped and refused.
    pub fn belong(&mut self, members: impl IntoIterator<Item = MemberId>) {
        self.members = members.into_iter().take(ENTRIES_MAX).collect();
        self.members.insert(self.me);
        self.entries.retain(|id, _| self.members.contains(id));
        self.heard_ms.retain(|id, _| self.members.contains(id));
    }

    /// Sets the content of a topic; None removes it.
    ///
    /// # Errors
    /// Fails if the entry would exceed a limit on topics, their names or their bytes. Nothing
    /// changes then.
    pub fn put(&mut self, topic: &str, bytes: Option<Vec<u8>>) -> Result<(), TooMuch> {
        let own = self.entries.entry(self.me).or_default();
        let known = own.topics.get(topic).and_then(|topic| topic.bytes.as_ref());
        if known == bytes.as_ref() {
            return Ok(());
        }
        let sequence = own.age.sequence.saturating_add(1);
        let mut topics = own.topics.clone();
        topics.insert(topic.to_owned(), Topic { sequence, bytes });
        check_bounds(&topics)?;
        own.topics = topics;
        own.age.sequence = sequence;
        Ok(())
    }

    /// Shows that this member is alive, though nothing changed.
    pub fn beat(&mut self) {
        let own = self.entries.entry(self.me).or_default();
        own.age.sequence = own.age.sequence.saturating_add(1);
    }

    pub fn get(&self, member: MemberId, topic: &str) -> Option<&[u8]> {
        let topic = self.entries.get(&member)?.topics.get(topic)?;
        topic.bytes.as_deref()
    }

    pub fn all<'a>(&'a self, topic: &'a str) -> impl Iterator<Item = (MemberId, &'a [u8])> {
        self.entries
            .keys()
            .filter_map(move |member| Some((*member, self.get(*member, topic)?)))
    }

    /// Returns the milliseconds since the last news of a member, from any member; None if there was
    /// none.
    pub fn silent_ms(&self, member: MemberId, now_ms: u64) -> Option<u64> {
        if member == self.me {
            return Some(0);
        }
        let heard_ms = self.heard_ms.get(&member)?;
        Some(now_ms.saturating_sub(*heard_ms))
    }

    pub fn ages(&self) -> Ages {
        let age = |(id, entry): (&MemberId, &Entry)| (*id, entry.age);
        self.entries.iter().map(age).collect()
    }

    /// Returns the changes that a member with entries of these ages lacks.
    pub fn delta(&self, theirs: &Ages) -> Delta {
        let mut delta = Delta::default();
        for (id, entry) in &self.entries {
            let age = theirs.get(id).copied().unwrap_or_default();
            if age >= entry.age {
                continue;
            }
            let same_start = age.life() == entry.age.life();
            let after = if same_start { age.sequence } else { 0 };
            let mut entry = entry.clone();
            entry.topics.retain(|_, topic| topic.sequence > after);
            delta.0.insert(*id, EntryChange { after, entry });
        }
        delta
    }

    /// Merges the changes of other members. Order and repetition do not matter.
    pub fn merge(&mut self, delta: &Delta, now_ms: u64) {
        for (id, change) in &delta.0 {
            if *id == self.me {
                self.outlive(change.entry.age);
            } else if self.members.contains(id) {
                let known = self.entries.entry(*id).or_default();
                if take_change(known, change) {
                    self.heard_ms.insert(*id, now_ms);
                }
            }
        }
    }

    /// Continues above the age of an own entry that others have and that is newer than
    /// this start's entries. Such an entry comes from an earlier start whose number was
    /// not below this one.
    fn outlive(&mut self, age: Age) {
        let own = self.entries.entry(self.me).or_default();
        if age > own.age {
            own.age.incarnation = age.incarnation.saturating_add(1);
        }
    }

    pub fn ask(&self) -> Vec<u8> {
        codec::encode(&GossipMessage {
            ages: Some(self.ages()),
            delta: Delta::default(),
        })
    }

    /// Returns the response to another member's message.
    ///
    /// # Errors
    /// Fails if the message cannot be decoded or exceeds a limit. Nothing is merged then.
    pub fn answer(&mut self, bytes: &[u8], now_ms: u64) -> Result<Vec<u8>, GossipError> {
        let message = read(bytes)?;
        self.merge(&message.delta, now_ms);
        let answer = match message.ages {
            Some(theirs) => GossipMessage {
                ages: Some(self.ages()),
                delta: self.delta(&theirs),
            },
            None => GossipMessage::default(),
        };
        Ok(codec::encode(&answer))
    }

    /// Merges a response. Returns the message to send next, if the other member lacks
    /// anything.
    ///
    /// # Errors
    /// As [`Gossip::answer`].
    pub fn merge_response(
        &mut self,
        bytes: &[u8],
        now_ms: u64,
    ) -> Result<Option<Vec<u8>>, GossipError> {
        let message = read(bytes)?;
        self.merge(&message.delta, now_ms);
        let delta = message.ages.map(|theirs| self.delta(&theirs));
        Ok(delta
            .filter(|delta| !delta.is_empty())
            .map(|delta| codec::encode(&GossipMessage { ages: None, delta })))
    }
}

/// Merges a change of an entry. Returns whether it was new.
fn take_change(known: &mut Entry, change: &EntryChange) -> bool {
    let new = &change.entry;
    if new.age.life() < known.age.life() {
        return false;
    }
    let mut merged = if new.age.life() == known.age.life() {
        known.clone()
    } else {
        Entry {
            age: Age {
                sequence: 0,
                ..new.age
            },
            topics: BTreeMap::new(),
        }
    };
    // Refuses a change after a gap: the changes between were never received. The next exchange
    // still reports the old age, so the member receives all changes since then.
    if change.after > merged.age.sequence {
        return false;
    }
    for (name, topic) in &new.topics {
        match merged.topics.get(name) {
            Some(had) if had >= topic => {}
            _ => {
                merged.topics.insert(name.clone(), topic.clone());
            }
        }
    }
    merged.age.sequence = merged.age.sequence.max(new.age.sequence);
    if merged == *known || !merged.is_within_bounds() {
        return false;
    }
    *known = merged;
    true
}

fn read(bytes: &[u8]) -> Result<GossipMessage, GossipError> {
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(GossipError::TooLarge);
    }
    let message: GossipMessage = codec::decode(bytes).map_err(GossipError::Malformed)?;
    let ages = message.ages.as_ref().map_or(0, BTreeMap::len);
    if ages > ENTRIES_MAX || message.delta.0.len() > ENTRIES_MAX {
        return Err(GossipError::TooLarge);
    }
    Ok(message)
}

#[cfg(test)]
mod tests;
