//! Loads the files that lines with TLS name: trusted CAs, CRLs, client certificates for servers.
//! Each file is read once, and through the loader, so that a recording contains it.

use super::Args;
use crate::family::Loader;
use configuration::outside::Unreadable;
use language::source::Text;
use language::{ConfigWord, Diagnostic};
use model::codes;
use model::config::NamedContent;
use rustls::sign::CertifiedKey;
use std::collections::HashMap;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tls::authorities::{Authorities, DIRECTORY_EXTENSIONS, SYSTEM_BUNDLES};
use tls::certificate::Certificate;
use tls::certified::{keys_match, signing_key};
use tls::pem::Contents;
use tls::revocation::Revocations;

const FILE_BYTES_MAX: u64 = 64 << 20;

/// Contents of files that were read: a hundred servers may name the same file.
#[derive(Debug, Default)]
pub struct TlsFiles {
    authorities: HashMap<PathBuf, Arc<Authorities>>,
    revocations: HashMap<PathBuf, Arc<Revocations>>,
    /// The warning about an unsupported minimum version was reported.
    pub old_version_told: bool,
}

fn unusable(args: &Args<'_>, word: &ConfigWord, path: &Path, why: impl fmt::Display) -> Diagnostic {
    let message = format!("'{}': unable to load '{}'", args.keyword, path.display());
    Diagnostic::error(&codes::TLS_FILE, word.span, message).label(why.to_string())
}

fn resolve_path(loader: &Loader, word: &ConfigWord, base: Option<&PathBuf>) -> PathBuf {
    let named = Path::new(std::ffi::OsStr::from_bytes(&word.bytes));
    match base {
        Some(base) if named.is_relative() => base.join(named),
        _ => loader.path(word),
    }
}

/// Loads `ca-file` or `ca-verify-file`: a file, a directory, or `@system-ca`.
pub(crate) fn authorities(
    loader: &mut Loader,
    args: &Args<'_>,
    word: &ConfigWord,
) -> Result<NamedContent<Authorities>, Diagnostic> {
    let is_system = word.is("@system-ca");
    let path = if is_system {
        PathBuf::from("@system-ca")
    } else {
        resolve_path(loader, word, loader.config.global.tls.ca_base.as_ref())
    };
    let name: Box<str> = path.to_string_lossy().into();
    if let Some(known) = loader.tls.files.authorities.get(&path) {
        let it = Arc::clone(known);
        return Ok(NamedContent { name, content: it });
    }
    if let Some(it) = loader.config.certificates.authorities(&name) {
        return Ok(NamedContent { name, content: it });
    }
    let texts = if is_system {
        system(loader).ok_or_else(|| {
            let why = "the system's CA bundle was not found (package ca-certificates)";
            unusable(args, word, &path, why)
        })?
    } else {
        texts(loader, &path).map_err(|error| unusable(args, word, &path, error))?
    };
    let made = Authorities::from_texts(texts.iter().map(|text| &text[..]));
    let it = Arc::new(made.map_err(|why| unusable(args, word, &path, why))?);
    let kept = &mut loader.tls.files.authorities;
    kept.insert(path, Arc::clone(&it));
    Ok(NamedContent { name, content: it })
}

fn system(loader: &mut Loader) -> Option<Vec<Text>> {
    let mut found = SYSTEM_BUNDLES.iter().filter_map(|path| {
        loader
            .context
            .outside
            .read(Path::new(path), FILE_BYTES_MAX)
            .ok()
    });
    found.next().map(|text| vec![text])
}

