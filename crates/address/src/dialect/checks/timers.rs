//! Rounds the advert interval to what the protocol can send, and reports times that contradict each
//! other.

use crate::codes;
use crate::config::Instance;
use crate::dialect::family::draft::InstanceDraft;
use crate::dialect::loader::Loader;
use language::Diagnostic;
use std::time::Duration;

/// Maximum advert interval of VRRP version 3: twelve bits of hundredths of a second.
const V3_MAX: Duration = Duration::from_millis(40_950);

/// Returns the interval of adverts as the protocol sends it, and warns if rounding changed it.
pub(super) fn interval(l: &mut Loader<'_>, draft: &InstanceDraft, version: u8) -> Duration {
    let Some(at) = draft.options.at("advert_int", |o| o.advert_interval) else {
        return Duration::from_secs(1);
    };
    let unit = match version {
        2 => Duration::from_secs(1),
        _ => Duration::from_millis(10),
    };
    let (us, unit_us) = (at.value.as_micros(), unit.as_micros());
    let rounded = ((us + unit_us / 2) / unit_us).max(1) * unit_us;
    let mut sent = Duration::from_micros(u64::try_from(rounded).unwrap_or(u64::MAX));
    if version == 3 {
        sent = sent.min(V3_MAX);
    }
    if sent != at.value {
        let why = match version {
            2 => "version 2 sends whole seconds",
            _ => "version 3 sends hundredths of a second, up to 40.95 s",
        };
        let message = format!(
            "advert_int {} becomes {}: {why}",
            seconds(at.value),
            seconds(sent)
        );
        let told = Diagnostic::warning(&codes::ADVERT_ROUNDED, at.span, message);
        l.report(match version {
            2 => told
                .help("use 'version 3', on all machines, for intervals of fractions of a second"),
            _ => told
                .fix(at.span, seconds(sent))
                .help(format!("write {}", seconds(sent))),
        });
    }
    sent
}

/// Formats a duration in decimal seconds, as `keepalived.conf` has it.
pub(super) fn seconds(time: Duration) -> String {
    let text = format!("{}.{:06}", time.as_secs(), time.subsec_micros());
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Warns if sending all announcements once takes longer than `garp_master_delay`, after which they
/// are repeated.
pub(super) fn announcements(l: &mut Loader<'_>, draft: &InstanceDraft, built: &Instance) {
    let Some(place) = draft.garp.place.or(l.drafts.defaults.garp.place) else {
        return;
    };
    let between = if built.ipv6 {
        l.config.global.gna_interval
    } else {
        l.config.global.garp_interval
    };
    let count = built.addresses.len() + built.excluded.len();
    let packets = u32::try_from(count)
        .unwrap_or(u32::MAX)
        .saturating_mul(built.garp.repeat);
    let takes = between.saturating_mul(packets);
    if takes > built.garp.delay && built.garp.delay > Duration::ZERO {
        let message = format!(
            "announcing the addresses of '{}' takes {} s, longer than garp_master_delay ({} s)",
            built.name,
            seconds(takes),
            seconds(built.garp.delay)
        );
        l.report(Diagnostic::warning(&codes::TIMERS, place, message));
    }
}

/// Warns about interfaces that may be down for longer than adverts may be missing.
pub(super) fn interface_delays(l: &mut Loader<'_>) {
    let places = std::mem::take(&mut l.drafts.delays);
    let delays = l.config.interface_delays.clone();
    for (delay, place) in delays.iter().zip(places) {
        let instances = l.config.instances.iter();
        let limit = |i: &Instance| {
            i.options.advert_interval * u32::from(i.options.down_timer_adverts.saturating_sub(1))
        };
        let concerned = instances.filter(|i| i.interface == delay.interface);
        let Some((name, most)) = concerned
            .map(|i| (i.name.clone(), limit(i)))
            .min_by_key(|(_, most)| *most)
        else {
            continue;
        };
        if delay.down >= most {
            let message = format!(
                "'{}' may be down for {} s, but without adverts another machine takes the addresses of '{name}' soon after {} s",
                delay.interface,
                seconds(delay.down),
                seconds(most)
            );
            l.report(
                Diagnostic::warning(&codes::TIMERS, place, message).help(format!(
                    "use a delay below {} s, or a longer advert interval",
                    seconds(most)
                )),
            );
        }
    }
}
