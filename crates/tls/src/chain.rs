//! Verifies certificate chains by OpenSSL's rules, in its order and with its error numbers. So the
//! ignored errors (`ca-ignore-err`) and the values of rules and logs (`ssl_c_err`) equal those of
//! HAProxy. This code decides about chains that webpki has refused, and about the rules that webpki
//! does not check: see [`super::verify`].

use super::authorities::Authorities;
use super::certificate::{
    CRL_SIGN, Certificate, DIGITAL_SIGNATURE, KEY_AGREEMENT, KEY_ENCIPHERMENT, Signature,
};
use super::revocation::Revocations;

/// Maximum length of a chain. Real ones have fewer than six certificates.
pub(super) const DEPTH_MAX: usize = 32;

/// Maximum number of CAs or CRLs with the same name that are tried. Each costs the verification of
/// a signature.
pub(super) const SAME_NAME_MAX: usize = 8;

pub mod code {
    #![allow(
        missing_docs,
        reason = "OpenSSL's own names; their words are in `ignore`"
    )]
    pub const UNSPECIFIED: u8 = 1;
    pub const UNABLE_TO_GET_ISSUER_CERT: u8 = 2;
    pub const UNABLE_TO_GET_CRL: u8 = 3;
    pub const CERT_SIGNATURE_FAILURE: u8 = 7;
    pub const CRL_SIGNATURE_FAILURE: u8 = 8;
    pub const CERT_NOT_YET_VALID: u8 = 9;
    pub const CERT_HAS_EXPIRED: u8 = 10;
    pub const CRL_NOT_YET_VALID: u8 = 11;
    pub const CRL_HAS_EXPIRED: u8 = 12;
    pub const DEPTH_ZERO_SELF_SIGNED_CERT: u8 = 18;
    pub const SELF_SIGNED_CERT_IN_CHAIN: u8 = 19;
    pub const UNABLE_TO_GET_ISSUER_CERT_LOCALLY: u8 = 20;
    pub const UNABLE_TO_VERIFY_LEAF_SIGNATURE: u8 = 21;
    pub const CERT_CHAIN_TOO_LONG: u8 = 22;
    pub const CERT_REVOKED: u8 = 23;
    pub const PATH_LENGTH_EXCEEDED: u8 = 25;
    pub const INVALID_PURPOSE: u8 = 26;
    pub const UNHANDLED_CRITICAL_EXTENSION: u8 = 34;
    pub const KEYUSAGE_NO_CRL_SIGN: u8 = 35;
    pub const UNHANDLED_CRITICAL_CRL_EXTENSION: u8 = 36;
    pub const PERMITTED_VIOLATION: u8 = 47;
    pub const HOSTNAME_MISMATCH: u8 = 62;
    pub const CA_MD_TOO_WEAK: u8 = 68;
    pub const INVALID_CA: u8 = 79;
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// A client presents the certificate to this process.
    Client,
    /// A server presents the certificate to this process.
    Server,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ChainError {
    /// Position in the chain. 0 is the presented certificate.
    pub depth: u8,
    pub code: u8,
}

#[derive(Clone, Copy, Debug)]
pub struct ChainVerificationInput<'a> {
    pub leaf: &'a [u8],
    pub others: &'a [Certificate],
    pub authorities: Option<&'a Authorities>,
    /// The CRLs; `None` checks none.
    pub revocations: Option<&'a Revocations>,
    pub now_s: i64,
    pub purpose: Purpose,
}

/// The verification stopped at an error that the configuration does not ignore.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stopped;

struct Chain<'t> {
    certificates: Vec<Certificate>,
    /// Number of the chain's certificates that come from the trusted CAs.
    believed: usize,
    tell: &'t mut dyn FnMut(ChainError) -> bool,
}

