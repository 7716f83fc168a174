//! Counts the events of a virtual router. One row per counter defines its names in status output,
//! metrics and keepalived's dumps. A further counter needs a row here and the line that counts
//! it.

use std::ops::{Add, Index, IndexMut, Sub};

/// Names of a counter, and where it is shown.
#[derive(Clone, Copy, Debug)]
pub struct CounterRow {
    pub counter: Counter,
    pub name: &'static str,
    /// Name of the metric: that of keepalived_exporter if it has one.
    pub metric: &'static str,
    pub words: &'static str,
    /// Position in keepalived's dumps; None: not shown there.
    pub dump: Option<DumpRow>,
}

/// Position of a counter in keepalived's dumps.
#[derive(Clone, Copy, Debug)]
pub struct DumpRow {
    /// Key of the counter in `keepalived.json`.
    pub key: &'static str,
    /// Group in `keepalived.stats`; None: on a line of its own.
    pub group: Option<&'static str>,
    /// Label of the counter in `keepalived.stats`.
    pub label: &'static str,
}

macro_rules! counters {
    ($($counter:ident $name:literal $metric:literal $words:literal $dump:expr;)*) => {
        /// Counters, in the order of keepalived's statistics.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Counter {
            $(#[doc = $words] $counter,)*
        }

        /// All counters, each at the index of its number.
        pub static COUNTERS: &[CounterRow] = &[$(CounterRow {
            counter: Counter::$counter,
            name: $name,
            metric: $metric,
            words: $words,
            dump: $dump,
        },)*];

        pub const COUNTERS_LEN: usize = [$(Counter::$counter,)*].len();
    };
}

const fn dump(
    key: &'static str,
    group: Option<&'static str>,
    label: &'static str,
) -> Option<DumpRow> {
    Some(DumpRow { key, group, label })
}

const ADVERTS: Option<&str> = Some("Advertisements");
const PACKETS: Option<&str> = Some("Packet Errors");
const AUTHENTICATION: Option<&str> = Some("Authentication Errors");
const ZERO: Option<&str> = Some("Priority Zero");

counters! {
    AdvertsReceived "adverts_received" "keepalived_advertisements_received_total"
        "adverts received" dump("advert_rcvd", ADVERTS, "Received");
    AdvertsSent "adverts_sent" "keepalived_advertisements_sent_total"
        "adverts sent" dump("advert_sent", ADVERTS, "Sent");
    BecameMaster "became_master" "keepalived_become_master_total"
        "transitions to MASTER" dump("become_master", None, "Became master");
    ReleasedMaster "released_master" "keepalived_release_master_total"
        "transitions from MASTER" dump("release_master", None, "Released master");
    PacketLengthErrors "packet_length_errors" "keepalived_packet_length_errors_total"
        "packets with an invalid length" dump("packet_len_err", PACKETS, "Length");
    TtlErrors "ttl_errors" "keepalived_ip_ttl_errors_total"
        "packets with an invalid TTL" dump("ip_ttl_err", PACKETS, "TTL");
    InvalidType "invalid_type" "keepalived_invalid_type_received_total"
        "packets that are not adverts" dump("invalid_type_rcvd", PACKETS, "Invalid Type");
    IntervalErrors "interval_errors" "keepalived_advertisements_interval_errors_total"
        "adverts with a different interval" dump("advert_interval_err", PACKETS, "Advertisement Interval");
    AddressListErrors "address_list_errors" "keepalived_address_list_errors_total"
        "adverts with a different address list" dump("addr_list_err", PACKETS, "Address List");
    InvalidAuthenticationType "invalid_authentication_type" "keepalived_authentication_invalid_total"
        "adverts with an unknown authentication type" dump("invalid_authtype", AUTHENTICATION, "Invalid Type");
    AuthenticationTypeMismatch "authentication_type_mismatch" "keepalived_authentication_mismatch_total"
        "adverts with a different authentication type" dump("authtype_mismatch", AUTHENTICATION, "Type Mismatch");
    AuthenticationFailures "authentication_failures" "keepalived_authentication_failure_total"
        "adverts with a wrong password" dump("auth_failure", AUTHENTICATION, "Failure");
    PriorityZeroReceived "priority_zero_received" "keepalived_priority_zero_received_total"
        "adverts of priority zero received" dump("pri_zero_rcvd", ZERO, "Received");
    PriorityZeroSent "priority_zero_sent" "keepalived_priority_zero_sent_total"
        "adverts of priority zero sent" dump("pri_zero_sent", ZERO, "Sent");
    ChecksumErrors "checksum_errors" "evenkeel_address_checksum_errors_total"
        "packets with an invalid checksum" None;
    VersionErrors "version_errors" "evenkeel_address_version_errors_total"
        "packets of another VRRP version" None;
    VridErrors "vrid_errors" "evenkeel_address_vrid_errors_total"
        "packets for another virtual router" None;
}

