//! A recording to bytes: numbers seven bits a byte, the lowest first, and all
//! else behind its length. The order of the fields is the form; whoever changes
//! it raises [`super::VERSION`].

use super::{MAGIC, Recording, VERSION};
use crate::config::Service;
use crate::load::LoadOptions;
use configuration::outside::{Account, AccountKind, Answers, Unreadable};
use language::{Environment, Facts};
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use zeroize::Zeroizing;

/// Counts the bytes that are written, so that the buffer is made once.
struct Count(usize);

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(super) fn to_vec(recording: &Recording) -> Zeroizing<Vec<u8>> {
    let mut count = Count(0);
    // Neither a counter nor a Vec fails.
    let _ = write(recording, &mut count);
    // With all its room from the beginning, so that no part of it stays in a
    // buffer that was outgrown.
    let mut bytes = Zeroizing::new(Vec::with_capacity(count.0));
    let _ = write(recording, &mut *bytes);
    bytes
}

pub(super) fn write(recording: &Recording, out: &mut impl Write) -> io::Result<()> {
    let Recording {
        files,
        environment,
        facts,
        options,
        services,
        answers,
    } = recording;
    out.write_all(MAGIC)?;
    out.write_all(&VERSION.to_le_bytes())?;
    flag(out, recording.has_secrets())?;
    number(out, files.len() as u64)?;
    for (name, text) in files {
        bytes(out, name.as_bytes())?;
        bytes(out, text)?;
    }
    variables(out, environment)?;
    program(out, facts)?;
    out.write_all(&[switches(options)])?;
    nodes(out, options)?;
    virtual_addresses(out, services)?;
    answered(out, answers)
}

fn number(out: &mut impl Write, mut number: u64) -> io::Result<()> {
    while number > 0x7f {
        out.write_all(&[number as u8 | 0x80])?;
        number >>= 7;
    }
    out.write_all(&[number as u8])
}

fn bytes(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    number(out, bytes.len() as u64)?;
    out.write_all(bytes)
}

fn path(out: &mut impl Write, path: &Path) -> io::Result<()> {
    bytes(out, path.as_os_str().as_bytes())
}

fn flag(out: &mut impl Write, flag: bool) -> io::Result<()> {
    out.write_all(&[u8::from(flag)])
}

fn variables(out: &mut impl Write, environment: &Environment) -> io::Result<()> {
    number(out, environment.iter().count() as u64)?;
    for (name, value) in environment.iter() {
        bytes(out, name.as_bytes())?;
        bytes(out, value)?;
    }
    Ok(())
}

fn program(out: &mut impl Write, facts: &Facts) -> io::Result<()> {
    let Facts {
        version,
        features,
        enabled,
        tls_library,
        openssl_version,
        awslc_api,
    } = facts;
    bytes(out, version.as_bytes())?;
    names(out, features)?;
    names(out, enabled)?;
    bytes(out, tls_library.as_bytes())?;
    flag(out, openssl_version.is_some())?;
    if let Some(version) = openssl_version {
        bytes(out, version.as_bytes())?;
    }
    flag(out, awslc_api.is_some())?;
    if let Some(api) = awslc_api {
        number(out, u64::from(*api))?;
    }
    Ok(())
}

fn names(out: &mut impl Write, names: &BTreeSet<String>) -> io::Result<()> {
    number(out, names.len() as u64)?;
    for name in names {
        bytes(out, name.as_bytes())?;
    }
    Ok(())
}

fn virtual_addresses(out: &mut impl Write, services: &[Service]) -> io::Result<()> {
    number(out, services.len() as u64)?;
    for service in services {
        let Service {
            name,
            interface,
            router_id,
            addresses,
            backends,
        } = service;
        bytes(out, name.as_bytes())?;
        bytes(out, interface.as_bytes())?;
        out.write_all(&[*router_id])?;
        self::addresses(out, addresses)?;
        number(out, backends.len() as u64)?;
        for backend in backends {
            bytes(out, backend.as_bytes())?;
        }
    }
    Ok(())
}

