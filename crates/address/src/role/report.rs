//! Reports the status of the virtual routers and of all that they depend on, as a [`StatusReport`].

use super::event_loop::AddressRole;
use super::member::VrrpInstance;
use super::weight::TrackedState;
use super::{clock, reason};
use crate::message::AddressRoleMessage;
use crate::standing::Row;
use part::report::SubjectAction;
use part::report::{Grade, Moment, NumberRow, StatusReport, Subject, Unit, span};
use part::status::{AddressReport, LeaseUse, RouterReport, RouterState};
use protocol::bfd;
use protocol::vrrp::{
    COUNTERS, Counters, Instance, NUMBERS, Rejected, Time, VrrpState, VrrpStatus,
};
use std::net::IpAddr;
use std::time::Duration;

pub const VIRTUAL_IP: &str = "virtual-ip";
pub const HERE: &str = "here";

/// Name of the fact about a planned hand-over in progress.
pub const HAND_OVER: &str = "hand-over";

pub const LEASE: &str = "lease";
/// Fact of a virtual router on a member: the node whose adverts it receives, by its name if the
/// priority identifies it, otherwise by its address.
pub const HEARD_OWNER: &str = "node";
/// Advert intervals after which the last advert no longer shows who owns the addresses.
const HEARD_INTERVALS: u32 = 5;
/// Minimum time after which the last advert no longer shows who owns the addresses, for short
/// advert intervals.
const HEARD_LEAST: Duration = Duration::from_secs(1);

/// Name of the fact with the reasons why a virtual router owns none or not all of its addresses.
pub const FAULT: &str = "fault";

pub const HEALTH: &str = "health";

/// Name of the number of the health band; 0 is the best.
pub const BAND: &str = "band";

/// Returns keepalived's word for a state.
pub fn state_word(state: VrrpState) -> &'static str {
    match state {
        VrrpState::Init => "INIT",
        VrrpState::Backup => "BACKUP",
        VrrpState::Master => "MASTER",
        VrrpState::Fault => "FAULT",
    }
}

fn published(state: VrrpState) -> RouterState {
    match state {
        VrrpState::Init => RouterState::Init,
        VrrpState::Backup => RouterState::Backup,
        VrrpState::Master => RouterState::Master,
        VrrpState::Fault => RouterState::Fault,
    }
}

/// Returns keepalived's number of a state.
pub fn state_number(state: VrrpState) -> u8 {
    match state {
        VrrpState::Init => 0,
        VrrpState::Backup => 1,
        VrrpState::Master => 2,
        VrrpState::Fault => 3,
    }
}

pub(super) fn moment(at: Time) -> Moment {
    Moment {
        boottime_ms: clock::as_ms(at),
        unix_ms: clock::unix_ms_of(at),
    }
}

/// Returns the hand-over that an operator may request for an instance that owns its addresses.
fn hand_over(name: &str) -> SubjectAction {
    let message = AddressRoleMessage::HandOver {
        name: Some(name.to_owned()),
        drain_ms: None,
    };
    let follows = "The other machine takes its addresses over; new connections go there.";
    SubjectAction::new("hand-over", "Hand over", message.envelope()).follows(follows)
}

/// Adds a hand-over in progress, or the action that starts one as master, and the priority of the
/// owner to which an operator handed the addresses over.
fn with_hand_over(mut subject: Subject, status: &VrrpStatus, name: &str) -> Subject {
    if status.handing_over {
        subject = subject.fact(HAND_OVER, "in progress");
    } else if status.state == VrrpState::Master {
        subject.offers = vec![hand_over(name)];
    }
    let Some(priority) = status.yielded else {
        return subject;
    };
    let words = format!(
        "handed over by an operator: not reclaimed while the owner announces at least {priority}; `evenkeel address hand-over {name}` on the owner moves it back"
    );
    subject.fact("handed over", words)
}

impl AddressRole {
    pub(super) fn report(&self) -> StatusReport {
        let now = clock::now();
        let instances = (0..self.members.len()).filter_map(|at| self.instance(at, now));
        let mut subjects: Vec<Subject> = instances.collect();
        subjects.extend(self.groups());
        subjects.extend(self.tracked());
        subjects.push(self.process());
        StatusReport {
            part: "address".to_owned(),
            at: moment(now),
            subjects,
            rows: rows(),
        }
    }

