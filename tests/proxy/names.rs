//! Compares servers that follow host names with HAProxy's, with the same nameserver.

use crate::program::Program;
use lab::{
    Location, Nameserver, OriginServer, Peer, Probe, Records, Syslog, eventually, free_port,
};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(120);

const CONFIG: &str = "
    global
        log @LOG@ local0
    defaults
        mode http
        log global
        timeout client 10s
        timeout server 10s
        timeout connect 2s
        retries 0
    resolvers dns
        nameserver ns1 @NAMES@
        accepted_payload_size 4096
        timeout resolve 100ms
        timeout retry 1s
        resolve_retries 2
        hold nx 100ms
        hold other 100ms
        hold refused 100ms
        hold timeout 100ms
        hold valid 100ms
        hold obsolete 0
    frontend web
        bind @WEB@
        http-request return status 200 content-type text/plain string up if { path /up }
        http-request do-resolve(txn.ip,dns,ipv4) req.hdr(x-name),lower if { path /resolve }
        http-request return status 200 content-type text/plain lf-string [%[var(txn.ip)]] if { path /resolve }
        use_backend one if { path_beg /one }
        use_backend template if { path_beg /template }
        use_backend service if { path_beg /service }
        use_backend count if { path_beg /count }
    backend one
        server s web.test:@PORT@ resolvers dns init-addr none resolve-prefer ipv4
    backend template
        balance roundrobin
        server-template web 3 many.test:@PORT@ resolvers dns init-addr none
    backend service
        server-template s 1-2 _http._tcp.test resolvers dns init-addr none resolve-prefer ipv4
    backend count
        http-request return status 200 content-type text/plain lf-string %[nbsrv(template)],%[nbsrv(service)]
";

struct ResolverProxy {
    web: SocketAddr,
    names: Nameserver,
    log: Syslog,
    _origins: Vec<OriginServer>,
    port: u16,
    _peer: Peer,
}

impl ResolverProxy {
    fn start(program: Program) -> ResolverProxy {
        let at = |last: u8, port| SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), port));
        let (web, port) = (at(1, free_port().unwrap()), free_port().unwrap());
        let names = Nameserver::start(Location::Here, at(1, free_port().unwrap())).unwrap();
        let origins = [11, 12, 13].map(|last| {
            let name = format!("at-{last}");
            OriginServer::start(Location::Here, &name, at(last, port)).unwrap()
        });
        let log = Syslog::udp(Location::Here, at(1, 0)).unwrap();
        let mut config = CONFIG.to_owned();
        for (mark, text) in [
            ("@WEB@", web.to_string()),
            ("@NAMES@", names.address().to_string()),
            ("@LOG@", log.address().unwrap().to_string()),
            ("@PORT@", port.to_string()),
        ] {
            config = config.replace(mark, &text);
        }
        names.addresses("web.test", &["127.0.0.11"]);
        let _peer = program.start(Location::Here, &config, web).unwrap();
        ResolverProxy {
            web,
            names,
            log,
            _origins: origins.into(),
            port,
            _peer,
        }
    }

    fn get(&self, path: &str) -> (u16, String) {
        let mut probe = Probe::new(Location::Here, self.web);
        let answer = probe.get(path).unwrap();
        (answer.status, answer.text())
    }

    /// Waits until this origin responds at a path; None: until the status is 503.
    fn until(&self, path: &str, origin: Option<&str>) {
        let mut last = None;
        let good = eventually(SOON, || {
            let (status, text) = self.get(path);
            let good = match origin {
                Some(name) => status == 200 && text.contains(name),
                None => status == 503,
            };
            last = Some((status, text));
            good
        });
        assert!(good, "{path} {origin:?}: {last:?}");
    }

    fn counts(&self, wanted: &str) {
        let mut last = String::new();
        let good = eventually(SOON, || {
            last = self.get("/count").1;
            last == wanted
        });
        assert!(good, "{wanted}: {last}");
    }

    fn told(&self, text: &str) {
        let found = self.log.wait_for(SOON, |line| line.contains(text));
        assert!(found.is_some(), "{text}: {:#?}", self.log.messages());
    }
}

fn both(scenario: fn(&ResolverProxy)) {
    lab::skip_unless_installed!("haproxy");
    for program in Program::BOTH {
        scenario(&ResolverProxy::start(program));
    }
}

