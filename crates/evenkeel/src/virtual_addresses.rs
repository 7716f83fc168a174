//! Where the proxy's language and that of virtual addresses meet: one file has sections
//! of both. The tables of their keywords and codes are joined here, and so are the
//! configurations that a file leads to; neither crate knows the other.

use address::config::{Config, Instance};
use address::keyword::{self, Host, HostInterface, Outcome};
use language::keyword::Documented;
use language::{Code, Diagnostic, Diagnostics, SectionLines, Span};
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{SockaddrLike, SockaddrStorage};
use proxy::config::Service;
use proxy::load::Loaded;
use std::net::IpAddr;

/// For which machine files are read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Where<'n> {
    /// For this one, which is to run them.
    Here,
    /// For this one, which is the node of this name in its cluster.
    Node(&'n str),
    /// Only to say what is wrong with them.
    Elsewhere,
    /// For this one, by a process that has no address role.
    WithoutRole,
}

/// Every keyword of all crates.
pub fn documented() -> Vec<Documented> {
    let mut all = proxy::keyword::registry().documented();
    all.extend(keyword::documented());
    all.extend(address::dialect::documented());
    all.extend(cluster::keyword::documented());
    all.push(proxy::load::ON_DOCUMENTED);
    all.extend(proxy::reference::documented());
    all
}

/// Every code of the crates that build sections which the proxy does not.
pub fn codes() -> impl Iterator<Item = &'static Code> {
    let dialect = address::codes::DIALECT_CODES.iter();
    let config = cluster::keyword::codes::CODES.iter();
    keyword::codes::CODES
        .iter()
        .chain(dialect)
        .chain(config)
        .copied()
}

/// Builds the sections that the proxy's loader left to others. What is wrong is told with
/// the rest of the file and refuses it. The proxy learns which addresses come and go, those
/// of `other` (files of keepalived's) included.
pub fn add(loaded: &mut Loaded, other: Option<&Config>, place: Where<'_>) -> Option<Outcome> {
    let errors = loaded.diagnostics.errors();
    let outcome = match place {
        Where::WithoutRole => {
            refuse(loaded);
            None
        }
        Where::Here | Where::Node(_) | Where::Elsewhere => {
            let host = match place {
                Where::Here => this_host(),
                Where::Node(name) => Host {
                    name: Some(name.to_owned()),
                    ..this_host()
                },
                _ => Host::default(),
            };
            let (sections, sources) = (of_addresses(&loaded.others), &loaded.sources);
            let outcome = keyword::build(&sections, sources, &mut loaded.diagnostics, &host);
            add_elsewhere(loaded);
            outcome
        }
    };
    let _ = cluster::keyword::build(&loaded.others, &loaded.sources, &mut loaded.diagnostics);
    if loaded.diagnostics.errors() > errors {
        loaded.config = None;
    }
    let own = outcome.iter().flat_map(|outcome| &outcome.config.instances);
    let others = other.iter().flat_map(|config| &config.instances);
    let services: Vec<Service> = own.chain(others).map(service).collect();
    let named = outcome
        .as_ref()
        .map_or(&[][..], |outcome| &outcome.backends);
    if !services.is_empty() {
        loaded.add_services(services, named);
    }
    outcome
}

/// The sections among these that are of virtual addresses.
fn of_addresses(others: &[SectionLines]) -> Vec<SectionLines> {
    let ours = |section: &&SectionLines| {
        let word = section.head.words.first();
        keyword::SECTIONS
            .iter()
            .any(|(name, _)| word.is_some_and(|word| word.is(name)))
    };
    others.iter().filter(ours).cloned().collect()
}

