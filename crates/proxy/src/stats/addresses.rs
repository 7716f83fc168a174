//! Virtual addresses in the statistics: a section of the page, lines for operators, and
//! metrics under the names that exporters of keepalived's gave them, so that dashboards
//! made for these go on.

use super::page::text::escape;
use super::prometheus::escaped;
use crate::vitals::AddressReport;
use protocol::vitals::{Band, ToldState};
use protocol::vrrp::COUNTERS;
use std::fmt::Write;
use std::net::IpAddr;

fn state(report: &AddressReport) -> &'static str {
    report.told.map_or("unknown", |told| told.state.name())
}

fn served(band: Band) -> &'static str {
    match band {
        Band::All => "all",
        Band::Some => "some",
        Band::None => "none",
    }
}

fn addresses(report: &AddressReport, between: &str) -> String {
    let all: Vec<String> = report.addresses.iter().map(IpAddr::to_string).collect();
    all.join(between)
}

/// Who has the addresses, as far as this machine knows.
fn owner(report: &AddressReport) -> String {
    match report.told {
        Some(told) if told.state == ToldState::Master => "this".to_owned(),
        Some(told) => told
            .owner
            .map_or_else(|| "-".to_owned(), |(owner, _)| owner.to_string()),
        None => "-".to_owned(),
    }
}

fn duration(ms: u64) -> String {
    match ms / 1_000 {
        s @ 0..60 => format!("{s}s"),
        s @ 60..3_600 => format!("{}m{:02}s", s / 60, s % 60),
        s @ 3_600..86_400 => format!("{}h{:02}m", s / 3_600, s / 60 % 60),
        s => format!("{}d{}h", s / 86_400, s / 3_600 % 24),
    }
}

/// One line: words separated by spaces.
pub(crate) fn line(report: &AddressReport) -> String {
    let told = report.told.unwrap_or_default();
    format!(
        "{} {} {} {} {} {} {} {}\n",
        report.name,
        state(report),
        duration(report.for_ms),
        told.priority,
        served(report.band),
        told.transitions,
        owner(report),
        addresses(report, ","),
    )
}

/// All of one: a name and a value a line.
pub(crate) fn detail(report: &AddressReport) -> String {
    let told = report.told.unwrap_or_default();
    let mut out = format!("name: {}\nstate: {}\n", report.name, state(report));
    // Writing to a string cannot fail.
    let _ = write!(
        out,
        "for: {}\ninterface: {}\nrouter id: {}\npriority: {}\nfrontends served: {}\ndraining: {}\nmoves: {}\nowner: {}\n",
        duration(report.for_ms),
        report.interface,
        report.router_id,
        told.priority,
        served(report.band),
        if report.draining { "yes" } else { "no" },
        told.transitions,
        owner(report),
    );
    for address in &report.addresses {
        let _ = writeln!(out, "address: {address}");
    }
    for (row, value) in told.counters.iter() {
        let _ = writeln!(out, "{}: {value}", row.words);
    }
    out
}

/// The metrics; nothing where there are no addresses.
pub(super) fn metrics(out: &mut String, all: &[AddressReport]) {
    if all.is_empty() {
        return;
    }
    head(
        out,
        "keepalived_up",
        "gauge",
        "1 while the address role tells how it is",
    );
    let up = all.iter().any(|report| report.told.is_some());
    let _ = writeln!(out, "keepalived_up {}", u8::from(up));
    let words = "the state: 0 init, 1 backup, 2 master, 3 fault";
    head(out, "keepalived_vrrp_state", "gauge", words);
    for report in all {
        let state = report.told.unwrap_or_default().state as u8;
        for address in &report.addresses {
            let labels = labels(report);
            let _ = writeln!(
                out,
                "keepalived_vrrp_state{{{labels},ip_address=\"{address}\"}} {state}"
            );
        }
    }
    for row in COUNTERS {
        let head = ("counter", row.words);
        family(out, row.metric, head, all, |told| {
            told.counters[row.counter]
        });
    }
    let words = "the priority that is announced, or would be";
    family(
        out,
        "evenkeel_virtual_ip_priority",
        ("gauge", words),
        all,
        |told| u64::from(told.priority),
    );
    let words = "how often the state changed";
    family(
        out,
        "evenkeel_virtual_ip_moves_total",
        ("counter", words),
        all,
        |told| told.transitions,
    );
    let words = "whether all, some or none of the frontends can be served";
    head(out, "evenkeel_virtual_ip_served", "gauge", words);
    for report in all {
        for band in [Band::All, Band::Some, Band::None] {
            let (labels, name) = (labels(report), served(band));
            let is = u8::from(report.band == band);
            let _ = writeln!(
                out,
                "evenkeel_virtual_ip_served{{{labels},state=\"{name}\"}} {is}"
            );
        }
    }
}

