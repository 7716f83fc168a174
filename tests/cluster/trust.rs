//! Tests which members are refused: a certificate of another CA, a token that was used, a member
//! that was removed. Also what a stolen disk of the arbiter reveals.

use crate::cluster::site::{Machine, SECRET, SOON, Site, configuration, holds};
use lab::eventually;
use std::fs;

fn members(machine: &Machine) -> usize {
    let status = machine.status().unwrap_or_default();
    status["members"].as_array().map_or(0, Vec::len)
}

#[test]
fn token_is_valid_once_and_never_when_changed() {
    lab::skip_unless_root!();
    let mut site = Site::empty("tokens");
    site.alpha
        .command(&["cluster", "init", "shop", "--name", "alpha"])
        .well();
    site.alpha.start();
    let token = site.alpha.token(&["cluster", "invite"]);
    let half = token.len() / 2;
    // Letters of either case are the same; digits are not.
    let other = if token.as_bytes()[half] == b'7' {
        "8"
    } else {
        "7"
    };
    let changed = format!("{}{other}{}", &token[..half], &token[half + 1..]);
    let join = |machine: &Machine, token: &str| {
        machine.command(&["cluster", "join", token, "--name", machine.name()])
    };
    join(&site.beta, &changed).refused(&[]);
    assert_eq!(members(&site.alpha), 1);
    join(&site.beta, &token).well();
    site.beta.start();
    assert!(
        eventually(SOON, || members(&site.alpha) == 2),
        "{}",
        site.tell()
    );
    // Another machine uses the token a second time.
    join(&site.arbiter, &token).refused(&["token"]);
    assert_eq!(members(&site.alpha), 2, "{}", site.tell());
    // A token for an arbiter cannot add a node.
    let token = site.alpha.token(&["cluster", "invite", "--arbiter"]);
    join(&site.arbiter, &token).refused(&["arbiter"]);
    assert_eq!(members(&site.alpha), 2, "{}", site.tell());
}

#[test]
fn a_member_of_another_cluster_with_the_same_name_is_refused() {
    lab::skip_unless_root!();
    let mut site = Site::new("forged");
    let before = site.leader();
    // Somebody founds a cluster of the same name on the arbiter's machine, with the
    // arbiter's address: all is as it was, except for the keys.
    site.arbiter.kill();
    let real = site.arbiter.state();
    let forged = site.arbiter.scratch().join("forged");
    site.arbiter.set_state(&forged);
    site.arbiter
        .command(&["cluster", "init", "shop", "--name", "arbiter"])
        .well();
    site.arbiter.start();
    let away = |status: &serde_json::Value| {
        let members = status["members"].as_array().cloned().unwrap_or_default();
        let arbiter = members.iter().find(|member| member["name"] == "arbiter");
        arbiter.is_some_and(|arbiter| arbiter["reach"] == "away")
    };
    assert!(site.alpha.tells(away), "{}", site.tell());
    site.alpha.apply(&configuration("two"), &["--now"]).well();
    assert_eq!(members(&site.alpha), 3);
    // The real arbiter is accepted again.
    site.arbiter.kill();
    site.arbiter.set_state(&real);
    site.arbiter.start();
    let (_, term) = site.leader();
    assert!(term >= before.1);
}

#[test]
fn removed_member_cannot_return_and_arbiter_has_no_secret() {
    lab::skip_unless_root!();
    let mut site = Site::new("removed");
    site.leader();
    site.apply("two").well();
    // Content that a thief of the arbiter's disk finds.
    let state = site.arbiter.state();
    assert!(!holds(&state, SECRET.as_bytes()), "a secret on the arbiter");
    assert!(
        !holds(&state, b"server one"),
        "a configuration on the arbiter"
    );
    for file in ["authority.key", "sealing.key", "accepted.set"] {
        assert!(!state.join(file).exists(), "{file} on the arbiter");
    }
    // The nodes have the text; otherwise the search above could find it nowhere.
    assert!(holds(&site.alpha.state(), b"server one"));
    site.alpha.command(&["cluster", "remove", "arbiter"]).well();
    assert!(
        eventually(SOON, || members(&site.alpha) == 2),
        "{}",
        site.tell()
    );
    // The removed arbiter starts again with all its state.
    site.arbiter.kill();
    site.arbiter.start();
    let told = eventually(SOON, || {
        let said = site.arbiter.said() + &site.arbiter.command(&["cluster", "status"]).text();
        said.contains("removed")
    });
    assert!(told, "{}", site.tell());
    assert_eq!(members(&site.alpha), 2, "{}", site.tell());
    site.apply("three").well();
    // Another arbiter takes its place.
    site.arbiter.kill();
    fs::remove_dir_all(site.arbiter.state()).unwrap();
    let token = site.alpha.token(&["cluster", "invite", "--arbiter"]);
    let join = ["arbiter", "join", &token, "--name", "arbiter"];
    site.arbiter.command(&join).well();
    site.arbiter.start();
    site.leader();
    assert!(!holds(&site.arbiter.state(), SECRET.as_bytes()));
}

