//! Reports keywords that need software or data outside of Evenkeel, which is not supported: device
//! databases, Lua, SPOE agents. A file that uses them has many such lines, so only the first error
//! of each kind is reported.

use crate::codes;
use language::{Code, Diagnostic};

/// Kind of foreign keyword: a prefix or a part of its name.
struct ForeignKeywords {
    code: &'static Code,
    begins: &'static [&'static str],
    told: &'static str,
    help: &'static str,
}

const KINDS: &[ForeignKeywords] = &[
    ForeignKeywords {
        code: &codes::DEVICE_DETECTION,
        begins: &["51d", "da-csv", "deviceatlas", "wurfl"],
        told: "device detection with a vendor library is not supported",
        help: "let a service of your own set a header, or classify clients by `req.hdr(user-agent)` and a `map_reg`; \
            remove these lines",
    },
    ForeignKeywords {
        code: &codes::LUA,
        begins: &[
            "lua",
            "tune.lua",
            "use-service lua",
            "http-request lua",
            "http-response lua",
            "tcp-request content lua",
        ],
        told: "Lua is not supported",
        help: "use rules, maps, variables and converters, or a service of your own; remove these lines",
    },
    ForeignKeywords {
        code: &codes::SPOE,
        begins: &[
            "filter spoe",
            "spoe",
            "send-spoe-group",
            "http-request send-spoe-group",
            "http-response send-spoe-group",
            "tcp-request content send-spoe-group",
            "mode spop",
            "option spop-check",
        ],
        told: "SPOE (stream processing offload) is not supported",
        help: "remove these lines; send the requests to a service of your own as a backend, or let that service \
            change maps and ACLs at the statistics socket",
    },
    ForeignKeywords {
        code: &codes::TRACING,
        begins: &[
            "filter opentracing",
            "filter otel",
            "http-request ot",
            "http-response ot",
            "http-after-response ot",
            "tcp-request content ot",
            "tcp-response content ot",
        ],
        told: "tracing with a vendor library is not supported",
        help: "forward the headers for tracing (`traceparent`), and log them with `http-request capture`; remove \
            these lines",
    },
];

#[derive(Debug, Default)]
pub(super) struct Reported([bool; KINDS.len()]);

impl Reported {
    /// Returns the diagnostic to report; None if its kind was already reported.
    pub(super) fn once(&mut self, mut diagnostic: Diagnostic) -> Option<Diagnostic> {
        if diagnostic.code.id != codes::NOT_BUILT.id {
            return Some(diagnostic);
        }
        let name = diagnostic.message.split('\'').nth(1).unwrap_or_default();
        let is = |kind: &ForeignKeywords| kind.begins.iter().any(|begin| name.starts_with(begin));
        let Some(at) = KINDS.iter().position(is) else {
            return Some(diagnostic);
        };
        let (kind, told) = (KINDS.get(at)?, self.0.get_mut(at)?);
        if std::mem::replace(told, true) {
            return None;
        }
        let message = format!("'{name}': {}", kind.told);
        (diagnostic.code, diagnostic.message) = (kind.code, message);
        Some(diagnostic.label("the first such line").help(kind.help))
    }
}
