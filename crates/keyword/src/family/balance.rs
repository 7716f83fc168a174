//! Builds `balance`, `hash-type` and the related lines, which select the load-balancing algorithm
//! of a backend.

use super::value::parse_choice;
use super::{Args, Built, LineRow, places};
use crate::family::Loader;
use language::{ConfigWord, Diagnostic, suggest};
use model::codes;
use model::config::{Balance, HashAffinity, HashFunction, HashKey, HashMethod, HashType, Hashed};
use model::known;
use model::rules::{Converters, Expression, Usage};
use std::sync::Arc;

pub static LINES: &[LineRow] = language::rows! {
    "balance { roundrobin | static-rr | leastconn | first | source | random[(<draws>)] | uri [len <bytes>] [depth <directories>] [whole] [path-only] | url_param <name> [check_post] | hdr(<name>) [use_domain_only] | rdp-cookie[(<name>)] | hash <expression> | log-hash [<converters>] | sticky }" places::BACK,
        balance, "balance leastconn",
        "Selects the server for a stream that is not bound to one by persistence. `roundrobin` (the default) takes \
         turns by weight. `leastconn` chooses the server with the fewest sessions relative to its weight, `first` the \
         one with the lowest id that has a free slot, `random` the least loaded of some randomly drawn servers. The \
         other algorithms hash a key and always choose the same server for it (see `hash-type`): `source` hashes the \
         client's address, `uri` the path of the request, `url_param` a parameter of its URL (or of a POST body), \
         `hdr` a header, `rdp-cookie` the cookie of a remote desktop client, `hash` an expression. Streams without the \
         key take turns. Two algorithms are for `mode log` only: `sticky` sends all messages to one server while it is \
         up, `log-hash` hashes the message, or the result of converters on it.";
    "hash-type { map-based | consistent } [sdbm | djb2 | wt6 | crc32 | none] [avalanche]" places::BACK,
        hash_type, "hash-type consistent",
        "Sets how a hash key selects a server. `map-based` (the default) distributes keys evenly, but moves nearly all \
         of them when a server comes or goes; `consistent` moves few. Both select the same server as HAProxy. The \
         function computes the hash (`sdbm` by default; `none` uses the digits of the key). `avalanche` mixes the \
         result, so that similar keys spread.";
    "hash-balance-factor <percent>" places::BACK, hash_balance_factor, "hash-balance-factor 150",
        "With `hash-type consistent`, limits each server to this percentage of its fair share of all sessions. Further \
         keys go to the next server on the ring. 0, the default, means no limit.";
    "hash-preserve-affinity { always | maxconn | maxqueue }" places::BACK, hash_affinity,
        "hash-preserve-affinity maxqueue",
        "Sets how long a key stays with the server selected by its hash: `always` (it waits in that queue), while the \
         server has a free session (`maxconn`), or while its queue has room (`maxqueue`).";
};

/// Default number of draws of `balance random`.
const DRAWS: u32 = 2;
const BUILT: &[&str] = &[
    "roundrobin",
    "static-rr",
    "leastconn",
    "first",
    "source",
    "random",
    "uri",
    "url_param",
    "hdr",
    "rdp-cookie",
    "hash",
    "log-hash",
    "sticky",
];

fn balance(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    loader.proxy().balance_said = true;
    let Some(word) = args.next() else {
        loader.proxy().balance = Balance::RoundRobin;
        return Ok(());
    };
    let text = word.str();
    let name = text.split('(').next().unwrap_or(text);
    let parameter = text[name.len()..]
        .strip_prefix('(')
        .map(|rest| rest.strip_suffix(')'));
    loader.proxy().balance_sticky = (name, parameter) == ("sticky", None);
    let algorithm = match (name, parameter) {
        ("sticky", None) => Balance::First,
        ("roundrobin", None) => Balance::RoundRobin,
        ("static-rr", None) => Balance::StaticRoundRobin,
        ("leastconn", None) => Balance::LeastConnections,
        ("first", None) => Balance::First,
        ("source", None) => Balance::Source,
        ("random", None | Some(Some(""))) => Balance::Random(DRAWS),
        ("random", Some(Some(draws))) => Balance::Random(random_draws(word, draws)?),
        ("uri", None) => hashed(args, uri)?,
        ("url_param", None) => hashed(args, url_parameter)?,
        ("hash", None) => {
            let text = args.required("a sample expression")?;
            let expression = Expression::parse(loader, text, Usage::USE_SERVER)?;
            Balance::Hash(Hashed {
                key: HashKey::Expression(Arc::new(expression)),
                text: format!("hash {}", text.text()).into(),
            })
        }
        ("log-hash", None) => {
            let words = args.line().words.iter().skip(1);
            let text = words.map(|word| word.text()).collect::<Vec<_>>().join(" ");
            let converters = match args.next() {
                Some(word) => Converters::parse(loader, word)?,
                None => Converters::default(),
            };
            Balance::Hash(Hashed {
                key: HashKey::Message(Arc::new(converters)),
                text: text.into(),
            })
        }
        ("hdr", Some(Some(header))) => {
            let name = header_name(word, header)?;
            hashed(args, |args| {
                Ok(HashKey::Header {
                    name: name.clone(),
                    domain_only: args.take_if("use_domain_only"),
                })
            })?
        }
        ("rdp-cookie", _) => {
            let name = super::persistence::rdp_name(word, RDP_COOKIE);
            let name = name.filter(|name| !name.is_empty()).ok_or_else(|| {
                args.word_error(
                    &codes::BAD_VALUE,
                    word,
                    "balance rdp-cookie : missing cookie name.",
                )
            })?;
            hashed(args, |_| Ok(HashKey::RdpCookie(name.as_bytes().into())))?
        }
        _ => return Err(refused(word, name)),
    };
    loader.proxy().balance = algorithm;
    args.end()
}

