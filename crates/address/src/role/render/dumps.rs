//! Writes keepalived's dumps: `keepalived.data` (SIGUSR1), `keepalived.stats` (SIGUSR2) and
//! `keepalived.json` (signal 36), with keepalived's lines for the features that exist here.

use super::moment;
use crate::config::{
    Address, Authentication, Config, Instance as Configured, InstanceTransport, Start,
};
use crate::role::clock;
use crate::role::event_loop::AddressRole;
use crate::role::member::VrrpInstance;
use crate::role::report::{state_number, state_word};
use part::report::Subject;
use protocol::vrrp::{Counter, Counters, Instance, VrrpState, VrrpStatus};
use serde_json::{Map, Value, json as value};
use std::fmt::{Display, Write};

fn yes(b: bool) -> &'static str {
    if b { "enabled" } else { "disabled" }
}

fn wanted(config: &Configured) -> VrrpState {
    match config.start {
        Start::Master => VrrpState::Master,
        Start::Backup => VrrpState::Backup,
    }
}

impl AddressRole {
    fn dumped(&self) -> impl Iterator<Item = (&VrrpInstance, VrrpStatus, Counters)> {
        let members = self.members.iter().enumerate();
        members.filter_map(|(at, member)| {
            let status = self.router.status(Instance(at))?;
            Some((member, status, self.counters(at)))
        })
    }

    pub(in crate::role) fn dump_statistics(&self) -> String {
        let all = self.dumped();
        all.map(|(member, _, counters)| statistics(&member.config.name, &counters))
            .collect()
    }

    pub(in crate::role) fn dump_data(&self) -> String {
        let mut out = String::new();
        // Ignores the result: writing to a string cannot fail.
        let _ = data_to(&mut out, self);
        out
    }

    pub(in crate::role) fn dump_json(&self) -> String {
        let all = self.dumped().map(|(member, status, counters)| {
            value!({"data": instance(member, &status), "stats": stats(&counters)})
        });
        // Escapes slashes, as keepalived's JSON library does.
        Value::Array(all.collect()).to_string().replace('/', "\\/")
    }
}

fn statistics(name: &str, counters: &Counters) -> String {
    let mut out = format!("VRRP Instance: {name}\n");
    let mut group = None;
    for (row, value) in counters.iter() {
        let Some(dump) = row.dump else { continue };
        // Ignores the result: writing to a string cannot fail.
        if let Some(title) = dump.group.filter(|_| dump.group != group) {
            let _ = writeln!(out, "  {title}:");
        }
        group = dump.group;
        let indent = if group.is_some() { "    " } else { "  " };
        let _ = writeln!(out, "{indent}{}: {value}", dump.label);
    }
    out
}

fn data_to(out: &mut String, role: &AddressRole) -> std::fmt::Result {
    let config = &role.config;
    let global = &config.global;
    writeln!(out, "------< Global definitions >------")?;
    writeln!(out, " Router ID = {}", global.router_id)?;
    if let Some(mail) = &global.mail {
        let timeout = mail.timeout.as_secs();
        writeln!(out, " Smtp server = {}", mail.server)?;
        writeln!(out, " Smtp server port = {}", mail.port)?;
        writeln!(out, " Smtp HELO name = {}", mail.helo)?;
        writeln!(out, " Smtp server connection timeout = {timeout}")?;
        writeln!(out, " Email notification from = {}", mail.from)?;
        writeln!(out, " Email notification to:")?;
        for to in &mail.to {
            writeln!(out, "   {to}")?;
        }
    }
    writeln!(out, " Dynamic interfaces = {}", global.dynamic_interfaces)?;
    writeln!(out, " Default interface = {}", global.default_interface())?;
    for fifo in &global.fifos {
        writeln!(out, " VRRP notify fifo = {}", fifo.path.display())?;
    }
    for granted in &role.process.privileges {
        writeln!(out, " Granted = {granted}")?;
    }
    writeln!(out, "------< VRRP Topology >------")?;
    for (member, status, _) in role.dumped() {
        let group = role.group_of(&member.config.name);
        instance_to(out, member, &status, group)?;
    }
    if !config.groups.is_empty() {
        writeln!(out, "------< VRRP Sync groups >------")?;
    }
    for (group, configured) in role.groups().zip(&config.groups) {
        let state = &group.state.word;
        writeln!(out, " VRRP Sync Group = {}, {state}", group.name)?;
        writeln!(out, "   VRRP member instances :")?;
        for member in &configured.members {
            writeln!(out, "     {member}")?;
        }
    }
    let tracked = role.tracked();
    scripts_to(out, config, &tracked)?;
    writeln!(out, "------< Interfaces >------")?;
    for tracked in tracked.iter().filter(|t| t.kind == "interface") {
        let state = match tracked.state.word.as_str() {
            "up" => "UP, RUNNING",
            _ => "DOWN",
        };
        writeln!(out, " Name = {}\n   State = {state}", tracked.name)?;
    }
    Ok(())
}

