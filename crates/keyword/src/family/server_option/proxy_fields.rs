//! Builds the server option `set-proxy-v2-tlv-fmt`, which adds a TLV to the PROXY header.

use crate::family::Loader;
use crate::family::{Args, Built, ServerRow, places};
use language::Diagnostic;
use model::codes;
use model::config::{ProxyField, ServerOptions};
use model::rules::{Format, Usage, proxy_field_number};
use std::sync::Arc;

/// Name of the option, whose argument is in parentheses.
pub(in crate::family) const NAME: &str = "set-proxy-v2-tlv-fmt";

pub static OPTIONS: &[ServerRow] = language::rows! {
    "set-proxy-v2-tlv-fmt(<type>) [<format>]" places::SERVER, set_field,
        "server web1 192.0.2.11:8080 send-proxy-v2 set-proxy-v2-tlv-fmt(0xE1) %[src]",
        "Adds a field of this type, a number from 0 to 255 or `0x00` to `0xff`, to the header of `send-proxy-v2`. The \
         log format creates its value for each connection; without one it is empty. `fc_pp_tlv` reads such a field at \
         the receiver. Only streams with the same header share a connection.";
};

fn set_field(loader: &mut Loader, options: &mut ServerOptions, args: &mut Args<'_>) -> Built {
    let wrong = |args: &Args<'_>| {
        let told = format!("'{NAME}' expects a type in parentheses");
        Diagnostic::error(&codes::BAD_VALUE, args.keyword_span(), told)
            .label("a number from 0 to 255, as in `(0xE1)`")
    };
    let word = args.option_word();
    let kind = word
        .str()
        .strip_prefix(NAME)
        .and_then(|rest| rest.strip_prefix('(')?.strip_suffix(')'))
        .and_then(|number| proxy_field_number(number.as_bytes()));
    let Some(kind) = kind else {
        // Skips the next word, which is the format and no option.
        let told = wrong(args);
        args.rest();
        return Err(told);
    };
    // Takes the next word as the format, unless it is an option.
    let value = args
        .peek()
        .filter(|word| word.str().contains('%') || !is_option(word.str()));
    let format = match value {
        None => None,
        Some(word) => {
            args.skip(1);
            Some(Arc::new(Format::parse(loader, word, Usage::SERVER_SOURCE)?))
        }
    };
    options.proxy_fields.push(ProxyField {
        kind,
        text: value.map(|word| word.text().into()).unwrap_or_default(),
        format,
    });
    Ok(())
}

fn is_option(word: &str) -> bool {
    use language::keyword::KeywordLookup;
    let table = &crate::family::registry().servers;
    let name = word.split_once('(').map_or(word, |(name, _)| name);
    !matches!(table.find(std::iter::once(name)), KeywordLookup::Unknown)
}

#[cfg(test)]
mod tests {
    use crate::testing::{backend, codes_of};

    #[test]
    fn fields_of_the_proxy_header_stand_in_order_with_and_without_a_value() {
        let proxy = backend(
            "default-server send-proxy-v2 set-proxy-v2-tlv-fmt(225) %[src]\n \
             server a 127.0.0.1:1 set-proxy-v2-tlv-fmt(0xE2) set-proxy-v2-tlv-fmt(0xe3) x check\n \
             server b 127.0.0.1:1 set-proxy-v2-tlv-fmt(0xE2)",
        );
        let of = |n: usize| -> Vec<(u8, String, bool)> {
            let fields = proxy.servers[n].options.proxy_fields.iter();
            fields
                .map(|f| (f.kind, f.text.to_string(), f.format.is_some()))
                .collect()
        };
        let src = (0xe1, "%[src]".to_string(), true);
        let empty = (0xe2, String::new(), false);
        assert_eq!(
            of(0),
            [src.clone(), empty.clone(), (0xe3, "x".into(), true)]
        );
        assert!(proxy.servers[0].options.check);
        assert_eq!(of(1), [src, empty]);
    }

    #[test]
    fn a_type_that_is_none_is_refused() {
        for word in ["(256)", "(0x1g)", "()", "", "(1", "(-1)", "(0x)"] {
            let line = format!("server a 127.0.0.1:1 send-proxy-v2 set-proxy-v2-tlv-fmt{word} x");
            assert_eq!(codes_of(&line), ["E0207"], "{word}");
        }
    }
}
