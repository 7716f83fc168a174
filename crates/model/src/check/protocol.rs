//! Builds the scripts of the health checks `option smtpchk`, `mysql-check`, `pgsql-check`,
//! `redis-check`, `ldap-check`, `spop-check` and `ssl-hello-chk`, and parses responses that no
//! pattern can describe. They send the same bytes and interpret responses in the same way as
//! HAProxy's checks.

use super::expect::{Judged, text_of};
use crate::config::{CheckKind, MySqlUser};
use crate::sample::regular::Regular;
use crate::script::{
    Code, Connect, Dialogue, Expect, Pattern, ReportedText, Script, Send, StepAction,
};
use crate::state::{CheckResult, CheckStatus};

enum ParsedReply {
    Short,
    Good(Vec<u8>),
    Bad(CheckStatus, u16, Vec<u8>),
}

impl Dialogue {
    /// Evaluates the received bytes. `ended`: no more bytes will be examined, because the server
    /// closed the connection or the maximum number of bytes has arrived.
    pub fn judge(self, bytes: &[u8], ended: bool) -> Judged {
        let message = match self {
            Dialogue::MySqlGreeting => mysql_greeting(bytes),
            Dialogue::MySqlLogin => mysql_login(bytes),
            Dialogue::LdapBind => ldap_bind(bytes),
            Dialogue::SpopHello => spop_hello(bytes),
        };
        let result = |status, told: &[u8]| CheckResult::new(status, 0).info(text_of(told));
        match message {
            ParsedReply::Short if !ended => Judged::Wait,
            ParsedReply::Short => Judged::Failed(result(
                CheckStatus::Layer7Invalid,
                b"the response ended within a message",
            )),
            ParsedReply::Good(told) => {
                let result = result(CheckStatus::Layer7Ok, &told);
                Judged::Passed(CheckResult {
                    fleeting: true,
                    ..result
                })
            }
            ParsedReply::Bad(status, code, told) => {
                Judged::Failed(result(status, &told).code(code))
            }
        }
    }
}

fn connect() -> StepAction {
    StepAction::Connect(Box::new(Connect {
        default: true,
        linger: true,
        ..Connect::default()
    }))
}

fn send(bytes: impl Into<Vec<u8>>) -> StepAction {
    StepAction::Send(Box::new(Send::Bytes(bytes.into().into())))
}

fn expect(pattern: Pattern, more: impl FnOnce(&mut Expect)) -> StepAction {
    let mut expect = Expect::new(pattern);
    more(&mut expect);
    StepAction::Expect(Box::new(expect))
}

/// Compiles a constant pattern of this file. Tests check that all compile; an invalid one would
/// become an empty text.
fn regex(text: &str) -> Pattern {
    match Regular::new(text.as_bytes(), false) {
        Ok(regex) => Pattern::Regex(regex),
        Err(_) => Pattern::Text(Box::default()),
    }
}

fn binary_regex(text: &str) -> Pattern {
    match Regular::new(text.as_bytes(), false) {
        Ok(regex) => Pattern::BinaryRegex(regex),
        Err(_) => Pattern::Text(Box::default()),
    }
}

impl Script {
    pub(crate) fn of_protocol(kind: &CheckKind) -> Script {
        Script::built_in(match kind {
            CheckKind::Connect | CheckKind::Tcp | CheckKind::Http | CheckKind::External => {
                Vec::new()
            }
            CheckKind::TlsHello => tls_hello(),
            CheckKind::Smtp(hello) => smtp(hello),
            CheckKind::MySql(user) => mysql(user.as_ref()),
            CheckKind::PostgreSql(user) => postgresql(user),
            CheckKind::Redis => redis(),
            CheckKind::Ldap => ldap(),
            CheckKind::Spop => spop(),
        })
    }
}

