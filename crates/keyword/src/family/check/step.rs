//! Builds the steps of check scripts: lines of `tcp-check` and `http-check`, in the order of
//! execution.

use super::expect::binary;
use super::{Comment, check_of, text_of};
use crate::family::Loader;
use crate::family::{Args, Built, LineRow, places};
use language::Diagnostic;
use model::check::{CheckStep, STEPS_MAX, Send, StepAction};
use model::codes;
use model::config::{CheckLines, ProxyKind};
use model::rules::draft::Section;
use model::rules::{Dialect, Format, Usage, VariableChange};

pub static LINES: &[LineRow] = language::rows! {
    "tcp-check connect [default] [port <expr>] [addr <ip>] [send-proxy] [via-socks4] [ssl] [sni <sni>] [alpn <alpn>] [linger] [proto <name>] [comment <msg>]" places::CHECKS,
        |loader, args| connect(loader, args, false),
        "tcp-check connect port 443 ssl sni www.example.com",
        "Opens a connection for the rules that follow, and closes the previous one. Without `default`, only the \
         address and the port of the server's options apply. A script that contains this rule must begin with it.";
    "tcp-check send <data> [comment <msg>]" places::CHECKS,
        |loader, args| send(loader, args, Sends::Text), "tcp-check send PING\\r\\n",
        "Sends text on the current connection, which an earlier rule has opened.";
    "tcp-check send-lf <fmt> [comment <msg>]" places::CHECKS,
        |loader, args| send(loader, args, Sends::Format), "tcp-check send-lf %[srv_name]",
        "Sends the result of a log format on the current connection. The format may use variables of earlier rules.";
    "tcp-check send-binary <hexstring> [comment <msg>]" places::CHECKS,
        |loader, args| send(loader, args, Sends::Binary), "tcp-check send-binary 50494e470d0a",
        "Sends the bytes given as an even number of hexadecimal digits.";
    "tcp-check send-binary-lf <hexfmt> [comment <msg>]" places::CHECKS,
        |loader, args| send(loader, args, Sends::BinaryFormat),
        "tcp-check send-binary-lf %[str(PING),hex]",
        "Sends the bytes given as hexadecimal digits by a log format.";
    "tcp-check expect [min-recv <int>] [comment <msg>] [ok-status <st>] [error-status <st>] [tout-status <st>] [on-success <fmt>] [on-error <fmt>] [status-code <expr>] [!] { string | rstring | string-lf | binary | rbinary | binary-lf } <pattern>" places::CHECKS,
        |loader, args| expect(loader, args, false), "tcp-check expect string +PONG",
        "Waits for a response that matches a pattern, or with `!` does not match it. Until then more data is awaited, \
         unless `min-recv` sets how many bytes are enough. The other options set the status, code and message with \
         which a check ends.";
    "tcp-check comment <string>" places::CHECKS, |loader, args| comment(loader, args, false),
        "tcp-check comment greeting",
        "Sets a comment on the next rule. The log shows it if that rule fails.";
    "tcp-check set-var(<var-name>[,<cond>...]) <expr>" places::CHECKS,
        |loader, args| variable(loader, args, false), "tcp-check set-var(check.port) int(8080)",
        "Stores the value of an expression for later rules. Scopes are `check` and `sess` (this check) and `proc` (the \
         process).";
    "tcp-check set-var-fmt(<var-name>[,<cond>...]) <fmt>" places::CHECKS,
        |loader, args| variable(loader, args, false),
        "tcp-check set-var-fmt(check.name) %[srv_name]",
        "Stores the result of a log format in a variable, for later rules of the same check.";
    "tcp-check unset-var(<var-name>)" places::CHECKS, |loader, args| variable(loader, args, false),
        "tcp-check unset-var(check.port)",
        "Deletes a variable; see `set-var` for the names.";
    "http-check comment <string>" places::CHECKS, |loader, args| comment(loader, args, true),
        "http-check comment greeting",
        "Sets a comment on the next rule. The log shows it if that rule fails.";
    "http-check set-var(<var-name>[,<cond>...]) <expr>" places::CHECKS,
        |loader, args| variable(loader, args, true), "http-check set-var(check.port) int(8080)",
        "Stores the value of an expression for later rules. Scopes are `check` and `sess` (this check) and `proc` (the \
         process).";
    "http-check set-var-fmt(<var-name>[,<cond>...]) <fmt>" places::CHECKS,
        |loader, args| variable(loader, args, true),
        "http-check set-var-fmt(check.name) %[srv_name]",
        "Stores the result of a log format in a variable, for later rules of the same check.";
    "http-check unset-var(<var-name>)" places::CHECKS, |loader, args| variable(loader, args, true),
        "http-check unset-var(check.port)",
        "Deletes a variable; see `set-var` for the names.";
    "http-check connect [default] [port <expr>] [addr <ip>] [send-proxy] [via-socks4] [ssl] [sni <sni>] [alpn <alpn>] [linger] [proto <name>] [comment <msg>]" places::CHECKS,
        |loader, args| connect(loader, args, true), "http-check connect port 8443 ssl alpn h2",
        "Opens a connection for the requests that follow, and closes the previous one. Without `default`, only the \
         address and the port of the server's options apply. A script that contains this rule must begin with it, and \
         each `http-check send` needs one before it.";
    "http-check send [meth <method>] [{ uri <uri> | uri-lf <fmt> }] [ver <version>] [hdr <name> <fmt>]… [{ body <text> | body-lf <fmt> }] [comment <msg>]" places::CHECKS,
        request, "http-check send meth GET uri /health ver HTTP/1.1 hdr host www.example.com",
        "Sends a request. Anything that the first such line omits comes from `option httpchk`. `content-length`, and \
         `connection: close` for HTTP/1.1, are added automatically.";
    "http-check expect [min-recv <int>] [comment <msg>] [ok-status <st>] [error-status <st>] [tout-status <st>] [on-success <fmt>] [on-error <fmt>] [status-code <expr>] [!] { status | rstatus | hdr | fhdr | string | rstring | string-lf } <pattern>" places::CHECKS,
        |loader, args| expect(loader, args, true), "http-check expect status 200-299,404",
        "Sets the expected response of an HTTP check, instead of a status from 200 to 399. `!` inverts the test. With \
         several lines, all must match. The options set the status, code and message with which a check ends.";
};

