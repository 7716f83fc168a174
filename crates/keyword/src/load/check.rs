//! Checks the proxies of a loaded configuration for missing settings, unreachable rules and
//! settings without effect. The checks only report; nothing is changed.

use super::{Loader, codes};
use crate::family::timeout;
use language::{Diagnostic, Span};
use model::config::{Bind, BindAddress, Mode, Proxy, ProxyKind, ProxyOption};
use model::rules::TcpRule;
use std::collections::HashMap;
use std::net::IpAddr;

/// HTTP options that HAProxy warns about in `mode tcp`, and whether they concern clients, servers,
/// or both.
const HTTP_OPTIONS: &[(ProxyOption, &str, bool, bool)] = &[
    (
        ProxyOption::AcceptInvalidHttpRequest,
        "option accept-invalid-http-request",
        true,
        false,
    ),
    (
        ProxyOption::AcceptInvalidHttpResponse,
        "option accept-invalid-http-response",
        false,
        true,
    ),
    (ProxyOption::CheckCache, "option checkcache", false, true),
    (
        ProxyOption::HttpBufferRequest,
        "option http-buffer-request",
        true,
        true,
    ),
    (
        ProxyOption::HttpIgnoreProbes,
        "option http-ignore-probes",
        true,
        false,
    ),
    (ProxyOption::HttpNoDelay, "option http-no-delay", true, true),
    (
        ProxyOption::HttpPretendKeepAlive,
        "option http-pretend-keepalive",
        false,
        true,
    ),
    (
        ProxyOption::HttpUseProxyHeader,
        "option http-use-proxy-header",
        true,
        false,
    ),
    (
        ProxyOption::PreferLastServer,
        "option prefer-last-server",
        false,
        true,
    ),
];

/// Status of the response to a request without a server.
const UNAVAILABLE: u16 = 503;

impl Loader {
    pub(super) fn check_proxies(&mut self) {
        let mut told = Vec::new();
        for (index, proxy) in self.config.iter() {
            if !self.refused.any(index, &["default_backend"]) {
                told.extend(unused_servers(proxy));
            }
            if proxy.disabled {
                continue;
            }
            if !self.refused.any(index, &["bind"]) {
                let elsewhere = self.refused.has_line_for_other_nodes(index, "bind");
                told.extend(no_bind(proxy, elsewhere));
            }
            if !self.occupied.contains(&index) {
                told.extend(no_servers(proxy));
            }
            if !self.refused.any(
                index,
                &["timeout", "clitimeout", "contimeout", "srvtimeout"],
            ) {
                told.extend(no_timeouts(proxy));
            }
            told.extend(unreachable_switches(proxy));
            let switches = proxy.tcp_content.iter().any(TcpRule::switches_to_http);
            if proxy.mode == Mode::Tcp && !switches {
                told.extend(http_in_tcp(proxy));
            }
        }
        self.report_all(told);
    }

    /// Warns of addresses with two listeners, and of addresses that this machine does not have.
    pub(super) fn check_listeners(&mut self) {
        let mut told = Vec::new();
        let mut first: HashMap<(&BindAddress, Option<&str>), Span> = HashMap::new();
        let own = if self.context.options.resolve_names {
            self.context.outside.own_addresses()
        } else {
            None
        };
        let mut foreign: Vec<(Span, IpAddr)> = Vec::new();
        for proxy in self
            .config
            .proxies
            .iter()
            .filter(|p| p.kind.is_frontend() && !p.disabled)
        {
            for bind in &proxy.binds {
                match first.entry((&bind.address, bind.interface.as_deref())) {
                    std::collections::hash_map::Entry::Vacant(entry) => {
                        entry.insert(bind.span);
                    }
                    std::collections::hash_map::Entry::Occupied(entry) => {
                        told.push(bound_twice(bind, *entry.get()));
                    }
                }
                // Skips virtual addresses, which another machine may have at the moment.
                let foreign_ip = foreign_address(bind, own.as_deref());
                if let Some(ip) = foreign_ip.filter(|ip| !self.config.is_virtual(*ip)) {
                    // A range of ports counts as one address.
                    if foreign.last() != Some(&(bind.span, ip)) {
                        foreign.push((bind.span, ip));
                    }
                }
            }
        }
        told.extend(
            foreign
                .into_iter()
                .map(|(span, ip)| foreign_warning(span, ip)),
        );
        self.report_all(told);
    }
}

fn unused_servers(proxy: &Proxy) -> Option<Diagnostic> {
    let reference = proxy.default_backend.as_ref()?;
    // Reports nothing for an unknown backend, which was reported already.
    reference.index?;
    if proxy.kind != ProxyKind::Listen || proxy.servers.is_empty() {
        return None;
    }
    let told = format!("the servers of '{}' will never be used", proxy.name);
    Some(
        Diagnostic::warning(&codes::NEVER_USED_SERVERS, reference.span, told)
            .label("this backend gets all requests")
            .help("remove the servers, or the `default_backend`"),
    )
}

/// Warns of a frontend without `bind`. `elsewhere` is true if it has `bind` lines for other nodes.
fn no_bind(proxy: &Proxy, elsewhere: bool) -> Option<Diagnostic> {
    (proxy.kind.is_frontend() && proxy.binds.is_empty()).then(|| {
        let what = format!("{} '{}' has no 'bind'", proxy.kind.name(), proxy.name);
        let warning = |told| Diagnostic::warning(&codes::NO_BIND, proxy.span, told);
        if elsewhere {
            warning(format!(
                "{what} for this node, so no client can reach it here"
            ))
            .label("its `on NODE bind` lines are for other nodes")
            .help("check as one of them with `--node NAME`, or add a `bind` line for this node")
        } else {
            warning(format!("{what}, so no client can reach it"))
                .help("add a line like `bind :8080`, or make it a `backend`")
        }
    })
}

