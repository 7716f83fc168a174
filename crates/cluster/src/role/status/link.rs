//! Reports the direct links of this member that are cut, each as a separate subject.

use super::{ClusterStatus, MemberStatus, Reach};
use crate::member::MemberKind;
use part::report::{Grade, Subject, span};

impl ClusterStatus {
    /// Returns the direct links from this member that are cut, while another member
    /// forwards to the other end. Both ends report the same about a link.
    pub(super) fn cut_links(&self) -> impl Iterator<Item = Subject> + '_ {
        self.members.iter().filter_map(|member| self.cut(member))
    }

    fn cut(&self, member: &MemberStatus) -> Option<Subject> {
        let Reach::Through { member: via, .. } = member.reach else {
            return None;
        };
        let me = self.members.iter().find(|one| one.id == self.me)?;
        let (one, other) = if me.name < member.name {
            (me, member)
        } else {
            (member, me)
        };
        let state = match member.cut_ms {
            Some(cut) => format!("cut for {}", span(cut)),
            None => "cut".to_owned(),
        };
        let are_nodes = [one, other].iter().all(|one| one.kind == MemberKind::Node);
        let follows = if are_nodes {
            "volumes with a copy on each have one complete copy until it is back, and guests cannot move between \
                 them while they run"
        } else {
            "if another link fails too, a member can be without a majority"
        };
        let (one, other) = (&one.name, &other.name);
        let link = Subject::new("link", &format!("{one}-{other}")).state(&state, Grade::Bad);
        let via = self.name_of(via);
        let why = format!(
            "{one} and {other} reach each other through {via}: {follows}; check the cable, the switch and the firewall \
             between them"
        );
        Some(Subject { why, ..link })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::member::MemberId;

    fn status(me: u64, beta: &str, gamma: &str) -> ClusterStatus {
        let member = |id: u64, name: &str, kind: &str, reach: &serde_json::Value| {
            let value = serde_json::json!({
                "id": id, "name": name, "kind": kind, "addresses": [], "reach": reach, "cut_ms": 48_000,
            });
            serde_json::from_value::<MemberStatus>(value).unwrap()
        };
        let reach = |words: &str| match words {
            "itself" => serde_json::json!("itself"),
            "direct" => serde_json::json!({ "direct": { "rtt_us": null } }),
            _ => serde_json::json!({ "through": { "member": 3, "rtt_us": 300 } }),
        };
        ClusterStatus {
            me: MemberId(me),
            members: vec![
                member(
                    1,
                    "alpha",
                    "node",
                    &reach(if me == 1 { "itself" } else { beta }),
                ),
                member(
                    2,
                    "beta",
                    "node",
                    &reach(if me == 2 { "itself" } else { beta }),
                ),
                member(3, "gamma", "arbiter", &reach(gamma)),
            ],
            ..ClusterStatus::default()
        }
    }

    #[test]
    fn both_ends_report_a_cut_link_and_its_consequence() {
        let [one, two] = [1, 2].map(|me| {
            let all: Vec<Subject> = status(me, "through", "direct").cut_links().collect();
            assert_eq!(all.len(), 1);
            all[0].clone()
        });
        assert_eq!((&one.name, &one.why), (&two.name, &two.why));
        assert_eq!(one.name, "alpha-beta");
        assert_eq!(one.state.grade, Grade::Bad);
        assert!(one.state.word.starts_with("cut for 48"), "{:?}", one.state);
        for words in ["through gamma", "one complete copy", "check the cable"] {
            assert!(one.why.contains(words), "{}", one.why);
        }
        assert_eq!(status(1, "direct", "direct").cut_links().count(), 0);
        let report = status(1, "through", "direct").report();
        assert!(report.find("link", "alpha-beta").is_some());
    }

    #[test]
    fn the_link_to_an_arbiter_has_another_consequence() {
        let all: Vec<Subject> = status(1, "direct", "through").cut_links().collect();
        let words: Vec<&str> = all.iter().map(|one| one.why.as_str()).collect();
        assert_eq!(words.len(), 1);
        assert!(words[0].contains("without a majority"), "{words:?}");
    }
}