fn instance_to(
    out: &mut String,
    member: &VrrpInstance,
    status: &VrrpStatus,
    group: Option<&str>,
) -> std::fmt::Result {
    let c = &member.config;
    let since = clock::unix_ms_of(status.since);
    writeln!(out, " VRRP Instance = {}", c.name)?;
    writeln!(out, "   VRRP Version = {}", c.options.version)?;
    if let Some(group) = group {
        writeln!(out, "   Sync group = {group}")?;
    }
    writeln!(out, "   State = {}", state_word(status.state))?;
    writeln!(out, "   Wantstate = {}", state_word(wanted(c)))?;
    let faults = member.faults().len();
    writeln!(
        out,
        "   Number of interface and track script faults = {faults}"
    )?;
    let (s, ms, at) = (since / 1000, since % 1000, moment(since));
    writeln!(out, "   Last transition = {s}.{ms:03}000 ({at})")?;
    if let Some((address, priority, _)) = status.owner {
        writeln!(out, "   Master router = {address}")?;
        writeln!(out, "   Master priority = {priority}")?;
    }
    writeln!(out, "   Interface = {}", c.interface)?;
    if let Some(source) = member.source {
        writeln!(out, "   Using src_ip = {source}")?;
    }
    match &c.transport {
        InstanceTransport::Multicast { group } => writeln!(out, "   Multicast address {group}")?,
        InstanceTransport::Unicast { peers, .. } => {
            writeln!(out, "   Unicast Peer :")?;
            for peer in peers {
                writeln!(out, "     {}", peer.address)?;
            }
        }
    }
    timers_to(out, c, status)?;
    authentication_to(out, c)?;
    for (title, addresses) in [
        ("Virtual IP", &c.addresses),
        ("Virtual IP Excluded", &c.excluded),
    ] {
        if !addresses.is_empty() {
            writeln!(out, "   {title} ({}):", addresses.len())?;
        }
        for address in addresses {
            writeln!(out, "     {}", address_line(member, address))?;
        }
    }
    texts(out, "Virtual Routes", c.routes.iter().map(|r| &r.text))?;
    texts(out, "Virtual Rules", c.rules.iter().map(|r| &r.text))?;
    tracked_to(out, c)?;
    notify_to(out, c)
}