/// Warns of a backend without servers, whose only response is 503. No warning is given if its rules
/// may respond, if it has its own error page for 503 (for maintenance, say), or if it shows
/// statistics.
fn no_servers(proxy: &Proxy) -> Option<Diagnostic> {
    let answers = proxy.stats.is_some()
        || !proxy.http_request.is_empty()
        || !proxy.redirects.is_empty()
        || !proxy.tcp_content.is_empty()
        || proxy
            .errors
            .iter()
            .any(|(status, _)| *status == UNAVAILABLE);
    (proxy.kind == ProxyKind::Backend && proxy.servers.is_empty() && !answers).then(|| {
        Diagnostic::warning(
            &codes::NO_SERVERS,
            proxy.span,
            format!(
                "backend '{}' has no servers, so all its requests fail",
                proxy.name
            ),
        )
    })
}

fn no_timeouts(proxy: &Proxy) -> Option<Diagnostic> {
    let missing = timeout::missing_timeouts(proxy);
    let what = format!("proxy '{}'", proxy.name);
    (!missing.is_empty()).then(|| timeout::missing_warning(proxy.span, &what, &missing))
}

/// Warns of `use_backend` rules and a `default_backend` after a rule that always applies.
fn unreachable_switches(proxy: &Proxy) -> Vec<Diagnostic> {
    let always = proxy
        .use_backend
        .iter()
        .position(|rule| rule.condition.is_none());
    let Some(always) = always else {
        return Vec::new();
    };
    let rules = &proxy.use_backend;
    let behind = rules[always + 1..].iter().map(|rule| rule.span);
    let behind = behind.chain(
        proxy
            .default_backend
            .as_ref()
            .map(|reference| reference.span),
    );
    let told = |span| {
        Diagnostic::warning(&codes::UNREACHABLE_RULE, span, "this is never reached")
            .label("never used")
            .with_label(
                rules[always].span,
                "this rule has no condition, so it applies to everything",
            )
    };
    // Reports nothing if the name of the backend is dynamic: the default applies if it is not
    // found.
    let dynamic = matches!(
        rules[always].target,
        model::config::SwitchTarget::Dynamic(_)
    );
    if dynamic {
        Vec::new()
    } else {
        behind.map(told).collect()
    }
}

fn http_in_tcp(proxy: &Proxy) -> Vec<Diagnostic> {
    let (front, back) = (proxy.kind.is_frontend(), proxy.kind.is_backend());
    let rules: &[(bool, &str)] = &[
        (!proxy.http_request.is_empty(), "'http-request' rules"),
        (!proxy.http_response.is_empty(), "'http-response' rules"),
        (
            !proxy.http_after_response.is_empty(),
            "'http-after-response' rules",
        ),
        (!proxy.redirects.is_empty(), "'redirect' rules"),
        (proxy.forward_for.is_some(), "'option forwardfor'"),
        (proxy.stats.is_some(), "'stats' statement"),
        (front && proxy.monitor_uri.is_some(), "'monitor-uri'"),
        (back && proxy.cookie.is_some(), "'cookie'"),
    ];
    let options = HTTP_OPTIONS
        .iter()
        .map(|(option, name, of_front, of_back)| {
            (
                proxy.has(*option) && ((front && *of_front) || (back && *of_back)),
                *name,
            )
        });
    let rules = rules.iter().map(|(said, what)| (*said, (*what).to_owned()));
    let options = options.map(|(said, name)| (said, format!("'{name}'")));
    let told = |what: String| {
        let (kind, name) = (proxy.kind.name(), &proxy.name);
        Diagnostic::warning(
            &codes::IGNORED_IN_MODE,
            proxy.span,
            format!("{what} ignored for {kind} '{name}' as it is in 'mode tcp'"),
        )
        .help("add 'mode http' if the traffic is HTTP")
    };
    rules
        .chain(options)
        .filter(|(said, _)| *said)
        .map(|(_, what)| told(what))
        .collect()
}

fn bound_twice(bind: &Bind, first: Span) -> Diagnostic {
    Diagnostic::warning(
        &codes::TWICE_BOUND,
        bind.span,
        format!("duplicate listening address {}", display(&bind.address)),
    )
    .label("again here")
    .with_label(first, "first here")
    .note("each connection goes to one of the two, chosen by the kernel")
}

pub(super) fn display(address: &BindAddress) -> String {
    match address {
        BindAddress::Inet(address) => address.to_string(),
        BindAddress::Unix(path) => format!("'{}'", path.display()),
        BindAddress::Abstract(name) => format!("abns@{}", String::from_utf8_lossy(name)),
        BindAddress::Fd(number) => format!("fd@{number}"),
        BindAddress::Name(host, port) => format!("{host}:{port}"),
    }
}

fn foreign_address(bind: &Bind, own: Option<&[IpAddr]>) -> Option<IpAddr> {
    let (BindAddress::Inet(address), Some(own)) = (&bind.address, own) else {
        return None;
    };
    let ip = address.ip();
    let local = ip.is_unspecified() || ip.is_loopback() || own.contains(&ip);
    (!local && !bind.transparent).then_some(ip)
}

fn foreign_warning(span: Span, ip: IpAddr) -> Diagnostic {
    Diagnostic::warning(
        &codes::FOREIGN_ADDRESS,
        span,
        format!("no interface of this host has {ip} now"),
    )
    .label("bound anyway")
    .note("connections arrive once an interface has the address, as with a virtual address")
}
