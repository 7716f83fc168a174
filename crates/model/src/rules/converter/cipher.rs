//! Implements the converters for encryption and decryption with AES, for tokens that a site shares
//! with its applications.

use super::key::{self, maybe_variable, secret};
use super::{ConverterBuild, ConverterRow, rows};
use crate::rules::argument::{ArgumentKind, Arguments, bad_argument};
use crate::rules::draft::ConfigDraft;
use crate::rules::value::{Sample, SampleValue, Type};
use crate::transaction::ProxyStream;
use aws_lc_rs::aead::{AES_128_GCM, AES_192_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{
    AES_128, AES_192, AES_256, DecryptionContext, EncryptionContext, PaddedBlockDecryptingKey,
    PaddedBlockEncryptingKey, UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use language::Span;
use language::arguments::Built;
use std::borrow::Cow;

const TAG_BYTES: usize = 16;
/// Length of the nonce that the cryptographic library requires, in bytes.
const NONCE_BYTES: usize = 12;

const fn gcm(apply: super::Apply) -> ConverterBuild {
    ConverterBuild::new(Type::Bin, Type::Bin, apply).takes(
        &[
            ArgumentKind::Int,
            ArgumentKind::Text,
            ArgumentKind::Text,
            ArgumentKind::Text,
            ArgumentKind::Text,
        ],
        4,
    )
}

const fn cbc(apply: super::Apply) -> ConverterBuild {
    ConverterBuild::new(Type::Bin, Type::Bin, apply)
        .takes(
            &[
                ArgumentKind::Int,
                ArgumentKind::Text,
                ArgumentKind::Text,
                ArgumentKind::Text,
            ],
            3,
        )
        .prepare(prepare_cbc)
}

pub(super) static ROWS: &[ConverterRow] = rows! {
    "aes_gcm_dec(<bits>,<nonce>,<key>,<tag>[,<aad>])", gcm(gcm_dec).prepare(prepare_gcm_dec),
        "acl example req.hdr(x-secret),b64dec,aes_gcm_dec(128,txn.nonce,Zm9vb2Zvb29mb29wZm9vbw==,txn.tag) -m found",
        "Decrypts with AES-GCM and a key of 128, 192 or 256 bits. Nonce (12 bytes), key, tag and additional \
         authenticated data are in Base64, or variables with Base64. There is no value if the tag is wrong.";
    "aes_gcm_enc(<bits>,<nonce>,<key>,<tag>[,<aad>])", gcm(gcm_enc).prepare(prepare_gcm_enc),
        "acl example src,aes_gcm_enc(128,txn.nonce,Zm9vb2Zvb29mb29wZm9vbw==,txn.tag) -m found",
        "Encrypts with AES-GCM. The arguments are those of `aes_gcm_dec`, except the tag, which is a variable that it \
         sets.";
    "aes_cbc_dec(<bits>,<vector>,<key>[,<aad>])", cbc(cbc_dec), "acl plain req.hdr(x-secret),b64dec,aes_cbc_dec(128,txn.vector,Zm9vb2Zvb29mb29wZm9vbw==) -m found",
        "Decrypts with AES-CBC and a key of 128, 192 or 256 bits. The data is not authenticated: prefer `aes_gcm_dec`. \
         A vector of less than 16 bytes is filled up with zeros. The last argument is checked and has no effect.";
    "aes_cbc_enc(<bits>,<vector>,<key>[,<aad>])", cbc(cbc_enc), "acl secret src,aes_cbc_enc(128,txn.vector,Zm9vb2Zvb29mb29wZm9vbw==) -m found",
        "Encrypts with AES-CBC; the initialization vector and the key are in Base64, or variables with Base64.";
};

fn check_bits(arguments: &Arguments, span: Span) -> Built {
    match arguments.int(0) {
        Some(128 | 192 | 256) => Ok(()),
        _ => Err(bad_argument(
            span,
            "an AES key has 128, 192 or 256 bits".into(),
        )),
    }
}

fn prepare_gcm_dec(_: &mut ConfigDraft, arguments: &mut Arguments, span: Span) -> Built {
    check_bits(arguments, span)?;
    (1..arguments.list.len()).try_for_each(|n| key::prepare(arguments, n, span))
}

fn prepare_gcm_enc(_: &mut ConfigDraft, arguments: &mut Arguments, span: Span) -> Built {
    check_bits(arguments, span)?;
    key::prepare(arguments, 1, span)?;
    key::prepare(arguments, 2, span)?;
    if !maybe_variable(arguments, 3, span)? {
        return Err(bad_argument(
            span,
            "argument 4 must be the variable for the tag".into(),
        ));
    }
    (4..arguments.list.len()).try_for_each(|n| key::prepare(arguments, n, span))
}

fn prepare_cbc(_: &mut ConfigDraft, arguments: &mut Arguments, span: Span) -> Built {
    check_bits(arguments, span)?;
    (1..arguments.list.len()).try_for_each(|n| key::prepare(arguments, n, span))
}

fn gcm_key(
    arguments: &Arguments,
    stream: &ProxyStream,
) -> Option<(LessSafeKey, [u8; NONCE_BYTES])> {
    let algorithm = match arguments.int(0)? {
        128 => &AES_128_GCM,
        192 => &AES_192_GCM,
        _ => &AES_256_GCM,
    };
    let nonce = secret(arguments, 1, stream)?;
    let key = UnboundKey::new(algorithm, &secret(arguments, 2, stream)?).ok()?;
    Some((LessSafeKey::new(key), nonce.as_ref().try_into().ok()?))
}

fn proved_besides<'a>(
    arguments: &'a Arguments,
    stream: &'a ProxyStream,
) -> Option<Aad<Cow<'a, [u8]>>> {
    match arguments.list.get(4) {
        Some(Some(_)) => secret(arguments, 4, stream).map(Aad::from),
        _ => Some(Aad::from(Cow::Borrowed(b"".as_slice()))),
    }
}

