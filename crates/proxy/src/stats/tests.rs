//! Tests complete statistics reports over a configuration with servers in every state.

use super::asked::{ActionStatus, StatisticsQuery};
use super::export::{self, Format};
use super::piece::{Piece, whole};
use super::process::ProcessSnapshot;
use super::prometheus::{MetricsOutput, Query};
use super::row::{Moment, Selection};
use super::{ReportOutput, StatisticsReport, page};
use keyword::testing::load_text;
use model::config::{Config, ProxyIndex, StatsPage};
use model::state::{AdminState, CheckResult, CheckStatus, Tally};
use std::sync::Arc;

const FILE: &str = "\
frontend www
 mode http
 description the <front> door
 option socket-stats
 maxconn 2000
 bind 127.0.0.1:8080 name public
 bind 127.0.0.1:8081
 default_backend app
listen stats
 mode http
 bind 127.0.0.1:9000
 stats enable
 stats uri /stats
 stats refresh 5s
 stats show-node lb1
 stats show-desc \"a & b\"
 stats show-legends
 stats admin if TRUE
backend app
 mode http
 balance leastconn
 option httpchk
 server up 192.0.2.1:80 check weight 10 maxconn 100
 server going-down 192.0.2.2:80 check
 server going-up 192.0.2.3:80 check
 server down 192.0.2.4:80 check
 server drained 192.0.2.5:80 check
 server maintained 192.0.2.6:80 check
 server unchecked 192.0.2.7:80
 server spare 192.0.2.8:80 check backup
 server spare-down 192.0.2.9:80 check backup
 server stopping 192.0.2.10:80 check
backend db
 mode tcp
 server one unix@/run/db.sock
";

/// Time of the states in these tests.
const NOW_MS: u64 = 1_000_000_000;

fn moment() -> Moment {
    Moment {
        state_ms: NOW_MS,
        rate_ms: NOW_MS,
        connections_max: 10_000,
        legends: true,
    }
}

fn config() -> Arc<Config> {
    let mut config = load_text(FILE).config.expect("the file is good");
    model::control::install(&mut config, None, NOW_MS - 100_000_000);
    let app = config
        .proxies
        .iter()
        .find(|proxy| &*proxy.name == "app")
        .unwrap();
    let server = |name: &str| &app.servers.iter().find(|s| &*s.name == name).unwrap().state;
    let passed = || CheckResult::new(CheckStatus::Layer7Ok, 2).code(200);
    let failed = || CheckResult::new(CheckStatus::Layer4Error, 1).info("Connection <refused>");
    let at = NOW_MS - 3_700_000;
    for described in &app.servers {
        for _ in 0..4 {
            described.state.take_check(passed(), at);
        }
    }
    server("going-down").take_check(failed(), at);
    for name in ["down", "going-up", "spare-down"] {
        for _ in 0..4 {
            server(name).take_check(failed(), at);
        }
    }
    server("going-up").take_check(passed(), at);
    server("drained").set_admin(AdminState::Drain, at);
    server("maintained").set_admin(AdminState::Maintenance, at);
    let conditional = CheckResult::new(CheckStatus::Layer7OkConditional, 1).code(404);
    server("stopping").take_check(conditional, at);
    let count = |tally, n| server("up").traffic.counters.current_shard().add(tally, n);
    count(Tally::Sessions, 1_234_567);
    count(Tally::BytesOut, 9_876_543_210);
    count(Tally::Status2xx, 1_234_560);
    count(Tally::Status5xx, 7);
    server("up").traffic.last_session.note(NOW_MS - 3000);
    server("up")
        .traffic
        .counters
        .current_shard()
        .times([0, 1, 12, 30]);
    Arc::new(config)
}

fn process() -> ProcessSnapshot {
    let mut process = ProcessSnapshot::default();
    process.about.pid = 4711;
    process.about.threads = 2;
    process.about.uptime_ms = 93_784_000;
    process.about.node = "host".into();
    process.about.configuration = Some("version 12 by <anna>".into());
    process.resources.files_max = 20_000;
    process.connections.max = 10_000;
    process.connections.current = 12;
    process.connections.total = 123_456;
    process.measured.bytes_out = 1_562_500;
    process.measured.idle_percent = 93;
    process.resources.memory = (9_000_000, 4_560_000);
    process
}

