//! Finds the address of a client behind a trusted reverse proxy, from the PROXY protocol at the
//! start of a connection or from `X-Forwarded-For` in a request. Anybody can send both, so they are
//! accepted only from the addresses in the lines `trusted-proxy`.

use crate::network::IpPrefix;
use protocol::proxy_protocol::{Header, Progress, parse};
use serde::{Deserialize, Serialize};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

const HEADER_LIMIT: Duration = Duration::from_secs(5);
/// Maximum length of a header, bytes. HAProxy's own headers have fewer than 600.
const HEADER_BYTES_MAX: usize = 4 << 10;
/// Maximum number of addresses in `X-Forwarded-For` that are read, starting from the right. Each is
/// a proxy of a chain.
const HOPS_MAX: usize = 16;

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TrustedProxies(Vec<IpPrefix>);

impl From<Vec<IpPrefix>> for TrustedProxies {
    fn from(networks: Vec<IpPrefix>) -> TrustedProxies {
        TrustedProxies(networks)
    }
}

impl TrustedProxies {
    pub fn has(&self, address: IpAddr) -> bool {
        self.0
            .iter()
            .any(|network| network.contains_address(address))
    }

    /// Returns the client of a request that came from `peer`. `headers` are the values of all
    /// `X-Forwarded-For` headers in their order.
    ///
    /// Each proxy appends the address of the machine that connected to it, so only the rightmost
    /// addresses are of trusted proxies: the first one from the right that is not a trusted proxy
    /// is the client. Entries that the client wrote itself are further left. A value that is not an
    /// address ends the search.
    pub fn client_of<'h>(
        &self,
        peer: IpAddr,
        headers: impl DoubleEndedIterator<Item = &'h str>,
    ) -> IpAddr {
        let mut client = peer.to_canonical();
        let hops = headers.rev().flat_map(|value| value.rsplit(','));
        for hop in hops.take(HOPS_MAX) {
            if !self.has(client) {
                break;
            }
            match hop_address(hop) {
                Some(address) => client = address,
                None => break,
            }
        }
        client
    }
}

/// Parses the address in an entry of `X-Forwarded-For`. Proxies write it without brackets, in
/// brackets, or with a port.
fn hop_address(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    let with_port = || text.parse::<SocketAddr>().ok().map(|at| at.ip());
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let address = bare.unwrap_or(text).parse().ok().or_else(with_port)?;
    Some(IpAddr::to_canonical(&address))
}

/// Reads the PROXY header, of version 1 or 2, at the start of a connection, and no byte after it.
/// `None`: the proxy connects on its own behalf, as for a health check, or does not name an IP
/// address.
///
/// # Errors
/// A network error, or the header is missing, malformed, too long or late.
pub async fn read_header(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<IpAddr>> {
    let reads = async {
        let mut bytes = Vec::new();
        loop {
            let progress = parse(&bytes).map_err(io::Error::other)?;
            match progress {
                Progress::Complete { header, .. } => return Ok(source(&header)),
                Progress::Incomplete { missing_bytes } => {
                    let begin = bytes.len();
                    if begin + missing_bytes > HEADER_BYTES_MAX {
                        return Err(io::ErrorKind::InvalidData.into());
                    }
                    bytes.resize(begin + missing_bytes, 0);
                    stream.read_exact(&mut bytes[begin..]).await?;
                }
            }
        }
    };
    timeout(HEADER_LIMIT, reads).await?
}

fn source(header: &Header) -> Option<IpAddr> {
    match header {
        Header::Local => None,
        Header::Proxied(proxied) => Some(proxied.endpoints.source()?.ip().to_canonical()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::proxy_protocol::Checksum;

    fn trusted(networks: &[&str]) -> TrustedProxies {
        let networks = networks.iter().map(|text| text.parse().unwrap());
        networks.collect::<Vec<IpPrefix>>().into()
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().build().unwrap().block_on(future)
    }

    #[test]
    fn client_is_the_rightmost_address_that_is_not_a_trusted_proxy() {
        let proxies = trusted(&["10.0.0.0/24", "2001:db8:1::/48"]);
        for (peer, headers, expected) in [
            // Ignores the header of a client that is not a trusted proxy.
            ("192.0.2.9", &["198.51.100.1"][..], "192.0.2.9"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("::ffff:10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            // Ignores the address that the client has sent itself: the proxy appends an address, or
            // another header.
            ("10.0.0.1", &["127.0.0.1, 198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["127.0.0.1", "198.51.100.1"], "198.51.100.1"),
            // Skips the second of two trusted proxies in a chain.
            (
                "10.0.0.1",
                &["1.2.3.4, 198.51.100.1,10.0.0.2"],
                "198.51.100.1",
            ),
            ("10.0.0.1", &["198.51.100.1:4711"], "198.51.100.1"),
            ("10.0.0.1", &["[2001:db8::1]:4711"], "2001:db8::1"),
            ("10.0.0.1", &["[2001:db8::1]"], "2001:db8::1"),
            ("10.0.0.1", &["2001:db8::1"], "2001:db8::1"),
            ("10.0.0.1", &["2001:db8:1::9"], "2001:db8:1::9"),
            // Entries to the left of one that is not an address are ignored.
            ("10.0.0.1", &["198.51.100.1, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1, "], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1, x, 10.0.0.2"], "10.0.0.2"),
        ] {
            let client = proxies.client_of(peer.parse().unwrap(), headers.iter().copied());
            assert_eq!(client.to_string(), expected, "{peer} {headers:?}");
        }
        let many = "10.0.0.2,".repeat(100_000);
        let client = proxies.client_of([10, 0, 0, 1].into(), [&*many].into_iter());
        assert!(proxies.has(client));
    }

    #[test]
    fn a_proxy_header_is_read_completely_and_no_further() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let header = Header::tcp(at("198.51.100.1:4711"), at("10.0.0.9:443"));
        let (mut text, mut binary) = (Vec::new(), Vec::new());
        header.encode_text(&mut text);
        header.encode_binary(Checksum::Crc32c, &mut binary);
        for header in [text, binary] {
            let mut bytes = [&header[..], b"\x16\x03\x01"].concat();
            let mut stream = &bytes[..];
            let client = block_on(read_header(&mut stream)).unwrap();
            assert_eq!(client, Some([198, 51, 100, 1].into()));
            assert_eq!(stream, b"\x16\x03\x01");
            bytes.truncate(header.len() - 1);
            assert!(block_on(read_header(&mut &bytes[..])).is_err());
        }
        let local = b"PROXY UNKNOWN\r\n";
        assert_eq!(block_on(read_header(&mut &local[..])).unwrap(), None);
    }

    #[test]
    fn invalid_headers_are_refused_within_bounds() {
        let huge = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff".to_vec();
        for bytes in [
            &b"\x16\x03\x01\x02"[..],
            b"GET / HTTP/1.1\r\n",
            b"PROXY TCP4 x\r\n",
            &huge,
        ] {
            assert!(block_on(read_header(&mut &bytes[..])).is_err(), "{bytes:?}");
        }
    }
}
