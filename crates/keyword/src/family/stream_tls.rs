//! Builds the TLS settings of servers and listeners in `peers`, `ring` and `log-forward` sections,
//! which support only the TLS options of `server` and `bind` lines.

use super::server_option::tls as server_tls;
use super::{Args, Built, bind, registry};
use crate::family::Loader;
use language::keyword::KeywordLookup;
use language::{ConfigWord, Diagnostic};
use model::codes;
use model::config::{Bind, ServerOptions, ServerTls};
use std::sync::Arc;
use tls::BindTls;

/// TLS options of servers that have a meaning only for requests or checks.
const OF_TRAFFIC: &[&str] = &[
    "allow-0rtt",
    "check-alpn",
    "check-proto",
    "check-sni",
    "check-ssl",
    "no-check-ssl",
    "sni",
];

fn unsupported_word(word: &ConfigWord, what: &str) -> Diagnostic {
    let told = format!("{what} is not supported here");
    Diagnostic::error(&codes::NOT_BUILT, word.span, told)
        .help("this section only supports TLS options; remove the others")
}

/// Parses one TLS option of a server, if a word is left. Other options are refused.
pub(super) fn server_option(
    loader: &mut Loader,
    tls: &mut ServerTls,
    args: &mut Args<'_>,
) -> Built {
    let Some(word) = args.peek() else {
        return Ok(());
    };
    let found = registry().servers.find(std::iter::once(word.str()));
    let row_words = match found {
        KeywordLookup::Built(row, words) if is_tls(row.name()) => Some((row, words)),
        KeywordLookup::Unknown => return Err(super::server::unknown_option(word, "server")),
        _ => None,
    };
    let Some((row, words)) = row_words else {
        return Err(unsupported_word(word, &format!("'{}'", word.text())));
    };
    let mut options = ServerOptions {
        tls: std::mem::take(tls),
        ..ServerOptions::default()
    };
    let mut option = args.option(row.name(), row.syntax, words);
    option.example = row.example;
    let built = (row.build)(loader, &mut options, &mut option);
    args.resume(&option);
    *tls = options.tls;
    built
}

/// Parses all options of a peer, in addition to those of earlier lines. As in HAProxy, options that
/// do not concern TLS are checked and have no effect.
pub(super) fn server_options(
    loader: &mut Loader,
    tls: &mut ServerTls,
    args: &mut Args<'_>,
) -> Built {
    while let Some(word) = args.peek() {
        let found = registry().servers.find(std::iter::once(word.str()));
        let KeywordLookup::Built(row, words) = found else {
            server_option(loader, tls, args)?;
            continue;
        };
        if is_tls(row.name()) {
            server_option(loader, tls, args)?;
            continue;
        }
        let mut option = args.option(row.name(), row.syntax, words);
        option.example = row.example;
        let built = (row.build)(loader, &mut ServerOptions::default(), &mut option);
        args.resume(&option);
        built?;
        let message = format!("'{}' has no effect on peers", word.text());
        loader.report(
            Diagnostic::warning(&codes::NO_EFFECT, word.span, message)
                .label("peers only have TLS options"),
        );
    }
    Ok(())
}

/// Returns whether a server option concerns TLS, and has a meaning without requests and checks.
fn is_tls(name: &str) -> bool {
    let known = server_tls::OPTIONS.iter().any(|row| row.name() == name);
    known && !OF_TRAFFIC.contains(&name)
}

/// Parses the options of a listener, in addition to those of `default-bind`.
pub(super) fn listener_options(
    loader: &mut Loader,
    tls: Option<Arc<BindTls>>,
    args: &mut Args<'_>,
) -> Result<Option<Arc<BindTls>>, Diagnostic> {
    let Some(word) = args.peek() else {
        return Ok(tls);
    };
    let mut listener = bind::template(word.span);
    listener.tls_words = tls;
    bind::options(loader, args, &mut listener)?;
    match find_proxy_only_option(&listener) {
        None => Ok(listener.tls_words),
        Some(name) => Err(unsupported_word(word, &format!("'{name}'"))),
    }
}