/// Default RDP cookie name, which most clients send.
const RDP_COOKIE: &str = "mstshash";

/// Builds a hash algorithm, whose key `key` parses from the remaining words of the line.
fn hashed(
    args: &mut Args<'_>,
    key: impl FnOnce(&mut Args<'_>) -> Result<HashKey, Diagnostic>,
) -> Result<Balance, Diagnostic> {
    let words = args.line().words.iter().skip(1);
    let text = words.map(|word| word.text()).collect::<Vec<_>>().join(" ");
    Ok(Balance::Hash(Hashed {
        key: key(args)?,
        text: text.into(),
    }))
}

fn uri(args: &mut Args<'_>) -> Result<HashKey, Diagnostic> {
    let (mut bytes_max, mut depth_max, mut whole, mut path_only) = (None, None, false, false);
    while let Some(word) = args.next() {
        match word.str() {
            "len" => bytes_max = Some(args.count("a positive integer", 1..=i32::MAX as u32)?),
            "depth" => depth_max = Some(args.count("a positive integer", 1..=i32::MAX as u32)?),
            "whole" => whole = true,
            "path-only" => path_only = true,
            _ => {
                let choices = ["len", "depth", "whole", "path-only"];
                return Err(super::value::unknown_choice_error(args, word, &choices));
            }
        }
    }
    Ok(HashKey::Uri {
        bytes_max,
        depth_max,
        whole,
        path_only,
    })
}

fn url_parameter(args: &mut Args<'_>) -> Result<HashKey, Diagnostic> {
    let name = args.required("a URL parameter name")?;
    let check_post = args.take_if("check_post");
    if check_post && args.peek().is_some() {
        // HAProxy 1.x limited the wait for the body by this word. Current versions wait for all of
        // the body that fits into a buffer.
        args.count("a number of bytes", 0..=i32::MAX as u32)?;
    }
    Ok(HashKey::UrlParameter {
        name: name.bytes.as_slice().into(),
        check_post,
    })
}

fn header_name(word: &ConfigWord, name: &str) -> Result<Box<[u8]>, Diagnostic> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(token) {
        let message = "balance hdr requires an http header field name.";
        return Err(Diagnostic::error(&codes::BAD_VALUE, word.span, message)
            .label("not a header name")
            .fix(word.span, "hdr(host)"));
    }
    Ok(name.to_ascii_lowercase().into_bytes().into())
}

fn hash_type(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let methods = [
        ("map-based", HashMethod::MapBased),
        ("consistent", HashMethod::Consistent),
    ];
    let mut kind = HashType {
        method: parse_choice(args, "map-based or consistent", &methods)?,
        ..HashType::default()
    };
    // Enables `avalanche` for a hash ring without a function, so that the points of the ring are
    // well distributed.
    kind.avalanche = kind.method == HashMethod::Consistent && args.peek().is_none();
    if args.peek().is_some() {
        let functions = [
            ("sdbm", HashFunction::Sdbm),
            ("djb2", HashFunction::Djb2),
            ("wt6", HashFunction::Wt6),
            ("crc32", HashFunction::Crc32),
            ("none", HashFunction::None),
        ];
        kind.function = parse_choice(args, "a function", &functions)?;
    }
    if args.peek().is_some() {
        kind.avalanche = parse_choice(args, "avalanche", &[("avalanche", true)])?;
    }
    loader.proxy().hash = kind;
    args.warn_of_surplus()
}