fn tls_hello() -> Vec<StepAction> {
    vec![
        StepAction::Send(Box::new(Send::TlsHello)),
        // Expects a TLS alert or handshake record as the response.
        expect(binary_regex("^1[56]"), |expect| {
            expect.min_recv = Some(5);
            expect.ok_status = Some(CheckStatus::Layer6Ok);
            expect.error_status = Some(CheckStatus::Layer6Invalid);
            expect.timeout_status = Some(CheckStatus::Layer6Timeout);
            expect.on_error = Some(ReportedText::Text(""));
        }),
    ]
}

fn smtp(hello: &[u8]) -> Vec<StepAction> {
    let code = |expect: &mut Expect| {
        expect.error_status = Some(CheckStatus::Layer7Status);
        expect.on_error = Some(ReportedText::Line(4));
        expect.code = Some(Code::Digits);
    };
    vec![
        connect(),
        expect(regex("^[0-9]{3}[ \r]"), |expect| {
            expect.min_recv = Some(4);
            expect.on_error = Some(ReportedText::Line(0));
        }),
        expect(regex("^2[0-9]{2}[ \r]"), |expect| {
            expect.min_recv = Some(4);
            code(expect);
        }),
        send([hello, b"\r\n"].concat()),
        // Matches all lines of a response of several lines.
        expect(regex(r"^(2[0-9]{2}-[^\n]*\n)*2[0-9]{2}[ \r]"), code),
        send(*b"QUIT\r\n"),
        expect(regex("^2[0-9]{2}[- \r]"), |expect| {
            expect.min_recv = Some(4);
            code(expect);
            expect.on_success = Some(ReportedText::Line(4));
        }),
    ]
}

fn redis() -> Vec<StepAction> {
    vec![
        send(*b"*1\r\n$4\r\nPING\r\n"),
        expect(Pattern::Text((*b"+PONG\r\n").into()), |expect| {
            expect.error_status = Some(CheckStatus::Layer7Status);
            expect.on_success = Some(ReportedText::Text("Redis server is ok"));
        }),
    ]
}

fn postgresql(user: &[u8]) -> Vec<StepAction> {
    // Builds a startup message of PostgreSQL's protocol version 3: length, protocol version, user.
    let length = (8 + 5 + user.len() + 2) as u32;
    let startup = [
        &length.to_be_bytes()[..],
        &[0, 3, 0, 0],
        b"user\0",
        user,
        b"\0\0",
    ];
    vec![
        connect(),
        send(startup.concat()),
        // Fails on an error message of PostgreSQL, and reports its first field, which follows the
        // type and the length.
        expect(regex("^E"), |expect| {
            expect.negated = true;
            expect.min_recv = Some(5);
            expect.on_error = Some(ReportedText::Text0(6));
        }),
        // Expects a request for authentication by any known method.
        expect(
            binary_regex("^52000000[A-Z0-9]{2}000000(00|02|03|04|05|06|07|09|0A)"),
            |expect| {
                expect.min_recv = Some(9);
                expect.error_status = Some(CheckStatus::Layer7Status);
                expect.on_success = Some(ReportedText::Text("PostgreSQL server is ok"));
                expect.on_error = Some(ReportedText::Text("PostgreSQL unknown error"));
            },
        ),
    ]
}

/// Length of a MySQL packet header: three bytes of length, one of sequence number.
const MYSQL_HEAD_BYTES: usize = 4;
const MYSQL_ERROR: u8 = 0xff;

fn mysql(user: Option<&MySqlUser>) -> Vec<StepAction> {
    let greeting = expect(Pattern::Dialogue(Dialogue::MySqlGreeting), |_| {});
    let Some(user) = user else {
        return vec![connect(), greeting];
    };
    vec![
        connect(),
        send(mysql_packets(user)),
        greeting,
        expect(Pattern::Dialogue(Dialogue::MySqlLogin), |_| {}),
    ]
}

