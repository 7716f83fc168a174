//! Writes `.rdp` files, which tell an RDP client how to connect and what to start, with signatures
//! in the format of `rdpsign.exe`.

use crate::config::App;
use crate::signature::Signer;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

/// Header before the PKCS#7 of a signature: two numbers that `rdpsign.exe` always writes.
const HEAD: [u8; 8] = [1, 0, 1, 0, 1, 0, 0, 0];

/// Gateway usage: the gateway is used only if a direct connection is not possible.
const GATEWAY_WHERE_NEEDED: u8 = 2;
/// Gateway credentials: the client uses the cookie in the file.
const GATEWAY_BY_COOKIE: u8 = 5;

#[derive(Clone, Copy, Debug)]
pub struct File<'f> {
    /// Address to which the client connects: a name, with a port that is not 3389.
    pub address: &'f str,
    pub token: &'f str,
    pub user: &'f str,
    /// Program to start; None: the full desktop.
    pub app: Option<&'f App>,
    /// Address of the gateway, and the user's cookie for it.
    pub gateway: Option<(&'f str, &'f str)>,
}

/// Line of an `.rdp` file: name, whether the value is a number, value. `SIGNED` has the name that
/// the signature uses.
type RdpFileLine = (&'static str, bool, String);

/// Lines of an `.rdp` file that a signature covers, in the signature's order: the name in the file,
/// and the name in the signature.
const SIGNED: [(&str, &str); 15] = [
    ("full address", "Full Address"),
    ("alternate full address", "Alternate Full Address"),
    ("use redirection server name", "Use Redirection Server Name"),
    ("negotiate security layer", "Negotiate Security Layer"),
    ("enablecredsspsupport", "EnableCredSspSupport"),
    ("gatewayhostname", "GatewayHostname"),
    ("gatewayusagemethod", "GatewayUsageMethod"),
    ("gatewayprofileusagemethod", "GatewayProfileUsageMethod"),
    ("gatewaycredentialssource", "GatewayCredentialsSource"),
    ("alternate shell", "Alternate Shell"),
    ("remoteapplicationprogram", "RemoteApplicationProgram"),
    ("remoteapplicationmode", "RemoteApplicationMode"),
    ("remoteapplicationname", "RemoteApplicationName"),
    ("remoteapplicationcmdline", "RemoteApplicationCmdLine"),
    ("loadbalanceinfo", "LoadBalanceInfo"),
];

fn lines(file: &File<'_>) -> Vec<RdpFileLine> {
    let text = |name, value: &str| (name, false, value.to_owned());
    let number = |name, value: u8| (name, true, value.to_string());
    let mut lines = vec![
        text("full address", file.address),
        // Adds this line because an attacker could otherwise add another address to a signed file.
        text("alternate full address", file.address),
        number("use redirection server name", 1),
        number("negotiate security layer", 1),
        number("enablecredsspsupport", 1),
    ];
    if let Some((name, cookie)) = file.gateway {
        lines.extend([
            text("gatewayhostname", name),
            number("gatewayusagemethod", GATEWAY_WHERE_NEEDED),
            number("gatewayprofileusagemethod", 1),
            number("gatewaycredentialssource", GATEWAY_BY_COOKIE),
            text("gatewayaccesstoken", cookie),
        ]);
    }
    match file.app {
        Some(app) => lines.extend([
            text("alternate shell", &app.path),
            text("remoteapplicationprogram", &app.path),
            number("remoteapplicationmode", 1),
            text("remoteapplicationname", &app.title),
            text("remoteapplicationcmdline", &app.args),
        ]),
        None => lines.push(number("remoteapplicationmode", 0)),
    }
    lines.extend([
        text("loadbalanceinfo", file.token),
        text("username", file.user),
        number("authentication level", 2),
        number("autoreconnection enabled", 1),
        number("redirectclipboard", 1),
    ]);
    if file.app.is_none() {
        // Selects the full screen (2).
        lines.push(number("screen mode id", 2));
    }
    lines
}

fn written((name, is_number, value): &RdpFileLine) -> String {
    let kind = if *is_number { 'i' } else { 's' };
    let value: String = value.chars().filter(|one| !one.is_control()).collect();
    format!("{name}:{kind}:{value}")
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// Builds a signed file.
///
/// # Errors
/// Returns why the file cannot be signed.
pub fn write(file: &File<'_>, signer: &Signer) -> Result<Vec<u8>, String> {
    let lines = lines(file);
    let (mut signed, mut scope) = (String::new(), Vec::new());
    for (name, shown) in SIGNED {
        if let Some(line) = lines.iter().find(|(known, ..)| *known == name) {
            signed = signed + &written(line) + "\r\n";
            scope.push(shown);
        }
    }
    let scope = format!("signscope:s:{}\r\n", scope.join(","));
    let content = utf16(&format!("{signed}{scope}\0"));
    let signature = signer.sign(&content)?;
    let length = u32::try_from(signature.len()).unwrap_or_default();
    let signature = [&HEAD[..], &length.to_le_bytes(), &signature].concat();
    let mut text: String = lines.iter().map(|line| written(line) + "\r\n").collect();
    text = text + &scope + "signature:s:" + &BASE64.encode(signature) + "\r\n";
    // Encodes a text with other characters as UTF-16 after a byte order mark, because clients read
    // a file without one as ASCII.
    Ok(if text.is_ascii() {
        text.into_bytes()
    } else {
        utf16(&format!("\u{feff}{text}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab::pki::{Authority, Leaf};
    use std::process::Command;

    fn app(title: &str) -> App {
        App {
            name: "word".to_owned(),
            title: title.to_owned(),
            path: "||WINWORD".to_owned(),
            args: "/n".to_owned(),
            icon: Vec::new(),
            groups: Vec::new(),
            hosts: Default::default(),
        }
    }

    fn authority() -> (Authority, Signer) {
        let authority = Authority::new("Test CA").unwrap();
        let leaf = Leaf {
            names: &["desktop.example.org"],
            ..Leaf::default()
        };
        let signer = Signer::read(authority.issue(&leaf).unwrap().bundle().as_bytes());
        (authority, signer.unwrap())
    }

    fn file(app: Option<&App>) -> File<'_> {
        File {
            address: "desktop.example.org",
            token: "Cookie: msts=AAAA",
            user: "anna",
            app,
            gateway: None,
        }
    }

    /// Returns the lines of a file, without its signature.
    fn unsigned(bytes: &[u8]) -> String {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let lines = text
            .lines()
            .filter(|line| !line.starts_with("signature:s:"));
        lines.map(|line| format!("{line}\n")).collect()
    }

    #[test]
    fn files_say_where_a_client_connects_and_what_it_starts() {
        let (_, signer) = authority();
        let word = app("Word");
        let [desktop, word] = [None, Some(&word)].map(|app| write(&file(app), &signer).unwrap());
        let by_gateway = File {
            gateway: Some(("gate.example.org:8443", "evenkeel1.AAAA")),
            ..file(None)
        };
        let by_gateway = write(&by_gateway, &signer).unwrap();
        let all = [desktop, word, by_gateway].map(|bytes| unsigned(&bytes));
        insta::assert_snapshot!(all.join("\n"));
    }

    /// Verifies a file as a client does: from its text alone.
    fn verify(authority: &Authority, bytes: &[u8]) -> bool {
        let text = match bytes.strip_prefix(&[0xff, 0xfe]) {
            Some(bytes) => {
                let units = bytes
                    .chunks(2)
                    .map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
                String::from_utf16(&units.collect::<Vec<_>>()).unwrap()
            }
            None => String::from_utf8(bytes.to_vec()).unwrap(),
        };
        let line = |name: &str| {
            text.lines()
                .find(|line| line.to_lowercase().starts_with(name))
                .unwrap()
        };
        let scope = line("signscope:s:");
        let mut content = String::new();
        for name in scope["signscope:s:".len()..].split(',') {
            content += line(&format!("{}:", name.to_lowercase()));
            content += "\r\n";
        }
        content = format!("{content}{scope}\r\n\0");
        let signature = BASE64.decode(&line("signature:s:")[12..]).unwrap();
        let (head, der) = signature.split_at(12);
        assert_eq!(head[8..], u32::try_from(der.len()).unwrap().to_le_bytes());
        let scratch = lab::ScratchDirectory::new().unwrap();
        let mut command = Command::new("openssl");
        command.args([
            "smime", "-verify", "-binary", "-inform", "DER", "-purpose", "any", "-in",
        ]);
        command.arg(scratch.write("sig", der).unwrap());
        command
            .arg("-content")
            .arg(scratch.write("content", utf16(&content)).unwrap());
        command
            .arg("-CAfile")
            .arg(scratch.write("ca", authority.certificate_pem()).unwrap());
        command.output().unwrap().status.success()
    }

    #[test]
    fn openssl_verifies_the_signature_of_a_file_and_none_of_a_changed_one() {
        lab::skip_unless_installed!("openssl");
        let (authority, signer) = authority();
        for title in ["Word", "Größen, 表計算"] {
            let app = app(title);
            let bytes = write(&file(Some(&app)), &signer).unwrap();
            assert!(verify(&authority, &bytes), "{title}");
        }
        let bytes = write(&file(None), &signer).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let other = text.replace("full address:s:desktop", "full address:s:devious");
        assert!(!verify(&authority, other.as_bytes()));
    }

    #[test]
    fn a_text_cannot_begin_a_line() {
        let (_, signer) = authority();
        let app = app("Word\r\nfull address:s:evil.example");
        let bytes = write(&file(Some(&app)), &signer).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert!(!text.contains("\nfull address:s:evil"), "{text}");
    }
}
