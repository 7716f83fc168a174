//! Checks a whole `farm` section for errors that no single line shows, and reads and checks its
//! certificate and key files.

use super::section::{Bind, Farm, FarmSectionDraft};
use super::{codes, collections, entrance, gateway};
use crate::certificate;
use configuration::{Context, Exchange};
use language::section::duplicates;
use language::{Diagnostic, Span, Spanned};
use protocol::vitals::Service;
use std::ops::RangeInclusive;
use std::path::PathBuf;

const FILE_BYTES_MAX: u64 = 256 << 10;
const KEY_BYTES: RangeInclusive<usize> = 32..=1_024;

pub(super) fn wrong(
    draft: &FarmSectionDraft,
    context: &Context,
    exchange: &Exchange,
) -> Vec<Diagnostic> {
    // Counts an exported service as another node, because a virtual address that moves implies one.
    let has_others = !context.options.version.is_empty()
        || exchange.exports_of_kind(Service::KIND).next().is_some();
    let mut wrong = Vec::new();
    for farm in &draft.farms {
        wrong.extend(missing(farm));
        wrong.extend(hosts(farm));
        wrong.extend(circles(farm));
        wrong.extend(no_key(farm).filter(|_| has_others));
        wrong.extend(collections::wrong(farm));
        wrong.extend(entrance::incomplete(farm));
        wrong.extend(gateway::incomplete(farm));
        wrong.extend(farm.proxies.combination_errors(&codes::OF_PROXIES));
    }
    let farms = draft.farms.iter();
    let binds = farms.flat_map(|farm| farm.binds.iter().chain(&farm.gateway.web));
    let binds = binds.map(|bind| {
        let told = format!("a second line has the address {}", bind.address.value);
        (bind.address.value, bind.address.span, told)
    });
    wrong.extend(duplicates(&codes::TWICE, binds));
    wrong
}

fn missing(farm: &Farm) -> Vec<Diagnostic> {
    let helps = [
        (
            "bind",
            "add `bind ADDRESS:PORT crt FILE`, such as `bind :3389 crt /etc/evenkeel/desktop.pem`",
        ),
        (
            "host",
            "add a line `host NAME ADDRESS` for each session host",
        ),
    ];
    // Skips lines that are present but refused, whose own errors were reported already.
    let missing = helps
        .into_iter()
        .filter(|(keyword, _)| !farm.given.has(keyword));
    let told = |(keyword, help)| {
        let told = format!("farm section '{}' has no '{keyword}' line", farm.name.value);
        Diagnostic::error(&codes::MISSING, farm.name.span, told).help(help)
    };
    missing.map(told).collect()
}

fn hosts(farm: &Farm) -> Vec<Diagnostic> {
    let addresses = farm.hosts.iter().map(|host| {
        let told = format!("a second host has the address {}", host.host.address);
        (host.host.address, host.address, told)
    });
    duplicates(&codes::TWICE, addresses)
}

/// Returns an error for each host whose address belongs to the farm itself: connections would go in
/// a circle.
fn circles(farm: &Farm) -> Vec<Diagnostic> {
    let told = farm.hosts.iter().filter_map(|host| {
        let address = host.host.address;
        let is_it = |bind: &&Bind| {
            let listens = bind.address.value;
            let is_here = listens.ip().is_unspecified() && address.ip().is_loopback();
            listens == address || is_here && listens.port() == address.port()
        };
        let bind = farm.binds.iter().find(is_it)?;
        let told = format!(
            "host '{}' is the farm itself: connections would loop",
            host.name.value
        );
        let told = Diagnostic::error(&codes::VALUE, host.address, told);
        Some(told.with_label(bind.address.span, "the farm listens here"))
    });
    told.collect()
}

/// Returns an error for a missing key on a cluster, where another node may have to read tokens that
/// this one has signed.
fn no_key(farm: &Farm) -> Option<Diagnostic> {
    if farm.given.has("token-key") {
        return None;
    }
    let told = format!("farm section '{}' has no 'token-key' line", farm.name.value);
    let told = Diagnostic::error(&codes::NO_KEY, farm.name.span, told);
    Some(told.help(
        "create a key with `(umask 077; head -c 32 /dev/urandom >/etc/evenkeel/farm.key)`, and add \
         `token-key /etc/evenkeel/farm.key`",
    ))
}

fn unreadable(keyword: &str, file: &Spanned<PathBuf>, why: &str) -> Diagnostic {
    let told = format!("'{keyword}': cannot use '{}': {why}", file.value.display());
    Diagnostic::error(&codes::CERTIFICATE, file.span, told)
}

pub(super) fn read(
    keyword: &str,
    file: &Spanned<PathBuf>,
    context: &mut Context,
) -> Result<Vec<u8>, Diagnostic> {
    let secret = context.outside.read_secret(&file.value, FILE_BYTES_MAX);
    let secret = secret.map_err(|error| unreadable(keyword, file, &error.to_string()))?;
    Ok(secret.bytes().to_vec())
}

pub(super) fn name(farm: &Farm) -> Option<(&str, Span)> {
    let name = farm.fqdn.as_ref()?;
    Some((&name.value, name.span))
}

/// Reads the certificate of an address and reports its errors, also if it is not valid for the
/// name.
pub(super) fn certificate_of(
    name: Option<(&str, Span)>,
    bind: &Bind,
    context: &mut Context,
) -> Option<Vec<u8>> {
    let pem =
        read("crt", &bind.file, context).and_then(|pem| match access::certificate::read(&pem) {
            Ok(_) => Ok(pem),
            Err(why) => Err(unreadable("crt", &bind.file, &why)),
        });
    let pem = match pem {
        Ok(pem) => pem,
        Err(told) => {
            context.report(told);
            return None;
        }
    };
    if let Some((name, span)) = name
        && !certificate::is_of(&pem, name)
    {
        let told = format!("the certificate is not valid for '{name}'");
        let told = Diagnostic::warning(&codes::OTHER_NAME, bind.file.span, told);
        let told = told.label("clients show a warning, or refuse");
        context.report(told.with_label(span, "the name that clients have"));
    }
    if let Some(told) = certificate::untimely(&pem, tls::certified::now_s()) {
        let told = Diagnostic::warning(&codes::CERTIFICATE_TIME, bind.file.span, told);
        let told = told.label("clients show a warning, or refuse");
        context.report(told.help("renew it, or check the clock of this machine"));
    }
    Some(pem)
}

pub(super) fn key(file: &Spanned<PathBuf>, context: &mut Context) -> Option<Vec<u8>> {
    let key = read("token-key", file, context).and_then(|key| {
        if KEY_BYTES.contains(&key.len()) {
            Ok(key)
        } else {
            let why = match key.len() {
                0 => "the file is empty".to_owned(),
                bytes => format!("it has {bytes} bytes, and not 32 to 1024"),
            };
            Err(unreadable("token-key", file, &why))
        }
    });
    let path = file.value.display();
    let help = format!("create a missing key with `(umask 077; head -c 32 /dev/urandom >{path})`");
    key.map_err(|told| context.report(told.help(help))).ok()
}
