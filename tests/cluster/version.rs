//! Tests versions of the configuration: how a version reaches both nodes, how a bad one is rolled
//! back, and what is reported.

use crate::cluster::site::{SECRET, SOON, Said, Site, VIP, configuration, failed, vip};
use lab::{Echo, eventually};
use std::net::SocketAddr;
use std::thread;

#[test]
fn apply_changes_both_nodes_without_touching_connections() {
    lab::skip_unless_root!();
    let site = Site::new("now");
    site.leader();
    let load = site.load();
    site.apply("two").well();
    for node in site.nodes() {
        assert_eq!(
            site.word_of(node).as_deref(),
            Some("two"),
            "{}",
            site.tell()
        );
    }
    // Beta accepts a change, too, even if it cannot write the file `seen.new`.
    std::fs::create_dir(site.beta.state().join("seen.new")).unwrap();
    site.beta.apply(&configuration("three"), &["--now"]).well();
    assert!(site.serves_everywhere("three"), "{}", site.tell());
    let fared = load.stop();
    fared.without_a_failure();
    for records in &fared.own {
        assert!(records.iter().all(|record| record.connection == 1));
    }
}

#[test]
fn version_refused_by_one_node_changes_nothing() {
    lab::skip_unless_root!();
    let site = Site::new("refused");
    site.leader();
    let load = site.load();
    let broken = configuration("two").replace("bind :80", "bnid :80");
    let said = site.alpha.apply(&broken, &["--now"]);
    said.refused(&["bnid", "bind"]);
    // A version whose tests fail is refused.
    let tested = |word: &str| {
        let expected = "test\n\texpect /version on www status 200\n\texpect / on www server farm/";
        format!("{}{expected}{word}\n", configuration("two"))
    };
    let said = site.alpha.apply(&tested("two"), &["--now"]);
    said.refused(&[
        "E0873",
        "expected server farm/two, but server farm/one gets it",
    ]);
    // On beta another process uses the port.
    let taken = SocketAddr::from(([0, 0, 0, 0], 81));
    let echo = Echo::start(&site.beta.host, taken).unwrap();
    let two = tested("one").replace("\tbind :80\n", "\tbind :80\n\tbind :81\n");
    site.alpha.apply(&two, &["--now"]).refused(&["beta", "81"]);
    for node in site.nodes() {
        assert!(site.serves(node, "one"), "{}", site.tell());
    }
    drop(echo);
    site.alpha.apply(&two, &["--now"]).well();
    assert!(site.serves_everywhere("two"), "{}", site.tell());
    load.stop().without_a_failure();
}

fn without_servers(word: &str) -> String {
    configuration(word)
        .replace("10.60.0.181:80", "10.60.0.181:82")
        .replace("10.60.0.182:80", "10.60.0.182:82")
}

#[test]
fn unhealthy_version_rolls_back_without_failed_requests() {
    lab::skip_unless_root!();
    let site = Site::new("worse");
    site.leader();
    let load = site.load();
    let said = site
        .alpha
        .apply(&without_servers("two"), &["--judge", "6s"]);
    said.refused(&["rolled back"]);
    assert!(
        eventually(SOON, || site.serves_everywhere("one")),
        "{}",
        site.tell()
    );
    let fared = load.stop();
    // alpha has the address, so beta tried the version first.
    assert!(
        failed(&fared.own[0]).is_empty(),
        "{:?}",
        failed(&fared.own[0])
    );
    assert!(
        failed(&fared.shared).is_empty(),
        "{:?}",
        failed(&fared.shared)
    );
    let log = site.alpha.command(&["config", "log"]).well().out;
    assert!(log.contains("rolled back"), "{log}");
    // The next version is accepted.
    site.apply("three").well();
    let serves = || site.serves_everywhere("three");
    assert!(eventually(SOON, serves), "{}", site.tell());
}

#[test]
fn takeover_during_a_canary_serves_the_accepted_version() {
    lab::skip_unless_root!();
    let mut site = Site::new("takeover");
    site.leader();
    let two = configuration("two");
    let off = thread::scope(|scope| {
        let site = &site;
        let said = scope.spawn(|| site.beta.apply(&two, &["--judge", "25s"]));
        assert!(
            eventually(SOON, || site.serves(&site.beta, "two")),
            "{}",
            site.tell()
        );
        assert!(site.serves(&site.alpha, "one"), "{}", site.tell());
        let off = site.alpha.host.power_off().unwrap();
        let mut words = Vec::new();
        let served = || {
            let answer = site.ask(vip(), "/version");
            words.extend(answer.map(|answer| answer.text().trim().to_owned()));
            words.len() >= 5
        };
        assert!(eventually(SOON, served), "{}", site.tell());
        assert!(words.iter().all(|word| word == "one"), "{words:?}");
        let said: Said = said.join().unwrap();
        assert!(!said.good, "{said:?}");
        off
    });
    site.alpha.kill();
    drop(off);
    site.alpha.start();
    site.leader();
    // alpha takes its address back, which it may not do with a version on trial.
    let back = || site.serves_everywhere("one") && site.alpha.has(VIP) && !site.beta.has(VIP);
    assert!(eventually(SOON, back), "{}", site.tell());
    site.apply("three").well();
    let serves = || site.serves_everywhere("three");
    assert!(eventually(SOON, serves), "{}", site.tell());
}

