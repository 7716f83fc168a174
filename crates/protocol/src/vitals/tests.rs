//! Tests the memory shared by the proxy and the process that moves virtual addresses, with both
//! sides in one test.

use super::*;
use crate::vrrp::Counter;
use std::net::IpAddr;

fn memory() -> Vec<AtomicU64> {
    (0..WORDS).map(|_| AtomicU64::new(0)).collect()
}

const PROXY: u64 = 4711;

fn serving(memory: &[AtomicU64], now_ms: u64) -> Vitals<'_> {
    let vitals = Vitals::begin(memory).expect("long enough");
    vitals.claim(PROXY, 2);
    vitals.describe(PROXY, ["www", "mail"]);
    vitals.write_thread_heartbeat(PROXY, 0, now_ms);
    vitals.write_thread_heartbeat(PROXY, 1, now_ms);
    vitals
}

#[test]
fn memory_that_is_short_or_of_another_layout_is_refused() {
    let memory = memory();
    assert_eq!(
        Vitals::open(&memory).map(|_| ()),
        Err(VitalsError::Layout { first: 0 })
    );
    assert_eq!(
        Vitals::begin(&memory[..WORDS - 1]).map(|_| ()),
        Err(VitalsError::Length { words: WORDS - 1 })
    );
    Vitals::begin(&memory).expect("long enough");
    Vitals::open(&memory).expect("begun");
    memory[0].store(MAGIC + 1, Ordering::Relaxed);
    assert!(Vitals::open(&memory).is_err(), "a later layout");
}

#[test]
fn an_instance_is_served_while_each_thread_beats_and_by_its_own_band() {
    let memory = memory();
    let vitals = serving(&memory, 10_000);
    assert_eq!(
        vitals.band("www", 10_000),
        Some(Band::None),
        "not judged yet"
    );
    vitals.set_band(PROXY, 0, Band::All);
    vitals.set_band(PROXY, 1, Band::Some);
    assert_eq!(vitals.band("www", 11_000), Some(Band::All));
    assert_eq!(vitals.band("mail", 11_000), Some(Band::Some));
    assert_eq!(vitals.band("other", 11_000), None, "nobody told of it");
    vitals.write_thread_heartbeat(PROXY, 0, 11_500);
    assert_eq!(
        vitals.band("www", 11_501),
        Some(Band::None),
        "the second is stuck"
    );
    let stuck = Pulse::Stuck {
        silent: 1,
        threads: 2,
        oldest_ms: 1_501,
    };
    assert_eq!(vitals.pulse(11_501), stuck);
    vitals.rest(PROXY);
    assert_eq!(vitals.pulse(11_501), Pulse::NotBegun);
    assert_eq!(vitals.band("www", 11_501), Some(Band::None));
}

#[test]
fn service_is_untested_until_its_band_is_known() {
    let memory = memory();
    let vitals = serving(&memory, 10_000);
    assert!(!vitals.is_untested(0), "an older proxy reports nothing");
    vitals.set_service(PROXY, 0, Band::All, true);
    assert!(vitals.is_untested(0) && !vitals.is_untested(1));
    assert!(!vitals.is_untested(SLOTS_MAX));
    vitals.set_service(PROXY, 0, Band::None, false);
    assert!(!vitals.is_untested(0));
    vitals.set_service(PROXY, 0, Band::All, true);
    vitals.set_service(PROXY + 1, 0, Band::All, false);
    assert!(vitals.is_untested(0), "another proxy writes");
    vitals.describe(PROXY, ["other"]);
    assert!(!vitals.is_untested(0));
}

#[test]
fn replaced_proxy_writes_no_longer() {
    let memory = memory();
    let vitals = serving(&memory, 10_000);
    vitals.claim(PROXY + 1, 1);
    assert_eq!(vitals.pulse(10_000), Pulse::NotBegun);
    vitals.write_thread_heartbeat(PROXY, 0, 10_100);
    vitals.set_band(PROXY, 0, Band::All);
    vitals.describe(PROXY, ["elsewhere"]);
    assert_eq!(vitals.pulse(10_100), Pulse::NotBegun);
    assert_eq!(vitals.find("www"), Some(0));
    vitals.write_thread_heartbeat(PROXY + 1, 0, 10_200);
    vitals.rest(PROXY);
    assert_eq!(vitals.pulse(10_200), Pulse::Beats);
}

#[test]
fn address_data_is_read_back_and_removed_with_its_instance() {
    let memory = memory();
    let vitals = serving(&memory, 10_000);
    let mut told = SlotReport {
        state: SlotState::Master,
        since_ms: 9_000,
        transitions: 3,
        priority: 220,
        owner: Some((IpAddr::from([10, 0, 0, 2]), 210)),
        ..SlotReport::default()
    };
    told.counters[Counter::AdvertsSent] = 77;
    let slot = vitals.find("mail").expect("described");
    vitals.write_slot_report(slot, &told);
    assert_eq!(vitals.read_slot_report(slot), told);
    assert_eq!(vitals.read_slot_report(0), SlotReport::default());
    vitals.describe(PROXY, ["www", "mail", "third"]);
    assert_eq!(vitals.read_slot_report(slot), told, "it kept its slot");
    vitals.describe(PROXY, ["mail"]);
    assert_eq!(
        vitals.read_slot_report(0),
        SlotReport::default(),
        "another one's slot"
    );
    assert_eq!(vitals.find("www"), None);
}

#[test]
fn drain_waits_for_a_count_taken_after_the_request() {
    let memory = memory();
    let vitals = serving(&memory, 10_000);
    vitals.set_requests_in_progress(PROXY, 0, 0);
    assert_eq!(vitals.requests_in_progress(0), Some(0));
    vitals.set_drain(0, Some(12_000));
    assert_eq!(vitals.drain(0), Some(12_000));
    assert_eq!(
        vitals.requests_in_progress(0),
        None,
        "counted before the wish"
    );
    vitals.set_requests_in_progress(PROXY, 0, 2);
    assert_eq!(vitals.requests_in_progress(0), Some(2));
    vitals.set_drain(0, None);
    assert_eq!(vitals.drain(0), None);
}

#[test]
fn a_memory_full_of_anything_is_read_within_its_bounds() {
    for pattern in [u64::MAX, 0x8080_8080_8080_8080, 1] {
        let memory: Vec<AtomicU64> = (0..WORDS).map(|_| AtomicU64::new(pattern)).collect();
        memory[0].store(MAGIC, Ordering::Relaxed);
        let vitals = Vitals::open(&memory).expect("the layout is named");
        assert!(vitals.slots() <= SLOTS_MAX);
        for slot in [0, SLOTS_MAX - 1, SLOTS_MAX, usize::MAX] {
            vitals.read_slot_report(slot);
            vitals.name(slot);
            vitals.drain(slot);
            vitals.write_slot_report(slot, &SlotReport::default());
        }
        vitals.write_thread_heartbeat(pattern, usize::MAX, 1);
        assert_ne!(vitals.pulse(5_000), Pulse::Beats);
        assert_eq!(vitals.find("www"), None);
    }
}

#[test]
fn a_long_name_is_cut_at_a_character_and_found_by_its_whole() {
    let memory = memory();
    let vitals = serving(&memory, 1);
    let name = "ä".repeat(40);
    vitals.describe(PROXY, [name.as_str()]);
    assert_eq!(vitals.find(&name), Some(0));
    assert_eq!(vitals.name(0).map(|n| n.len()), Some(NAME_BYTES_MAX));
}
