//! How everything is, as a value.

use super::event_loop::Role;
use super::member::Member;
use super::status::{
    AddressStatus, GroupStatus, InstanceStatus, OwnerStatus, RejectedStatus, Status, TrackedStatus,
    state_word,
};
use super::weight::Verdict;
use super::{clock, reason};
use crate::config::{Instance as Configured, Start};
use protocol::bfd;
use protocol::vrrp::{Instance, State};

impl Role {
    /// How everything is now.
    pub(super) fn status(&self) -> Status {
        Status {
            now_ms: clock::as_ms(clock::now()),
            unix_ms: clock::unix_ms(),
            router: self.config.global.router_id.clone(),
            pid: std::process::id(),
            instances: (0..self.members.len())
                .filter_map(|at| self.instance_status(at))
                .collect(),
            groups: self.group_statuses(),
            tracked: self.tracked_statuses(),
            privileges: self.privileges.clone(),
        }
    }

    fn instance_status(&self, at: usize) -> Option<InstanceStatus> {
        let member = self.members.get(at)?;
        let config = &member.config;
        let told = self.router.status(Instance(at))?;
        let groups = &self.config.groups;
        let group = groups.iter().find(|g| g.members.contains(&config.name));
        let counters = member.history.base + told.counters;
        let rejected = told.rejected.iter().map(|one| RejectedStatus {
            from: one.from,
            count: one.count,
            last_ms: clock::as_ms(one.last_at),
            why: one.why.clone(),
        });
        Some(InstanceStatus {
            name: config.name.clone(),
            interface: config.interface.clone(),
            vrid: config.vrid,
            version: config.options.version,
            ipv6: config.ipv6,
            state: state_word(told.state).to_owned(),
            wanted: wanted(config).to_owned(),
            since_ms: clock::as_ms(told.since),
            since_unix_ms: clock::unix_ms_of(told.since),
            why: reason::words(&told.why),
            base_priority: config.priority,
            priority: told.priority,
            advert_interval_ms: u64::try_from(config.options.advert_interval.as_millis())
                .unwrap_or(u64::MAX),
            owner: told.owner.map(|(address, priority, heard)| OwnerStatus {
                address,
                priority,
                heard_ms: clock::as_ms(heard),
            }),
            master_down_at_ms: told.master_down_at.map(clock::as_ms),
            source: member.source,
            addresses: addresses(member),
            faults: member.faults(),
            priority_from: member.judgement.made_of.clone(),
            group: group.map(|g| g.name.clone()),
            prefer: config.prefer.clone(),
            band: self
                .health
                .band(at)
                .and_then(|band| u8::try_from(band).ok()),
            health_why: match config.bands {
                Some(_) => self.health.why(&config.name, clock::as_ms(clock::now())),
                None => None,
            }
            .unwrap_or_default(),
            transitions: member.history.transitions.iter().cloned().collect(),
            announcements: member.history.announcements,
            restored: member.history.restored,
            conflicts: member.history.conflicts(clock::now()),
            counters: counters - member.history.cleared,
            rejected: rejected.collect(),
            same_place: told.same_place,
            handing_over: Some(told.handing_over),
            by_lease: config.options.lease,
            lease_moves: self.leases.moves(config),
        })
    }

    fn group_statuses(&self) -> Vec<GroupStatus> {
        let state = |names: &[String]| {
            let members = self
                .members
                .iter()
                .filter(|m| names.contains(&m.config.name));
            let mut states: Vec<State> = members.map(|m| m.state).collect();
            states.dedup();
            match states.as_slice() {
                [one] => state_word(*one),
                _ if states.contains(&State::Fault) => "FAULT",
                _ => "BACKUP",
            }
        };
        self.config
            .groups
            .iter()
            .map(|group| GroupStatus {
                name: group.name.clone(),
                state: state(&group.members).to_owned(),
                members: group.members.clone(),
            })
            .collect()
    }

    fn tracked_statuses(&self) -> Vec<TrackedStatus> {
        let status =
            |kind: &str, name: &str, state: String, since_ms: u64, outcome: String| TrackedStatus {
                kind: kind.to_owned(),
                name: name.to_owned(),
                state,
                since_ms,
                outcome,
            };
        let mut all = Vec::new();
        for seen in self.links.all() {
            let state = if seen.up { "up" } else { "down" };
            all.push(status(
                "interface",
                &seen.link.name,
                state.to_owned(),
                0,
                String::new(),
            ));
        }
        for asked in &self.tracker.scripts {
            let (since, outcome) = asked.history();
            let state = verdict_word(asked.verdict());
            all.push(status(
                "script",
                &asked.script().name,
                state,
                since,
                outcome.to_owned(),
            ));
        }
        for (file, verdict) in self.tracker.files.iter().flat_map(|f| f.all()) {
            all.push(status(
                "file",
                &file.name,
                verdict_word(*verdict),
                0,
                String::new(),
            ));
        }
        for (process, count, well) in self.tracker.processes.iter().flat_map(|p| p.all()) {
            let state = if well { "up" } else { "down" };
            let outcome = format!("{count} run");
            all.push(status(
                "process",
                &process.name,
                state.to_owned(),
                0,
                outcome,
            ));
        }
        for (session, state, why) in self.tracker.bfd.all() {
            let word = verdict_word(self.tracker.bfd.verdict(&session.name));
            let mut outcome = match state {
                bfd::State::Up => state.to_string(),
                _ => format!("{state}: {why}"),
            };
            match self.tracker.bfd.refused() {
                0 => {}
                refused => outcome += &format!(", {refused} packets dropped in all"),
            }
            all.push(status("bfd", &session.name, word, 0, outcome));
        }
        all
    }
}

fn wanted(config: &Configured) -> &'static str {
    match config.start {
        Start::Master => "MASTER",
        Start::Backup => "BACKUP",
    }
}

fn verdict_word(verdict: Verdict) -> String {
    match verdict {
        Verdict::Unknown => "init".to_owned(),
        Verdict::Up => "up".to_owned(),
        Verdict::Down => "down".to_owned(),
        Verdict::Value(number) => number.to_string(),
    }
}

fn addresses(member: &Member) -> Vec<AddressStatus> {
    let of = |advertised: bool| {
        move |a: &crate::config::Address| AddressStatus {
            address: format!("{}/{}", a.address, a.prefix),
            interface: member.name_of_interface(a).to_owned(),
            advertised,
            label: a.label.clone(),
            here: member.holds,
        }
    };
    let advertised = member.config.addresses.iter().map(of(true));
    let excluded = member.config.excluded.iter().map(of(false));
    advertised.chain(excluded).collect()
}
