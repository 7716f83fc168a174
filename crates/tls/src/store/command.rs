//! Executes the commands that change the certificate store (`new`, `set`, `commit`, `abort`,
//! `del ssl …`), with HAProxy's response texts. The kinds of files are named as in the commands:
//! `cert`, `ca-file`, `crl-file`; the last two share their names.

use super::{Dependent, Store, StoreState, Transaction};
use crate::authorities::Authorities;
use crate::certificate::Certificate;
use crate::certified::{CertError, Certified, Parts, signing_key};
use crate::crt_list::Entry;
use crate::ocsp;
use crate::pem::Contents;
use crate::revocation::Revocations;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Maximum number of certificates, and of lines of a list, that operators may add.
const ENTRIES_MAX: usize = 1_000_000;

/// Reason for which a command was refused, for the operator. Nothing was changed, unless the
/// function states otherwise.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub String);

/// Response to the operator. Of each kind, the store has at most one change in preparation (a
/// transaction), which is applied only if all lines that use the file accept it
/// ([`Dependent::prepare`]).
pub type StoreResponse = Result<String, StoreError>;

pub(super) fn refuse<T>(words: impl Into<String>) -> Result<T, StoreError> {
    Err(StoreError(words.into()))
}

fn other_transaction(name: &str, asked: &str, verb: &str) -> String {
    format!("The ongoing transaction is about '{name}' but you are trying to {verb} '{asked}'")
}

/// Part of a certificate that the extension of a file name stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum CertificatePart {
    Pem,
    Key,
    Ocsp,
    Issuer,
    Sctl,
}

/// Returns the certificate that a name denotes, and the part of it.
pub(super) fn part<'n>(name: &'n str, inner: &'n StoreState) -> (&'n str, CertificatePart) {
    const ENDINGS: &[(&str, CertificatePart)] = &[
        (".key", CertificatePart::Key),
        (".ocsp", CertificatePart::Ocsp),
        (".issuer", CertificatePart::Issuer),
        (".sctl", CertificatePart::Sctl),
    ];
    let known = |name: &str| inner.stock.certificates.contains_key(name);
    if known(name) {
        return (name, CertificatePart::Pem);
    }
    let endings = ENDINGS.iter();
    let cut = endings.filter_map(|(ending, part)| Some((name.strip_suffix(ending)?, *part)));
    let found = cut.clone().find(|(stem, _)| known(stem));
    // Looks for x.crt, too, because with `ssl-load-extra-del-ext` its parts are x.key, x.ocsp and
    // so on.
    let beside = || {
        cut.clone().find_map(|(stem, part)| {
            let with_ending = format!("{stem}.crt");
            let all = &inner.stock.certificates;
            let (name, _) = all.get_key_value(with_ending.as_str())?;
            Some((&**name, part))
        })
    };
    found
        .or_else(beside)
        .unwrap_or((name, CertificatePart::Pem))
}

pub(super) fn decoded(payload: &[u8]) -> Option<Vec<u8>> {
    let bytes = payload.iter().copied();
    let text: Vec<u8> = bytes.filter(|b| !b.is_ascii_whitespace()).collect();
    let der = STANDARD.decode(text).ok()?;
    (!der.is_empty() && der.len() <= ocsp::BYTES_MAX).then_some(der)
}

fn words_of(error: &CertError, name: &str) -> String {
    match error {
        CertError::Mismatch => format!("{error} '{name}'."),
        CertError::Pem(_) | CertError::NoCertificate | CertError::BadCertificate(_) => {
            format!("unable to load certificate from file '{name}'.")
        }
        CertError::NoKey | CertError::BadKey(_) => {
            format!("unable to load private key from file '{name}'.")
        }
        CertError::NotIssuer | CertError::BadIssuer => {
            format!("'{name}' cannot be read or parsed'.")
        }
        CertError::OcspWithoutIssuer => format!("'{name}.ocsp' {error}."),
    }
}