#[test]
fn second_concurrent_apply_reports_the_first() {
    lab::skip_unless_root!();
    let site = Site::new("two-authors");
    site.leader();
    let two = configuration("two");
    thread::scope(|scope| {
        let first = scope.spawn(|| site.alpha.apply(&two, &["--judge", "5s"]));
        assert!(
            eventually(SOON, || site.serves(&site.beta, "two")),
            "{}",
            site.tell()
        );
        let second = site.beta.apply(&configuration("three"), &["--now"]);
        second.refused(&["version 2"]);
        first.join().unwrap().well();
    });
    assert!(site.serves_everywhere("two"), "{}", site.tell());
}

#[test]
fn every_change_is_logged_and_can_be_rolled_back() {
    lab::skip_unless_root!();
    let site = Site::new("history");
    site.leader();
    site.apply("two").well();
    let beta = &site.beta;
    let log = beta.command(&["config", "log"]).well().out;
    assert!(log.contains("a change"), "{log}");
    let diff = beta.command(&["config", "diff", "1", "2"]).well().out;
    let lines: Vec<&str> = diff.lines().collect();
    assert!(
        lines
            .iter()
            .any(|l| l.starts_with('-') && l.contains("string one")),
        "{diff}"
    );
    assert!(
        lines
            .iter()
            .any(|l| l.starts_with('+') && l.contains("string two")),
        "{diff}"
    );
    let show = beta.command(&["config", "show"]).well().out;
    assert!(show.contains("string two"), "{show}");
    assert!(!show.contains(SECRET), "a secret is shown: {show}");
    let blame = beta.command(&["config", "blame"]).well().out;
    assert!(blame.contains("string two"), "{blame}");
    beta.command(&["config", "rollback", "1", "-m", "back", "--now"])
        .well();
    assert!(site.serves_everywhere("one"), "{}", site.tell());
    // An unconfirmed version is rolled back.
    let words = ["--now", "--confirm-within", "10s"];
    site.alpha.apply(&configuration("three"), &words);
    assert!(
        eventually(SOON, || site.serves_everywhere("one")),
        "{}",
        site.tell()
    );
    let log = beta.command(&["config", "log"]).well().out;
    assert!(log.contains("confirm"), "{log}");
}

#[test]
fn node_specific_lines_change_without_touching_connections() {
    lab::skip_unless_root!();
    let site = Site::new("on-node");
    site.leader();
    let text = |alpha: &str, beta: &str, port: u16| {
        let own = |node: &str, word: &str| {
            format!(
                "\ton {node} http-request return status 200 content-type text/plain string {word} if {{ path /own }}\n"
            )
        };
        let lines = format!(
            "{}{}\ton beta bind :{port}\n\tdefault_backend",
            own("alpha", alpha),
            own("beta", beta)
        );
        configuration("two").replace("\tdefault_backend", &lines)
    };
    let own = |at: SocketAddr| {
        let answer = site.ask(at, "/own").ok()?;
        Some(answer.text().trim().to_owned())
    };
    let at = |node: &str, port: u16| SocketAddr::new(site.machine(node).service().ip(), port);
    let are = |alpha: &str, beta: &str| {
        let told = [own(at("alpha", 80)), own(at("beta", 80))];
        assert_eq!(
            told,
            [Some(alpha.into()), Some(beta.into())],
            "{}",
            site.tell()
        );
    };
    site.alpha.apply(&text("a", "b", 81), &["--now"]).well();
    are("a", "b");
    assert_eq!(own(at("beta", 81)).as_deref(), Some("b"));
    assert_eq!(own(at("alpha", 81)), None, "only beta listens there");
    let load = site.load();
    site.beta.apply(&text("a", "c", 82), &["--now"]).well();
    are("a", "c");
    assert_eq!(own(at("beta", 82)).as_deref(), Some("c"));
    assert_eq!(own(at("beta", 81)), None);
    let fared = load.stop();
    fared.without_a_failure();
    for records in &fared.own {
        assert!(records.iter().all(|record| record.connection == 1));
    }
    let show = site.alpha.command(&["config", "show"]).well().out;
    assert!(show.contains("on beta bind :82"), "{show}");
}

#[test]
#[ignore = "it takes long: make test-long"]
fn canary_does_not_preempt_an_address() {
    lab::skip_unless_root!();
    let site = Site::new("preempts");
    site.leader();
    // alpha cannot serve, so that beta has the address although alpha is preferred.
    let deaf = site.lan.one_way(&site.alpha.host, &site.farm).unwrap();
    let gone = || site.beta.has(VIP) && !site.alpha.has(VIP);
    assert!(eventually(SOON, gone), "{}", site.tell());
    let two = configuration("two");
    let mut deaf = Some(deaf);
    let mut well_in_judgement = 0;
    thread::scope(|scope| {
        let said = scope.spawn(|| site.beta.apply(&two, &["--judge", "10s"]));
        // alpha does not have the address, so it tries the version first.
        while !said.is_finished() {
            let (had, status) = (site.alpha.has(VIP), site.alpha.status());
            let Some(status) = status else {
                continue;
            };
            if status["configuration"]["accepted"] != 1 {
                break;
            }
            assert!(!had, "it took the address in judgement: {}", site.tell());
            if status["configuration"]["on_trial"] == true {
                drop(deaf.take());
                let members = status["members"].as_array();
                let mut members = members.into_iter().flatten();
                let alpha = members.find(|member| member["name"] == "alpha");
                well_in_judgement += u32::from(alpha.is_some_and(|it| it["servers_up"] == 2));
            }
        }
        said.join().unwrap().well();
    });
    assert!(well_in_judgement > 0, "{}", site.tell());
    let back = || site.alpha.has(VIP) && !site.beta.has(VIP);
    assert!(eventually(SOON, back), "{}", site.tell());
    assert!(site.serves_everywhere("two"), "{}", site.tell());
}
