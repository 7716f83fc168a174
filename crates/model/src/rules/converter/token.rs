//! Implements the converters for JSON Web Tokens: their parts, and the verification of their
//! signature. The claims are not checked; rules compare `exp`, `iss` and `aud`.

use super::key::maybe_variable;
use super::{ConverterBuild, ConverterRow, json_query, rows};
use crate::rules::argument::{Argument, ArgumentKind, Arguments, bad_argument};
use crate::rules::draft::ConfigDraft;
use crate::rules::fetch::variable_value;
use crate::rules::value::{Sample, SampleValue, Type};
use crate::transaction::ProxyStream;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use language::arguments::Built;
use language::{Diagnostic, Span};
use std::borrow::Cow;

const fn part(apply: super::Apply) -> ConverterBuild {
    ConverterBuild::new(Type::Bin, Type::Any, apply)
        .takes(&[ArgumentKind::Text, ArgumentKind::Text], 0)
        .prepare(prepare_query)
}

pub(super) static ROWS: &[ConverterRow] = rows! {
    "jwt_header_query[(<path>[,<type>])]", part(|a, v, _| decoded(a, v, 0)),
        "acl example req.hdr(x-token),jwt_header_query('$.alg') -m found",
        "Returns the header of a JSON Web Token as JSON, or the result of `json_query` on it.";
    "jwt_payload_query[(<path>[,<type>])]", part(payload),
        "acl example req.hdr(x-token),jwt_payload_query('$.iss') -m found",
        "Returns the payload of a JSON Web Token as JSON, or the result of `json_query` on it. Do not trust it before \
         `jwt_verify`.";
    "jwt_verify(<algorithm>,<key>)", ConverterBuild::new(Type::Bin, Type::Int, verify).takes(&[ArgumentKind::Text, ArgumentKind::Text], 2).prepare(prepare_verify),
        "acl example req.hdr(x-token),jwt_verify(HS256,secret) 1",
        "Verifies the signature of a JSON Web Token with an algorithm (`HS256`, `RS256`, `PS256`, `ES256` and those \
         of 384 and 512 bits, or a variable) and a key: the secret of an HS algorithm, or else a PEM file with a \
         public key or a certificate. Returns 1 for valid, 0 invalid, -1 an unknown algorithm, -2 an unsupported one, \
         -3 not a token, -5 no key.";
};

const KEY_FILE_BYTES_MAX: u64 = 1 << 20;

const RIGHT: i64 = 1;
const WRONG: i64 = 0;
const UNKNOWN_ALGORITHM: i64 = -1;
const NO_TOKEN: i64 = -3;
const NO_KEY: i64 = -5;

fn parts(token: &[u8]) -> Option<[&[u8]; 3]> {
    let mut parts = token.split(|b| *b == b'.');
    let three = [parts.next()?, parts.next()?, parts.next()?];
    parts.next().is_none().then_some(three)
}

fn prepare_query(_: &mut ConfigDraft, arguments: &mut Arguments, span: Span) -> Built {
    match arguments.text(0) {
        None => Ok(()),
        Some(_) => json_query::compile(arguments, span),
    }
}

fn decoded<'a>(arguments: &Arguments, value: SampleValue<'a>, n: usize) -> Sample<'a> {
    let token = value.into_bytes()?;
    let json = URL_SAFE_NO_PAD.decode(parts(&token)?[n]).ok()?;
    if arguments.list.is_empty() {
        Some(SampleValue::Str(Cow::Owned(json)))
    } else {
        json_query::query(arguments, &json).map(SampleValue::into_owned)
    }
}

fn payload<'a>(arguments: &Arguments, value: SampleValue<'a>, _: &ProxyStream) -> Sample<'a> {
    decoded(arguments, value, 1)
}

