//! Parses the line `bind` of a `volume` section: a TCP address for NBD clients, and the files for
//! TLS.

use super::section::{ParsedSections, Volume};
use super::{VolumeLineBuilder, codes};
use crate::network::Bind;
use crate::network::certificates::{
    CertificateError, CertificateFile, Certificates, FILE_BYTES_MAX, Pem,
};
use configuration::{Context, is_name_of};
use language::arguments::{Args, Built};
use language::keyword::Keyword;
use language::section::once;
use language::value::{Accepts, Address, AddressHost, Family, Port, SocketTransport, address};
use language::{ConfigWord, Diagnostic, Span, Spanned};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

#[derive(Clone, Debug)]
pub(super) struct BindLine {
    address: Spanned<SocketAddr>,
    files: Option<TlsFiles>,
}

impl BindLine {
    pub(super) fn ip(&self) -> IpAddr {
        self.address.value.ip()
    }
}

#[derive(Clone, Debug)]
struct TlsFiles {
    own: Spanned<PathBuf>,
    authorities: Spanned<PathBuf>,
}

/// Options of a `bind` line, unchecked.
#[derive(Debug, Default)]
struct Options {
    ssl: Option<Span>,
    own: Option<Spanned<PathBuf>>,
    authorities: Option<Spanned<PathBuf>>,
    is_verified: bool,
}

const HELP: &str = "write `bind ADDRESS:PORT ssl crt FILE ca-file FILE verify required`";

fn refused(span: Span, told: impl Into<String>) -> Diagnostic {
    Diagnostic::error(&codes::NETWORK, span, told.into())
}

fn bind(draft: &mut ParsedSections, args: &mut Args<'_>) -> Built {
    let volume = once(&mut draft.volumes, args, "bind")?;
    let word = args.required("an address and a port")?;
    let address = Spanned::new(parsed(args, word)?, word.span);
    let options = options(args)?;
    args.end()?;
    let files = files(args, &address, options)?;
    volume.bind = Some(BindLine { address, files });
    Ok(())
}

fn parsed(args: &Args<'_>, word: &ConfigWord) -> Result<SocketAddr, Diagnostic> {
    let found = address(word.str(), &Accepts::BIND);
    let found =
        found.map_err(|error| args.unexpected_value(word, &format!("no address: {error}")))?;
    let Address {
        transport: SocketTransport::Default,
        port: Port::One(port),
        ref host,
        family,
    } = found
    else {
        return Err(args.unexpected_value(word, "not an IP address and one port"));
    };
    let ip = match (host, family) {
        (AddressHost::Any, Family::V6) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        (AddressHost::Any, _) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        (AddressHost::Ip(ip), _) => *ip,
        _ => return Err(args.unexpected_value(word, "not an IP address and one port")),
    };
    Ok(SocketAddr::new(ip, port))
}

fn options(args: &mut Args<'_>) -> Result<Options, Diagnostic> {
    let mut options = Options::default();
    while let Some(word) = args.peek() {
        args.required("an option")?;
        match word.str() {
            "ssl" => options.ssl = Some(word.span),
            "crt" => options.own = Some(path(args)?),
            "ca-file" => options.authorities = Some(path(args)?),
            "verify" => {
                let how = args.required("`required`")?;
                if how.str() != "required" {
                    let told =
                        "a client of a volume has to have a certificate: 'verify' is `required`";
                    return Err(refused(how.span, told)
                        .label("everybody could read and write the volume")
                        .help(HELP));
                }
                options.is_verified = true;
            }
            _ => {
                let told = "not `ssl`, `crt`, `ca-file` or `verify`";
                return Err(args.unexpected_value(word, told));
            }
        }
    }
    Ok(options)
}

fn path(args: &mut Args<'_>) -> Result<Spanned<PathBuf>, Diagnostic> {
    let word = args.required("a file")?;
    let value = PathBuf::from(word.str());
    if value.is_absolute() {
        Ok(Spanned::new(value, word.span))
    } else {
        Err(args.unexpected_value(word, "not an absolute path"))
    }
}

