//! Describes the effect of a node's failure on traffic: where its virtual addresses move, according
//! to each node's report about its virtual routers ([`Routing`]).

use super::observed::{nothing_served, without};
use super::{ClusterStatus, MemberStatus, list};
use crate::machine::{ROUTERS_MAX, RouterStatus, Routing};
use crate::member::MemberKind;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// The virtual routers whose addresses a member owns.
struct Owned<'s> {
    routers: Vec<&'s RouterStatus>,
    /// Number of addresses that the member owns, including those of routers that it does not
    /// report.
    addresses: u64,
}

impl Routing {
    fn router(&self, name: &str) -> Option<&RouterStatus> {
        self.routers.iter().find(|router| router.name == name)
    }
}

fn obstacle(node: &MemberStatus, router: &str) -> Option<String> {
    let routing = &node.parts.routing;
    let fault = routing.router(router).map(|router| router.fault.as_str());
    let why = fault.unwrap_or(&routing.unknown);
    (!why.is_empty()).then(|| format!("{} cannot own {router}: {why}", node.name))
}

pub(super) fn faults(node: &MemberStatus) -> Vec<String> {
    let routing = &node.parts.routing;
    if !routing.unknown.is_empty() {
        let name = &node.name;
        return vec![format!(
            "{name} reports no virtual addresses: {}",
            routing.unknown
        )];
    }
    let routers = routing.routers.iter();
    routers
        .filter_map(|router| obstacle(node, &router.name))
        .collect()
}

/// Describes which virtual routers the nodes cannot own, or cannot serve at the addresses that they
/// would own.
fn limits(nodes: &[&MemberStatus], concerns: impl Fn(&str) -> bool) -> Vec<String> {
    let mut words = Vec::new();
    for node in nodes {
        if !node.parts.routing.unknown.is_empty() {
            words.extend(faults(node));
            continue;
        }
        let routers = node.parts.routing.routers.iter();
        for router in routers.filter(|router| concerns(&router.name)) {
            let unavailable = || {
                let why = Some(&router.unavailable).filter(|why| !why.is_empty())?;
                Some(format!("{}, {}: {why}", node.name, router.name))
            };
            words.extend(obstacle(node, &router.name).or_else(unavailable));
        }
    }
    words
}

impl ClusterStatus {
    /// Describes the effect of a node's failure on traffic. `left`: the nodes that remain.
    /// `grants_leases`: a majority remains that can grant leases.
    pub(super) fn failure_of_traffic(
        &self,
        member: &MemberStatus,
        left: &[&MemberStatus],
        grants_leases: bool,
    ) -> String {
        let serving: Vec<&MemberStatus> = left
            .iter()
            .copied()
            .filter(|m| m.serves.is_some() || self.configuration.accepted.is_none())
            .collect();
        let idle = left
            .iter()
            .filter(|m| !serving.iter().any(|s| s.id == m.id));
        let idle = list(idle.map(|m| m.name.as_str()));
        if serving.is_empty() && !idle.is_empty() {
            return nothing_served(left, &idle);
        }
        let left = serving.as_slice();
        let names = list(left.iter().map(|m| m.name.as_str()));
        let (it, one) = (&member.name, left.len() == 1);
        if !member.reach.is_there() {
            let serves = if one { "serves" } else { "serve" };
            if left.is_empty() {
                return "no other node serves".to_owned();
            }
            let alone = match self.owned_while_away(member) {
                owned if owned.is_empty() => {
                    format!("{names} {serves} alone until {it} returns")
                }
                owned => format!(
                    "{it} still owns {}, by its adverts, and serves their clients without the cluster; {names} {serves}, too",
                    list(owned.iter().copied())
                ),
            };
            let words = [alone].into_iter().chain(limits(left, |_| true));
            return words.collect::<Vec<String>>().join("; ");
        }
        let continues = if one { "continues" } else { "continue" };
        let owned = Owned::by(member);
        let words: Vec<String> = match (left.is_empty(), owned.is_empty()) {
            (true, _) => vec![self.without_nodes()],
            (false, true) => vec![format!(
                "{names} {continues} to serve; {it} owns no virtual address, so none moves"
            )],
            (false, false) => owned.moves(member, left, grants_leases),
        };
        let older = left.iter().filter_map(|m| {
            let serves = m.serves.filter(|_| !m.on_trial)?;
            let older = Some(serves) < self.configuration.accepted;
            older.then(|| format!("{} serves version {serves}, not the accepted one", m.name))
        });
        let words = words.into_iter().chain(older).chain(without(left));
        words.collect::<Vec<String>>().join("; ")
    }
}

