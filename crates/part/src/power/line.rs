//! Parses power methods in configuration files: the rest of the line after `ipmi`, `exec` or
//! `agent`.

use super::control::PowerControl;
use language::arguments::Args;
use language::{Code, Diagnostic};
use std::collections::BTreeMap;

/// Highest number of a cipher suite (IPMI 2.0, section 22.15.2).
const CIPHERS_MAX: u32 = 19;

/// Parses a management controller: `ADDRESS user NAME password-file FILE [cipher NUMBER]`. `twice`
/// is the diagnostic code for a repeated option.
///
/// # Errors
/// A word is missing or not valid.
pub fn ipmi(args: &mut Args<'_>, twice: &'static Code) -> Result<PowerControl, Diagnostic> {
    let word = args.required("the address of the controller")?;
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(byte);
    if word.bytes.is_empty() || word.str().starts_with('-') || !word.bytes.iter().all(allowed) {
        return Err(args.unexpected_value(word, "not an address or a host name"));
    }
    let at = word.text().into_owned();
    let (mut user, mut password_file, mut cipher) = (None, None, None);
    let known = ["user", "password-file", "cipher"];
    args.options(&known, &[], twice, |option, args| {
        match option {
            "user" => user = Some(args.required("the name of a user")?.text().into_owned()),
            "cipher" => cipher = Some(args.count("the number of a cipher suite", 1..=CIPHERS_MAX)?),
            _ => password_file = Some(args.absolute_path("the file with the password")?.value),
        }
        Ok(())
    })?;
    match (user, password_file) {
        (Some(user), Some(password_file)) => Ok(PowerControl::Ipmi {
            at,
            user,
            password_file,
            cipher,
        }),
        (user, _) => {
            let missing = match user {
                None => "`user` and the name of a user",
                Some(_) => "`password-file` and a file",
            };
            args.required(missing)?;
            Err(args.unexpected_value(word, "without a user"))
        }
    }
}

/// Parses a program with its arguments.
///
/// # Errors
/// The program is missing, or not an absolute path.
pub fn program(args: &mut Args<'_>) -> Result<Vec<String>, Diagnostic> {
    let program = args.absolute_path("a program")?.value;
    let arguments = args.rest().iter().map(|word| word.text().into_owned());
    let program = program.display().to_string();
    Ok(std::iter::once(program).chain(arguments).collect())
}

/// Parses a fence agent with its options: `AGENT [NAME=VALUE…]`.
///
/// # Errors
/// A word is missing or not valid, or an option is given twice.
pub fn agent(args: &mut Args<'_>, twice: &'static Code) -> Result<PowerControl, Diagnostic> {
    let word = args.required("the name of a fence agent")?;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    if !word.str().starts_with("fence_") || !word.str().bytes().all(allowed) {
        return Err(
            args.unexpected_value(word, "not the name of a fence agent, such as `fence_apc`")
        );
    }
    let name = word.text().into_owned();
    let mut options = BTreeMap::new();
    for word in args.rest() {
        let is_name = |name: &str| !name.is_empty() && name.bytes().all(allowed);
        let option = word.str().split_once('=');
        // Refuses a value with a line end, because the agent reads the options as lines.
        let option = option.filter(|(name, value)| is_name(name) && !value.contains('\n'));
        let Some((option, value)) = option else {
            return Err(args.unexpected_value(word, "not an option of the form `NAME=VALUE`"));
        };
        if option == "action" {
            return Err(
                args.unexpected_value(word, "not allowed here: each command sets its own action")
            );
        }
        if options
            .insert(option.to_owned(), value.to_owned())
            .is_some()
        {
            let told = format!("'{option}' may appear only once in this line");
            let told = Diagnostic::error(twice, word.span, told);
            return Err(told.label("a second one").help("remove one of the two"));
        }
    }
    Ok(PowerControl::Agent { name, options })
}