fn lines_of(loader: &mut Loader, http: bool) -> &mut CheckLines {
    let check = check_of(loader);
    if http {
        &mut check.http
    } else {
        &mut check.tcp
    }
}

/// Returns the section that owns the steps of the current line. The steps of a proxy replace those
/// of its defaults, which have another owner.
fn owner(loader: &mut Loader) -> (ProxyKind, Box<str>) {
    match loader.section {
        Section::HealthCheck(_) => (ProxyKind::Defaults, "healthcheck".into()),
        Section::Defaults(index) => (ProxyKind::Defaults, index.to_string().into()),
        _ => {
            let proxy = loader.proxy();
            (proxy.kind, proxy.name.clone())
        }
    }
}

fn add(
    loader: &mut Loader,
    args: &mut Args<'_>,
    http: bool,
    action: StepAction,
    comment: Comment,
) -> Built {
    let owner = owner(loader);
    let text = text_of(args);
    let span = args.keyword_span();
    let lines = lines_of(loader, http);
    if lines.owner.as_ref() != Some(&owner) {
        lines.steps.clear();
        lines.first = None;
        lines.owner = Some(owner);
    }
    lines.first.get_or_insert(span);
    if lines.steps.len() == STEPS_MAX {
        return Err(Diagnostic::error(
            &codes::OUT_OF_RANGE,
            span,
            format!("a check has at most {STEPS_MAX} rules"),
        ));
    }
    let wrong = if http {
        http_order(&lines.steps, &action)
    } else {
        None
    };
    let wrong = wrong.or_else(|| connect_order(&lines.steps, &action));
    if let Some(why) = wrong {
        return Err(Diagnostic::error(
            &codes::CHECK_ORDER,
            span,
            format!("'{}': {why}", args.keyword),
        )
        .label("not allowed here")
        .help("begin with `connect`, or remove it to connect implicitly before the first rule"));
    }
    let number = lines.steps.len() as u32 + 1;
    lines.steps.push(CheckStep {
        action,
        comment,
        number,
        text,
    });
    Ok(())
}

