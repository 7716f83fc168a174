//! Builds the lines for FastCGI applications: the section `fcgi-app`, and `use-fcgi-app` in
//! backends.

use super::{Args, Built, LineRow, places};
use crate::family::Loader;
use language::{ConfigLine, Diagnostic, suggest};
use model::codes;
use model::config::{
    CheckKind, FcgiApp, HeaderNames, HttpProtocol, Mode, PassHeader, Proxy, ProxyOption, SetParam,
};
use model::rules::draft::Section;
use model::rules::{Condition, Format, Usage};
use std::sync::Arc;

/// Place that determines which samples rules of an application may use.
const USAGE: Usage = Usage::BACK_HTTP_REQUEST;
/// Maximum number of rules of one application.
const RULES_MAX: usize = 256;

pub static LINES: &[LineRow] = language::rows! {
    "use-fcgi-app <name>" places::BACK_ONLY, use_app,
        "use-fcgi-app php\nserver one 127.0.0.1:9000 proto fcgi",
        "Servers of this backend with `proto fcgi` use the FastCGI settings of this `fcgi-app` section, for example \
         for php-fpm. The backend needs `mode http`, and waits for the request body as with `option \
         http-buffer-request`. Headers with other characters than letters, digits and `-` in their name are dropped, \
         unless `option http-restrict-req-hdr-names` changes that.";
    "docroot <path>" places::FCGI_APP,
        |loader, args| {
            let path = args.required("<path>")?.bytes.clone().into();
            app(loader)?.docroot = Some(path);
            args.end()
        },
        "docroot /var/www/app",
        "The directory of the scripts on the application's host. It is sent as DOCUMENT_ROOT, and precedes the script \
         name in SCRIPT_FILENAME. Required.";
    "index <script-name>" places::FCGI_APP,
        |loader, args| {
            let name = args.required("<script-name>")?.bytes.clone().into();
            app(loader)?.index = name;
            args.end()
        },
        "index index.php",
        "The script for a path that ends with a slash; it is appended to SCRIPT_NAME.";
    "path-info <regex>" places::FCGI_APP, path_info, "path-info ^(/.+\\.php)(/.*)?$",
        "Splits the decoded path: the first group of the expression is SCRIPT_NAME, the optional second one PATH_INFO. \
         Without a match the whole path is SCRIPT_NAME. A path with a line feed or a null byte is refused.";
    "set-param <name> <fmt> [ { if | unless } <condition> ]" places::FCGI_APP, set_param,
        "set-param REDIRECT_STATUS 200",
        "Sets a parameter, including default ones. If several lines set the same parameter, the last one that applies \
         wins; an empty value sets nothing.";
    "pass-header <name> [ { if | unless } <condition> ]" places::FCGI_APP, pass_header,
        "pass-header Authorization",
        "Passes a request header to the application that it would not get otherwise: Authorization, \
         Proxy-Authorization, and hop-by-hop headers. All others are passed as HTTP_<NAME> anyway.";
    "log-stderr { global | <address> [ len <length> ] [ format <format> ] [ sample <ranges>:<size> ] <facility> [ \
          <level> [ <minlevel> ] ] }" places::FCGI_APP,
        |loader, args| {
            if args.remaining_words().len() == 1 && args.take_if("global") {
                app(loader)?.log_global = true;
                return Ok(());
            }
            let target = super::log::target(loader, args)?;
            args.end()?;
            app(loader)?.logs.push(target);
            Ok(())
        },
        "log-stderr 127.0.0.1:514 local0",
        "Logs what the application writes to STDERR, line by line, at most 8 kB per request. The arguments are those \
         of `log`; `global` uses the targets of `global`. Without this line the output is dropped.";
    "[no] option keep-conn" places::FCGI_APP,
        |loader, args| {
            app(loader)?.keep_connections = !args.negated;
            args.end()
        },
        "no option keep-conn",
        "Asks the application to keep connections open for further requests, which is the default. With `no`, it \
         closes each connection after its response.";
    "[no] option get-values" places::FCGI_APP, |_, args| args.end(), "option get-values",
        "In HAProxy, asks the application how many requests a connection may carry at a time. Evenkeel always sends \
         one at a time, so the line has no effect.";
    "[no] option mpxs-conns" places::FCGI_APP,
        |loader, args| {
            args.end()?;
            if !args.negated {
                warn_of_multiplexing(loader, args);
            }
            Ok(())
        },
        "option mpxs-conns",
        "In HAProxy, allows several requests at a time on one connection. Evenkeel sends one at a time, and `option \
         keep-conn` keeps the connection for the next one; a warning reports this.";
    "option max-reqs <reqs>" places::FCGI_APP,
        |loader, args| {
            let most = args.integer("<reqs>", 1..=i64::from(i32::MAX))?;
            args.end()?;
            if most > 1 {
                warn_of_multiplexing(loader, args);
            }
            Ok(())
        },
        "option max-reqs 1",
        "The maximum number of requests at a time on a connection. Evenkeel always sends one; higher values cause a \
         warning.";
};