impl ClusterStatus {
    /// Returns the virtual routers whose adverts reachable nodes receive from a member that is
    /// away.
    fn owned_while_away(&self, away: &MemberStatus) -> BTreeSet<&str> {
        let there = self.members.iter().filter(|one| one.reach.is_there());
        let routers = there.flat_map(|node| &node.parts.routing.routers);
        let heard =
            routers.filter(|router| !router.is_owner && self.is_node(&router.heard_owner, away));
        heard.map(|router| router.name.as_str()).collect()
    }

    /// Returns whether the owner of a router, given by its node name or address, is this member.
    fn is_node(&self, owner: &str, member: &MemberStatus) -> bool {
        let short = |name: &str| {
            let name = name.split('.').next().unwrap_or_default();
            name.to_ascii_lowercase()
        };
        if owner.parse::<IpAddr>().is_err() {
            return !owner.is_empty() && short(owner) == short(&member.name);
        }
        // Attributes an address to the other node in a cluster of two nodes, because the cluster
        // may not know the network of that address.
        let nodes = || {
            self.members
                .iter()
                .filter(|one| one.kind == MemberKind::Node)
        };
        nodes().count() == 2 && nodes().any(|one| one.id == member.id)
    }

    fn without_nodes(&self) -> String {
        let away = self.members.iter().filter(|one| !one.reach.is_there());
        let owners: Vec<String> = away
            .filter_map(|one| {
                let owned = self.owned_while_away(one);
                let words = list(owned.iter().copied());
                (!owned.is_empty()).then(|| format!("{}, which is away, owns {words}", one.name))
            })
            .collect();
        if owners.is_empty() {
            "no node would serve: no other node is reachable".to_owned()
        } else {
            format!(
                "only a node without the cluster would serve: {}",
                owners.join(", ")
            )
        }
    }
}

impl<'s> Owned<'s> {
    fn by(member: &'s MemberStatus) -> Owned<'s> {
        let all = &member.parts.routing.routers;
        let routers: Vec<&RouterStatus> = all.iter().filter(|router| router.is_owner).collect();
        let reported = routers.iter().map(|router| router.addresses).sum();
        let is_complete = !all.is_empty() && all.len() < ROUTERS_MAX;
        Owned {
            routers,
            addresses: if is_complete {
                reported
            } else {
                member.addresses_owned.max(reported)
            },
        }
    }

    fn is_empty(&self) -> bool {
        self.addresses == 0
    }

    /// Describes where the addresses move if the member fails, and what limits the nodes that
    /// remain. `grants_leases`: a majority remains that can grant leases.
    fn moves(
        &self,
        member: &MemberStatus,
        left: &[&'s MemberStatus],
        grants_leases: bool,
    ) -> Vec<String> {
        let mut groups: BTreeMap<Vec<&str>, Moving<'_>> = BTreeMap::new();
        let mut stopping = Moving::default();
        let mut unreported = self.addresses;
        for router in &self.routers {
            unreported = unreported.saturating_sub(router.addresses);
            let group = if router.has_lease && !grants_leases {
                &mut stopping
            } else {
                let takers = left.iter();
                let takers = takers.filter(|node| obstacle(node, &router.name).is_none());
                let takers = takers.map(|node| node.name.as_str()).collect();
                groups.entry(takers).or_default()
            };
            group.addresses += router.addresses;
            group.routers.push(&router.name);
        }
        if unreported > 0 {
            let takers = left.iter();
            let takers = takers.filter(|node| node.parts.routing.unknown.is_empty());
            let takers = takers.map(|node| node.name.as_str()).collect();
            groups.entry(takers).or_default().addresses += unreported;
        }
        let are_all = groups.len() + usize::from(stopping.addresses > 0) == 1;
        let (one, several) = (("moves", "stops"), ("move", "stop"));
        let verbs = |moving: &Moving<'_>| if moving.addresses == 1 { one } else { several };
        let subject = |moving: &Moving<'_>| {
            let of = if are_all || moving.routers.is_empty() {
                member.name.clone()
            } else {
                list(moving.routers.iter().copied())
            };
            match moving.addresses {
                1 => format!("the virtual address of {of}"),
                n => format!("the {n} virtual addresses of {of}"),
            }
        };
        let mut words: Vec<String> = groups
            .iter()
            .map(|(takers, moving)| {
                if takers.is_empty() {
                    format!("no node takes {}", subject(moving))
                } else {
                    format!(
                        "{} {} to {}",
                        subject(moving),
                        verbs(moving).0,
                        list(takers.iter().copied())
                    )
                }
            })
            .collect();
        if stopping.addresses > 0 {
            words.push(format!(
                "{} {}: without a majority nobody can grant the lease",
                subject(&stopping),
                verbs(&stopping).1
            ));
        }
        let concerned = |name: &str| self.routers.iter().any(|router| router.name == name);
        words.extend(limits(left, concerned));
        words
    }
}

/// Virtual addresses that move to the same nodes after a failure, and their routers.
#[derive(Default)]
struct Moving<'s> {
    addresses: u64,
    routers: Vec<&'s str>,
}