fn timers_to(out: &mut String, c: &Configured, status: &VrrpStatus) -> std::fmt::Result {
    let (garp, options) = (&c.garp, &c.options);
    let interval = match options.advert_interval.as_secs_f64() {
        seconds if seconds >= 1.0 => format!("{seconds} sec"),
        _ => format!("{} milli-sec", options.advert_interval.as_millis()),
    };
    let lines: [(&str, &dyn Display); 13] = [
        ("Gratuitous ARP delay", &garp.delay.as_secs()),
        ("Gratuitous ARP repeat", &garp.repeat),
        ("Gratuitous ARP refresh", &garp.refresh.as_secs()),
        ("Gratuitous ARP refresh repeat", &garp.refresh_repeat),
        (
            "Gratuitous ARP lower priority delay",
            &garp.lower_prio_delay.as_secs(),
        ),
        (
            "Gratuitous ARP lower priority repeat",
            &garp.lower_prio_repeat,
        ),
        ("Down timer adverts", &options.down_timer_adverts),
        ("Virtual Router ID", &c.vrid),
        ("Priority", &c.priority),
        ("Effective priority", &status.priority),
        ("Advert interval", &interval),
        ("Accept", &yes(options.accept)),
        ("Preempt", &yes(options.preempt)),
    ];
    for (name, value) in lines {
        writeln!(out, "   {name} = {value}")?;
    }
    if options.preempt && !options.preempt_delay.is_zero() {
        let seconds = options.preempt_delay.as_secs_f64();
        writeln!(out, "   Preempt delay = {seconds} secs")?;
    }
    let promotes = yes(options.promote_secondaries);
    writeln!(out, "   Promote_secondaries = {promotes}")
}

fn authentication_to(out: &mut String, c: &Configured) -> std::fmt::Result {
    match (&c.options.authentication, c.options.version) {
        (Some(Authentication::Pass(word)), _) => {
            writeln!(out, "   Authentication type = SIMPLE_PASSWORD")?;
            writeln!(out, "   Password = {}", password(word))?;
        }
        (Some(Authentication::Ah(_)), _) => writeln!(out, "   Authentication type = IPSEC_AH")?,
        (None, 2) => writeln!(out, "   Authentication type = none")?,
        (None, _) => {}
    }
    Ok(())
}

fn tracked_to(out: &mut String, c: &Configured) -> std::fmt::Result {
    for (title, names) in [
        ("Tracked scripts", &c.tracked.scripts),
        ("Tracked files", &c.tracked.files),
        ("Tracked processes", &c.tracked.processes),
        ("Tracked BFDs", &c.tracked.bfd),
    ] {
        if !names.is_empty() {
            writeln!(out, "   {title} :")?;
        }
        for (name, weight) in names {
            match weight {
                Some(weight) => writeln!(out, "     {name} weight {}", weight.value)?,
                None => writeln!(out, "     {name}")?,
            }
        }
    }
    Ok(())
}

fn notify_to(out: &mut String, c: &Configured) -> std::fmt::Result {
    let (mails, deleted) = (c.options.smtp_alert == Some(true), c.notify.reports_deleted);
    let mails = if mails { "yes" } else { "no" };
    let deleted = if deleted { "Deleted" } else { "Fault" };
    writeln!(out, "   Using smtp notification = {mails}")?;
    writeln!(out, "   Notify deleted = {deleted}")?;
    for (title, script) in [
        ("Backup", &c.notify.backup),
        ("Master", &c.notify.master),
        ("Fault", &c.notify.fault),
        ("Stop", &c.notify.stop),
        ("Generic", &c.notify.any),
    ] {
        if let Some(script) = script {
            let script = words(&script.words);
            writeln!(out, "   {title} state transition script = {script}")?;
        }
    }
    Ok(())
}

fn scripts_to(out: &mut String, config: &Config, tracked: &[Subject]) -> std::fmt::Result {
    let outcome = |kind: &str, name: &str| {
        let found = tracked.iter().find(|t| t.kind == kind && t.name == name);
        found.map_or(String::new(), |t| t.state.word.clone())
    };
    if !config.scripts.is_empty() {
        writeln!(out, "------< VRRP Scripts >------")?;
    }
    for script in &config.scripts {
        let word = match outcome("script", &script.name).as_str() {
            "up" => "GOOD",
            "down" => "BAD",
            _ => "unknown",
        };
        writeln!(out, " VRRP Script = {}", script.name)?;
        writeln!(out, "   Command = {}", words(&script.words))?;
        writeln!(out, "   Interval = {} sec", script.interval.as_secs_f64())?;
        let timeout = script.timeout.unwrap_or_default().as_secs_f64();
        writeln!(out, "   Timeout = {timeout} sec")?;
        writeln!(out, "   Weight = {}", script.weight.value)?;
        writeln!(out, "   Rise = {}\n   Fall = {}", script.rise, script.fall)?;
        writeln!(out, "   Status = {word}")?;
    }
    for file in &config.files {
        writeln!(out, " Track file = {}", file.name)?;
        writeln!(out, "   File = {}", file.path.display())?;
        writeln!(out, "   Status = {}", outcome("file", &file.name))?;
        writeln!(out, "   Weight = {}", file.weight.value)?;
    }
    for process in &config.processes {
        writeln!(out, " VRRP Track process = {}", process.name)?;
        writeln!(out, "   Process = {}", process.words.join(" "))?;
        writeln!(out, "   Min processes = {}", process.quorum)?;
        let quorum = outcome("process", &process.name) == "up";
        writeln!(out, "   Have quorum = {quorum}")?;
        writeln!(out, "   Weight = {}", process.weight.value)?;
    }
    Ok(())
}

