//! Decides from a configuration and the states of its servers whether the services behind a
//! virtual address can be served on this machine.

use model::config::{BindAddress, Config, Proxy, ProxyIndex, Service, SwitchTarget};
use protocol::vitals::Band;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering::Relaxed;

/// Share of a frontend's streams that can be served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ServiceLevel {
    All,
    Some,
    Nothing,
}

/// Returns whether a wildcard listener accepts connections to an address.
fn takes_any(listener: SocketAddr, v6only: bool, address: IpAddr) -> bool {
    match listener.ip() {
        IpAddr::V4(ip) => ip.is_unspecified() && address.is_ipv4(),
        IpAddr::V6(ip) => ip.is_unspecified() && (address.is_ipv6() || !v6only),
    }
}

/// Returns the frontends that accept connections to these addresses: those bound to one of them
/// or, if there are none, those bound to a wildcard.
pub(super) fn frontends<'c>(config: &'c Config, addresses: &[IpAddr]) -> Vec<&'c Proxy> {
    let listens = |proxy: &&Proxy, wanted: &dyn Fn(SocketAddr, bool) -> bool| {
        let of = |bind: &model::config::Bind| match bind.address {
            BindAddress::Inet(address) => wanted(address, bind.v6only.unwrap_or(false)),
            _ => false,
        };
        proxy.kind.is_frontend() && !proxy.disabled && proxy.binds.iter().any(of)
    };
    let is_one = |listener: SocketAddr, _: bool| addresses.contains(&listener.ip().to_canonical());
    let own: Vec<&Proxy> = config
        .proxies
        .iter()
        .filter(|proxy| listens(proxy, &is_one))
        .collect();
    if !own.is_empty() {
        return own;
    }
    let any = |listener: SocketAddr, v6only: bool| {
        addresses
            .iter()
            .any(|address| takes_any(listener, v6only, *address))
    };
    let all = config.proxies.iter();
    all.filter(|proxy| listens(proxy, &any)).collect()
}

/// Returns the backends that a frontend's `use_backend` and `default_backend` lines name; a
/// `listen` section without such a line is its own backend.
fn backends(config: &Config, frontend: &Proxy) -> Vec<ProxyIndex> {
    let named = frontend
        .use_backend
        .iter()
        .filter_map(|rule| match &rule.target {
            SwitchTarget::Static(reference) => reference.index,
            // Leaves out a name that is computed for each request, because any backend may have it.
            SwitchTarget::Dynamic(_) => None,
        });
    let mut all: Vec<ProxyIndex> = named.collect();
    let default = frontend.default_backend.as_ref().and_then(|r| r.index);
    let own = || {
        let own = config.backend(&frontend.name);
        own.filter(|_| frontend.kind.is_backend())
    };
    all.extend(default.or_else(own));
    all.sort_unstable_by_key(|index| index.0);
    all.dedup();
    all
}

/// Returns whether a backend can serve streams: a server is usable, or the backend has no servers
/// and responds by its rules.
pub(super) fn is_served(backend: &Proxy) -> bool {
    !backend.disabled && (backend.servers.is_empty() || backend.state.usable_servers() > 0)
}

pub(super) fn is_usable(config: &Config, frontend: &Proxy) -> bool {
    served(config, frontend) != ServiceLevel::Nothing
}

fn served(config: &Config, frontend: &Proxy) -> ServiceLevel {
    // Serves nothing if an operator has disabled the frontend.
    if frontend.state.frontend.paused.load(Relaxed) || frontend.state.is_shut_down() {
        return ServiceLevel::Nothing;
    }
    let backends = backends(config, frontend);
    let well = backends
        .iter()
        .filter(|index| is_served(config.proxy(**index)));
    let unopened = frontend.state.frontend.unopened.load(Relaxed) as usize;
    match (well.count(), backends.len()) {
        _ if unopened > 0 && unopened >= frontend.binds.len() => ServiceLevel::Nothing,
        (well, all) if well == all && unopened == 0 => ServiceLevel::All,
        (0, _) => ServiceLevel::Nothing,
        _ => ServiceLevel::Some,
    }
}

/// Returns whether some backend of a service has usable servers only because their first health
/// checks have not ended.
pub(super) fn is_untested(config: &Config, service: &Service) -> bool {
    let named = service.backends.iter();
    let named = named.filter_map(|name| config.backend(name));
    let frontends = frontends(config, &service.addresses);
    let served = frontends.iter().flat_map(|one| backends(config, one));
    named.chain(served).any(|index| {
        let mut usable = config
            .proxy(index)
            .servers
            .iter()
            .filter(|server| server.state.usable())
            .peekable();
        usable.peek().is_some() && usable.all(|server| server.state.is_untested())
    })
}

