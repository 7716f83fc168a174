//! Reads and changes the parts of a request target, as HAProxy's `path`, `pathq`, `query`,
//! `set-path`, `set-pathq`, `set-query` and `set-uri` define them. Percent signs are never
//! decoded, and dots never resolved.

use super::fields::{MessageEditError, StartLinePiece, line_len};
use super::{HttpMessage, MessageKind, trim};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TargetForm {
    Origin,
    /// Whole URL, such as `scheme://authority/path?query`.
    Absolute,
    /// `*`, of OPTIONS for the whole server.
    Asterisk,
    /// `host:port` of CONNECT, and anything that is none of the others.
    Authority,
}

/// Positions of the parts of a target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TargetParts {
    pub form: TargetForm,
    pub scheme_end: usize,
    pub authority_start: usize,
    /// Start of the path; the end of the target if it has none.
    pub path_start: usize,
    /// End of the path: at the `?` or at the end.
    pub path_end: usize,
}

impl TargetParts {
    /// Splits a target. Any bytes are accepted.
    pub fn of(target: &[u8]) -> TargetParts {
        let mut parts = TargetParts {
            form: TargetForm::Authority,
            scheme_end: 0,
            authority_start: 0,
            path_start: target.len(),
            path_end: target.len(),
        };
        if target.first() == Some(&b'/') {
            parts.form = TargetForm::Origin;
            parts.path_start = 0;
        } else if target == b"*" {
            parts.form = TargetForm::Asterisk;
            return parts;
        } else if let Some(scheme) = scheme_of(target) {
            parts.form = TargetForm::Absolute;
            parts.scheme_end = scheme;
            parts.authority_start = scheme + 3;
            parts.path_start = memchr::memchr3(b'/', b'?', b'#', &target[scheme + 3..])
                .map_or(target.len(), |at| scheme + 3 + at);
        } else {
            return parts;
        }
        parts.path_end = memchr::memchr(b'?', &target[parts.path_start..])
            .map_or(target.len(), |at| parts.path_start + at);
        parts
    }
}

fn scheme_of(target: &[u8]) -> Option<usize> {
    let colon = memchr::memchr(b':', target)?;
    let scheme = &target[..colon];
    let ok = scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
        && target[colon..].starts_with(b"://");
    ok.then_some(colon)
}

/// Checks that a target is not empty and has no bytes that would end or split the request line.
pub(super) fn check(target: &[u8]) -> Result<(), MessageEditError> {
    if target.is_empty() {
        return Err(MessageEditError::Empty);
    }
    match target.iter().find(|b| **b <= b' ' || **b == 0x7f) {
        Some(byte) => Err(MessageEditError::Byte(*byte)),
        None => Ok(()),
    }
}

impl HttpMessage {
    pub fn target_parts(&self) -> TargetParts {
        TargetParts::of(self.target())
    }

    /// Returns the path without scheme, authority and query. Empty for `*`, for `http://host` and
    /// for CONNECT.
    pub fn path(&self) -> &[u8] {
        let target = self.target();
        let parts = TargetParts::of(target);
        &target[parts.path_start..parts.path_end]
    }

    pub fn path_and_query(&self) -> &[u8] {
        let target = self.target();
        &target[TargetParts::of(target).path_start..]
    }

    /// Returns the query without its question mark. `None` if there is no question mark.
    pub fn query(&self) -> Option<&[u8]> {
        let target = self.target();
        target.get(TargetParts::of(target).path_end + 1..)
    }

    /// Returns the authority of an absolute target or of CONNECT. `None` for other targets.
    pub fn target_authority(&self) -> Option<&[u8]> {
        let target = self.target();
        let parts = TargetParts::of(target);
        match parts.form {
            TargetForm::Absolute | TargetForm::Authority => {
                Some(&target[parts.authority_start..parts.path_start])
            }
            TargetForm::Origin | TargetForm::Asterisk => None,
        }
    }

    /// Replaces the target (`set-uri`). An absolute one also sets `host`.
    ///
    /// # Errors
    /// `Empty` if the target is empty. `Byte` if it contains a space or a control character. `Full`
    /// if the target or `host` does not fit. After an error, both are unchanged.
    pub fn set_target(&mut self, target: &[u8]) -> Result<(), MessageEditError> {
        if !self.is_request() {
            return Ok(());
        }
        check(target)?;
        let parts = TargetParts::of(target);
        let host = (parts.form == TargetForm::Absolute).then(|| {
            let authority = &target[parts.authority_start..parts.path_start];
            authority.rsplit(|b| *b == b'@').next().unwrap_or(authority)
        });
        let at = self.fields.position(b"host", 0);
        if let Some(host) = host {
            // Checks the space for `host` first: a request whose target and host differ would reach
            // another server than rules saw.
            let longer = match at {
                Some(at) => self.fields.growth_of_value(at, host),
                None => line_len(b"host", host),
            };
            let free = (self.fields).free_bytes_after(target.len(), self.target().len());
            if longer > free {
                return Err(MessageEditError::Full);
            }
        }
        self.set_target_pieces(0, &[target], usize::MAX)?;
        self.composed = false;
        match (host, at) {
            (Some(host), Some(at)) => self.fields.replace_value(at, host),
            (Some(host), None) => self.fields.add(b"host", host),
            (None, _) => Ok(()),
        }
    }

