//! Builds the check steps `tcp-check connect` and `http-check connect`.

use super::{Comment, unknown_word};
use crate::family::Loader;
use crate::family::server_option::check::check_address;
use crate::family::{Args, tls_words};
use language::Diagnostic;
use model::check::{Connect, PortSource};
use model::codes;
use model::config::{HttpProtocol, ServerAddress};
use model::rules::{Expression, Usage};

const WORDS: &[&str] = &[
    "default",
    "port",
    "addr",
    "send-proxy",
    "via-socks4",
    "ssl",
    "sni",
    "alpn",
    "proto",
    "linger",
    "comment",
];

/// Parses the words of a step and its comment. `http` is true for the keyword `http-check`.
pub(super) fn connect(
    loader: &mut Loader,
    args: &mut Args<'_>,
    http: bool,
) -> Result<(Connect, Comment), Diagnostic> {
    let mut connect = Connect::default();
    let mut comment = None;
    while let Some(word) = args.next() {
        match word.str() {
            "default" => connect.default = true,
            "port" => connect.port = Some(port(loader, args)?),
            "addr" => connect.address = Some(address(loader, args)?),
            "send-proxy" => connect.send_proxy = true,
            "via-socks4" => connect.via_socks4 = true,
            "ssl" => connect.tls = true,
            "sni" => connect.sni = Some(args.required("<sni>")?.text().into()),
            "alpn" => connect.alpn = Some(tls_words::alpn(args)?),
            "proto" => connect.protocol = Some(protocol(args, http)?),
            "linger" => connect.linger = true,
            "comment" => comment = Some(args.required("<text>")?.bytes.as_slice().into()),
            _ => return Err(unknown_word(args, word, WORDS)),
        }
    }
    Ok((connect, comment))
}

fn port(loader: &mut Loader, args: &mut Args<'_>) -> Result<PortSource, Diagnostic> {
    let word = args.required("<port>")?;
    if !word.bytes.iter().all(u8::is_ascii_digit) {
        let expression = Expression::parse(loader, word, Usage::CHECK)?;
        return Ok(PortSource::Expression(expression));
    }
    match word.str().parse() {
        Ok(port) if port != 0 => Ok(PortSource::Number(port)),
        _ => Err(args.word_error(
            &codes::OUT_OF_RANGE,
            word,
            format!("'{}' is not a TCP port from 1 to 65535", word.text()),
        )),
    }
}

fn address(loader: &mut Loader, args: &mut Args<'_>) -> Result<ServerAddress, Diagnostic> {
    let word = args.required("<address>")?;
    check_address(loader, word)
}

fn protocol(args: &mut Args<'_>, http: bool) -> Result<HttpProtocol, Diagnostic> {
    let word = args.required("<name>")?;
    match word.str() {
        "h1" if http => Ok(HttpProtocol::Http1),
        "h2" if http => Ok(HttpProtocol::Http2),
        // Uses the default for `none`, which means plain bytes in a TCP check.
        "none" if !http => Ok(HttpProtocol::Http1),
        _ if http => Err(unknown_word(args, word, &["h1", "h2"])),
        _ => Err(unknown_word(args, word, &["none"])),
    }
}
