//! Loads the certificates that lines name: a file with its related files, a bundle, a directory, or
//! a crt-list. Files are read into the store of the configuration. Problems are reported at the
//! word that names the file.

use super::Loader;
use crate::family::bind_tls;
use configuration::outside::{Secret, Unreadable};
use language::source::Text;
use language::{ConfigLine, ConfigWord, Diagnostic, FileId, Span};
use model::codes;
use rustls::pki_types::CertificateDer;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use tls::certificate::Certificate;
use tls::certified::{CertError, Certified, Parts, now_s};
use tls::crt_list::{self, Entry, List};
use tls::describe;
use tls::pem::{Contents, PemError};
use tls::sni::SniFilter;
use tls::{CertificateSource, TlsLine};

const FILE_BYTES_MAX: u64 = 16 << 20;
/// Key types of the files of a bundle, in HAProxy's order: the first existing one is the default
/// certificate.
const BUNDLE: &[&str] = &["ecdsa", "rsa"];

/// Chains of issuer certificates that complete other chains (`issuers-chain-path`). Read once per
/// load.
pub(crate) type IssuerChains = Vec<Vec<CertificateDer<'static>>>;

/// Paths of related files of a certificate (key, OCSP response, issuer, timestamps) that a
/// `crt-store` line names. Without a path, the file next to the certificate is used.
#[derive(Clone, Debug, Default)]
pub(crate) struct RelatedFiles {
    pub key: Option<PathBuf>,
    pub ocsp: Option<PathBuf>,
    pub issuer: Option<PathBuf>,
    pub sctl: Option<PathBuf>,
}

