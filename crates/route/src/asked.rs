//! Parses a request as a user writes it (`GET https://host/path`, headers, body), checks it, and
//! builds the bytes that a listener would receive.

use std::net::IpAddr;

const BYTES_MAX: usize = 64 * 1024;

const HOST: &str = "localhost";

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RouteRequest {
    /// Method; empty for a connection without a request.
    pub method: String,
    pub tls: bool,
    /// Only a path was given, which does not show whether the connection uses TLS.
    pub is_path: bool,
    /// Host of the URL, without brackets.
    pub host: String,
    pub authority: String,
    pub port: u16,
    /// Host, if it is an IP address.
    pub address: Option<IpAddr>,
    pub target: String,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl RouteRequest {
    /// Parses `METHOD URL`, or a URL for GET.
    ///
    /// # Errors
    /// Returns what is wrong with the request.
    pub fn parse(text: &str) -> Result<RouteRequest, String> {
        let text = text.trim();
        if text.len() > BYTES_MAX {
            return Err(format!("the request has more than {BYTES_MAX} bytes"));
        }
        let mut words = text.split_ascii_whitespace();
        let (method, url) = match (words.next(), words.next(), words.next()) {
            (Some(url), None, None) => ("GET", url),
            (Some(method), Some(url), None) => (method, url),
            _ => {
                return Err(format!(
                    "'{text}' is not a request: write 'GET https://host/path'"
                ));
            }
        };
        if !method.bytes().all(is_of_token) {
            return Err(format!("'{method}' is not a method, such as GET or POST"));
        }
        // A scheme is case-insensitive (RFC 3986, section 3.1).
        let of_scheme = |scheme: &str| {
            let (start, rest) = url.split_at_checked(scheme.len())?;
            start.eq_ignore_ascii_case(scheme).then_some(rest)
        };
        let (tls, rest) = match (of_scheme("https://"), of_scheme("http://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            (None, None) => {
                return Err(format!(
                    "'{url}' is not a URL with http:// or https://: write 'GET https://host/path'"
                ));
            }
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at_checked(end).unwrap_or((rest, ""));
        let target = target.split('#').next().unwrap_or_default();
        let target = if target.starts_with('/') {
            target.to_owned()
        } else {
            format!("/{target}")
        };
        let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_plain(&target) || !is_plain(authority) || authority.contains('@') {
            return Err(format!(
                "'{url}' contains a user, or characters that are not allowed in a URL: write them as %XX, \
                 and a host name in its ASCII form"
            ));
        }
        let (host, port) =
            split(authority).ok_or_else(|| format!("'{url}' has no host, or an invalid port"))?;
        Ok(RouteRequest {
            method: method.to_owned(),
            tls,
            is_path: false,
            host: host.to_owned(),
            authority: authority.to_owned(),
            port: port.unwrap_or(if tls { 443 } else { 80 }),
            address: host.parse().ok(),
            target,
            headers: Vec::new(),
            body: Vec::new(),
        })
    }

    /// Creates a request for a path with its query, without a host: the caller names the frontend.
    ///
    /// # Errors
    /// Returns what is wrong with the path.
    pub fn of_path(method: &str, path: &str) -> Result<RouteRequest, String> {
        let asked = RouteRequest::parse(&format!("{method} http://{HOST}{path}"))?;
        Ok(RouteRequest {
            is_path: true,
            ..asked
        })
    }

    /// Creates a connection on which the client sends no request. A frontend with `mode http`
    /// receives a request for `/` nevertheless.
    pub fn connection(tls: bool) -> RouteRequest {
        RouteRequest {
            method: String::new(),
            tls,
            is_path: !tls,
            host: HOST.to_owned(),
            authority: HOST.to_owned(),
            port: if tls { 443 } else { 80 },
            address: None,
            target: "/".to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    pub fn is_connection(&self) -> bool {
        self.method.is_empty()
    }

    pub fn headers(&self) -> &[(String, String)] {
        &self.headers
    }

    /// Adds a header 'NAME: VALUE'.
    ///
    /// # Errors
    /// Fails if the text is not a header.
    pub fn add_header(&mut self, text: &str) -> Result<(), String> {
        let (name, value) = text.split_once(':').unwrap_or_default();
        let is_name = !name.is_empty() && name.bytes().all(is_of_token);
        if !is_name || value.contains(['\r', '\n', '\0']) {
            return Err(format!("'{text}' is not a header: write 'Name: value'"));
        }
        self.headers
            .push((name.to_owned(), value.trim().to_owned()));
        Ok(())
    }

    /// Checks that the headers fit the body: bytes after `Content-Length` would be another request.
    ///
    /// # Errors
    /// Fails if `Content-Length` is another length, or if there is a `Transfer-Encoding`.
    pub fn check_length(&self) -> Result<(), String> {
        for (name, value) in &self.headers {
            if name.eq_ignore_ascii_case("transfer-encoding") {
                return Err(
                    "Transfer-Encoding is not supported: omit it, and `--data` sets Content-Length"
                        .to_owned(),
                );
            }
            let is_length = name.eq_ignore_ascii_case("content-length");
            if is_length && value.parse() != Ok(self.body.len()) {
                return Err(format!(
                    "Content-Length is {value}, but the body has {} bytes: omit the header",
                    self.body.len()
                ));
            }
        }
        Ok(())
    }

    pub fn words(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        match (self.is_connection(), self.is_path) {
            (true, _) => "a connection".to_owned(),
            (false, true) => format!("{} {}", self.method, self.target),
            (false, false) => format!(
                "{} {scheme}://{}{}",
                self.method, self.authority, self.target
            ),
        }
    }

    /// Returns the TLS server name, which is empty for an IP address.
    pub fn server_name(&self) -> String {
        match self.address {
            Some(_) => String::new(),
            None => self.host.clone(),
        }
    }

    /// Returns the bytes that the client sends to a frontend: an HTTP request, or only the body if
    /// the connection has no request and `http` (the frontend has `mode http`) is false.
    pub fn bytes(&self, http: bool) -> Vec<u8> {
        if self.is_connection() && !http {
            return self.body.clone();
        }
        let has = |name: &str| {
            self.headers
                .iter()
                .any(|(own, _)| own.eq_ignore_ascii_case(name))
        };
        let method = match (self.is_connection(), self.body.is_empty()) {
            (true, true) => "GET",
            (true, false) => "POST",
            (false, _) => &self.method,
        };
        let mut text = format!("{method} {} HTTP/1.1\r\n", self.target);
        if !has("host") {
            text += &format!("Host: {}\r\n", self.authority);
        }
        for (name, value) in &self.headers {
            text += &format!("{name}: {value}\r\n");
        }
        if !self.body.is_empty() && !has("content-length") {
            text += &format!("Content-Length: {}\r\n", self.body.len());
        }
        text += "\r\n";
        [text.into_bytes(), self.body.clone()].concat()
    }
}

/// Returns whether a byte may be part of a token (RFC 9110, 5.6.2): a method or the name of a
/// header.
fn is_of_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn split(authority: &str) -> Option<(&str, Option<u16>)> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        let port = match rest.strip_prefix(':') {
            Some(port) => Some(port.parse().ok()?),
            None if rest.is_empty() => None,
            None => return None,
        };
        let _: std::net::Ipv6Addr = host.parse().ok()?;
        return Some((host, port));
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => (host, Some(port.parse().ok().filter(|port| *port > 0)?)),
        None => (authority, None),
    };
    (!host.is_empty() && !host.contains(':')).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_parsed() {
        let of = |text: &str| {
            let asked = RouteRequest::parse(text).unwrap();
            (
                asked.method,
                asked.tls,
                asked.host,
                asked.port,
                asked.target,
            )
        };
        for (text, method, tls, host, port, target) in [
            ("HTTPS://a/b", "GET", true, "a", 443, "/b"),
            ("https://a/", "GET", true, "a", 443, "/"),
            ("GET http://a", "GET", false, "a", 80, "/"),
            (
                "POST http://a.b:8080?x=1#y",
                "POST",
                false,
                "a.b",
                8080,
                "/?x=1",
            ),
            (
                " PURGE  https://[2001:db8::1]:8443/c/d ",
                "PURGE",
                true,
                "2001:db8::1",
                8443,
                "/c/d",
            ),
            (
                "http://192.0.2.1/%20",
                "GET",
                false,
                "192.0.2.1",
                80,
                "/%20",
            ),
        ] {
            let (method, target) = (method.to_owned(), target.to_owned());
            assert_eq!(
                of(text),
                (method, tls, host.to_owned(), port, target),
                "{text}"
            );
        }
    }

    #[test]
    fn invalid_requests_are_refused_with_a_reason() {
        for text in [
            "",
            "GET",
            "/path",
            "GET /path",
            "ftp://a/",
            "GET https:///",
            "GET https://a:x/",
            "GET https://a:0/",
            "GET https://a:70000/",
            "GET https://u@a/",
            "GET https://a/ HTTP/1.1",
            "G(T https://a/",
            "https://ä/",
            "https://[::1/",
            "https://[::1]x/",
            "https://a:b:1/",
            "https://[a]/",
        ] {
            assert!(RouteRequest::parse(text).is_err(), "{text}");
        }
        let mut asked = RouteRequest::parse("http://a/").unwrap();
        for header in ["", "a", ": b", "a b: c", "a: b\r\nc: d", "a\n: b"] {
            assert!(asked.add_header(header).is_err(), "{header}");
        }
        assert!(RouteRequest::parse(&format!("http://a/{}", "b".repeat(BYTES_MAX))).is_err());
    }

    #[test]
    fn a_host_header_of_the_user_replaces_that_of_the_url() {
        let mut asked = RouteRequest::parse("PUT http://a:81/b").unwrap();
        asked.body = b"xyz".to_vec();
        let text = |asked: &RouteRequest| String::from_utf8(asked.bytes(true)).unwrap();
        assert_eq!(
            text(&asked),
            "PUT /b HTTP/1.1\r\nHost: a:81\r\nContent-Length: 3\r\n\r\nxyz"
        );
        asked.add_header("host: c").unwrap();
        assert_eq!(
            text(&asked),
            "PUT /b HTTP/1.1\r\nhost: c\r\nContent-Length: 3\r\n\r\nxyz"
        );
    }
}
