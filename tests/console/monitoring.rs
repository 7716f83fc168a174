//! Tests the dashboard and the alerts in packaging/monitoring: a node with every part exports each
//! metric that they name.

use crate::cluster::site::{SOON, configuration, vip};
use crate::program::root;
use crate::volume::site::{SIZE, VolumeSite};
use lab::eventually;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Prefixes of the exported metrics: those of this program, of HAProxy's exporter, and of
/// keepalived_exporter.
const PREFIXES: [&str; 3] = ["evenkeel_", "haproxy_", "keepalived_"];

/// All parts that the configuration of the site does not have. The volume `data` has
/// checksums, because only those have metrics of damage; the test reads it, for its latency.
const FURTHER: &str = "
userlist staff
\tuser vera insecure-password plum

console
\tbind 127.0.0.1:8600 plain
\tusers staff
\trole admin user vera

volume mail
\tsize {size}
\ton alpha beta
\tbacking file {volumes}

volume data
\tsize 1m
\ton alpha
\tbacking file {volumes}
\tverify yes

guest mail
\tprefer alpha beta
\tmemory 64m
\tdisk mail

farm desks
\tbind :3389 crt {dir}/desks.pem
\ttoken-key {dir}/farm.key
\thost one 10.60.0.31:3389

boot lan
\tinterface eth0
\tnetwork 10.60.0.0/24
\trange 10.60.0.200 10.60.0.210
";

/// Returns the names of metrics in a text, by what they begin with.
fn named(text: &str) -> BTreeSet<&str> {
    let words = text.split(|byte: char| !byte.is_ascii_alphanumeric() && byte != '_');
    words
        .filter(|word| PREFIXES.iter().any(|prefix| word.starts_with(prefix)))
        .collect()
}

/// Returns the names of the metrics that a response exports.
fn exported(metrics: &str) -> BTreeSet<&str> {
    let types = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "));
    types
        .filter_map(|line| line.split_whitespace().next())
        .collect()
}

/// Returns the queries of all panels and variables of a dashboard of Grafana.
fn queries(dashboard: &str) -> Vec<String> {
    let dashboard: Value = serde_json::from_str(dashboard).expect("JSON");
    let of_panel = |panel: &Value| -> Vec<Value> {
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        targets
            .iter()
            .map(|target| target["expr"].clone())
            .collect()
    };
    let panels = dashboard["panels"].as_array().expect("panels");
    let variables = dashboard["templating"]["list"]
        .as_array()
        .expect("variables");
    let of_variables = variables
        .iter()
        .map(|variable| variable["query"]["query"].clone());
    let all = panels.iter().flat_map(of_panel).chain(of_variables);
    all.filter_map(|query| query.as_str().map(str::to_owned))
        .collect()
}

/// Makes a certificate with its key for the farm.
fn certificate(dir: &Path) {
    let key = dir.join("desks-key.pem");
    let certificate = dir.join("desks.pem");
    let mut openssl = Command::new("openssl");
    openssl
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-noenc",
        ])
        .args(["-days", "30", "-subj", "/CN=desks", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate);
    let output = openssl.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let both = fs::read_to_string(&certificate).unwrap() + &fs::read_to_string(&key).unwrap();
    fs::write(&certificate, both).unwrap();
}

#[test]
fn dashboard_and_alerts_name_only_exported_metrics() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("curl");
    lab::skip_unless_installed!("openssl");
    let monitoring = root().join("packaging/monitoring");
    let dashboard = fs::read_to_string(monitoring.join("grafana-dashboard.json")).unwrap();
    let alerts = fs::read_to_string(monitoring.join("alerts.yml")).unwrap();
    let queries = queries(&dashboard);
    assert!(queries.len() > 30, "{} queries", queries.len());
    let of_queries = queries.join("\n");
    let wanted: BTreeSet<&str> = named(&of_queries).union(&named(&alerts)).copied().collect();
    assert!(wanted.len() > 30, "{wanted:?}");

    // Each node has files of its own, and both copies of the volume `mail` are complete.
    let volumes = VolumeSite::new("console-monitoring");
    let site = &volumes.site;
    let dir = site.alpha.scratch();
    fs::write(dir.join("farm.key"), [7; 32]).unwrap();
    certificate(dir);
    let further = FURTHER
        .replace("{volumes}", &volumes.backing())
        .replace("{size}", &SIZE.to_string())
        .replace("{dir}", &dir.display().to_string());
    let text = configuration("two") + &further;
    site.alpha.apply(&text, &["--now"]).well();
    let mut answer = String::new();
    let (raw, exported_to) = (dir.join("data.raw"), dir.join("exported.raw"));
    fs::write(&raw, vec![7; 1 << 20]).unwrap();
    let [raw, to] = [&raw, &exported_to].map(|path| path.display().to_string());
    let import = ["volume", "import", "data", &raw, "--raw"];
    let mut imported = false;
    let has_all = || {
        // Fails while the role starts, and once the volume exists.
        site.alpha.command(&["volume", "create", "data"]);
        imported = imported || site.alpha.command(&import).good;
        let _ = fs::remove_file(&exported_to);
        site.alpha.command(&["volume", "export", "data", &to]);
        // A request of each proxy, for the summaries of durations.
        let _ = site.ask(vip(), "/");
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--user", "vera:plum"])
            .arg("http://127.0.0.1:8600/metrics");
        answer = site.alpha.host.run(curl).unwrap_or_default();
        wanted.is_subset(&exported(&answer))
    };
    let complete = eventually(SOON, has_all);
    let exported = exported(&answer);
    let missing: Vec<_> = wanted.difference(&exported).collect();
    assert!(complete, "not exported: {missing:?}\n{}", site.tell());
}