fn is_missing(error: Unreadable) -> bool {
    error == Unreadable::Refused(rustix::io::Errno::NOENT.raw_os_error())
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn error_at(span: Span, message: String) -> Diagnostic {
    Diagnostic::error(&codes::BAD_CERTIFICATE, span, message)
}

impl Loader {
    /// Returns the name of a file in the store: the text, prefixed with the base directory if the
    /// name is relative and there is a base.
    pub(crate) fn resolve_name(&self, text: &[u8], base: Option<&PathBuf>) -> Box<str> {
        let named = Path::new(OsStr::from_bytes(text));
        match base {
            Some(base) if named.is_relative() => base.join(named).to_string_lossy().into(),
            _ => named.to_string_lossy().into(),
        }
    }

    pub(crate) fn store_path(&self, name: &str, span: Span) -> PathBuf {
        let bytes = name.as_bytes().to_vec();
        self.path(&ConfigWord { bytes, span })
    }

    /// Loads what the argument of a `crt` names (a file, the files of a bundle, a directory, or a
    /// certificate of a `crt-store`), and returns the names in the store. What is loaded already is
    /// not loaded again.
    pub(crate) fn certificates(
        &mut self,
        word: &ConfigWord,
    ) -> Result<CertificateSource, Diagnostic> {
        let base = self.config.global.tls.crt_base.clone();
        let name = self.resolve_name(&word.bytes, base.as_ref());
        if self.config.certificates.has_list(&name) {
            return Ok(CertificateSource::List(name));
        }
        if word.bytes.starts_with(b"@") {
            return self.stored(word);
        }
        let path = self.store_path(&name, word.span);
        // As in HAProxy, the name of a directory has no trailing slash.
        let directory: Box<str> = match name.trim_end_matches('/') {
            "" => name.clone(),
            bare => bare.into(),
        };
        if self.config.certificates.has_list(&directory) {
            return Ok(CertificateSource::List(directory));
        }
        if !self.config.certificates.has_certificate(&name)
            && self.context.outside.is_directory(&path)
        {
            self.certificate_directory(&directory, &path, word.span)?;
            return Ok(CertificateSource::List(directory));
        }
        let names = self.certificate_files(&name, &path, word.span)?;
        Ok(CertificateSource::Certificates(names))
    }

    fn stored(&mut self, word: &ConfigWord) -> Result<CertificateSource, Diagnostic> {
        let name: Box<str> = word.text().into();
        if self.config.certificates.has_certificate(&name) {
            return Ok(CertificateSource::Certificates(vec![name]));
        }
        let told = error_at(word.span, format!("no `crt-store` has loaded '{name}'"));
        Err(told
            .label("not loaded before this line")
            .help("write `@NAME/ALIAS`, from a `load` line of the section `crt-store NAME`"))
    }

    fn certificate_files(
        &mut self,
        name: &str,
        path: &Path,
        span: Span,
    ) -> Result<Vec<Box<str>>, Diagnostic> {
        if self.config.certificates.has_certificate(name) {
            return Ok(vec![name.into()]);
        }
        let missing = match self.context.outside.read_secret(path, FILE_BYTES_MAX) {
            Ok(bytes) => {
                let beside = RelatedFiles::default();
                self.certificate_file(name, path, &bytes, &beside, span)?;
                return Ok(vec![name.into()]);
            }
            Err(error) => error,
        };
        let mut names = Vec::new();
        let bundles = is_missing(missing) && self.config.global.tls.extra_files.bundle;
        for kind in BUNDLE.iter().filter(|_| bundles) {
            let ending = format!(".{kind}");
            let one = with_ending(path, &ending);
            let name: Box<str> = format!("{name}{ending}").into();
            if self.config.certificates.has_certificate(&name) {
                names.push(name);
                continue;
            }
            match self.context.outside.read_secret(&one, FILE_BYTES_MAX) {
                Ok(bytes) => {
                    self.certificate_file(&name, &one, &bytes, &RelatedFiles::default(), span)?;
                    names.push(name);
                }
                Err(error) if is_missing(error) => {}
                Err(error) => return Err(unreadable(span, &name, error)),
            }
        }
        if bundles
            && self
                .context
                .outside
                .read_secret(&with_ending(path, ".dsa"), FILE_BYTES_MAX)
                .is_ok()
        {
            let told = format!("'{name}.dsa': DSA certificates are not supported");
            self.report(error_at(span, told).help("remove the file; no client uses it"));
        }
        if names.is_empty() {
            Err(unreadable(span, name, missing))
        } else {
            Ok(names)
        }
    }

    /// Loads a file and its related files into the store.
    pub(crate) fn certificate_file(
        &mut self,
        name: &str,
        path: &Path,
        bytes: &Secret,
        beside: &RelatedFiles,
        span: Span,
    ) -> Result<(), Diagnostic> {
        let failed = |error: CertError, file: &Path| file_error(span, &error, name, file);
        let mut parts = Parts::default();
        parts
            .take(bytes.bytes())
            .map_err(|error| failed(error, path))?;
        if parts.chain.is_empty() {
            return Err(failed(CertError::NoCertificate, path));
        }
        if parts.key.is_none() || beside.key.is_some() {
            self.key_beside(&mut parts, name, path, beside, span)?;
        }
        self.complete_chain(&mut parts, span);
        let issuer = self.file_beside(path, beside.issuer.as_ref(), ".issuer", span)?;
        if let Some((file, text)) = issuer {
            parts
                .take_issuer(text.bytes())
                .map_err(|error| failed(error, &file))?;
        }
        let ocsp = self.file_beside(path, beside.ocsp.as_ref(), ".ocsp", span)?;
        let ocsp_file = ocsp.as_ref().map(|(file, _)| file.clone());
        parts.ocsp = ocsp.map(|(_, bytes)| bytes.bytes().to_vec());
        if let Some((file, _)) = self.file_beside(path, beside.sctl.as_ref(), ".sctl", span)? {
            let told = format!("'{}' is not sent to clients", file.display());
            let told = Diagnostic::warning(&codes::NOT_SENT, span, told);
            self.report(told.note("browsers use the timestamps that CAs embed in certificates"));
        }
        let (certified, not_stapled) = parts.certify().map_err(|error| {
            let file = match (&error, &ocsp_file) {
                (CertError::OcspWithoutIssuer, Some(file)) => file,
                _ => path,
            };
            failed(error, file)
        })?;
        if let (Some(why), Some(file)) = (not_stapled, ocsp_file) {
            let told = format!("'{}': {why}. Content will be ignored.", file.display());
            let told = Diagnostic::warning(&codes::OCSP_IGNORED, span, told);
            self.report(told.help("fetch a new response with `openssl ocsp` and reload"));
        }
        self.warn_of_validity(name, &certified, span);
        self.config.certificates.add_certificate(name, certified);
        Ok(())
    }

    fn key_beside(
        &mut self,
        parts: &mut Parts,
        name: &str,
        path: &Path,
        beside: &RelatedFiles,
        span: Span,
    ) -> Result<(), Diagnostic> {
        let tls = &self.config.global.tls;
        let file = match &beside.key {
            Some(file) => file.clone(),
            // Replaces only the extension `.crt`, as HAProxy does.
            None if tls.extra_files_without_extension
                && path.extension().is_some_and(|ending| ending == "crt") =>
            {
                path.with_extension("key")
            }
            None => with_ending(path, ".key"),
        };
        let looks = beside.key.is_some() || tls.extra_files.key;
        let none = |label: String| {
            let told = error_at(span, format!("no private key in '{}'", file.display()));
            told.label(label).help(format!(
                "append the key to '{name}', or create the file shown here"
            ))
        };
        if !looks {
            return Err(none("there is no key in the file itself".to_owned()));
        }
        let text = match self.context.outside.read_secret(&file, FILE_BYTES_MAX) {
            Ok(text) => text,
            Err(error) if is_missing(error) => {
                return Err(none(format!(
                    "there is no key in '{}' either",
                    path.display()
                )));
            }
            Err(error) => return Err(none(error.to_string())),
        };
        let found = Contents::parse(text.bytes()).map_err(CertError::from);
        let failed = |error| file_error(span, &error, name, &file);
        let Some(key) = found.map_err(failed)?.key else {
            return Err(none("the file contains something else".to_owned()));
        };
        let key = tls::certified::signing_key(&key).map_err(failed)?;
        parts.key = Some(key);
        Ok(())
    }

    /// Reads a related file of a certificate, if it exists and is enabled.
    fn file_beside(
        &mut self,
        path: &Path,
        named: Option<&PathBuf>,
        ending: &str,
        span: Span,
    ) -> Result<Option<(PathBuf, Secret)>, Diagnostic> {
        let tls = &self.config.global.tls;
        let wanted = match ending {
            ".issuer" => tls.extra_files.issuer,
            ".ocsp" => tls.extra_files.ocsp,
            _ => tls.extra_files.sctl,
        };
        if named.is_none() && !wanted {
            return Ok(None);
        }
        let file = match named {
            Some(file) => file.clone(),
            None if tls.extra_files_without_extension
                && path.extension().is_some_and(|ending| ending == "crt") =>
            {
                path.with_extension(&ending[1..])
            }
            None => with_ending(path, ending),
        };
        match self.context.outside.read_secret(&file, FILE_BYTES_MAX) {
            Ok(bytes) => Ok(Some((file, bytes))),
            Err(error) if is_missing(error) && named.is_none() => Ok(None),
            Err(error) => Err(unreadable(span, &file.to_string_lossy(), error)),
        }
    }

    /// Completes a chain of one certificate from `issuers-chain-path`, and removes self-issued
    /// certificates after the first one with `ssl-skip-self-issued-ca`.
    fn complete_chain(&mut self, parts: &mut Parts, span: Span) {
        if parts.chain.len() == 1
            && let Some(directory) = self.config.global.tls.issuers_chain_path.clone()
        {
            let issuer = Certificate::parse(&parts.chain[0]).map(|leaf| leaf.issuer);
            let chains = self.issuer_chains(&directory, span);
            let subject = |chain: &&Vec<CertificateDer<'_>>| {
                let first = chain.first().and_then(|der| Certificate::parse(der));
                first.map(|first| first.subject) == issuer
            };
            let found = chains.iter().find(subject).cloned();
            parts.chain.extend(found.into_iter().flatten());
        }
        if self.config.global.tls.skip_self_issued_ca {
            let mut first = true;
            parts.chain.retain(|der| {
                let own = std::mem::take(&mut first);
                own || Certificate::parse(der).is_none_or(|info| !info.is_self_issued())
            });
        }
    }

    fn issuer_chains(&mut self, directory: &Path, span: Span) -> &IssuerChains {
        if self.tls.issuer_chains.is_none() {
            let mut chains = Vec::new();
            let names = self.context.outside.entries(directory).unwrap_or_default();
            for name in names.iter() {
                let file = directory.join(name);
                if name.as_bytes().starts_with(b".") || self.context.outside.is_directory(&file) {
                    continue;
                }
                let text = self.context.outside.read_secret(&file, FILE_BYTES_MAX);
                match text.map(|text| Contents::parse(text.bytes())) {
                    Ok(Ok(found)) if !found.certificates.is_empty() => {
                        chains.push(found.certificates);
                    }
                    _ => {
                        let told = format!("'{}' has no certificate", file.display());
                        let told = Diagnostic::warning(&codes::CERTIFICATE_PASSED_OVER, span, told);
                        self.report(told.note("it is in the directory of `issuers-chain-path`"));
                    }
                }
            }
            self.tls.issuer_chains = Some(chains);
        }
        self.tls.issuer_chains.get_or_insert_default()
    }

    fn warn_of_validity(&mut self, name: &str, certified: &Certified, span: Span) {
        let (info, now) = (&certified.info, now_s());
        let told = match (info.not_after_s < now, info.not_before_s > now) {
            (true, _) => format!("'{name}' expired on {}", describe::time(info.not_after_s)),
            (_, true) => format!(
                "'{name}' is not valid before {}",
                describe::time(info.not_before_s)
            ),
            _ => return,
        };
        let told = Diagnostic::warning(&codes::CERTIFICATE_TIME, span, told);
        self.report(
            told.label("clients will refuse it")
                .help("renew it, or check the clock of this host"),
        );
    }

    /// Loads the files of a directory, in the order of their names, as a list of the store. Files
    /// that only accompany others, and directories in it, are skipped.
    fn certificate_directory(
        &mut self,
        name: &str,
        path: &Path,
        span: Span,
    ) -> Result<(), Diagnostic> {
        let entries = self.context.outside.entries(path);
        let entries = entries.map_err(|error| unreadable(span, name, error))?;
        let mut list = List {
            is_directory: true,
            ..List::default()
        };
        for entry in entries.iter() {
            let file = path.join(entry);
            if self.should_skip(entry.as_bytes()) || self.context.outside.is_directory(&file) {
                continue;
            }
            let name = format!("{}/{}", name.trim_end_matches('/'), entry.display());
            for certificate in self.certificate_files(&name, &file, span)? {
                list.entries.push(Entry {
                    certificate,
                    line: 0,
                    options: TlsLine::default(),
                    option_words: "".into(),
                    filters: Vec::new(),
                });
            }
        }
        self.config.certificates.add_list(name, list);
        Ok(())
    }

    fn should_skip(&self, name: &[u8]) -> bool {
        let kinds = &self.config.global.tls.extra_files;
        let beside = [
            (kinds.issuer, &b".issuer"[..]),
            (kinds.ocsp, b".ocsp"),
            (kinds.sctl, b".sctl"),
            (kinds.key, b".key"),
        ];
        name.starts_with(b".") || beside.iter().any(|(on, end)| *on && name.ends_with(end))
    }

    /// Loads a `crt-list`, or a directory in its place, and returns its name in the store.
    pub(crate) fn certificate_list(&mut self, word: &ConfigWord) -> Result<Box<str>, Diagnostic> {
        let name: Box<str> = word.text().into();
        if self.config.certificates.has_list(&name) {
            return Ok(name);
        }
        let path = self.path(word);
        if self.context.outside.is_directory(&path) {
            self.certificate_directory(&name, &path, word.span)?;
            return Ok(name);
        }
        let text = self
            .context
            .outside
            .read(&path, FILE_BYTES_MAX)
            .map_err(|error| {
                let told = format!("'crt-list' : cannot open file '{name}' : {error}");
                Diagnostic::error(&codes::UNREADABLE, word.span, told).label("named here")
            })?;
        let file = self
            .context
            .sources
            .add(path.to_string_lossy(), Text::clone(&text));
        let list = self.list_lines(file, &text, word.span);
        self.config.certificates.add_list(&name, list);
        Ok(name)
    }

    fn list_lines(&mut self, file: FileId, text: &[u8], named: Span) -> List {
        let (mut list, mut at) = (List::default(), 0);
        for (index, line) in text.split_inclusive(|b| *b == b'\n').enumerate() {
            list.lines = index as u32 + 1;
            let end = at + line.len();
            if let Err(diagnostic) = self.list_line(file, text, at..end, &mut list) {
                self.report(diagnostic.with_label(named, "the list is named here"));
            }
            at = end;
        }
        list
    }

    fn list_line(
        &mut self,
        file: FileId,
        text: &[u8],
        line: std::ops::Range<usize>,
        list: &mut List,
    ) -> Result<(), Diagnostic> {
        let span = |word: &std::ops::Range<usize>| Span {
            file,
            start: word.start as u32,
            end: word.end as u32,
        };
        let whole = span(&(line.start..line.end.max(line.start + 1) - 1));
        let wrong = |told: String| Diagnostic::error(&codes::BAD_CERTIFICATE_LIST, whole, told);
        if text[line.clone()].last() != Some(&b'\n') {
            let told = "Missing LF on last line, file might have been truncated";
            let told = wrong(told.to_owned()).help("add a line feed if nothing is missing");
            return Err(told);
        }
        let cut = crt_list::words(text, line);
        let Some(words) = cut.map_err(|error| wrong(error.to_string()))? else {
            return Ok(());
        };
        if words.misplaced {
            let told = "malformated line, filters can't be between filename and options!";
            let told = Diagnostic::warning(&codes::CERTIFICATE_PASSED_OVER, whole, told);
            self.report(told.help("write them after the brackets"));
        }
        let word = |place: &std::ops::Range<usize>| ConfigWord {
            bytes: text[place.clone()].to_vec(),
            span: span(place),
        };
        let (mut options, mut option_words) = (TlsLine::default(), String::new());
        let words_of: Vec<ConfigWord> = words.options.iter().map(word).collect();
        if let (Some(first), Some(last)) = (words_of.first(), words_of.last()) {
            let texts: Vec<_> = words_of.iter().map(ConfigWord::text).collect();
            let texts: Vec<&str> = texts.iter().map(|text| &**text).collect();
            option_words = crt_list::option_words(&texts);
            let span = first.span.to(last.span);
            let line = ConfigLine {
                words: words_of,
                span,
                unset: Vec::new(),
            };
            options = bind_tls::list_options(self, &line)?;
        }
        let filters: Vec<SniFilter> = words
            .filters
            .iter()
            .map(|place| SniFilter::parse(&text[place.clone()]))
            .collect();
        let named = word(&words.certificate);
        let CertificateSource::Certificates(names) = self.certificates(&named)? else {
            let told = error_at(named.span, format!("'{}' is a directory", named.text()));
            return Err(told.help("name its files, one per line"));
        };
        for certificate in names {
            list.entries.push(Entry {
                certificate,
                line: list.lines,
                options: options.clone(),
                option_words: option_words.as_str().into(),
                filters: filters.clone(),
            });
        }
        Ok(())
    }
}