fn texts<'a>(
    out: &mut String,
    title: &str,
    all: impl Iterator<Item = &'a String>,
) -> std::fmt::Result {
    let all: Vec<_> = all.collect();
    if !all.is_empty() {
        writeln!(out, "   {title} :")?;
    }
    for text in all {
        writeln!(out, "     {text}")?;
    }
    Ok(())
}

fn password(word: &[u8; 8]) -> String {
    let end = word.iter().position(|b| *b == 0).unwrap_or(word.len());
    String::from_utf8_lossy(word.get(..end).unwrap_or_default()).into_owned()
}

fn address_line(member: &VrrpInstance, address: &Address) -> String {
    let label = address.label.as_ref();
    let label = label.map_or(String::new(), |label| format!(" label {label}"));
    let set = if member.holds { " set" } else { "" };
    format!(
        "{}/{} dev {} scope global{label}{set}",
        address.address,
        address.prefix,
        member.name_of_interface(address)
    )
}

fn words(words: &[String]) -> String {
    let quoted: Vec<String> = words.iter().map(|w| format!("'{w}'")).collect();
    quoted.join(" ")
}

fn instance(member: &VrrpInstance, status: &VrrpStatus) -> Value {
    let c = &member.config;
    let flag = u8::from;
    let seconds = |d: std::time::Duration| number(d.as_secs_f64());
    let Value::Object(mut map) = value!({
        "iname": c.name,
        "dont_track_primary": flag(c.options.ignore_interface_faults),
        "skip_check_adv_addr": flag(c.options.skip_check_addresses),
        "strict_mode": flag(c.options.strict),
        "vmac_ifname": c.vmac.as_ref().and_then(|v| v.name.clone()).unwrap_or_default(),
        "ifp_ifname": c.interface,
        "master_priority": status.owner.map_or(0, |(_, priority, _)| priority),
        "last_transition": number(clock::unix_ms_of(status.since) as f64 / 1000.0),
        "garp_delay": c.garp.delay.as_secs(),
        "garp_refresh": c.garp.refresh.as_secs(),
        "garp_rep": c.garp.repeat,
        "garp_refresh_rep": c.garp.refresh_repeat,
        "garp_lower_prio_delay": c.garp.lower_prio_delay.as_secs(),
        "garp_lower_prio_rep": c.garp.lower_prio_repeat,
        "lower_prio_no_advert": flag(c.options.lower_prio_no_advert),
        "higher_prio_send_advert": flag(c.options.higher_prio_send_advert),
        "vrid": c.vrid,
        "base_priority": c.priority,
        "effective_priority": status.priority,
        "vipset": member.holds && !(c.addresses.is_empty() && c.excluded.is_empty()),
        "promote_secondaries": c.options.promote_secondaries,
        "adver_int": seconds(c.options.advert_interval),
        "master_adver_int": seconds(c.options.advert_interval),
        "accept": flag(c.options.accept),
        "nopreempt": !c.options.preempt,
        "preempt_delay": seconds(c.options.preempt_delay),
        "state": state_number(status.state),
        "wantstate": state_number(wanted(c)),
        "version": c.options.version,
        "smtp_alert": c.options.smtp_alert == Some(true),
        "notify_deleted": c.notify.reports_deleted,
    }) else {
        return Value::Null;
    };
    lists(&mut map, member);
    Value::Object(map)
}

