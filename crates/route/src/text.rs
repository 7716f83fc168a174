//! Renders the report about a request as text for a terminal, without characters that control the
//! terminal.

use crate::{EvaluatedLine, LiveServer, RouteDestination, RouteReport, TermText};

const SERVERS_MAX: usize = 12;

pub fn of(report: &RouteReport) -> String {
    let mut text = plain(&report.request);
    text += &match &report.ends {
        Some([source, destination]) => format!("\n  from {source} to {destination}"),
        None => "\n  at a Unix socket".to_owned(),
    };
    if let Some((name, certificate)) = &report.tls {
        text += &match (name.is_empty(), certificate.is_empty()) {
            (true, true) => ", TLS without a name".to_owned(),
            (true, false) => format!(
                ", TLS without a name, certificate {}",
                certificate.join(", ")
            ),
            (false, true) => format!(", TLS name {name}"),
            (false, false) => format!(", TLS name {name}, certificate {}", certificate.join(", ")),
        };
    }
    text += "\n";
    if let Some(live) = &report.live {
        text += &format!(
            "  with the state of {} at {}\n",
            plain(&live.instance),
            live.at
        );
    }
    let mut section = None;
    if report.lines.is_empty() {
        text += &format!("\n{}\n  no line was evaluated\n", report.frontend);
    }
    for line in &report.lines {
        if section != Some(&line.section) {
            text += &format!("\n{}\n", line.section);
            section = Some(&line.section);
        }
        text += &of_line(line);
    }
    if report.left_out > 0 {
        text += &format!("  {} further steps are not shown\n", report.left_out);
    }
    text += &format!("\n{}", outcome(&report.outcome));
    if let Some(live) = &report.live {
        let words = live.servers.iter().take(SERVERS_MAX).map(LiveServer::words);
        let more = live.servers.len().saturating_sub(SERVERS_MAX);
        let more = (more > 0).then(|| format!("{more} further servers: `--json` shows them"));
        let words = words.chain(more).chain(live.notes.iter().cloned());
        words.for_each(|words| text += &format!("   {}\n", plain(&words)));
    }
    text
}

fn of_line(line: &EvaluatedLine) -> String {
    let has_effect = line.applies || (line.met == Some(true) && line.fails.is_none());
    let mark = if has_effect { '+' } else { '-' };
    let mut text = format!(
        "{mark} {}:{}  {}\n",
        line.file,
        line.number,
        plain(&line.text)
    );
    let mut words = Vec::new();
    words.extend(line.terms.iter().map(term));
    match (line.applies, line.ends, &line.leads_to) {
        (true, _, Some(backend)) => words.push(format!("leads to backend {backend}")),
        (true, true, None) => words.push("ends these rules".to_owned()),
        _ => {}
    }
    words.extend(line.fails.clone());
    for one in words {
        text += &format!("      {}\n", plain(&one));
    }
    text
}

fn term(term: &TermText) -> String {
    let met = if term.met { "true" } else { "false" };
    let values: Vec<String> = term
        .values
        .iter()
        .map(|value| format!("'{value}'"))
        .collect();
    if values.is_empty() {
        format!("{}: {met}, there is no value", term.name)
    } else {
        format!("{}: {met} for {}", term.name, values.join(", "))
    }
}

fn outcome(outcome: &RouteDestination) -> String {
    match outcome {
        RouteDestination::Server {
            backend,
            server,
            address,
            why,
        } => {
            if address.is_empty() {
                format!("=> server {backend}/{server}, by {why}\n")
            } else {
                format!("=> server {backend}/{server} ({address}), by {why}\n")
            }
        }
        RouteDestination::Reply {
            status,
            location,
            why,
        } => {
            let location = location
                .as_ref()
                .map(|to| format!(", location {}", plain(to)));
            let status = if status.is_empty() {
                "something"
            } else {
                status
            };
            format!(
                "=> the proxy replies {}{}: {why}\n",
                plain(status),
                location.unwrap_or_default()
            )
        }
        RouteDestination::Waits {
            backend,
            server,
            why,
        } => match server {
            Some(server) => format!("=> waits in the queue of server {backend}/{server}: {why}\n"),
            None => format!("=> waits in the queue of backend {backend}: {why}\n"),
        },
        RouteDestination::Nothing { why } => format!("=> no reply: {why}\n"),
    }
}

pub fn lines(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(plain).collect();
    lines.join("\n")
}

/// Replaces characters that control a terminal, or change the order of other characters, by U+FFFD.
pub fn plain(text: &str) -> String {
    let shown = |c: char| match c {
        '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{2069}'
        | '\u{feff}' => '\u{fffd}',
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::lines;

    #[test]
    fn message_keeps_lines_but_no_control_characters() {
        assert_eq!(
            lines("choose one:\n  7 a\u{1b}[2J\n  8 b"),
            "choose one:\n  7 a\u{fffd}[2J\n  8 b"
        );
    }
}
