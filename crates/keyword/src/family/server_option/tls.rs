//! Builds the options of servers for TLS. At the end of loading, creates the TLS connectors of
//! servers, peers and servers of rings.

use super::{parse_choice, set};
use crate::family::Loader;
use crate::family::{Args, Built, ServerRow, places, tls_files, tls_words};
use language::Diagnostic;
use model::codes;
use model::config::{HttpProtocol, RingTls, ServerOptions, ServerTls};
use model::rules::{Expression, Usage};
use std::sync::{Arc, Weak};
use tls::Connector;
use tls::Parameters;
use tls::TlsDefaults;
use tls::build::BuildError;
use tls::certified::Parts;
use tls::connector::{ClientSettings, ServerLineFiles};
use tls::store::{ConfigLocation, Dependent, Store};

pub static OPTIONS: &[ServerRow] = language::rows! {
    "ssl" places::SERVER,
        |_, options, _| {
            options.tls.ssl_said = true;
            options.tls.ssl_undone = false;
            set(&mut options.tls.ssl, true)
        },
        "server web1 192.0.2.11:443 ssl verify none",
        "Uses TLS for connections to the server. Its certificate is verified with `ca-file`, unless `verify none` or \
         `ssl-server-verify none` disables that.";
    "no-ssl" places::SERVER,
        |_, options, _| {
            options.tls.ssl_undone = true;
            set(&mut options.tls.ssl, false)
        },
        "server web1 192.0.2.11:80 no-ssl",
        "Cancels `ssl` of `default-server`.";
    "check-ssl" places::SERVER, |_, options, _| set(&mut options.tls.check_ssl, Some(true)),
        "server web1 192.0.2.11:80 check port 443 check-ssl verify none",
        "Uses TLS for health checks even if they have their own port or address, or if traffic does not use TLS.";
    "no-check-ssl" places::SERVER, |_, options, _| set(&mut options.tls.check_ssl, Some(false)),
        "server web1 192.0.2.11:443 ssl verify none check no-check-ssl",
        "Does not use TLS for health checks even if traffic does. Cancels `check-ssl` of `default-server`.";
    "verify { none | required }" places::SERVER,
        |_, options, args| {
            let verified = parse_choice(args, &[("none", false), ("required", true)])?;
            set(&mut options.tls.verify, Some(verified))
        },
        "server web1 192.0.2.11:443 ssl verify none",
        "Sets whether the server's certificate must be signed by a CA in `ca-file`, which is the default. With `none`, \
         an attacker on the path can read and change the traffic.";
    "verifyhost <name>" places::SERVER,
        |_, options, args| set(&mut options.tls.verify_host, Some(name(args)?)),
        "server web1 192.0.2.11:443 ssl verify none verifyhost web1.example.com",
        "Name that the server's certificate must match if `sni` sends none. Without both, any name is accepted.";
    "ca-file { <file> | <directory> | @system-ca }" places::SERVER, ca_file,
        "# server web1 192.0.2.11:443 ssl ca-file /etc/ssl/certs/ca-certificates.crt",
        "CA certificates (PEM) that verify the server: a file, all files of a directory, or those of the system.";
    "crl-file <file>" places::SERVER, crl_file,
        "# server web1 192.0.2.11:443 ssl ca-file /etc/ssl/ours.pem crl-file /etc/ssl/ours.crl",
        "Certificate revocation lists (PEM). Every certificate of the server's chain needs a list from its issuer.";
    "crt <file>" places::SERVER, crt,
        "# server web1 192.0.2.11:443 ssl verify none crt /etc/ssl/private/client.pem",
        "Client certificate (PEM), with its chain, for servers that ask for one. Its key is in the same file, or in \
         the file with the suffix `.key`.";
    "sni <expression>" places::SERVER, sni,
        "server web1 192.0.2.11:443 ssl verify none sni req.hdr(host)",
        "Sends the value of the expression as SNI. With `verify required` the server's certificate must match it. A \
         connection opened for one name is not used for another.";
    "check-sni <name>" places::SERVER,
        |_, options, args| set(&mut options.tls.check_sni, Some(name(args)?)),
        "server web1 192.0.2.11:443 ssl verify none check check-sni www.example.com",
        "SNI for health checks. With `verify required` the certificate must match it.";
    "alpn <protocol>[,<protocol>…]" places::SERVER,
        |_, options, args| set(&mut options.tls.alpn, tls_words::alpn(args)?),
        "server web1 192.0.2.11:443 ssl verify none alpn h2,http/1.1",
        "Protocols offered to the server, which selects one: `h2` is HTTP/2, `http/1.1` is HTTP/1.";
    "check-alpn <protocol>[,<protocol>…]" places::SERVER,
        |_, options, args| set(&mut options.tls.check_alpn, Some(tls_words::alpn(args)?)),
        "server web1 192.0.2.11:443 ssl verify none check check-alpn http/1.1",
        "Protocols offered by health checks, instead of those of `alpn`.";
    "npn <protocol>[,<protocol>…]" places::SERVER, npn,
        "# server web1 192.0.2.11:443 ssl verify none npn http/1.1",
        "The predecessor of ALPN, obsolete since 2014: no effect, with a warning. Use `alpn`.";
    "allow-0rtt" places::SERVER, allow_0rtt,
        "# server web1 192.0.2.11:443 ssl verify none allow-0rtt",
        "No effect, with a warning: Evenkeel sends no request to a server before the handshake is complete.";
    "check-proto { h1 | h2 | none }" places::SERVER, check_proto,
        "server web1 192.0.2.11:80 check check-proto h2",
        "HTTP version for health checks. The default is `proto`, or the version negotiated by ALPN.";
    "ciphers <list>" places::SERVER,
        |_, options, args| tls_words::list(options.tls.side_mut(), args),
        "server web1 192.0.2.11:443 ssl verify none ciphers ECDHE-RSA-AES128-GCM-SHA256",
        "Cipher suites up to TLS 1.2 for the server, in OpenSSL's notation.";
    "ciphersuites <list>" places::SERVER,
        |_, options, args| tls_words::list(options.tls.side_mut(), args),
        "server web1 192.0.2.11:443 ssl verify none ciphersuites TLS_AES_128_GCM_SHA256",
        "Cipher suites of TLS 1.3 for the server, with OpenSSL's names.";
    "curves <list>" places::SERVER, |_, options, args| tls_words::list(options.tls.side_mut(), args),
        "server web1 192.0.2.11:443 ssl verify none curves X25519:P-256",
        "Elliptic curves for key exchange with the server, in order of preference.";
    "sigalgs <list>" places::SERVER,
        |_, options, args| tls_words::list(options.tls.side_mut(), args),
        "server web1 192.0.2.11:443 ssl verify none sigalgs ECDSA+SHA256:RSA-PSS+SHA256",
        "Signature algorithms accepted from the server. The default is all safe ones.";
    "client-sigalgs <list>" places::SERVER,
        |_, options, args| tls_words::list(options.tls.side_mut(), args),
        "server web1 192.0.2.11:443 ssl verify none client-sigalgs ECDSA+SHA256",
        "Signature algorithms for the certificate of `crt`. The default is all that fit its key.";
    "ssl-min-ver { TLSv1.2 | TLSv1.3 }" places::SERVER,
        |_, options, args| tls_words::version(options.tls.side_mut(), args),
        "server web1 192.0.2.11:443 ssl verify none ssl-min-ver TLSv1.3",
        "The lowest TLS version for the server. Versions below 1.2 are raised to 1.2.";
    "ssl-max-ver { TLSv1.2 | TLSv1.3 }" places::SERVER,
        |_, options, args| tls_words::version(options.tls.side_mut(), args),
        "server web1 192.0.2.11:443 ssl verify none ssl-max-ver TLSv1.2",
        "The highest TLS version for the server. SSLv3, TLS 1.0 and 1.1 are not supported.";
    "no-sslv3" places::SERVER, |_, options, args| tls_words::version(options.tls.side_mut(), args),
        "server web1 192.0.2.11:443 ssl verify none no-sslv3",
        "SSLv3 is never supported, so this has no effect. Remove it when you next edit the line.";
    "no-tlsv10" places::SERVER, |_, options, args| tls_words::version(options.tls.side_mut(), args),
        "server web1 192.0.2.11:443 ssl verify none no-tlsv10",
        "TLS 1.0 is never supported, so this has no effect. Remove it when you next edit the line.";
    "no-tlsv11" places::SERVER, |_, options, args| tls_words::version(options.tls.side_mut(), args),
        "server web1 192.0.2.11:443 ssl verify none no-tlsv11",
        "TLS 1.1 is never supported, so this has no effect. Remove it when you next edit the line.";
    "no-tlsv12" places::SERVER, |_, options, args| tls_words::version(options.tls.side_mut(), args),
        "server web1 192.0.2.11:443 ssl verify none no-tlsv12",
        "Disables TLS 1.2 for the server. Prefer `ssl-min-ver`.";
    "no-tlsv13" places::SERVER, |_, options, args| tls_words::version(options.tls.side_mut(), args),
        "server web1 192.0.2.11:443 ssl verify none no-tlsv13",
        "Disables TLS 1.3 for the server. Prefer `ssl-max-ver`.";
    "force-sslv3" places::SERVER,
        |_, options, args| tls_words::version(options.tls.side_mut(), args),
        "# server web1 192.0.2.11:443 ssl verify none force-sslv3",
        "Refused with `ssl`: SSLv3 is not supported.";
    "force-tlsv10" places::SERVER,
        |_, options, args| tls_words::version(options.tls.side_mut(), args),
        "# server web1 192.0.2.11:443 ssl verify none force-tlsv10",
        "Refused with `ssl`: TLS 1.0 is not supported.";
    "force-tlsv11" places::SERVER,
        |_, options, args| tls_words::version(options.tls.side_mut(), args),
        "# server web1 192.0.2.11:443 ssl verify none force-tlsv11",
        "Refused with `ssl`: TLS 1.1 is not supported.";
    "force-tlsv12" places::SERVER,
        |_, options, args| tls_words::version(options.tls.side_mut(), args),
        "server web1 192.0.2.11:443 ssl verify none force-tlsv12",
        "Allows only TLS 1.2 for the server. Prefer `ssl-min-ver` and `ssl-max-ver`.";
    "force-tlsv13" places::SERVER,
        |_, options, args| tls_words::version(options.tls.side_mut(), args),
        "server web1 192.0.2.11:443 ssl verify none force-tlsv13",
        "Allows only TLS 1.3 for the server. Prefer `ssl-min-ver TLSv1.3`.";
    "ssl-reuse" places::SERVER, |_, options, _| set(&mut options.tls.no_reuse, false),
        "server web1 192.0.2.11:443 ssl verify none ssl-reuse",
        "Cancels `no-ssl-reuse` of `default-server`.";
    "no-ssl-reuse" places::SERVER, |_, options, _| set(&mut options.tls.no_reuse, true),
        "server web1 192.0.2.11:443 ssl verify none no-ssl-reuse",
        "Disables session resumption: each connection performs a full handshake.";
    "tls-tickets" places::SERVER, |_, options, _| set(&mut options.tls.side_mut().no_tickets, false),
        "server web1 192.0.2.11:443 ssl verify none tls-tickets",
        "Cancels `no-tls-tickets` of `default-server`.";
    "no-tls-tickets" places::SERVER, |_, options, _| set(&mut options.tls.side_mut().no_tickets, true),
        "server web1 192.0.2.11:443 ssl verify none no-tls-tickets",
        "Resumes TLS 1.2 sessions by session id instead of tickets.";
};