/// Returns the name of a given option that only a listener of a proxy may have.
fn find_proxy_only_option(listener: &Bind) -> Option<&'static str> {
    let said = [
        (listener.preface.proxy, "accept-proxy"),
        (
            listener.preface.netscaler_magic.is_some(),
            "accept-netscaler-cip",
        ),
        (listener.protocol.is_some(), "proto"),
        (listener.backlog.is_some(), "backlog"),
        (listener.maxconn.is_some(), "maxconn"),
        (listener.defer_accept, "defer-accept"),
        (listener.interface.is_some(), "interface"),
        (listener.mss.is_some(), "mss"),
        (listener.tcp_user_timeout_ms.is_some(), "tcp-ut"),
        (listener.tcp_fast_open, "tfo"),
        (listener.transparent, "transparent"),
        (listener.v6only.is_some(), "v6only"),
        (listener.owner != Default::default(), "mode"),
    ];
    let mut said = said.into_iter();
    said.find_map(|(said, name)| said.then_some(name))
}

#[cfg(test)]
mod tests {
    use crate::testing::load_text;
    use lab::pki::{self, Leaf};

    /// File with a certificate, removed on drop.
    struct Pem(std::path::PathBuf);

    impl Pem {
        fn new() -> Pem {
            let issued = pki::self_signed(&Leaf::default()).expect("made");
            let name = format!("evenkeel-stream-tls-{}.pem", std::process::id());
            let path = std::env::temp_dir().join(name);
            std::fs::write(&path, issued.bundle()).expect("written");
            Pem(path)
        }
    }

    impl Drop for Pem {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    fn codes(text: &str) -> Vec<&'static str> {
        let loaded = load_text(text);
        loaded.diagnostics.iter().map(|d| d.code.id).collect()
    }

    #[test]
    fn peers_rings_and_log_forward_speak_tls() {
        let file = Pem::new();
        let pem = file.0.display();
        let text = format!(
            "global\n localpeer a\npeers mesh\n default-bind ssl crt {pem}\n \
             default-server ssl verify none crt {pem}\n bind 127.0.0.1:1\n server a\n \
             server b 127.0.0.1:2\n server c 127.0.0.1:3 no-ssl\nring r\n \
             server s 127.0.0.1:4 ssl verify none log-proto octet-count\nlog-forward f\n \
             bind 127.0.0.1:5 ssl crt {pem}\n bind 127.0.0.1:6\n log ring@r local0\n\
             listen l\n bind 127.0.0.1:7\n mode http\n"
        );
        let loaded = load_text(&text);
        let config = loaded
            .config
            .unwrap_or_else(|| panic!("{:?}", loaded.diagnostics));
        let peers = &config.peers[0];
        assert!(peers.tls.is_some());
        let reached: Vec<bool> = peers
            .all
            .iter()
            .map(|peer| peer.tls.for_traffic().is_some())
            .collect();
        // The process does not connect to itself, so the local peer has no TLS.
        assert_eq!(reached, [false, true, false]);
        let server = &config.rings[0].servers[0];
        assert!(server.tls.0.is_some() && server.counted);
        let binds = config.log_forwards[0].binds.iter();
        assert_eq!(
            binds.map(|bind| bind.tls.is_some()).collect::<Vec<_>>(),
            [true, false]
        );
    }

    #[test]
    fn what_cannot_be_spoken_is_refused() {
        for (line, code) in [
            (
                "peers p\n peer a 127.0.0.1:1\n peer b 127.0.0.1:2 ssl",
                "E0230",
            ),
            ("peers p\n bind 127.0.0.1:1 ssl\n server a", "E0222"),
            (
                "peers p\n peer a 127.0.0.1:1\n peer b 127.0.0.1:2 weight 5",
                "W0116",
            ),
            (
                "peers p\n log 127.0.0.1 local0\n peer a 127.0.0.1:1",
                "W0116",
            ),
            (
                "peers p\n default-server weight 1\n peer a 127.0.0.1:1",
                "W0116",
            ),
            (
                "peers p\n peer a 127.0.0.1:1\n peer b 127.0.0.1:2 wieght 5",
                "E0209",
            ),
            (
                "peers p\n bind 127.0.0.1:1 accept-proxy\n server a",
                "E0103",
            ),
            ("ring r\n server s 127.0.0.1:1 check", "E0103"),
            (
                "ring r\n server s 127.0.0.1:1 ssl verify none sni str(a)",
                "E0103",
            ),
        ] {
            let text = format!(
                "global\n localpeer a\ndefaults\n timeout client 1s\n timeout server 1s\n \
                 timeout connect 1s\n{line}\nlisten l\n bind 127.0.0.1:7\n mode http\n"
            );
            assert_eq!(codes(&text), [code], "{line}");
        }
    }
}
