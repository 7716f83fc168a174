//! Decodes the statistics of the proxy from its runtime API (`show info`, `show stat`, `show
//! latency`, `show table`, `show servers state`: HAProxy's management guide, chapter 9).

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

pub const ASK: &[u8] = b"show info;show stat;show latency;show table;show servers state\n";
pub const BYTES_MAX: u64 = 32 << 20;

/// Name of the setting that `set maxconn` changes.
const LIMIT: &str = "limit of sessions";

const TABLES_MAX: usize = 1_000;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum TrafficRowKind {
    Frontend,
    Backend,
    Server,
}

/// A frontend, a backend, or a server of a backend.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TrafficRow {
    pub proxy: String,
    pub name: String,
    pub kind: TrafficRowKind,
    /// Status, such as `UP` or `DOWN 1/2`.
    pub status: String,
    pub for_s: Option<u64>,
    /// Requests that wait for a server.
    pub queued: Option<u64>,
    pub sessions: u64,
    /// Requests per second; TCP sessions per second in TCP mode.
    pub rate: u64,
    /// Bytes since the start, received from clients and sent to them.
    pub bytes: [u64; 2],
    pub errors: u64,
    /// Average duration of a request, milliseconds.
    pub takes_ms: Option<u64>,
    /// 50th, 95th and 99th percentile of the duration of the last requests, milliseconds.
    #[serde(default)]
    pub percentiles_ms: Option<[u64; 3]>,
    /// Responses with a status of 5xx since the start.
    pub failed: Option<u64>,
    /// Result of the last health check or of the agent.
    pub check: String,
    /// Settings that a command at run time can change, by name. Those known to be as configured are
    /// left out.
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
}

