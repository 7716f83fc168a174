//! Lists the users of each host for the report, and the actions that operators have for a host.

use super::{Client, FarmStateInner};
use crate::directory::{Entry, HostState, Presence};
use crate::message::OperatorMessage;
use crate::user::UserId;
use part::report::{Moment, SubjectAction, span};
use std::collections::BTreeMap;

/// Limit of users of a host in a report. `evenkeel farm sessions` shows all of them.
const USERS_SHOWN: usize = 10;

/// Users of a host, in display order.
#[derive(Default)]
pub(super) struct Users<'i> {
    shown: Vec<(DisplayOrder<'i>, UserId, &'i Entry)>,
    all: usize,
    pub(super) unseen: u64,
}

/// Display order: users with a connection first, then the latest ones.
type DisplayOrder<'i> = (u8, std::cmp::Reverse<u64>, &'i str);

fn order(entry: &Entry) -> DisplayOrder<'_> {
    let rank = match entry.presence() {
        Presence::Connected(_) => 0,
        Presence::Pending => 1,
        Presence::Left => 2,
    };
    (rank, std::cmp::Reverse(entry.since_ms), &entry.name)
}

impl<'i> Users<'i> {
    fn add(&mut self, id: UserId, entry: &'i Entry) {
        self.all += 1;
        let order = order(entry);
        let at = self.shown.partition_point(|(known, ..)| *known <= order);
        if at < USERS_SHOWN {
            self.shown.insert(at, (order, id, entry));
            self.shown.truncate(USERS_SHOWN);
        }
    }
}

impl FarmStateInner {
    pub(super) fn glance(&self) -> BTreeMap<&str, Users<'_>> {
        let mut hosts: BTreeMap<&str, Users<'_>> = BTreeMap::new();
        for (id, entry) in self.agreement.directory.sessions() {
            let users = hosts.entry(&entry.host).or_default();
            users.add(id, entry);
            users.unseen += u64::from(self.is_unseen(entry));
        }
        hosts
    }

    pub(super) fn lines(&self, users: &Users<'_>) -> Vec<String> {
        let now_ms = Moment::now().boottime_ms;
        let shown = users.shown.iter();
        let mut lines: Vec<String> = shown
            .map(|(_, id, entry)| self.line(*id, entry, now_ms))
            .collect();
        let more = users.all - users.shown.len();
        if more > 0 {
            lines.push(format!("and {more} more"));
        }
        lines
    }

    fn line(&self, id: UserId, entry: &Entry, now_ms: u64) -> String {
        let name = match self.agreement.directory.name_of(id) {
            "" => "a user known only by a token",
            name => name,
        };
        match entry.presence() {
            Presence::Pending => format!("{name}: connecting"),
            Presence::Left => match entry.until_ms {
                Some(until) => {
                    let left = span(until.saturating_sub(now_ms));
                    if self.is_unseen(entry) {
                        format!("{name}: no session seen, the host is reserved for {left}")
                    } else {
                        format!("{name}: disconnected, kept for {left}")
                    }
                }
                None => format!("{name}: disconnected"),
            },
            Presence::Connected(_) => {
                let is_own = |client: &&Client| client.user == id && client.host == entry.host;
                let mut from: Vec<String> = self
                    .clients
                    .values()
                    .filter(is_own)
                    .map(|client| {
                        if client.by_gateway {
                            format!("{} by the gateway", client.from)
                        } else {
                            client.from.to_string()
                        }
                    })
                    .collect();
                from.dedup();
                let far = entry
                    .far
                    .iter()
                    .filter_map(|(origin, _)| self.agreement.node_of(*origin))
                    .map(|node| format!("node {node}"));
                from.extend(far);
                if from.is_empty() {
                    format!("{name}: connected")
                } else {
                    format!("{name}: connected from {}", from.join(", "))
                }
            }
        }
    }
}

/// Returns the actions that operators have for a host. None of them changes the configuration.
pub(super) fn offers(farm: &str, name: &str, state: &HostState) -> Vec<SubjectAction> {
    if state.is_drained || state.is_far || state.is_removed {
        return Vec::new();
    }
    let order = |is_drained| {
        let host = format!("{farm}/{name}");
        OperatorMessage::Drain { host, is_drained }.envelope()
    };
    vec![if state.is_ordered {
        SubjectAction::new("ready", "Put back", order(false))
    } else {
        SubjectAction::new("drain", "Drain", order(true))
    }]
}
