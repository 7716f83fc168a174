//! Tests of the lines of a `test` section, and of the messages for unexpected results.

use super::*;
use configuration::outside::Outside;
use configuration::{LoadOptions, Recording, SectionKeywords};
use keyword::load::{self, Loaded};
use language::source::Text;
use language::{Environment, Facts, render};

const SITE: &str = "\
defaults
    mode http
    timeout client 5s
    timeout server 5s
    timeout connect 1s
frontend web
    bind :8080
    http-request deny if { path_beg /admin } !{ src 10.0.0.0/8 }
    http-request redirect location https://shop.example/new code 301 if { path /old }
    http-request track-sc0 src table app
    http-request deny deny_status 429 if { sc_http_req_rate(0) gt 1 }
    use_backend none if { path /none }
    use_backend static if { hdr(host) -m beg static. }
    default_backend app
frontend tunnel
    mode tcp
    bind :1194
    tcp-request connection reject if { src 203.0.113.0/24 }
    use_backend two if { src 198.51.100.7 }
    default_backend one
frontend raw
    mode tcp
    bind :8443
    tcp-request inspect-delay 5s
    tcp-request content accept if { req.ssl_hello_type 1 }
    use_backend two if { req.ssl_sni -i two.example }
    use_backend one if { req.payload(0,2) -m str hi }
backend app
    stick-table type ip size 10 expire 1m store http_req_rate(1m)
    http-request deny if { path /inside }
    server a1 10.0.0.1:80
    server a2 10.0.0.2:80 disabled
backend static
    server s1 10.0.1.1:80
backend none
    server n1 10.0.3.1:80 disabled
backend one
    mode tcp
    server o1 10.0.2.1:1194
backend two
    mode tcp
    server t1 10.0.2.2:1194
";

/// A configuration of the proxy with its expectations.
struct TestedSite {
    proxy: Loaded,
    expectations: Vec<Expectation>,
}

impl TestedSite {
    fn check_expectations(&mut self) {
        if self.proxy.config.is_some() {
            let (recording, sources) = (&self.proxy.recording, &self.proxy.sources);
            for told in unmet(&self.expectations, recording, sources) {
                self.proxy.diagnostics.push(&self.proxy.sources, told);
            }
        }
    }
}

fn load(lines: &str) -> TestedSite {
    let text = Text::new(format!("{SITE}{lines}").into_bytes());
    let files = vec![("site.cfg".to_owned(), text)];
    let (facts, options) = (Facts::new("3.4.0"), LoadOptions::default());
    let words = SectionKeywords::from_parts([&load::PART.sections, &PART.sections]);
    let inputs = Recording::new(files, Environment::empty(), facts, options, words);
    let mut loaded = configuration::load(&[&load::PART, &PART], inputs, Outside::default());
    TestedSite {
        expectations: loaded.take_part(&PART),
        proxy: Loaded::of(loaded),
    }
}

fn told(lines: &[&str]) -> String {
    let mut site = load(&format!("test all\n    {}\n", lines.join("\n    ")));
    site.check_expectations();
    let loaded = &site.proxy;
    render::concise(&loaded.sources, &loaded.diagnostics, true)
}

#[test]
fn met_expectations_are_not_reported() {
    let lines = [
        "expect http://shop.example:8080/ backend app",
        "expect GET http://shop.example:8080/ server a1",
        "expect POST /cart on web data a=b server app/a1",
        "expect /admin on web status 403",
        "expect /admin on web from 10.1.2.3 backend app",
        "expect /admin on web from [2001:db8::7]:99 to [2001:db8::1]:8080 status 403",
        "expect /old on web status 301 location https://shop.example/new",
        "expect /inside on web backend app status 403",
        "expect / on web header 'Host: static.example' server static/s1",
        "expect /none on web refused",
        "expect /none on web status 503",
        "expect on web backend app",
        "expect on tunnel backend one",
        "expect from 198.51.100.7 on tunnel backend two",
        "expect from 203.0.113.9 on tunnel refused",
        "expect sni two.example on raw backend two",
        "expect sni three.example on raw refused",
        "expect data hi on raw backend one",
        "expect data ho on raw refused",
        "expect https://two.example:8443/ server two/t1",
    ];
    assert_eq!(told(&lines), "");
}