/// Creates a report of all objects. The proxy with the statistics page has index 1.
fn report(config: Arc<Config>, query: StatisticsQuery) -> StatisticsReport {
    StatisticsReport {
        config,
        proxy: ProxyIndex(1),
        output: ReportOutput::of_format(query.kind),
        query,
        admin: false,
        console: Some("https://lb1:8600/".to_owned()),
        process: process(),
        moment: moment(),
    }
}

fn unlimited(out: &mut String) -> Piece<'_> {
    Piece::limited(out, usize::MAX, usize::MAX)
}

fn rows(format: Format, selection: &Selection<'_>) -> String {
    let mut output = export::RowsOutput::new(format);
    let (config, mut out) = (config(), String::new());
    assert!(!output.write(&mut unlimited(&mut out), &config, selection, &moment()));
    out
}

/// Returns the page with other settings than those of the file.
fn html(asked: &StatisticsQuery, admin: bool, page: &StatsPage) -> String {
    page_of(asked, admin, page).0
}

/// Returns a page and its security policy.
fn page_of(asked: &StatisticsQuery, admin: bool, page: &StatsPage) -> (String, String) {
    let config = config();
    let selection = Selection {
        hide_down: asked.up,
        ..Selection::default()
    };
    let process = process();
    let view = page::View {
        config: &config,
        page,
        query: asked,
        selection,
        moment: moment(),
        process: &process,
        admin,
        console: Some("https://lb1:8600/"),
    };
    let (mut output, mut out) = (page::PageOutput::default(), String::new());
    assert!(!output.survey(&mut unlimited(&mut out), &view));
    assert!(out.is_empty());
    let policy = output.policy(&view);
    assert!(!output.write(&mut unlimited(&mut out), &view));
    (out, policy)
}

fn stats_page() -> StatsPage {
    let config = config();
    let found = config.proxies.iter().find_map(|proxy| proxy.stats.clone());
    *found.unwrap()
}

#[test]
fn the_first_line_of_the_csv_is_that_of_haproxy_2_6() {
    let mut header = String::new();
    export::csv_header(&mut header);
    insta::assert_snapshot!(header);
    let names = header
        .trim_start_matches("# ")
        .trim_end()
        .split(',')
        .count();
    for line in rows(Format::Csv, &Selection::default()).lines().skip(1) {
        assert_eq!(line.split(',').count(), names, "{line}");
    }
}

#[test]
fn every_state_has_its_row_in_the_csv() {
    insta::assert_snapshot!(rows(Format::Csv, &Selection::default()));
}

#[test]
fn typed_lines_have_places_tags_and_types() {
    let selection = Selection {
        kinds: 4,
        object_id: Some(1),
        ..Selection::default()
    };
    let typed = rows(Format::Typed, &selection);
    let app = typed.lines().next().unwrap_or_default();
    let (start, name) = app.rsplit_once(':').unwrap();
    assert_eq!(name, "app");
    assert!(
        start.starts_with("S.") && start.ends_with(".1.0.pxname.1:KNS:str"),
        "{start}"
    );
    assert!(typed.contains(".36.check_status.1:MOP:str:L7OK\n"));
    assert!(typed.contains(".55.lastsess.1:MAP:s32:3\n"));
    let backend = Selection {
        kinds: 2,
        ..Selection::default()
    };
    assert!(rows(Format::Typed, &backend).contains(".19.act.1:MGP:u32:"));
    let meaning = rows(Format::TypedMeaning, &selection);
    assert!(meaning.contains("pxname.1:KNS:str:app:\"name of the proxy\"\n"));
}

#[test]
fn json_is_valid_and_equals_the_csv() {
    let json: serde_json::Value =
        serde_json::from_str(&rows(Format::Json, &Selection::default())).unwrap();
    let rows = json.as_array().unwrap();
    assert_eq!(rows.len(), 3 + 2 + 11 + 2);
    let field = &rows[0][0];
    assert_eq!(field["objType"], "Frontend");
    assert_eq!(field["field"]["name"], "pxname");
    assert_eq!(field["value"]["value"], "www");
    serde_json::from_str::<serde_json::Value>(export::SCHEMA).unwrap();
}