fn name(args: &mut Args<'_>) -> Result<Box<str>, Diagnostic> {
    Ok(args.required("<name>")?.text().into())
}

fn ca_file(loader: &mut Loader, options: &mut ServerOptions, args: &mut Args<'_>) -> Built {
    let word = args.required("<file>")?;
    let found = tls_files::authorities(loader, args, word);
    options.tls.refused |= found.is_err();
    options.tls.authorities = Some(found?);
    Ok(())
}

fn crl_file(loader: &mut Loader, options: &mut ServerOptions, args: &mut Args<'_>) -> Built {
    let word = args.required("<file>")?;
    options.tls.crls = Some(tls_files::revocations(loader, args, word)?);
    Ok(())
}

fn crt(loader: &mut Loader, options: &mut ServerOptions, args: &mut Args<'_>) -> Built {
    let word = args.required("<file>")?;
    options.tls.certificate = Some(tls_files::client_certificate(loader, args, word)?);
    Ok(())
}

fn sni(loader: &mut Loader, options: &mut ServerOptions, args: &mut Args<'_>) -> Built {
    let word = args.required("<expression>")?;
    let expression = Expression::parse(loader, word, Usage::SERVER_SOURCE)?;
    options.tls.sni = Some((word.text().into(), Arc::new(expression)));
    Ok(())
}