#[cfg(test)]
mod tests {
    use super::super::{MemberId, MemberKind, Reach};
    use super::*;
    use crate::command::VersionId;
    use crate::machine::Parts;
    use crate::role::shared::MemberSelfStatus;
    use part::codec;

    fn router(name: &str) -> RouterStatus {
        RouterStatus {
            name: name.to_owned(),
            addresses: 1,
            ..RouterStatus::default()
        }
    }

    fn node(id: u64, name: &str, routers: &[RouterStatus]) -> MemberStatus {
        MemberStatus {
            id: MemberId(id),
            name: name.to_owned(),
            kind: MemberKind::Node,
            votes: true,
            serves: Some(VersionId(3)),
            reach: match id {
                1 => Reach::Itself,
                _ => Reach::Direct { rtt_us: None },
            },
            parts: Parts {
                routing: Routing {
                    routers: routers.to_vec(),
                    ..Routing::default()
                },
                ..Parts::default()
            },
            ..MemberStatus::default()
        }
    }

    fn arbiter() -> MemberStatus {
        MemberStatus {
            kind: MemberKind::Arbiter,
            serves: None,
            ..node(3, "tie", &[])
        }
    }

    /// alpha owns `www` and `mail`; beta reports this.
    fn status(beta: &[RouterStatus]) -> ClusterStatus {
        let owned = ["www", "mail"].map(|name| RouterStatus {
            is_owner: true,
            ..router(name)
        });
        let mut status = ClusterStatus {
            majority: true,
            me: MemberId(1),
            members: vec![node(1, "alpha", &owned), node(2, "beta", beta), arbiter()],
            ..ClusterStatus::default()
        };
        status.configuration.accepted = Some(VersionId(3));
        status
    }

    fn forecast(mut status: ClusterStatus) -> String {
        status.put_into_words();
        status.members[0].if_it_fails.clone()
    }

    #[test]
    fn addresses_move_only_to_a_node_without_fault() {
        let fault = |name: &str| RouterStatus {
            fault: "no source address on eth0".to_owned(),
            ..router(name)
        };
        let words = forecast(status(&[router("www"), router("mail")]));
        let expected = "the 2 virtual addresses of alpha move to beta; ";
        assert!(words.starts_with(expected), "{words}");
        let mut one = status(&[router("www"), fault("mail")]);
        let words = forecast(one.clone());
        let expected = "no node takes the virtual address of mail; the virtual address of www moves to beta; \
                        beta cannot own mail: no source address on eth0; ";
        assert!(words.starts_with(expected), "{words}");
        one.put_into_words();
        let note = "beta cannot own mail: no source address on eth0";
        assert!(one.notes.iter().any(|one| one == note), "{:?}", one.notes);
        // While alpha is away nobody owns it.
        one.members[0].reach = Reach::Away;
        let words = forecast(one);
        assert!(words.contains(note), "{words}");
        let words = forecast(status(&[fault("www"), fault("mail")]));
        let expected = "no node takes the 2 virtual addresses of alpha; beta cannot own www: ";
        assert!(words.starts_with(expected), "{words}");
    }