/// Checks the options for TLS and returns their files; None without `ssl`, which only a loopback
/// address permits. Requires the CAs of clients, because nothing else authenticates a client.
fn files(
    args: &Args<'_>,
    address: &Spanned<SocketAddr>,
    options: Options,
) -> Result<Option<TlsFiles>, Diagnostic> {
    let has_others = options.own.is_some() || options.authorities.is_some() || options.is_verified;
    let Some(ssl) = options.ssl else {
        if has_others {
            let told = "'bind' has certificates but no 'ssl'";
            return Err(refused(args.line().span, told).help(HELP));
        }
        if !address.value.ip().to_canonical().is_loopback() {
            let told = format!("'bind {}' without 'ssl'", address.value);
            return Err(refused(address.span, told)
                .label("everybody who reaches this address could read and write the volume")
                .help(
                    "without `ssl` only addresses of this machine can be used, such as 127.0.0.1. "
                        .to_owned()
                        + HELP,
                ));
        }
        return Ok(None);
    };
    match options {
        Options {
            own: Some(own),
            authorities: Some(authorities),
            is_verified: true,
            ..
        } => Ok(Some(TlsFiles { own, authorities })),
        Options {
            own, authorities, ..
        } => {
            let missing = match (own, authorities) {
                (None, _) => "'crt', the certificate and key of the volume",
                (_, None) => "'ca-file', the CA certificates of clients",
                _ => "'verify required'",
            };
            let told = format!("'bind' with 'ssl' needs {missing}");
            let told = refused(ssl, told);
            let note =
                "the certificate of a client is all that says who may read and write the volume";
            Err(told.note(note).help(HELP))
        }
    }
}

pub(super) fn read(context: &mut Context, volume: &Volume) -> Option<Bind> {
    let line = volume.bind.as_ref()?;
    let address = line.address.value;
    let Some(files) = &line.files else {
        return Some(Bind { address, tls: None });
    };
    let mut file = |of: &Spanned<PathBuf>, keyword| {
        let found = context.outside.read_secret(&of.value, FILE_BYTES_MAX);
        let told = |error| unusable(of, keyword, &error);
        found.map(Pem).map_err(|error| Box::new(told(error)))
    };
    let found = file(&files.own, "crt").and_then(|own| {
        let authorities = file(&files.authorities, "ca-file")?;
        Ok(Certificates { own, authorities })
    });
    let checked = found.and_then(|found| match found.server() {
        Ok(_) => Ok(found),
        Err((of, error)) => Err(Box::new(unfit(files, of, &error))),
    });
    match checked {
        Ok(tls) => Some(Bind {
            address,
            tls: Some(tls),
        }),
        Err(told) => {
            context.report(*told);
            None
        }
    }
}

fn unfit(files: &TlsFiles, of: CertificateFile, error: &CertificateError) -> Diagnostic {
    match of {
        CertificateFile::Own => {
            let help =
                "the file holds the certificate, its issuers and the private key in PEM format";
            unusable(&files.own, "crt", error).help(help)
        }
        CertificateFile::Authorities => unusable(&files.authorities, "ca-file", error)
            .help("the file holds the CA certificates of clients in PEM format"),
    }
}

fn unusable(file: &Spanned<PathBuf>, keyword: &str, why: &dyn fmt::Display) -> Diagnostic {
    let told = format!("'{keyword}': cannot use '{}'", display(&file.value));
    Diagnostic::error(&codes::CERTIFICATE, file.span, told).label(why.to_string())
}

fn display(path: &Path) -> std::path::Display<'_> {
    path.display()
}

pub(super) fn of_address(before: &[Volume], volume: &Volume) -> Option<Diagnostic> {
    let line = volume.bind.as_ref()?;
    let at = |line: &BindLine| Bind {
        address: line.address.value,
        tls: None,
    };
    let mut others = before.iter().filter(|other| shares_a_node(other, volume));
    let (other, taken) = others.find_map(|other| {
        let taken = other.bind.as_ref()?;
        at(taken).meets(&at(line)).then_some((other, taken))
    })?;
    let (name, address) = (&other.name.value, line.address.value);
    let told = format!("{address} is the address of volume '{name}' already");
    let told = Diagnostic::error(&codes::ADDRESS_TWICE, line.address.span, told);
    let told = told
        .label("a second volume at it")
        .with_label(taken.address.span, "the first is here");
    Some(told.help("give each volume a port of its own"))
}

pub(super) fn shares_a_node(one: &Volume, two: &Volume) -> bool {
    let on = |node: &Spanned<String>| {
        let mut others = two.nodes.iter();
        others.any(|other| is_name_of(&other.value, &node.value))
    };
    one.nodes.is_empty() || two.nodes.is_empty() || one.nodes.iter().any(on)
}

pub(super) static LINES: &[Keyword<VolumeLineBuilder>] = language::rows! {
    "bind [<address>]:<port> [ssl crt <file> ca-file <file> verify required]" &["volume"], bind,
        "bind 127.0.0.1:10809",
        "Offers the volume over NBD at this TCP address too, on each node that runs it. With `ssl`, clients have to \
         begin TLS (`NBD_OPT_STARTTLS`) before anything else, and to present a certificate. `crt` is the certificate \
         of the volume with its issuers and its private key, `ca-file` has the CA certificates that verify those of \
         clients, both in PEM format with absolute paths. Each client with a certificate of these CAs can read and \
         write the volume: there is no other access control, so `verify required` cannot be left out. Without `ssl` \
         only loopback addresses are accepted. Each volume needs an address or a port of its own. A reload that \
         changes the files or the address has no effect on clients that are connected.";
};