fn gcm_dec<'a>(arguments: &Arguments, value: SampleValue<'a>, stream: &ProxyStream) -> Sample<'a> {
    let (key, nonce) = gcm_key(arguments, stream)?;
    let mut bytes = value.into_bytes()?.into_owned();
    let tag = secret(arguments, 3, stream)?;
    if tag.len() != TAG_BYTES {
        return None;
    }
    bytes.extend_from_slice(&tag);
    let nonce = Nonce::assume_unique_for_key(nonce);
    let besides = proved_besides(arguments, stream)?;
    let plain = key.open_in_place(nonce, besides, &mut bytes).ok()?.len();
    bytes.truncate(plain);
    Some(SampleValue::Bin(Cow::Owned(bytes)))
}

fn gcm_enc<'a>(arguments: &Arguments, value: SampleValue<'a>, stream: &ProxyStream) -> Sample<'a> {
    let (key, nonce) = gcm_key(arguments, stream)?;
    let mut bytes = value.into_bytes()?.into_owned();
    let nonce = Nonce::assume_unique_for_key(nonce);
    let besides = proved_besides(arguments, stream)?;
    let tag = key
        .seal_in_place_separate_tag(nonce, besides, &mut bytes)
        .ok()?;
    let tag = STANDARD.encode(tag.as_ref()).into_bytes();
    stream.rules.assigned.set(
        arguments.variable(3)?,
        Some(SampleValue::Str(Cow::Owned(tag))),
    );
    Some(SampleValue::Bin(Cow::Owned(bytes)))
}

fn cbc_key(
    arguments: &Arguments,
    stream: &ProxyStream,
) -> Option<(UnboundCipherKey, FixedLength<16>)> {
    let algorithm = match arguments.int(0)? {
        128 => &AES_128,
        192 => &AES_192,
        _ => &AES_256,
    };
    let given = secret(arguments, 1, stream)?;
    let mut vector = [0; 16];
    vector.get_mut(..given.len())?.copy_from_slice(&given);
    let key = UnboundCipherKey::new(algorithm, &secret(arguments, 2, stream)?).ok()?;
    Some((key, FixedLength::from(&vector)))
}

fn cbc_dec<'a>(arguments: &Arguments, value: SampleValue<'a>, stream: &ProxyStream) -> Sample<'a> {
    let (key, vector) = cbc_key(arguments, stream)?;
    let key = PaddedBlockDecryptingKey::cbc_pkcs7(key).ok()?;
    let mut bytes = value.into_bytes()?.into_owned();
    let plain = key
        .decrypt(&mut bytes, DecryptionContext::Iv128(vector))
        .ok()?
        .len();
    bytes.truncate(plain);
    Some(SampleValue::Bin(Cow::Owned(bytes)))
}

fn cbc_enc<'a>(arguments: &Arguments, value: SampleValue<'a>, stream: &ProxyStream) -> Sample<'a> {
    let (key, vector) = cbc_key(arguments, stream)?;
    let key = PaddedBlockEncryptingKey::cbc_pkcs7(key).ok()?;
    let mut bytes = value.into_bytes()?.into_owned();
    key.less_safe_encrypt(&mut bytes, EncryptionContext::Iv128(vector))
        .ok()?;
    Some(SampleValue::Bin(Cow::Owned(bytes)))
}