fn lists(map: &mut Map<String, Value>, member: &VrrpInstance) {
    let c = &member.config;
    for (key, script) in [
        ("script_backup", &c.notify.backup),
        ("script_master", &c.notify.master),
        ("script_fault", &c.notify.fault),
        ("script_stop", &c.notify.stop),
        ("script", &c.notify.any),
    ] {
        if let Some(script) = script {
            map.insert(key.to_owned(), words(&script.words).into());
        }
    }
    let mut list = |key: &str, all: Vec<String>| {
        if !all.is_empty() {
            map.insert(key.to_owned(), all.into());
        }
    };
    let lines = |addresses: &[Address]| {
        let lines = addresses.iter().map(|one| address_line(member, one));
        lines.collect::<Vec<_>>()
    };
    list("vips", lines(&c.addresses));
    list("evips", lines(&c.excluded));
    list("vroutes", c.routes.iter().map(|r| r.text.clone()).collect());
    list("vrules", c.rules.iter().map(|r| r.text.clone()).collect());
    list(
        "track_script",
        c.tracked.scripts.iter().map(|s| s.0.clone()).collect(),
    );
    let (kind, word) = match &c.options.authentication {
        Some(Authentication::Pass(word)) => (1, Some(password(word))),
        Some(Authentication::Ah(_)) => (2, None),
        None => (0, None),
    };
    map.insert("auth_type".to_owned(), kind.into());
    if let Some(word) = word {
        map.insert("auth_data".to_owned(), word.into());
    }
}

/// Converts a number; whole numbers have no fraction, as in keepalived.
fn number(n: f64) -> Value {
    if n.fract() == 0.0 && n >= 0.0 {
        Value::from(n as u64)
    } else {
        Value::from(n)
    }
}

fn stats(counters: &Counters) -> Value {
    // Sorts the counter of interval errors before that of TTL errors, as keepalived's JSON does,
    // unlike keepalived.stats.
    let place = |counter: Counter| match counter {
        Counter::IntervalErrors => Counter::TtlErrors as usize * 2 - 1,
        counter => counter as usize * 2,
    };
    let mut all: Vec<_> = counters.iter().collect();
    all.sort_by_key(|(row, _)| place(row.counter));
    all.into_iter()
        .filter_map(|(row, value)| Some((row.dump?.key.to_owned(), value.into())))
        .collect::<Map<_, _>>()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_keepalived_s_line_by_line() {
        let mut counters = Counters::default();
        counters[Counter::AdvertsSent] = 18;
        counters[Counter::BecameMaster] = 1;
        let wanted = "VRRP Instance: VI_1\n  Advertisements:\n    Received: 0\n    Sent: 18\n  \
                      Became master: 1\n  Released master: 0\n  Packet Errors:\n    Length: 0\n    \
                      TTL: 0\n    Invalid Type: 0\n    Advertisement Interval: 0\n    \
                      Address List: 0\n  Authentication Errors:\n    Invalid Type: 0\n    \
                      Type Mismatch: 0\n    Failure: 0\n  Priority Zero:\n    Received: 0\n    \
                      Sent: 0\n";
        assert_eq!(statistics("VI_1", &counters), wanted);
    }

    #[test]
    fn the_numbers_in_json_have_keepalived_s_order() {
        let stats = stats(&Counters::default()).to_string();
        let wanted = "\"packet_len_err\":0,\"advert_interval_err\":0,\"ip_ttl_err\":0,\"invalid_type_rcvd\":0,";
        assert!(stats.contains(wanted), "{stats}");
    }

    #[test]
    fn whole_numbers_have_no_fraction() {
        assert_eq!(number(1.0).to_string(), "1");
        assert_eq!(number(0.5).to_string(), "0.5");
    }
}