/// Returns two MySQL packets: a login without a password, and a quit.
fn mysql_packets(user: &MySqlUser) -> Vec<u8> {
    let mut login = Vec::new();
    if user.old {
        // Capabilities of the client (transactions), and the largest packet.
        login.extend_from_slice(&[0x00, 0x80, 0x00, 0x00, 0x01]);
    } else {
        // Capabilities of the client (protocol 4.1, secure connection: 0x8200), the largest
        // packet, the character set (UTF-8), 23 zero bytes.
        login.extend_from_slice(&[0x00, 0x82, 0x00, 0x00, 0x00, 0x80, 0x00, 0x01, 0x21]);
        login.extend_from_slice(&[0; 23]);
    }
    login.extend_from_slice(&user.name);
    login.extend_from_slice(&[0, 0]);
    let length = (login.len() as u32).to_le_bytes();
    let mut out = vec![length[0], length[1], length[2], 1];
    out.extend_from_slice(&login);
    out.extend_from_slice(&[1, 0, 0, 0, 1]);
    out
}

fn mysql_packet(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, rest) = bytes.split_at_checked(MYSQL_HEAD_BYTES)?;
    let length = u32::from_le_bytes([head[0], head[1], head[2], 0]);
    rest.split_at_checked(usize::try_from(length).ok()?)
}

fn mysql_error(packet: &[u8]) -> ParsedReply {
    let code = match packet.get(1..3) {
        Some(code) => u16::from_le_bytes([code[0], code[1]]),
        None => 0,
    };
    let told = packet.get(3..).unwrap_or_default().to_vec();
    ParsedReply::Bad(CheckStatus::Layer7Status, code, told)
}

/// Parses the greeting packet of a MySQL server. The result is the server's version number, which
/// the message of the check contains, or the error that the server sent instead.
fn mysql_greeting(bytes: &[u8]) -> ParsedReply {
    let Some((packet, _)) = mysql_packet(bytes) else {
        return ParsedReply::Short;
    };
    match packet.split_first() {
        Some((&MYSQL_ERROR, _)) => mysql_error(packet),
        Some((_, rest)) => {
            let version = rest.split(|byte| *byte == 0).next();
            ParsedReply::Good(version.unwrap_or_default().to_vec())
        }
        None => ParsedReply::Good(Vec::new()),
    }
}

fn mysql_login(bytes: &[u8]) -> ParsedReply {
    let Some((greeting, rest)) = mysql_packet(bytes) else {
        return ParsedReply::Short;
    };
    let Some((answer, _)) = mysql_packet(rest) else {
        return ParsedReply::Short;
    };
    match answer.first() {
        Some(&MYSQL_ERROR) => mysql_error(answer),
        _ => {
            let version = greeting
                .get(1..)
                .unwrap_or_default()
                .split(|byte| *byte == 0);
            ParsedReply::Good(version.into_iter().next().unwrap_or_default().to_vec())
        }
    }
}

fn ldap() -> Vec<StepAction> {
    // LDAP message with number 1: an anonymous bind of version 3 without a password.
    const BIND: [u8; 14] = [
        0x30, 0x0c, 0x02, 0x01, 0x01, 0x60, 0x07, 0x02, 0x01, 0x03, 0x04, 0x00, 0x80, 0x00,
    ];
    vec![
        send(BIND),
        expect(binary_regex("^30"), |expect| {
            expect.min_recv = Some(14);
            expect.on_error = Some(ReportedText::Text("Not LDAPv3 protocol"));
        }),
        expect(Pattern::Dialogue(Dialogue::LdapBind), |_| {}),
    ]
}