/// Returns a configuration with a marker wherever it has a secret.
fn marked(word: &str, marker: &str) -> String {
    let more = format!(
        "\nbackend marked\n\tstats enable\n\tstats auth root:{marker}\n\thttp-request set-header Authorization \
         {marker}\n\thttp-request set-header X-Api-Key {marker}\n\toption httpchk GET /?token={marker}\n\
         \nuserlist marked\n\tuser eve insecure-password {marker} # before: {marker}\n"
    );
    let text = configuration(word) + &more;
    text.replace(
        "\tfailover 300ms\n",
        &format!("\tfailover 300ms\n\tnotify \"/bin/true -p{marker}\"\n\ttrack script \"/bin/true {marker}\"\n"),
    )
}

#[test]
fn no_log_report_or_arbiter_shows_a_secret() {
    lab::skip_unless_root!();
    const MARKER: &str = "mArKer7Q";
    let site = Site::new("marked");
    site.leader();
    let apply = |text: &str| site.alpha.apply(text, &["--now"]);
    let mut told = String::new();
    told += &apply(&marked("two", MARKER)).well().text();
    assert!(site.serves_everywhere("two"), "{}", site.tell());
    // Three mistakes: in the line of a secret, in another line, and in a line that only beta has.
    let at_line = marked("three", MARKER).replace("# before", "bogus # before");
    let beside = marked("three", MARKER).replace("\tstats enable\n", "\tstats enbale\n");
    let at_beta = format!("\ton beta http-request set-header Authorization {MARKER} bogus\n");
    let at_beta = marked("three", MARKER) + "\nbackend of_beta\n" + &at_beta;
    for text in [at_line, beside, at_beta] {
        told += &apply(&text).refused(&[]).text();
    }
    // Applies a version that changes each secret, for the output of differences.
    told += &apply(&marked("three", "other7Q")).well().text();
    for node in site.nodes() {
        for words in [
            &["config", "show"][..],
            &["config", "log"],
            &["config", "log", "--json"],
            &["config", "diff", "2", "1"],
            &["cluster", "status", "--json"],
            &["config", "show", "3"],
            &["config", "status"],
            &["status", "--json"],
            &["address"],
        ] {
            told += &node.command(words).text();
        }
    }
    for machine in site.machines() {
        told += &machine.said();
    }
    let shown: Vec<&str> = told.lines().filter(|line| line.contains(MARKER)).collect();
    assert!(shown.is_empty(), "{shown:#?}");
    assert!(
        !holds(&site.arbiter.state(), MARKER.as_bytes()),
        "on the arbiter's disk"
    );
    for machine in site.machines() {
        let store = fs::read(machine.state().join("store.redb")).unwrap();
        let found = store
            .windows(MARKER.len())
            .any(|window| window == MARKER.as_bytes());
        assert!(!found, "in the replicated log of {}", machine.name());
    }
    // The nodes have the text; otherwise the search above could find it nowhere.
    assert!(holds(&site.alpha.state(), b"other7Q"));
}

#[test]
fn second_machine_with_the_state_of_a_member_is_reported_by_every_member() {
    lab::skip_unless_root!();
    let site = Site::new("cloned");
    site.leader();
    let mut copy = site.machine_more("copy", 4);
    let state = copy.scratch().join("copied");
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .args([&site.beta.state(), &state])
        .status();
    assert!(copied.unwrap().success());
    copy.set_state(&state);
    copy.start();
    for machine in site.machines() {
        let told = machine.tells_words(&["two machines run as beta"]);
        assert!(told, "{}: {}", machine.name(), site.tell());
    }
    copy.kill();
}

/// Returns the number of members without a certificate of the newest CA, and whether its
/// replacement is in progress.
fn uncertified(status: &serde_json::Value) -> (usize, bool) {
    let authority = &status["authority"];
    let uncertified = authority["uncertified"].as_array().map_or(0, Vec::len);
    let under_way = authority["next"].is_string() || authority["exposed"] == true;
    (uncertified, under_way)
}