/// Verifies a chain. Reports each error to `tell`, which returns whether it is ignored.
///
/// # Errors
/// The verification stops at the first error that is not ignored. A leaf certificate that cannot be
/// parsed stops it in any case.
pub fn verify(
    question: &ChainVerificationInput<'_>,
    tell: &mut dyn FnMut(ChainError) -> bool,
) -> Result<(), Stopped> {
    let Some(leaf) = Certificate::parse(question.leaf) else {
        tell(ChainError {
            depth: 0,
            code: code::UNSPECIFIED,
        });
        return Err(Stopped);
    };
    let mut chain = Chain {
        certificates: vec![leaf],
        believed: 0,
        tell,
    };
    chain.build(question)?;
    chain.extensions(question)?;
    chain.digests()?;
    chain.revocations(question)?;
    chain.signatures_and_times(question)
}

/// Returns whether OpenSSL would also accept a path that webpki has found. webpki knows only the
/// name and the key of a root, does not check `keyUsage`, and uses the first CRL that matches.
pub fn is_acceptable_to_openssl(
    way: Vec<Certificate>,
    question: &ChainVerificationInput<'_>,
) -> bool {
    let listed = |certificate: &Certificate| {
        let lists = question.revocations.iter().flat_map(|all| all.iter());
        let mut of = lists.filter(|list| list.issuer == certificate.issuer);
        of.any(|list| list.has(&certificate.serial) || list.this_update_s > question.now_s)
    };
    let constrained = way.iter().any(|certificate| certificate.constrains_names);
    let is_hidden = constrained && way.first().is_some_and(Certificate::has_unlisted_host);
    if way.is_empty() || is_hidden || way.iter().any(listed) {
        return false;
    }
    let in_time = |c: &Certificate| (c.not_before_s..=c.not_after_s).contains(&question.now_s);
    if !way.iter().all(in_time) {
        return false;
    }
    let mut chain = Chain {
        certificates: way,
        believed: 1,
        tell: &mut |failure| failure.code == code::PERMITTED_VIOLATION,
    };
    chain.extensions(question).is_ok()
}