    fn process(&self) -> Subject {
        let mut process = Subject::new("router", &self.config.global.router_id)
            .state("running", Grade::Good)
            .fact("pid", std::process::id().to_string())
            .list("granted", self.process.privileges.clone())
            .number("up", 1);
        if self.members.is_empty() {
            process.why = "no virtual addresses".to_owned();
        }
        process
    }

    /// Returns the counters of a virtual router since the last reset.
    pub(super) fn counters(&self, at: usize) -> Counters {
        let (Some(member), Some(status)) = (self.members.get(at), self.router.status(Instance(at)))
        else {
            return Counters::default();
        };
        member.history.base + status.counters - member.history.cleared
    }

    fn instance(&self, at: usize, now: Time) -> Option<Subject> {
        let member = self.members.get(at)?;
        let (config, history) = (&member.config, &member.history);
        let status = self.router.status(Instance(at))?;
        let interval = config.options.advert_interval.as_millis();
        let mut one = Subject::new(VIRTUAL_IP, &config.name)
            .label("iname")
            .state(state_word(status.state), grade(&status, member))
            .children(addresses(member, status.state))
            .fact("interface", &config.interface)
            .as_label("intf")
            .joined("VRID", config.vrid.to_string())
            .as_label("vrid")
            .joined("version", config.options.version.to_string())
            .joined("advert interval", format!("{interval} ms"));
        if let Some(source) = member.source {
            one = one.joined("source", source.to_string());
        }
        one.since = Some(moment(status.since));
        one.why = reason::words(&status.why);
        let made_of = member.judgement.made_of.join(", ");
        one = owner(one, &status, now);
        if let Some(owner) = self.heard_owner(member, &status, now) {
            one = one.joined(HEARD_OWNER, owner);
        }
        one = one
            .fact("priority", format!("{} ({made_of})", status.priority))
            .list("prefer", config.prefer.clone());
        if let Some(group) = self.group_of(&config.name) {
            one = one.fact("sync group", group);
        }
        one = with_hand_over(one, &status, &config.name);
        let lease = match (config.options.lease, self.leases.moves(config)) {
            (_, true) => LeaseUse::Moves,
            (true, false) => LeaseUse::Decides,
            (false, false) => LeaseUse::None,
        };
        one = match lease {
            LeaseUse::Moves => one.fact(LEASE, "moves to a healthier node"),
            LeaseUse::Decides => one.fact(LEASE, "determines the owner of the addresses"),
            LeaseUse::None | LeaseUse::Unknown => one,
        };
        let is_master = status.state == VrrpState::Master;
        let other_owner = status.owner.filter(|_| !is_master);
        let other_node = self.heard_owner(member, &status, now);
        let band = self.health_band(at).filter(|_| config.bands.is_some());
        one = one.publish(&RouterReport {
            state: published(status.state),
            other_owner: other_owner.map_or_else(String::new, |(address, ..)| address.to_string()),
            other_node: other_node.unwrap_or_default(),
            is_handing_over: status.handing_over,
            lease,
            has_unavailable_frontends: band.is_some_and(|band| band > 0),
        });
        one = self.health_of(one, at, now);
        one = self.standing_of(one, at, now);
        let conflicts = history.conflicts(now);
        let rejected = status.rejected.iter().map(|one| rejected_words(one, now));
        let place = status.same_place.map(place_words);
        let others = conflicts.iter();
        let others =
            others.map(|other| format!("{other} used the same address in the last ten minutes"));
        one = one
            .lines("rejected", rejected.collect())
            .lines(FAULT, fault_words(member))
            .lines("conflict", place.into_iter().chain(others).collect());
        one = match history.restored {
            0 => one,
            1 => one.fact("restored", "1 address deleted by another program"),
            n => one.fact(
                "restored",
                format!("{n} addresses deleted by another program"),
            ),
        };
        one.events = history.transitions.iter().cloned().collect();
        one = one
            .number("priority", status.priority.into())
            .number("moves", history.entered)
            .number("announcements", history.announcements)
            .number("restored", history.restored)
            .number("conflicts", conflicts.len() as u64)
            .number("since", clock::unix_ms_of(status.since) / 1000);
        let counters = self.counters(at);
        let counters = counters.iter();
        Some(counters.fold(one, |one, (row, value)| one.number(row.name, value)))
    }

