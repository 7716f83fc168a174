//! Tests lines that apply to some nodes only (`on NODE`).

use super::{OTHERS, codes, load_as, load_both, told};
use crate::load::{Loaded, PART, replay};
use configuration::{LoadOptions, ON_DOCUMENTED};
use model::config::BindAddress;

fn node(name: &str) -> LoadOptions {
    LoadOptions {
        node: Some(name.to_owned()),
        ..LoadOptions::default()
    }
}

fn host(name: &str) -> LoadOptions {
    LoadOptions {
        host: name.to_owned(),
        ..LoadOptions::default()
    }
}

/// Returns the listeners of the first proxy: `alpha` for port 1, and so on.
fn ports(loaded: &Loaded) -> Vec<String> {
    let config = loaded.config.as_ref();
    let config = config.unwrap_or_else(|| panic!("{}", told(loaded)));
    let binds = config.proxies[0].binds.iter();
    let port = |bind: &model::config::Bind| match &bind.address {
        BindAddress::Inet(address) => address.to_string(),
        other => panic!("{other:?}"),
    };
    binds.map(port).collect()
}

const TEXT: &str = "\
defaults
    mode http
    timeout client 1s
    timeout connect 1s
    timeout server 1s
listen a
    on alpha bind 127.0.0.1:1
    on beta,gamma bind 127.0.0.1:2
    bind 127.0.0.1:9
    server s 127.0.0.1:80
";

#[test]
fn a_line_counts_on_its_nodes_only_in_the_order_of_the_file() {
    let of = |name: &str| {
        let loaded = load_as(TEXT, node(name));
        assert_eq!(told(&loaded), "", "{name}");
        ports(&loaded)
    };
    assert_eq!(of("alpha"), ["127.0.0.1:1", "127.0.0.1:9"]);
    assert_eq!(of("beta"), ["127.0.0.1:2", "127.0.0.1:9"]);
    assert_eq!(of("GAMMA.example.com"), ["127.0.0.1:2", "127.0.0.1:9"]);
    assert_eq!(of("delta"), ["127.0.0.1:9"]);
}

#[test]
fn a_frontend_whose_binds_are_for_other_nodes_says_so() {
    let text = TEXT.replace("    bind 127.0.0.1:9\n", "");
    let of = |text: &str, name: &str| {
        let loaded = load_as(text, node(name));
        let found = loaded.diagnostics.iter().find(|d| d.code.id == "W0103");
        found.map(|d| (d.message.clone(), d.label.clone()))
    };
    assert_eq!(of(&text, "alpha"), None);
    let (message, label) = of(&text, "delta").unwrap();
    assert_eq!(
        message,
        "listen 'a' has no 'bind' for this node, so no client can reach it here"
    );
    assert!(
        format!("{label:?}").contains("for other nodes"),
        "{label:?}"
    );
    // Without `on NODE` lines, the plain warning about a missing `bind` is given.
    let none = text
        .replace("on alpha bind", "# ")
        .replace("on beta,gamma bind", "# ");
    let (message, label) = of(&none, "delta").unwrap();
    assert!(message.ends_with("has no 'bind', so no client can reach it"));
    assert!(!format!("{label:?}").contains("other nodes"), "{label:?}");
}

#[test]
fn without_a_node_the_host_says_and_without_a_host_the_first_node_is_meant() {
    let of = |options| ports(&load_as(TEXT, options));
    assert_eq!(of(host("beta.example.com"))[0], "127.0.0.1:2");
    assert_eq!(of(host("elsewhere")), ["127.0.0.1:9"]);
    assert_eq!(of(LoadOptions::default())[0], "127.0.0.1:1");
    let named = format!("{TEXT}node beta\n    hostname lb-2.example.com\nnode alpha\nnode gamma\n");
    assert_eq!(ports(&load_as(&named, host("lb-2")))[0], "127.0.0.1:2");
    // The first `node` section of the file takes precedence over the first line with `on`.
    assert_eq!(
        ports(&load_as(&named, LoadOptions::default()))[0],
        "127.0.0.1:2"
    );
    let local = format!(
        "{TEXT}node alpha\n    address 192.0.2.1\nnode gamma\n    address 127.0.0.1\nnode beta\n"
    );
    let options = LoadOptions {
        resolve_names: true,
        ..host("elsewhere")
    };
    assert_eq!(ports(&load_as(&local, options))[0], "127.0.0.1:2");
    // A machine with the name of a node is not also the node whose address it has taken.
    let options = LoadOptions {
        resolve_names: true,
        ..host("alpha")
    };
    assert_eq!(
        ports(&load_as(&local, options)),
        ["127.0.0.1:1", "127.0.0.1:9"]
    );
}

#[test]
fn the_lines_of_other_nodes_are_checked_but_for_what_only_they_have() {
    let text = TEXT.replace(
        "    bind 127.0.0.1:9\n",
        "    bind 127.0.0.1:9\n    on beta bnid 127.0.0.1:3\n    on beta http-request deny if { src -f /nonexistent/list }\n    \
         on beta bind :443 ssl crt /nonexistent/cert.pem\n    on gamma timeout client never\n    on alpha maxconn 5 6\n",
    );
    let loaded = load_as(&text, node("alpha"));
    assert!(loaded.config.is_none());
    insta::assert_snapshot!(told(&loaded));
    let own = load_as(&text, node("beta"));
    assert!(
        told(&own).contains("/nonexistent/cert.pem"),
        "{}",
        told(&own)
    );
}

