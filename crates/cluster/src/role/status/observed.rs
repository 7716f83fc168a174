//! Describes observed problems of members: a node serves no version, or only a part of it; the
//! machine at a member's address is not trusted; two machines run as one member; this member cannot
//! listen on an address.

use super::{ClusterStatus, MemberStatus, addresses, list};
use crate::member::MemberId;
use part::report::{Grade, Subject};
use std::collections::BTreeSet;

/// Returns the forecast for a failure after which the remaining nodes serve nothing.
pub(super) fn nothing_served(left: &[&MemberStatus], idle: &str) -> String {
    let whys = left.iter().filter(|member| !member.cannot_serve.is_empty());
    let whys: Vec<String> = whys
        .map(|member| format!("{}: {}", member.name, member.cannot_serve))
        .collect();
    if whys.is_empty() {
        format!("no node would serve: {idle} reports no served version")
    } else {
        format!(
            "no node would serve: {idle} serves nothing now ({})",
            whys.join("; ")
        )
    }
}

/// Describes which things of their version the remaining nodes do not serve.
pub(super) fn without(left: &[&MemberStatus]) -> impl Iterator<Item = String> {
    let partial = left.iter().filter(|member| !member.missing.is_empty());
    partial.map(|member| {
        format!(
            "{} serves without {}",
            member.name,
            member.missing.join(", ")
        )
    })
}

impl ClusterStatus {
    /// Returns a message if this member seems to be restored to an older state: the machines of
    /// other members are reachable, and none accepts it.
    pub(super) fn outdated_words(&self) -> Option<String> {
        let others = self.voters().filter(|member| member.id != self.me);
        let (reached, away): (Vec<&MemberStatus>, Vec<_>) =
            others.partition(|member| member.reach.is_there());
        let distrusted: Vec<_> = away.iter().filter(|m| !m.distrusted.is_empty()).collect();
        let first = distrusted.first()?;
        if !reached.is_empty() || distrusted.len() < away.len() {
            return None;
        }
        let me = self.name_of(self.me);
        let names = list(distrusted.iter().map(|member| member.name.as_str()));
        Some(format!(
            "{names} and this member do not accept each other's certificates ({}). {me} has an older state than the \
             cluster, for example because its disk was restored from a snapshot or a backup. {} To return: run \
             `evenkeel cluster remove {me}` and `evenkeel cluster invite` on another member; here stop evenkeel, move \
             the state directory {} away, run `evenkeel cluster join TOKEN` and start evenkeel",
            first.distrusted,
            match self.configuration.serving {
                Some(version) =>
                    format!("It keeps serving version {version}, which may be outdated."),
                None => "It serves nothing.".to_owned(),
            },
            self.directory,
        ))
    }

    /// Returns the members under whose identity two machines connect, whichever member noticed it.
    fn cloned_members(&self) -> BTreeSet<MemberId> {
        self.members
            .iter()
            .flat_map(|member| &member.sees)
            .filter(|sight| sight.is_cloned)
            .map(|sight| sight.member)
            .collect()
    }