fn npn(_: &mut Loader, _: &mut ServerOptions, args: &mut Args<'_>) -> Built {
    let word = args.required("<protocols>")?;
    let told = "'npn' has no effect: ALPN has replaced this draft";
    args.add_warning(
        Diagnostic::warning(&codes::TLS_NOT_DONE, args.keyword_span(), told)
            .help(format!("write 'alpn {}'", word.text())),
    );
    Ok(())
}

fn allow_0rtt(_: &mut Loader, _: &mut ServerOptions, args: &mut Args<'_>) -> Built {
    let told =
        "'allow-0rtt' has no effect on a server: no data is sent before the handshake is complete";
    args.add_warning(
        Diagnostic::warning(&codes::TLS_NOT_DONE, args.keyword_span(), told)
            .help("remove it; it works on 'bind' lines only"),
    );
    Ok(())
}

fn check_proto(_: &mut Loader, options: &mut ServerOptions, args: &mut Args<'_>) -> Built {
    let span = args.peek().map(|word| word.span).unwrap_or_default();
    let versions = [
        ("h1", Some(HttpProtocol::Http1)),
        ("h2", Some(HttpProtocol::Http2)),
        ("fcgi", None),
        ("none", Some(HttpProtocol::Http1)),
    ];
    let version = parse_choice(args, &versions)?;
    let version = version.ok_or_else(|| super::unsupported_option(span, "'check-proto fcgi'"))?;
    set(&mut options.check_proto, Some(version))
}