#[test]
fn a_selection_leaves_rows_out() {
    let count = |selection: &Selection<'_>| rows(Format::Csv, selection).lines().count() - 1;
    let all = count(&Selection::default());
    assert_eq!(
        count(&Selection {
            hide_down: true,
            ..Default::default()
        }),
        all - 4
    );
    assert_eq!(
        count(&Selection {
            hide_maintenance: true,
            ..Default::default()
        }),
        all - 1
    );
    assert_eq!(
        count(&Selection {
            scope: Some("d"),
            ..Default::default()
        }),
        2
    );
    let allowed = [Box::from("."), Box::from("www")];
    let own = Selection {
        allowed: &allowed,
        own: "db",
        ..Default::default()
    };
    assert_eq!(count(&own), 3 + 2);
    assert_eq!(
        count(&Selection {
            kinds: 1 | 2,
            ..Default::default()
        }),
        2 + 3
    );
}

#[test]
fn page_shows_every_state_and_escapes_input() {
    let asked = StatisticsQuery {
        outcome: Some(ActionStatus::Done),
        ..StatisticsQuery::default()
    };
    let page = html(&asked, true, &stats_page());
    // The test compares neither the style nor the version, and the script has a file of its own.
    let (before, rest) = page.split_once("<style>").unwrap();
    let (_, after) = rest.split_once("</style>").unwrap();
    let (after, _) = after.split_once("<script>").unwrap();
    let version = format!("version {}", model::config::product::PRODUCT_VERSION);
    insta::assert_snapshot!(format!("{before}{}", after.replace(&version, "version X")));
    for evil in ["<front>", "<refused>", "a & b", "<anna>"] {
        assert!(!page.contains(evil), "{evil}");
    }
    for state in [
        "active_up",
        "active_going_down",
        "active_going_up",
        "active_down",
        "maintain",
        "active_draining",
        "active_no_check",
        "backup_up",
        "active_nolb",
    ] {
        assert!(page.contains(&format!("<tr class=\"{state}\">")), "{state}");
    }
    assert!(page.contains("1d3h UP"), "times are short");
}

#[test]
fn a_page_without_rights_has_no_form_and_without_a_version_says_none() {
    let hidden = StatsPage {
        hide_version: true,
        legends: false,
        ..stats_page()
    };
    let page = html(
        &StatisticsQuery {
            no_refresh: true,
            ..StatisticsQuery::default()
        },
        false,
        &hidden,
    );
    assert!(!page.contains("method=\"post\"") && !page.contains("name=\"s\""));
    assert!(!page.contains("version") && !page.contains("http-equiv"));
    assert!(page.contains("Enable refresh") && !page.contains("cap: "));
}

#[test]
fn the_scope_form_keeps_the_query_of_the_page() {
    let page = StatsPage {
        uri: b"/haproxy?stats"[..].into(),
        ..stats_page()
    };
    let page = html(
        &StatisticsQuery {
            scope: "a\"b".into(),
            ..StatisticsQuery::default()
        },
        false,
        &page,
    );
    assert!(page.contains("action=\"/haproxy\"><input type=\"hidden\" name=\"stats\" value=\"\">"));
    assert!(page.contains("value=\"a&quot;b\""));
    assert!(page.contains("href=\"/haproxy?stats;csv;norefresh?scope=a%22b\""));
}

#[test]
fn pieces_of_any_size_give_the_same_report() {
    let servers: String = (0..300)
        .map(|n| format!("server s{n} 127.0.0.1:{} check\n", 1000 + n))
        .collect();
    let file = format!(
        "{FILE}listen empty\n bind 127.0.0.1:1\nbackend many\n mode http\n stick-table type ip size 1k\n{servers}"
    );
    let mut config = load_text(&file).config.unwrap();
    model::control::install(&mut config, None, NOW_MS - 100_000_000);
    let config = Arc::new(config);
    let queries: [&[u8]; 9] = [
        b";csv",
        b";typed",
        b";json",
        b";json-schema",
        b"",
        b";up",
        b"?scope=many",
        b"?scope=nothing",
        b";no-maint",
    ];
    for query in queries {
        let asked = StatisticsQuery::parse(query);
        let of = |bytes_max, steps_max| {
            let mut report = report(config.clone(), asked.clone());
            while report.survey(&mut String::new()) {}
            whole(&mut report, bytes_max, steps_max)
        };
        let all = of(usize::MAX, usize::MAX);
        for (bytes_max, steps_max) in [(1, 1), (1000, 3), (14 * 1024, 64)] {
            let pieces = of(bytes_max, steps_max);
            assert!(pieces == all, "{}: {bytes_max}", query.escape_ascii());
        }
    }
    for query in [
        "",
        "scope=server&no-maint",
        "scope=backend&scope=sticktable",
    ] {
        let of = |bytes_max, steps_max| {
            let query = Query::parse(query.as_bytes()).unwrap();
            let output = ReportOutput::Metrics(MetricsOutput::new(query));
            let mut report = StatisticsReport {
                output,
                ..report(config.clone(), StatisticsQuery::default())
            };
            whole(&mut report, bytes_max, steps_max)
        };
        let all = of(usize::MAX, usize::MAX);
        assert!(all.contains("haproxy_") && of(1, 1) == all, "{query}");
        assert_eq!(
            all.matches("# TYPE haproxy_backend_status ").count() > 0,
            query != "scope=server&no-maint"
        );
    }
}

