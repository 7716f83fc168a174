//! Builds the report about virtual addresses for operators, a [`StatusReport`], from the shared
//! memory.

use super::now_ms;
use crate::runtime::Runtime;
use model::config::Service;
use part::report::{Grade, Moment, NumberRow, StatusReport, Subject};
use protocol::vitals::{Band, STALE_AFTER_MS, SlotReport, SlotState};
use protocol::vrrp::{COUNTERS, NUMBERS};

/// Columns of the report's table besides the state of the address.
pub const COLUMNS: &[&str] = &["owner", "frontends served", "priority", "moves", "address"];

/// Returns every virtual address of the newest configuration; none if no process moves virtual
/// addresses.
pub fn report(runtime: &Runtime) -> StatusReport {
    let config = runtime.config();
    let Some((vitals, _)) = runtime.vitals.memory() else {
        return StatusReport::default();
    };
    let now = now_ms();
    let alive = now.saturating_sub(vitals.role_heartbeat_ms()) <= STALE_AFTER_MS;
    let shown = |service: &Service| {
        let slot = vitals.find(&service.name)?;
        Some(AddressStatus {
            last_report: Some(vitals.read_slot_report(slot)).filter(|_| alive),
            band: vitals.last_written_band(slot),
            draining: vitals.drain(slot).is_some(),
        })
    };
    let services = config.services.iter();
    let all = services.filter_map(|service| Some((service, shown(service)?)));
    of(now, all)
}

struct AddressStatus {
    /// Last report of the process that moves addresses; None if that process has been silent for
    /// more than a second, or its memory has no report.
    last_report: Option<SlotReport>,
    band: Band,
    /// The addresses are about to leave this machine; requests in progress may finish first.
    draining: bool,
}

fn of<'a>(now: u64, all: impl Iterator<Item = (&'a Service, AddressStatus)>) -> StatusReport {
    let unix = part::clock::unix_ms();
    let moment = |ms: u64| Moment {
        boottime_ms: ms,
        unix_ms: unix.saturating_sub(now.saturating_sub(ms)),
    };
    let mut up = false;
    let mut subjects = Vec::new();
    for (service, shown) in all {
        up |= shown.last_report.is_some();
        let mut one = subject(service, &shown);
        one.since = shown.last_report.map(|told| moment(told.since_ms));
        subjects.push(one);
    }
    if !subjects.is_empty() {
        subjects.push(Subject::new("router", "").number("up", up.into()));
    }
    let counters = COUNTERS.iter().map(|row| (row.name, row.metric, row.words));
    let rows = NUMBERS.iter().copied().chain(counters);
    StatusReport {
        part: "address".to_owned(),
        at: moment(now),
        subjects,
        rows: rows
            .map(|(name, metric, words)| NumberRow::new(name, metric, words))
            .collect(),
    }
}

fn subject(service: &Service, shown: &AddressStatus) -> Subject {
    let state = shown.last_report.map(|told| told.state);
    let grade = match (state, shown.draining) {
        (Some(SlotState::Master), true) => Grade::Busy,
        (Some(SlotState::Master), false) => Grade::Good,
        (Some(SlotState::Backup), _) => Grade::Standby,
        (Some(SlotState::Fault), _) => Grade::Bad,
        (Some(SlotState::Init) | None, _) => Grade::Unknown,
    };
    let told = shown.last_report.unwrap_or_default();
    let owner = match (state, told.owner) {
        (Some(SlotState::Master), _) => "this machine".to_owned(),
        (Some(_), Some((owner, _))) => owner.to_string(),
        _ => "-".to_owned(),
    };
    let (served, band) = match shown.band {
        Band::All => ("all", 0),
        Band::Some => ("some", 1),
        Band::None => ("none", 2),
    };
    let addresses = service.addresses.iter().map(|address| {
        Subject::new("address", &address.to_string())
            .label("ip_address")
            .number("state", told.state as u64)
    });
    let mut one = Subject::new(Service::KIND, &service.name)
        .label("iname")
        .state(state.map_or("unknown", SlotState::name), grade)
        .fact("interface", service.interface.to_string())
        .as_label("intf")
        .joined("router id", service.router_id.to_string())
        .as_label("vrid")
        .fact("owner", owner)
        .fact("frontends served", served)
        .number("band", band)
        .children(addresses);
    if shown.draining {
        one.why = "draining".to_owned();
    }
    if shown.last_report.is_some() {
        one = one
            .number("priority", told.priority.into())
            .number("moves", told.transitions);
        let counters = told.counters.iter();
        one = counters.fold(one, |one, (row, value)| one.number(row.name, value));
    }
    one
}

/// Returns a report with one address that is master, one that drains, one that is backup, and
/// one of unknown state.
#[cfg(test)]
pub fn example() -> StatusReport {
    let mut told = SlotReport {
        state: SlotState::Master,
        transitions: 3,
        priority: 220,
        ..SlotReport::default()
    };
    told.counters[protocol::vrrp::Counter::AdvertsSent] = 12_345;
    let backup = SlotReport {
        state: SlotState::Backup,
        owner: Some(([10, 0, 0, 2].into(), 220)),
        ..SlotReport::default()
    };
    let all = [
        ("www", Some(told), Band::All, false),
        ("api", Some(told), Band::All, true),
        ("a<b", Some(backup), Band::Some, false),
        ("mail", None, Band::None, false),
    ];
    let services = all.map(|(name, ..)| Service {
        name: name.into(),
        interface: "eth0".into(),
        router_id: 51,
        addresses: vec![
            [172, 16, 61, 150].into(),
            [0x2001_u16, 0xdb8, 0, 0, 0, 0, 0, 0x80].into(),
        ],
        ..Service::default()
    });
    let shown = all.map(|(_, told, band, draining)| AddressStatus {
        last_report: told,
        band,
        draining,
    });
    of(3_725_000, services.iter().zip(shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_have_the_names_of_exporters_of_keepalived() {
        let mut out = String::new();
        example().metrics(&mut out);
        insta::assert_snapshot!(out);
    }

    #[test]
    fn the_page_has_a_section_of_addresses_where_there_are_some() {
        let mut out = String::new();
        let none = of(0, std::iter::empty());
        none.html(&mut out, "Virtual addresses", Service::KIND, COLUMNS);
        none.metrics(&mut out);
        assert_eq!(out, "");
        example().html(&mut out, "Virtual addresses", Service::KIND, COLUMNS);
        insta::assert_snapshot!(out);
    }
}
