//! Refuses a version that replaces the node with the only complete copy of a volume: neither node
//! of the new version could serve the volume, and each would wait for the other.
//!
//! Complete copies are known from the record of the cluster, which each member has, or else from
//! the report of this machine about its own copies. A volume without such knowledge is not refused.

use super::ConfigError;
use super::versions;
use clap::ArgMatches;
use cluster::file_set::FileSet;
use cluster::member::MemberKind;
use cluster::request::Request;
use command::{instance, status};
use part::codec;
use part::report::StatusReport;
use part::status::{CompleteCopies as PublishedCopies, VolumeReport};
use std::collections::{BTreeMap, BTreeSet};
use volume::config::Volumes;
use volume::device::Backing;
use volume::keyword::NAME;
use volume::mirror::nodes_with_complete_copy;
use volume::report::VOLUME;
use volume::role::lease_of;

pub(super) const ABANDON: &str = "abandon-copies";

#[derive(Clone, PartialEq, Eq, Debug)]
struct Pair {
    nodes: BTreeSet<String>,
    /// Backing at each node, and the size in bytes, by which a renamed volume is recognised.
    stored: (BTreeMap<String, Backing>, u64),
}

type Pairs = BTreeMap<String, Pair>;

/// Sources for which nodes have a complete copy: the records of the cluster, and the local report.
#[derive(Default)]
struct CompleteCopies {
    me: String,
    records: BTreeMap<String, Vec<u8>>,
    report: StatusReport,
}

/// Checks that each volume whose nodes change keeps a node with a complete copy, as far as this
/// machine knows. Volumes named by `--abandon-copies` are left out.
///
/// # Errors
/// A volume would have no complete copy, or the status of the cluster is not available.
pub(super) fn check(old: &FileSet, new: &FileSet, matches: &ArgMatches) -> Result<(), ConfigError> {
    let status = super::log::status_of()?;
    let members = status.members.iter();
    let nodes = members.filter(|member| member.kind == MemberKind::Node);
    let nodes: Vec<String> = nodes.map(|node| node.name.clone()).collect();
    let mut old = pairs(old, &nodes);
    let abandoned = matches.get_many::<String>(ABANDON).into_iter().flatten();
    for name in abandoned {
        old.remove(name);
    }
    if old.is_empty() {
        return Ok(());
    }
    let new = pairs(new, &nodes);
    if old.iter().all(|(name, before)| {
        successor(&old, &new, name).is_none_or(|(_, then)| then.nodes == before.nodes)
    }) {
        return Ok(());
    }
    // Continues without records: a control role of an earlier release does not know the request.
    let records = super::json(&Request::Records).ok();
    let records = records.and_then(|text| serde_json::from_str(&text).ok());
    // Continues without a report: a node without volumes has none.
    let report = instance::find_instance(&[], None)
        .ok()
        .and_then(|instance| status::report(&instance, NAME).ok());
    let known = CompleteCopies {
        me: status.name_of(status.me),
        records: records.unwrap_or_default(),
        report: report.unwrap_or_default(),
    };
    let lost = lost(&old, &new, &known);
    if lost.is_empty() {
        Ok(())
    } else {
        Err(ConfigError::Refused(format!(
            "nothing was changed: {}",
            lost.join("; ")
        )))
    }
}

/// Returns the volumes with two copies in a version; none for a node as which the version has
/// errors.
fn pairs(set: &FileSet, nodes: &[String]) -> Pairs {
    let mut all = Pairs::new();
    let mut parts = set.files.iter();
    if !parts.any(|file| {
        file.bytes
            .windows(NAME.len())
            .any(|word| word == NAME.as_bytes())
    }) {
        // Skips the loads below for a version without volumes: each takes a while.
        return all;
    }
    for node in nodes {
        let mut set = set.clone();
        node.clone_into(&mut set.node);
        let payload = versions::payload(&set, nodes, NAME).flatten();
        let volumes = payload.and_then(|bytes| codec::decode::<Volumes>(&bytes).ok());
        for (name, spec) in volumes.unwrap_or_default().0 {
            if let Some(pair) = spec.pair.filter(|pair| !pair.other.is_empty()) {
                let one = all.entry(name).or_insert_with(|| Pair {
                    nodes: [pair.me, pair.other].into(),
                    stored: (BTreeMap::new(), spec.size_bytes),
                });
                one.stored.0.insert(node.clone(), spec.backing);
            }
        }
    }
    all
}

/// Returns the volume of the new version that continues a volume of the old one: that of the same
/// name, or the only newly named one that has the same size and a backing in common.
fn successor<'n>(old: &Pairs, new: &'n Pairs, name: &str) -> Option<(&'n str, &'n Pair)> {
    if let Some((name, then)) = new.get_key_value(name) {
        return Some((name, then));
    }
    let before = old.get(name)?;
    let is_same = |then: &Pair| {
        let backings = || then.stored.0.values();
        let is_used = |backing| backings().any(|other| other == backing);
        then.stored.1 == before.stored.1 && before.stored.0.values().any(is_used)
    };
    let mut all = new
        .iter()
        .filter(|(name, then)| !old.contains_key(*name) && is_same(then));
    let found = all.next().filter(|_| all.next().is_none());
    found.map(|(name, then)| (name.as_str(), then))
}