#[test]
fn a_piece_is_bounded_also_without_output() {
    let servers: String = (0..1000)
        .map(|n| format!("server s{n} 127.0.0.1:{} disabled\n", 1000 + n))
        .collect();
    let file = format!("listen l\nmode http\nbind 127.0.0.1:1\nstats uri /s\n{servers}");
    let mut config = load_text(&file).config.unwrap();
    model::control::install(&mut config, None, 1);
    let mut report = StatisticsReport {
        proxy: ProxyIndex(0),
        ..report(Arc::new(config), StatisticsQuery::parse(b";csv;no-maint"))
    };
    let (mut pieces, mut text) = (0, String::new());
    let mut more = true;
    while more {
        let mut out = String::new();
        more = super::PieceSource::write(&mut report, &mut Piece::new(&mut out));
        assert!(out.len() < 16 * 1024);
        (pieces, text) = (pieces + 1, text + &out);
    }
    assert!(pieces > 10, "{pieces}");
    assert_eq!(text.lines().count(), 1 + 2);
}

#[test]
fn problems_are_listed_first_with_links() {
    let page = html(&StatisticsQuery::default(), false, &stats_page());
    let (_, strip) = page.split_once("<nav class=\"alerts\"").unwrap();
    let (strip, _) = strip.split_once("</nav>").unwrap();
    let lines: Vec<&str> = strip.lines().skip(1).collect();
    assert_eq!(
        lines,
        [
            "<p class=\"alert active_down\"><b>3 down</b><span>\
             <span><a href=\"#app/going-up\">app/going-up</a> <small>1h1m</small></span> \
             <span><a href=\"#app/down\">app/down</a> <small>1h1m</small></span> \
             <span><a href=\"#app/spare-down\">app/spare-down</a> <small>1h1m</small></span> </span></p>",
            "<p class=\"alert active_draining\"><b>2 draining</b><span>\
             <span><a href=\"#app/drained\">app/drained</a> <small>1h1m</small></span> \
             <span><a href=\"#app/stopping\">app/stopping</a> <small>1h1m</small></span> </span></p>",
            "<p class=\"alert maintain\"><b>1 in maintenance</b><span>\
             <span><a href=\"#app/maintained\">app/maintained</a> <small>1h1m</small></span> </span></p>",
        ]
    );
    // The link leads to a view that shows the rows hidden in this one.
    let asked = StatisticsQuery {
        up: true,
        ..StatisticsQuery::default()
    };
    let page = html(&asked, false, &stats_page());
    assert!(page.contains("<a href=\"/stats#app/down\">") && !page.contains("id=\"app/down\""));
    assert!(
        page.contains("3 of 8 serve, 1 of 2 backups ready"),
        "hidden ones count"
    );
}

#[test]
fn tables_of_frontends_have_no_columns_of_servers() {
    let page = html(&StatisticsQuery::default(), false, &stats_page());
    let section = |name: &str| {
        let mut sections = page.split("<section").skip(1);
        let found = sections.find(|section| section.contains(&format!("id=\"{name}\"")));
        found.unwrap_or_default()
    };
    let heads = |name| section(name).matches("scope=\"col\"").count();
    assert_eq!((heads("www"), heads("stats"), heads("app")), (14, 31, 31));
    assert!(section("www").starts_with(" class=\"f\"") && !section("www").contains("Thrtle"));
    assert!(
        section("app").contains("<caption>State, sessions and errors of backend app</caption>")
    );
    // A single style sets the width of a column in all tables.
    assert_eq!(page.matches(".w13{width:").count(), 1);
}

