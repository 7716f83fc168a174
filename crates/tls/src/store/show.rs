//! Prints the content of the certificate store for operators (`show ssl …`), without keys.

use super::command::{StoreError, StoreResponse};
use super::{Store, StoreState, Transaction};
use crate::authorities::Authorities;
use crate::certified::{Certified, Parts};
use crate::describe::{self, hex};
use crate::ocsp_text;
use crate::revocation::{Revocations, Revoked};
use std::collections::BTreeMap;
use std::fmt::Write;

fn names<T, N>(
    transaction: Option<&Transaction<N>>,
    all: &BTreeMap<Box<str>, T>,
    show: impl Fn(&T) -> String,
    show_new: impl Fn(&N) -> String,
) -> String {
    let mut out = String::new();
    if let Some(one) = transaction {
        let _ = writeln!(out, "# transaction\n*{}{}", one.name, show_new(&one.new));
    }
    out.push_str("# filename\n");
    for (name, found) in all {
        let _ = writeln!(out, "{name}{}", show(found));
    }
    out
}

fn head(name: &str, status: &str) -> String {
    format!("Filename: {name}\nStatus: {status}\n")
}

/// Splits a name from the index of an entry, counted from 1, if there is one.
fn indexed<'a>(asked: &'a str, kind: &str) -> Result<(&'a str, Option<usize>), StoreError> {
    let Some((name, index)) = asked.rsplit_once(':') else {
        return Ok((asked, None));
    };
    match index.parse() {
        Ok(index) if index > 0 => Ok((name, Some(index))),
        _ => Err(StoreError(format!(
            "wrong {kind} index after colons in '{asked}'!"
        ))),
    }
}

impl Store {
    pub fn show_certificates(&self) -> String {
        let inner = self.inner();
        let nothing = |_: &_| String::new();
        names(
            inner.certificate.as_ref(),
            &inner.stock.certificates,
            nothing,
            |_| String::new(),
        )
    }

    /// Command `show ssl cert <name>`, `<name>.ocsp`, `*<name>`.
    ///
    /// # Errors
    /// The store has no such certificate, or no such transaction.
    pub fn show_certificate(&self, asked: &str) -> StoreResponse {
        let mut inner = self.inner();
        let missing = || {
            let words = "Can't display the certificate: Not found or the certificate is a bundle!";
            Err(StoreError(words.to_owned()))
        };
        if let Some(name) = asked.strip_prefix('*') {
            let Some(under_way) = &inner.certificate else {
                return missing();
            };
            // Makes the certificate only if its parts are complete and belong together.
            let whole = || Some(under_way.new.clone().certify().ok()?.0);
            if *under_way.name == *name {
                let shown = parts(&under_way.new, whole().as_ref());
                return Ok(head(asked, "Unused") + &shown);
            }
            return match name.strip_suffix(".ocsp") {
                Some(stem) if *under_way.name == *stem => Ok(ocsp(whole().as_ref())),
                _ => missing(),
            };
        }
        let all = &inner.stock.certificates;
        if !all.contains_key(asked)
            && let Some(stem) = asked.strip_suffix(".ocsp")
            && let Some(found) = all.get(stem)
        {
            return Ok(ocsp(found.as_deref()));
        }
        let Some(found) = all.get(asked).cloned() else {
            return missing();
        };
        let Some(found) = found else {
            return Ok(head(asked, "Empty") + "OCSP Response Key: \n");
        };
        let status = match inner.certificate_uses(asked) {
            0 => "Unused",
            _ => "Used",
        };
        Ok(head(asked, status) + &parts(&found.parts, Some(&found)))
    }

    pub fn show_authorities(&self) -> String {
        let inner = self.inner();
        let count = |all: &Authorities| format!(" - {} certificate(s)", all.len());
        names(
            inner.authorities.as_ref(),
            &inner.stock.authorities,
            |found| match found {
                Some(all) => count(all),
                None => " - 0 certificate(s)".to_owned(),
            },
            |new| count(new),
        )
    }

    /// Command `show ssl ca-file <name>[:<index>]`, `*<name>`.
    ///
    /// # Errors
    /// The index is not a positive number. The store has no such file, or no such transaction.
    pub fn show_authority(&self, asked: &str) -> StoreResponse {
        let (name, index) = indexed(asked, "CA")?;
        let (found, status) = self.file(
            name,
            |inner| &inner.stock.authorities,
            |inner| &inner.authorities,
            "CA file",
        )?;
        // Writes the head of the file only if there is a certificate to show.
        let mut out = String::new();
        for (at, authority) in found.iter().flat_map(|all| all.iter()).enumerate() {
            if index.is_none_or(|index| index == at + 1) {
                if out.is_empty() {
                    out = head(name, status);
                }
                let _ = writeln!(out, " \nCertificate #{}:", at + 1);
                describe::certificate(&authority.der, &mut out);
            }
        }
        Ok(out)
    }