fn authority(machine: &Machine) -> serde_json::Value {
    let status = machine.status().unwrap_or_default();
    status["authority"]["present"].clone()
}

#[test]
fn ca_is_replaced_under_load_and_absent_member_returns() {
    lab::skip_unless_root!();
    let mut site = Site::new("authority");
    site.leader();
    let first = authority(&site.alpha);
    assert_eq!(first.as_str().map(str::len), Some(64), "digits: {first}");
    let token = site.alpha.token(&["cluster", "invite"]);
    let load = site.load();
    site.arbiter.kill();
    let arbiter_is_away = |status: &serde_json::Value| {
        let members = status["members"].as_array().cloned().unwrap_or_default();
        let arbiter = members.iter().find(|member| member["name"] == "arbiter");
        arbiter.is_some_and(|arbiter| arbiter["reach"] == "away")
    };
    for node in site.nodes() {
        assert!(node.tells(arbiter_is_away), "{}", site.tell());
    }
    let rotate = ["cluster", "rotate", "--authority"];
    let said = site.beta.command(&rotate).well().text();
    assert!(said.contains("arbiter"), "{said}");
    site.apply("two").well();
    let second = authority(&site.alpha);
    assert_ne!(first, second);
    assert!(
        site.alpha.tells_words(&["arbiter: no certificate"]),
        "{}",
        site.tell()
    );
    // Every member refuses an earlier token with an error message.
    let scratch = site.arbiter.scratch().join("stranger");
    let real = site.arbiter.state();
    site.arbiter.set_state(&scratch);
    let join = ["cluster", "join", &token, "--name", "stranger"];
    site.arbiter.command(&join).refused(&["invite"]);
    site.arbiter.set_state(&real);
    // The member missed the whole replacement.
    site.arbiter.start();
    let all = |status: &serde_json::Value| uncertified(status) == (0, false);
    assert!(site.arbiter.tells(all), "{}", site.tell());
    site.leader();
    // Replaces the CA with all members present, and during a change.
    site.alpha.command(&rotate).well();
    site.apply("three").well();
    for machine in site.machines() {
        assert!(machine.tells(all), "{}", site.tell());
    }
    assert_ne!(second, authority(&site.alpha));
    assert!(
        eventually(SOON, || site.serves_everywhere("three")),
        "{}",
        site.tell()
    );
    load.stop().without_a_failure();
    site.arbiter.command(&rotate).refused(&["arbiter"]);
    let state = site.arbiter.state();
    for file in ["authority.key", "sealing.key"] {
        assert!(!state.join(file).exists(), "{file} on the arbiter");
    }
    // All members restart with the CA from their disks.
    for machine in [&mut site.alpha, &mut site.beta, &mut site.arbiter] {
        machine.kill();
        machine.start();
    }
    site.leader();
    site.apply("four").well();
}

#[test]
fn removed_node_is_useless_to_a_thief_and_replaced() {
    lab::skip_unless_root!();
    let mut site = Site::new("exposed");
    site.leader();
    let first = authority(&site.alpha);
    site.beta.kill();
    site.alpha.command(&["cluster", "remove", "beta"]).well();
    // The removed node knew the CA key, so the CA is replaced automatically.
    let replaced = |status: &serde_json::Value| {
        uncertified(status) == (0, false) && status["authority"]["present"] != first
    };
    assert!(site.alpha.tells(replaced), "{}", site.tell());
    assert!(site.arbiter.tells(replaced), "{}", site.tell());
    site.beta.start();
    let told = eventually(SOON, || {
        site.beta
            .command(&["cluster", "status"])
            .text()
            .contains("removed")
    });
    assert!(told, "{}", site.tell());
    assert_eq!(members(&site.alpha), 2, "{}", site.tell());
    site.beta.kill();
    fs::remove_dir_all(site.beta.state()).unwrap();
    let token = site.arbiter.command(&["cluster", "invite"]);
    token.refused(&["arbiter"]);
    let token = site.alpha.token(&["cluster", "invite"]);
    site.beta
        .command(&["cluster", "join", &token, "--name", "beta"])
        .well();
    site.beta.start();
    site.leader();
    assert!(
        eventually(SOON, || site.serves_everywhere("one")),
        "{}",
        site.tell()
    );
    // The new node has the key of the CA, and can replace the CA.
    site.beta
        .command(&["cluster", "rotate", "--authority"])
        .well();
    site.leader();
}
