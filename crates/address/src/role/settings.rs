//! Converts the configuration to the settings of the protocol's state machine.

use crate::config::{self, Config, Dialect, Instance, Start};
use crate::standing::{self, priorities};
use protocol::vrrp::{
    AdvertTransport, Authentication, Garp, GroupSettings, Peer, Probing, Settings, VrrpVersion,
};
use std::time::Duration;

/// Adverts less frequent than this leave enough time: the owner is not probed after three missing
/// ones.
const PROBED_BELOW: Duration = Duration::from_secs(1);

/// Bounds of the default time to wait for the reply to a probe, which is one advert interval
/// (keepalived.conf has no setting for it).
const PROBE_WAIT: (Duration, Duration) = (Duration::from_millis(3), Duration::from_millis(20));

/// Minimum time without adverts before a takeover while the owner's kernel still responds.
const PROBE_BOUND: Duration = Duration::from_secs(1);
/// The same time as a number of advert intervals; the longer time applies.
const PROBE_BOUND_ADVERTS: u32 = 6;

/// Returns the settings of a virtual router. `starts` is true when the role itself starts; after a
/// reload the startup delay does not apply.
pub fn of(config: &Config, instance: &Instance, starts: bool) -> Settings {
    Settings {
        name: instance.name.clone(),
        vrid: instance.vrid,
        version: if instance.options.version == 2 {
            VrrpVersion::V2
        } else {
            VrrpVersion::V3
        },
        ipv6: instance.ipv6,
        priority: instance.priority,
        interval: instance.options.advert_interval,
        down_adverts: instance.options.down_timer_adverts,
        addresses: instance.addresses.iter().map(|a| a.address).collect(),
        source: instance.source,
        transport: transport(instance),
        authentication: instance.options.authentication.as_ref().map(|a| match a {
            config::Authentication::Pass(word) => Authentication::Pass(*word),
            config::Authentication::Ah(key) => Authentication::Ah(*key),
        }),
        starts_as_master: instance.start == Start::Master,
        preempt: instance.options.preempt,
        preempt_delay: instance.options.preempt_delay,
        startup_delay: if starts {
            config.global.startup_delay
        } else {
            Duration::ZERO
        },
        lower_prio_no_advert: instance.options.lower_prio_no_advert,
        higher_prio_send_advert: instance.options.higher_prio_send_advert,
        skip_check_addresses: instance.options.skip_check_addresses,
        strict: instance.options.strict,
        old_unicast_checksum: instance.options.old_unicast_checksum,
        garp: garp(&instance.garp),
        probing: probing(config.dialect, instance),
        place: match instance.bands {
            Some(bands) => priorities(standing::place(bands)),
            None => Vec::new(),
        },
    }
}

/// Returns the sync groups with the indices of their members. A missing member is left out; the
/// load has reported it.
pub fn groups(config: &Config) -> Vec<GroupSettings> {
    let place = |name: &String| config.instances.iter().position(|i| i.name == *name);
    config
        .groups
        .iter()
        .map(|group| GroupSettings {
            name: group.name.clone(),
            members: group.members.iter().filter_map(place).collect(),
        })
        .collect()
}

fn transport(instance: &Instance) -> AdvertTransport {
    match &instance.transport {
        config::InstanceTransport::Multicast { group } => AdvertTransport::Multicast(*group),
        config::InstanceTransport::Unicast {
            peers,
            check_source,
            ..
        } => AdvertTransport::Unicast {
            peers: peers.iter().map(peer).collect(),
            check_source: *check_source,
        },
    }
}

fn peer(peer: &config::Peer) -> Peer {
    let ttl = match (peer.min_ttl, peer.max_ttl) {
        (None, None) => None,
        (least, most) => Some((least.unwrap_or(0), most.unwrap_or(u8::MAX))),
    };
    Peer {
        address: peer.address,
        ttl,
    }
}

fn garp(garp: &config::Garp) -> Garp {
    Garp {
        delay: garp.delay,
        repeat: garp.repeat,
        lower_prio_delay: garp.lower_prio_delay,
        lower_prio_repeat: garp.lower_prio_repeat,
        refresh: garp.refresh,
        refresh_repeat: garp.refresh_repeat,
    }
}

/// Returns the probe settings: as configured, or the default for sub-second adverts of a
/// `keepalived.conf`. Probes change no VRRP packet.
fn probing(dialect: Dialect, instance: &Instance) -> Option<Probing> {
    if let Some(probing) = &instance.probing {
        return Some(Probing {
            wait: probing.wait,
            bound: probing.bound,
        });
    }
    let interval = instance.options.advert_interval;
    let on_link = !instance.interface.is_empty() && !instance.addresses.is_empty();
    (dialect == Dialect::Keepalived && interval < PROBED_BELOW && on_link).then(|| Probing {
        wait: interval.clamp(PROBE_WAIT.0, PROBE_WAIT.1),
        bound: PROBE_BOUND.max(interval.saturating_mul(PROBE_BOUND_ADVERTS)),
    })
}
