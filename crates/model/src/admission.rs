//! Numbers the listeners of a configuration by the conditions under which they admit clients. A
//! listener with another number than under the previous configuration might refuse clients that are
//! already connected. A client is admitted only once, when it connects: by the TLS options, the
//! PROXY header, and the rules for connections and sessions. A kept-alive connection must not
//! continue under a configuration that would have refused it.

use crate::compiled::condition::Term;
use crate::compiled::{AdmissionLine, TcpRule};
use crate::config::{Bind, Config, Proxy};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tls::BindTls;
use tls::authorities::Authorities;
use tls::ignore::IgnoredErrors;
use tls::revocation::Revocations;
use tls::sni::SniFilter;
use tls::store::Store;
use tls::{CertificateSource, TlsLine};

static LAST: AtomicU64 = AtomicU64::new(0);

/// Gives each listener a number that stands for the conditions under which it admits clients. A
/// listener with the same conditions as in the older configuration keeps its number; any other
/// listener gets a new one.
pub fn number(config: &mut Config, older: &Config) {
    let mut numbers = Vec::new();
    for proxy in config
        .proxies
        .iter()
        .filter(|proxy| !proxy.binds.is_empty())
    {
        let before = older.frontend(&proxy.name).map(|at| older.proxy(at));
        let before = before.filter(|before| has_same_rules(config, proxy, older, before));
        let new = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        for (index, bind) in proxy.binds.iter().enumerate() {
            let same = before.and_then(|before| {
                let is = |other: &&Bind| {
                    other.address == bind.address && has_same_options(config, bind, older, other)
                };
                // Prefers the listener at the same position, because several listeners of a proxy
                // may have the same address on different interfaces.
                let same = before.binds.get(index).filter(is);
                same.or_else(|| before.binds.iter().find(is))
            });
            numbers.push(same.map_or(new, |same| same.admission));
        }
    }
    let binds = config.proxies.iter_mut().flat_map(|proxy| &mut proxy.binds);
    for (bind, number) in binds.zip(numbers) {
        bind.admission = number;
    }
}

fn has_same_rules(config: &Config, new: &Proxy, older: &Config, old: &Proxy) -> bool {
    let (new, old) = (lines(new), lines(old));
    let is_same = |(new, old): (&AdmissionLine, &AdmissionLine)| {
        new.is_same(&config.lists, old, &older.lists)
    };
    new.len() == old.len() && new.iter().zip(&old).all(is_same)
}

/// Returns the rules of a frontend for connections and sessions, and the lines of the ACLs that
/// they name.
fn lines(proxy: &Proxy) -> Vec<AdmissionLine> {
    let mut all = proxy.admission.clone();
    let rules = proxy.tcp_connection.iter().chain(&proxy.tcp_session);
    let conditions = rules.filter_map(|rule: &TcpRule| rule.rule().condition.as_ref());
    let terms = conditions.flat_map(|condition| condition.alternatives.iter().flatten());
    let mut seen = HashSet::new();
    let acls = terms.map(|term: &Term| &term.acl);
    let acls = acls.filter(|acl| seen.insert(Arc::as_ptr(acl)));
    all.extend(acls.flat_map(|acl| acl.lines()));
    all
}

fn has_same_options(config: &Config, new: &Bind, older: &Config, old: &Bind) -> bool {
    let is_tls = |bind: &Bind| bind.tls.is_some();
    let has_same_tls = || match (&new.tls_words, &old.tls_words) {
        (Some(new), Some(old)) if config.global.tls.bind == older.global.tls.bind => {
            TlsConditions::of(new, &config.certificates)
                == TlsConditions::of(old, &older.certificates)
        }
        _ => false,
    };
    new.preface == old.preface
        && new.protocol == old.protocol
        && is_tls(new) == is_tls(old)
        && (!is_tls(new) || has_same_tls())
}

/// TLS options of a listener that a client must satisfy. Changed certificates of the listener
/// itself do not matter.
#[derive(PartialEq)]
struct TlsConditions {
    line: LineConditions,
    ignored_errors: [IgnoredErrors; 2],
    /// Conditions of the crt-list lines that require something of clients, each with its
    /// certificate and host names.
    of_certificates: Vec<(Box<str>, Vec<SniFilter>, LineConditions)>,
}

impl TlsConditions {
    fn of(words: &BindTls, store: &Store) -> TlsConditions {
        let mut of_certificates = Vec::new();
        for source in &words.sources {
            let CertificateSource::List(name) = source else {
                continue;
            };
            let entries = store.with(|stock| stock.list(name).map(|list| list.entries.clone()));
            for entry in entries.unwrap_or_default() {
                let conditions = LineConditions::of(&entry.options, store);
                if conditions.requires_anything() {
                    of_certificates.push((entry.certificate, entry.filters, conditions));
                }
            }
        }
        TlsConditions {
            line: LineConditions::of(&words.line, store),
            ignored_errors: [words.ca_ignore_err, words.crt_ignore_err],
            of_certificates,
        }
    }
}

