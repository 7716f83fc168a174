//! Builds the options of servers with a host name: their resolvers, and the selection of addresses.
//! Assigns the `resolvers` sections to servers at the end of loading.

use super::super::{Args, Built, ServerRow, places, resolvers};
use crate::family::Loader;
use language::Diagnostic;
use model::codes;
use model::config::{
    AddressFamily, HostName, InitAddress, NETWORKS_MAX, NamedPort, ServerAddress, ServerOptions,
};
use model::rules::network::MaskedNetwork;

pub static OPTIONS: &[ServerRow] = language::rows! {
    "resolvers <section>" places::SERVER, section,
        "server web1 web.example.com:80 resolvers dns init-addr none",
        "Resolves the server's name continuously with the nameservers of this `resolvers` section, and updates the \
         server's address. While the name has no address, the server is in maintenance.";
    "resolve-prefer { ipv4 | ipv6 }" places::SERVER, prefer,
        "server web1 192.0.2.11:80 resolve-prefer ipv4",
        "Preferred address family; the other one is used only if this one has no address. The default is ipv6.";
    "resolve-net <network>[,<network>…]" places::SERVER, networks,
        "server web1 192.0.2.11:80 resolve-net 10.0.0.0/8,192.168.0.0/16",
        "Prefers addresses in one of these networks; other addresses are used only if none matches.";
    "resolve-opts { allow-dup-ip | ignore-weight | prevent-dup-ip }[,…]" places::SERVER, options,
        "server web1 192.0.2.11:80 resolve-opts allow-dup-ip,ignore-weight",
        "Sets whether several servers of one backend and name may have the same address (by default each has its own), \
         and whether the weights of SRV records apply.";
    "init-addr { last | libc | none | <ip> }[,…]" places::SERVER, init_addr,
        "server web1 web.example.com:8080 init-addr libc,none",
        "Sources for the first address of a server with a host name, in order: a state file (`last`), the system's \
         resolver (`libc`), a given address, or none (`none`: it waits in maintenance). The default is `last,libc`.";
};

fn section(_: &mut Loader, options: &mut ServerOptions, args: &mut Args<'_>) -> Built {
    let word = args.required("the name of a resolvers section")?;
    options.resolving.resolvers = Some((word.span, word.text().into()));
    Ok(())
}

fn prefer(_: &mut Loader, options: &mut ServerOptions, args: &mut Args<'_>) -> Built {
    let word = args.required("either ipv4 or ipv6")?;
    options.resolving.prefer = match word.str() {
        "ipv4" => AddressFamily::V4,
        "ipv6" => AddressFamily::V6,
        _ => {
            let told = "'resolve-prefer' expects either ipv4 or ipv6 as argument";
            return Err(args.word_error(&codes::BAD_VALUE, word, told));
        }
    };
    Ok(())
}

fn networks(_: &mut Loader, options: &mut ServerOptions, args: &mut Args<'_>) -> Built {
    let word = args.required("a list of networks")?;
    let networks = &mut options.resolving.networks;
    networks.clear();
    for text in word.str().split(',') {
        let Some(network) = MaskedNetwork::parse(text) else {
            let told = format!("'resolve-net' invalid network '{text}'");
            return Err(args.word_error(&codes::BAD_VALUE, word, told));
        };
        if networks.len() >= NETWORKS_MAX {
            let told = format!("'resolve-net' accepts at most {NETWORKS_MAX} networks");
            return Err(args.word_error(&codes::BAD_VALUE, word, told));
        }
        networks.push(network);
    }
    Ok(())
}

fn options(_: &mut Loader, options: &mut ServerOptions, args: &mut Args<'_>) -> Built {
    let word = args.required("a list of options")?;
    let resolving = &mut options.resolving;
    for option in word.str().split(',') {
        match option {
            "allow-dup-ip" => resolving.same_address = true,
            "prevent-dup-ip" => resolving.same_address = false,
            "ignore-weight" => resolving.ignore_weight = true,
            _ => {
                let told = format!("'resolve-opts': unknown option '{option}'");
                return Err(args
                    .word_error(&codes::BAD_VALUE, word, told)
                    .note("valid options: `allow-dup-ip`, `ignore-weight` and `prevent-dup-ip`"));
            }
        }
    }
    Ok(())
}

