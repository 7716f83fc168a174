//! Holds the formats that options name (`option httplog`, `option httpslog`, `option tcplog`), in
//! the syntax of log formats. They are compiled once.

use super::{Dialect, Format, parse};
use crate::rules::argument::ArgumentText as Source;
use crate::rules::draft::ConfigDraft;
use crate::rules::{Expression, Usage};
use configuration::LoadOptions;
use std::sync::{Arc, OnceLock};

/// Format that an option selects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BuiltIn {
    Http,
    Clf,
    Tcp,
    Https,
}

const HTTP: &[u8] = b"%ci:%cp [%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B %CC %CS %tsc \
    %ac/%fc/%bc/%sc/%rc %sq/%bq %hr %hs %{+Q}r";
const CLF: &[u8] = b"%{+Q}o %{-Q}ci - - [%trg] %r %ST %B \"\" \"\" %cp %ms %ft %b %s \
    %TR %Tw %Tc %Tr %Ta %tsc %ac %fc %bc %sc %rc %sq %bq %CC %CS %hrl %hsl";
/// Suffix of `option httpslog`, after the format of `option httplog`.
const HTTPS: &[u8] = b" %[fc_err]/%[ssl_fc_err,hex]/%[ssl_c_err]/%[ssl_c_ca_err]/\
    %[ssl_fc_is_resumed] %[ssl_fc_sni]/%sslv/%sslc";
const TCP: &[u8] = b"%ci:%cp [%t] %ft %b/%s %Tw/%Tc/%Tt %B %ts %ac/%fc/%bc/%sc/%rc %sq/%bq";

/// Returns the options and their formats, for the manual.
pub fn built_in_texts() -> [(&'static str, Vec<u8>); 4] {
    [
        ("option httplog", HTTP.to_vec()),
        ("option httplog clf", CLF.to_vec()),
        ("option tcplog", TCP.to_vec()),
        ("option httpslog", [HTTP, HTTPS].concat()),
    ]
}

pub fn built_in(which: BuiltIn) -> Arc<Format> {
    static FORMATS: OnceLock<[Arc<Format>; 4]> = OnceLock::new();
    let formats = FORMATS.get_or_init(|| {
        let https = [HTTP, HTTPS].concat();
        [HTTP, CLF, TCP, &https].map(|text| Arc::new(compile(text)))
    });
    formats[which as usize].clone()
}

fn compile(text: &[u8]) -> Format {
    let source = Source::built_in(text);
    // Expressions in built-in formats refer to nothing in a file.
    let mut loader = ConfigDraft::new(language::Environment::empty(), LoadOptions::default());
    let expression = &mut |start| Expression::parse_part(&mut loader, &source, start, Usage::LOG);
    // Cannot fail: a test compiles the built-in texts.
    let pieces =
        parse::pieces(&source, Dialect::Log, &mut Vec::new(), expression).unwrap_or_default();
    Format {
        pieces,
        dialect: Dialect::Log,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_formats_compile() {
        for which in [BuiltIn::Http, BuiltIn::Clf, BuiltIn::Tcp, BuiltIn::Https] {
            assert!(built_in(which).pieces.len() > 10, "{which:?}");
        }
    }
}
