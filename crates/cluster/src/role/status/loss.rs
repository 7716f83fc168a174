//! Describes members that lost their stores, and nodes that accepted a newer configuration version
//! than the cluster.

use super::{ClusterStatus, MemberStatus};
use crate::member::MemberKind;

impl MemberStatus {
    /// Returns whether the vote of the member counts now: its log is not lost, and its disk works.
    pub(super) fn takes_part(&self) -> bool {
        self.lost.is_empty() && self.disk.takes_part()
    }
}

impl ClusterStatus {
    /// Returns messages about reachable members that accepted a newer version than the cluster: too
    /// many members lost their logs, or replaced them by older ones.
    pub(super) fn disagreement_words(&self) -> Vec<String> {
        let accepted = self.configuration.accepted;
        let me = self.members.iter().find(|member| member.id == self.me);
        // Returns nothing unless this member sees a majority and has a complete log: otherwise it
        // does not know the newest version.
        if !self.majority || me.is_none_or(|me| !me.lost.is_empty()) {
            return Vec::new();
        }
        let newer = |member: &&MemberStatus| member.reach.is_there() && member.accepted > accepted;
        let words = self.members.iter().filter(newer).map(|member| {
            let (name, has) = (&member.name, member.accepted.unwrap_or_default());
            let agreed = match accepted {
                Some(version) => format!("version {version}"),
                None => "none".to_owned(),
            };
            format!(
                "{name} accepted version {has}, but the reachable members agree on {agreed}: logs were lost or \
                 replaced by older ones. {name} keeps serving version {has} and refuses others. To keep version \
                 {has}: `evenkeel cluster recover --alone` on a node whose log has it. To drop it: `evenkeel cluster \
                 remove {name}`, then on {name} delete the state directory and `evenkeel cluster join TOKEN`"
            )
        });
        words.collect()
    }

    pub(super) fn loss_words(&self) -> Vec<String> {
        let lost: Vec<&MemberStatus> = self
            .members
            .iter()
            .filter(|member| !member.lost.is_empty() && member.reach.is_there())
            .collect();
        let others = self
            .voters()
            .filter(|member| member.lost.is_empty())
            .count();
        let mut words: Vec<String> = lost
            .iter()
            .map(|member| {
                let again = match self.voters().count() {
                    0 | 1 => String::new(),
                    _ => format!(
                        " When {} voters with a log are reachable, they remove it from the voters and add it again. \
                         It keeps its name, number and state directory",
                        self.majority_of_voters()
                    ),
                };
                format!(
                    "{}: {}; it is not a voter.{again}",
                    member.name, member.lost
                )
            })
            .collect();
        if !lost.is_empty() && others < self.majority_of_voters() {
            let (all, needs) = (self.voters().count(), self.majority_of_voters());
            let mut voters = self.voters();
            let (which, repair) = if voters.any(|m| m.kind == MemberKind::Node && m.lost.is_empty())
            {
                (
                    format!("too few members have their logs ({others} of {all}, {needs} needed)"),
                    "Run `evenkeel cluster recover --alone --yes` on the node that has its log. On the others delete \
                     the state directory and run `evenkeel cluster join TOKEN`",
                )
            } else {
                (
                    "no node has its log".to_owned(),
                    "On one node, rename the state directory, run `evenkeel cluster init NAME`, and apply its files \
                     with `evenkeel config apply`. Then let the others join",
                )
            };
            words.push(format!(
                "{which}, so the cluster cannot recover by itself. {repair}"
            ));
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::VersionId;
    use crate::member::MemberId;

    fn node(id: u64, name: &str) -> MemberStatus {
        let node = serde_json::json!({
            "id": id, "name": name, "kind": "node", "addresses": [], "reach": {"direct": {"rtt_us": null}},
            "votes": true, "serves": 2, "accepted": 2,
        });
        serde_json::from_value(node).unwrap()
    }

    fn pair() -> ClusterStatus {
        let mut status = ClusterStatus {
            me: MemberId(1),
            majority: true,
            leader: Some(MemberId(1)),
            members: vec![node(1, "a"), node(2, "b"), node(3, "tie")],
            ..ClusterStatus::default()
        };
        status.members[2].kind = MemberKind::Arbiter;
        status.members[2].accepted = None;
        status.configuration.accepted = Some(VersionId(2));
        status
    }

    fn if_it_fails(status: &mut ClusterStatus, place: usize) -> String {
        status.put_into_words();
        status.members[place].if_it_fails.clone()
    }

    #[test]
    fn member_ahead_of_the_cluster_is_named_with_help() {
        let mut status = pair();
        status.put_into_words();
        assert_eq!(status.disagreements, Vec::<String>::new());
        status.configuration.accepted = Some(VersionId(1));
        status.members[0].accepted = Some(VersionId(1));
        status.put_into_words();
        let [words] = &*status.disagreements else {
            panic!("{:?}", status.disagreements);
        };
        assert!(
            words.starts_with("b accepted version 2, but the reachable members agree on version 1")
        );
        assert!(status.text().contains("\n  disagreement  b accepted"));
    }

    #[test]
    fn forecast_ignores_members_that_do_not_serve() {
        let mut status = pair();
        let words = if_it_fails(&mut status, 0);
        assert!(
            words.starts_with("b continues to serve; a owns no virtual address, so none moves; "),
            "{words}"
        );
        assert!(
            words.ends_with("; changes remain possible; one more failure would freeze them"),
            "{words}"
        );
        status.members[1].disk.halted = "the disk is full".to_owned();
        let words = if_it_fails(&mut status, 0);
        assert!(words.contains("changes freeze (1 of 3"), "{words}");
        status.members[1].serves = Some(VersionId(1));
        let words = if_it_fails(&mut status, 0);
        assert!(
            words.contains("b serves version 1, not the accepted one"),
            "{words}"
        );
        status.members[1].serves = None;
        let words = if_it_fails(&mut status, 0);
        assert!(
            words.contains("no node would serve: b reports no served version"),
            "{words}"
        );
    }

    #[test]
    fn failing_disk_does_not_require_a_rejoin() {
        let mut status = pair();
        status.broken_store = Some("/x: no space left on the disk".to_owned());
        status.put_into_words();
        assert!(
            status.frozen[0].contains("cluster join"),
            "{:?}",
            status.frozen
        );
        status.disk_refuses = true;
        status.put_into_words();
        assert!(
            !status.frozen[0].contains("cluster join"),
            "{:?}",
            status.frozen
        );
    }
}
