//! Tests `farm` sections: the resulting configuration, and the errors of wrong sections.

use super::*;
use crate::collection::CollectionId;
use crate::config::{self, Balance, Check, SessionHost, Sessions};
use access::ldap::Security;
use access::user::SecondFactor;
use configuration::outside::{Outside, Prepared, PreparedFile, Secret};
use configuration::{
    Account, Accounts, Export, LoadOptions, Loaded, ObjectKind, PartDraft, Password, Recording,
    SectionKeywords,
};
use lab::pki::{Authority, Leaf};
use language::source::Text;
use language::{ConfigLine, Environment, Facts, render};
use protocol::vitals::Service;

const GATEWAY: &str = "gateway https://desktop.example.org/remoteDesktopGateway/";
const BEGIN: &[&str] = &["bind 127.0.0.1:3389 crt /desktop.pem", "host ts1 10.0.0.11"];

fn outside() -> Outside {
    let authority = Authority::new("Test CA").unwrap();
    let leaf = Leaf {
        names: &["desktop.example.org"],
        ..Leaf::default()
    };
    let bundle = authority.issue(&leaf).unwrap().bundle();
    let late = authority.issue(&leaf.expired()).unwrap().bundle();
    let early = authority.issue(&leaf.not_yet_valid()).unwrap().bundle();
    let mut prepared = Prepared::new("version 1");
    let files = [
        ("/desktop.pem", bundle.into_bytes()),
        (
            "/etc/evenkeel/desktop.pem",
            authority.issue(&leaf).unwrap().bundle().into_bytes(),
        ),
        ("/late.pem", late.into_bytes()),
        ("/early.pem", early.into_bytes()),
        ("/farm.key", vec![7; 32]),
        ("/etc/evenkeel/farm.key", vec![7; 32]),
        ("/short.key", vec![7; 31]),
        ("/empty.key", Vec::new()),
        ("/icon.png", crate::icon::draw(crate::icon::Drawn::App, 48)),
        ("/ca.pem", authority.certificate_pem().into()),
        ("/ldap.password", b"reader's\n".to_vec()),
        ("/empty", b"\nsecond line".to_vec()),
    ];
    for (name, bytes) in files {
        let bytes = Secret::new(bytes);
        prepared.add_file(name, PreparedFile { bytes, mode: 0o600 });
    }
    Outside::prepared(prepared)
}

fn load(text: String, options: LoadOptions) -> Loaded {
    load_with(&[&PART], text, options, None)
}

