//! Parses syslog messages: RFC 3164, RFC 5424, or neither. A message in neither format is
//! plain text and forwarded completely.

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SyslogMessageFormat {
    /// Plain text, perhaps after a priority.
    #[default]
    Plain,
    /// The BSD format of RFC 3164.
    Bsd,
    /// The IETF format of RFC 5424.
    Ietf,
}

/// A parsed message. A field that is missing, or given as `-`, is None.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SyslogMessage<'a> {
    pub form: SyslogMessageFormat,
    /// Facility times eight, plus the level.
    pub priority: Option<u16>,
    /// Date in the notation of the format.
    pub date: Option<&'a [u8]>,
    pub host: Option<&'a [u8]>,
    pub tag: Option<&'a [u8]>,
    pub pid: Option<&'a [u8]>,
    pub id: Option<&'a [u8]>,
    /// Structured data with its brackets (RFC 5424).
    pub structured: Option<&'a [u8]>,
    pub text: &'a [u8],
}

const PRIORITY_DIGITS_MAX: usize = 3;
/// Length of an RFC 3164 date and the space after it, bytes.
const BSD_DATE_BYTES: usize = 16;
/// Length of an RFC 3339 date up to the seconds, as in RFC 5424, bytes.
const IETF_DATE_BYTES: usize = 19;
const MONTHS: [&[u8]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

impl<'a> SyslogMessage<'a> {
    /// Creates a message from bytes without parsing them.
    pub fn opaque(bytes: &'a [u8]) -> SyslogMessage<'a> {
        SyslogMessage {
            text: bytes,
            ..SyslogMessage::default()
        }
    }

    /// Parses a message, without the newline at its end.
    pub fn read(bytes: &'a [u8]) -> SyslogMessage<'a> {
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let (priority, rest) = match priority(bytes) {
            Some((priority, rest)) => (Some(priority), rest),
            None => (None, bytes),
        };
        let read = match rest.strip_prefix(b"1 ") {
            Some(fields) => ietf(fields),
            None => bsd(rest),
        };
        let message = read.filter(|_| priority.is_some());
        SyslogMessage {
            priority,
            ..message.unwrap_or(SyslogMessage::opaque(rest))
        }
    }

    /// Returns the month (0 to 11) of an RFC 3164 date.
    pub fn bsd_month(date: &[u8]) -> Option<usize> {
        MONTHS.iter().position(|month| date.starts_with(month))
    }

    /// Returns the name of a month given by two digits.
    pub fn month_name(digits: &[u8]) -> Option<&'static [u8]> {
        let number: usize = std::str::from_utf8(digits).ok()?.parse().ok()?;
        MONTHS.get(number.checked_sub(1)?).copied()
    }
}

/// Parses `<13>`; returns the priority and the rest.
fn priority(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let rest = bytes.strip_prefix(b"<")?;
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    if digits > PRIORITY_DIGITS_MAX {
        return None;
    }
    let (number, rest) = rest.split_at(digits);
    let number = number
        .iter()
        .fold(0u16, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    Some((number, rest.strip_prefix(b">")?))
}

/// Splits a text at its first space; returns the word before and the rest after it.
fn word(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b' ', bytes).filter(|end| *end > 0)?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

/// Parses `Oct 11 22:14:15 host tag[12]: text`.
fn bsd(bytes: &[u8]) -> Option<SyslogMessage<'_>> {
    let (date, rest) = bytes.split_at_checked(BSD_DATE_BYTES)?;
    SyslogMessage::bsd_month(date)?;
    let shape = date.iter().zip(b"Mmm dd dd:dd:dd ");
    let mut shape = shape.skip(3).enumerate();
    let fits = shape.all(|(at, (byte, wanted))| match wanted {
        // A day below ten may have a space in place of the first digit.
        b'd' => byte.is_ascii_digit() || (at == 1 && *byte == b' '),
        other => byte == other,
    });
    if !fits {
        return None;
    }
    let (host, rest) = word(rest)?;
    let tagged = word(rest).and_then(|(word, text)| Some((tag(word)?, text)));
    let ((tag, pid), text) = match tagged {
        Some(((tag, pid), text)) => ((Some(tag), pid), text),
        None => ((None, None), rest),
    };
    Some(SyslogMessage {
        form: SyslogMessageFormat::Bsd,
        date: Some(&date[..BSD_DATE_BYTES - 1]),
        host: Some(host),
        tag,
        pid,
        ..SyslogMessage::opaque(text)
    })
}

fn tag(word: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let word = word.strip_suffix(b":").filter(|word| !word.is_empty())?;
    let Some(bracket) = memchr::memchr(b'[', word) else {
        return Some((word, None));
    };
    let (tag, pid) = word.split_at(bracket);
    let pid = pid.strip_prefix(b"[")?.strip_suffix(b"]")?;
    (!tag.is_empty()).then_some((tag, Some(pid).filter(|pid| !pid.is_empty())))
}

/// Parses the part of an RFC 5424 message after the version:
/// `2003-10-11T22:14:15.003Z host app 12 ID47 - text`.
fn ietf(bytes: &[u8]) -> Option<SyslogMessage<'_>> {
    let some = |word: &'static [u8; 1]| move |field: &&[u8]| *field != word;
    let (date, rest) = word(bytes)?;
    let (host, rest) = word(rest)?;
    let (tag, rest) = word(rest)?;
    let (pid, rest) = word(rest)?;
    let (id, rest) = word(rest)?;
    let (structured, text) = structured(rest)?;
    let date = Some(date).filter(some(b"-"));
    if date.is_some_and(|date| !is_ietf_date(date)) {
        return None;
    }
    Some(SyslogMessage {
        form: SyslogMessageFormat::Ietf,
        priority: None,
        date,
        host: Some(host).filter(some(b"-")),
        tag: Some(tag).filter(some(b"-")),
        pid: Some(pid).filter(some(b"-")),
        id: Some(id).filter(some(b"-")),
        structured: Some(structured).filter(some(b"-")),
        text,
    })
}

fn is_ietf_date(date: &[u8]) -> bool {
    let Some((seconds, rest)) = date.split_at_checked(IETF_DATE_BYTES) else {
        return false;
    };
    let shape = seconds.iter().zip(b"dddd-dd-ddTdd:dd:dd");
    let mut shape = shape.map(|(byte, wanted)| match wanted {
        b'd' => byte.is_ascii_digit(),
        other => byte == other,
    });
    shape.all(|fits| fits)
        && rest
            .iter()
            .all(|b| b.is_ascii_digit() || b".:+-Z".contains(b))
}

/// Splits off the structured data. A bracket within quotes does not end the data.
fn structured(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let split = |end: usize| {
        let (data, rest) = bytes.split_at_checked(end)?;
        match rest {
            [] => Some((data, rest)),
            [b' ', text @ ..] => Some((data, text)),
            _ => None,
        }
    };
    if bytes.first() == Some(&b'-') {
        return split(1);
    }
    let (mut inside, mut quoted, mut escaped) = (false, false, false);
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' if inside => quoted = !quoted,
            _ if quoted => {}
            b'[' if !inside => inside = true,
            b']' if inside => inside = false,
            _ if inside => {}
            _ => return split(at).filter(|_| at > 0),
        }
    }
    (!inside && !bytes.is_empty()).then(|| (bytes, &bytes[bytes.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(bytes: &[u8]) -> String {
        let m = SyslogMessage::read(bytes);
        let field = |field: Option<&[u8]>| {
            field.map_or("-".into(), |field| {
                String::from_utf8_lossy(field).into_owned()
            })
        };
        let priority = m.priority.map_or("-".into(), |p| p.to_string());
        let parts = [m.date, m.host, m.tag, m.pid, m.id, m.structured].map(field);
        format!(
            "{:?} {priority} {} |{}",
            m.form,
            parts.join(" "),
            String::from_utf8_lossy(m.text)
        )
    }

    /// Messages, each with its parsed form.
    const ROWS: [(&str, &str); 24] = [
        (
            "<165>Aug  4 05:34:00 h p[10]: hello\n",
            "Bsd 165 Aug  4 05:34:00 h p 10 - - |hello",
        ),
        (
            "<34>Oct 11 22:14:15 h t: ",
            "Bsd 34 Oct 11 22:14:15 h t - - - |",
        ),
        (
            "<34>Oct 11 22:14:15 h t:x y",
            "Bsd 34 Oct 11 22:14:15 h - - - - |t:x y",
        ),
        (
            "<34>Oct 11 22:14:15 h t[]: y",
            "Bsd 34 Oct 11 22:14:15 h t - - - |y",
        ),
        (
            "<34>Oct 11 22:14:15 h t[a]b: y",
            "Bsd 34 Oct 11 22:14:15 h - - - - |t[a]b: y",
        ),
        (
            "<34>Oct 11 22:14:15 h [5]: y",
            "Bsd 34 Oct 11 22:14:15 h - - - - |[5]: y",
        ),
        (
            "<34>Oct 11 22:14:15 h  two",
            "Bsd 34 Oct 11 22:14:15 h - - - - | two",
        ),
        (
            "<34>Oct 1 22:14:15 host x",
            "Plain 34 - - - - - - |Oct 1 22:14:15 host x",
        ),
        (
            "<34>oct 11 22:14:15 host x",
            "Plain 34 - - - - - - |oct 11 22:14:15 host x",
        ),
        (
            "<34>Oct 11 22:14:15 host",
            "Plain 34 - - - - - - |Oct 11 22:14:15 host",
        ),
        (
            "Oct 11 22:14:15 host t: y",
            "Plain - - - - - - - |Oct 11 22:14:15 host t: y",
        ),
        (
            "<165>1 2003-10-11T22:14:15.003Z h a 1 m [x@1 k=\"]\\\"v\"][y@1] t",
            "Ietf 165 2003-10-11T22:14:15.003Z h a 1 m [x@1 k=\"]\\\"v\"][y@1] |t",
        ),
        ("<165>1 - - - - - - text", "Ietf 165 - - - - - - |text"),
        ("<165>1 - - - - - -", "Ietf 165 - - - - - - |"),
        (
            "<165>1 - - - - - [a@1 b=\"c\"]",
            "Ietf 165 - - - - - [a@1 b=\"c\"] |",
        ),
        (
            "<165>1 - - - - - [a@1 b=\"c",
            "Plain 165 - - - - - - |1 - - - - - [a@1 b=\"c",
        ),
        (
            "<165>1 2003-10-11 h a 1 2 - m",
            "Plain 165 - - - - - - |1 2003-10-11 h a 1 2 - m",
        ),
        (
            "<165>1 - h a 1 2 x m",
            "Plain 165 - - - - - - |1 - h a 1 2 x m",
        ),
        (
            "<165>12 - h a 1 2 - m",
            "Plain 165 - - - - - - |12 - h a 1 2 - m",
        ),
        ("<>x", "Plain 0 - - - - - - |x"),
        ("<9999>x", "Plain - - - - - - - |<9999>x"),
        ("<+1>x", "Plain - - - - - - - |<+1>x"),
        ("<1", "Plain - - - - - - - |<1"),
        ("", "Plain - - - - - - - |"),
    ];

    #[test]
    fn messages_of_both_formats_are_parsed_and_others_are_text() {
        for (bytes, wanted) in ROWS {
            assert_eq!(shown(bytes.as_bytes()), wanted, "{bytes}");
        }
    }

    #[test]
    fn every_prefix_of_a_message_is_handled() {
        let whole = b"<165>1 2003-10-11T22:14:15.003Z h a 1 m [x@1 k=\"]\\\"v\"][y@1] t";
        for end in 0..whole.len() {
            let _ = SyslogMessage::read(&whole[..end]);
            let _ = SyslogMessage::read(&whole[end..]);
        }
    }
}