impl Store {
    /// Command `new ssl cert <name>`.
    ///
    /// # Errors
    /// A certificate of this name exists, or the store is full.
    pub fn new_certificate(&self, name: &str) -> StoreResponse {
        let mut inner = self.inner();
        let all = &mut inner.stock.certificates;
        if all.contains_key(name) {
            return refuse(format!("Certificate '{name}' already exists!"));
        }
        check_room(all.len())?;
        all.insert(name.into(), None);
        Ok(format!("New empty certificate store '{name}'!\n"))
    }

    /// `set ssl cert <name> <payload>`: sets the certificate with its key, or the part that the
    /// extension of the name denotes.
    ///
    /// # Errors
    /// The transaction is about another certificate. The store has no such certificate. The payload
    /// is malformed, or its kind is not supported.
    pub fn set_certificate(&self, asked: &str, payload: &[u8]) -> StoreResponse {
        let mut inner = self.inner();
        let (name, part) = part(asked, &inner);
        let name: Box<str> = name.into();
        let failed = |why: &str| refuse(format!("{why}\nCan't update {asked}!"));
        if let Some(under_way) = &inner.certificate
            && under_way.name != name
        {
            return failed(&other_transaction(&under_way.name, &name, "set"));
        }
        let Some(current) = inner.stock.certificates.get(&name) else {
            return failed(
                "Can't replace a certificate which is not referenced by the configuration!",
            );
        };
        let (mut parts, verb) = match &inner.certificate {
            Some(under_way) => (under_way.new.clone(), "updated"),
            None => {
                let parts = current.as_ref().map(|current| current.parts());
                (parts.unwrap_or_default(), "created")
            }
        };
        if let Err(why) = take_part(&mut parts, part, payload, &name) {
            return failed(&format!("{why}Can't load the payload"));
        }
        let told = format!("Transaction {verb} for certificate {name}!\n");
        inner.certificate = Some(Transaction { name, new: parts });
        Ok(told)
    }

    /// Command `commit ssl cert <name>`.
    ///
    /// # Errors
    /// No transaction is about this certificate. The certificate or the key is missing, or the
    /// parts do not belong together. A user of the certificate cannot be prepared.
    pub fn commit_certificate(&self, name: &str) -> StoreResponse {
        let mut inner = self.inner();
        let failed = |why: &str| refuse(format!("{why}\nCan't commit {name}!"));
        let Some(under_way) = &inner.certificate else {
            return failed("No ongoing transaction! !");
        };
        if *under_way.name != *name {
            return failed(&other_transaction(&under_way.name, name, "set"));
        }
        let parts = under_way.new.clone();
        if parts.chain.is_empty() || parts.key.is_none() {
            return failed(
                "The transaction must contain at least a certificate and a private key!",
            );
        }
        let (certified, warning) = match parts.certify() {
            Ok(made) => made,
            Err(error) => return failed(&words_of(&error, name)),
        };
        let count = match inner.replace_certificate(name, certified) {
            Ok(count) => count,
            Err(why) => return failed(&why),
        };
        inner.certificate = None;
        let warning = warning.map_or_else(String::new, |why| {
            format!("{why}. Content will be ignored.\n")
        });
        Ok(format!(
            "{warning}Committing {name}{}\nSuccess!\n",
            ".".repeat(count)
        ))
    }

    /// Command `abort ssl cert <name>`.
    ///
    /// # Errors
    /// No transaction is about this certificate.
    pub fn abort_certificate(&self, name: &str) -> StoreResponse {
        abort(&mut self.inner().certificate, name)
    }

    /// Command `del ssl cert <name>`.
    ///
    /// # Errors
    /// The store has no such certificate, or it is in use.
    pub fn delete_certificate(&self, name: &str) -> StoreResponse {
        let mut inner = self.inner();
        let failed = |why: String| refuse(format!("Can't remove the certificate: {why}\n\n"));
        if !inner.stock.certificates.contains_key(name) {
            return failed(format!("certificate '{name}' doesn't exist!"));
        }
        if inner.certificate_uses(name) > 0 {
            return failed(format!("certificate '{name}' in use, can't be deleted!"));
        }
        inner.stock.certificates.remove(name);
        Ok(format!("Certificate '{name}' deleted!\n"))
    }