    pub fn show_revocations(&self) -> String {
        let inner = self.inner();
        let nothing = |_: &_| String::new();
        names(
            inner.revocations.as_ref(),
            &inner.stock.revocations,
            nothing,
            |_| String::new(),
        )
    }

    /// Command `show ssl crl-file <name>[:<index>]`, `*<name>`.
    ///
    /// # Errors
    /// The index is not a positive number. The store has no such file, or no such transaction.
    pub fn show_revocation(&self, asked: &str) -> StoreResponse {
        let (name, index) = indexed(asked, "CRL")?;
        let (found, status) = self.file(
            name,
            |inner| &inner.stock.revocations,
            |inner| &inner.revocations,
            "CRL file",
        )?;
        let status = found.as_ref().map_or("Empty", |_| status);
        let mut out = head(name, status);
        if let Some(found) = found {
            revocations(&found, index, &mut out);
        }
        Ok(out)
    }

    fn file<T>(
        &self,
        name: &str,
        all: impl Fn(&StoreState) -> &BTreeMap<Box<str>, Option<std::sync::Arc<T>>>,
        transaction: impl Fn(&StoreState) -> &Option<Transaction<std::sync::Arc<T>>>,
        kind: &str,
    ) -> Result<(Option<std::sync::Arc<T>>, &'static str), StoreError> {
        let mut inner = self.inner();
        let missing = StoreError(format!("Can't display the {kind} : Not found!"));
        if let Some(plain) = name.strip_prefix('*') {
            let under_way = transaction(&inner)
                .as_ref()
                .filter(|one| *one.name == *plain);
            let found = under_way.map(|one| one.new.clone());
            return found.map(|found| (Some(found), "Unused")).ok_or(missing);
        }
        let Some(found) = all(&inner).get(name).cloned() else {
            return Err(missing);
        };
        let used = inner.uses_file(name);
        Ok((found, if used { "Used" } else { "Unused" }))
    }

    pub fn show_lists(&self) -> String {
        let inner = self.inner();
        let names = inner.stock.lists.keys();
        names.map(|name| format!("{name}\n")).collect()
    }

    /// Command `show ssl crt-list [-n] <name>`.
    ///
    /// # Errors
    /// The store has no such list.
    pub fn show_list(&self, name: &str, numbered: bool) -> StoreResponse {
        let inner = self.inner();
        let name = super::lists::list_name(name);
        let Some(list) = inner.stock.lists.get(name) else {
            return Err(StoreError("didn't find the specified filename".to_owned()));
        };
        let mut out = format!("# {name}\n");
        for entry in &list.entries {
            let _ = if numbered {
                writeln!(out, "{}", entry.numbered())
            } else {
                writeln!(out, "{entry}")
            };
        }
        Ok(out)
    }
}

fn parts(parts: &Parts, found: Option<&Certified>) -> String {
    let mut out = String::new();
    let mut chain = parts.chain.iter();
    if let Some(leaf) = chain.next() {
        describe::certificate(leaf, &mut out);
    }
    for issuer in chain {
        if let Some(info) = crate::certificate::Certificate::parse(issuer) {
            let _ = writeln!(out, "Chain Subject: {}", describe::name(&info.subject));
            let _ = writeln!(out, "Chain Issuer: {}", describe::name(&info.issuer));
        }
    }
    let id = found.filter(|found| found.ocsp().is_some());
    let id = id.and_then(|found| found.ocsp_id.as_deref());
    let _ = writeln!(
        out,
        "OCSP Response Key: {}",
        hex(id.unwrap_or_default(), false)
    );
    out
}

fn ocsp(found: Option<&Certified>) -> String {
    let response = found.and_then(Certified::ocsp);
    response.map(ocsp_text::response).unwrap_or_default()
}

fn revocations(found: &Revocations, index: Option<usize>, out: &mut String) {
    for (at, list) in found.iter().enumerate() {
        if index.is_none_or(|index| index == at + 1) {
            let _ = writeln!(out, " \nCertificate Revocation List #{}:", at + 1);
            revoked(list, out);
        }
    }
}

fn revoked(list: &Revoked, out: &mut String) {
    let text = list.text();
    let _ = writeln!(out, "Version {}", text.version);
    let _ = writeln!(
        out,
        "Signature Algorithm: {}",
        describe::signature(&list.signed.algorithm)
    );
    let _ = writeln!(out, "Issuer: {}", describe::name(&list.issuer));
    let _ = writeln!(out, "Last Update: {}", describe::time(list.this_update_s));
    if let Some(next) = list.next_update_s {
        let _ = writeln!(out, "Next Update: {}", describe::time(next));
    }
    let _ = if list.is_empty() {
        writeln!(out, "No Revoked Certificates.")
    } else {
        writeln!(out, "Revoked Certificates:")
    };
    for (serial, at_s) in text.revoked {
        let _ = writeln!(out, "    Serial Number: {}", describe::serial(serial));
        let _ = writeln!(out, "        Revocation Date: {}", describe::time(at_s));
    }
}