/// Numbers of a virtual router that are not counters: name, metric and help text.
pub static NUMBERS: &[(&str, &str, &str)] = &[
    ("up", "keepalived_up", "1 while the address role responds"),
    (
        "state",
        "keepalived_vrrp_state",
        "VRRP state: 0 init, 1 backup, 2 master, 3 fault",
    ),
    (
        "priority",
        "evenkeel_address_priority",
        "effective priority",
    ),
    ("moves", "evenkeel_address_moves_total", "state transitions"),
    (
        "band",
        "evenkeel_address_band",
        "available frontends: 0 all, 1 some, 2 none",
    ),
];

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters([u64; COUNTERS_LEN]);

impl Counters {
    /// Creates counters whose values `value` returns by number.
    pub fn from_fn(value: impl FnMut(usize) -> u64) -> Counters {
        Counters(std::array::from_fn(value))
    }

    /// Returns every row of [`COUNTERS`] with its value.
    pub fn iter(&self) -> impl Iterator<Item = (&'static CounterRow, u64)> {
        COUNTERS.iter().zip(self.0)
    }
}

impl Index<Counter> for Counters {
    type Output = u64;

    fn index(&self, counter: Counter) -> &u64 {
        &self.0[counter as usize]
    }
}

impl IndexMut<Counter> for Counters {
    fn index_mut(&mut self, counter: Counter) -> &mut u64 {
        &mut self.0[counter as usize]
    }
}

impl Add for Counters {
    type Output = Counters;

    fn add(self, other: Counters) -> Counters {
        Counters::from_fn(|at| self.0[at].saturating_add(other.0[at]))
    }
}

impl Sub for Counters {
    type Output = Counters;

    fn sub(self, other: Counters) -> Counters {
        Counters::from_fn(|at| self.0[at].saturating_sub(other.0[at]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_counter_is_at_its_index_under_names_of_its_own() {
        let distinct = |of: fn(&CounterRow) -> &'static str| {
            let all: HashSet<_> = COUNTERS.iter().map(of).collect();
            assert_eq!(all.len(), COUNTERS_LEN, "{all:?}");
        };
        distinct(|row| row.name);
        distinct(|row| row.metric);
        distinct(|row| row.words);
        distinct(|row| row.dump.map_or(row.name, |dump| dump.key));
        for (at, row) in COUNTERS.iter().enumerate() {
            assert_eq!(row.counter as usize, at, "{}", row.name);
            assert!(row.metric.ends_with("_total"), "{}", row.metric);
        }
    }

    #[test]
    fn counters_are_added_and_subtracted_one_by_one_and_never_wrap() {
        let counts = Counters::from_fn(|at| at as u64);
        let more = counts + counts;
        assert_eq!(more[Counter::BecameMaster], 4);
        assert_eq!(more - counts, counts);
        assert_eq!(counts - more, Counters::default());
        assert_eq!(
            Counters::from_fn(|_| u64::MAX) + counts,
            Counters::from_fn(|_| u64::MAX)
        );
    }
}
