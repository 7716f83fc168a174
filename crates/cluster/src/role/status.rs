//! Defines and formats the status of the cluster as one member sees it: members, the leader, links,
//! served versions, frozen changes, and the effect of each member's failure as text. The status is
//! made of facts that the caller gathered, for operators and the console. This module makes no
//! requests and reads no clock.

mod addresses;
mod certificate;
mod disk;
mod link;
mod loss;
mod observed;
pub use disk::DiskStatus;

use crate::command::VersionId;
use crate::machine::Parts;
use crate::member::{Digest, MemberId, MemberKind};
use part::report::{Grade, NumberRow, StatusReport, Subject, Summary, span};
use part::status::{
    ClusterReport, MemberFault, MemberKind as PublishedKind, MemberReach, MemberReport,
};
use part::words::rendered;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;

const MEMBER_PROGRAM: &str = "program";

/// Status of the cluster as one member sees it.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterStatus {
    pub cluster: String,
    pub me: MemberId,
    pub directory: String,
    pub leader: Option<MemberId>,
    /// True if a majority is reachable; changes are then possible.
    pub majority: bool,
    pub members: Vec<MemberStatus>,
    pub configuration: Configuration,
    pub following: Vec<crate::follow::FollowStatus>,
    /// Why the log of this member is unusable, if it is.
    pub broken_store: Option<String>,
    /// True if the disk of this member is full, read-only or broken. The member continues by itself
    /// when the disk works again.
    pub disk_refuses: bool,
    /// Reason why this member cannot take part in its cluster, other than a broken store.
    pub cannot_start: Option<String>,
    pub missing_files: Vec<String>,
    pub authority: AuthorityStatus,
    pub invitations: u64,
    pub leases: Vec<LeaseStatus>,
    pub log: LogStatus,
    /// Recent events, with the newest last.
    pub events: Vec<String>,
    /// Changes that are impossible now, and what to do about it.
    pub frozen: Vec<String>,
    /// Messages about members that accepted a newer version than the cluster.
    pub disagreements: Vec<String>,
    /// Addresses on which this member cannot listen for others, each with the reason.
    pub unbound: Vec<String>,
    pub notes: Vec<String>,
}

/// Status of one member, as seen by the reporter.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MemberStatus {
    pub id: MemberId,
    pub name: String,
    pub kind: MemberKind,
    pub addresses: Vec<SocketAddr>,
    pub reach: Reach,
    /// Milliseconds since this member was last heard; `None` if never since the start.
    pub silent_ms: Option<u64>,
    /// Milliseconds since the direct link to this member was cut; `None` if the link works, or if
    /// the member is not reached at all.
    pub cut_ms: Option<u64>,
    pub program: Option<String>,
    pub format: u32,
    /// True if the member votes; a new member gets the log first.
    pub votes: bool,
    pub serves: Option<VersionId>,
    /// Reason why the member was observed to serve no version; empty if it serves one.
    pub cannot_serve: String,
    /// Things that are missing for the served version; the member serves without them.
    pub missing: Vec<String>,
    pub on_trial: bool,
    /// Number of virtual addresses that the member owns now.
    pub addresses_owned: u64,
    pub servers_up: u64,
    pub servers: u64,
    #[serde(flatten)]
    pub parts: Parts,
    pub sees: Vec<Sight>,
    /// Milliseconds since the supervisor of the member ended, by its own report; 0 while a
    /// supervisor runs.
    pub supervisor_gone_ms: u64,
    #[serde(flatten)]
    pub disk: DiskStatus,
    /// Reason why the machine at the member's address and this one do not trust each other; empty
    /// if they do.
    pub distrusted: String,
    /// Reason why the member reports its store as lost, and so does not vote; empty if the store is
    /// intact.
    pub lost: String,
    /// Newest configuration version that the member accepted, according to its own disk.
    pub accepted: Option<VersionId>,
    /// Effect of the member's failure now; of its absence, if it is away.
    pub if_it_fails: String,
}

/// Way in which a member is reached.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reach {
    #[default]
    Itself,
    Direct {
        rtt_us: Option<u64>,
    },
    Through {
        member: MemberId,
        rtt_us: Option<u64>,
    },
    Away,
}