impl Chain<'_> {
    fn fail(&mut self, depth: usize, code: u8) -> Result<(), Stopped> {
        let failure = ChainError {
            depth: u8::try_from(depth).unwrap_or(u8::MAX),
            code,
        };
        (self.tell)(failure).then_some(()).ok_or(Stopped)
    }

    fn top(&self) -> &Certificate {
        // The chain always contains the presented certificate.
        &self.certificates[self.certificates.len() - 1]
    }

    fn build(&mut self, question: &ChainVerificationInput<'_>) -> Result<(), Stopped> {
        let shown = question.others;
        let now_s = question.now_s;
        let mut used = vec![false; shown.len()];
        while self.certificates.len() <= DEPTH_MAX {
            let top = self.top();
            if top.looks_self_signed() {
                break;
            }
            let believed = question.authorities.and_then(|all| {
                let named = all.by_subject(&top.issuer).map(|found| &found.certificate);
                issuer_among(top, named, now_s)
            });
            if let Some(issuer) = believed {
                self.certificates.push(issuer.clone());
                self.believed += 1;
                continue;
            }
            if self.believed > 0 {
                break;
            }
            let others = shown.iter().zip(&used).filter(|(_, used)| !**used);
            let others = others.map(|(found, _)| found);
            let Some(issuer) = issuer_among(top, others, now_s) else {
                break;
            };
            let index = shown.iter().position(|found| found == issuer);
            index.into_iter().for_each(|index| used[index] = true);
            self.certificates.push(issuer.clone());
        }
        self.check_top(question)
    }

    fn check_top(&mut self, question: &ChainVerificationInput<'_>) -> Result<(), Stopped> {
        let depth = self.certificates.len() - 1;
        let top = self.top();
        let is_root = top.looks_self_signed();
        let is_own = question.authorities.is_some_and(|all| {
            all.by_subject(&top.subject)
                .any(|found| found.certificate == *top)
        });
        if is_root && (self.believed > 0 || is_own) {
            self.believed = self.believed.max(1);
            return Ok(());
        }
        match (depth, top.looks_self_signed()) {
            (0, true) => self.fail(0, code::DEPTH_ZERO_SELF_SIGNED_CERT),
            (_, true) => self.fail(depth, code::SELF_SIGNED_CERT_IN_CHAIN),
            (DEPTH_MAX.., _) => self.fail(depth, code::CERT_CHAIN_TOO_LONG),
            // HAProxy does not enable partial chains in OpenSSL.
            _ if self.believed > 0 => self.fail(depth, code::UNABLE_TO_GET_ISSUER_CERT),
            _ => self.fail(depth, code::UNABLE_TO_GET_ISSUER_CERT_LOCALLY),
        }
    }

    fn extensions(&mut self, question: &ChainVerificationInput<'_>) -> Result<(), Stopped> {
        let mut below = 0;
        for depth in 0..self.certificates.len() {
            let certificate = &self.certificates[depth];
            let self_issued = certificate.is_self_issued();
            let mut codes = Vec::new();
            if certificate.critical_unknown {
                codes.push(code::UNHANDLED_CRITICAL_EXTENSION);
            }
            let is_root = depth + 1 == self.certificates.len() && certificate.looks_self_signed();
            if depth > 0 && !certificate.may_sign_certificates(is_root) {
                codes.push(code::INVALID_CA);
            }
            if !fits(certificate, question.purpose, depth > 0) {
                codes.push(code::INVALID_PURPOSE);
            }
            let path_len = certificate.basic.and_then(|basic| basic.path_len);
            if depth > 1 && path_len.is_some_and(|most| below > most) {
                codes.push(code::PATH_LENGTH_EXCEEDED);
            }
            // Reports any name constraints as violated, because this code does not check them. A
            // caller that asks after webpki, which checks them, ignores this error.
            if certificate.constrains_names {
                codes.push(code::PERMITTED_VIOLATION);
            }
            for code in codes {
                self.fail(depth, code)?;
            }
            below += u32::from(depth > 0 && !self_issued);
        }
        Ok(())
    }

    /// Checks the digests of all signatures except that of the topmost certificate, which is not
    /// verified.
    fn digests(&mut self) -> Result<(), Stopped> {
        for depth in 0..self.certificates.len() - 1 {
            if self.certificates[depth].signed.is_weak() {
                self.fail(depth, code::CA_MD_TOO_WEAK)?;
            }
        }
        Ok(())
    }

    fn revocations(&mut self, question: &ChainVerificationInput<'_>) -> Result<(), Stopped> {
        let Some(lists) = question.revocations else {
            return Ok(());
        };
        for depth in 0..self.certificates.len() {
            let certificate = &self.certificates[depth];
            let issuer = self.certificates.get(depth + 1).unwrap_or(certificate);
            let mut of: Vec<_> = lists
                .iter()
                .filter(|list| list.issuer == certificate.issuer)
                .collect();
            // Current CRLs come before expired ones, and newer ones before older ones.
            of.sort_by_key(|list| {
                let holds = list.this_update_s <= question.now_s
                    && list
                        .next_update_s
                        .is_none_or(|until| until >= question.now_s);
                (!holds, std::cmp::Reverse(list.this_update_s))
            });
            of.truncate(SAME_NAME_MAX);
            let mut right = of.iter();
            // Accepts a weak digest, because OpenSSL's security level does not apply to CRLs.
            let signed = right.find(|list| {
                matches!(
                    list.signed.verify(&issuer.key),
                    Signature::Good | Signature::Weak
                )
            });
            let Some(list) = signed.or(of.first()) else {
                self.fail(depth, code::UNABLE_TO_GET_CRL)?;
                continue;
            };
            let mut codes = Vec::new();
            if issuer.key_usage.is_some_and(|usage| usage & CRL_SIGN == 0) {
                codes.push(code::KEYUSAGE_NO_CRL_SIGN);
            }
            if list.this_update_s > question.now_s {
                codes.push(code::CRL_NOT_YET_VALID);
            }
            if list
                .next_update_s
                .is_some_and(|until| until < question.now_s)
            {
                codes.push(code::CRL_HAS_EXPIRED);
            }
            if list.critical_unknown {
                codes.push(code::UNHANDLED_CRITICAL_CRL_EXTENSION);
            }
            if signed.is_none() {
                codes.push(code::CRL_SIGNATURE_FAILURE);
            }
            if list.has(&certificate.serial) {
                codes.push(code::CERT_REVOKED);
            }
            for code in codes {
                self.fail(depth, code)?;
            }
        }
        Ok(())
    }

    /// Verifies signatures and validity from the top of the chain downwards.
    fn signatures_and_times(
        &mut self,
        question: &ChainVerificationInput<'_>,
    ) -> Result<(), Stopped> {
        let mut top = self.certificates.len() - 1;
        if !self.top().looks_self_signed() {
            match top {
                0 => self.fail(0, code::UNABLE_TO_VERIFY_LEAF_SIGNATURE)?,
                // Skips the topmost signature, which cannot be verified without the issuer.
                _ => top -= 1,
            }
        }
        for depth in (0..=top).rev() {
            if let Some(issuer) = self.certificates.get(depth + 1) {
                let signed = self.certificates[depth].signed.verify(&issuer.key);
                if !matches!(signed, Signature::Good | Signature::Weak) {
                    self.fail(depth, code::CERT_SIGNATURE_FAILURE)?;
                }
            }
            let certificate = &self.certificates[depth];
            let late = certificate.not_after_s < question.now_s;
            if certificate.not_before_s > question.now_s {
                self.fail(depth, code::CERT_NOT_YET_VALID)?;
            }
            if late {
                self.fail(depth, code::CERT_HAS_EXPIRED)?;
            }
        }
        Ok(())
    }
}