    #[test]
    fn owner_that_is_away_is_named_by_its_adverts() {
        let forecasts = |owner: &str| {
            let heard = |name| RouterStatus {
                heard_owner: owner.to_owned(),
                ..router(name)
            };
            let mut status = status(&[heard("www"), heard("mail")]);
            status.me = MemberId(2);
            status.members[0].reach = Reach::Away;
            status.members[1].reach = Reach::Itself;
            status.put_into_words();
            [0, 1].map(|at| status.members[at].if_it_fails.clone())
        };
        for owner in ["alpha", "Alpha.example.org", "192.0.2.1"] {
            let [alpha, beta] = forecasts(owner);
            let words = "it is away: alpha still owns mail and www, by its adverts";
            assert!(alpha.starts_with(words), "{alpha}");
            let words = "only a node without the cluster would serve: alpha, which is away, owns";
            assert!(beta.starts_with(words), "{beta}");
        }
        for owner in ["", "gamma"] {
            let [alpha, beta] = forecasts(owner);
            assert!(
                alpha.contains("beta serves alone until alpha returns"),
                "{alpha}"
            );
            assert!(beta.starts_with("no node would serve"), "{beta}");
        }
    }

    #[test]
    fn addresses_do_not_move_to_a_silent_role() {
        let mut status = status(&[]);
        status.members[1].parts.routing.unknown = "the role does not respond".to_owned();
        let words = forecast(status);
        let expected = "no node takes the 2 virtual addresses of alpha; beta reports no virtual addresses: the role \
                        does not respond; ";
        assert!(words.starts_with(expected), "{words}");
    }

    #[test]
    fn missing_service_of_the_next_owner_is_named() {
        let down = RouterStatus {
            unavailable: "no frontend is available: the proxy reports servers as down".to_owned(),
            ..router("www")
        };
        let words = forecast(status(&[down, router("mail")]));
        let expected =
            "the 2 virtual addresses of alpha move to beta; beta, www: no frontend is available";
        assert!(words.starts_with(expected), "{words}");
    }

    #[test]
    fn address_with_lease_stops_without_a_majority() {
        let mut status = status(&[router("www"), router("mail")]);
        status.members[0].parts.routing.routers[0].has_lease = true;
        let words = forecast(status.clone());
        assert!(
            words.contains("2 virtual addresses of alpha move to beta"),
            "{words}"
        );
        status.members[2].reach = Reach::Away;
        let words = forecast(status);
        let expected = "the virtual address of mail moves to beta; the virtual address of www stops: without a majority";
        assert!(words.starts_with(expected), "{words}");
    }

    #[test]
    fn node_with_an_older_program_reports_only_a_number() {
        let mut status = status(&[]);
        status.members[0].parts.routing = Routing::default();
        status.members[0].addresses_owned = 1;
        let words = forecast(status);
        assert!(
            words.starts_with("the virtual address of alpha moves to beta; "),
            "{words}"
        );
    }

    #[test]
    fn status_of_a_member_is_read_with_and_without_routers() {
        let summary = part::report::Summary {
            part: "address".to_owned(),
            ..part::report::Summary::default()
        };
        let tale = MemberSelfStatus {
            parts: Parts {
                summaries: vec![summary],
                routing: node(1, "alpha", &[router("www")]).parts.routing,
            },
            sees: [
                (MemberId(2), Reach::Away),
                (MemberId(3), Reach::Direct { rtt_us: Some(300) }),
            ]
            .into(),
            accepted: Some(VersionId(3)),
            ..MemberSelfStatus::default()
        };
        let read: MemberSelfStatus = codec::decode(&codec::encode(&tale)).unwrap();
        assert_eq!(read, tale);
        // Decodes the summary as an older release of evenkeel writes it.
        let volume = part::report::Summary {
            part: "volume".to_owned(),
            ..part::report::Summary::default()
        };
        let older = serde_json::json!({ "program": "1", "parts": [volume] });
        let read: MemberSelfStatus = codec::decode(&codec::encode(&older)).unwrap();
        assert_eq!(read.parts.summaries[0].part, "volume");
        assert_eq!(read.parts.routing, Routing::default());
    }
}
