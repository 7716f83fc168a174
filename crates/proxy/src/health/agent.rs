//! Queries the agent of a server (`agent-check`): a program on the server's host that reports the
//! server's state in one line. The connection, the text sent and the reading of the line are
//! here; parsing the line needs no IO.

use model::config::{Proxy, Server, ServerAddress};
use model::state::{AdminState, AgentResult, AgentVerdict, CheckStatus, WEIGHT_MAX};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

const LINE_BYTES_MAX: usize = 16_384;
const WORDS_BYTES_MAX: usize = 256;
/// Default value of `agent-inter`, milliseconds.
pub(super) const INTER_MS: u32 = 2000;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct AgentResponse {
    pub admin: Option<AdminState>,
    /// Weight as a percentage of the configured one.
    pub percent: Option<u32>,
    pub maxconn: Option<u32>,
    /// The reported health: whether the server is up, and the agent's word for it.
    pub health: Option<(bool, &'static str)>,
    /// The text after `#` in the response.
    pub description: String,
    /// The first unknown word of the response.
    pub unknown: Option<String>,
}

/// Parses the line of an agent. None if the line does not end with CR or LF: a truncated `up 10%`
/// must not take effect as `up`.
pub(super) fn read(bytes: &[u8]) -> Option<AgentResponse> {
    let end = bytes.iter().position(|b| matches!(b, b'\r' | b'\n' | 0))?;
    if bytes[end] == 0 {
        return None;
    }
    let text = String::from_utf8_lossy(&bytes[..end]);
    let (said, description) = text.split_once('#').unwrap_or((&text, ""));
    let mut line = AgentResponse {
        description: words(description),
        ..AgentResponse::default()
    };
    for word in said.split([' ', '\t', ',']).filter(|word| !word.is_empty()) {
        let lower = word.to_ascii_lowercase();
        match lower.as_str() {
            "up" => line.health = Some((true, "up")),
            "down" => line.health = Some((false, "down")),
            "stopped" => line.health = Some((false, "stopped")),
            "fail" => line.health = Some((false, "fail")),
            "failed" => line.health = Some((false, "failed")),
            "ready" => line.admin = Some(AdminState::Ready),
            "drain" => line.admin = Some(AdminState::Drain),
            "maint" => line.admin = Some(AdminState::Maintenance),
            other => {
                let percent = other.strip_suffix('%').and_then(|n| n.parse().ok());
                let maxconn = other.strip_prefix("maxconn:").and_then(|n| n.parse().ok());
                if percent.is_none() && maxconn.is_none() {
                    line.unknown.get_or_insert_with(|| words(word));
                }
                line.percent = percent.or(line.percent);
                line.maxconn = maxconn.or(line.maxconn);
            }
        }
    }
    Some(line)
}

/// Prepares foreign text for logs: shortened, and without characters that would break a line.
fn words(text: &str) -> String {
    let good = text.trim().chars().filter(|c| !c.is_control());
    good.take(WORDS_BYTES_MAX).collect()
}

impl AgentResponse {
    /// Returns the weight that the agent requests, calculated from the configured one.
    pub fn weight(&self, of_file: u32) -> Option<u32> {
        let percent = u64::from(self.percent?);
        let weight = u64::from(of_file) * percent / 100;
        Some(weight.min(u64::from(WEIGHT_MAX)) as u32)
    }

    /// Returns the reported health, and the result that statistics show.
    pub fn result(&self, duration_ms: u32) -> (AgentVerdict, AgentResult) {
        let described = if self.description.is_empty() {
            String::new()
        } else {
            format!(" ({})", self.description)
        };
        let (said, status, info) = match (self.health, &self.unknown) {
            (Some((true, word)), _) => (
                AgentVerdict::Up,
                Some(CheckStatus::Layer7Ok),
                format!("via agent : {word}{described}"),
            ),
            (Some((false, word)), _) => (
                AgentVerdict::Down,
                Some(CheckStatus::Layer7Status),
                format!("via agent : {word}{described}"),
            ),
            (None, Some(word)) => (
                AgentVerdict::Nothing,
                None,
                format!("agent reports an error : {word}"),
            ),
            (None, None) => (AgentVerdict::Nothing, None, self.description.clone()),
        };
        let result = AgentResult {
            status,
            info: info.into(),
            duration_ms,
        };
        (said, result)
    }
}

pub(super) fn target(server: &Server) -> Option<SocketAddr> {
    let set = server.state.agent_set();
    let agent = &server.options.agent;
    let ip = match set.address.or(agent.address) {
        Some(ip) => ip,
        None => {
            let own = server.state.address_override();
            match own.as_ref().unwrap_or(&server.address) {
                ServerAddress::Inet(address) => address.ip(),
                ServerAddress::SamePort(ip, _) => *ip,
                _ => return None,
            }
        }
    };
    Some(SocketAddr::new(ip, set.port.or(agent.port)?))
}

/// Queries the agent of a server. Returns the parsed line or the failed result, and the duration in
/// milliseconds.
pub(super) async fn query_agent(
    proxy: &Proxy,
    server: &Server,
) -> (Result<AgentResponse, AgentResult>, u32) {
    let began = Instant::now();
    let inter = server.options.agent.inter_ms.unwrap_or(INTER_MS);
    let answer_ms = proxy.timeouts.check_ms.unwrap_or(inter);
    let until = began + Duration::from_millis(u64::from(answer_ms));
    let mut connected = false;
    let asked = timeout_at(until, exchange(server, &mut connected)).await;
    let duration_ms = u32::try_from(began.elapsed().as_millis()).unwrap_or(u32::MAX);
    let failed = |status, info: String| {
        Err(AgentResult {
            status: Some(status),
            info: info.into(),
            duration_ms,
        })
    };
    let line = match (asked, connected) {
        (Ok(Ok(bytes)), _) if bytes.is_empty() => failed(CheckStatus::Layer7Invalid, String::new()),
        // The error has the wording and status of HAProxy.
        (Ok(Ok(bytes)), _) => read(&bytes).map_or_else(
            || {
                let info = "Ignoring incomplete line from agent";
                failed(CheckStatus::Layer7Timeout, info.to_owned())
            },
            Ok,
        ),
        (Ok(Err(error)), _) => failed(CheckStatus::Layer4Error, language::reason(&error)),
        (Err(_), true) => failed(CheckStatus::Layer7Timeout, String::new()),
        (Err(_), false) => failed(CheckStatus::Layer4Timeout, String::new()),
    };
    (line, duration_ms)
}

async fn exchange(server: &Server, connected: &mut bool) -> io::Result<Vec<u8>> {
    let target = target(server).ok_or(io::ErrorKind::AddrNotAvailable)?;
    let mut stream = TcpStream::connect(target).await?;
    *connected = true;
    let set = server.state.agent_set();
    let send = set.send.as_deref().or(server.options.agent.send.as_deref());
    if let Some(send) = send {
        stream.write_all(send).await?;
    }
    let mut bytes = Vec::new();
    let mut piece = [0; 512];
    loop {
        let length = stream.read(&mut piece).await?;
        bytes.extend_from_slice(&piece[..length]);
        let has_line = bytes.iter().any(|b| matches!(b, b'\r' | b'\n'));
        if length == 0 || has_line || bytes.len() >= LINE_BYTES_MAX {
            return Ok(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_line(line: &[u8]) -> AgentResponse {
        read(line).unwrap()
    }

    #[test]
    fn words_of_an_agent_are_parsed() {
        let line = read_line(b"up 75%, maxconn:30\tready\r\nrest");
        assert_eq!(line.health, Some((true, "up")));
        assert_eq!((line.percent, line.maxconn), (Some(75), Some(30)));
        assert_eq!(line.admin, Some(AdminState::Ready));
        assert_eq!((line.weight(10), line.weight(100)), (Some(7), Some(75)));
        assert_eq!(read_line(b"4000000000%\n").weight(256), Some(WEIGHT_MAX));
        assert_eq!(read_line(b"maint\r").admin, Some(AdminState::Maintenance));
        assert_eq!(read_line(b"drain\n").admin, Some(AdminState::Drain));
        assert_eq!(read_line(b"\ndown\n"), AgentResponse::default());
        assert_eq!(read_line(b"bogus 5\n").unknown.as_deref(), Some("bogus"));
        let mut long = vec![0xff; 9000];
        long.push(b'\n');
        let unknown = read_line(&long).unknown;
        assert_eq!(unknown.map(|w| w.chars().count()), Some(256));
    }

    #[test]
    fn incomplete_line_of_an_agent_has_no_effect() {
        for line in [
            "", "down", "up", "up 50%", "Drain", "maint #x", "down\0", "down\0\n",
        ] {
            assert_eq!(read(line.as_bytes()), None, "{line:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_line_of_an_agent_is_short_and_plain(
            words in "[a-z0-9%:#, \\t\\r\\n-]{0,80}",
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200),
        ) {
            for text in [words.into_bytes(), bytes] {
                let Some(line) = read(&text) else { continue };
                let (_, result) = line.result(1);
                assert!(result.info.chars().count() < 2 * WORDS_BYTES_MAX);
                assert!(!result.info.chars().any(char::is_control));
                assert!(line.weight(256).is_none_or(|weight| weight <= WEIGHT_MAX));
            }
        }
    }

    #[test]
    fn agent_result_has_the_text_of_haproxy() {
        let of = |text: &str| {
            let line = read_line(format!("{text}\n").as_bytes());
            let (said, result) = line.result(3);
            (said, result.code(), result.text(), result.info.into_owned())
        };
        let down = (
            AgentVerdict::Down,
            "L7STS",
            "Layer7 wrong status",
            "via agent : down (broken thing)".to_owned(),
        );
        assert_eq!(of("down #broken thing"), down);
        let up = (
            AgentVerdict::Up,
            "L7OK",
            "Layer7 check passed",
            "via agent : up".to_owned(),
        );
        assert_eq!(of("up"), up);
        let nothing = (
            AgentVerdict::Nothing,
            "CHECKED",
            "No status change",
            String::new(),
        );
        assert_eq!(of("50%"), nothing);
        assert_eq!(of("bogus").3, "agent reports an error : bogus");
    }
}