fn last_acting(steps: &[CheckStep]) -> Option<&StepAction> {
    let mut actions = steps.iter().rev().map(|step| &step.action);
    actions.find(|action| !matches!(action, StepAction::Comment | StepAction::Variable(_)))
}

/// Returns an error for a `connect` step after steps of other kinds, unless the first step is a
/// `connect`.
fn connect_order(steps: &[CheckStep], action: &StepAction) -> Option<&'static str> {
    if !matches!(action, StepAction::Connect(_)) {
        return None;
    }
    let acting =
        |step: &&CheckStep| !matches!(step.action, StepAction::Comment | StepAction::Variable(_));
    let first = steps.iter().find(acting).map(|step| &step.action);
    match first {
        None | Some(StepAction::Connect(_)) => None,
        Some(_) => Some("the first rule must be a 'connect' if the check has one"),
    }
}

/// Returns an error if a step of `http-check` is not in the order connection, request, expected
/// response.
fn http_order(steps: &[CheckStep], action: &StepAction) -> Option<&'static str> {
    match (action, last_acting(steps)) {
        (StepAction::Connect(_), None | Some(StepAction::Expect(_)))
        | (StepAction::Send(_), None | Some(StepAction::Connect(_)))
        | (StepAction::Expect(_), None | Some(StepAction::Send(_) | StepAction::Expect(_))) => None,
        (StepAction::Connect(_), _) => Some("an 'expect' is missing before it"),
        (StepAction::Send(_), _) => Some("a 'connect' is missing before it"),
        (StepAction::Expect(_), _) => Some("a 'send' is missing before it"),
        _ => None,
    }
}

fn connect(loader: &mut Loader, args: &mut Args<'_>, http: bool) -> Built {
    let (connect, comment) = super::connect::connect(loader, args, http)?;
    let action = StepAction::Connect(Box::new(connect));
    add(loader, args, http, action, comment)
}

fn expect(loader: &mut Loader, args: &mut Args<'_>, http: bool) -> Built {
    let (expect, comment) = super::expect::expect(loader, args, http)?;
    let action = StepAction::Expect(Box::new(expect));
    add(loader, args, http, action, comment)
}

fn request(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let (send, comment) = super::request::request(loader, args)?;
    let action = StepAction::Send(Box::new(Send::Http(send)));
    add(loader, args, true, action, comment)
}

fn comment(loader: &mut Loader, args: &mut Args<'_>, http: bool) -> Built {
    let comment = args.required("<string>")?.bytes.as_slice().into();
    args.warn_of_surplus()?;
    add(loader, args, http, StepAction::Comment, Some(comment))
}

fn variable(loader: &mut Loader, args: &mut Args<'_>, http: bool) -> Built {
    let Some(word) = args.line().word(1) else {
        return args.end();
    };
    let change = VariableChange::of_check(loader, args, word)?;
    args.warn_of_surplus()?;
    let action = StepAction::Variable(Box::new(change));
    add(loader, args, http, action, None)
}

/// Interpretation of the argument of `tcp-check send` and its variants.
#[derive(Clone, Copy)]
enum Sends {
    Text,
    Format,
    Binary,
    BinaryFormat,
}

fn send(loader: &mut Loader, args: &mut Args<'_>, how: Sends) -> Built {
    let word = args.required("the data to send")?;
    if word.bytes.is_empty() {
        let message = format!("'{}' has nothing to send", args.keyword);
        return Err(args.word_error(&codes::BAD_VALUE, word, message));
    }
    let mut format = || Format::parse_as(loader, word, Usage::CHECK, Dialect::Text);
    let send = match how {
        Sends::Text => Send::Bytes(word.bytes.as_slice().into()),
        Sends::Format => Send::Format(format()?),
        Sends::Binary => Send::Bytes(binary(args, word)?),
        Sends::BinaryFormat => Send::HexFormat(format()?),
    };
    let mut comment = None;
    while let Some(word) = args.next() {
        if !word.is("comment") {
            return Err(super::unknown_word(args, word, &["comment"]));
        }
        comment = Some(args.required("<text>")?.bytes.as_slice().into());
    }
    add(
        loader,
        args,
        false,
        StepAction::Send(Box::new(send)),
        comment,
    )
}