    fn heard_owner(&self, member: &VrrpInstance, status: &VrrpStatus, now: Time) -> Option<String> {
        let (address, priority, heard) = status.owner?;
        let valid = member.config.options.advert_interval * HEARD_INTERVALS;
        let is_heard = now.since(heard) < valid.max(HEARD_LEAST);
        let is_other = status.state == VrrpState::Backup && priority > 0;
        if !self.config.global.is_member || !is_heard || !is_other {
            return None;
        }
        let name = crate::standing::position(priority)
            .filter(|_| member.config.bands.is_some())
            .and_then(|position| member.config.prefer.get(usize::from(position)));
        Some(name.cloned().unwrap_or_else(|| address.to_string()))
    }

    /// Returns the health band of an instance. None without a source of health, unless an earlier
    /// band still lowers the priority.
    fn health_band(&self, at: usize) -> Option<usize> {
        let band = self.health.band(at);
        band.filter(|band| self.health.is_known() || *band > 0)
    }

    /// Adds the availability of the frontends that are bound to the addresses, if it is known.
    fn health_of(&self, one: Subject, at: usize, now: Time) -> Subject {
        let Some(member) = self.members.get(at).filter(|m| m.config.bands.is_some()) else {
            return one;
        };
        let why = self.health.why(&member.config.name, clock::as_ms(now));
        let band = self.health_band(at);
        let health = match band {
            Some(0) => "all frontends are available",
            Some(1) => "some frontends are unavailable",
            Some(_) => "no frontend is available",
            // Reports the health as unknown: without a proxy there is no memory to read the band
            // from.
            None if why.is_some() => "unknown",
            None => return one,
        };
        let one = match why.filter(|why| !why.is_empty()) {
            Some(why) => one.fact(HEALTH, format!("{health}: {why}")),
            None => one.fact(HEALTH, health),
        };
        match band {
            Some(band) => one.number(BAND, band as u64),
            None => one,
        }
    }

    /// Adds the row of the ownership table that applies, and what the node waits for.
    fn standing_of(&self, one: Subject, at: usize, now: Time) -> Subject {
        let Some(standing) = self.standing(at, now) else {
            return one;
        };
        let row = standing.row();
        if row == Row::Standalone {
            return one;
        }
        let behind = standing.behind.iter();
        let behind = behind.filter_map(|place| {
            let prefer = &self.members.get(at)?.config.prefer;
            prefer.get(usize::from(*place)).map(String::as_str)
        });
        let behind: Vec<&str> = behind.collect();
        let waits = match row.why() {
            "" => String::new(),
            why => format!(
                ": {why}; it takes the addresses only if it receives no adverts of an owner"
            ),
        };
        let words = match (row, behind.is_empty()) {
            (Row::Removed, _) => format!("{}: {}; it owns no address", row.name(), row.why()),
            (_, true) => format!("{}{waits}", row.name()),
            (_, false) => format!(
                "{}{waits} (without the accepted version: {})",
                row.name(),
                behind.join(", ")
            ),
        };
        one.fact("standing", words)
    }

    pub(super) fn group_of(&self, name: &str) -> Option<&str> {
        let mut groups = self.config.groups.iter();
        let group = groups.find(|group| group.members.iter().any(|member| member == name))?;
        Some(&group.name)
    }

    pub(super) fn groups(&self) -> impl Iterator<Item = Subject> {
        let state = |names: &[String]| {
            let members = self
                .members
                .iter()
                .filter(|m| names.contains(&m.config.name));
            let mut states: Vec<VrrpState> = members.map(|m| m.state).collect();
            states.dedup();
            match states.as_slice() {
                [one] => *one,
                _ if states.contains(&VrrpState::Fault) => VrrpState::Fault,
                _ => VrrpState::Backup,
            }
        };
        self.config.groups.iter().map(move |group| {
            let state = state(&group.members);
            Subject::new("group", &group.name)
                .state(state_word(state), grade_of(state))
                .list("members", group.members.clone())
        })
    }