/// Tells what is wrong with lines that count on other nodes only. What those machines
/// have is not known here.
fn add_elsewhere(loaded: &mut Loaded) {
    for elsewhere in &loaded.elsewhere {
        let mut diagnostics = Diagnostics::default();
        let sections = of_addresses(&elsewhere.others);
        let host = Host::default();
        keyword::build(&sections, &loaded.sources, &mut diagnostics, &host);
        let within = |span: Span| {
            let mut lines = elsewhere.lines.iter();
            lines.any(|l| l.file == span.file && l.start <= span.start && span.end <= l.end)
        };
        let own = |told: &&Diagnostic| told.primary.is_some_and(within);
        for told in diagnostics.iter().filter(own) {
            let told = told
                .clone()
                .note(format!("as the node '{}' reads it", elsewhere.node));
            loaded.diagnostics.push(&loaded.sources, told);
        }
    }
}

/// What the proxy has to know of an instance.
fn service(instance: &Instance) -> Service {
    let addresses = instance.addresses.iter().chain(&instance.excluded);
    let backends = instance.tracked.backends.iter();
    Service {
        name: instance.name.as_str().into(),
        interface: instance.interface.as_str().into(),
        router_id: instance.vrid,
        addresses: addresses.map(|address| address.address).collect(),
        backends: backends.map(|name| name.as_str().into()).collect(),
    }
}

/// Says that nobody would serve the sections.
fn refuse(loaded: &mut Loaded) {
    let Some(first) = of_addresses(&loaded.others).into_iter().next() else {
        return;
    };
    let told = format!(
        "a '{}' section needs the address role, which this process does not start",
        first
            .head
            .words
            .first()
            .map_or("virtual-ip".into(), |word| word.text())
    );
    let told = Diagnostic::error(&keyword::codes::NOT_HERE, first.head.span, told)
        .label("virtual addresses need a supervisor")
        .help("start it with `evenkeel run -f FILE`, or as `haproxy -W`");
    loaded.diagnostics.push(&loaded.sources, told);
}

/// What this machine is.
pub fn this_host() -> Host {
    let name = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    let mut interfaces: Vec<HostInterface> = Vec::new();
    for found in getifaddrs().into_iter().flatten() {
        let at = interfaces
            .iter()
            .position(|i| i.name == found.interface_name);
        let at = at.unwrap_or_else(|| {
            interfaces.push(HostInterface {
                name: found.interface_name.clone(),
                addresses: Vec::new(),
            });
            interfaces.len() - 1
        });
        let address = found.address.as_ref().and_then(ip_address);
        let mask = found.netmask.as_ref().and_then(ip_address);
        if let (Some(address), Some(mask), Some(interface)) =
            (address, mask, interfaces.get_mut(at))
        {
            interface.addresses.push((address, prefix(mask)));
        }
    }
    Host {
        name: Some(name),
        interfaces,
    }
}

fn ip_address(found: &SockaddrStorage) -> Option<IpAddr> {
    match found.family()? {
        nix::sys::socket::AddressFamily::Inet => Some(found.as_sockaddr_in()?.ip().into()),
        nix::sys::socket::AddressFamily::Inet6 => Some(found.as_sockaddr_in6()?.ip().into()),
        _ => None,
    }
}