#[test]
fn what_contradicts_itself_on_another_node_only_is_told_with_its_name() {
    let text = TEXT.replace(
        "    on alpha bind",
        "    on beta default_backend nowhere\n    on alpha bind",
    );
    let loaded = load_as(&text, node("alpha"));
    assert!(loaded.config.is_none());
    let notes: Vec<_> = loaded
        .diagnostics
        .iter()
        .flat_map(|d| d.notes.clone())
        .collect();
    assert!(
        notes.iter().any(|note| note == "as node 'beta'"),
        "{notes:?}"
    );
}

#[test]
fn a_node_that_nobody_is_is_warned_about_where_nodes_are_known() {
    let named = format!("{TEXT}node alpha\nnode betta\nnode gamma\n");
    let loaded = load_as(&named, node("alpha"));
    assert_eq!(
        told(&loaded),
        "test.cfg:8:8: warning[W0125]: no node is called 'beta', so this line never applies (did you mean 'betta'?)\n"
    );
    assert!(loaded.config.is_some());
    let options = LoadOptions {
        nodes: vec!["alpha".to_owned(), "beta".to_owned()],
        ..node("alpha")
    };
    let text = TEXT.replace("beta,gamma", "beta");
    assert_eq!(told(&load_as(&text, options.clone())), "");
    assert_eq!(codes(&load_as(TEXT, options)), ["W0125"]);
}

#[test]
fn what_cannot_be_for_one_node_is_refused() {
    for (line, wanted) in [
        ("on", "E0113"),
        ("on alpha", "E0113"),
        ("on alpha, bind :1", "E0113"),
        ("on a/b bind :1", "E0113"),
        ("on alpha frontend b", "E0113"),
        ("on alpha on beta bind :1", "E0102"),
    ] {
        let text = TEXT.replace("    bind 127.0.0.1:9\n", &format!("    {line}\n"));
        let loaded = load_as(&text, node("alpha"));
        assert_eq!(codes(&loaded), [wanted], "{line}: {}", told(&loaded));
    }
    let text = format!("{TEXT}config\n    on alpha judge 5s\n");
    assert_eq!(codes(&load_as(&text, node("alpha"))), ["E0113"]);
    let text = "global\n    on alpha node a\n    on alpha maxconn 5\n";
    assert_eq!(told(&load_as(text, node("alpha"))), "");
    assert_eq!(
        codes(&load_as("on alpha bind :1\n", node("alpha"))),
        ["E0104"]
    );
}

#[test]
fn sections_of_other_roles_come_without_the_lines_of_other_nodes() {
    let text = format!(
        "{TEXT}virtual-ip www\n    on alpha interface eth0\n    on beta interface eth1\n    address 192.0.2.1\n"
    );
    let of = |name| load_both(&text, node(name)).1.remove(0);
    let head = "virtual-ip www";
    assert_eq!(of("beta"), [head, "interface eth1", "address 192.0.2.1"]);
    assert_eq!(of("alpha"), [head, "interface eth0", "address 192.0.2.1"]);
    // Lines for another node are built as well, as that node reads them.
    let wrong = text.replace("on alpha interface", "on alpha nonsense");
    let loaded = load_as(&wrong, node("beta"));
    assert_eq!(codes(&loaded), ["E0104"]);
    let notes = loaded.diagnostics.iter().flat_map(|told| &told.notes);
    assert_eq!(notes.collect::<Vec<_>>(), ["as node 'alpha'"]);
}

#[test]
fn a_replay_is_for_the_same_node_and_reads_the_files_once() {
    let loaded = load_as(TEXT, node("beta"));
    let again = replay(loaded.recording.clone());
    assert_eq!(ports(&again), ports(&loaded));
    let wrong = load_as(
        &TEXT.replace("on alpha bind", "on alpha bnid"),
        node("beta"),
    );
    assert_eq!(codes(&wrong), ["E0101"]);
    assert_eq!(told(&replay(wrong.recording)), "");
}

#[test]
fn the_example_of_the_manual_is_good_in_a_place_that_it_names() {
    let text = TEXT.replace("bind 127.0.0.1:9", ON_DOCUMENTED.example);
    let loaded = load_as(&text, node("alpha"));
    assert_eq!(told(&loaded), "");
    for place in ON_DOCUMENTED.places {
        assert!(
            PART.sections.has(place) || OTHERS.sections.has(place),
            "{place}"
        );
    }
}

#[test]
fn a_version_is_named_to_people_as_it_was_loaded_also_by_a_replay() {
    let options = LoadOptions {
        version: "version 12 by anna: \"more\"".to_owned(),
        ..node("beta")
    };
    let loaded = load_as(TEXT, options);
    let again = replay(loaded.recording.clone());
    for loaded in [&loaded, &again, &load_as(TEXT, node("beta"))] {
        let config = loaded.config.as_ref().expect("it is good");
        let named = !loaded.recording.options.version.is_empty();
        let wanted = named.then_some("version 12 by anna: \"more\"");
        assert_eq!(config.global.version.as_deref(), wanted);
    }
}
