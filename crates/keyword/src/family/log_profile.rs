//! Builds `log-profile` sections, which define which events of a stream are logged, and in which
//! format.

use super::{Args, Built, LineRow, places};
use crate::family::Loader;
use language::{ConfigLine, Diagnostic, suggest};
use model::codes;
use model::config::{LOG_STEPS, LogProfile, LogStep, LogSteps, StreamLogStep};
use model::rules::draft::Section;
use model::rules::{Dialect, Format, Usage};
use std::sync::Arc;

pub(super) static LINES: &[LineRow] = language::rows! {
    "on <step> [drop] [format <fmt>] [sd <fmt>]" places::LOG_PROFILE, on,
        "log-profile errors\n    on error format \"%ci %ST %tsc\"\n    on any drop\nfrontend www\n    bind \
         :80\n    log 127.0.0.1:514 profile errors local0",
        "Sets what the targets with this profile log at a step, instead of the proxy's `log-format` (or \
         `error-log-format`) and `log-format-sd`; `drop` logs nothing. Steps are: `close`, the end of a stream; \
         `error`, the end of a failed stream; `response` (`connect` in `mode tcp`), the start of a response with \
         `option logasap`; `accept`, `request`, `connect` and `response`, if `log-steps` names them. `do-log` rules \
         have the steps `tcp-req-conn`, `tcp-req-sess`, `tcp-req-cont`, `tcp-res-cont`, `http-req`, `http-res` and \
         `http-after-res`. `any` is every step without a line of its own. `quic-init` never occurs. Without an `error` \
         line, `close` applies.";
    "log-steps { all | <step>[,<step>…] }" places::FRONT, steps, "log-steps accept,close",
        "Sets the steps at which a stream is logged, with the data known so far: `accept`, `request` (headers \
         received), `connect` (to a server), `response` (headers received) and `close`. By default a stream is logged \
         once, at its end, or at the start of its response with `option logasap`. A `log-profile` sets a format for \
         each step.";
};

fn steps(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let word = args.required("<step>[,<step>…]")?;
    let known = &LOG_STEPS[..LogSteps::COUNT];
    let mut steps = 0;
    if word.is("all") {
        steps = u8::MAX;
    } else {
        for name in word.str().split(',') {
            let Some(at) = known.iter().position(|(known, _)| *known == name) else {
                let told = format!("'log-steps': unknown step '{name}'");
                let told = Diagnostic::error(&codes::BAD_VALUE, word.span, told)
                    .label("not a step of a stream")
                    .note(format!("valid steps: all, {}", names(known).join(", ")));
                return Err(told);
            };
            steps |= 1 << at;
        }
    }
    loader.proxy().log_steps = Some(LogSteps(steps));
    args.end()
}

fn names(steps: &[(&'static str, StreamLogStep)]) -> Vec<&'static str> {
    steps.iter().map(|(name, _)| *name).collect()
}

pub(crate) fn begin(loader: &mut Loader, line: &ConfigLine) -> Section {
    let named = loader.parse_section_name(line, |loader| {
        let all = loader.sections.log_profiles.iter();
        all.map(|one| (&*one.name, one.span)).collect()
    });
    let Some(name) = named else {
        return Section::Refused;
    };
    loader.sections.log_profiles.push(LogProfile {
        name: name.text().into(),
        span: name.span,
        tag: None,
        steps: Default::default(),
    });
    Section::LogProfile(loader.sections.log_profiles.len() - 1)
}

pub(super) fn section(loader: &mut Loader) -> Option<&mut LogProfile> {
    match loader.section {
        Section::LogProfile(index) => loader.sections.log_profiles.get_mut(index),
        _ => None,
    }
}

fn on(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let word = args.required("<step>")?;
    let Some((_, moment)) = LOG_STEPS.into_iter().find(|(name, _)| word.is(name)) else {
        let near = suggest::nearest(&word.text(), names(&LOG_STEPS));
        let told = format!("'on': unknown step '{}'", word.text());
        let told = Diagnostic::error(&codes::BAD_VALUE, word.span, told)
            .label("not a step of a stream")
            .note(format!("valid steps: {}", names(&LOG_STEPS).join(", ")));
        return Err(told.did_you_mean(word.span, near));
    };
    let mut step = LogStep {
        dropped: args.take_if("drop"),
        ..LogStep::default()
    };
    loop {
        let slot = if args.take_if("format") {
            &mut step.format
        } else if args.take_if("sd") {
            &mut step.structured
        } else {
            break;
        };
        let word = args.required("<fmt>")?;
        let format = Format::parse_as(loader, word, Usage::LOG, Dialect::Log)?;
        *slot = Some(Arc::new(format));
        // Cancels an earlier `drop` of this line: the last word takes effect.
        step.dropped = false;
    }
    args.end()?;
    if let Some(section) = section(loader) {
        // Merges the settings of a step with those of an earlier line about the same step.
        let known = section.steps.entry(moment).or_default();
        known.dropped = step.dropped;
        known.format = step.format.or(known.format.take());
        known.structured = step.structured.or(known.structured.take());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::load_text;

    fn codes(profile: &str, rest: &str) -> Vec<&'static str> {
        let text = format!(
            "log-profile p\n{profile}\nlisten l\n    mode http\n    bind 127.0.0.1:1\n    timeout client 9s\n    timeout server 9s\n    \
             timeout connect 9s\n    {rest}\n"
        );
        let loaded = load_text(&text);
        loaded.diagnostics.iter().map(|told| told.code.id).collect()
    }

    #[test]
    fn profiles_are_read_and_what_is_wrong_is_told() {
        let log = "log 127.0.0.1 profile p local0";
        for (profile, rest, wanted) in [
            (
                "on close format %ci\non error drop\nlog-tag x",
                log,
                &[][..],
            ),
            (
                "on any sd \"[a b=c]\" format %ST\non http-req format %HM",
                log,
                &[],
            ),
            ("on cloze drop", log, &["E0207"]),
            ("on close format", log, &["E0201"]),
            ("on close drop drop", log, &["E0202"]),
            ("on close format %{", log, &["E0503"]),
            ("bind :1", log, &["E0102"]),
            (
                "on close drop",
                "log 127.0.0.1 profile q local0",
                &["E0311"],
            ),
            (
                "on close format %HM",
                "mode tcp\nlog 127.0.0.1 profile p local0",
                &["E0302"],
            ),
            ("on close drop\nlog-profile p", log, &["E0106"]),
            ("on close drop", "log-steps accept,close", &[]),
            ("on close drop", "log-steps all", &[]),
            ("on close drop", "log-steps accept,all", &["E0207"]),
            ("on close drop", "log-steps", &["E0201"]),
        ] {
            assert_eq!(codes(profile, rest), wanted, "{profile} {rest}");
        }
    }
}