fn warn_of_multiplexing(loader: &mut Loader, args: &Args<'_>) {
    let told = format!(
        "'{}': a FastCGI connection carries one request at a time",
        args.keyword
    );
    loader.report(
        Diagnostic::warning(&codes::FCGI_ONE_AT_A_TIME, args.line().span, told)
            .label("no multiplexing")
            .help("remove the line; `option keep-conn` avoids new connections"),
    );
}

pub(crate) fn begin(loader: &mut Loader, line: &ConfigLine) -> Section {
    let named = loader.parse_section_name(line, |loader| {
        let all = loader.config.fcgi_apps.iter();
        all.map(|one| (&*one.name, one.span)).collect()
    });
    let Some(name) = named else {
        return Section::Refused;
    };
    let app = FcgiApp::new(&name.text(), name.span);
    loader.config.fcgi_apps.push(app);
    Section::FcgiApp(loader.config.fcgi_apps.len() - 1)
}

fn app(loader: &mut Loader) -> Result<&mut FcgiApp, Diagnostic> {
    let index = match loader.section {
        Section::FcgiApp(index) => index,
        _ => usize::MAX,
    };
    loader.config.fcgi_apps.get_mut(index).ok_or_else(|| {
        let told = "this line belongs in an 'fcgi-app' section";
        Diagnostic::global(&codes::KEYWORD_MISPLACED, language::Severity::Error, told)
    })
}

fn path_info(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let word = args.required("<regex>")?;
    let regex = loader.regular(&word.bytes, false, word.span)?;
    args.end()?;
    app(loader)?.path_info = Some(Arc::new(regex));
    Ok(())
}

fn set_param(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let name = args.required("<name>")?;
    let word = args.required("<fmt>")?;
    let value = Format::parse(loader, word, USAGE)?;
    let condition = Condition::parse(loader, args, USAGE)?;
    let upper = |byte: &u8| {
        if byte.is_ascii_alphanumeric() {
            byte.to_ascii_uppercase()
        } else {
            b'_'
        }
    };
    let rule = SetParam {
        name: name.bytes.iter().map(upper).collect(),
        value,
        condition,
    };
    let rules = &mut app(loader)?.params;
    if rules.len() >= RULES_MAX {
        return Err(args.word_error(&codes::OUT_OF_RANGE, name, "too many 'set-param' lines"));
    }
    rules.push(Arc::new(rule));
    Ok(())
}

fn pass_header(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let name = args.required("<name>")?;
    let condition = Condition::parse(loader, args, USAGE)?;
    let rule = PassHeader {
        name: name.bytes.to_ascii_lowercase().into(),
        condition,
    };
    let rules = &mut app(loader)?.passed;
    if rules.len() >= RULES_MAX {
        return Err(args.word_error(&codes::OUT_OF_RANGE, name, "too many 'pass-header' lines"));
    }
    rules.push(Arc::new(rule));
    Ok(())
}

fn use_app(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let word = args.required("<name>")?;
    args.end()?;
    loader.proxy().fcgi_app_named = Some((word.text().into(), word.span));
    Ok(())
}

/// Resolves the applications named in backends, and reports missing settings.
pub(crate) fn finish(loader: &mut Loader) {
    let mut told = Vec::new();
    let global = loader.config.global.logs.clone();
    for app in &mut loader.config.fcgi_apps {
        if app.docroot.is_none() {
            let message = format!("fcgi-app '{}': no 'docroot'", app.name);
            told.push(
                Diagnostic::error(&codes::FCGI_APP, app.span, message)
                    .label("the directory of its scripts is missing")
                    .help("add `docroot /path/of/the/scripts`"),
            );
        }
        if app.log_global {
            let own = std::mem::take(&mut app.logs);
            app.logs = global.iter().cloned().chain(own).collect();
        }
    }
    let config = &mut loader.config;
    let apps = &config.fcgi_apps;
    for proxy in &mut config.proxies {
        join(proxy, apps, &mut told);
    }
    loader.report_all(told);
}

