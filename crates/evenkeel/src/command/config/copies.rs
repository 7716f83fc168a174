//! Refusal of a version that replaces the node with the only complete copy of a volume: neither
//! node of the new version could serve the volume, and each would wait for the other.

use super::ConfigError;
use super::files;
use crate::command::{reload, status};
use cluster::file_set::FileSet;
use cluster::member::MemberKind;
use part::codec;
use part::report::StatusReport;
use std::collections::{BTreeMap, BTreeSet};
use volume::config::Volumes;
use volume::keyword::NAME;
use volume::report::{BOTH_COPIES, COMPLETE, THE_OTHER, THIS_COPY, VOLUME};

/// Nodes of each volume with two copies.
type Pairs = BTreeMap<String, BTreeSet<String>>;

/// Checks that each volume whose nodes change keeps a node with a complete copy, as far as this
/// machine knows.
///
/// # Errors
/// A volume would have no complete copy.
pub(super) fn check(old: &FileSet, new: &FileSet) -> Result<(), ConfigError> {
    let status = super::log::status_of()?;
    let members = status.members.iter();
    let nodes = members.filter(|member| member.kind == MemberKind::Node);
    let nodes: Vec<String> = nodes.map(|node| node.name.clone()).collect();
    let old = pairs(old, &nodes);
    if old.is_empty() {
        return Ok(());
    }
    let new = pairs(new, &nodes);
    if old.iter().all(|(name, before)| {
        let then = new.get(name);
        then.is_none_or(|then| then == before)
    }) {
        return Ok(());
    }
    // A node without volumes has no report of that role.
    let report = reload::find_instance(&[], None)
        .ok()
        .and_then(|instance| status::report(&instance, NAME).ok());
    let me = status.name_of(status.me);
    let lost = lost((&old, &new), &me, &report.unwrap_or_default());
    if lost.is_empty() {
        Ok(())
    } else {
        Err(ConfigError::Refused(format!(
            "nothing was changed: {}",
            lost.join("; ")
        )))
    }
}

/// Returns the volumes with two copies in a version. Those of a version with errors are left out.
fn pairs(set: &FileSet, nodes: &[String]) -> Pairs {
    let mut all = Pairs::new();
    let mut parts = set.files.iter();
    if !parts.any(|file| {
        file.bytes
            .windows(NAME.len())
            .any(|word| word == NAME.as_bytes())
    }) {
        // Each load below takes a while for a large configuration.
        return all;
    }
    for node in nodes {
        let mut set = set.clone();
        node.clone_into(&mut set.node);
        let payload = files::payload(&set, nodes, NAME).flatten();
        let volumes = payload.and_then(|bytes| codec::decode::<Volumes>(&bytes).ok());
        for (name, spec) in volumes.unwrap_or_default().0 {
            if let Some(pair) = spec.pair.filter(|pair| !pair.other.is_empty()) {
                all.insert(name, [pair.me, pair.other].into());
            }
        }
    }
    all
}

/// Returns the volumes without a complete copy in the new version, with the reason. `report` is that
/// of the volumes of this machine, which is `me`.
fn lost((old, new): (&Pairs, &Pairs), me: &str, report: &StatusReport) -> Vec<String> {
    let mut lost = Vec::new();
    for (name, before) in old {
        let Some(then) = new.get(name) else {
            continue;
        };
        let subject = report.find(VOLUME, name).filter(|_| before.contains(me));
        let complete = subject.and_then(|subject| subject.words(COMPLETE));
        let is_complete = |node: &&String| match complete.as_deref() {
            Some(BOTH_COPIES) => true,
            Some(THIS_COPY) => *node == me,
            Some(THE_OTHER) => *node != me,
            _ => false,
        };
        let complete: Vec<&String> = before.iter().filter(is_complete).collect();
        if let [node, ..] = complete[..]
            && !complete.iter().any(|node| then.contains(*node))
        {
            lost.push(format!(
                "volume {name}: {} complete, and the new line `on` does not name {node}, so no node could serve the \
                 volume. Name {node} and one other node until `evenkeel volume show {name}` reports both copies as \
                 complete. If {node} is lost for good, first run `evenkeel volume adopt {name} --yes` on the node that \
                 stays",
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
        let text =
            format!("volume mail\n    size 1g\n    on {on}\n    backing file /srv/volumes\n");
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

    /// Returns whether a change is refused at a node whose report says which copies are complete.
    fn is_refused(old: &str, new: &str, me: &str, complete: &str) -> bool {
        let mail = Subject::new(VOLUME, "mail").fact(COMPLETE, complete.to_owned());
        let report = StatusReport {
            subjects: vec![mail],
            ..StatusReport::default()
        };
        !lost((&version(old), &version(new)), me, &report).is_empty()
    }

    #[test]
    fn node_with_the_only_complete_copy_is_not_replaced() {
        let both: BTreeSet<String> = ["beta", "gamma"].map(str::to_owned).into();
        assert_eq!(version("gamma beta")["mail"], both);
        assert!(is_refused("beta gamma", "alpha gamma", "beta", THIS_COPY));
        assert!(is_refused("beta gamma", "alpha gamma", "gamma", THE_OTHER));
        assert!(!is_refused("beta gamma", "alpha beta", "beta", THIS_COPY));
        assert!(!is_refused("beta gamma", "alpha gamma", "gamma", THIS_COPY));
        assert!(!is_refused(
            "beta gamma",
            "alpha gamma",
            "beta",
            BOTH_COPIES
        ));
        // The cluster does not know a complete copy, or this node does not know it.
        assert!(!is_refused(
            "beta gamma",
            "alpha gamma",
            "beta",
            "not known yet"
        ));
        assert!(!is_refused("beta gamma", "alpha gamma", "alpha", THIS_COPY));
        // The new version keeps one of the two nodes alone, or both.
        assert!(!is_refused("beta gamma", "gamma", "beta", THIS_COPY));
        assert!(!is_refused("beta gamma", "gamma beta", "gamma", THE_OTHER));
    }
}