impl TrafficRow {
    /// Returns the kind and name, such as `server app/one`.
    pub fn named(&self) -> String {
        match self.kind {
            TrafficRowKind::Frontend => format!("frontend {}", self.proxy),
            TrafficRowKind::Backend => format!("backend {}", self.proxy),
            TrafficRowKind::Server => format!("server {}/{}", self.proxy, self.name),
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Traffic {
    /// Rows in the order of the configuration, a backend before its servers.
    pub rows: Vec<TrafficRow>,
    /// Fields of `show info` by name.
    pub facts: BTreeMap<String, String>,
    /// Stick tables. Empty from a console of an older program.
    #[serde(default)]
    pub tables: Vec<StickTableHead>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct StickTableHead {
    pub name: String,
    pub kind: String,
    pub size: u64,
    pub used: u64,
}

impl Traffic {
    /// Decodes the responses of the proxy to the commands of [`ASK`].
    pub fn read(text: &str) -> Traffic {
        read(text)
    }

    pub fn rate(&self) -> u64 {
        let rates = self.frontends().map(|row| row.rate);
        rates.fold(0, u64::saturating_add)
    }

    /// Returns the bytes of all frontends since the start, received from clients and sent to them.
    pub fn bytes(&self) -> [u64; 2] {
        [0, 1].map(|way| {
            let bytes = self.frontends().map(|row| row.bytes[way]);
            bytes.fold(0, u64::saturating_add)
        })
    }

    pub fn frontends(&self) -> impl Iterator<Item = &TrafficRow> {
        self.rows
            .iter()
            .filter(|row| row.kind == TrafficRowKind::Frontend)
    }

    /// Returns the settings of the whole proxy that a command at run time can change, by name.
    pub fn settings(&self) -> BTreeMap<String, String> {
        let rates = [
            ("limit of connections per second", "ConnRateLimit"),
            ("limit of sessions per second", "SessRateLimit"),
            ("limit of TLS connections per second", "SslRateLimit"),
            ("limit of compressed bytes per second", "CompressBpsRateLim"),
        ];
        let rates = rates
            .into_iter()
            .filter_map(|(name, fact)| Some((name, self.facts.get(fact)?.clone())));
        // Adds the limit of connections only if it differs from the configured limit, which may
        // depend on the machine.
        let [max, of_file] = ["Maxconn", "Hard_maxconn"].map(|fact| self.facts.get(fact));
        let max = max.filter(|max| of_file.is_some_and(|of_file| of_file != *max));
        let max = max.map(|max| ("limit of connections", max.clone()));
        let all = rates.chain(max);
        all.map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Returns a value of `show info`, or `-` without one.
    pub fn fact(&self, name: &str) -> &str {
        self.facts.get(name).map_or("-", String::as_str)
    }
}

fn read(text: &str) -> Traffic {
    let mut traffic = Traffic::default();
    let mut columns = BTreeMap::new();
    let mut percentiles = BTreeMap::new();
    let mut states = BTreeMap::new();
    let mut followers = BTreeSet::new();
    let mut columns_of_states: Option<BTreeMap<&str, usize>> = None;
    for line in text.lines() {
        if line.starts_with("# be_id ") {
            let head = line.split(' ').skip(1);
            columns_of_states = Some(head.zip(0..).collect());
        } else if let Some(columns) = &columns_of_states {
            states.extend(state_of(columns, line));
        } else if let Some(head) = line.strip_prefix("# table: ") {
            traffic
                .tables
                .extend(table(head).filter(|_| traffic.tables.len() < TABLES_MAX));
        } else if let Some(head) = line.strip_prefix("# ") {
            columns = values(head).into_iter().zip(0..).collect();
        } else if columns.is_empty() {
            if let Some((name, value)) = line.split_once(": ") {
                let (name, value) = (name.to_owned(), value.to_owned());
                traffic.facts.insert(name, value);
            }
        } else if columns.contains_key("p99_ms") {
            percentiles.extend(percentiles_of(&values(line)));
        } else {
            let values = values(line);
            let Some(row) = row(&columns, &values) else {
                continue;
            };
            let tracked = columns.get("tracked").and_then(|at| values.get(*at));
            followers.extend(tracked.filter(|one| !one.is_empty()).map(|_| row.named()));
            traffic.rows.push(row);
        }
    }
    // Removes the limit of a frontend that equals that of the process: such a frontend has no limit
    // of its own, and the value may depend on the machine.
    let default = ["Maxconn", "Hard_maxconn"].map(|fact| traffic.facts.get(fact).cloned());
    for row in &mut traffic.rows {
        let limit = row.settings.get(LIMIT).cloned();
        if row.kind == TrafficRowKind::Frontend && default.contains(&limit) {
            row.settings.remove(LIMIT);
        }
        if let Some(state) = states.remove(&row.named()) {
            let is_follower = followers.contains(&row.named());
            row.settings.extend(state.settings(is_follower));
        }
        let name = match row.kind {
            TrafficRowKind::Frontend => "FRONTEND",
            TrafficRowKind::Backend => "BACKEND",
            TrafficRowKind::Server => &row.name,
        };
        let found = percentiles.get(&(row.proxy.clone(), name.to_owned()));
        row.percentiles_ms = found.copied();
    }
    // Sorts by the order of the configuration. `show stat` lists a backend after its servers; here
    // it comes before them.
    let mut places = BTreeMap::new();
    for row in &traffic.rows {
        let next = places.len();
        places.entry(row.proxy.clone()).or_insert(next);
    }
    let place = |row: &TrafficRow| (places.get(&row.proxy).copied(), row.kind);
    traffic.rows.sort_by_key(place);
    traffic
}

/// Reads a line of `show latency`: the proxy and server, and the percentiles.
fn percentiles_of(values: &[String]) -> Option<((String, String), [u64; 3])> {
    let [proxy, name, _, p50, p95, p99] = values else {
        return None;
    };
    let all = [p50.parse().ok()?, p95.parse().ok()?, p99.parse().ok()?];
    Some(((proxy.clone(), name.clone()), all))
}

struct ServerLine<'t> {
    values: BTreeMap<&'t str, &'t str>,
}

/// Reads a line of `show servers state`, with the name of its row.
fn state_of<'t>(
    columns: &BTreeMap<&'t str, usize>,
    line: &'t str,
) -> Option<(String, ServerLine<'t>)> {
    let words: Vec<&str> = line.split(' ').collect();
    let values = columns.iter();
    let values = values.filter_map(|(name, at)| Some((*name, *words.get(*at)?)));
    let values: BTreeMap<&str, &str> = values.collect();
    let (backend, server) = (values.get("be_name")?, values.get("srv_name")?);
    let name = format!("server {backend}/{server}");
    Some((name, ServerLine { values }))
}

/// Bit of `srv_check_state` and `srv_agent_state`: the check is configured.
const CONFIGURED: u32 = 2;
const ENABLED: u32 = 4;

impl ServerLine<'_> {
    fn word(&self, name: &str) -> Option<&str> {
        let word = self.values.get(name).copied();
        word.filter(|word| !matches!(*word, "" | "-"))
    }

    fn number(&self, name: &str) -> u32 {
        let number = self.word(name).and_then(|word| word.parse().ok());
        number.unwrap_or_default()
    }

    /// Returns the settings of the server that a command at run time can change. `is_follower`: the
    /// server has the state of another one (`track`).
    fn settings(&self, is_follower: bool) -> BTreeMap<String, String> {
        let mut settings = BTreeMap::new();
        let mut set = |name: &str, value: Option<String>| {
            settings.extend(value.map(|value| (name.to_owned(), value)));
        };
        let [checks, agent] = ["srv_check_state", "srv_agent_state"].map(|name| self.number(name));
        let has_agent = agent & ENABLED > 0;
        let weight = self.word("srv_uweight");
        // Leaves out the weight if an agent may have set it: such a weight is no operator's change.
        let weight =
            weight.filter(|weight| !has_agent && self.word("srv_iweight") != Some(*weight));
        set("weight", weight.map(str::to_owned));
        let stops = checks & (CONFIGURED | ENABLED) == CONFIGURED;
        set("health checking", stops.then(|| "stopped".to_owned()));
        let is_unchecked = checks & ENABLED == 0 && !has_agent && !is_follower;
        let is_down = self.word("srv_op_state") == Some("0") && self.number("srv_admin_state") == 0;
        set(
            "state",
            (is_unchecked && is_down).then(|| "down".to_owned()),
        );
        set("host name", self.word("srv_fqdn").map(str::to_owned));
        // Leaves out addresses that come from host names, because machines may resolve a name
        // differently.
        let is_literal = self.word("srv_fqdn").is_none() && self.word("srvrecord").is_none();
        let address = self.word("srv_addr").filter(|_| is_literal);
        let port = self.word("srv_port").unwrap_or_default();
        set(
            "address",
            address.map(|address| {
                if address.contains(':') {
                    format!("[{address}]:{port}")
                } else {
                    format!("{address}:{port}")
                }
            }),
        );
        let speaks_tls = self.word("srv_use_ssl").map(|word| word == "1");
        set(
            "TLS",
            speaks_tls.map(|on| if on { "on" } else { "off" }.to_owned()),
        );
        settings
    }
}

/// Reads the head of a table, such as `app, type: ip, size:10, used:0`.
fn table(head: &str) -> Option<StickTableHead> {
    let (head, used) = head.rsplit_once(", used:")?;
    let (head, size) = head.rsplit_once(", size:")?;
    let (name, kind) = head.rsplit_once(", type: ")?;
    Some(StickTableHead {
        name: name.to_owned(),
        kind: kind.to_owned(),
        size: size.parse().ok()?,
        used: used.trim().parse().ok()?,
    })
}

fn row(columns: &BTreeMap<String, usize>, values: &[String]) -> Option<TrafficRow> {
    let word = |name: &str| {
        let at = columns.get(name).copied()?;
        values.get(at).map(String::as_str)
    };
    let number = |name: &str| word(name).and_then(|word| word.parse::<u64>().ok());
    let sum = |names: &[&str]| names.iter().filter_map(|name| number(name)).sum();
    let kind = match word("type")? {
        "0" => TrafficRowKind::Frontend,
        "1" => TrafficRowKind::Backend,
        "2" => TrafficRowKind::Server,
        _ => return None,
    };
    let own = match kind {
        TrafficRowKind::Server => word("svname")?,
        _ => "",
    };
    let sessions = number("rate").unwrap_or_default();
    let status = word("status").unwrap_or_default();
    let limit = word("slim").filter(|limit| !limit.is_empty() && kind != TrafficRowKind::Backend);
    let limit = limit.map(|limit| (LIMIT.to_owned(), limit.to_owned()));
    Some(TrafficRow {
        proxy: word("pxname")?.to_owned(),
        name: own.to_owned(),
        kind,
        status: status.to_owned(),
        for_s: number("lastchg"),
        queued: number("qcur"),
        sessions: number("scur").unwrap_or_default(),
        rate: number("req_rate").unwrap_or_default().max(sessions),
        bytes: ["bin", "bout"].map(|name| number(name).unwrap_or_default()),
        errors: sum(&["ereq", "econ", "eresp"]),
        takes_ms: number("ttime").filter(|_| number("stot") > Some(0)),
        percentiles_ms: None,
        failed: number("hrsp_5xx"),
        check: check(status, &word),
        settings: limit.into_iter().collect(),
    })
}

/// Returns the reason for the status of a row: the result of its agent or its health check, or that
/// an operator or the configuration took the server out of service.
fn check<'a>(status: &str, word: &dyn Fn(&str) -> Option<&'a str>) -> String {
    let names = match status {
        status if status.contains("(agent)") => ["agent_status", "agent_code", "last_agt"],
        "DRAIN" | "MAINT" => return "by an operator, or by its line".to_owned(),
        _ => ["check_status", "check_code", "last_chk"],
    };
    let [status, code, text] = names.map(|name| word(name).unwrap_or_default());
    let text = match text {
        "" => String::new(),
        // Quotes the text, which the server chooses.
        text => format!("\"{text}\""),
    };
    let all = [status, code, &text].into_iter();
    let all: Vec<&str> = all.filter(|words| !words.is_empty()).collect();
    all.join(" ")
}

/// Splits a line of CSV into values. Quotes enclose a value with a comma, and a doubled quote is a
/// quote.
fn values(line: &str) -> Vec<String> {
    let (mut all, mut one, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                one.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => all.push(std::mem::take(&mut one)),
            c => one.push(c),
        }
    }
    all.push(one);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::ANSWER;