impl CompleteCopies {
    /// Returns the nodes with a complete copy of a volume; none if this machine does not know.
    fn of(&self, name: &str, before: &Pair) -> Vec<String> {
        let record = self.records.get(&lease_of(name));
        let nodes = record.map_or(Vec::new(), |record| nodes_with_complete_copy(record));
        if !nodes.is_empty() {
            return nodes.into_iter().map(str::to_owned).collect();
        }
        let is_here = before.nodes.contains(&self.me);
        let subject = self.report.find(VOLUME, name).filter(|_| is_here);
        let complete = subject.map(|subject| VolumeReport::of(subject).complete);
        let is_complete = |node: &&String| match complete.unwrap_or_default() {
            PublishedCopies::Both => true,
            PublishedCopies::Local => **node == self.me,
            PublishedCopies::Other => **node != self.me,
            PublishedCopies::Neither | PublishedCopies::Unknown => false,
        };
        before.nodes.iter().filter(is_complete).cloned().collect()
    }
}

fn lost(old: &Pairs, new: &Pairs, known: &CompleteCopies) -> Vec<String> {
    let mut lost = Vec::new();
    for (name, before) in old {
        let Some((now, then)) = successor(old, new, name) else {
            continue;
        };
        if then.nodes == before.nodes {
            continue;
        }
        let complete = known.of(name, before);
        if let [node, ..] = &complete[..]
            && !complete.iter().any(|node| then.nodes.contains(node))
        {
            let (renamed, or_new) = if now == name {
                (String::new(), String::new())
            } else {
                (
                    format!(" (now {now})"),
                    format!(", or if {now} is another volume"),
                )
            };
            lost.push(format!(
                "volume {name}{renamed}: {} complete, and the new line `on` does not name {node}, so no node could serve the \
                 volume. Name {node} and one other node until `evenkeel volume show {name}` reports both copies as \
                 complete. If {node} is lost for good, first run `evenkeel volume adopt {name} --yes` on the node that \
                 stays; if none stays{or_new}, `--{ABANDON} {name}` applies the version without the data",
                match complete.len() {
                    1 => format!("only the copy of {node} is"),
                    _ => "the copies of both nodes are".to_owned(),
                }
            ));
        }
    }
    lost
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::file_set::SetFile;
    use part::report::Subject;

    fn version(on: &str) -> Pairs {
        named("mail", on)
    }

    fn named(name: &str, on: &str) -> Pairs {
        let text =
            format!("volume {name}\n    size 1g\n    on {on}\n    backing file /srv/volumes\n");
        let file = SetFile {
            path: "site.cfg".to_owned(),
            main: true,
            secret: false,
            mode: 0o644,
            bytes: text.into_bytes(),
        };
        let set = FileSet {
            node: "alpha".to_owned(),
            files: vec![file],
            ..FileSet::default()
        };
        pairs(&set, &["alpha", "beta", "gamma"].map(str::to_owned))
    }

    fn is_refused(old: &str, new: &str, me: &str, complete: PublishedCopies) -> bool {
        let mail = Subject::new(VOLUME, "mail").publish(&VolumeReport {
            complete,
            ..VolumeReport::default()
        });
        let report = StatusReport {
            subjects: vec![mail],
            ..StatusReport::default()
        };
        let known = CompleteCopies {
            me: me.to_owned(),
            report,
            ..CompleteCopies::default()
        };
        !lost(&version(old), &version(new), &known).is_empty()
    }

    #[test]
    fn record_of_the_cluster_protects_copies_at_any_member() {
        // The bytes are: version 1, incarnation, generation, and one node with a complete copy
        // (beta).
        let mut record = vec![1];
        record.extend_from_slice(&[7; 16]);
        record.extend_from_slice(&[1, 4]);
        record.extend_from_slice(b"beta");
        let known = CompleteCopies {
            me: "delta".to_owned(),
            records: [("volume/mail".to_owned(), record)].into(),
            ..CompleteCopies::default()
        };
        let old = version("beta gamma");
        let lost = |new: &Pairs| lost(&old, new, &known);
        let words = lost(&version("alpha gamma")).concat();
        assert!(
            words.contains("only the copy of beta is complete"),
            "{words}"
        );
        assert!(words.contains("--abandon-copies mail"), "{words}");
        assert!(lost(&version("alpha beta")).is_empty());
        // The volume has another name and other nodes.
        let words = lost(&named("post", "alpha gamma")).concat();
        assert!(words.contains("volume mail (now post)"), "{words}");
        assert!(lost(&named("post", "beta gamma")).is_empty());
        assert!(lost(&Pairs::new()).is_empty(), "the volume is removed");
    }

    #[test]
    fn node_with_the_only_complete_copy_is_not_replaced() {
        let both: BTreeSet<String> = ["beta", "gamma"].map(str::to_owned).into();
        assert_eq!(version("gamma beta")["mail"].nodes, both);
        assert!(is_refused(
            "beta gamma",
            "alpha gamma",
            "beta",
            PublishedCopies::Local
        ));
        assert!(is_refused(
            "beta gamma",
            "alpha gamma",
            "gamma",
            PublishedCopies::Other
        ));
        assert!(!is_refused(
            "beta gamma",
            "alpha beta",
            "beta",
            PublishedCopies::Local
        ));
        assert!(!is_refused(
            "beta gamma",
            "alpha gamma",
            "gamma",
            PublishedCopies::Local
        ));
        assert!(!is_refused(
            "beta gamma",
            "alpha gamma",
            "beta",
            PublishedCopies::Both
        ));
        // The cluster does not know a complete copy, or this node does not know it.
        assert!(!is_refused(
            "beta gamma",
            "alpha gamma",
            "beta",
            PublishedCopies::Unknown
        ));
        assert!(!is_refused(
            "beta gamma",
            "alpha gamma",
            "alpha",
            PublishedCopies::Local
        ));
        // The new version keeps one of the two nodes alone, or both.
        assert!(!is_refused(
            "beta gamma",
            "gamma",
            "beta",
            PublishedCopies::Local
        ));
        assert!(!is_refused(
            "beta gamma",
            "gamma beta",
            "gamma",
            PublishedCopies::Other
        ));
    }
}