    /// Command `new ssl ca-file <name>`.
    ///
    /// # Errors
    /// A CA file or CRL file of this name exists, or the store is full.
    pub fn new_authorities(&self, name: &str) -> StoreResponse {
        let mut inner = self.inner();
        let taken = inner.stock.revocations.contains_key(name);
        create(&mut inner.stock.authorities, name, taken, "CA")
    }

    /// Command `set ssl ca-file <name> <payload>`.
    ///
    /// # Errors
    /// The transaction is about another CA file. The store has no such file. The payload is not a
    /// set of CA certificates.
    pub fn set_authorities(&self, name: &str, payload: &[u8]) -> StoreResponse {
        let mut inner = self.inner();
        let StoreState {
            stock, authorities, ..
        } = &mut *inner;
        let new = Authorities::from_pem(payload).ok();
        set(&stock.authorities, authorities, name, new, "CA")
    }

    /// Command `commit ssl ca-file <name>`.
    ///
    /// # Errors
    /// No transaction is about this file. A user of the file cannot be prepared.
    pub fn commit_authorities(&self, name: &str) -> StoreResponse {
        let mut inner = self.inner();
        let new = pending_transaction(&inner.authorities, name)?;
        let old = inner.stock.authorities.insert(name.into(), Some(new));
        let committed = inner.published(name);
        if committed.is_err() {
            restore(&mut inner.stock.authorities, name, old);
        } else {
            inner.authorities = None;
        }
        committed
    }

    /// Command `abort ssl ca-file <name>`.
    ///
    /// # Errors
    /// No transaction is about this file.
    pub fn abort_authorities(&self, name: &str) -> StoreResponse {
        abort(&mut self.inner().authorities, name)
    }

    /// Command `del ssl ca-file <name>`.
    ///
    /// # Errors
    /// The store has no such file, or it is in use.
    pub fn delete_authorities(&self, name: &str) -> StoreResponse {
        let mut inner = self.inner();
        let used = inner.uses_file(name);
        remove(&mut inner.stock.authorities, name, used, "CA")
    }

    /// Command `new ssl crl-file <name>`.
    ///
    /// # Errors
    /// A CA file or CRL file of this name exists, or the store is full.
    pub fn new_revocations(&self, name: &str) -> StoreResponse {
        let mut inner = self.inner();
        let taken = inner.stock.authorities.contains_key(name);
        create(&mut inner.stock.revocations, name, taken, "CRL")
    }

    /// Command `set ssl crl-file <name> <payload>`.
    ///
    /// # Errors
    /// The transaction is about another CRL file. The store has no such file. The payload is not a
    /// set of CRLs.
    pub fn set_revocations(&self, name: &str, payload: &[u8]) -> StoreResponse {
        let mut inner = self.inner();
        let StoreState {
            stock, revocations, ..
        } = &mut *inner;
        let new = Revocations::from_pem(payload).ok();
        set(&stock.revocations, revocations, name, new, "CRL")
    }

    /// Command `commit ssl crl-file <name>`.
    ///
    /// # Errors
    /// No transaction is about this file. A user of the file cannot be prepared.
    pub fn commit_revocations(&self, name: &str) -> StoreResponse {
        let mut inner = self.inner();
        let new = pending_transaction(&inner.revocations, name)?;
        let old = inner.stock.revocations.insert(name.into(), Some(new));
        let committed = inner.published(name);
        if committed.is_err() {
            restore(&mut inner.stock.revocations, name, old);
        } else {
            inner.revocations = None;
        }
        committed
    }

    /// Command `abort ssl crl-file <name>`.
    ///
    /// # Errors
    /// No transaction is about this file.
    pub fn abort_revocations(&self, name: &str) -> StoreResponse {
        abort(&mut self.inner().revocations, name)
    }

    /// Command `del ssl crl-file <name>`.
    ///
    /// # Errors
    /// The name is that of a CA file. The store has no such CRL file, or it is in use.
    pub fn delete_revocations(&self, name: &str) -> StoreResponse {
        let mut inner = self.inner();
        if inner.stock.authorities.contains_key(name) {
            return refuse(
                "Can't remove the CRL file: 'del ssl crl-file' does not work on CA files!\n\n",
            );
        }
        let used = inner.uses_file(name);
        remove(&mut inner.stock.revocations, name, used, "CRL")
    }
}