    #[test]
    fn rows_are_read_by_the_names_of_their_columns() {
        let traffic = read(ANSWER);
        let names = traffic.rows.iter();
        let names: Vec<String> = names
            .map(|row| format!("{} {}", row.proxy, row.name))
            .collect();
        let expected = "web ,app ,app one,app two,app three,app four,mail ,dead ,dead s1";
        assert_eq!(names, expected.split(',').collect::<Vec<_>>());
        let one = &traffic.rows[2];
        assert_eq!(one.check, "L7OK 200 \"OK, \"fine\"\"");
        assert_eq!(
            (one.rate, one.errors, one.bytes, one.takes_ms, one.for_s),
            (170, 3, [900, 1800], Some(12), Some(3723))
        );
        assert_eq!(
            (one.percentiles_ms, traffic.rows[0].percentiles_ms),
            (Some([8, 31, 1_791]), Some([7, 23, 895]))
        );
        assert_eq!(traffic.rows[1].percentiles_ms, None);
        assert_eq!((one.failed, traffic.rows[3].takes_ms), (Some(4), None));
        assert_eq!(traffic.rows[4].check, "L7STS \"no disk\"");
        assert!(traffic.rows[5].check.contains("operator"));
        assert_eq!(
            traffic.tables,
            [StickTableHead {
                name: "app".to_owned(),
                kind: "ip".to_owned(),
                size: 1_000,
                used: 7,
            }]
        );
        assert_eq!((traffic.rate(), traffic.bytes()), (341, [1005, 2006]));
        assert_eq!(
            (traffic.fact("CurrConns"), traffic.fact("Idle_pct")),
            ("42", "-")
        );
    }

    #[test]
    fn settings_of_orders_are_read() {
        let servers = "\
1
# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_check_state \
srv_agent_state srv_fqdn srv_port srvrecord srv_use_ssl
3 app 1 one 192.0.2.1 2 0 200 100 6 0 - 80 - 0
3 app 2 two 2001:db8::2 2 0 100 100 2 0 - 80 - 1
3 app 3 three 192.0.2.3 0 0 50 100 0 7 web.example.org 80 - 0

";
        let traffic = read(&format!("{ANSWER}{servers}"));
        let of = |name: &str| {
            let row = traffic.rows.iter().find(|row| row.named() == name).unwrap();
            let settings = row.settings.iter().filter(|(name, _)| *name != LIMIT);
            let settings = settings.map(|(name, value)| format!("{name} {value}"));
            settings.collect::<Vec<_>>().join(", ")
        };
        assert_eq!(
            of("server app/one"),
            "TLS off, address 192.0.2.1:80, weight 200"
        );
        assert_eq!(
            of("server app/two"),
            "TLS on, address [2001:db8::2]:80, health checking stopped"
        );
        // The agent may have set the weight and reported the server as down, so neither is an
        // operator's change.
        assert_eq!(of("server app/three"), "TLS off, host name web.example.org");
    }
}