fn join(proxy: &mut Proxy, apps: &[FcgiApp], told: &mut Vec<Diagnostic>) {
    let speaks =
        |server: &model::config::Server| server.options.protocol == Some(HttpProtocol::FastCgi);
    let mut wrong = |span, message: String, help: &str| {
        let diagnostic = Diagnostic::error(&codes::FCGI_APP, span, message);
        told.push(diagnostic.help(help.to_owned()));
    };
    let first = proxy.servers.iter().find(|server| speaks(server));
    let Some((name, span)) = proxy.fcgi_app_named.clone() else {
        if let Some(server) = first {
            let message = format!(
                "server '{}' uses FastCGI, but no application is named",
                server.name
            );
            wrong(
                server.span,
                message,
                "add `use-fcgi-app NAME` to this section",
            );
        }
        return;
    };
    let Some(at) = apps.iter().position(|app| app.name == name) else {
        let near = suggest::nearest(&name, apps.iter().map(|app| &*app.name));
        let message = format!("fcgi-app '{name}' not found");
        let diagnostic = Diagnostic::error(&codes::FCGI_APP, span, message);
        told.push(diagnostic.label("no such section").did_you_mean(span, near));
        return;
    };
    if proxy.mode != Mode::Http {
        let message = format!("'use-fcgi-app {name}' needs 'mode http'");
        return wrong(span, message, "add `mode http` to this section");
    }
    let Some(first) = first else {
        let message = format!("'use-fcgi-app {name}', but no server uses FastCGI");
        return wrong(
            span,
            message,
            "add `proto fcgi` to the servers of the application",
        );
    };
    if proxy.check.kind == CheckKind::Http && first.options.check {
        let message = format!(
            "'option httpchk' cannot check server '{}', which uses FastCGI",
            first.name
        );
        let help = "use `option tcp-check`, or `external-check` with a program that speaks FastCGI (cgi-fcgi)";
        return wrong(first.span, message, help);
    }
    proxy.fcgi_app = Some(at);
    // Waits for the body, whose length (CONTENT_LENGTH) is sent before it.
    proxy.options.set(ProxyOption::HttpBufferRequest, true);
    if !proxy.header_names_said {
        proxy.header_names = HeaderNames::Delete;
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::load_text;
    use model::config::HeaderNames;

    fn codes(app: &str, backend: &str) -> Vec<&'static str> {
        let text = format!(
            "listen l\n mode http\n bind 127.0.0.1:1\n timeout client 9s\n timeout server 9s\n timeout connect 9s\n {backend}\n\
             fcgi-app php\n {app}\n"
        );
        let loaded = load_text(&text);
        loaded.diagnostics.iter().map(|told| told.code.id).collect()
    }

    #[test]
    fn applications_are_read_and_what_is_wrong_is_told() {
        let server = "use-fcgi-app php\n server s 127.0.0.1:9000 proto fcgi";
        let checked = format!("{server} check\n option httpchk");
        for (app, backend, want) in [
            ("docroot /x", server, &[][..]),
            (
                "docroot /x\n acl a path /x\n set-param A %[path] if a\n pass-header Authorization unless a",
                server,
                &[],
            ),
            (
                "docroot /x\n option max-reqs 1\n option get-values\n no option mpxs-conns",
                server,
                &[],
            ),
            (
                "docroot /x\n option max-reqs 2\n option mpxs-conns",
                server,
                &["W0484", "W0484"],
            ),
            ("index x", server, &["E0484"]),
            ("docroot /x\n path-info (", server, &["E0411"]),
            ("docroot /x\n set-param A", server, &["E0201"]),
            (
                "docroot /x",
                "server s 127.0.0.1:9000 proto fcgi",
                &["E0484"],
            ),
            ("docroot /x", "use-fcgi-app php", &["E0484"]),
            (
                "docroot /x",
                "use-fcgi-app pho\n server s 127.0.0.1:9000 proto fcgi",
                &["E0484"],
            ),
            ("docroot /x", &checked, &["E0484"]),
        ] {
            assert_eq!(codes(app, backend), want, "{app} {backend}");
        }
    }

    #[test]
    fn odd_names_of_headers_are_left_out_unless_a_line_says_otherwise() {
        let names = |line: &str| {
            let text = format!(
                "listen l\n mode http\n bind 127.0.0.1:1\n timeout client 9s\n timeout server 9s\n timeout connect 9s\n {line}\n\
                 use-fcgi-app php\n server s 127.0.0.1:9000 proto fcgi\nfcgi-app php\n docroot /x\n"
            );
            load_text(&text).config.expect("it is right").proxies[0].header_names
        };
        assert_eq!(names(""), HeaderNames::Delete);
        assert_eq!(
            names("option http-restrict-req-hdr-names preserve"),
            HeaderNames::Preserve
        );
    }
}
