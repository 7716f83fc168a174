//! Defines the types from which the tables of the differential test are built. This module starts
//! nothing.

/// Something that is not compared byte for byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Normal {
    /// The client's port is another one each time.
    ClientPort,
    /// All numbers: only the shape of the text is compared.
    Numbers,
    /// Ports in a binary PROXY header.
    ProxyPorts,
    /// The order and the case of the names of header lines, which no protocol minds.
    HeaderOrder,
    /// Memory addresses and expiry times in entries of `show table`.
    Entries,
    /// Dates in the forms that cookies have.
    Dates,
}

/// An expression whose value is compared.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// The expression as in a file, with the quotes that it needs there.
    pub expression: &'static str,
    /// The head of the request without its empty line.
    pub request: Option<&'static str>,
    /// The expression is evaluated for this response of the server.
    pub answer: Option<&'static str>,
    pub normal: &'static [Normal],
    /// Key of the intended difference in `differences.rs`.
    pub differs: Option<&'static str>,
    /// Expected value, if the installed HAProxy does not support the expression.
    pub newer: Option<&'static str>,
}

pub const fn sample(expression: &'static str) -> Sample {
    Sample {
        expression,
        request: None,
        answer: None,
        normal: &[],
        differs: None,
        newer: None,
    }
}

#[allow(dead_code, reason = "not every one is needed by a family at all times")]
impl Sample {
    pub const fn asked(mut self, request: &'static str) -> Self {
        self.request = Some(request);
        self
    }

    pub const fn answered(mut self, answer: &'static str) -> Self {
        self.answer = Some(answer);
        self
    }

    pub const fn normal(mut self, normal: &'static [Normal]) -> Self {
        self.normal = normal;
        self
    }

    pub const fn differs(mut self, key: &'static str) -> Self {
        self.differs = Some(key);
        self
    }

    pub const fn newer(mut self, value: &'static str) -> Self {
        self.newer = Some(value);
        self
    }
}

/// A frontend and further sections, the bytes that clients send, and the permitted differences of
/// the responses.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub name: &'static str,
    /// `kind name`, as `evenkeel keyword --list` has them: `fetch path`.
    pub covers: &'static [&'static str],
    pub lines: &'static str,
    /// Words after the address on the `bind` line.
    pub bind: &'static str,
    pub sections: &'static str,
    /// Response of the web server, if not its usual one.
    pub server_says: Option<&'static [u8]>,
    pub send: &'static [&'static [u8]],
    /// The client closes its sending side after the bytes.
    pub half_close: bool,
    /// Size of the pieces in which the bytes are sent.
    pub pieces: Option<usize>,
    /// The client is `openssl s_client` with these arguments besides the address.
    pub tls: Option<&'static [&'static str]>,
    pub normal: &'static [Normal],
    pub differs: Option<&'static str>,
    /// Expected result, if the installed HAProxy does not support the case.
    pub newer: Option<&'static str>,
}

/// Creates a case with this name, to be completed by the methods of [`Case`].
pub const fn case(name: &'static str) -> Case {
    Case {
        name,
        covers: &[],
        lines: "",
        bind: "",
        sections: "",
        server_says: None,
        send: &[],
        half_close: false,
        pieces: None,
        tls: None,
        normal: &[],
        differs: None,
        newer: None,
    }
}

#[allow(dead_code, reason = "not every one is needed by a family at all times")]
impl Case {
    pub const fn covers(mut self, covers: &'static [&'static str]) -> Self {
        self.covers = covers;
        self
    }

    pub const fn lines(mut self, lines: &'static str) -> Self {
        self.lines = lines;
        self
    }

    pub const fn bind(mut self, options: &'static str) -> Self {
        self.bind = options;
        self
    }

    pub const fn sections(mut self, sections: &'static str) -> Self {
        self.sections = sections;
        self
    }

    pub const fn server_says(mut self, answer: &'static [u8]) -> Self {
        self.server_says = Some(answer);
        self
    }

    pub const fn send(mut self, send: &'static [&'static [u8]]) -> Self {
        self.send = send;
        self
    }

    pub const fn pieces(mut self, bytes: usize) -> Self {
        self.pieces = Some(bytes);
        self
    }

    pub const fn tls(mut self, arguments: &'static [&'static str]) -> Self {
        self.tls = Some(arguments);
        self
    }

    pub const fn half_close(mut self) -> Self {
        self.half_close = true;
        self
    }

    pub const fn normal(mut self, normal: &'static [Normal]) -> Self {
        self.normal = normal;
        self
    }

    pub const fn differs(mut self, key: &'static str) -> Self {
        self.differs = Some(key);
        self
    }

    pub const fn newer(mut self, answers: &'static str) -> Self {
        self.newer = Some(answers);
        self
    }
}

/// Cases that are compared with one start of each program.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    pub name: &'static str,
    /// Lines of `global`, and of `defaults` behind the usual ones.
    pub global: &'static str,
    pub defaults: &'static str,
    /// Files of `@DIR@`: name and text.
    pub files: &'static [(&'static str, &'static str)],
    /// `@DIR@` also has the certificates of `tls::site::Site`.
    pub certificates: bool,
    pub samples: &'static [Sample],
    pub cases: &'static [Case],
    /// Lines of a frontend that are refused.
    pub refused: &'static [&'static str],
}

impl Family {
    /// Creates an empty family, to be completed with `..Family::named("…")`.
    pub const fn named(name: &'static str) -> Self {
        Family {
            name,
            global: "",
            defaults: "",
            files: &[],
            certificates: false,
            samples: &[],
            cases: &[],
            refused: &[],
        }
    }
}