/// Conditions that a `bind` line or crt-list line sets of a client.
#[derive(PartialEq)]
struct LineConditions {
    /// The options, without those that require nothing.
    options: TlsLine,
    /// Contents of `ca-file` and `ca-verify-file`.
    authorities: [Option<Arc<Authorities>>; 2],
    revocations: Option<Arc<Revocations>>,
}

impl LineConditions {
    fn of(line: &TlsLine, store: &Store) -> LineConditions {
        let authorities = [&line.ca_file, &line.ca_verify_file];
        LineConditions {
            options: TlsLine {
                alpn: None,
                no_ca_names: false,
                early_data: false,
                ..line.clone()
            },
            authorities: authorities.map(|name| store.authorities(name.as_deref()?)),
            revocations: line
                .crl_file
                .as_deref()
                .and_then(|name| store.revocations(name)),
        }
    }

    fn requires_anything(&self) -> bool {
        self.options != TlsLine::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{BindAddress, ProxyIndex};
    use language::Span;
    use tls::Verify;
    use tls::crt_list::{Entry, List};

    fn words(change: impl FnOnce(&mut BindTls)) -> BindTls {
        let mut words = BindTls {
            ssl: true,
            sources: vec![CertificateSource::List("list".into())],
            ..BindTls::default()
        };
        change(&mut words);
        words
    }

    fn store(entries: Vec<Entry>) -> Store {
        let store = Store::default();
        let list = List {
            entries,
            ..List::default()
        };
        store.add_list("list", list);
        store
    }

    fn entry(certificate: &str, verify: Option<Verify>) -> Entry {
        Entry {
            certificate: certificate.into(),
            line: 1,
            options: TlsLine {
                verify,
                ..TlsLine::default()
            },
            option_words: "".into(),
            filters: Vec::new(),
        }
    }

    #[test]
    fn options_that_require_something_of_clients_are_conditions() {
        let plain = TlsConditions::of(&words(|_| ()), &store(Vec::new()));
        let changes: [fn(&mut BindTls); 5] = [
            |words| words.line.verify = Some(Verify::Required),
            |words| words.line.ca_file = Some("ca.pem".into()),
            |words| words.line.crl_file = Some("crl.pem".into()),
            |words| words.line.side.strict_sni = true,
            |words| words.ca_ignore_err = IgnoredErrors::ALL,
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let changed = TlsConditions::of(&words(change), &store(Vec::new()));
            assert!(plain != changed, "{number}");
        }
        let others: [fn(&mut BindTls); 3] = [
            |words| words.line.alpn = Some(vec![b"h2".to_vec()]),
            |words| words.line.early_data = true,
            |words| {
                words
                    .sources
                    .push(CertificateSource::Certificates(vec!["a.pem".into()]))
            },
        ];
        for (number, change) in others.into_iter().enumerate() {
            let changed = TlsConditions::of(&words(change), &store(Vec::new()));
            assert!(plain == changed, "{number}");
        }
    }

    fn twice(line: u64) -> Config {
        let address = BindAddress::Inet(([127, 0, 0, 1], 80).into());
        let mut binds = vec![Bind::new(Span::default(), address); 2];
        for (bind, interface) in binds.iter_mut().zip(["eth0", "eth1"]) {
            bind.interface = Some(interface.into());
        }
        let proxy = Proxy {
            name: "f".into(),
            binds,
            admission: vec![AdmissionLine::of_words(line)],
            ..Proxy::default()
        };
        Config {
            proxies: vec![proxy],
            frontends: [("f".into(), ProxyIndex(0))].into(),
            ..Config::default()
        }
    }

    #[test]
    fn listeners_at_one_address_keep_their_numbers() {
        let numbers = |config: &Config| -> Vec<u64> {
            let binds = config.proxies[0].binds.iter();
            binds.map(|bind| bind.admission).collect()
        };
        let (old, mut changed, mut same) = (twice(1), twice(2), twice(2));
        number(&mut changed, &old);
        assert!(numbers(&changed).iter().all(|number| *number > 0));
        number(&mut same, &changed);
        assert_eq!(numbers(&same), numbers(&changed));
    }

    #[test]
    fn certificates_of_lists_are_conditions_if_they_require_something() {
        let of = |entries| TlsConditions::of(&words(|_| ()), &store(entries));
        let plain = of(Vec::new());
        assert!(of(vec![entry("a.pem", None), entry("b.pem", None)]) == plain);
        let required = of(vec![entry("a.pem", Some(Verify::Required))]);
        assert!(required != plain);
        assert!(required != of(vec![entry("b.pem", Some(Verify::Required))]));
    }
}
