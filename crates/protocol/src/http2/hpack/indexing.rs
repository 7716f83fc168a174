//! Decides whether the HPACK encoder adds a header field to the dynamic table.
//!
//! All messages of a connection share one table. A repeated field is worth an entry; a field with
//! a new value each time would only evict others. A secret must never be indexed: an attacker who
//! can add fields could guess it from the sizes (RFC 7541, section 7.1).

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Indexing {
    /// Use the dynamic table, and add the field if it is missing.
    Yes,
    /// Write the field as a literal, unless the static table contains it.
    No,
    /// Write the field as a literal that no intermediary may ever index.
    Never,
}

/// Length in bytes beyond which a value is rarely sent twice.
const VALUE_BYTES_MAX: usize = 256;
/// Length in bytes beyond which a path is rarely requested twice.
const PATH_BYTES_MAX: usize = 64;
/// Length in bytes below which a cookie could be guessed byte by byte.
const COOKIE_BYTES_MIN: usize = 20;

impl Indexing {
    /// Returns the indexing for a field, by its name (in lower case) and the length of
    /// its value.
    pub fn of(name: &[u8], value: &[u8]) -> Indexing {
        use Indexing::{Never, No, Yes};
        let known = match name {
            b"authorization"
            | b"proxy-authorization"
            | b"set-cookie"
            | b"x-api-key"
            | b"x-auth-token"
            | b"x-csrf-token" => Never,
            b"cookie" if value.len() < COOKIE_BYTES_MIN => Never,
            // A connection to a server carries requests of many clients. In the table, their
            // cookies would only evict each other, and one client could try to guess another's
            // cookie.
            b"cookie" => No,
            b":path" if value.len() > PATH_BYTES_MAX || value.contains(&b'?') => No,
            b"content-length"
            | b"etag"
            | b"age"
            | b"location"
            | b"content-range"
            | b"range"
            | b"last-modified"
            | b"expires"
            | b"if-none-match"
            | b"if-modified-since"
            | b"if-match"
            | b"if-range"
            | b"content-disposition"
            | b"referer"
            | b"x-forwarded-for"
            | b"x-real-ip"
            | b"forwarded"
            | b"x-request-id"
            | b"x-correlation-id"
            | b"x-trace-id"
            | b"traceparent"
            | b"x-unique-id"
            | b"sec-websocket-key"
            | b"sec-websocket-accept"
            | b"grpc-timeout"
            | b"grpc-message" => No,
            _ => Yes,
        };
        match known {
            Yes if value.len() > VALUE_BYTES_MAX => No,
            known => known,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_repeated_fields_are_indexed_and_secrets_never() {
        let long = [b'x'; 300];
        let table: [(&str, &[u8], Indexing); 14] = [
            ("authorization", b"Basic dTpw", Indexing::Never),
            ("proxy-authorization", &long, Indexing::Never),
            ("set-cookie", b"a=b", Indexing::Never),
            ("cookie", b"a=b", Indexing::Never),
            ("cookie", &long, Indexing::No),
            ("server", b"nginx", Indexing::Yes),
            ("date", b"Mon, 21 Oct 2013 20:13:21 GMT", Indexing::Yes),
            ("content-type", b"text/html", Indexing::Yes),
            ("user-agent", b"curl/8", Indexing::Yes),
            ("user-agent", &long, Indexing::No),
            ("content-length", b"12", Indexing::No),
            (":path", b"/some", Indexing::Yes),
            (":path", b"/some?id=7", Indexing::No),
            (":authority", b"www.example.com", Indexing::Yes),
        ];
        for (name, value, expected) in table {
            assert_eq!(Indexing::of(name.as_bytes(), value), expected, "{name}");
        }
    }
}