#[test]
fn the_page_links_to_the_console_where_there_is_one() {
    let page = html(&StatisticsQuery::default(), false, &stats_page());
    assert!(page.contains("href=\"https://lb1:8600/\" rel=\"noreferrer\">Web console</a>"));
}

#[test]
fn a_page_keeps_what_is_checked_over_a_refresh() {
    let page = html(&StatisticsQuery::default(), true, &stats_page());
    assert!(
        page.contains(
            "<noscript><meta http-equiv=\"refresh\" content=\"5;url=/stats\"></noscript>"
        )
    );
    assert!(page.contains("<body data-refresh=\"5\" data-link=\"/stats\">"));
    let plain = html(&StatisticsQuery::default(), false, &stats_page());
    assert!(plain.contains("\n<meta http-equiv=\"refresh\" content=\"5;url=/stats\">"));
    assert!(!plain.contains("<script") && !plain.contains("data-refresh"));
}

#[test]
fn the_policy_allows_the_styles_and_the_script_of_the_page_and_no_others() {
    let (text, policy) = page_of(&StatisticsQuery::default(), true, &stats_page());
    let hash = |text: &str| {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
        base64::Engine::encode(&base64::engine::general_purpose::STANDARD, digest)
    };
    let mut count = 0;
    for tag in ["style", "script"] {
        for part in text.split(&format!("<{tag}>")).skip(1) {
            let (own, _) = part.split_once(&format!("</{tag}>")).unwrap();
            assert!(policy.contains(&format!("'sha256-{}'", hash(own))), "{tag}");
            count += 1;
        }
    }
    assert_eq!((count, policy.matches("sha256-").count()), (3, 3));
    assert!(!text.contains(" style="), "the policy refuses it");
}

#[test]
fn confirmation_of_killed_sessions_needs_no_script() {
    let config = config();
    let body = b"s=up&s=down&action=shutdown&b=app&ask=1";
    let super::admin::AdminOutcome::Ask(kill) = super::admin::run(&config, body, |_| true) else {
        panic!("it does not ask")
    };
    let asked = StatisticsQuery::parse(b";up");
    let html = page::confirm(&stats_page(), &asked, &kill);
    let id = kill.backend.id;
    assert!(!html.text.contains("<script"));
    for part in [
        "<h1>Kill 0 sessions?</h1>",
        "method=\"post\" action=\"/stats;up\"",
        "<input type=\"hidden\" name=\"s\" value=\"up\">",
        "<input type=\"hidden\" name=\"s\" value=\"down\">",
        &format!("<input type=\"hidden\" name=\"b\" value=\"#{id}\">"),
        "<button name=\"action\" value=\"shutdown\"",
        "href=\"/stats;up\">Cancel</a>",
    ] {
        assert!(html.text.contains(part), "{part} in {}", html.text);
    }
    assert!(!html.text.contains("name=\"ask\""), "it would ask again");
}

/// HAProxy's `show stat` has the same columns.
#[test]
fn haproxy_has_the_same_columns() {
    let binary = "/usr/sbin/haproxy";
    let version = std::process::Command::new(binary).arg("-v").output();
    let Ok(version) = version else { return };
    if !String::from_utf8_lossy(&version.stdout).contains("version 2.6") {
        return;
    }
    let folder = std::env::temp_dir().join(format!("evenkeel-columns-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (file, socket) = (folder.join("h.cfg"), folder.join("h.sock"));
    let text = format!(
        "global\n stats socket {}\ndefaults\n timeout client 1s\n timeout server 1s\n timeout connect 1s\n\
         listen l\n bind unix@{}\n",
        socket.display(),
        folder.join("l.sock").display()
    );
    std::fs::write(&file, text).unwrap();
    let mut child = std::process::Command::new(binary)
        .args(["-db", "-q", "-f"])
        .arg(&file)
        .spawn()
        .unwrap();
    let answer = (0..200).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        ask(&socket, "show stat\n")
            .ok()
            .filter(|answer| !answer.is_empty())
    });
    child.kill().unwrap();
    child.wait().unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let mut header = String::new();
    export::csv_header(&mut header);
    assert_eq!(
        answer.unwrap_or_default().lines().next(),
        header.lines().next()
    );
}

fn ask(socket: &std::path::Path, command: &str) -> std::io::Result<String> {
    use std::io::{Read, Write};
    let mut stream = std::os::unix::net::UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(std::time::Duration::from_secs(5)))?;
    stream.write_all(command.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