fn prefix(mask: IpAddr) -> u8 {
    let ones = match mask {
        IpAddr::V4(mask) => mask.to_bits().leading_ones(),
        IpAddr::V6(mask) => mask.to_bits().leading_ones(),
    };
    u8::try_from(ones).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process;
    use configuration::LoadOptions;
    use language::render;

    fn load(text: &str, place: Where<'_>) -> (Loaded, Option<Outcome>) {
        let files = vec![("site.cfg".to_owned(), text.as_bytes().to_vec())];
        let mut loaded = process::load_files(files, None, LoadOptions::default());
        let outcome = add(&mut loaded, None, place);
        (loaded, outcome)
    }

    fn told(loaded: &Loaded) -> String {
        render::concise(&loaded.sources, &loaded.diagnostics, true)
    }

    const FILE: &str = "\
listen www
    bind 198.51.100.80:80
    mode http
    timeout client 1s
    timeout connect 1s
    timeout server 1s
    server a 127.0.0.1:1
virtual-ip www
    address 198.51.100.80/24
    interface eth0
    prefer alpha beta
    track backend www
";

    #[test]
    fn a_file_of_both_languages_leads_to_both_configurations() {
        let (loaded, outcome) = load(FILE, Where::Elsewhere);
        assert_eq!(told(&loaded), "");
        let config = loaded.config.expect("no error");
        assert!(config.is_virtual([198, 51, 100, 80].into()));
        assert_eq!(&*config.services[0].backends, &["www".into()]);
        assert_eq!(outcome.expect("no error").config.instances[0].name, "www");
        let again = proxy::load::replay(loaded.recording);
        let replayed = again.config.expect("no error");
        assert_eq!(replayed.services, config.services);
    }

    #[test]
    fn a_backend_that_is_tracked_and_not_there_is_told_at_its_word() {
        let (loaded, _) = load(
            &FILE.replace("track backend www", "track backend ww"),
            Where::Elsewhere,
        );
        assert!(loaded.config.is_none());
        assert_eq!(
            told(&loaded),
            "site.cfg:12:19: error[E0301]: there is no backend 'ww' (did you mean 'www'?)\n"
        );
    }

    #[test]
    fn a_mistake_in_an_address_refuses_the_whole_file() {
        let (loaded, outcome) = load(&FILE.replace("address 198", "adress 198"), Where::Elsewhere);
        assert!(loaded.config.is_none() && outcome.is_none());
        assert!(
            told(&loaded).contains("did you mean 'address'?"),
            "{}",
            told(&loaded)
        );
    }

    #[test]
    fn a_process_without_a_role_says_how_to_start_one() {
        let (loaded, _) = load(FILE, Where::WithoutRole);
        assert!(loaded.config.is_none());
        assert!(told(&loaded).contains("E0665"), "{}", told(&loaded));
        let (loaded, _) = load("listen a\n    bind 127.0.0.1:1\n", Where::WithoutRole);
        assert_eq!(told(&loaded).matches("error").count(), 0);
    }

    #[test]
    fn this_machine_has_a_name_and_a_loopback_interface() {
        let host = this_host();
        assert!(host.name.is_some_and(|name| !name.is_empty()));
        let lo = host.interfaces.iter().find(|i| i.name == "lo");
        let loopback = IpAddr::from([127, 0, 0, 1]);
        assert!(lo.is_some_and(|lo| lo.addresses.contains(&(loopback, 8))));
    }

    #[test]
    fn the_example_of_a_pair_is_good_on_both_machines() {
        let text = include_str!("../../../examples/pair.cfg");
        let (loaded, outcome) = load(text, Where::Elsewhere);
        assert_eq!(told(&loaded), "");
        let instance = outcome.expect("no error").config.instances.remove(0);
        assert_eq!(instance.options.advert_interval.as_millis(), 20);
        assert_eq!(instance.prefer, ["alpha", "beta"]);
    }

    #[test]
    fn a_listener_on_an_address_that_comes_and_goes_is_nothing_to_warn_of() {
        let text =
            "listen www\n    bind 198.51.100.80:80\n    mode http\n    server a 127.0.0.1:1\n";
        let own = "virtual-ip www\n    address 198.51.100.80/24\n    interface lo\n";
        let load_here = |text: String| {
            let files = vec![("site.cfg".to_owned(), text.into_bytes())];
            let options = LoadOptions {
                resolve_names: true,
                ..LoadOptions::default()
            };
            let mut loaded = process::load_files(files, None, options);
            add(&mut loaded, None, Where::Here);
            told(&loaded)
        };
        assert!(load_here(text.to_owned()).contains("W0108"));
        let told = load_here(format!("{text}{own}"));
        assert!(!told.contains("W0108"), "{told}");
    }
}