enum Check {
    Hmac(hmac::Algorithm),
    Public(&'static dyn VerificationAlgorithm),
}

fn algorithm(name: &[u8]) -> Option<Check> {
    Some(match name {
        b"HS256" => Check::Hmac(hmac::HMAC_SHA256),
        b"HS384" => Check::Hmac(hmac::HMAC_SHA384),
        b"HS512" => Check::Hmac(hmac::HMAC_SHA512),
        b"RS256" => Check::Public(&signature::RSA_PKCS1_2048_8192_SHA256),
        b"RS384" => Check::Public(&signature::RSA_PKCS1_2048_8192_SHA384),
        b"RS512" => Check::Public(&signature::RSA_PKCS1_2048_8192_SHA512),
        b"PS256" => Check::Public(&signature::RSA_PSS_2048_8192_SHA256),
        b"PS384" => Check::Public(&signature::RSA_PSS_2048_8192_SHA384),
        b"PS512" => Check::Public(&signature::RSA_PSS_2048_8192_SHA512),
        b"ES256" => Check::Public(&signature::ECDSA_P256_SHA256_FIXED),
        b"ES384" => Check::Public(&signature::ECDSA_P384_SHA384_FIXED),
        b"ES512" => Check::Public(&signature::ECDSA_P521_SHA512_FIXED),
        _ => return None,
    })
}

/// Converts the name of the algorithm and the key to variables if they name one. A key that is a
/// file is read.
fn prepare_verify(loader: &mut ConfigDraft, arguments: &mut Arguments, span: Span) -> Built {
    let of_variable = maybe_variable(arguments, 0, span)?;
    let name = arguments.text(0).unwrap_or(b"");
    let known = algorithm(name);
    let no_file = matches!(known, Some(Check::Hmac(_))) || name == b"none";
    if known.is_none() && !of_variable && name != b"none" {
        return Err(bad_argument(
            span,
            format!(
                "unknown token algorithm '{}'",
                String::from_utf8_lossy(name)
            ),
        ));
    }
    if maybe_variable(arguments, 1, span)? || no_file {
        return Ok(());
    }
    let file = String::from_utf8_lossy(arguments.text(1).unwrap_or(b"")).into_owned();
    match read_key(loader, &file, span) {
        Ok(key) => {
            // Adds the key from the file as the third argument.
            arguments.list.push(Some(Argument::Text(key.into())));
            Ok(())
        }
        // Accepts a key that is no file: a variable may select an algorithm with a shared secret,
        // and the argument is then that secret.
        Err(_) if of_variable => Ok(()),
        Err(diagnostic) => Err(diagnostic),
    }
}

/// Reads the public key of a PEM file, as DER.
fn read_key(loader: &mut ConfigDraft, file: &str, span: Span) -> Result<Vec<u8>, Diagnostic> {
    let path = loader.path_of(file, span);
    let text = loader
        .context
        .outside
        .read(&path, KEY_FILE_BYTES_MAX)
        .map_err(|error| {
            let error = std::io::Error::from(error);
            bad_argument(span, format!("cannot read the key '{file}': {error}"))
        })?;
    tls::public_key(&text).ok_or_else(|| {
        bad_argument(
            span,
            format!("'{file}' has neither a public key nor a certificate in PEM format"),
        )
    })
}

fn verify<'a>(
    arguments: &'a Arguments,
    value: SampleValue<'a>,
    stream: &'a ProxyStream,
) -> Sample<'a> {
    let token = value.into_bytes()?;
    let named = |n: usize| -> Option<Cow<'a, [u8]>> {
        match arguments.variable(n) {
            Some(name) => Some(variable_value(name, stream)?.into_text()),
            None => arguments.text(n).map(Cow::Borrowed),
        }
    };
    let (name, key) = (named(0)?, named(1));
    Some(SampleValue::Int(checked(
        &token,
        &name,
        key,
        arguments.text(2),
    )))
}

fn checked(token: &[u8], name: &[u8], secret: Option<Cow<'_, [u8]>>, public: Option<&[u8]>) -> i64 {
    // Refuses an algorithm with a shared secret, or none, if the key is a public key from a file.
    // An algorithm from a variable may be the choice of the client, and neither the public key nor
    // its path may serve as the secret.
    let is_secrets = name == b"none" || matches!(algorithm(name), Some(Check::Hmac(_)));
    if public.is_some() && is_secrets {
        return WRONG;
    }
    if name == b"none" {
        // Accepts with `none` only a token without a signature.
        return match parts(token) {
            Some([_, _, b""]) => RIGHT,
            Some(_) => WRONG,
            None => NO_TOKEN,
        };
    }
    let Some(check) = algorithm(name) else {
        return UNKNOWN_ALGORITHM;
    };
    let Some([head, payload, encoded]) = parts(token) else {
        return NO_TOKEN;
    };
    let Ok(proof) = URL_SAFE_NO_PAD.decode(encoded) else {
        return NO_TOKEN;
    };
    let signed = &token[..head.len() + 1 + payload.len()];
    let right = match check {
        Check::Hmac(algorithm) => {
            let Some(secret) = secret else { return NO_KEY };
            let code = hmac::sign(&hmac::Key::new(algorithm, &secret), signed);
            verify_slices_are_equal(code.as_ref(), &proof).is_ok()
        }
        Check::Public(algorithm) => {
            let Some(public) = public else { return NO_KEY };
            UnparsedPublicKey::new(algorithm, public)
                .verify(signed, &proof)
                .is_ok()
        }
    };
    if right { RIGHT } else { WRONG }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(secret: &[u8]) -> Vec<u8> {
        let signed = b"e30.e30".to_vec();
        let code = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), &signed);
        let code = URL_SAFE_NO_PAD.encode(code.as_ref());
        [&signed[..], b".", code.as_bytes()].concat()
    }

    #[test]
    fn a_token_that_names_its_algorithm_is_not_believed_by_the_name_of_a_key() {
        let file = Some(Cow::Borrowed(&b"/etc/key.pem"[..]));
        let token = token(b"/etc/key.pem");
        assert_eq!(checked(&token, b"HS256", file.clone(), None), RIGHT);
        // Neither the public key nor its path is accepted as a secret.
        assert_eq!(checked(&token, b"HS256", file.clone(), Some(b"der")), WRONG);
        assert_eq!(checked(b"e30.e30.", b"none", file, Some(b"der")), WRONG);
        assert_eq!(checked(b"e30.e30.", b"none", None, None), RIGHT);
    }
}
