//! Evaluates the requests of `test` sections, and reports unexpected results.

use super::{Expectation, ExpectedResult, codes};
use crate::{NotFollowed, Request, RouteDestination, RouteReport};
use configuration::Recording;
use keyword::load;
use language::{Diagnostic, SourceMap};
use proxy::route::NotThere;
use std::time::{Duration, Instant};

const TIME_MAX: Duration = Duration::from_secs(30);

/// Evaluates the requests with the loaded configuration. Returns an error for each unexpected
/// result, and one if the evaluation takes longer than [`TIME_MAX`].
pub fn unmet(
    expectations: &[Expectation],
    recording: &Recording,
    sources: &SourceMap,
) -> Vec<Diagnostic> {
    let begun = Instant::now();
    let mut told = Vec::new();
    for (at, one) in expectations.iter().enumerate() {
        if begun.elapsed() > TIME_MAX {
            let left = expectations.len() - at;
            let words = format!(
                "this expectation and {} others were not evaluated: the previous ones took {} s",
                left - 1,
                TIME_MAX.as_secs()
            );
            told.push(Diagnostic::error(&codes::TOO_MANY, one.span, words));
            break;
        }
        // Builds the configuration again for each request, which so gets empty tables and counters.
        let Some(config) = load::replay(recording.clone()).config else {
            continue;
        };
        let files = config.files.clone();
        told.extend(match one.request.follow(config, sources) {
            Ok(report) => difference(one, &report, &files),
            Err(error) => Some(not_followed(one, &error)),
        });
    }
    told
}

fn not_followed(one: &Expectation, error: &NotFollowed) -> Diagnostic {
    let span = match error {
        NotFollowed::NotThere(NotThere::NoFrontend { .. } | NotThere::Otherwise { .. }) => one.on,
        _ => None,
    };
    let told = Diagnostic::error(&codes::NOT_MET, span.unwrap_or(one.span), error.to_string());
    match error {
        NotFollowed::NotThere(NotThere::Nobody { .. } | NotThere::Several { .. }) => {
            told.help("name the frontend with `on NAME`, or its address with `to ADDRESS:PORT`")
        }
        _ => told,
    }
}

fn difference(one: &Expectation, report: &RouteReport, files: &[String]) -> Option<Diagnostic> {
    let replies = |(wish, _): &(ExpectedResult, _)| {
        matches!(
            wish,
            ExpectedResult::Status(_) | ExpectedResult::Location(_)
        )
    };
    let replies = one.wishes.iter().any(replies);
    let (wish, span) = one
        .wishes
        .iter()
        .find(|(wish, _)| !is_met(wish, replies, report))?;
    let words = match wish {
        ExpectedResult::Refused => format!("expected to be refused, but {}", became(report)),
        wish => format!("expected {wish}, but {}", became(report)),
    };
    let mut told = Diagnostic::error(
        &codes::NOT_MET,
        *span,
        format!("{}: {words}", report.request),
    );
    told = told.label("this does not happen");
    if let Some(line) = report.decided_by() {
        told = told.with_label(line.span, "this line decided");
    }
    let told = match why(&report.outcome) {
        "" => told,
        why => told.note(why),
    };
    let command = command(&one.request, report, files);
    Some(told.help(format!("`{command}` shows each line that was evaluated")))
}

fn is_met(wish: &ExpectedResult, replies: bool, report: &RouteReport) -> bool {
    let served = match &report.outcome {
        RouteDestination::Server {
            backend, server, ..
        } => Some((backend, server)),
        _ => None,
    };
    match wish {
        ExpectedResult::Backend(name) if replies => report.backend.as_ref() == Some(name),
        ExpectedResult::Backend(name) => served.is_some_and(|(backend, _)| backend == name),
        ExpectedResult::Server { backend, server } => served.is_some_and(|(its, name)| {
            name == server && backend.as_ref().is_none_or(|backend| backend == its)
        }),
        ExpectedResult::Status(status) => {
            served.is_none() && report.status.split(' ').next() == Some(&*status.to_string())
        }
        ExpectedResult::Location(wanted) => match &report.outcome {
            RouteDestination::Reply { location, .. } => location.as_ref() == Some(wanted),
            _ => false,
        },
        ExpectedResult::Refused => !report.has_response(),
    }
}

fn became(report: &RouteReport) -> String {
    match &report.outcome {
        RouteDestination::Server {
            backend, server, ..
        } => format!("server {backend}/{server} gets it"),
        RouteDestination::Reply {
            status, location, ..
        } => match location {
            Some(location) => format!("the proxy replies {status}, location {location}"),
            None if status.is_empty() => "the proxy replies something that is not HTTP".to_owned(),
            None => format!("the proxy replies {status}"),
        },
        RouteDestination::Waits { .. } | RouteDestination::Nothing { .. } => {
            "it gets no server, and no line replies".to_owned()
        }
    }
}

fn why(outcome: &RouteDestination) -> &str {
    match outcome {
        RouteDestination::Server { why, .. }
        | RouteDestination::Reply { why, .. }
        | RouteDestination::Waits { why, .. }
        | RouteDestination::Nothing { why } => why,
    }
}

fn command(request: &Request, report: &RouteReport, files: &[String]) -> String {
    let asked = &request.asked;
    let scheme = if report.tls.is_some() {
        "https"
    } else {
        "http"
    };
    let method = if asked.is_connection() {
        "GET"
    } else {
        &asked.method
    };
    let url = format!("{method} {scheme}://{}{}", asked.authority, asked.target);
    let mut words = vec!["evenkeel".to_owned(), "route".to_owned()];
    for (at, file) in files.iter().enumerate() {
        if at > 0 {
            words.push("-f".to_owned());
        }
        words.push(quoted(file));
        if at == 0 {
            words.push(quoted(&url));
        }
    }
    let mut option = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            words.extend([format!("--{name}"), quoted(&value)]);
        }
    };
    let end = |end: Option<crate::RouteEndpoint>| {
        end.map(|(address, port)| match port {
            Some(port) => std::net::SocketAddr::new(address, port).to_string(),
            None => address.to_string(),
        })
    };
    option("frontend", request.frontend.clone());
    option("src", end(request.source));
    option("through", end(request.through));
    option("to", end(request.to));
    option("sni", request.sni.clone());
    for (name, value) in asked.headers() {
        option("header", Some(format!("{name}: {value}")));
    }
    if !asked.body.is_empty() {
        let body = String::from_utf8_lossy(&asked.body).into_owned();
        option("data", Some(body));
    }
    words.join(" ")
}

fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,=@%+".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