/// Loads a section together with what another part of the platform exports.
fn load_with(
    parts: &[&'static ConfigurationPart],
    text: String,
    options: LoadOptions,
    export: Option<Export>,
) -> Loaded {
    let files = vec![("site.cfg".to_owned(), Text::new(text.into()))];
    let (environment, facts) = (Environment::empty(), Facts::new("2.6.12"));
    let words = SectionKeywords::from_parts([&PART.sections]);
    let mut inputs = Recording::new(files, environment, facts, options, words);
    let account = |name: &str, groups: &[&str]| Account {
        name: name.to_owned(),
        groups: groups.iter().map(|one| (*one).to_owned()).collect(),
        password: Password::Clear(b"secret".to_vec()),
    };
    let accounts = Accounts {
        users: vec![account("anna", &["staff"]), account("bert", &[])],
        groups: vec!["staff".to_owned()],
    };
    let twice = Accounts {
        users: ["EXAMPLE\\Bert", "anna", "BERT"]
            .map(|name| account(name, &[]))
            .into(),
        groups: Vec::new(),
    };
    let nobody = Accounts {
        users: Vec::new(),
        groups: Vec::new(),
    };
    let lists = [
        ("operators", accounts),
        ("twice", twice),
        ("nobody-yet", nobody),
    ];
    inputs.imports = lists
        .iter()
        .map(|(name, accounts)| Export::new(Accounts::KIND, name, accounts))
        .chain(export)
        .collect();
    configuration::load(parts, inputs, outside())
}

fn section(lines: &[&str]) -> String {
    let lines = lines.iter().map(|line| format!("    {line}\n"));
    "farm office\n".to_owned() + &lines.collect::<String>()
}

fn told(lines: &[&str], options: LoadOptions) -> String {
    let loaded = load(section(lines), options);
    render::concise(&loaded.sources, &loaded.diagnostics, true)
}

fn with(lines: &[&str]) -> String {
    told(&[BEGIN, lines].concat(), LoadOptions::default())
}

fn farm(lines: &[&str]) -> Farm {
    let mut loaded = load(section(&[BEGIN, lines].concat()), LoadOptions::default());
    let told = render::concise(&loaded.sources, &loaded.diagnostics, true);
    let mut parts = loaded.take_role_configurations(&[&PART]);
    let built = parts
        .iter_mut()
        .find_map(|(_, built)| built.downcast_mut::<Farms>());
    let farms = built.unwrap_or_else(|| panic!("{told}"));
    farms.farms.remove("office").expect("the section")
}

#[test]
fn a_section_has_the_values_of_its_lines() {
    let mut plain = farm(&[]);
    assert!(!plain.binds.remove(0).pem.is_empty());
    let host = |address: &str, weight, drained| SessionHost {
        address: address.parse().unwrap(),
        weight,
        drained,
    };
    let expected = Farm {
        name: String::new(),
        binds: Vec::new(),
        hosts: [("ts1".to_owned(), host("10.0.0.11:3389", 1, false))].into(),
        balance: Balance::Load,
        check: Check::default(),
        sessions: Sessions::default(),
        tokens: Tokens::default(),
        maxconn: 2_000,
        users: Default::default(),
        portal: None,
        web: Vec::new(),
        gateway: None,
        agents: Default::default(),
        proxies: Default::default(),
    };
    assert_eq!(plain, expected);
    let full = farm(&[
        "name Desktop.example.org",
        "host ts2 10.0.0.12:3390 weight 10 drain",
        "host ts3 [2001:db8::3]",
        "balance leastconn",
        "check interval 5s timeout 500 fall 5 rise 1",
        "keep-sessions 3d",
        "lost-after 5m",
        "token-key /farm.key",
        "token-lifetime 1d",
        "maxconn 50",
    ]);
    assert_eq!(full.name, "desktop.example.org");
    assert_eq!(full.hosts["ts2"], host("10.0.0.12:3390", 10, true));
    assert_eq!(full.hosts["ts3"], host("[2001:db8::3]:3389", 1, false));
    assert_eq!(full.balance, Balance::Leastconn);
    let check = Check {
        interval_ms: 5_000,
        timeout_ms: 500,
        fall: 5,
        rise: 1,
    };
    assert_eq!(full.check, check);
    let sessions = Sessions {
        keep_ms: 3 * 86_400_000,
        lost_after_ms: 300_000,
    };
    assert_eq!(full.sessions, sessions);
    let tokens = Tokens {
        key: vec![7; 32],
        lifetime_ms: 86_400_000,
    };
    assert_eq!(full.tokens, tokens);
    assert_eq!(full.maxconn, 50);
}

#[test]
fn hosts_have_the_agents_of_their_lines_and_drained_ones_a_notice() {
    let farm = farm(&[
        "host ts2 10.0.0.12 agent-port 9707",
        "host ts3 10.0.0.13 agent-inter 500ms weight 3 agent-port 99",
        "drain-notice \"Save your work\"",
    ]);
    let agent = |port, interval_ms| config::Agent { port, interval_ms };
    let expected = config::Agents {
        hosts: [
            ("ts2".to_owned(), agent(9_707, 5_000)),
            ("ts3".to_owned(), agent(99, 500)),
        ]
        .into(),
        notice: "Save your work".to_owned(),
    };
    assert_eq!(farm.agents, expected);
    assert_eq!(farm.hosts["ts3"].weight, 3);
}

#[test]
fn each_mistake_is_told_at_its_line() {
    let table: &[&[&str]] = &[
        &[],
        &["name desktop.example.org"],
        &["name other.example.org"],
        &["name -desktop.example.org"],
        &["name a.example.org", "name b.example.org"],
        &["bind 127.0.0.1:3389 crt /desktop.pem"],
        &["bind 127.0.0.1:3390"],
        &["bind 127.0.0.1:3390 crt desktop.pem"],
        &["bind 127.0.0.1:3390 crt /missing.pem"],
        &["bind 127.0.0.1:3390 crt /farm.key"],
        &["bind localhost:3390 crt /desktop.pem"],
        &["host ts1 10.0.0.12"],
        &["host ts2 10.0.0.11:3389"],
        &["host ts2 ts2.example.org"],
        &["host ts2 10.0.0.12 weight 0"],
        &["host ts2 10.0.0.12 size 1"],
        &["host ts2 10.0.0.12 agent-port 0"],
        &["host ts2 10.0.0.12 agent-port"],
        &["host ts2 10.0.0.12 agent-inter 5s"],
        &["host ts2 10.0.0.12 agent-port 9707 agent-inter 1ms"],
        &["drain-notice \" \""],
        &["drain-notice"],
        &["drain-notice a", "drain-notice b"],
        &["balance roundrobin"],
        &["check"],
        &["check interval 1"],
        &["keep-sessions 1s"],
        &["lost-after 2d"],
        &["token-key /short.key"],
        &["token-key /empty.key"],
        &["token-lifetime 1s"],
        &["maxconn 0"],
        &["nonsense"],
        &["web 127.0.0.1:443"],
        &["web 127.0.0.1:3389 crt /desktop.pem"],
        &["users operators staff"],
        &["users operators group:staf"],
        &["users operators", "users operators"],
        &[GATEWAY],
        &["gateway https://desktop.example.org/rdweb/"],
        &["gateway http://desktop.example.org/"],
        &["gateway https://desktop.example.org:0/"],
        &["gateway https://desktop.example.org idle 1s"],
        &["gateway https://desktop.example.org timeout 1h"],
        &[
            "gateway https://other.example.org",
            "users operators",
            "web 127.0.0.1:443 crt /desktop.pem",
        ],
    ];
    let mut text = String::new();
    for lines in table {
        text.push_str(&format!("{}\n{}\n", lines.join("; "), with(lines)));
    }
    text.push_str(&told(&[], LoadOptions::default()));
    insta::assert_snapshot!(text);
}

#[test]
fn proxies_in_front_are_trusted_by_their_addresses() {
    let farm = farm(&[
        "bind 127.0.0.1:3390 crt /desktop.pem accept-proxy",
        "trusted-proxy 10.0.0.5 10.1.0.0/24",
        "trusted-proxy 2001:db8::5",
    ]);
    let accepts: Vec<bool> = farm.binds.iter().map(|bind| bind.accepts_proxy).collect();
    assert_eq!(accepts, [false, true]);
    for (address, is_trusted) in [
        ("10.0.0.5", true),
        ("10.1.0.9", true),
        ("2001:db8::5", true),
        ("10.0.0.6", false),
    ] {
        assert_eq!(
            farm.proxies.has(address.parse().unwrap()),
            is_trusted,
            "{address}"
        );
    }
    for (line, expected) in [
        (
            "bind 127.0.0.1:3390 crt /desktop.pem accept-proxy",
            "error[E1080]: 'accept-proxy' without a line 'trusted-proxy'",
        ),
        ("bind 127.0.0.1:3390 crt /desktop.pem proxy", "error[E0977]"),
        ("trusted-proxy", "error[E0976]"),
        ("trusted-proxy proxy.example.org", "error[E0977]"),
        ("trusted-proxy 10.0.0.0/33", "error[E0977]"),
        (
            "trusted-proxy 10.0.0.5 0.0.0.0/0",
            "warning[W1081]: 'trusted-proxy 0.0.0.0/0' lets every client choose its address",
        ),
    ] {
        let told = with(&[line]);
        assert!(told.contains(expected), "{line}\n{told}");
    }
}

/// Lines of a valid portal.
const PORTAL: &[&str] = &[
    "portal https://Desktop.example.org:8443/",
    "web :443 crt /desktop.pem",
    "users operators",
    "desktop \"Full desktop\"",
];

#[test]
fn a_portal_has_what_its_lines_say() {
    let lines = [
        "portal https://Desktop.example.org:8443/",
        "web :443 crt /desktop.pem",
        "users operators group:staff",
        "second-factor user anna secret GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
        "desktop \"Full desktop\"",
        "app word \"Word\" path \"||WINWORD\" args \"/n /q\" icon /icon.png groups staff",
        "guest-consoles groups staff",
        "guest-consoles guests mail erp groups staff",
        "sign crt /etc/evenkeel/desktop.pem",
    ];
    let office = farm(&lines);
    let names: Vec<_> = office
        .users
        .users
        .iter()
        .map(|one| one.account.name.as_str())
        .collect();
    assert_eq!(names, ["anna"]);
    let second = &office.users.users[0].second_factor;
    assert_eq!(
        *second,
        SecondFactor::Codes(b"12345678901234567890".to_vec())
    );
    let portal = office.portal.unwrap();
    assert_eq!(portal.authority, "desktop.example.org:8443");
    assert_eq!(portal.desktop.unwrap().title, "Full desktop");
    let word = &portal.apps[0];
    let texts = [&word.name, &word.title, &word.path, &word.args];
    assert_eq!(texts, ["word", "Word", "||WINWORD", "/n /q"]);
    assert_eq!(
        (word.icon.is_empty(), &*word.groups),
        (false, &["staff".to_owned()][..])
    );
    let consoles = |guests: &[&str]| config::Consoles {
        guests: guests.iter().map(|one| (*one).to_owned()).collect(),
        groups: vec!["staff".to_owned()],
    };
    assert_eq!(portal.consoles, [consoles(&[]), consoles(&["mail", "erp"])]);
    assert_ne!(portal.signs, office.binds[0].pem);
    let plain = farm(PORTAL);
    assert_eq!(plain.portal.unwrap().signs, plain.binds[0].pem);
    assert_eq!(plain.users.users.len(), 2);
}

/// Lines of a portal, each with an error.
const OF_PORTALS: &[&[&str]] = &[
    &["portal http://desktop.example.org/"],
    &["portal https://desktop.example.org/rdweb/"],
    &["portal https://desk top/"],
    &["portal https://a:0/"],
    &["users"],
    &["users nobody"],
    &["users operators staff"],
    &["users operators group:staf"],
    &["desktop \"\""],
    &["desktop \"A\" for staff"],
    &["desktop \"A\" groups staf"],
    &["app"],
    &["app word \"Word\""],
    &["app desktop \"Word\" path a"],
    &["app w/rd \"Word\" path a"],
    &["app word \"Word\" path a", "app word \"Word\" path a"],
    &["app word \"Word\" path a icon /farm.key"],
    &["app word \"Word\" path a icon /missing.png"],
    &["app word \"Word\" path a groups"],
    &["guest-consoles"],
    &["guest-consoles staff"],
    &["guest-consoles groups"],
    &["guest-consoles groups staf"],
    &["guest-consoles guests mail"],
    &["guest-consoles guests mail groups"],
    &["app word \"Word\" path a hosts"],
    &["app word \"Word\" path a hosts groups staff"],
    &["app word \"Word\" path a hosts ts1 ts1"],
    &["app word \"Word\" path a hosts ts1 groups staff hosts ts1"],
    &["app word \"Word\" path a hosts ts2 groups staff"],
    &["desktop \"A\" groups staff hosts somewhere"],
    &[
        "host old 10.0.0.12 drain",
        "app word \"Word\" path a hosts old",
    ],
    &[
        "host old 10.0.0.12 drain",
        "app word \"Word\" path a hosts old ts1",
    ],
    &["sign crt /farm.key"],
    &["sign key /desktop.pem"],
    &["second-factor user anna secret AAAA"],
    &["second-factor user carl secret GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"],
    &["second-factor required"],
    &["second-factor"],
    &["pam group"],
    &["pam service login"],
];

#[test]
fn each_mistake_of_a_portal_is_told_at_its_line() {
    let table = OF_PORTALS;
    let mut text = String::new();
    for lines in table {
        let own = |line: &&&str| {
            let keyword = line.split(' ').next().unwrap_or_default();
            !lines
                .iter()
                .any(|one| one.split(' ').next() == Some(keyword))
        };
        let rest: Vec<&str> = PORTAL.iter().filter(own).copied().collect();
        text.push_str(&format!(
            "{}\n{}\n",
            lines.join("; "),
            with(&[lines, &rest[..]].concat())
        ));
    }
    for alone in [
        &["users operators"][..],
        &["app word \"Word\" path a"],
        &["portal https://desktop.example.org/"],
        &["portal https://desktop.example.org/", "users operators"],
    ] {
        text.push_str(&format!("{}\n{}\n", alone.join("; "), with(alone)));
    }
    insta::assert_snapshot!(text);
}

const LDAP: &str = "users ldap ldaps://127.0.0.1 base dc=example,dc=org ca-file /ca.pem";

#[test]
fn a_directory_has_what_its_line_says() {
    let second = "second-factor user Anna secret GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
    let line = "users ldap ldaps://127.0.0.1 ldap://[::1]:3389/ base \"dc=example,dc=org\" bind-dn \"cn=reader,dc=example\" \
        bind-password-file /ldap.password filter \"(sAMAccountName=%u)\" group-filter \"(member=%d)\" ca-file /ca.pem \
        group:Staff group:\"cn=it,dc=example\"";
    let desktop = "desktop \"Full desktop\" groups Desktop";
    let lines = [
        PORTAL[0],
        PORTAL[1],
        line,
        desktop,
        second,
        "second-factor required",
    ];
    let mut users = farm(&lines).users;
    assert!(users.users.is_empty());
    let mut found = users.directory.take().unwrap();
    assert!(found.authorities.starts_with(b"-----BEGIN CERTIFICATE"));
    found.authorities.clear();
    insta::assert_debug_snapshot!(found);
    let plain = format!(
        "{} plain",
        LDAP.replace("ldaps", "ldap")
            .replace(" ca-file /ca.pem", "")
    );
    let plain = farm(&[PORTAL[0], PORTAL[1], PORTAL[3], &plain])
        .users
        .directory
        .unwrap();
    assert_eq!(plain.servers[0].security, Security::Plain);
    assert_eq!(
        plain.servers[0].addresses,
        ["127.0.0.1:389".parse().unwrap()]
    );
    assert_eq!(plain.account, None);
}

#[test]
fn each_mistake_of_a_directory_is_told_at_its_line() {
    let long = |words: &str| format!("{LDAP} {words}");
    let mut text = String::new();
    for line in [
        "users ldap ldaps://127.0.0.1".to_owned(),
        "users ldap ldaps:// base dc=x".to_owned(),
        "users ldap ldap://dc1:0 base dc=x".to_owned(),
        "users ldap ldap://dc1/dc=x base dc=x".to_owned(),
        "users ldap ldaps://127.0.0.1 base example.org".to_owned(),
        "users ldap ldaps://127.0.0.1 base dc=x ca-file /ldap.password".to_owned(),
        "users ldap ldaps://nowhere.invalid base dc=x ca-file /ca.pem".to_owned(),
        "users ldap ldap://127.0.0.1 base dc=x plain ca-file /ca.pem".to_owned(),
        long("plain"),
        long("bind-dn cn=a"),
        long("bind-dn cn=a bind-password-file /empty"),
        long("bind-dn cn=a bind-password-file secret"),
        long("bind-dn cn=a bind-password-file /nowhere"),
        "users ldaps://127.0.0.1 base dc=x".to_owned(),
        long("filter uid=%u"),
        long("filter (uid=anna)"),
        long("filter (%u=anna)"),
        long("group-attribute (cn)"),
        long("group-filter (member=%u) group-attribute memberOf"),
        long("group-filter (member=x)"),
        long("group:"),
        long("groups staff"),
    ] {
        let rest = [PORTAL[0], PORTAL[1], PORTAL[3], &line];
        text.push_str(&format!("{line}\n{}\n", with(&rest)));
    }
    let beside = [LDAP, "pam user root", PORTAL[0], PORTAL[1], PORTAL[3]];
    text.push_str(&with(&beside));
    // The gateway alone requires NTLM and Basic. With a portal, the cookies in its `.rdp` files
    // suffice.
    text.push_str(&with(&[LDAP, GATEWAY, PORTAL[1]]));
    assert_eq!(
        with(&[LDAP, GATEWAY, PORTAL[1], PORTAL[0], PORTAL[3]]),
        with(&[])
    );
    insta::assert_snapshot!(text);
}

#[test]
fn a_gateway_has_the_users_of_its_groups() {
    let lines = |users| {
        let line =
            "gateway https://Desktop.example.org:8443/remotedesktopgateway/ idle 2h session 12h";
        farm(&[line, users, "web :443 crt /desktop.pem"])
    };
    let farm = lines("users operators group:staff");
    let expected = config::Gateway {
        name: "desktop.example.org".to_owned(),
        port: 8443,
        idle_ms: Some(7_200_000),
        session_ms: Some(43_200_000),
    };
    assert_eq!(farm.gateway, Some(expected));
    assert_eq!(farm.web[0].address, "[::]:443".parse().unwrap());
    let names = |farm: &Farm| -> Vec<String> {
        let users = farm.users.users.iter();
        users.map(|user| user.account.name.clone()).collect()
    };
    assert_eq!(names(&farm), ["anna"]);
    assert_eq!(names(&lines("users operators")), ["anna", "bert"]);
}

#[test]
fn nodes_of_a_cluster_need_one_key() {
    let options = || LoadOptions {
        node: Some("alpha".to_owned()),
        nodes: vec!["alpha".to_owned(), "beta".to_owned()],
        version: "version 7".to_owned(),
        ..LoadOptions::default()
    };
    assert!(told(BEGIN, options()).contains("error[E0983]"));
    let with_key = [BEGIN, &["token-key /farm.key"]].concat();
    assert_eq!(told(&with_key, options()), "");
    // A configuration with a virtual address that moves gets the same error without a cluster.
    let moves = |lines: &[&str]| {
        let export = Export::new(Service::KIND, "desktop", &Service::default());
        let loaded = load_with(
            &[&PART],
            section(lines),
            LoadOptions::default(),
            Some(export),
        );
        render::concise(&loaded.sources, &loaded.diagnostics, true)
    };
    assert!(moves(BEGIN).contains("error[E0983]"));
    assert_eq!(moves(&with_key), "");
}

#[test]
fn a_farm_cannot_lead_to_itself_or_listen_where_its_nodes_do() {
    for line in [
        "host ts9 127.0.0.1:3389",
        "bind :3390 crt /desktop.pem; host ts9 127.0.0.2:3390",
    ] {
        let told = with(&line.split("; ").collect::<Vec<_>>());
        assert!(told.contains("E0977"), "{told}");
        assert!(told.contains("host 'ts9' is the farm itself"), "{told}");
    }
    for line in [
        "bind 10.0.0.2:7448 crt /desktop.pem",
        "web :7448 crt /desktop.pem",
    ] {
        let told = with(&[line]);
        assert!(
            told.contains("7448' is at the port of the link between the nodes"),
            "{told}"
        );
    }
}

#[test]
fn every_example_loads() {
    for row in (PART.documented)() {
        let text = match row.kind {
            "section" => row.example.to_owned() + "\n",
            _ if row.name == "gateway" => section(&[
                "bind :3389 crt /desktop.pem",
                "host ts9 10.0.0.19",
                "users operators",
                "web :443 crt /desktop.pem",
                row.example,
            ]),
            _ if row.name == "bind" => section(&[row.example, "host ts9 10.0.0.19"]),
            _ if portal::LINES.iter().any(|line| line.syntax == row.syntax) => {
                let own = |line: &&&str| !line.starts_with(row.name);
                let rest: Vec<&str> = PORTAL.iter().filter(own).copied().collect();
                section(&[BEGIN, &[row.example], &rest[..]].concat())
            }
            _ => section(&[
                "bind :3389 crt /desktop.pem",
                "host ts9 10.0.0.19",
                row.example,
            ]),
        };
        let loaded = load(text, LoadOptions::default());
        let told = render::concise(&loaded.sources, &loaded.diagnostics, true);
        assert_eq!(told, "", "{}", row.name);
    }
}

#[test]
fn currently_invalid_certificates_are_reported() {
    let host = "host ts1 10.0.0.11";
    let late = told(
        &["bind 127.0.0.1:3389 crt /late.pem", host],
        LoadOptions::default(),
    );
    let begin = "site.cfg:2:29: warning[W0996]: the certificate expired on ";
    assert!(late.starts_with(begin), "{late}");
    let web = [
        "web 127.0.0.1:443 crt /early.pem",
        GATEWAY,
        "users operators",
    ];
    let early = with(&web);
    assert!(
        early.contains("warning[W0996]: the certificate is not valid before "),
        "{early}"
    );
}

#[test]
fn accounts_that_are_one_user_are_told() {
    let web = ["web 127.0.0.1:443 crt /desktop.pem", GATEWAY];
    let users = |line: &'static str| with(&[&web[..], &[line]].concat());
    let told = users("users twice");
    let words = "warning[W0997]: 'EXAMPLE\\Bert' and 'BERT' are one user here";
    assert!(told.contains(words), "{told}");
    assert_eq!(users("users operators"), "");
}

#[test]
fn an_unusable_userlist_is_reported_at_its_line() {
    let web = ["web 127.0.0.1:443 crt /desktop.pem", GATEWAY];
    let told = with(&[&web[..], &["users nobody-yet"]].concat());
    let words = "warning[W1000]: nobody can sign in by userlist 'nobody-yet': no user of it may";
    assert!(told.contains(words), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
}

#[test]
fn apps_on_the_same_hosts_are_one_collection() {
    let farm = farm(&[
        "host ts2 10.0.0.12",
        "web :443 crt /desktop.pem",
        "portal https://desktop.example.org/",
        "users operators",
        "desktop \"Desktop\" groups staff hosts ts2 ts1",
        "app word \"Word\" path a hosts ts1",
        "app calc \"Calc\" path a hosts ts1 groups staff",
        "app cad \"CAD\" path a",
    ]);
    let one = std::collections::BTreeSet::from(["ts1".to_owned()]);
    let id = farm.collection(&one);
    assert_eq!(farm.collections(), [(id, one)].into());
    assert_eq!(farm.starts(id), ["Word", "Calc"]);
    // A list of all hosts is the collection of all hosts.
    assert_eq!(farm.desktop(), CollectionId::ALL);
    assert_eq!(farm.starts(CollectionId::ALL), ["Desktop", "CAD"]);
    let portal = farm.portal.as_ref().unwrap();
    assert_eq!(portal.apps[1].groups, ["staff"]);
}

#[test]
fn a_difference_names_what_goes_to_other_hosts() {
    let with = |line: &str| {
        let farm = farm(&[
            "host ts2 10.0.0.12",
            "web :443 crt /desktop.pem",
            "portal https://desktop.example.org/",
            "users operators",
            line,
        ]);
        let farms = [("office".to_owned(), farm)].into();
        codec::encode(&Farms {
            farms,
            ..Farms::default()
        })
    };
    let before = with("app word \"Word\" path a hosts ts1");
    let now = with("app word \"Word\" path a");
    let lines = difference(Some(&before), Some(&now));
    assert!(
        lines.contains(&"        ~ app word: ts1 -> all hosts".to_owned()),
        "{lines:?}"
    );
}

language::codes! {
    NO_GUEST = "E0001", "no guest of this name", "As the part of guests has it.";
}

static GUESTS: ConfigurationPart = ConfigurationPart {
    name: "guests",
    sections: Sections::NONE,
    documented: Vec::new,
    codes: || CODES.to_vec(),
    exports: &[ObjectKind {
        name: "guest",
        unknown: &NO_GUEST,
        label: "no section of this name",
    }],
    begin: |_| Box::new(TestPartDraft),
    run: None,
};

#[derive(Debug)]
struct TestPartDraft;

impl PartDraft for TestPartDraft {
    fn section(&mut self, _: &mut Context, _: &ConfigLine) {}

    fn current_section(&self) -> Option<&'static str> {
        None
    }

    fn line(&mut self, _: &mut Context, _: &ConfigLine) {}

    fn finish(self: Box<Self>, _: &mut Context, exchange: &mut Exchange) -> Box<dyn Any> {
        for name in ["mail", "erp"] {
            exchange.export(Export::name("guest", name));
        }
        Box::new(())
    }
}

#[test]
fn a_line_must_name_an_existing_guest() {
    let told = |line: &str| {
        let lines = [BEGIN, PORTAL, &[line]].concat();
        let loaded = load_with(
            &[&PART, &GUESTS],
            section(&lines),
            LoadOptions::default(),
            None,
        );
        render::concise(&loaded.sources, &loaded.diagnostics, true)
    };
    assert_eq!(told("guest-consoles guests mail erp groups staff"), "");
    let wrong = told("guest-consoles guests mail epr groups staff");
    assert!(
        wrong.contains("error[E0001]: there is no guest 'epr' (did you mean 'erp'?)"),
        "{wrong}"
    );
}