pub(super) fn check_room(entries: usize) -> Result<(), StoreError> {
    if entries < ENTRIES_MAX {
        Ok(())
    } else {
        refuse(format!("There are {ENTRIES_MAX} already!"))
    }
}

/// Adds a payload from an operator as a part of a certificate. The caller's message follows the
/// text of the error without a separator.
fn take_part(
    parts: &mut Parts,
    part: CertificatePart,
    payload: &[u8],
    name: &str,
) -> Result<(), String> {
    let cert_error = |error: CertError| words_of(&error, name) + "\n";
    match part {
        CertificatePart::Pem => {
            // Drops the key and the OCSP response of the previous certificate, which do not fit a
            // new one. Keeps the issuer, because it is used only if it matches.
            let mut new = Parts {
                issuer: parts.issuer.clone(),
                ..Parts::default()
            };
            new.take(payload).map_err(cert_error)?;
            let unread = |der: &_| Certificate::parse(der).is_none();
            if new.chain.is_empty() || new.chain.iter().any(|der| unread(der)) {
                return Err(cert_error(CertError::NoCertificate));
            }
            *parts = new;
            Ok(())
        }
        CertificatePart::Key => {
            let found = Contents::parse(payload).map_err(|_| cert_error(CertError::NoKey))?;
            let key = found.key.ok_or_else(|| cert_error(CertError::NoKey))?;
            parts.key = Some(signing_key(&key).map_err(cert_error)?);
            Ok(())
        }
        // Leaves the match of the issuer to the commit, because the certificate may be set later.
        CertificatePart::Issuer => {
            let bad = || cert_error(CertError::BadIssuer);
            let found = Contents::parse(payload).map_err(|_| bad())?;
            let issuer = found.certificates.into_iter().next().ok_or_else(bad)?;
            Certificate::parse(&issuer).ok_or_else(bad)?;
            parts.issuer = Some(issuer);
            Ok(())
        }
        CertificatePart::Ocsp => match decoded(payload) {
            Some(der) => {
                parts.ocsp = Some(der);
                Ok(())
            }
            None => Err("Error reading OCSP response in base64 format\n".to_owned()),
        },
        CertificatePart::Sctl => {
            Err("signed certificate timestamps are not sent here\n".to_owned())
        }
    }
}

fn abort<T>(transaction: &mut Option<Transaction<T>>, name: &str) -> StoreResponse {
    match transaction {
        None => refuse("No ongoing transaction!"),
        Some(under_way) if *under_way.name != *name => refuse(other_transaction(
            &under_way.name,
            name,
            "abort a transaction for",
        )),
        Some(_) => {
            *transaction = None;
            Ok(format!("Transaction aborted for certificate '{name}'!\n"))
        }
    }
}

/// Creates an empty file. `taken`: a file of the other kind already has this name.
fn create<T>(
    all: &mut BTreeMap<Box<str>, Option<T>>,
    name: &str,
    taken: bool,
    kind: &str,
) -> StoreResponse {
    if taken || all.contains_key(name) {
        return refuse(format!("{kind} file '{name}' already exists!"));
    }
    check_room(all.len())?;
    all.insert(name.into(), None);
    Ok(format!("New {kind} file created '{name}'!\n"))
}

fn set<T>(
    all: &BTreeMap<Box<str>, Option<Arc<T>>>,
    transaction: &mut Option<Transaction<Arc<T>>>,
    name: &str,
    new: Option<T>,
    kind: &str,
) -> StoreResponse {
    let failed = |why: &str| refuse(format!("{why}\nCan't update {name}!"));
    if let Some(under_way) = &transaction
        && *under_way.name != *name
    {
        return failed(&other_transaction(&under_way.name, name, "set"));
    }
    if !all.contains_key(name) {
        return failed(&format!(
            "Can't replace a {kind} file which is not referenced by the configuration!"
        ));
    }
    let Some(new) = new else {
        return failed("Invalid payload");
    };
    let verb = match transaction {
        Some(_) => "updated",
        None => "created",
    };
    *transaction = Some(Transaction {
        name: name.into(),
        new: Arc::new(new),
    });
    Ok(format!("transaction {verb} for {kind} {name}!\n"))
}

