//! Performs the TLS handshake with a client, after the PROXY header and before the session rules:
//! selects settings by the ClientHello, counts handshakes, and logs failures.

use super::session::Client;
use model::log;
use model::state::Tally;
use model::thread::current_thread_data;
use mux::link::PeerConnection;
use reactor::Instant;
use rustls::{CipherSuite, ProtocolVersion, SignatureScheme};
use std::sync::Arc;
use std::time::Duration;
use tls::acceptor::{Acceptor, Chosen};
use tls::certified::now_s;
use tls::counters;
use tls::handshake::{self, ClientHelloAlert, Failure, Terms};
use tls::hello::Hello;
use tls::keylog::Collector;
use tls::{ClientHelloOffer, Info, sni};

/// Version number of TLS 1.2 in a ClientHello, which TLS 1.3 sends as well. Older versions are not
/// supported.
const OLDEST: (u8, u8) = (3, 3);

/// Performs the TLS handshake with the client if the listener requires TLS. Returns false if it
/// failed; the failure was logged.
pub(super) async fn accept(client: &mut Client) -> bool {
    let Some(acceptor) = client.session.bind().tls.clone() else {
        return true;
    };
    let shaken = perform_handshake(client, &acceptor).await;
    let tally = match &shaken {
        Ok(true) => Tally::TlsResumed,
        Ok(false) => Tally::TlsSessions,
        Err(_) => Tally::TlsFailed,
    };
    let frontend = client.session.frontend();
    frontend.state.count_frontend(tally);
    let listener = frontend.state.listener(client.session.bind().id);
    listener.counters.count(tally);
    match shaken {
        Ok(resumed) => {
            if !resumed {
                counters().client_keys.count(current_thread_data().now_ms());
            }
            true
        }
        Err(failure) => {
            failed(client, &failure);
            false
        }
    }
}

/// Returns the deadline of the handshake, counted from the accept: `timeout client-hs`, or
/// `timeout client`.
fn deadline(client: &Client) -> Option<Instant> {
    let timeouts = &client.session.frontend().timeouts;
    let limit_ms = timeouts.handshake_ms.or(timeouts.client_ms)?;
    Some(client.session.accepted + Duration::from_millis(u64::from(limit_ms)))
}

async fn perform_handshake(client: &mut Client, acceptor: &Acceptor) -> Result<bool, Failure> {
    let tls = &client.session.config.global.tls;
    let terms = Terms::new(deadline(client), tls)?;
    let input = client.input.take();
    let bytes = input.as_ref().map_or(&[][..], |input| input.filled());
    let (mut shown, mut offer) = (None, None);
    // Values for the log of a failure.
    let (mut sni, mut version) = (None, ProtocolVersion::TLSv1_3);
    let choose = |hello: &Hello<'_>| {
        let name = hello.server_name();
        sni = name.map(|name| String::from_utf8_lossy(name).into());
        version = newest(hello);
        if hello.version < OLDEST {
            return Err(ClientHelloAlert::PROTOCOL_VERSION);
        }
        let room = tls.capture_max.filter(|bytes| *bytes > 0);
        offer = room.map(|bytes| Box::new(ClientHelloOffer::of(hello, bytes as usize)));
        let chosen = choose(acceptor, hello).ok_or(ClientHelloAlert::UNRECOGNIZED_NAME)?;
        shown = Some(Arc::clone(chosen.certified.certificate_to_present(now_s())));
        let mut config = chosen.config;
        if none_in_common(hello, &config.alpn_protocols) {
            // Continues without ALPN if there is no common protocol, as HAProxy does; rustls would
            // refuse the handshake.
            Arc::make_mut(&mut config).alpn_protocols.clear();
        }
        if tls.key_log {
            Arc::make_mut(&mut config).key_log = Arc::new(Collector);
        }
        Ok(config)
    };
    let PeerConnection::Http1(transport) = &mut client.link else {
        return Ok(true);
    };
    let socket = transport.socket();
    let made = handshake::accept(socket, bytes, choose, terms).await;
    let (session, mut info) = match made {
        Ok(made) => made,
        Err(failure) => {
            client.session.set_secure(Info {
                sni,
                offer,
                own_certificate: shown,
                ..Info::failed(&failure, version)
            });
            return Err(failure);
        }
    };
    (info.own_certificate, info.offer) = (shown, offer);
    let resumed = info.resumed;
    transport.secure(session);
    client.session.set_secure(info);
    Ok(resumed)
}

fn newest(hello: &Hello<'_>) -> ProtocolVersion {
    let tls13 = hello.versions().any(|version| version == 0x0304);
    match (tls13, hello.version) {
        (true, _) => ProtocolVersion::TLSv1_3,
        (false, (3, 3)) => ProtocolVersion::TLSv1_2,
        (false, (3, 2)) => ProtocolVersion::TLSv1_1,
        (false, (3, 1)) => ProtocolVersion::TLSv1_0,
        _ => ProtocolVersion::SSLv3,
    }
}

fn none_in_common(hello: &Hello<'_>, ours: &[Vec<u8>]) -> bool {
    let mut offered = hello.protocols().peekable();
    let any = offered.peek().is_some();
    any && !offered.any(|protocol| ours.iter().any(|own| own == protocol))
}

fn choose(acceptor: &Acceptor, hello: &Hello<'_>) -> Option<Chosen> {
    let schemes: Vec<_> = hello
        .signature_schemes()
        .map(SignatureScheme::from)
        .collect();
    let suites: Vec<_> = hello.cipher_suites().map(CipherSuite::from).collect();
    let offer = sni::CertificateCriteria {
        server_name: hello.server_name(),
        schemes: &schemes,
        suites: &suites,
        tls13: hello.versions().any(|version| version == 0x0304),
    };
    acceptor.choose(&offer).ok()
}

/// Logs the reason of a failed handshake, with HAProxy's wording.
fn failed(client: &Client, failure: &Failure) {
    let carried_nothing = matches!(
        failure,
        Failure::Nothing | Failure::Closed | Failure::Timeout
    );
    log::connection_failed(&client.session, failure.broken().words(), carried_nothing);
}

#[cfg(test)]
mod tests {
    use super::*;
    use tls::testing::extension;

    #[test]
    fn handshake_continues_without_a_common_protocol() {
        let hello_of = |names: &[u8]| {
            let list = [&(names.len() as u16).to_be_bytes()[..], names].concat();
            let extensions = match names {
                [] => Vec::new(),
                _ => extension(16, &list),
            };
            let mut body = vec![3, 3];
            body.extend([7; 32]);
            body.extend([0, 0, 2, 0x13, 0x01, 1, 0]);
            body.extend((extensions.len() as u16).to_be_bytes());
            body.extend(extensions);
            body
        };
        let ours = [b"h2".to_vec(), b"http/1.1".to_vec()];
        for (names, wanted) in [
            (&b"\x02h2"[..], false),
            (b"\x03foo\x02h2", false),
            (b"\x03foo", true),
            (b"", false),
        ] {
            let body = hello_of(names);
            let hello = Hello::of_body(&body).unwrap();
            assert_eq!(none_in_common(&hello, &ours), wanted, "{names:?}");
        }
    }
}