/// Returns the band of a service. Addresses without a listener do not count as unavailable.
pub(super) fn band(config: &Config, service: &Service) -> Band {
    let has_lost = |name: &&str| {
        let index = config.backend(name);
        index.is_none_or(|index| !is_served(config.proxy(index)))
    };
    let mut tracked = service.backends.iter().map(|name| &**name);
    if tracked.any(|name| has_lost(&name)) {
        return Band::None;
    }
    let all: Vec<ServiceLevel> = frontends(config, &service.addresses)
        .into_iter()
        .map(|frontend| served(config, frontend))
        .collect();
    if all.iter().all(|served| *served == ServiceLevel::All) {
        Band::All
    } else if all.iter().all(|served| *served == ServiceLevel::Nothing) {
        Band::None
    } else {
        Band::Some
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyword::testing::load_text;
    use model::state;

    const FILE: &str = "\
defaults
    mode http
frontend www
    bind 192.0.2.1:80
    use_backend api if { path_beg /api }
    default_backend app
frontend redirects
    bind 192.0.2.1:81
    http-request redirect location /
frontend any
    bind :8080
    bind [::]:8080 v6only
    default_backend app
listen mail
    mode tcp
    bind 192.0.2.2:25
    server a 127.0.0.1:1
backend app
    server a 127.0.0.1:1
    server b 127.0.0.1:2
backend api
    server a 127.0.0.1:1
";

    fn service(address: &str, backends: &[&str]) -> Service {
        Service {
            name: "it".into(),
            addresses: vec![address.parse().expect("an address")],
            backends: backends.iter().map(|name| (*name).into()).collect(),
            ..Service::default()
        }
    }

    /// Returns the bands of addresses after servers were taken out.
    fn bands(out: &[(&str, &str)], services: &[Service]) -> Vec<Band> {
        let mut config = load_text(FILE).config.expect("no error");
        model::control::install(&mut config, None, 0);
        for (backend, server) in out {
            let index = config.backend(backend).expect("there");
            let proxy = config.proxy(index);
            let server = proxy.servers.iter().find(|s| &*s.name == *server);
            let server = server.expect("there");
            server.state.set_admin(state::AdminState::Maintenance, 0);
        }
        services
            .iter()
            .map(|service| band(&config, service))
            .collect()
    }

    #[test]
    fn backends_without_servers_lower_the_service_level() {
        let www = [service("192.0.2.1", &[])];
        assert_eq!(bands(&[], &www), [Band::All]);
        assert_eq!(
            bands(&[("app", "a")], &www),
            [Band::All],
            "another one is left"
        );
        assert_eq!(bands(&[("api", "a")], &www), [Band::Some]);
        let all = [("api", "a"), ("app", "a"), ("app", "b")];
        assert_eq!(
            bands(&all, &www),
            [Band::Some],
            "the redirections are served"
        );
    }

    #[test]
    fn a_listen_is_its_own_backend() {
        let mail = [service("192.0.2.2", &[])];
        assert_eq!(bands(&[], &mail), [Band::All]);
        assert_eq!(bands(&[("mail", "a")], &mail), [Band::None]);
    }

    #[test]
    fn an_address_that_no_line_names_has_the_frontends_of_any_address() {
        let others = [service("198.51.100.1", &[]), service("2001:db8::1", &[])];
        assert_eq!(bands(&[], &others), [Band::All; 2]);
        let down = [("app", "a"), ("app", "b")];
        assert_eq!(bands(&down, &others), [Band::None; 2]);
    }

    #[test]
    fn a_backend_that_is_tracked_counts_for_itself() {
        let tracked = [
            service("192.0.2.2", &["api"]),
            service("192.0.2.2", &["gone"]),
        ];
        assert_eq!(bands(&[], &tracked), [Band::All, Band::None]);
        assert_eq!(bands(&[("api", "a")], &tracked), [Band::None, Band::None]);
    }

    #[test]
    fn service_is_untested_until_one_server_of_each_backend_is_checked() {
        let text = FILE.replace("127.0.0.1:1\n", "127.0.0.1:1 check\n");
        let text = text.replace("server b 127.0.0.1:2", "server b 127.0.0.1:2 check");
        let mut config = load_text(&text).config.expect("no error");
        model::control::install(&mut config, None, 0);
        let www = service("192.0.2.1", &[]);
        let unchecked = load_text(FILE).config.expect("no error");
        assert!(!is_untested(&unchecked, &www));
        let end = |backend: &str, server: &str| {
            let index = config.backend(backend).expect("there");
            let servers = &config.proxy(index).servers;
            let server = servers.iter().find(|one| &*one.name == server);
            let result = state::CheckResult::new(state::CheckStatus::Layer4Ok, 1);
            server.expect("there").state.take_check(result, 1);
        };
        assert!(is_untested(&config, &www));
        end("app", "b");
        assert!(is_untested(&config, &www), "no server of api is checked");
        end("api", "a");
        assert!(!is_untested(&config, &www));
        assert!(is_untested(&config, &service("192.0.2.2", &[])));
    }
}