pub(crate) fn unreadable(span: Span, name: &str, error: Unreadable) -> Diagnostic {
    let told = format!("unable to stat SSL certificate from file '{name}' : {error}");
    Diagnostic::error(&codes::UNREADABLE, span, told)
            .label("named here")
            .note("a relative path is resolved against `crt-base` in `global`, otherwise against the working directory")
}

fn file_error(span: Span, error: &CertError, name: &str, file: &Path) -> Diagnostic {
    let file = file.display();
    match error {
        CertError::NoCertificate => error_at(
            span,
            format!("unable to load certificate from file '{file}'."),
        )
        .label("it has no `BEGIN CERTIFICATE`")
        .help("the file must contain the certificate, its issuers and the private key in PEM format"),
        CertError::Pem(PemError::Encrypted) => {
            error_at(span, format!("'{file}': {error}")).label("nobody can type its passphrase").help(
                format!("decrypt it with `openssl pkey -in {file} -out {name}.key`, readable by its owner only"),
            )
        }
        CertError::Pem(PemError::OldKey(_)) => error_at(span, format!("'{file}': {error}"))
            .label("not supported")
            .help("create a key with `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256` and request a \
                certificate for it"),
        CertError::Mismatch => error_at(span, format!("{error} '{name}'."))
            .label("the key belongs to another certificate")
            .help(format!("compare `openssl pkey -in {file} -pubout` with `openssl x509 -in {file} -noout -pubkey`; \
                the server certificate must come first")),
        CertError::OcspWithoutIssuer => error_at(span, format!("'{file}' {error}."))
            .help(format!("put the issuer's certificate into '{name}.issuer', or remove the OCSP response")),
        CertError::NotIssuer | CertError::BadIssuer => error_at(span, format!("'{file}' {error}.")),
        error => error_at(span, format!("'{file}': {error}")),
    }
}