/// Returns the length of the BER element with this tag, and the bytes after its head.
fn element(bytes: &[u8], tag: u8) -> Option<(usize, &[u8])> {
    let (&found, rest) = bytes.split_first()?;
    let (&length, rest) = rest.split_first()?;
    if found != tag {
        return None;
    }
    if length < 0x80 {
        return Some((length.into(), rest));
    }
    let (long, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
    if long.len() > 4 {
        return None;
    }
    let length = long
        .iter()
        .fold(0_usize, |n, byte| n << 8 | usize::from(*byte));
    Some((length, rest))
}

fn ldap_bind(bytes: &[u8]) -> ParsedReply {
    const NOT_LDAP: &[u8] = b"Not LDAPv3 protocol";
    const NOT_BIND: &[u8] = b"Not a bind response";
    const REFERENCE: &[u8] = b"See RFC: http://tools.ietf.org/html/rfc4511#section-4.1.9";
    let bad = |told: &[u8]| ParsedReply::Bad(CheckStatus::Layer7Invalid, 0, told.to_vec());
    let Some((length, rest)) = element(bytes, 0x30) else {
        return bad(NOT_LDAP);
    };
    if rest.len() < length {
        return ParsedReply::Short;
    }
    // Checks that the response has the message number of the bind, which is 1.
    let number = element(rest, 0x02).and_then(|(length, rest)| rest.split_at_checked(length));
    let Some(([1], rest)) = number else {
        return bad(NOT_LDAP);
    };
    let Some((_, rest)) = element(rest, 0x61) else {
        return bad(NOT_BIND);
    };
    let code = element(rest, 0x0a).and_then(|(length, rest)| rest.get(..length));
    match code {
        Some([0]) => ParsedReply::Good(b"Success".to_vec()),
        Some([code]) => ParsedReply::Bad(
            CheckStatus::Layer7Status,
            u16::from(*code),
            REFERENCE.to_vec(),
        ),
        _ => bad(NOT_BIND),
    }
}

const SPOP_HAPROXY_HELLO: u8 = 1;
const SPOP_AGENT_HELLO: u8 = 101;
const SPOP_AGENT_DISCONNECT: u8 = 102;
/// Texts for an agent's status codes, by number.
const SPOP_CODES: [&str; 14] = [
    "normal",
    "I/O error",
    "a timeout occurred",
    "frame is too big",
    "invalid frame received",
    "version value not found",
    "max-frame-size value not found",
    "capabilities value not found",
    "unsupported version",
    "max-frame-size too big or too small",
    "payload fragmentation is not supported",
    "invalid interlaced frames",
    "frame-id not found",
    "resource allocation error",
];
/// Flags of a SPOP frame that is a complete message.
const SPOP_FINAL: [u8; 4] = [0, 0, 0, 1];
/// Maximum frame size that the check offers, bytes.
const SPOP_FRAME_MAX: u64 = 16380;
/// Smallest maximum frame size that the agent may report, bytes.
const SPOP_FRAME_MIN: u64 = 256;

fn spop() -> Vec<StepAction> {
    let mut frame = vec![SPOP_HAPROXY_HELLO];
    frame.extend_from_slice(&SPOP_FINAL);
    // Stream id and frame id: 0.
    frame.extend_from_slice(&[0, 0]);
    let text = |out: &mut Vec<u8>, text: &[u8]| {
        out.push(text.len() as u8);
        out.extend_from_slice(text);
    };
    text(&mut frame, b"supported-versions");
    frame.push(SPOP_TEXT);
    text(&mut frame, b"2.0");
    text(&mut frame, b"max-frame-size");
    frame.push(SPOP_U32);
    // 16380 as a SPOP integer.
    frame.extend_from_slice(&[0xfc, 0xf0, 0x06]);
    text(&mut frame, b"capabilities");
    frame.push(SPOP_TEXT);
    text(&mut frame, b"");
    text(&mut frame, b"healthcheck");
    frame.push(SPOP_TRUE);
    let mut out = (frame.len() as u32).to_be_bytes().to_vec();
    out.extend_from_slice(&frame);
    vec![
        send(out),
        expect(Pattern::Dialogue(Dialogue::SpopHello), |_| {}),
    ]
}

/// SPOP boolean with the value true: the type 1 in the lower four bits, the value in the upper
/// bits.
const SPOP_TRUE: u8 = 0x11;
const SPOP_U32: u8 = 3;
const SPOP_TEXT: u8 = 8;

/// Parses an integer of SPOP: one byte below 240, otherwise further bytes with seven bits each.
fn spop_number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (&first, mut rest) = bytes.split_first()?;
    let mut number = u64::from(first);
    if first < 240 {
        return Some((number, rest));
    }
    for shift in (4..64).step_by(7) {
        let (&byte, behind) = rest.split_first()?;
        rest = behind;
        number = number.checked_add(u64::from(byte).checked_shl(shift)?)?;
        if byte < 128 {
            return Some((number, rest));
        }
    }
    None
}

