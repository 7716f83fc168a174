//! Implements `show peers` in HAProxy's format. Where HAProxy prints memory addresses, which
//! would mean nothing here, numbers distinguish the objects.

use model::config::{Config, Peers};
use model::shared_tables::{
    COLLISIONS, CONNECTIONS, FAULTS, HEARTBEATS_IN, HEARTBEATS_OUT, Peer, Resync, SILENCES, Section,
};
use std::fmt::Write;
use std::time::SystemTime;

/// Reports on all sections, or on the named one; None: there is no such section.
pub fn report(config: &Config, name: Option<&str>) -> Option<String> {
    let mut out = String::new();
    let mut found = name.is_none();
    for (at, peers) in config.peers.iter().enumerate() {
        if name.is_some_and(|name| *peers.name != *name) {
            continue;
        }
        found = true;
        let running = peers.state.lock();
        match running.as_ref().filter(|_| !peers.disabled) {
            Some(section) => one(&mut out, at + 1, section, peers),
            None => {
                let disabled = u8::from(peers.disabled);
                // Ignores the result, because writing to a string cannot fail.
                let _ = writeln!(out, "{:#x}: id={} disabled={disabled}", at + 1, peers.name);
            }
        }
    }
    found.then_some(out)
}

fn one(out: &mut String, number: usize, section: &Section, peers: &Peers) {
    let began = time(section.began_at);
    let resync = match section.resync {
        Resync::Done => "<PAST>",
        Resync::Needed | Resync::Asked(_) => "<FUTURE>",
    };
    let flags = u8::from(section.resync == Resync::Done);
    let _ = writeln!(
        out,
        "{number:#x}: [{began}] id={} disabled=0 flags={flags:#x} resync_timeout={resync}",
        section.name
    );
    for (at, peer) in section.peers.iter().enumerate() {
        remote(out, at + 1, peer, section);
    }
    let address = peers
        .listens()
        .map_or_else(|| "-".into(), |a| a.to_string());
    let _ = writeln!(
        out,
        "  0x0: id={}(local,inactive) addr={address} last_status=NONE last_hdshk=<NEVER>",
        section.local
    );
}

fn remote(out: &mut String, number: usize, peer: &Peer, section: &Section) {
    let address = peer.address.map_or_else(|| "-".into(), |a| a.to_string());
    let greeted = peer.greeted.map_or_else(
        || "<NEVER>".into(),
        |greeted| format!("{}s", greeted.elapsed().as_secs()),
    );
    let active = if peer.established {
        "active"
    } else {
        "inactive"
    };
    let _ = writeln!(
        out,
        "  {number:#x}: id={}(remote,{active}) addr={address} last_status={} last_hdshk={greeted}",
        peer.name, peer.status
    );
    let counts = peer.counts;
    let _ = writeln!(
        out,
        "        tx_hbt={} rx_hbt={} no_hbt={} new_conn={} proto_err={} coll={}",
        counts[HEARTBEATS_OUT],
        counts[HEARTBEATS_IN],
        counts[SILENCES],
        counts[CONNECTIONS],
        counts[FAULTS],
        counts[COLLISIONS]
    );
    out.push_str("        shared tables:\n");
    for (at, shared) in section.tables.iter().enumerate() {
        let of = |all: &[u32]| all.get(at).copied().unwrap_or(0);
        let _ = writeln!(
            out,
            "          {0:#x} local_id={0} last_acked={1} last_pushed={2} last_get={3} update={4}",
            at + 1,
            of(&peer.acknowledged),
            of(&peer.pushed),
            of(&peer.learned),
            shared.last
        );
        let _ = writeln!(
            out,
            "              table id={} used={}",
            shared.table.name,
            shared.table.used()
        );
    }
}

fn time(at: SystemTime) -> String {
    let date = model::log::clf_date(at);
    match date.rsplit_once('.') {
        Some((seconds, _)) => seconds.to_owned(),
        None => date,
    }
}