#[test]
fn a_server_follows_its_name() {
    both(|side| {
        side.until("/one", Some("at-11"));
        side.told("one/s changed its IP from (none) to 127.0.0.11 by dns/ns1.");
        side.told("Server one/s ('web.test') is UP/READY (resolves again).");
        side.told("Server one/s administratively READY thanks to valid DNS answer.");
        side.names.addresses("web.test", &["127.0.0.12"]);
        side.until("/one", Some("at-12"));
        side.told("one/s changed its IP from 127.0.0.11 to 127.0.0.12 by dns/ns1.");
        side.names.set("web.test", Records::Error(3));
        side.until("/one", None);
        side.told("Server one/s is going DOWN for maintenance (DNS NX status). 0 active and 0 backup servers left.");
        side.names.addresses("web.test", &["127.0.0.13"]);
        side.until("/one", Some("at-13"));
        side.names.set("web.test", Records::Error(5));
        side.told("Server one/s is going DOWN for maintenance (DNS refused status).");
        side.names.addresses("web.test", &["127.0.0.13"]);
        side.until("/one", Some("at-13"));
        side.names.set("web.test", Records::Silence);
        side.told("Server one/s is going DOWN for maintenance (DNS timeout status).");
        side.until("/one", None);
    });
}

#[test]
fn a_template_has_as_many_servers_as_its_name_has_addresses() {
    both(|side| {
        side.names
            .addresses("many.test", &["127.0.0.11", "127.0.0.12"]);
        side.counts("2,0");
        side.until("/template", Some("at-11"));
        side.until("/template", Some("at-12"));
        side.names
            .addresses("many.test", &["127.0.0.12", "127.0.0.13", "127.0.0.11"]);
        side.counts("3,0");
        side.until("/template", Some("at-13"));
        side.names.addresses("many.test", &["127.0.0.13"]);
        side.counts("1,0");
        side.told("is going DOWN for maintenance (No IP for server ).");
    });
}

#[test]
fn srv_records_give_hosts_and_ports() {
    both(|side| {
        side.names.addresses("a.test", &["127.0.0.11"]);
        side.names.addresses("b.test", &["127.0.0.12"]);
        let service = |host: &str, weight| (1, weight, side.port, format!("{host}.test"));
        side.names.set(
            "_http._tcp.test",
            Records::Services(vec![service("a", 100)], true),
        );
        side.counts("0,1");
        side.until("/service", Some("at-11"));
        side.told("service/s1 changed its FQDN from (null) to a.test by 'SRV record'");
        side.told("service/s1 changed its IP from (none) to 127.0.0.11 by DNS additional record.");
        side.names.set(
            "_http._tcp.test",
            Records::Services(vec![service("a", 100), service("b", 10)], false),
        );
        side.counts("0,2");
        side.until("/service", Some("at-12"));
        side.names.set(
            "_http._tcp.test",
            Records::Services(vec![service("b", 10)], false),
        );
        side.counts("0,1");
        side.told(
            "Server service/s1 is going DOWN for maintenance (entry removed from SRV record).",
        );
        side.until("/service", Some("at-12"));
    });
}

#[test]
fn rules_wait_for_an_address() {
    both(|side| {
        side.names.addresses("web.test", &["127.0.0.12"]);
        let ask = |name: &str| {
            let mut probe = Probe::new(Location::Here, side.web);
            let answer = probe.request("GET", "/resolve", &[("x-name", name)], b"");
            answer.unwrap().text()
        };
        // A busy machine may take longer than the section allows.
        let good = || ask("WEB.test") == "[127.0.0.12]";
        assert!(eventually(SOON, good), "{}", ask("WEB.test"));
        assert_eq!(ask("nobody.test"), "[]");
        assert_eq!(ask("no name"), "[]");
        side.names.set("silent.test", Records::Silence);
        assert_eq!(ask("silent.test"), "[]");
    });
}

/// Differs from HAProxy, which treats it as an error of the nameserver: a response that does not
/// fit into a datagram arrives over TCP.
#[test]
fn malformed_replies_are_ignored_and_truncated_ones_use_tcp() {
    let side = ResolverProxy::start(Program::Evenkeel);
    side.until("/one", Some("at-11"));
    let addresses = vec!["127.0.0.12".parse().unwrap()];
    side.names
        .set("web.test", Records::OnlyOverTcp(addresses.clone()));
    side.until("/one", Some("at-12"));
    for bad in [
        Records::Garbage(vec![0xff; 300]),
        Records::Garbage(Vec::new()),
        Records::Foreign(vec!["127.0.0.13".parse().unwrap()]),
    ] {
        side.names.set("web.test", bad);
        let asked = side.names.query_count("web.test");
        assert!(eventually(SOON, || side.names.query_count("web.test") > asked + 6));
        assert!(!side.get("/one").1.contains("at-13"));
    }
    side.names.addresses("web.test", &["127.0.0.13"]);
    side.until("/one", Some("at-13"));
}
