//! Implements `show events`: prints the log lines in a ring buffer, those present or also new
//! ones as they arrive.

use super::{CommandReply, Context, Session};
use model::config::{Config, StatsLevel};
use model::log::ring;

/// A ring that a connection follows until its client sends anything.
pub struct Follow {
    pub name: String,
    pub newest: bool,
}

struct EventsArguments<'a> {
    name: Option<&'a str>,
    newest: bool,
    follow: bool,
}

fn asked<'a>(words: &[&'a str]) -> Result<EventsArguments<'a>, String> {
    let mut asked = EventsArguments {
        name: None,
        newest: false,
        follow: false,
    };
    for word in words.iter().skip(2) {
        match word.strip_prefix('-') {
            Some(flags) if !flags.is_empty() && flags.chars().all(|c| "nw".contains(c)) => {
                asked.newest |= flags.contains('n');
                asked.follow |= flags.contains('w');
            }
            Some(_) => return Err(format!("unknown option '{word}'\n")),
            None if asked.name.is_none() => asked.name = Some(word),
            None => return Err("too many arguments\n".into()),
        }
    }
    Ok(asked)
}

/// Returns the ring if the command requests to wait for new lines (`-w`) and the ring exists.
pub fn follow(session: &Session, words: &[&str]) -> Option<Follow> {
    if !words.starts_with(&["show", "events"]) || session.level < StatsLevel::Operator {
        return None;
    }
    let asked = asked(words).ok().filter(|asked| asked.follow)?;
    let name = asked.name?;
    ring::since(name, 0)?;
    Some(Follow {
        name: name.to_owned(),
        newest: asked.newest,
    })
}

/// `show events [<ring>] [-w] [-n]`, unless [`follow`] handles the command.
///
/// A ring that no `log` line names is not open yet and is empty.
pub fn show(context: &Context, _: &Session, words: &[&str]) -> CommandReply {
    shown(&context.runtime.config(), words).into()
}

fn shown(config: &Config, words: &[&str]) -> Result<String, String> {
    let asked = asked(words)?;
    let Some(name) = asked.name else {
        let mut out = String::from(
            "Supported events sinks are listed below. Add -w(wait), -n(new). Any key to stop\n",
        );
        for ring in ring::summaries() {
            out.push_str(&format!(
                "    {:<10} : type=buffer, {} dropped, {}\n",
                ring.name, ring.lost, ring.description
            ));
        }
        for ring in config
            .rings
            .iter()
            .filter(|ring| ring::lines(&ring.name).is_none())
        {
            let (name, text) = (&ring.name, &ring.description);
            out.push_str(&format!(
                "    {name:<10} : type=buffer, 0 dropped, {text}\n"
            ));
        }
        return Ok(out);
    };
    let unopened = || {
        config
            .rings
            .iter()
            .any(|ring| *ring.name == *name)
            .then(Vec::new)
    };
    let Some(lines) = ring::lines(name).or_else(unopened) else {
        return Err("No such event sink\n".into());
    };
    let mut out = String::new();
    // With `-n`, existing lines are left out.
    for line in lines.iter().filter(|_| !asked.newest) {
        out.push_str(&String::from_utf8_lossy(line));
        out.push('\n');
    }
    Ok(out)
}