fn nodes(out: &mut impl Write, options: &LoadOptions) -> io::Result<()> {
    bytes(out, options.host.as_bytes())?;
    flag(out, options.node.is_some())?;
    if let Some(node) = &options.node {
        bytes(out, node.as_bytes())?;
    }
    number(out, options.nodes.len() as u64)?;
    for name in &options.nodes {
        bytes(out, name.as_bytes())?;
    }
    bytes(out, options.version.as_bytes())
}

fn switches(options: &LoadOptions) -> u8 {
    let LoadOptions {
        resolve_names,
        ignore_unresolved,
        diag,
        unverified_servers,
        host: _,
        node: _,
        nodes: _,
        version: _,
    } = options;
    u8::from(*resolve_names)
        | u8::from(*ignore_unresolved) << 1
        | u8::from(*diag) << 2
        | u8::from(*unverified_servers) << 3
}

fn answered(out: &mut impl Write, answers: &Answers) -> io::Result<()> {
    let Answers {
        files,
        secrets,
        entries,
        modes,
        directories,
        hosts,
        accounts,
        own_addresses,
    } = answers;
    number(out, files.len() as u64)?;
    for (name, found) in files {
        path(out, name)?;
        or_unreadable(out, found, |out, text| bytes(out, text))?;
    }
    number(out, secrets.len() as u64)?;
    for (name, found) in secrets {
        path(out, name)?;
        or_unreadable(out, found, |out, secret| bytes(out, secret.bytes()))?;
    }
    number(out, entries.len() as u64)?;
    for (name, found) in entries {
        path(out, name)?;
        or_unreadable(out, found, |out, names| {
            number(out, names.len() as u64)?;
            names
                .iter()
                .try_for_each(|name| bytes(out, name.as_bytes()))
        })?;
    }
    for table in [modes, directories] {
        number(out, table.len() as u64)?;
        for (name, found) in table {
            path(out, name)?;
            flag(out, *found)?;
        }
    }
    number(out, hosts.len() as u64)?;
    for (name, found) in hosts {
        bytes(out, name.as_bytes())?;
        addresses(out, found)?;
    }
    number(out, accounts.len() as u64)?;
    for ((kind, name), found) in accounts {
        flag(out, *kind == AccountKind::Group)?;
        bytes(out, name.as_bytes())?;
        account(out, found)?;
    }
    match own_addresses {
        None => out.write_all(&[0]),
        Some(None) => out.write_all(&[1]),
        Some(Some(found)) => {
            out.write_all(&[2])?;
            addresses(out, found)
        }
    }
}

/// An answer, or why there is none.
fn or_unreadable<W: Write, T>(
    out: &mut W,
    found: &Result<T, Unreadable>,
    write: impl FnOnce(&mut W, &T) -> io::Result<()>,
) -> io::Result<()> {
    match found {
        Ok(found) => {
            out.write_all(&[0])?;
            write(out, found)
        }
        Err(Unreadable::TooLarge(max)) => {
            out.write_all(&[1])?;
            number(out, *max)
        }
        Err(Unreadable::Refused(errno)) => {
            out.write_all(&[2])?;
            out.write_all(&errno.to_le_bytes())
        }
        Err(Unreadable::Unnameable) => out.write_all(&[3]),
    }
}

fn addresses(out: &mut impl Write, addresses: &[IpAddr]) -> io::Result<()> {
    number(out, addresses.len() as u64)?;
    for address in addresses {
        match address {
            IpAddr::V4(ip) => {
                out.write_all(&[4])?;
                out.write_all(&ip.octets())?;
            }
            IpAddr::V6(ip) => {
                out.write_all(&[6])?;
                out.write_all(&ip.octets())?;
            }
        }
    }
    Ok(())
}

fn account(out: &mut impl Write, account: &Account) -> io::Result<()> {
    match account {
        Account::Known(id) => {
            out.write_all(&[0])?;
            number(out, u64::from(*id))
        }
        Account::Unknown(None) => out.write_all(&[1]),
        Account::Unknown(Some(near)) => {
            out.write_all(&[2])?;
            bytes(out, near.as_bytes())
        }
    }
}