    /// Returns a subject for each member under whose identity two machines connect.
    pub(super) fn copies_of_members(&self) -> impl Iterator<Item = Subject> + '_ {
        let cloned = self.cloned_members().into_iter().zip(self.cloned_words());
        cloned.map(|(member, words)| {
            let copy = Subject::new("copy", &self.name_of(member));
            let copy = copy.state("two machines run as this member", Grade::Bad);
            Subject { why: words, ..copy }
        })
    }

    fn cloned_words(&self) -> Vec<String> {
        let words = self.cloned_members().into_iter().map(|member| {
            let name = self.name_of(member);
            format!(
                "two machines run as {name}: one is a copy of the other, with the same key. Its connections and its \
                 votes alternate between them. Stop evenkeel on the copy, move its state directory away, and let it \
                 join under another name (`evenkeel cluster invite` here, `evenkeel cluster join TOKEN` there)"
            )
        });
        words.collect()
    }

    pub(super) fn observed_words(&self) -> Vec<String> {
        let mut notes = self.cloned_words();
        notes.extend(self.missing_files_words());
        notes.extend(self.certificate_words());
        for member in self
            .members
            .iter()
            .filter(|member| !member.distrusted.is_empty())
        {
            if self.majority {
                let name = &member.name;
                notes.push(format!(
                    "the machine at the address of {name} and this member do not accept each other's certificates ({}): \
                     {name} has an older state than the cluster, for example from a snapshot or a backup. To bring it \
                     back: `evenkeel cluster remove {name}` and `evenkeel cluster invite` here; on {name} stop evenkeel, \
                     move its state directory away, run `evenkeel cluster join TOKEN` and start evenkeel",
                    member.distrusted
                ));
            }
        }
        for address in &self.unbound {
            notes.push(format!(
                "this member cannot listen for others on {address}: it reaches them itself where it can. If its address \
                 changed, stop it, run `evenkeel cluster address --listen ADDRESS:PORT`, and start it again"
            ));
        }
        for member in self.members.iter().filter(|member| member.reach.is_there()) {
            let name = &member.name;
            notes.extend(member.supervisor_words());
            if !member.cannot_serve.is_empty() && member.id != self.me {
                notes.push(format!("{name} serves nothing: {}", member.cannot_serve));
            }
            let missing = member.missing.iter();
            notes.extend(missing.map(|what| format!("{name} serves without {what}")));
            notes.extend(addresses::faults(member));
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::super::{MemberKind, Reach};
    use super::*;
    use crate::command::VersionId;

    fn away(id: u64, name: &str) -> MemberStatus {
        MemberStatus {
            id: MemberId(id),
            name: name.to_owned(),
            votes: true,
            reach: Reach::Away,
            ..MemberStatus::default()
        }
    }

    #[test]
    fn both_sides_explain_how_an_outdated_member_returns() {
        let member = |id: u64, name: &str, distrusted: &str| MemberStatus {
            kind: MemberKind::Node,
            distrusted: distrusted.to_owned(),
            ..away(id, name)
        };
        let mut status = ClusterStatus {
            me: MemberId(2),
            directory: "/var/lib/evenkeel".to_owned(),
            members: vec![
                member(1, "alpha", "UnknownIssuer"),
                MemberStatus {
                    reach: Reach::Itself,
                    ..member(2, "beta", "")
                },
                member(3, "tie", "UnknownIssuer"),
            ],
            ..ClusterStatus::default()
        };
        status.put_into_words();
        let words = &status.frozen[0];
        assert!(
            words.starts_with("alpha and tie and this member do not accept"),
            "{words}"
        );
        for part in [
            "UnknownIssuer",
            "snapshot",
            "cluster remove beta",
            "/var/lib/evenkeel",
            "join TOKEN",
        ] {
            assert!(words.contains(part), "{words}");
        }
        // The other member is only unreachable now, so the cause is not known.
        status.members[2].distrusted.clear();
        status.put_into_words();
        assert!(
            !status.frozen[0].contains("snapshot"),
            "{:?}",
            status.frozen
        );
        // The member is on the side of the majority.
        status.majority = true;
        status.put_into_words();
        let note = status
            .notes
            .iter()
            .find(|note| note.contains("cluster remove alpha"));
        assert!(
            note.is_some_and(|note| note.contains("older state")),
            "{:?}",
            status.notes
        );
    }

    #[test]
    fn forecast_ignores_a_node_that_serves_nothing() {
        let node = |id: u64, name: &str, reach: Reach| MemberStatus {
            kind: MemberKind::Node,
            reach,
            serves: Some(VersionId(3)),
            addresses_owned: u64::from(id == 1),
            ..away(id, name)
        };
        let direct = Reach::Direct { rtt_us: None };
        let mut status = ClusterStatus {
            majority: true,
            me: MemberId(1),
            members: vec![node(1, "alpha", Reach::Itself), node(2, "beta", direct)],
            ..ClusterStatus::default()
        };
        status.configuration.accepted = Some(VersionId(3));
        let forecast = |status: &mut ClusterStatus| {
            status.put_into_words();
            status.members[0].if_it_fails.clone()
        };
        let words = forecast(&mut status);
        assert!(words.contains("moves to beta"), "{words}");
        status.members[1].missing = vec!["0.0.0.0:80 of www: in use".to_owned()];
        let words = forecast(&mut status);
        assert!(
            words.contains("beta serves without 0.0.0.0:80 of www: in use"),
            "{words}"
        );
        status.members[1].serves = None;
        status.members[1].cannot_serve = "the port is taken".to_owned();
        let words = forecast(&mut status);
        assert!(
            words.starts_with("no node would serve: beta serves nothing now"),
            "{words}"
        );
        assert!(words.contains("the port is taken"), "{words}");
        let text = status.text();
        assert!(text.contains("serves nothing: the port is taken"), "{text}");
    }

    #[test]
    fn cloned_member_is_reported_by_whichever_member_notices() {
        let mut status = ClusterStatus {
            members: vec![away(1, "alpha"), away(2, "beta"), away(3, "tie")],
            ..ClusterStatus::default()
        };
        let told = |status: &ClusterStatus| status.observed_words().join("\n");
        assert!(!told(&status).contains("two machines"));
        let sight = super::super::Sight {
            member: MemberId(2),
            reach: Reach::Away,
            is_cloned: true,
        };
        status.members[2].sees = vec![sight.clone()];
        status.members[0].sees = vec![sight];
        let words = told(&status);
        assert_eq!(
            words.matches("two machines run as beta").count(),
            1,
            "{words}"
        );
        let report = status.report();
        let copies: Vec<_> = report.of_kind("copy").collect();
        assert_eq!(copies.len(), 1);
        assert_eq!(
            (copies[0].name.as_str(), copies[0].state.grade),
            ("beta", Grade::Bad)
        );
    }
}
