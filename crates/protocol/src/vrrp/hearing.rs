//! Validates received VRRP packets beyond the decoder: TTL, source, interval, and list of
//! addresses.

use super::advert::{Advert, AdvertError, Expected, GROUP_V4, GROUP_V6, TTL, decode, on_wire};
use super::{AdvertTransport, Counter, Settings, VrrpVersion};
use std::net::IpAddr;
use std::time::Duration;

#[derive(Clone, Copy, Debug)]
pub(super) struct ReceivedAdvert {
    pub from: IpAddr,
    pub priority: u8,
    pub interval: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Dropped {
    #[error("{0}")]
    Refused(AdvertError),
    /// The packet came through a router, or through too many of them.
    #[error("its TTL is {0}, so the sender is not on this link")]
    Ttl(u8),
    /// The sender is not a configured peer.
    #[error("the sender is not a configured peer")]
    Stranger,
    #[error("its advert interval is {is:?}, configured is {ours:?}")]
    Interval { is: Duration, ours: Duration },
    #[error(
        "it lists {is} addresses, configured are {ours}: another instance with this virtual router id, or different files"
    )]
    Count { is: usize, ours: usize },
    #[error(
        "it does not list {0}: another instance with this virtual router id, or different files"
    )]
    Missing(IpAddr),
}

impl Dropped {
    /// Returns the counter of keepalived's statistics for this reason.
    pub(super) fn counter(&self) -> Counter {
        match self {
            Dropped::Refused(refusal) => refusal.counter(),
            Dropped::Ttl(_) => Counter::TtlErrors,
            Dropped::Interval { .. } => Counter::IntervalErrors,
            Dropped::Stranger | Dropped::Count { .. } | Dropped::Missing(_) => {
                Counter::AddressListErrors
            }
        }
    }
}

/// Validates a packet. `known`: sender of the last valid advert, whose addresses are not compared
/// again if `skip_check_addresses` is set.
pub(super) fn validate_packet(
    settings: &Settings,
    source: Option<IpAddr>,
    known: Option<IpAddr>,
    from: IpAddr,
    ttl: u8,
    bytes: &[u8],
) -> Result<ReceivedAdvert, Dropped> {
    judge_way(settings, from, ttl)?;
    let group = if from.is_ipv6() { GROUP_V6 } else { GROUP_V4 };
    let (first, second) = match &settings.transport {
        AdvertTransport::Multicast(group) => (*group, *group),
        // Accepts the checksum over this router's address, and unless that is disabled also that of
        // keepalived up to 1.3.6, which covers the multicast group.
        AdvertTransport::Unicast { .. } if settings.old_unicast_checksum == Some(false) => {
            let ours = source.unwrap_or(group);
            (ours, ours)
        }
        AdvertTransport::Unicast { .. } => (source.unwrap_or(group), group),
    };
    let expected = Expected {
        version: settings.version,
        vrid: settings.vrid,
        authentication: settings.authentication.as_ref(),
        from,
        to: &[first, second],
    };
    let advert = decode(bytes, &expected).map_err(Dropped::Refused)?;
    let ours = on_wire(VrrpVersion::V2, settings.interval);
    if settings.version == VrrpVersion::V2 && advert.interval != ours {
        let is = advert.interval;
        return Err(Dropped::Interval { is, ours });
    }
    if !(settings.skip_check_addresses && known == Some(from)) {
        judge_addresses(settings, &advert)?;
    }
    Ok(ReceivedAdvert {
        from,
        priority: advert.priority,
        interval: advert.interval,
    })
}

fn judge_way(settings: &Settings, from: IpAddr, ttl: u8) -> Result<(), Dropped> {
    match &settings.transport {
        AdvertTransport::Multicast(_) if ttl != TTL => Err(Dropped::Ttl(ttl)),
        AdvertTransport::Multicast(_) => Ok(()),
        AdvertTransport::Unicast {
            peers,
            check_source,
        } => match peers.iter().find(|peer| peer.address == from) {
            None if *check_source => Err(Dropped::Stranger),
            Some(peer) => match peer.ttl {
                Some((least, most)) if ttl < least || ttl > most => Err(Dropped::Ttl(ttl)),
                _ => Ok(()),
            },
            None => Ok(()),
        },
    }
}

fn judge_addresses(settings: &Settings, advert: &Advert) -> Result<(), Dropped> {
    let ours = || {
        let all = settings.addresses.iter();
        all.filter(|address| address.is_ipv6() == settings.ipv6)
    };
    let count = ours().count().min(super::advert::ADDRESSES_MAX);
    if advert.addresses.len() != count {
        let is = advert.addresses.len();
        return Err(Dropped::Count { is, ours: count });
    }
    match ours()
        .take(count)
        .find(|address| !advert.addresses.contains(address))
    {
        Some(missing) => Err(Dropped::Missing(*missing)),
        None => Ok(()),
    }
}