fn spop_text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = spop_number(bytes)?;
    rest.split_at_checked(usize::try_from(length).ok()?)
}

enum SpopValue<'a> {
    Number(u64),
    Text(&'a [u8]),
    Other,
}

fn spop_value(bytes: &[u8]) -> Option<(SpopValue<'_>, &[u8])> {
    let (&kind, rest) = bytes.split_first()?;
    Some(match kind & 0x0f {
        0 | 1 => (SpopValue::Other, rest),
        2..=5 => {
            let (number, rest) = spop_number(rest)?;
            (SpopValue::Number(number), rest)
        }
        6 => (SpopValue::Other, rest.get(4..)?),
        7 => (SpopValue::Other, rest.get(16..)?),
        8 | 9 => {
            let (text, rest) = spop_text(rest)?;
            (SpopValue::Text(text), rest)
        }
        _ => return None,
    })
}

/// Returns the reason that an agent gives for its disconnect, from the fields of its frame.
fn spop_refusal(mut fields: &[u8]) -> &'static str {
    let mut code = 0;
    while let Some((name, rest)) = spop_text(fields) {
        let Some((value, rest)) = spop_value(rest) else {
            break;
        };
        fields = rest;
        if let (b"status-code", SpopValue::Number(number)) = (name, value) {
            code = number;
        }
    }
    let known = usize::try_from(code).ok().and_then(|n| SPOP_CODES.get(n));
    known.unwrap_or(&"unknown error")
}

fn spop_hello(bytes: &[u8]) -> ParsedReply {
    let bad = |told: &str| ParsedReply::Bad(CheckStatus::Layer7Invalid, 0, told.into());
    let invalid = || bad("invalid frame received");
    let Some((length, rest)) = bytes.split_at_checked(4) else {
        return ParsedReply::Short;
    };
    let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]);
    let Some(frame) = usize::try_from(length)
        .ok()
        .and_then(|length| rest.get(..length))
    else {
        return ParsedReply::Short;
    };
    let (kind, frame) = frame.split_first().unzip();
    let Some(mut rest) = frame
        .and_then(|rest| rest.strip_prefix(&SPOP_FINAL))
        .and_then(|rest| rest.strip_prefix(&[0, 0]))
    else {
        return invalid();
    };
    match kind {
        Some(&SPOP_AGENT_HELLO) => {}
        Some(&SPOP_AGENT_DISCONNECT) => return bad(spop_refusal(rest)),
        _ => return invalid(),
    }
    let (mut versioned, mut sized) = (false, false);
    while !rest.is_empty() {
        let Some((name, value, behind)) = spop_text(rest)
            .and_then(|(name, rest)| spop_value(rest).map(|(value, rest)| (name, value, rest)))
        else {
            return invalid();
        };
        rest = behind;
        match (name, value) {
            (b"version", SpopValue::Text(version)) => {
                let major = version.trim_ascii().split(|byte| *byte == b'.').next();
                if major != Some(b"2") {
                    return bad("unsupported version");
                }
                versioned = true;
            }
            (b"max-frame-size", SpopValue::Number(size)) => {
                if !(SPOP_FRAME_MIN..=SPOP_FRAME_MAX).contains(&size) {
                    return bad("max-frame-size too big or too small");
                }
                sized = true;
            }
            (b"version" | b"max-frame-size", _) => return invalid(),
            _ => {}
        }
    }
    match (versioned, sized) {
        (false, _) => bad("version value not found"),
        (_, false) => bad("max-frame-size value not found"),
        _ => ParsedReply::Good(b"SPOA server is ok".to_vec()),
    }
}