fn texts(loader: &mut Loader, path: &Path) -> Result<Vec<Text>, Unreadable> {
    if !loader.context.outside.is_directory(path) {
        return Ok(vec![loader.context.outside.read(path, FILE_BYTES_MAX)?]);
    }
    let entries = loader.context.outside.entries(path)?;
    let is_meant = |name: &&std::ffi::OsString| {
        let bytes = name.as_bytes();
        let ends = |end: &&str| bytes.ends_with(end.as_bytes());
        !bytes.starts_with(b".") && DIRECTORY_EXTENSIONS.iter().any(ends)
    };
    let files = entries.iter().filter(is_meant);
    files
        .map(|name| {
            loader
                .context
                .outside
                .read(&path.join(name), FILE_BYTES_MAX)
        })
        .collect()
}

pub(crate) fn revocations(
    loader: &mut Loader,
    args: &Args<'_>,
    word: &ConfigWord,
) -> Result<NamedContent<Revocations>, Diagnostic> {
    let path = resolve_path(loader, word, loader.config.global.tls.ca_base.as_ref());
    let name: Box<str> = path.to_string_lossy().into();
    if let Some(known) = loader.tls.files.revocations.get(&path) {
        let it = Arc::clone(known);
        return Ok(NamedContent { name, content: it });
    }
    if let Some(it) = loader.config.certificates.revocations(&name) {
        return Ok(NamedContent { name, content: it });
    }
    let text = loader.context.outside.read(&path, FILE_BYTES_MAX);
    let text = text.map_err(|error| unusable(args, word, &path, error))?;
    let made = Revocations::from_pem(&text);
    let it = Arc::new(made.map_err(|why| unusable(args, word, &path, why))?);
    let kept = &mut loader.tls.files.revocations;
    kept.insert(path, Arc::clone(&it));
    Ok(NamedContent { name, content: it })
}

/// Loads the client certificate of a server (`crt`): a certificate with its chain, and the key in
/// the same file or in the file with the suffix `.key`. The key must match the certificate.
pub(crate) fn client_certificate(
    loader: &mut Loader,
    args: &Args<'_>,
    word: &ConfigWord,
) -> Result<NamedContent<CertifiedKey>, Diagnostic> {
    let path = resolve_path(loader, word, loader.config.global.tls.crt_base.as_ref());
    let name: Box<str> = path.to_string_lossy().into();
    if let Some(known) = loader.config.certificates.certificate(&name) {
        let it = Arc::clone(known.plain());
        return Ok(NamedContent { name, content: it });
    }
    let read = |loader: &mut Loader, path: &Path| {
        let secret = loader.context.outside.read_secret(path, FILE_BYTES_MAX);
        secret.map_err(|error| unusable(args, word, path, error))
    };
    let text = read(loader, &path)?;
    let contents = Contents::parse(text.bytes());
    let contents = contents.map_err(|why| unusable(args, word, &path, why))?;
    if contents.certificates.is_empty() {
        return Err(unusable(args, word, &path, "the file has no certificate"));
    }
    let key = match contents.key {
        Some(key) => key,
        None => {
            let mut beside = path.clone().into_os_string();
            beside.push(".key");
            let none = || {
                let why = format!("no private key in it or in '{}'", beside.display());
                unusable(args, word, &path, why)
            };
            let text = read(loader, Path::new(&beside)).map_err(|_| none())?;
            let contents = Contents::parse(text.bytes());
            let contents = contents.map_err(|why| unusable(args, word, Path::new(&beside), why))?;
            contents.key.ok_or_else(none)?
        }
    };
    let key = signing_key(&key).map_err(|why| unusable(args, word, &path, why))?;
    // Compares the keys here, because the check of rustls uses webpki, which cannot parse version 1
    // certificates.
    match contents
        .certificates
        .first()
        .map(|der| Certificate::parse(der))
    {
        Some(Some(leaf)) if keys_match(&leaf, &*key) => {}
        Some(Some(_)) => {
            let why = "the private key does not match the certificate";
            return Err(unusable(args, word, &path, why));
        }
        _ => {
            return Err(unusable(args, word, &path, "cannot read its certificate"));
        }
    }
    Ok(NamedContent {
        name,
        content: Arc::new(CertifiedKey::new(contents.certificates, key)),
    })
}