fn pending_transaction<T>(
    transaction: &Option<Transaction<Arc<T>>>,
    name: &str,
) -> Result<Arc<T>, StoreError> {
    match transaction {
        None => refuse(format!("No ongoing transaction! !\nCan't commit {name}!")),
        Some(one) if *one.name != *name => refuse(format!(
            "{}\nCan't commit {name}!",
            other_transaction(&one.name, name, "set")
        )),
        Some(one) => Ok(Arc::clone(&one.new)),
    }
}

fn restore<T>(all: &mut BTreeMap<Box<str>, Option<T>>, name: &str, old: Option<Option<T>>) {
    match old {
        Some(old) => all.insert(name.into(), old),
        None => all.remove(name),
    };
}

fn remove<T>(
    all: &mut BTreeMap<Box<str>, Option<T>>,
    name: &str,
    used: bool,
    kind: &str,
) -> StoreResponse {
    let failed = |why: &str| {
        refuse(format!(
            "Can't remove the {kind} file: {kind} file '{name}' {why}\n\n"
        ))
    };
    if !all.contains_key(name) {
        return failed("doesn't exist!");
    }
    if used {
        return failed("in use, can't be deleted!");
    }
    all.remove(name);
    Ok(format!("{kind} file '{name}' deleted!\n"))
}

impl StoreState {
    /// Replaces the certificate with this name. Returns the number of its uses.
    pub(super) fn replace_certificate(
        &mut self,
        name: &str,
        new: Certified,
    ) -> Result<usize, String> {
        self.replace_certificates(vec![(name.into(), new)])
    }

    /// Replaces all these certificates, or none. Returns the number of their uses.
    pub(super) fn replace_certificates(
        &mut self,
        new: Vec<(Box<str>, Certified)>,
    ) -> Result<usize, String> {
        let mut replaced = Vec::with_capacity(new.len());
        for (name, certified) in new {
            let certified = Some(Arc::new(certified));
            let old = self.stock.certificates.insert(name.clone(), certified);
            replaced.push((name, old));
        }
        let uses = |one: &dyn Dependent| {
            let uses = replaced.iter().map(|(name, _)| one.certificate_uses(name));
            Some(uses.sum()).filter(|uses| *uses > 0)
        };
        let published = self.publish(uses);
        if published.is_err() {
            for (name, old) in replaced {
                restore(&mut self.stock.certificates, &name, old);
            }
        }
        published
    }

    fn published(&mut self, name: &str) -> StoreResponse {
        let lists = self.lists_with_file(name);
        // Updates a line, too, that does not present the certificate at the moment.
        let uses = |one: &dyn Dependent| {
            let listed = lists.iter().any(|list| one.list_uses(list) > 0);
            (one.names_file(name) || listed).then(|| one.file_uses(name))
        };
        match self.publish(uses) {
            Ok(count) => Ok(format!(
                "Committing {name}{}\nSuccess!\n",
                ".".repeat(count)
            )),
            Err(why) => refuse(format!("{why}\nCan't commit {name}!")),
        }
    }

    fn lists_with_file(&self, name: &str) -> Vec<Box<str>> {
        let names = |entry: &Entry| {
            let of = &entry.options;
            let named = [&of.ca_file, &of.ca_verify_file, &of.crl_file];
            named.into_iter().flatten().any(|named| **named == *name)
        };
        let lists = self.stock.lists.iter();
        let lists = lists.filter(|(_, list)| list.entries.iter().any(names));
        lists.map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn certificate_uses(&mut self, name: &str) -> usize {
        let lists = self.stock.lists.values();
        let entries = lists.flat_map(|list| &list.entries);
        let listed = entries.filter(|entry| *entry.certificate == *name).count();
        let dependents = self.dependents();
        let shown = dependents.iter().map(|one| one.certificate_uses(name));
        listed + shown.sum::<usize>()
    }

    pub(super) fn uses_file(&mut self, name: &str) -> bool {
        !self.lists_with_file(name).is_empty()
            || self.dependents().iter().any(|one| one.names_file(name))
    }
}