impl Reach {
    pub fn is_there(&self) -> bool {
        *self != Reach::Away
    }
}

/// Reachability of another member, as one member sees it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Sight {
    pub member: MemberId,
    pub reach: Reach,
    #[serde(default)]
    pub is_cloned: bool,
}

/// Status of the served configuration and of changes.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Configuration {
    pub accepted: Option<VersionId>,
    pub accepted_words: String,
    pub serving: Option<VersionId>,
    pub on_trial: bool,
    /// True if the node serves the version that it accepted last and has no leader, so that it
    /// cannot know newer versions.
    pub by_itself: bool,
    pub moving: Option<VersionId>,
    /// Milliseconds until the version in progress is rolled back unless an operator confirms it;
    /// None if the version needs no confirmation.
    pub confirm_within_ms: Option<u64>,
    /// Author and progress of the version in progress.
    pub moving_words: String,
    pub trouble: String,
}

/// Status of the CA and its replacement.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AuthorityStatus {
    pub present: Option<Digest>,
    pub next: Option<Digest>,
    pub uncertified: Vec<MemberId>,
    /// True if a removed node knows the CA key, so that the CA must be replaced.
    pub exposed: bool,
    /// Members that prevent the replacement of the CA: they missed too many CAs.
    pub held_back_by: Vec<MemberId>,
    /// Days until the certificate of this member expires, by its clock; `None` if the expiry is not
    /// near.
    pub own_ends_days: Option<u64>,
}

/// A lease with its current holder.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LeaseStatus {
    pub name: String,
    pub holder: MemberId,
    pub epoch: u64,
    #[serde(default)]
    pub valid_ms: u64,
}

/// Progress of this member's log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct LogStatus {
    pub term: u64,
    pub last: u64,
    pub committed: u64,
    pub applied: u64,
}

impl ClusterStatus {
    pub fn name_of(&self, id: MemberId) -> String {
        let member = self.members.iter().find(|member| member.id == id);
        member.map_or_else(|| format!("member {id}"), |member| member.name.clone())
    }

    pub fn put_into_words(&mut self) {
        self.frozen = self.frozen_words();
        self.disagreements = self.disagreement_words();
        self.notes = self.notes_words();
        let words: Vec<String> = self.members.iter().map(|m| self.failure_of(m)).collect();
        for (member, words) in self.members.iter_mut().zip(words) {
            member.if_it_fails = rendered(&words).into_owned();
        }
        for words in [&mut self.frozen, &mut self.disagreements, &mut self.notes] {
            let sent = words.iter().map(|line| rendered(line).into_owned());
            *words = sent.collect();
        }
    }

    fn voters(&self) -> impl Iterator<Item = &MemberStatus> {
        self.members.iter().filter(|member| member.votes)
    }

    fn majority_of_voters(&self) -> usize {
        self.voters().count() / 2 + 1
    }

    fn names(&self, of: impl Fn(&MemberStatus) -> bool) -> String {
        list(
            self.members
                .iter()
                .filter(|m| of(m))
                .map(|m| m.name.as_str()),
        )
    }