fn hash_balance_factor(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let word = args.peek();
    let factor = args.count("an integer", 0..=i32::MAX as u32)?;
    if let (1..=100, Some(word)) = (factor, word) {
        let message = "'hash-balance-factor' must be 0 or greater than 100.";
        return Err(Diagnostic::error(&codes::OUT_OF_RANGE, word.span, message)
            .label("no server could exceed its share"));
    }
    loader.proxy().hash_balance_factor = factor;
    args.end()
}

fn hash_affinity(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let affinities = [
        ("always", HashAffinity::Always),
        ("maxconn", HashAffinity::MaxConn),
        ("maxqueue", HashAffinity::MaxQueue),
    ];
    loader.proxy().hash_affinity = parse_choice(args, "always, maxconn or maxqueue", &affinities)?;
    args.end()
}

fn random_draws(word: &ConfigWord, draws: &str) -> Result<u32, Diagnostic> {
    match draws.parse::<u32>() {
        Ok(draws) if draws > 0 => Ok(draws),
        _ => Err(Diagnostic::error(
            &codes::OUT_OF_RANGE,
            word.span,
            "'balance random': the number of draws must be at least 1",
        )
        .label("number of servers to draw")
        .fix(word.span, "random(2)")),
    }
}

fn refused(word: &ConfigWord, name: &str) -> Diagnostic {
    let is_known = known::names("balance algorithm").any(|known| known == name);
    if is_known && !BUILT.contains(&name) {
        return Diagnostic::error(
            &codes::NOT_BUILT,
            word.span,
            format!("'balance {name}' is not supported"),
        )
        .help(format!("supported algorithms: {}", BUILT.join(", ")));
    }
    let mut diagnostic = Diagnostic::error(
        &codes::BAD_VALUE,
        word.span,
        format!("unknown 'balance' algorithm '{}'", word.text()),
    )
    .label("no algorithm has this name");
    diagnostic = match suggest::nearest(name, BUILT.iter().copied()) {
        Some(near) => diagnostic
            .help(format!("did you mean '{near}'?"))
            .fix(word.span, near),
        None => diagnostic.help(format!("supported algorithms: {}", BUILT.join(", "))),
    };
    diagnostic
}

#[cfg(test)]
mod tests {
    use crate::testing::{backend, codes_of};
    use model::config::Balance;

    #[test]
    fn every_built_algorithm_is_understood() {
        for (line, want) in [
            ("balance", Balance::RoundRobin),
            ("balance roundrobin", Balance::RoundRobin),
            ("balance static-rr", Balance::StaticRoundRobin),
            ("balance leastconn", Balance::LeastConnections),
            ("balance first", Balance::First),
            ("balance source", Balance::Source),
            ("balance random", Balance::Random(2)),
            ("balance random(5)", Balance::Random(5)),
        ] {
            assert_eq!(backend(line).balance, want, "{line}");
        }
    }

    #[test]
    fn others_are_refused_by_what_they_are() {
        assert_eq!(codes_of("balance log-hash field(2,/)"), ["E0302"]);
        assert_eq!(codes_of("balance log-hash nothing(2)"), ["E0402"]);
        assert_eq!(codes_of("balance sticky"), ["E0302"]);
        for (line, want) in [
            ("balance uri len 10 depth 3 whole path-only", &[][..]),
            ("balance uri len 0", &["E0204"]),
            ("balance uri foo", &["E0207"]),
            ("balance url_param", &["E0201"]),
            ("balance url_param a check_post 10", &[]),
            ("balance url_param a foo", &["E0202"]),
            ("balance hdr", &["E0207"]),
            ("balance hdr()", &["E0207"]),
            ("balance hdr(Host) use_domain_only", &[]),
            ("balance rdp-cookie", &[]),
            ("balance rdp-cookie()", &["E0207"]),
            ("balance hash", &["E0201"]),
            ("balance hash src", &[]),
            ("balance hash path,lower", &[]),
            ("hash-type", &["E0201"]),
            ("hash-type foo", &["E0207"]),
            ("hash-type map-based foo", &["E0207"]),
            ("hash-type consistent djb2 avalanche", &[]),
            ("hash-type consistent wt6", &[]),
            ("hash-balance-factor 50", &["E0204"]),
            ("hash-balance-factor 0", &[]),
        ] {
            assert_eq!(codes_of(line), want, "{line}");
        }
        assert_eq!(codes_of("balance random(0)"), ["E0204"]);
        assert_eq!(codes_of("balance oundrobin"), ["E0207"]);
        assert_eq!(codes_of("balance roundrobin now"), ["E0202"]);
    }
}