    pub(super) fn tracked(&self) -> Vec<Subject> {
        let tracked =
            |kind: &str, name: &str, verdict: TrackedState, since_ms: u64, outcome: String| {
                let mut tracked = Subject::new(kind, name).label("name");
                let ago = clock::as_ms(clock::now()).saturating_sub(since_ms);
                // Omits the start of a state that has not changed since the role's first check.
                tracked.since = (since_ms > 0).then(|| Moment {
                    boottime_ms: since_ms,
                    unix_ms: clock::unix_ms().saturating_sub(ago),
                });
                tracked.why = outcome;
                match verdict {
                    TrackedState::Unknown => tracked.state("init", Grade::Unknown),
                    TrackedState::Up => tracked.state("up", Grade::Good),
                    TrackedState::Down => tracked.state("down", Grade::Bad),
                    TrackedState::Value(number) => {
                        tracked.state(&number.to_string(), Grade::Unknown)
                    }
                }
            };
        let is_up = |up: bool| {
            if up {
                TrackedState::Up
            } else {
                TrackedState::Down
            }
        };
        let mut all = Vec::new();
        let used = self.config.used_interfaces();
        for seen in self.host.links.all() {
            let name = &seen.link.name;
            let mut link = tracked("interface", name, is_up(seen.up), 0, String::new());
            if !seen.up && !used.contains(name.as_str()) {
                // Grades an interface as unknown instead of bad if it is down and nothing uses it.
                link.state.grade = Grade::Unknown;
            }
            all.push(link);
        }
        for asked in &self.tracker.scripts {
            let (since, outcome) = asked.history();
            let (name, verdict) = (&asked.script().name, asked.verdict());
            let script = tracked("script", name, verdict, since, outcome.to_owned());
            all.push(script.number("content", u64::from(verdict == TrackedState::Up)));
        }
        for (file, verdict) in self.tracker.files.iter().flat_map(|f| f.all()) {
            all.push(tracked("file", &file.name, *verdict, 0, String::new()));
        }
        for (process, count, well) in self.tracker.processes.iter().flat_map(|p| p.all()) {
            let outcome = format!("{count} running");
            all.push(tracked("process", &process.name, is_up(well), 0, outcome));
        }
        for (session, state, why) in self.tracker.bfd.all() {
            let verdict = self.tracker.bfd.verdict(&session.name);
            let mut outcome = match state {
                bfd::BfdState::Up => state.to_string(),
                _ => format!("{state}: {why}"),
            };
            match self.tracker.bfd.refused() {
                0 => {}
                refused => outcome += &format!(", {refused} packets dropped in all"),
            }
            all.push(tracked("bfd", &session.name, verdict, 0, outcome));
        }
        all
    }
}

/// Numbers that are 1 for yes and 0 for no.
const FLAGS: [&str; 2] = ["up", "content"];

/// Describes each number of the report: its metric and its meaning.
fn rows() -> Vec<NumberRow> {
    let counters = COUNTERS.iter().map(|row| (row.name, row.metric, row.words));
    let own = [
        (
            "announcements",
            "evenkeel_address_announcements_total",
            "gratuitous ARPs and neighbour advertisements sent",
        ),
        (
            "restored",
            "evenkeel_address_restored_total",
            "addresses restored after another program deleted them",
        ),
        (
            "conflicts",
            "evenkeel_address_conflicts",
            "other machines that use an address of this node",
        ),
        (
            "content",
            "keepalived_script_status",
            "1 if the last run of the script succeeded",
        ),
    ];
    let all = NUMBERS.iter().copied().chain(counters).chain(own);
    let words = "time of the last transition, in seconds since 1970";
    let since = NumberRow::new("since", "evenkeel_address_since_seconds", words);
    let row = |(name, metric, words)| {
        let row = NumberRow::new(name, metric, words);
        if FLAGS.contains(&name) {
            row.flag()
        } else {
            row
        }
    };
    all.map(row).chain([since.unit(Unit::Seconds)]).collect()
}