    fn frozen_words(&self) -> Vec<String> {
        let mut words = Vec::new();
        if let Some(why) = &self.cannot_start {
            let serves = match self.configuration.serving {
                Some(version) => format!("serves version {version}, which it accepted last, and"),
                None => "serves nothing, and".to_owned(),
            };
            words.push(format!(
                "{} cannot take part in its cluster: {why}. It {serves} participates in no change. It tries again from \
                 time to time",
                self.name_of(self.me),
            ));
            return words;
        }
        if let Some(why) = self.broken_store.as_ref().filter(|_| self.disk_refuses) {
            words.push(format!(
                "the disk of {} fails: {why}. Until then it does not participate in changes and is not a voter",
                self.name_of(self.me),
            ));
            return words;
        }
        if let Some(why) = &self.broken_store {
            words.push(format!(
                "the log of {} is unusable: {why}. It serves the last accepted version and does not participate in changes. \
                 To repair: on another member run `evenkeel cluster remove {}` and `evenkeel cluster invite`, then \
                 here delete the state directory and run `evenkeel cluster join TOKEN`. If no other member is left, \
                 create a new cluster with `evenkeel cluster init`",
                self.name_of(self.me),
                self.name_of(self.me),
            ));
            return words;
        }
        if self.majority {
            return words;
        }
        if let Some(outdated) = self.outdated_words() {
            words.push(outdated);
        }
        let is_there = |m: &MemberStatus| m.reach.is_there() && m.lost.is_empty();
        let there = self.voters().filter(|m| is_there(m)).count();
        let all = self.voters().count();
        let away = self.names(|member| member.votes && !is_there(member));
        let needs = self.majority_of_voters();
        if there >= needs {
            words.push(
                "no leader yet: changes wait until one is elected; traffic and virtual addresses continue"
                    .to_owned(),
            );
            return words;
        }
        words.push(format!(
            "no changes of configuration or membership: {there} of {all} members are reachable and {needs} are \
             needed; {}: {away}",
            if self.voters().all(|m| m.lost.is_empty()) {
"away"
} else {
"away or without a log"
}
        ));
        if !self.leases.is_empty() {
            words.push(
                "leases: none can be granted or renewed, so resources bound to a lease stop when it ends"
                    .to_owned(),
            );
        }
        if self.voters().any(|m| !m.lost.is_empty()) {
            // Names no next step here: the notes name one for each of these members.
            words.push("traffic and virtual addresses continue".to_owned());
            return words;
        }
        words.push(
            "traffic and virtual addresses continue; changes resume when enough members return"
                .to_owned(),
        );
        words.push(format!(
            "if {away} will never return: stop `evenkeel run` on one node, then run `evenkeel cluster recover --alone \
             --yes` there"
        ));
        words
    }

    fn notes_words(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let nodes = self.voters().filter(|m| m.kind == MemberKind::Node).count();
        match self.voters().count() {
            0 => {}
            1 => notes.push(
                "one member alone: add a second node and an arbiter with `evenkeel cluster invite`".to_owned(),
            ),
            2 if nodes == 1 => notes.push(
                "two members: the failure of either one freezes changes, and of the node all service; a second \
                 node (`evenkeel cluster invite`) prevents that"
                    .to_owned(),
            ),
            2 => notes.push(
                "two members: the failure of either one freezes changes; an arbiter on a small third machine \
                 (`evenkeel cluster invite --arbiter`) prevents that"
                    .to_owned(),
            ),
            n if n % 2 == 0 => notes.push(format!(
                "{n} members survive only {} failures: one more member would allow one more failure",
                n - self.majority_of_voters()
            )),
            _ => {}
        }
        if nodes == 0 && !self.members.is_empty() {
            notes.push("no node: no machine serves".to_owned());
        }
        let learning = self.names(|member| !member.votes);
        if !learning.is_empty() {
            notes.push(format!("copying the log, not a voter yet: {learning}"));
        }
        let formats: Vec<u32> = self
            .members
            .iter()
            .map(|m| m.format)
            .filter(|f| *f > 0)
            .collect();
        let (low, high) = (formats.iter().min(), formats.iter().max());
        if let (Some(low), Some(high)) = (low, high)
            && low != high
        {
            let old = self.names(|member| member.format == *low);
            notes.push(format!(
                "an older program runs on {old}: new features wait until all members are upgraded"
            ));
        }
        notes.extend(self.program_words());
        for member in &self.members {
            if let Reach::Through { member: via, .. } = member.reach {
                notes.push(format!(
                    "the direct link to {} is cut; it is reached through {}",
                    member.name,
                    self.name_of(via)
                ));
            }
        }
        notes.extend(self.observed_words());
        notes.extend(self.loss_words().into_iter().chain(self.authority_words()));
        notes.extend(self.members.iter().filter_map(MemberStatus::disk_words));
        let configuration = &self.configuration;
        if configuration.by_itself {
            notes.push(
                "this node serves the version that it accepted last; without a leader it cannot know a newer one"
                    .to_owned(),
            );
        }
        if !configuration.trouble.is_empty() {
            notes.push(format!("this node: {}", configuration.trouble));
        }
        notes
    }

