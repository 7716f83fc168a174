//! Defines the options of a virtual router that are single values, such as the VRRP version and the
//! advert interval. The loaders of `vrrp_instance` and `virtual-ip` set them by name;
//! `role::settings` passes the options of the protocol to the state machine of VRRP.

use super::Authentication;
use serde::{Deserialize, Serialize};
use std::time::Duration;

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Options {
    pub version: u8,
    pub advert_interval: Duration,
    pub down_timer_adverts: u8,
    pub authentication: Option<Authentication>,
    pub preempt: bool,
    pub preempt_delay: Duration,
    pub accept: bool,
    pub strict: bool,
    pub lower_prio_no_advert: bool,
    pub higher_prio_send_advert: bool,
    pub skip_check_addresses: bool,
    /// `old_unicast_checksum`: None accepts both forms, true sends the old one, false never accepts
    /// it.
    pub old_unicast_checksum: Option<bool>,
    pub track_source: bool,
    pub promote_secondaries: bool,
    /// True if the configuration has `dont_track_primary`.
    pub ignore_interface_faults: bool,
    pub fault_without_peer: bool,
    pub notify_priority_changes: Option<bool>,
    pub smtp_alert: Option<bool>,
    /// Size of the receive buffer (`kernel_rx_buf_size`), bytes.
    pub receive_buffer_bytes: Option<u32>,
    pub vrf: Option<String>,
    /// Our language, `handover-drain`: time for which connections may finish at the old owner after
    /// a planned hand-over, while the new owner gets all new ones.
    pub handover_drain: Duration,
    /// True if the machine has the addresses only while it holds their cluster lease (line `lease`
    /// of our language).
    pub lease: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            version: 2,
            advert_interval: Duration::from_secs(1),
            down_timer_adverts: 3,
            authentication: None,
            preempt: true,
            preempt_delay: Duration::ZERO,
            accept: true,
            strict: false,
            lower_prio_no_advert: false,
            higher_prio_send_advert: false,
            skip_check_addresses: false,
            old_unicast_checksum: None,
            track_source: false,
            promote_secondaries: false,
            ignore_interface_faults: false,
            fault_without_peer: false,
            notify_priority_changes: None,
            smtp_alert: None,
            receive_buffer_bytes: None,
            vrf: None,
            handover_drain: Duration::ZERO,
            lease: false,
        }
    }
}

impl Options {
    /// Returns whether two machines with these options can share a virtual router. If not, a change
    /// must reach all machines together.
    pub fn is_compatible_with(&self, other: &Options) -> bool {
        let shared = |of: &Options| {
            (
                of.version,
                of.advert_interval,
                of.down_timer_adverts,
                of.preempt,
                of.preempt_delay,
            )
        };
        shared(self) == shared(other) && self.authentication == other.authentication
    }
}