fn grade(status: &VrrpStatus, member: &VrrpInstance) -> Grade {
    match status.state {
        _ if status.handing_over => Grade::Busy,
        // Grades a missing lease as standby instead of a fault: another node may hold the lease,
        // and this node owns the addresses once it holds the lease.
        VrrpState::Fault if member.untracked.lease.is_some() && member.is_without_fault() => {
            Grade::Standby
        }
        state => grade_of(state),
    }
}

fn grade_of(state: VrrpState) -> Grade {
    match state {
        VrrpState::Init => Grade::Unknown,
        VrrpState::Backup => Grade::Standby,
        VrrpState::Master => Grade::Good,
        VrrpState::Fault => Grade::Bad,
    }
}

fn ago(now: Time, then: Time) -> String {
    span(clock::as_ms(now).saturating_sub(clock::as_ms(then)))
}

fn owner(one: Subject, status: &VrrpStatus, now: Time) -> Subject {
    match (status.owner, status.state) {
        (_, VrrpState::Master) => one.fact("owner", "this machine"),
        (Some((address, priority, heard)), _) => one
            .fact("owner", address.to_string())
            .joined("with priority", priority.to_string())
            .joined("heard", format!("{} ago", ago(now, heard))),
        (None, _) => one.fact("owner", "unknown (no adverts received)"),
    }
}

/// Returns the faults of a member, also those that leave it the owner of some addresses.
fn fault_words(member: &VrrpInstance) -> Vec<String> {
    let mut words = member.faults();
    if member.standing_fault().is_none() {
        words.extend(member.refused.words.iter().cloned());
    }
    words
}

fn rejected_words(rejected: &Rejected, now: Time) -> String {
    let adverts = match rejected.count {
        1 => "1 advert".to_owned(),
        n => format!("{n} adverts"),
    };
    let last = ago(now, rejected.last_at);
    let (from, why) = (rejected.from, &rejected.why);
    format!("{adverts} from {from}, the last {last} ago: {why}")
}

fn place_words((from, priority): (IpAddr, u8)) -> String {
    format!(
        "{from} announces priority {priority}, which is this node's position in `prefer`: use the same order in both files"
    )
}

/// Returns the addresses of an instance. Settings other than the default are facts of each address.
fn addresses(member: &VrrpInstance, state: VrrpState) -> Vec<Subject> {
    let of = |address: &crate::config::Address, advertised: bool| {
        let mut one = Subject::new(
            "address",
            &format!("{}/{}", address.address, address.prefix),
        )
        .label("ip_address")
        .number("state", state_number(state).into());
        one = if member.holds {
            one.state(HERE, Grade::Good)
        } else {
            one.state("not here", Grade::Standby)
        };
        one = one.publish(&AddressReport {
            is_local: member.holds,
        });
        let interface = member.name_of_interface(address);
        if interface != member.config.interface {
            one = one.fact("on", interface);
        }
        if let Some(label) = &address.label {
            one = one.fact("label", label);
        }
        if advertised {
            one
        } else {
            one.fact("excluded", "from adverts")
        }
    };
    let config = &member.config;
    let advertised = config.addresses.iter().map(|one| of(one, true));
    let excluded = config.excluded.iter().map(|one| of(one, false));
    advertised.chain(excluded).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejected_adverts_and_another_order_of_prefer_are_shown() {
        let at = |ms: u64| Time(ms * 1_000_000);
        let rejected = Rejected {
            from: "10.0.0.2".parse().unwrap(),
            count: 7,
            last_at: at(4_000),
            why: "wrong password".to_owned(),
        };
        assert_eq!(
            rejected_words(&rejected, at(5_000)),
            "7 adverts from 10.0.0.2, the last 1 s ago: wrong password"
        );
        let words = place_words(("10.0.0.3".parse().unwrap(), 220));
        assert!(
            words.starts_with("10.0.0.3 announces priority 220"),
            "{words}"
        );
    }

    #[test]
    fn every_number_has_a_name_and_a_metric_of_its_own() {
        let rows = rows();
        let mut names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
        let mut metrics: Vec<&str> = rows.iter().map(|row| row.metric.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        metrics.sort_unstable();
        metrics.dedup();
        assert_eq!((names.len(), metrics.len()), (rows.len(), rows.len()));
    }
}