    /// Names the members of each program, while they run different ones.
    fn program_words(&self) -> Option<String> {
        let mut programs: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for member in &self.members {
            if let Some(program) = &member.program {
                programs.entry(program).or_default().push(&member.name);
            }
        }
        if programs.len() < 2 {
            return None;
        }
        let one = |(program, names): (&&str, &Vec<&str>)| {
            format!("{program} on {}", list(names.iter().copied()))
        };
        let all: Vec<String> = programs.iter().map(one).collect();
        Some(format!(
            "members run different programs: {}",
            all.join(", ")
        ))
    }

    fn authority_words(&self) -> Option<String> {
        let authority = &self.authority;
        let lacks = |there: bool| {
            self.names(|member| {
                authority.uncertified.contains(&member.id) && member.reach.is_there() == there
            })
        };
        let (waited, away) = (lacks(true), lacks(false));
        if authority.next.is_some() {
            let mut words = "members trust a new CA beside the current one".to_owned();
            if !waited.is_empty() {
                words.push_str(&format!(", still without a certificate: {waited}"));
            }
            if !away.is_empty() {
                words.push_str(&format!(", away and certified when they return: {away}"));
            }
            return Some(words);
        }
        if authority.exposed && !authority.held_back_by.is_empty() {
            let names = self.names(|member| authority.held_back_by.contains(&member.id));
            return Some(held_back_words(&names));
        }
        if authority.exposed {
            return Some("a removed node knows the CA key: the CA will be replaced".to_owned());
        }
        let late = [waited, away].into_iter().filter(|names| !names.is_empty());
        let late: Vec<String> = late.collect();
        (!late.is_empty()).then(|| {
            let late = late.join(" and ");
            format!("{late}: no certificate of the current CA yet; certified on return")
        })
    }

    fn failure_of(&self, member: &MemberStatus) -> String {
        let needs = self.majority_of_voters();
        let others = |m: &&MemberStatus| m.id != member.id && m.reach.is_there();
        let voters_left = self
            .voters()
            .filter(others)
            .filter(|m| m.takes_part())
            .count();
        let nodes_left: Vec<&MemberStatus> = self
            .members
            .iter()
            .filter(others)
            .filter(|m| m.kind == MemberKind::Node)
            .collect();
        let mut words = Vec::new();
        let grants_leases = self.majority && (!member.votes || voters_left >= needs);
        if member.kind == MemberKind::Node {
            words.push(self.failure_of_traffic(member, &nodes_left, grants_leases));
        } else {
            words.push("traffic is not affected".to_owned());
        }
        if !self.majority {
            words.push("changes are frozen already".to_owned());
        } else if !member.votes {
            words.push("changes remain possible".to_owned());
        } else if voters_left < needs {
            words.push(format!(
                "changes freeze ({voters_left} of {} members left, {needs} needed)",
                self.voters().count()
            ));
            if !self.leases.is_empty() {
                words.push("resources bound to a lease stop when it ends".to_owned());
            }
        } else {
            if self.leader == Some(member.id) {
                words.push("a new leader is elected within a second".to_owned());
            }
            words.push("changes remain possible".to_owned());
            words.push(match (voters_left - needs, member.reach.is_there()) {
                (0, true) => "one more failure would freeze them".to_owned(),
                (0, false) => "the next failure freezes them".to_owned(),
                (1, _) => "also after one more failure".to_owned(),
                (n, _) => format!("also after {n} more failures"),
            });
        }
        let words = words.join("; ");
        if member.reach.is_there() {
            words
        } else {
            format!("it is away: {words}")
        }
    }

    pub fn text(&self) -> String {
        self.report().text()
    }

    pub fn report(&self) -> StatusReport {
        let members = self.members.iter().map(|member| self.member(member));
        let leases = self.leases.iter().map(|lease| self.lease(lease));
        StatusReport {
            part: "cluster".to_owned(),
            subjects: [self.whole()]
                .into_iter()
                .chain(members)
                .chain(self.cut_links())
                .chain(self.copies_of_members())
                .chain(self.unconfirmed_version())
                .chain(leases)
                .collect(),
            rows: vec![
                NumberRow::new(
                    MEMBER_PROGRAM,
                    "evenkeel_cluster_member_info",
                    "Always 1, with the program that the member runs in the label 'program'.",
                )
                .flag(),
            ],
            ..StatusReport::default()
        }
    }

