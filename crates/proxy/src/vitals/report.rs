//! What operators are told of virtual addresses: what the memory says of each.

use super::now_ms;
use crate::config::Service;
use crate::runtime::Runtime;
use protocol::vitals::{Band, STALE_AFTER_MS, Told};
use std::net::IpAddr;

/// A virtual address, as it is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AddressReport {
    /// The name of what moves it.
    pub name: String,
    /// The interface that they are on.
    pub interface: String,
    /// The id of their virtual router.
    pub router_id: u8,
    /// The addresses.
    pub addresses: Vec<IpAddr>,
    /// How much can be served.
    pub band: Band,
    /// What the address role said last; None where it has said nothing, or nothing for a
    /// second.
    pub told: Option<Told>,
    /// How long its state has been what it is, milliseconds.
    pub for_ms: u64,
    /// Requests at the addresses finish before they are given away.
    pub draining: bool,
}

/// Every virtual address of the newest configuration; none where nobody moves them.
pub fn reports(runtime: &Runtime) -> Vec<AddressReport> {
    let config = runtime.config();
    let Some((vitals, _)) = runtime.vitals.memory() else {
        return Vec::new();
    };
    let now = now_ms();
    let alive = now.saturating_sub(vitals.role_beat_ms()) <= STALE_AFTER_MS;
    let report = |service: &Service| {
        let slot = vitals.find(&service.name)?;
        let told = Some(vitals.told(slot)).filter(|_| alive);
        Some(AddressReport {
            name: service.name.to_string(),
            interface: service.interface.to_string(),
            router_id: service.router_id,
            addresses: service.addresses.clone(),
            band: vitals.band_written(slot),
            for_ms: told.map_or(0, |told| now.saturating_sub(told.since_ms)),
            told,
            draining: vitals.drain(slot).is_some(),
        })
    };
    config.services.iter().filter_map(report).collect()
}