fn head(out: &mut String, name: &str, kind: &str, words: &str) {
    let _ = write!(out, "# HELP {name} {words}\n# TYPE {name} {kind}\n");
}

fn labels(report: &AddressReport) -> String {
    format!(
        "iname=\"{}\",intf=\"{}\",vrid=\"{}\"",
        escaped(&report.name),
        escaped(&report.interface),
        report.router_id
    )
}

/// A value an instance, of those that tell something.
fn family(
    out: &mut String,
    name: &str,
    (kind, words): (&str, &str),
    all: &[AddressReport],
    value: impl Fn(protocol::vitals::Told) -> u64,
) {
    head(out, name, kind, words);
    for report in all {
        if let Some(told) = report.told {
            let _ = writeln!(out, "{name}{{{}}} {}", labels(report), value(told));
        }
    }
}

/// The section of the page; nothing where there are no addresses.
pub(super) fn section(out: &mut String, all: &[AddressReport]) {
    if all.is_empty() {
        return;
    }
    out.push_str(
        "<section><div class=\"name\"><b>Virtual addresses</b></div><div class=\"scroll\"><table>\n<thead><tr>\
         <th scope=\"col\">Name</th><th scope=\"col\">State</th><th scope=\"col\">For</th>\
         <th scope=\"col\">Owner</th><th scope=\"col\">Frontends served</th><th scope=\"col\">Priority</th>\
         <th scope=\"col\">Moves</th><th scope=\"col\">Addresses</th></tr></thead><tbody>\n",
    );
    for report in all {
        row(out, report);
    }
    out.push_str("</tbody></table></div></section>\n");
}

/// The colour of a row: that of a server which is up, a backup, in maintenance, down.
fn class(report: &AddressReport) -> &'static str {
    match (report.told.map(|told| told.state), report.draining) {
        (Some(ToldState::Master), true) => "active_draining",
        (Some(ToldState::Master), false) => "active_up",
        (Some(ToldState::Backup), _) => "backup_up",
        (Some(ToldState::Fault), _) => "active_down",
        (Some(ToldState::Init) | None, _) => "active_no_check",
    }
}

fn row(out: &mut String, report: &AddressReport) {
    let told = report.told.unwrap_or_default();
    let _ = write!(out, "<tr class=\"{}\"><th scope=\"row\">", class(report));
    escape(out, &report.name);
    let _ = write!(out, "</th><td class=\"c st\">{}", state(report));
    if report.draining {
        out.push_str(", draining");
    }
    let _ = write!(
        out,
        "</td><td class=\"c\">{}</td><td class=\"c\">",
        duration(report.for_ms)
    );
    match owner(report).as_str() {
        "this" => out.push_str("this machine"),
        other => escape(out, other),
    }
    let _ = writeln!(
        out,
        "</td><td class=\"c\">{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
        served(report.band),
        told.priority,
        told.transitions,
        addresses(report, " ")
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::vitals::Told;
    use protocol::vrrp::Counter;

    fn reports() -> Vec<AddressReport> {
        let mut told = Told {
            state: ToldState::Master,
            since_ms: 0,
            transitions: 3,
            priority: 220,
            owner: None,
            counters: Default::default(),
        };
        told.counters[Counter::AdvertsSent] = 12_345;
        let backup = Told {
            state: ToldState::Backup,
            owner: Some(([10, 0, 0, 2].into(), 220)),
            ..Told::default()
        };
        let report = |name: &str, told| AddressReport {
            name: name.to_owned(),
            interface: "eth0".to_owned(),
            router_id: 51,
            addresses: vec![
                [172, 16, 61, 150].into(),
                [0x2001_u16, 0xdb8, 0, 0, 0, 0, 0, 0x80].into(),
            ],
            band: Band::All,
            told,
            for_ms: 3_725_000,
            draining: false,
        };
        vec![
            report("www", Some(told)),
            AddressReport {
                band: Band::Some,
                ..report("a<b", Some(backup))
            },
            AddressReport {
                band: Band::None,
                for_ms: 0,
                ..report("mail", None)
            },
        ]
    }

    #[test]
    fn addresses_are_told_in_lines() {
        let lines: String = reports().iter().map(line).collect();
        insta::assert_snapshot!(lines + "\n" + &detail(&reports()[0]));
    }

    #[test]
    fn metrics_have_the_names_of_exporters_of_keepalived() {
        let mut out = String::new();
        metrics(&mut out, &reports());
        insta::assert_snapshot!(out);
    }

    #[test]
    fn the_page_has_a_section_of_addresses_where_there_are_some() {
        let mut out = String::new();
        section(&mut out, &[]);
        metrics(&mut out, &[]);
        assert_eq!(out, "");
        section(&mut out, &reports());
        insta::assert_snapshot!(out);
    }
}