    /// Describes a lease with its holder. Without a majority the holder cannot be
    /// confirmed.
    fn lease(&self, lease: &LeaseStatus) -> Subject {
        let subject = Subject::new("lease", &lease.name);
        let holder = self.name_of(lease.holder);
        let mut subject = if self.majority {
            subject.state(&holder, Grade::Good)
        } else {
            subject.state(&holder, Grade::Standby)
        };
        if !self.majority {
            subject.why = "not confirmed: no majority".to_owned();
        }
        subject
            .fact("epoch", lease.epoch.to_string())
            .fact("valid", span(lease.valid_ms))
    }

    fn whole(&self) -> Subject {
        let whole = Subject::new("cluster", &self.cluster);
        let whole = match (self.majority, self.leader) {
            (true, Some(leader)) => whole.state(
                &format!("{} is the leader", self.name_of(leader)),
                Grade::Good,
            ),
            _ => whole.state("no majority, changes are frozen", Grade::Bad),
        };
        let whole = whole
            .publish(&ClusterReport {
                leader: self.leader.map_or_else(String::new, |id| self.name_of(id)),
                has_majority: self.majority,
                version_in_progress: self.configuration.moving.map(|version| version.0),
            })
            .fact("this member", self.name_of(self.me))
            .lines("frozen", self.frozen.clone())
            .lines("disagreement", self.disagreements.clone())
            .lines("note", self.notes.clone());
        let whole = self.versions(whole);
        let follows = self.following.iter().flat_map(|standing| {
            let followed = [standing.followed.to_string()].into_iter();
            followed.chain(
                standing
                    .trouble
                    .as_ref()
                    .map(|trouble| format!("  {trouble}")),
            )
        });
        whole
            .lines("follows", follows.collect())
            .lines("recent event", self.events.clone())
    }

    fn unconfirmed_version(&self) -> Option<Subject> {
        let version = self.configuration.moving?;
        let left = span(self.configuration.confirm_within_ms?);
        let state = format!("waits for confirmation, rolled back in about {left} without");
        let mut subject = Subject::new("version", &version.to_string()).state(&state, Grade::Bad);
        subject.why = format!(
            "run `evenkeel config confirm` to keep it, or `evenkeel config cancel` to roll it back at once: {}",
            self.configuration.moving_words
        );
        Some(subject)
    }

    /// Adds the accepted version, the one in progress, and the one served here.
    fn versions(&self, whole: Subject) -> Subject {
        let configuration = &self.configuration;
        let me = self.members.iter().find(|member| member.id == self.me);
        let whole = whole.fact(
            "accepted",
            match configuration.accepted {
                Some(version) if configuration.accepted_words.is_empty() => {
                    format!("version {version}")
                }
                Some(_) => configuration.accepted_words.clone(),
                None if me.is_some_and(|me| !me.lost.is_empty()) => {
                    "unknown until this member has its log again".to_owned()
                }
                None => {
                    "none yet: create one with `evenkeel config apply FILE… -m MESSAGE`".to_owned()
                }
            },
        );
        let whole = match configuration.moving {
            Some(_) => whole.fact("in progress", configuration.moving_words.clone()),
            None => whole,
        };
        if me.is_some_and(|me| me.kind == MemberKind::Arbiter) {
            return whole;
        }
        let served = match (configuration.serving, configuration.on_trial) {
            (Some(version), true) => format!("version {version}, candidate"),
            (Some(version), false) => format!("version {version}"),
            (None, _) => "nothing".to_owned(),
        };
        whole.fact("served here", served)
    }

