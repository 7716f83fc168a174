//! Converts the output of a CGI program to an HTTP/1.1 response: adds the status line, the framing
//! of the body, and the headers Date and Connection where they are missing.

use super::FcgiError;

pub const HEAD_BYTES_MAX: usize = 64 * 1024;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum FcgiBodyFraming {
    Head,
    /// There is no body: further data is ignored.
    None,
    Length(u64),
    /// The body is sent in chunks, or with its length if the body is complete before the head is
    /// sent.
    Chunked,
}

#[derive(Debug)]
pub(super) struct Response {
    head: Vec<u8>,
    /// Offset in the head from which the search for its end continues.
    looked: usize,
    body: FcgiBodyFraming,
    /// The converted head, until it is passed to the reader. `Content-Length` or
    /// `Transfer-Encoding` is added only then if the program declared no length.
    pending: Option<Vec<u8>>,
    held: Vec<u8>,
    ready: Vec<u8>,
    read: usize,
    bodiless: bool,
    keep: bool,
    surplus: bool,
    date: Vec<u8>,
}

impl Default for Response {
    fn default() -> Self {
        Response {
            head: Vec::new(),
            looked: 0,
            body: FcgiBodyFraming::Head,
            pending: None,
            held: Vec::new(),
            ready: Vec::new(),
            read: 0,
            bodiless: false,
            keep: true,
            surplus: false,
            date: Vec::new(),
        }
    }
}

struct FcgiResponseHead {
    status: Vec<u8>,
    length: Option<u64>,
}

impl Response {
    pub fn begin(&mut self, bodiless: bool, keep: bool, date: &[u8]) {
        *self = Response {
            bodiless,
            keep,
            date: date.to_vec(),
            ready: std::mem::take(&mut self.ready),
            ..Response::default()
        };
        self.ready.clear();
    }

    pub fn is_surplus(&self) -> bool {
        self.surplus
    }

    pub fn waiting(&self) -> usize {
        self.ready.len() - self.read + usize::from(self.pending.is_some())
    }

    pub fn read(&mut self, into: &mut [u8]) -> usize {
        self.release(false);
        let waiting = self.ready.get(self.read..).unwrap_or_default();
        let count = waiting.len().min(into.len());
        into[..count].copy_from_slice(&waiting[..count]);
        self.read += count;
        if self.read == self.ready.len() {
            self.read = 0;
            self.ready.clear();
        }
        count
    }

    /// Handles output of the application.
    ///
    /// # Errors
    /// The head is invalid or too long.
    pub fn take(&mut self, data: &[u8]) -> Result<(), FcgiError> {
        match self.body {
            FcgiBodyFraming::Head => self.take_head(data),
            FcgiBodyFraming::None => Ok(()),
            FcgiBodyFraming::Length(left) => {
                let count = data.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                self.surplus |= count < data.len();
                self.body = FcgiBodyFraming::Length(left - count as u64);
                self.hold(&data[..count]);
                Ok(())
            }
            FcgiBodyFraming::Chunked if self.pending.is_some() => {
                self.hold(data);
                Ok(())
            }
            FcgiBodyFraming::Chunked => {
                self.chunk(data);
                Ok(())
            }
        }
    }

    /// Appends body data to the output, or buffers it while the head has not been passed to the
    /// reader.
    fn hold(&mut self, data: &[u8]) {
        match self.pending {
            Some(_) => self.held.extend_from_slice(data),
            None => self.ready.extend_from_slice(data),
        }
    }

    fn chunk(&mut self, data: &[u8]) {
        if !data.is_empty() {
            let size = format!("{:x}\r\n", data.len());
            self.ready.extend_from_slice(size.as_bytes());
            self.ready.extend_from_slice(data);
            self.ready.extend_from_slice(b"\r\n");
        }
    }

    /// Passes the head to the reader, with the body so far; `whole` means that the response is
    /// complete.
    fn release(&mut self, whole: bool) {
        let Some(head) = self.pending.take() else {
            return;
        };
        let held = std::mem::take(&mut self.held);
        self.ready.extend_from_slice(&head);
        let framing = match self.body {
            FcgiBodyFraming::Chunked if whole => format!("content-length: {}\r\n", held.len()),
            FcgiBodyFraming::Chunked => "transfer-encoding: chunked\r\n".to_owned(),
            FcgiBodyFraming::Head | FcgiBodyFraming::None | FcgiBodyFraming::Length(_) => {
                String::new()
            }
        };
        self.ready.extend_from_slice(framing.as_bytes());
        self.ready.extend_from_slice(b"\r\n");
        match self.body {
            FcgiBodyFraming::Chunked if !whole => self.chunk(&held),
            _ => self.ready.extend_from_slice(&held),
        }
        if whole && self.body == FcgiBodyFraming::Chunked {
            self.body = FcgiBodyFraming::Length(0);
        }
    }