    /// Replaces the path and keeps the query (`set-path`). If there was no path, the whole target
    /// is replaced. A slash is added to a path without one, because it would otherwise become part
    /// of the authority and name another host.
    ///
    /// # Errors
    /// `Byte` if the path contains a space or a control character. `Full` if the target does not
    /// fit.
    pub fn set_path(&mut self, path: &[u8]) -> Result<(), MessageEditError> {
        let parts = self.target_parts();
        let slash: &[u8] = if path.first() == Some(&b'/') {
            b""
        } else {
            b"/"
        };
        if parts.path_start < self.target().len() {
            self.set_target_pieces(parts.path_start, &[slash, path], parts.path_end)
        } else {
            self.set_target_pieces(0, &[slash, path], usize::MAX)
        }
    }

    /// Replaces the path and the query (`set-pathq`).
    ///
    /// # Errors
    /// `Byte` if the new part contains a space or a control character. `Full` if the target does
    /// not fit.
    pub fn set_path_and_query(&mut self, path_and_query: &[u8]) -> Result<(), MessageEditError> {
        let parts = self.target_parts();
        let slash: &[u8] = if path_and_query.first() == Some(&b'/') {
            b""
        } else {
            b"/"
        };
        let keep = if parts.path_start < self.target().len() {
            parts.path_start
        } else {
            0
        };
        self.set_target_pieces(keep, &[slash, path_and_query], usize::MAX)
    }

    /// Replaces the query, given without its question mark (`set-query`). An empty query keeps an
    /// existing question mark. `*` and CONNECT have no query.
    ///
    /// # Errors
    /// `Byte` if the query contains a space or a control character. `Full` if the target does not
    /// fit.
    pub fn set_query(&mut self, query: &[u8]) -> Result<(), MessageEditError> {
        let parts = self.target_parts();
        let target_len = self.target().len();
        if matches!(parts.form, TargetForm::Asterisk | TargetForm::Authority)
            || (query.is_empty() && parts.path_end == target_len)
        {
            return Ok(());
        }
        let slash: &[u8] = if parts.path_start == parts.path_end {
            b"/"
        } else {
            b""
        };
        self.set_target_pieces(parts.path_end, &[slash, b"?", query], usize::MAX)
    }

    /// Replaces the authority of an absolute target, so that it equals the host header, which the
    /// caller sets next and which grows by `longer` bytes. Fails if that header would not fit.
    pub(super) fn set_authority_of_target(
        &mut self,
        value: &[u8],
        longer: usize,
    ) -> Result<(), MessageEditError> {
        let parts = self.target_parts();
        if parts.form != TargetForm::Absolute {
            return Ok(());
        }
        let host = trim(value);
        let old_len = parts.path_start - parts.authority_start;
        if longer > self.fields.free_bytes_after(host.len(), old_len) {
            return Err(MessageEditError::Full);
        }
        self.set_target_pieces(parts.authority_start, &[host], parts.path_start)
    }

    /// Replaces the target by its first `keep` bytes, the new pieces, and the old part from `from`
    /// on.
    pub(crate) fn set_target_pieces(
        &mut self,
        keep: usize,
        new: &[&[u8]],
        from: usize,
    ) -> Result<(), MessageEditError> {
        let MessageKind::Request { method_len, .. } = self.kind else {
            return Ok(());
        };
        for part in new {
            if !part.is_empty() {
                check(part)?;
            }
        }
        let old = self.target_range();
        let keep = old.start..old.start + keep.min(old.len());
        let tail = old.start + from.min(old.len())..old.end;
        let new_len: usize = new.iter().map(|part| part.len()).sum();
        let target_len = keep.len() + new_len + tail.len();
        if target_len == 0 {
            return Err(MessageEditError::Empty);
        }
        let part = |n: usize| StartLinePiece::New(new.get(n).copied().unwrap_or(b""));
        self.fields.set_first(&[
            StartLinePiece::Old(self.method_range()),
            StartLinePiece::New(b" "),
            StartLinePiece::Old(keep),
            part(0),
            part(1),
            part(2),
            StartLinePiece::Old(tail),
            StartLinePiece::New(b" "),
            StartLinePiece::New(self.version.wire()),
            StartLinePiece::New(b"\r\n"),
        ])?;
        self.kind = MessageKind::Request {
            method_len,
            target_len: target_len as u32,
        };
        Ok(())
    }
}