    fn member(&self, member: &MemberStatus) -> Subject {
        let state = self.reach_words(&member.reach);
        let mut one = match (&member.reach, member.silent_ms) {
            (Reach::Away, Some(silent)) => {
                let words = format!("{state} for {}", span(silent));
                Subject::new("member", &member.name).state(&words, Grade::Bad)
            }
            (Reach::Away, None) => Subject::new("member", &member.name).state(&state, Grade::Bad),
            _ => self.reached_member(member, &state),
        };
        if !member.distrusted.is_empty() {
            one.why = format!(
                "its machine and {} do not accept each other's certificates: {}",
                self.name_of(self.me),
                member.distrusted
            );
        }
        let kind = match member.kind {
            MemberKind::Node => "node",
            MemberKind::Arbiter => "arbiter",
        };
        one = if self.leader == Some(member.id) {
            one.fact("kind", format!("{kind}, leader"))
        } else {
            one.fact("kind", kind)
        };
        if let Some(program) = &member.program {
            one = one
                .label("member")
                .joined("program", program)
                .as_label("program")
                .number(MEMBER_PROGRAM, 1);
        }
        if member.reach.is_there() && !member.cannot_serve.is_empty() {
            one = one.joined("serves", format!("nothing: {}", member.cannot_serve));
        }
        if let Some(version) = member.serves {
            let trial = if member.on_trial { " (candidate)" } else { "" };
            one = one.joined("serves", format!("version {version}{trial}"));
        }
        if member.servers > 0 {
            let (up, all) = (member.servers_up, member.servers);
            one = one.joined("servers up", format!("{up} of {all}"));
        }
        if member.addresses_owned > 0 {
            one = one.joined("virtual addresses", member.addresses_owned.to_string());
        }
        one = one.publish(&self.member_report(member));
        for Summary { part, words, .. } in &member.parts.summaries {
            one = one.fact(part, words);
        }
        let others = member.sees.iter().filter(|_| member.id != self.me);
        let (near, far): (Vec<&Sight>, Vec<&Sight>) =
            others.partition(|sight| sight.reach.is_there());
        let near = near.into_iter().map(|sight| {
            let path = self.path_words(&sight.reach);
            format!("{} ({path})", self.name_of(sight.member))
        });
        one = one.list("reaches", near.collect());
        let far = far.into_iter().map(|sight| self.name_of(sight.member));
        one = one.list("does not reach", far.collect());
        if member.reach.is_there() {
            one.fact("if it fails", &member.if_it_fails)
        } else {
            one.fact("failed", &member.if_it_fails)
        }
    }

    fn member_report(&self, member: &MemberStatus) -> MemberReport {
        let (reach, relay, rtt_us) = match &member.reach {
            Reach::Itself => (MemberReach::Local, String::new(), None),
            Reach::Direct { rtt_us } => (MemberReach::Direct, String::new(), *rtt_us),
            Reach::Through { member, rtt_us } => {
                (MemberReach::Relayed, self.name_of(*member), *rtt_us)
            }
            Reach::Away => (MemberReach::Away, String::new(), None),
        };
        MemberReport {
            kind: match member.kind {
                MemberKind::Node => PublishedKind::Node,
                MemberKind::Arbiter => PublishedKind::Arbiter,
            },
            is_leader: self.leader == Some(member.id),
            reach,
            relay,
            rtt_us,
            silent_ms: member.silent_ms.filter(|_| !member.reach.is_there()),
            fault: self
                .fault_of(member)
                .map_or(MemberFault::None, |(fault, _)| fault),
            served_version: member.serves.map(|version| version.0),
            is_candidate: member.on_trial,
            program: member.program.clone().unwrap_or_default(),
            serves_nothing: member.reach.is_there() && !member.cannot_serve.is_empty(),
        }
    }

    fn reach_words(&self, reach: &Reach) -> String {
        match reach {
            Reach::Itself => "this machine".to_owned(),
            Reach::Away => "away".to_owned(),
            there => format!("reachable, {}", self.path_words(there)),
        }
    }

    fn path_words(&self, reach: &Reach) -> String {
        let trip = |rtt_us: &Option<u64>| match rtt_us {
            Some(us) => format!(", {}.{} ms", us / 1000, us % 1000 / 100),
            None => String::new(),
        };
        match reach {
            Reach::Itself => "this machine".to_owned(),
            Reach::Direct { rtt_us } => format!("direct link{}", trip(rtt_us)),
            Reach::Through { member, rtt_us } => {
                format!("through {}{}", self.name_of(*member), trip(rtt_us))
            }
            Reach::Away => "away".to_owned(),
        }
    }
}

