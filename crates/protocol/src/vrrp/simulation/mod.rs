//! Histories.

use super::*;
use std::net::IpAddr;
use std::time::Duration;

pub(super) fn plain_settings() -> Settings {
    Settings {
        name: "VI_1".to_owned(),
        vrid: 51,
        version: Version::V3,
        ipv6: false,
        priority: 100,
        interval: Duration::from_secs(1),
        down_adverts: 3,
        addresses: vec![IpAddr::from([10, 9, 0, 100])],
        source: Some(IpAddr::from([10, 9, 0, 1])),
        transport: Transport::Multicast(advert::GROUP_V4),
        authentication: None,
        starts_as_master: false,
        preempt: true,
        preempt_delay: Duration::ZERO,
        startup_delay: Duration::ZERO,
        lower_prio_no_advert: false,
        higher_prio_send_advert: false,
        skip_check_addresses: false,
        old_unicast_checksum: None,
        strict: false,
        garp: Garp {
            delay: Duration::from_secs(5),
            repeat: 5,
            lower_prio_delay: Duration::from_secs(5),
            lower_prio_repeat: 5,
            refresh: Duration::ZERO,
            refresh_repeat: 1,
        },
        probing: None,
        bands: None,
    }
}