/// Creates the TLS connectors of all servers after the whole file was read, because `global` may
/// follow later.
pub(crate) fn finish(loader: &mut Loader) {
    let mut defaults = loader.config.global.tls.clone();
    defaults.server_verify_none |= loader.context.options.unverified_servers;
    for proxy in 0..loader.config.proxies.len() {
        for index in 0..loader.config.proxies[proxy].servers.len() {
            let name = loader.config.proxies[proxy].name.clone();
            let by_step = {
                let proxy = &loader.config.proxies[proxy];
                let options = &proxy.servers[index].options;
                let named = options.health_check.as_ref().map(|named| &named.check);
                options.check && named.unwrap_or(&proxy.check).secures()
            };
            let server = &mut loader.config.proxies[proxy].servers[index];
            let tls = &server.options.tls;
            let speaks = tls.ssl || tls.check_ssl == Some(true) || by_step;
            // Creates a connector also for a server whose `ssl` a later `no-ssl` disables: an
            // operator may enable TLS at run time.
            if (!speaks && !tls.ssl_said) || tls.refused {
                continue;
            }
            let (span, server_name) = (server.span, server.name.clone());
            let mut tls = std::mem::take(&mut server.options.tls);
            let what = format!("server '{name}/{server_name}'");
            let owner = format!("Proxy '{name}'");
            let line = ServerLine {
                owner: &owner,
                name: &server_name,
                what: &what,
                span,
            };
            connect_by(loader, &mut tls, &defaults, line, speaks);
            loader.config.proxies[proxy].servers[index].options.tls = tls;
        }
    }
    finish_sections(loader, &defaults);
}

/// Creates the TLS connectors of peers and of servers of rings.
fn finish_sections(loader: &mut Loader, defaults: &TlsDefaults) {
    for at in 0..loader.config.peers.len() {
        let peers = &mut loader.config.peers[at];
        let owner = format!("Peers '{}'", peers.name);
        let (mut all, local) = (std::mem::take(&mut peers.all), peers.local.clone());
        for peer in all.iter_mut().filter(|peer| peer.name != local) {
            secure(
                loader,
                &mut peer.tls,
                defaults,
                &owner,
                &peer.name,
                peer.span,
            );
        }
        loader.config.peers[at].all = all;
    }
    for ((ring, server), mut tls, span) in std::mem::take(&mut loader.tls.rings) {
        let Some(described) = loader.config.rings.get(ring) else {
            continue;
        };
        let Some(name) = described.servers.get(server).map(|one| one.name.clone()) else {
            continue;
        };
        let owner = format!("Ring '{}'", described.name);
        secure(loader, &mut tls, defaults, &owner, &name, span);
        let servers = &mut loader.config.rings[ring].servers;
        servers[server].tls = RingTls(tls.for_traffic().cloned());
    }
}

fn secure(
    loader: &mut Loader,
    tls: &mut ServerTls,
    defaults: &TlsDefaults,
    owner: &str,
    name: &str,
    span: language::Span,
) {
    if tls.ssl && !tls.refused {
        let line = ServerLine {
            owner,
            name,
            what: &format!("{owner}, server '{name}'"),
            span,
        };
        connect_by(loader, tls, defaults, line, true);
    }
}

/// Names in messages about the line of a server or peer that uses TLS.
#[derive(Clone, Copy)]
struct ServerLine<'l> {
    /// Section with the line, for reports of the connector.
    owner: &'l str,
    name: &'l str,
    /// Description of the option for diagnostics.
    what: &'l str,
    span: language::Span,
}