    fn take_head(&mut self, data: &[u8]) -> Result<(), FcgiError> {
        self.head.extend_from_slice(data);
        let Some(end) = self.find_end() else {
            return if self.head.len() > HEAD_BYTES_MAX {
                Err(FcgiError::Head)
            } else {
                Ok(())
            };
        };
        let head = std::mem::take(&mut self.head);
        let (head, rest) = head.split_at(end);
        self.write_head(head)?;
        self.take(rest)
    }

    fn find_end(&mut self) -> Option<usize> {
        while let Some(at) = self.head[self.looked..].iter().position(|b| *b == b'\n') {
            let line = &self.head[self.looked..self.looked + at];
            self.looked += at + 1;
            if matches!(line, [] | [b'\r']) {
                return Some(self.looked);
            }
        }
        None
    }

    fn write_head(&mut self, head: &[u8]) -> Result<(), FcgiError> {
        let mut lines = Vec::with_capacity(head.len() + 64);
        let facts = read_head(head, &mut lines, &mut self.date)?;
        let status = facts.status;
        let never = matches!(&status[..3], b"204" | b"304") || status.first() == Some(&b'1');
        self.body = match facts.length {
            _ if self.bodiless || never => FcgiBodyFraming::None,
            Some(length) => FcgiBodyFraming::Length(length),
            None => FcgiBodyFraming::Chunked,
        };
        let mut out = b"HTTP/1.1 ".to_vec();
        out.extend_from_slice(&status);
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&lines);
        if !self.date.is_empty() {
            out.extend_from_slice(b"date: ");
            out.extend_from_slice(&self.date);
            out.extend_from_slice(b"\r\n");
        }
        if !self.keep {
            out.extend_from_slice(b"connection: close\r\n");
        }
        self.pending = Some(out);
        Ok(())
    }

    /// Handles the end of the response: passes on a pending head, and ends a chunked body.
    ///
    /// # Errors
    /// The head is incomplete, or the body shorter than its declared length.
    pub fn end(&mut self) -> Result<(), FcgiError> {
        self.release(true);
        match self.body {
            FcgiBodyFraming::Head | FcgiBodyFraming::Length(1..) => Err(FcgiError::Short),
            FcgiBodyFraming::None | FcgiBodyFraming::Length(0) => Ok(()),
            FcgiBodyFraming::Chunked => {
                self.ready.extend_from_slice(b"0\r\n\r\n");
                Ok(())
            }
        }
    }
}

/// Parses a head: returns its status and length, and appends its other lines to `lines`, with one
/// `Content-Length` and without `Transfer-Encoding`. `date` is cleared if the head has a date.
fn read_head(
    head: &[u8],
    lines: &mut Vec<u8>,
    date: &mut Vec<u8>,
) -> Result<FcgiResponseHead, FcgiError> {
    let mut facts = FcgiResponseHead {
        status: Vec::new(),
        length: None,
    };
    let mut location = false;
    for line in head.split(|b| *b == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            break;
        }
        let colon = line
            .iter()
            .position(|b| *b == b':')
            .ok_or(FcgiError::Head)?;
        let (name, value) = line.split_at(colon);
        let value = value[1..].trim_ascii();
        if name.eq_ignore_ascii_case(b"status") {
            facts.status = status(value)?;
            continue;
        }
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            continue;
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            let length = number(value).ok_or(FcgiError::Head)?;
            if facts.length.is_some_and(|known| known != length) {
                return Err(FcgiError::Head);
            }
            if facts.length.replace(length).is_some() {
                continue;
            }
        }
        location |= name.eq_ignore_ascii_case(b"location");
        if name.eq_ignore_ascii_case(b"date") {
            date.clear();
        }
        for piece in [name, b": ", value, b"\r\n"] {
            lines.extend_from_slice(piece);
        }
    }
    if facts.status.is_empty() {
        facts.status = if location {
            b"302 Moved Temporarily".to_vec()
        } else {
            b"200 OK".to_vec()
        };
    }
    Ok(facts)
}

fn status(value: &[u8]) -> Result<Vec<u8>, FcgiError> {
    let code = value.get(..3).ok_or(FcgiError::Head)?;
    let is_status = code.iter().all(u8::is_ascii_digit) && code[0] != b'0';
    match value.get(3) {
        None if is_status => Ok([code, b" "].concat()),
        Some(b' ') if is_status => Ok(value.to_vec()),
        _ => Err(FcgiError::Head),
    }
}

fn number(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?;
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}
