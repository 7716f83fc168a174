//! Builds `crt-store` sections: certificates that are loaded once, each from any files, and
//! referred to as `@STORE/NAME`.

use super::{Args, Built, LineRow};
use crate::family::Loader;
use crate::family::certificates::RelatedFiles;
use language::{ConfigLine, ConfigWord, Diagnostic, Span, suggest};
use model::codes;
use std::path::PathBuf;

const FILE_BYTES_MAX: u64 = 16 << 20;
const PLACE: &[&str] = &["crt-store"];
const OPTIONS: &[&str] = &["alias", "crt", "issuer", "key", "ocsp", "sctl"];
/// Options of `load` in later versions of HAProxy that are not supported.
const NOT_BUILT: &[&str] = &[
    "acme",
    "bits",
    "curves",
    "domains",
    "generate-dummy",
    "jwt",
    "keytype",
    "ocsp-update",
];

/// Settings of the current `crt-store` section.
#[derive(Debug, Default)]
pub(crate) struct CrtStore {
    /// Name of the store; empty: unnamed.
    pub name: Box<str>,
    pub crt_base: Option<PathBuf>,
    pub key_base: Option<PathBuf>,
}

impl CrtStore {
    pub(crate) fn begin(line: &ConfigLine) -> Result<CrtStore, Diagnostic> {
        let name = line.word(1);
        let bad = |b: &u8| !(b.is_ascii_alphanumeric() || b"._-:".contains(b));
        if let Some(word) = name.filter(|word| word.bytes.iter().any(bad)) {
            let told = format!("'{}' is not a valid name of a 'crt-store'", word.text());
            return Err(Diagnostic::error(&codes::SECTION_NAME, word.span, told)
                .label("allowed are letters, digits, `.`, `_`, `-` and `:`"));
        }
        Ok(CrtStore {
            name: name.map_or_else(Box::default, |word| word.text().into()),
            ..CrtStore::default()
        })
    }

    fn stored(&self, name: &str) -> Box<str> {
        if self.name.is_empty() {
            name.into()
        } else {
            format!("@{}/{name}", self.name).into()
        }
    }
}

#[derive(Default)]
struct LoadLine<'l> {
    crt: Option<&'l ConfigWord>,
    alias: Option<&'l ConfigWord>,
    related: RelatedFiles,
}

fn load(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let mut said = LoadLine::default();
    while let Some(option) = args.next() {
        let text = option.text();
        if NOT_BUILT.contains(&&*text) {
            return Err(super::proxy::unsupported_word(option, &text));
        }
        if !OPTIONS.contains(&&*text) {
            let told = format!("unknown keyword '{text}' of 'load'");
            let told = args.word_error(&codes::UNKNOWN_OPTION, option, told);
            let near = suggest::nearest(&text, OPTIONS.iter().copied());
            return Err(told.did_you_mean(option.span, near));
        }
        let word = args.required("a name")?;
        let file = |loader: &Loader, base: Option<&PathBuf>| {
            let name = loader.resolve_name(&word.bytes, base);
            loader.store_path(&name, word.span)
        };
        match &*text {
            "crt" => said.crt = Some(word),
            "alias" => said.alias = Some(word),
            "key" => {
                let base = loader.tls.store.key_base.as_ref();
                let base = base.or(loader.config.global.tls.key_base.as_ref());
                said.related.key = Some(file(loader, base));
            }
            other => {
                let base = loader.tls.store.crt_base.as_ref();
                let base = base.or(loader.config.global.tls.crt_base.as_ref());
                let file = Some(file(loader, base));
                match other {
                    "ocsp" => said.related.ocsp = file,
                    "issuer" => said.related.issuer = file,
                    _ => said.related.sctl = file,
                }
            }
        }
    }
    let Some(crt) = said.crt else {
        return Err(missing_file_error(args.line().end()));
    };
    load_one(loader, crt, &said)
}

fn missing_file_error(span: Span) -> Diagnostic {
    Diagnostic::error(&codes::MISSING_ARGUMENT, span, "'load' expects 'crt'")
        .label("the certificate is missing")
        .help("write `load crt FILE [alias NAME] [key FILE]`")
}

fn load_one(loader: &mut Loader, crt: &ConfigWord, said: &LoadLine<'_>) -> Built {
    let name = said.alias.unwrap_or(crt).text();
    let stored = loader.tls.store.stored(&name);
    if loader.config.certificates.has_certificate(&stored) {
        let told = format!("'{stored}' is loaded already");
        return Err(Diagnostic::error(&codes::DUPLICATE_NAME, crt.span, told)
            .help("give one of the two an `alias`"));
    }
    let base = loader.tls.store.crt_base.as_ref();
    let base = base.or(loader.config.global.tls.crt_base.as_ref());
    let named = loader.resolve_name(&crt.bytes, base);
    let path = loader.store_path(&named, crt.span);
    let bytes = loader.context.outside.read_secret(&path, FILE_BYTES_MAX);
    let bytes =
        bytes.map_err(|error| crate::family::certificates::unreadable(crt.span, &named, error))?;
    loader.certificate_file(&stored, &path, &bytes, &said.related, crt.span)
}

pub static LINES: &[LineRow] = language::rows! {
    "load { crt <file> } [alias <name>] [key <file>] [ocsp <file>] [issuer <file>] [sctl <file>]" PLACE,
        load,
        "load crt site.crt key /etc/ssl/private/site.key alias site",
        "Loads a certificate, with its private key from a separate file if `key` names one. `bind` lines and crt-lists \
         refer to it as `@STORE/NAME`, where NAME is the alias, or the file as written here.";
};

#[cfg(test)]
mod tests {
    use crate::testing::load_text;

    #[test]
    fn what_a_load_line_lacks_or_nobody_knows_is_told() {
        let codes = |line: &str| -> Vec<&str> {
            let loaded = load_text(&format!("crt-store web\n {line}\n"));
            loaded.diagnostics.iter().map(|d| d.code.id).collect()
        };
        assert_eq!(codes("load alias x"), ["E0201"]);
        assert_eq!(codes("load crt /nonexistent/x.pem"), ["E0111"]);
        assert_eq!(codes("load crt /nonexistent/x.pem keey y"), ["E0209"]);
        assert_eq!(codes("load crt x ocsp-update on"), ["E0103"]);
    }
}