fn init_addr(_: &mut Loader, options: &mut ServerOptions, args: &mut Args<'_>) -> Built {
    let word = args.required("a list of methods")?;
    let mut methods = Vec::new();
    for method in word.str().split(',') {
        methods.push(match method {
            "last" => InitAddress::Last,
            "libc" => InitAddress::Libc,
            "none" => InitAddress::None,
            other => match other.parse() {
                Ok(ip) => InitAddress::Ip(ip),
                Err(_) => {
                    return Err(Diagnostic::error(
                        &codes::BAD_VALUE,
                        word.span,
                        format!("unknown init-addr method '{other}'"),
                    )
                    .label("valid methods: `last`, `libc`, `none` and an address"));
                }
            },
        });
    }
    options.resolving.init = Some(methods);
    Ok(())
}

/// Assigns the `resolvers` sections to the servers that name them. Reports sections that do not
/// exist or have no nameserver.
pub(crate) fn finish(loader: &mut Loader) {
    resolvers::report_empty(loader);
    let mut wanted = Vec::new();
    for (proxy, described) in loader.config.proxies.iter().enumerate() {
        for (at, server) in described.servers.iter().enumerate() {
            if let Some((span, name)) = &server.options.resolving.resolvers {
                wanted.push((proxy, at, *span, name.clone()));
            }
        }
    }
    for (span, name) in std::mem::take(&mut loader.resolvers_wanted) {
        if let Err(diagnostic) = find(loader, span, &name) {
            loader.report(diagnostic);
        }
    }
    for (proxy, at, span, name) in wanted {
        match find(loader, span, &name) {
            Ok(index) => {
                let server = &mut loader.config.proxies[proxy].servers[at];
                if server.host.is_none() {
                    server.host = without_name(&server.address);
                }
                if let Some(host) = &mut server.host {
                    host.resolvers = Some(index);
                }
            }
            Err(diagnostic) => loader.report(diagnostic),
        }
    }
}

/// Returns an empty host name for a server with an address, since an operator may set one later.
fn without_name(address: &ServerAddress) -> Option<Box<HostName>> {
    let port = match address {
        ServerAddress::Inet(address) => NamedPort::Fixed(address.port()),
        ServerAddress::SamePort(_, offset) => NamedPort::Offset(*offset),
        ServerAddress::Unix(_) | ServerAddress::Abstract(_) | ServerAddress::Unresolved => {
            return None;
        }
    };
    Some(Box::new(HostName {
        text: Box::default(),
        family: None,
        port,
        service: false,
        resolvers: None,
    }))
}

/// Returns the index of a `resolvers` section by its name. The section `default` is created if the
/// file has none.
pub(crate) fn find(
    loader: &mut Loader,
    span: language::Span,
    name: &str,
) -> Result<u32, Diagnostic> {
    let sections = &loader.config.resolvers;
    if let Some(at) = sections.iter().position(|section| *section.name == *name) {
        return Ok(at as u32);
    }
    if name == resolvers::DEFAULT {
        return Ok(resolvers::make_default(loader, span));
    }
    let near = language::suggest::nearest(name, sections.iter().map(|section| &*section.name));
    let told = format!("unable to find required resolvers '{name}'");
    let diagnostic = Diagnostic::error(&codes::UNKNOWN_RESOLVERS, span, told)
        .label("no `resolvers` section has this name");
    Err(match near {
        Some(near) => diagnostic.help(format!("did you mean '{near}'?")),
        None => diagnostic.help(format!(
            "add a section `resolvers {name}` with a `nameserver` line"
        )),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{backend, codes_of};

    #[test]
    fn the_options_are_read_into_what_they_mean() {
        let backend = backend(
            "server a 127.0.0.1:1 resolve-prefer ipv4 resolve-net 10.0.0.0/8,::1 resolve-opts \
             allow-dup-ip,ignore-weight init-addr last,192.0.2.1,none",
        );
        let resolving = &backend.servers[0].options.resolving;
        assert_eq!(resolving.prefer, AddressFamily::V4);
        assert_eq!(resolving.networks.len(), 2);
        assert!(resolving.same_address && resolving.ignore_weight);
        let ip = InitAddress::Ip([192, 0, 2, 1].into());
        assert_eq!(
            resolving.init.as_deref(),
            Some(&[InitAddress::Last, ip, InitAddress::None][..])
        );
    }

    #[test]
    fn mistakes_are_told_at_their_words() {
        for line in [
            "resolve-prefer ipv5",
            "resolve-net 1.2.3",
            "resolve-net 1.0.0.0/8,1.0.0.0/8,1.0.0.0/8,1.0.0.0/8,1.0.0.0/8,1.0.0.0/8",
            "resolve-opts foo",
            "init-addr foo",
            "resolvers nobody",
        ] {
            let told = codes_of(&format!("server a 127.0.0.1:1 {line}"));
            assert_eq!(told.len(), 1, "{line}: {told:?}");
        }
    }
}