#[test]
fn each_request_has_its_own_tables() {
    assert_eq!(told(&["expect / on web backend app"; 5]), "");
}

#[test]
fn unmet_expectation_reports_the_actual_outcome() {
    let text = told(&[
        "expect http://shop.example:8080/ backend static",
        "expect / on web server a2",
        "expect / on web status 200",
        "expect /admin on web backend app",
        "expect /old on web status 302 location https://shop.example/new",
        "expect /old on web location https://shop.example/old",
        "expect /inside on web backend app",
        "expect / on web refused",
        "expect /none on web backend none",
        "expect from 203.0.113.9 on tunnel backend one",
        "expect from 198.51.100.7 to 192.0.2.9:1194 backend one",
        "expect http://shop.example/ backend app",
        "expect / on wbe backend app",
        "expect https://shop.example/ on web backend app",
    ]);
    insta::assert_snapshot!(text);
}

#[test]
fn suggested_route_command_contains_the_whole_request() {
    let mut site = load(
        "test\n    expect POST \"/a?b='c\" on web from 10.0.0.1:5 to 192.0.2.8 header \"X-A: it's\" data 'x y' status 200\n",
    );
    site.check_expectations();
    let told = site
        .proxy
        .diagnostics
        .iter()
        .find_map(|told| told.help.clone())
        .unwrap();
    // Expects words that are quoted for a shell.
    let words = " site.cfg 'POST http://localhost/a?b='\\''c' --frontend web --src 10.0.0.1:5 --to 192.0.2.8 \
                 --header 'X-A: it'\\''s' --data 'x y'` shows each line that was evaluated";
    assert!(told.ends_with(words), "{told}");
}

#[test]
fn invalid_lines_are_reported_at_their_words() {
    let text = told(&[
        "expct / on web status 200",
        "expect",
        "expect /",
        "expect / on web",
        "expect / on web status",
        "expect / on web status 99",
        "expect / on web status ok",
        "expect / on web refused status 403",
        "expect / on web form 10.0.0.1 status 200",
        "expect GET shop.example on web status 200",
        "expect form 10.0.0.1 on web status 200",
        "expect ftp://shop.example/ status 200",
        "expect / on web on web status 200",
        "expect / on web from nowhere status 200",
        "expect / on web header X status 200",
        "expect / on web header 'Content-Length: 5' status 200",
        "expect / on web backend ap",
        "expect / on web server ap/a1",
        "expect / status 200",
        "expect status 200",
    ]);
    insta::assert_snapshot!(text);
}

#[test]
fn expectations_are_skipped_for_invalid_files() {
    let mut site = load("test\n    expect / on web status 200\n    what\n");
    let before = site.proxy.diagnostics.errors();
    site.check_expectations();
    assert_eq!((before, site.proxy.diagnostics.errors()), (1, 1));
    // A start does not evaluate the requests.
    let site = load("test\n    expect / on web status 200\n");
    assert!(site.proxy.config.is_some());
}

#[test]
fn every_example_is_valid() {
    for row in documented() {
        let text = match row.kind {
            "section" => row.example.to_owned(),
            _ => format!("test\n    {}", row.example),
        };
        let site = load(&format!("{text}\n"));
        assert_eq!(site.proxy.diagnostics.errors(), 0, "{}", row.name);
    }
}

#[test]
fn there_is_a_limit() {
    let lines = "    expect / on web backend app\n".repeat(1001);
    let site = load(&format!("test\n{lines}"));
    let loaded = &site.proxy;
    let told = render::concise(&loaded.sources, &loaded.diagnostics, true);
    assert!(
        told.contains("E0874") && told.lines().count() == 1,
        "{told}"
    );
}