/// Creates the TLS connector of a line. `speaks` is true if the line uses TLS now; only then an
/// error is reported.
fn connect_by(
    loader: &mut Loader,
    tls: &mut ServerTls,
    defaults: &TlsDefaults,
    server_line: ServerLine<'_>,
    speaks: bool,
) {
    let ServerLine {
        owner,
        name,
        what,
        span,
    } = server_line;
    let file = &loader.context.sources.file(span.file).name;
    let line = loader.context.sources.position(span).line;
    let place = ConfigLocation {
        owner: owner.into(),
        what: format!("server '{name}'").into(),
        line: format!("{file}:{line}").into(),
    };
    let store = &loader.config.certificates;
    let files = files(store, tls);
    let made = connector(tls, defaults).map(|made| Arc::new(made.at(place, files)));
    if let Ok(made) = &made {
        let weak: Weak<Connector> = Arc::downgrade(made);
        let weak: Weak<dyn Dependent> = weak;
        store.register_dependent(weak);
    }
    tls.connector = made.as_ref().ok().cloned();
    let versions = &tls.side.versions;
    tls_words::warn_of_versions(loader, span, what, versions, &defaults.server.versions);
    if let (true, Err(refused)) = (speaks, made) {
        loader.report(refusal(span, what, &refused));
    }
}

enum ConnectorError {
    Versions(tls::NoVersion),
    Build(BuildError),
}

/// Adds the files of a server's line to the store of certificates, so that operators can change
/// them at run time, and returns their names in it.
fn files(store: &Store, tls: &ServerTls) -> ServerLineFiles {
    let mut files = ServerLineFiles::default();
    if let Some(file) = &tls.authorities {
        files.authorities = Some(file.name.clone());
        if store.authorities(&file.name).is_none() {
            store.add_authorities(&file.name, Arc::clone(&file.content));
        }
    }
    if let Some(file) = &tls.crls {
        files.crls = Some(file.name.clone());
        if store.revocations(&file.name).is_none() {
            store.add_revocations(&file.name, Arc::clone(&file.content));
        }
    }
    if let Some(file) = &tls.certificate {
        let parts = Parts {
            chain: file.content.cert.clone(),
            key: Some(Arc::clone(&file.content.key)),
            ..Parts::default()
        };
        if !store.has_certificate(&file.name)
            && let Ok((certified, _)) = parts.certify()
        {
            store.add_certificate(&file.name, certified);
        }
        // Returns the name only if the store has the certificate, which an operator can then
        // change.
        let known = store.has_certificate(&file.name);
        files.certificate = known.then(|| file.name.clone());
    }
    files
}

fn connector(tls: &ServerTls, defaults: &TlsDefaults) -> Result<Connector, ConnectorError> {
    let side = &defaults.server;
    let settings = ClientSettings {
        parameters: Parameters::of(&tls.side, side).map_err(ConnectorError::Versions)?,
        alpn: tls.alpn.clone(),
        verify: tls.verify.unwrap_or(!defaults.server_verify_none),
        authorities: tls
            .authorities
            .as_ref()
            .map(|file| Arc::clone(&file.content)),
        crls: tls.crls.as_ref().map(|file| Arc::clone(&file.content)),
        verify_host: tls.verify_host.clone(),
        certificate: tls
            .certificate
            .as_ref()
            .map(|file| Arc::clone(&file.content)),
        no_resumption: tls.no_reuse,
        no_tickets: tls.side.no_tickets || side.no_tickets,
    };
    Connector::new(settings).map_err(ConnectorError::Build)
}

fn refusal(span: language::Span, what: &str, refused: &ConnectorError) -> Diagnostic {
    match refused {
        ConnectorError::Versions(why) => {
            Diagnostic::error(&codes::TLS_VERSIONS, span, format!("{what}: {why}"))
                .label("no TLS version is left")
                .help("TLSv1.2 and TLSv1.3 are supported; remove what excludes them")
        }
        ConnectorError::Build(BuildError::NoAuthorities) => Diagnostic::error(
            &codes::TLS_UNVERIFIED,
            span,
            format!("{what}: verify is enabled by default but no CA file specified"),
        )
        .label("no CA is trusted for it")
        .help(
            "write 'ca-file <file>' or 'ca-file @system-ca'; use 'verify none' only in a trusted network",
        ),
        ConnectorError::Build(why) => Diagnostic::error(&codes::TLS_NAMES, span, format!("{what}: {why}"))
            .label("cannot use TLS with it"),
    }
}

#[cfg(test)]
mod tests;
