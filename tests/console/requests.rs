//! Tests requests and entries of stick tables in the console, from real traffic.

use crate::console::site::{Console, OLGA, SOON, VERA};
use lab::{Location, Probe, eventually};

/// Lines that the test adds by a reload.
const HISTORY: (&str, &str) = ("global\n", "global\n    request-history 64\n");
const TABLE: (&str, &str) = (
    "\nbackend app\n",
    "\nbackend app\n    stick-table type ip size 100 expire 10m store http_req_cnt\n    http-request track-sc0 src\n",
);

#[test]
fn a_request_appears_with_what_was_decided_for_it_and_an_entry_of_a_table_is_removed() {
    lab::skip_unless_installed!("curl");
    let console = Console::start();
    let olga = console.sign_in(OLGA);
    let page = |path: &str| console.get(&["-H", &olga, path]).body;
    // The history of requests exists without a line in the configuration.
    let is_empty = || page("/requests").contains("No request has ended");
    assert!(eventually(SOON, is_empty), "{}", page("/requests"));
    console.reload(|config| {
        let config = config.replacen(HISTORY.0, HISTORY.1, 1);
        config.replacen(TABLE.0, TABLE.1, 1)
    });
    assert!(eventually(SOON, || !console.served_by().is_empty()));
    let probe = || {
        Probe::new(Location::Here, console.web)
            .timeout(SOON)
            .get("/shop/cart?card=4711")
    };
    assert!(probe().is_ok());
    let has = |path: &str, text: &str| eventually(SOON, || page(path).contains(text));
    assert!(
        has("/requests?path=/shop", "/shop/cart"),
        "{}",
        page("/requests")
    );
    let list = page("/requests?path=/shop");
    assert!(!list.contains("4711"), "{list}");
    assert!(page("/requests?path=/other").contains("No stored request matches"));
    let (_, rest) = list.split_once("href=\"/requests/0x").expect("a link");
    let number = rest.split('"').next().unwrap_or_default();
    let one = page(&format!("/requests/0x{number}"));
    for words in ["GET /shop/cart", "default_backend", "class=\"steps\""] {
        assert!(one.contains(words), "{words}: {one}");
    }
    let wrong = page("/requests?status=x");
    assert!(
        wrong.contains("is not valid for") && wrong.contains("status"),
        "{wrong}"
    );
    assert_eq!(console.api(VERA, &["/api/v1/requests"]).status, 403);
    let all = console.api(OLGA, &["/api/v1/requests?path=/shop"]).json();
    assert_eq!(all["requests"][0]["path"], "/shop/cart", "{all}");

    assert!(
        has("/traffic/app", "/tables/app"),
        "{}",
        page("/traffic/app")
    );
    // The page may show the table before it counts the request.
    assert!(has("/traffic/app", "p99"), "{}", page("/traffic/app"));
    let table = console.api(OLGA, &["/api/v1/tables/app"]).json();
    assert_eq!(table["entries"][0]["key"], "127.0.0.1", "{table}");
    assert!(page("/tables/app").contains("127.0.0.1"));
    let path = "/api/v1/tables/app?key=127.0.0.1";
    let removed = console.api(OLGA, &["-X", "DELETE", path]);
    assert_eq!(removed.status, 200, "{removed:?}");
    let table = console.api(OLGA, &["/api/v1/tables/app"]).json();
    assert_eq!(table["used"], 0, "{table}");
    let events = || {
        console
            .events()
            .iter()
            .any(|one| one.to_string().contains("127.0.0.1 of table app"))
    };
    assert!(eventually(SOON, events));
}

#[test]
fn the_console_shows_where_a_request_would_go_with_the_state_of_the_proxy_and_changes_nothing() {
    lab::skip_unless_installed!("curl");
    let console = Console::start();
    let path = format!(
        "/api/v1/route?url=http://{}/shop&header=Host:+shop",
        console.web
    );
    let before = console.api(OLGA, &[&path]);
    assert_eq!(before.status, 200, "{before:?}");
    let before = before.json();
    assert_eq!(before["outcome"]["backend"], "app", "{before}");
    assert_eq!(
        before["lines"][0]["text"], "default_backend app",
        "{before}"
    );
    let order = ["what=server", "proxy=app", "server=one", "do=maint"];
    let order = order.iter().flat_map(|field| ["-d", field]);
    let order: Vec<&str> = order.chain(["/api/v1/act"]).collect();
    assert_eq!(console.api(OLGA, &order).status, 200);
    let is_two = || {
        let after = console.api(OLGA, &[&path]).json();
        after["outcome"]["server"] == "two" && after["live"]["servers"][0]["status"] == "MAINT"
    };
    assert!(
        eventually(SOON, is_two),
        "{}",
        console.api(OLGA, &[&path]).body
    );
    let nobody = format!("/api/v1/route?url=http://{}/", console.at);
    let nobody = console.api(OLGA, &[&nobody]);
    assert_eq!(nobody.status, 409, "{nobody:?}");
    assert!(nobody.body.contains("no frontend listens"), "{nobody:?}");
    assert_eq!(console.api(VERA, &[&path]).status, 403);
    let olga = console.sign_in(OLGA);
    let form = format!("/route?url=http://{}/shop", console.web);
    let page = console.get(&["-H", &olga, &form]).body;
    assert!(page.contains("server app/two"), "{page}");
    // The evaluated request reached no server, and was not counted.
    assert_eq!(console.served_by(), "two");
}

#[test]
fn the_files_that_are_served_are_shown_with_their_secrets_covered() {
    lab::skip_unless_installed!("curl");
    let console = Console::start();
    let vera = console.sign_in(VERA);
    let list = console.get(&["-H", &vera, "/config/served"]).body;
    let (_, path) = list.split_once("/config/served?path=").expect("a file");
    let path = path.split('"').next().unwrap_or_default();
    let file = format!("/config/served?path={path}");
    let text = || console.get(&["-H", &vera, &file]).body;
    let shown = text();
    assert!(shown.contains("userlist"), "{shown}");
    for [name, password] in [OLGA, VERA] {
        assert!(shown.contains(name) && !shown.contains(password), "{shown}");
    }
    // The page shows the served configuration, not the current content of the file.
    console.write(|config| config.replace("\nbackend app\n", "\nbackend app # new\n"));
    assert!(!text().contains("# new"));
}

#[test]
fn what_a_line_covers_is_covered_in_its_terms_and_in_the_values_that_it_compared() {
    lab::skip_unless_installed!("curl");
    let console = Console::start();
    console.reload(|config| {
        let lines = "    http-request set-header X-Api-Key HIDDEN1\n    \
             http-request set-header X-Seen yes if { req.hdr(x-api-key) HIDDEN1 }\n    \
             http-request deny if { url_param(token) HIDDEN2 } or { req.hdr(x-plain) a }\n";
        config.replace(
            "    default_backend app\n",
            &format!("{lines}    default_backend app\n"),
        )
    });
    let path = format!("/api/v1/route?url=http://{}/?token=b", console.web);
    let report = console.api(OLGA, &[&path]);
    assert_eq!(report.status, 200, "{report:?}");
    assert!(report.body.contains("x-api-key"), "{report:?}");
    assert!(!report.body.contains("HIDDEN"), "{report:?}");
}