pub(super) fn held_back_words(names: &str) -> String {
    format!(
        "a removed node knows the CA key, but the CA cannot be replaced until these members return or are removed \
         (`evenkeel cluster remove NAME`), because they know only an old CA: {names}"
    )
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    match names.split_last() {
        None => String::new(),
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn away(id: u64, name: &str) -> MemberStatus {
        let away = serde_json::json!({
            "id": id, "name": name, "kind": "arbiter", "addresses": [], "reach": "away", "votes": true,
        });
        serde_json::from_value(away).unwrap()
    }

    #[test]
    fn program_of_each_member_is_shown_during_an_upgrade() {
        let member = |id, name: &str, program: Option<&str>| MemberStatus {
            program: program.map(str::to_owned),
            ..away(id, name)
        };
        let mut status = ClusterStatus {
            members: vec![
                member(1, "alpha", Some("evenkeel 0.1.0")),
                member(2, "beta", Some("evenkeel 0.2.0")),
                member(3, "tie", Some("evenkeel 0.1.0")),
                member(4, "new", None),
            ],
            ..ClusterStatus::default()
        };
        status.put_into_words();
        let words = "members run different programs: evenkeel 0.1.0 on alpha and tie, evenkeel 0.2.0 on beta";
        assert!(
            status.notes.iter().any(|note| note == words),
            "{:?}",
            status.notes
        );
        assert!(status.text().contains(words), "{}", status.text());
        let report = status.report();
        let beta = report.find("member", "beta").unwrap();
        assert_eq!(MemberReport::of(beta).program, "evenkeel 0.2.0");
        let mut metrics = String::new();
        report.metrics(&mut metrics);
        let line = "evenkeel_cluster_member_info{member=\"beta\",program=\"evenkeel 0.2.0\"} 1\n";
        assert!(metrics.contains(line), "{metrics}");
        assert!(!metrics.contains("member=\"new\""), "{metrics}");
        status.members[1].program = Some("evenkeel 0.1.0".to_owned());
        assert_eq!(status.program_words(), None);
    }

    #[test]
    fn a_lease_is_not_confirmed_without_a_majority() {
        let mut status = ClusterStatus {
            majority: true,
            members: vec![away(2, "beta")],
            leases: vec![LeaseStatus {
                name: "volume/mail".to_owned(),
                holder: MemberId(2),
                epoch: 4,
                valid_ms: 5000,
            }],
            ..ClusterStatus::default()
        };
        let shown = |status: &ClusterStatus| {
            let report = status.report();
            let lease = report.find("lease", "volume/mail").unwrap();
            (
                lease.state.word.clone(),
                lease.state.grade,
                lease.why.clone(),
            )
        };
        let held = ("beta".to_owned(), Grade::Good, String::new());
        assert_eq!(shown(&status), held);
        status.majority = false;
        let why = "not confirmed: no majority".to_owned();
        let last = ("beta".to_owned(), Grade::Standby, why);
        assert_eq!(shown(&status), last);
        let text = status.text();
        assert!(text.contains("not confirmed: no majority"), "{text}");
    }

    #[test]
    fn member_that_delays_a_new_ca_is_named_with_help() {
        let mut status = ClusterStatus {
            members: vec![away(3, "tie"), away(4, "spare")],
            ..ClusterStatus::default()
        };
        status.authority.exposed = true;
        status.authority.uncertified = vec![MemberId(3), MemberId(4)];
        let words = status.authority_words().unwrap();
        assert!(words.ends_with("the CA will be replaced"), "{words}");
        status.authority.held_back_by = vec![MemberId(3)];
        let words = status.authority_words().unwrap();
        assert!(words.contains("an old CA: tie"), "{words}");
        assert!(words.contains("cluster remove"), "{words}");
        // If no CA must follow, a late member is only reported as late.
        status.authority.exposed = false;
        let words = status.authority_words().unwrap();
        assert!(words.contains("certified on return"), "{words}");
    }
}
