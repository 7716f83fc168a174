//! Executes `stick` rules: finds the server of a request in a stick table, and stores the server
//! that responded.

use crate::config::{Proxy, Server, ServerAddress, ServerIndex, StickRule};
use crate::tables::tracked::Sticking;
use crate::tables::{DataType, HeldEntry, Table, Trackers};
use crate::transaction::ProxyStream;
use std::sync::Arc;

/// Maximum number of keys of a stream under which its server is stored.
const KEYS_MAX: usize = 8;

/// Returns the server that a stick table contains for a stream.
pub fn server(stream: &ProxyStream) -> Option<ServerIndex> {
    stream.rules.tracked.as_ref()?.sticking.as_ref()?.server
}

/// Applies the `stick` rules to a request. `assigned`: persistence has already chosen a server.
#[inline]
pub fn request(stream: &mut ProxyStream, assigned: bool) {
    if stream
        .backend()
        .is_some_and(|backend| !backend.stick.is_empty())
    {
        match_request(stream, assigned);
    }
}

fn match_request(stream: &mut ProxyStream, assigned: bool) {
    let config = Arc::clone(&stream.config);
    let Some(backend) = stream.route.backend.map(|index| config.proxy(index)) else {
        return;
    };
    let mut sticking = Sticking::default();
    for rule in backend.stick.iter().filter(|rule| !rule.stores_of_answer) {
        let Some((table, key)) = key(stream, rule) else {
            continue;
        };
        let looks = rule.matches && !assigned && sticking.server.is_none();
        if looks && let Some(held) = table.find(&key) {
            held.touch();
            sticking.server = of_entry(backend, &held, stream.is_forced());
        }
        if rule.stores && sticking.keys.len() < KEYS_MAX {
            sticking.keys.push((Arc::clone(&rule.table), key));
        }
    }
    if sticking.server.is_some() || !sticking.keys.is_empty() {
        let own = stream
            .rules
            .tracked
            .get_or_insert_with(|| Box::new(Trackers::default()));
        own.sticking = Some(Box::new(sticking));
    }
}

/// Returns the table and key of a rule, if its condition holds.
fn key<'r>(stream: &ProxyStream, rule: &'r StickRule) -> Option<(&'r Arc<Table>, Box<[u8]>)> {
    let holds = rule.condition.as_ref().is_none_or(|when| when.test(stream));
    if !holds {
        return None;
    }
    let table = rule.table.get()?;
    let value = rule.expression.evaluate(stream)?;
    let make = &table.make;
    let key = make
        .key
        .with(make.length, value, |key| Box::<[u8]>::from(key))?;
    // Returns no key for an empty text, which is not a valid key.
    (!key.is_empty()).then_some((table, key))
}

/// Returns the server of an entry, if it is usable.
fn of_entry(backend: &Proxy, held: &HeldEntry, forced: bool) -> Option<ServerIndex> {
    let word = held.get(DataType::ServerKey, 0).unwrap_or(0);
    let by_key = held.table().words.text(word as u32).and_then(|text| {
        let servers = &backend.servers;
        let by_name = servers.iter().position(|server| *server.name == *text);
        // Addresses are only formatted if no server name matches.
        by_name.or_else(|| servers.iter().position(|server| address(server) == *text))
    });
    let by_id = || {
        let id = held.get(DataType::ServerId, 0).filter(|id| *id != 0)?;
        let mut servers = backend.servers.iter();
        servers.position(|server| u64::from(server.id) == id)
    };
    let at = by_key.or_else(by_id)?;
    let server = backend.servers.get(at)?;
    let takes = forced || server.state.usable_for_persistence();
    takes.then_some(ServerIndex(at as u32))
}

fn address(server: &Server) -> String {
    match &server.address {
        ServerAddress::Inet(address) => address.to_string(),
        _ => String::new(),
    }
}

/// Stores the server in the stick tables after its response.
#[inline]
pub fn answer(stream: &mut ProxyStream) {
    if stream
        .backend()
        .is_some_and(|backend| !backend.stick.is_empty())
    {
        store(stream);
    }
}

fn store(stream: &mut ProxyStream) {
    let config = Arc::clone(&stream.config);
    let Some(backend) = stream.route.backend.map(|index| config.proxy(index)) else {
        return;
    };
    let own = stream.rules.tracked.as_mut();
    let sticking = own.and_then(|own| own.sticking.take());
    let mut keys = sticking.map(|sticking| sticking.keys).unwrap_or_default();
    for rule in backend.stick.iter().filter(|rule| rule.stores_of_answer) {
        if keys.len() < KEYS_MAX
            && let Some((_, key)) = key(stream, rule)
        {
            keys.push((Arc::clone(&rule.table), key));
        }
    }
    let Some(server) = stream.server().filter(|server| !server.options.non_stick) else {
        return;
    };
    for (place, key) in keys {
        let Some(held) = place.get().and_then(|table| table.get(&key)) else {
            continue;
        };
        held.set(DataType::ServerId, 0, server.id.into());
        let by_address = config.tables.by_name(&place.name);
        let word = if by_address.is_some_and(|table| table.server_by_address) {
            held.table().words.number(&address(server))
        } else {
            held.table().words.number(&server.name)
        };
        held.set(DataType::ServerKey, 0, word.into());
        held.queue_peer_update();
    }
}