/// Finds the issuer of a certificate by name and key identifier. If several match, returns the one
/// whose key has signed the certificate, and a currently valid one before others.
fn issuer_among<'c>(
    certificate: &Certificate,
    candidates: impl Iterator<Item = &'c Certificate>,
    now_s: i64,
) -> Option<&'c Certificate> {
    let fits = |candidate: &&Certificate| {
        let ids = match (&certificate.issuer_key_id, &candidate.key_id) {
            (Some(issuer), Some(own)) => issuer == own,
            _ => true,
        };
        candidate.subject == certificate.issuer && ids
    };
    let mut fitting: Vec<_> = candidates.filter(fits).collect();
    // Returns a single candidate unverified; its signature is verified later.
    if let [] | [_] = fitting[..] {
        return fitting.pop();
    }
    fitting.sort_by_key(|c| !(c.not_before_s..=c.not_after_s).contains(&now_s));
    let mut tried = fitting.iter().take(SAME_NAME_MAX);
    let signed = tried.find(|candidate| {
        let signed = certificate.signed.verify(&candidate.key);
        matches!(signed, Signature::Good | Signature::Weak)
    });
    signed.or(fitting.first()).copied()
}

fn fits(certificate: &Certificate, purpose: Purpose, is_authority: bool) -> bool {
    let meant = certificate.purposes.is_none_or(|purposes| match purpose {
        Purpose::Client => purposes.client,
        Purpose::Server => purposes.server,
    });
    let needed = match purpose {
        Purpose::Client => DIGITAL_SIGNATURE | KEY_AGREEMENT,
        Purpose::Server => DIGITAL_SIGNATURE | KEY_ENCIPHERMENT | KEY_AGREEMENT,
    };
    // Skips the key usage of a CA, whose permission to sign is checked separately.
    let usage = is_authority
        || certificate
            .key_usage
            .is_none_or(|usage| usage & needed != 0);
    meant && usage
}
