//! Builds `cache` sections, which define the size of a cache and the lifetime of its entries, and
//! checks the names of caches in other lines.

use super::{Args, Built, LineRow};
use crate::family::Loader;
use language::{ConfigLine, Diagnostic, Span, suggest};
use model::cache::{Cache, Settings};
use model::codes;
use std::sync::Arc;

const PLACE: &[&str] = &["cache"];
/// Maximum value of `total-max-size`, megabytes.
const TOTAL_MAX_MB: u32 = 4095;
const AGE_DEFAULT_S: u32 = 60;
const SECONDARY_DEFAULT: usize = 10;

#[derive(Debug)]
pub(crate) struct CacheDraft {
    span: Span,
    settings: Settings,
    object_max: Option<(u64, Span)>,
}

pub(super) static LINES: &[LineRow] = language::rows! {
    "total-max-size <megabytes>" PLACE, total, "total-max-size 64",
        "Maximum memory of the cache in megabytes, 1 to 4095. Required. The oldest entries are removed first.";
    "max-object-size <bytes>" PLACE, object, "max-object-size 100000",
        "The largest response to store, including headers; at most half of the cache. The default is 1/256 of the \
         cache.";
    "max-age <seconds>" PLACE, age, "max-age 240",
        "Maximum age of a stored response, even if its headers allow more. The default is 60 seconds.";
    "process-vary { on | off }" PLACE, vary, "process-vary on",
        "Also stores responses with a `Vary` header, for requests with the same `Accept-Encoding`, `Referer` or \
         `Origin`. Off by default: such responses are not stored.";
    "max-secondary-entries <number>" PLACE, secondary, "process-vary on\nmax-secondary-entries 20",
        "Maximum number of responses per host and target that differ by `Vary`; further ones are not stored. The \
         default is 10.";
};

impl CacheDraft {
    pub(crate) fn begin(line: &ConfigLine) -> Result<CacheDraft, Diagnostic> {
        let Some(name) = line.word(1) else {
            return Err(Diagnostic::error(
                &codes::SECTION_NAME,
                line.end(),
                "'cache' expects a name",
            )
            .label("a name is missing here"));
        };
        Ok(CacheDraft {
            span: name.span,
            settings: Settings {
                name: name.text().into(),
                total_max: 0,
                object_max: 0,
                age_max_s: AGE_DEFAULT_S,
                vary: false,
                secondary_max: SECONDARY_DEFAULT,
            },
            object_max: None,
        })
    }
}

impl Loader {
    pub(crate) fn end_cache(&mut self) {
        let Some(draft) = self.sections.cache.take() else {
            return;
        };
        let mut settings = draft.settings;
        let taken = |cache: &Arc<Cache>| cache.settings.name == settings.name;
        if self.config.caches.iter().any(taken) {
            self.report(
                Diagnostic::error(
                    &codes::DUPLICATE_NAME,
                    draft.span,
                    format!("cache '{}' was defined before", settings.name),
                )
                .label("this name is taken"),
            );
            return;
        }
        if settings.total_max == 0 {
            self.report(
                Diagnostic::error(
                    &codes::MISSING_ARGUMENT,
                    draft.span,
                    format!("cache '{}' has no 'total-max-size'", settings.name),
                )
                .label("the size is missing")
                .help("add a line `total-max-size <megabytes>`"),
            );
            return;
        }
        settings.object_max = settings.total_max / 256;
        if let Some((bytes, span)) = draft.object_max {
            if bytes > settings.total_max as u64 / 2 {
                self.report(
                    Diagnostic::error(
                        &codes::OUT_OF_RANGE,
                        span,
                        "'max-object-size' is more than half of 'total-max-size'",
                    )
                    .label("too large"),
                );
            }
            settings.object_max = usize::try_from(bytes).unwrap_or(usize::MAX);
        }
        self.config.caches.push(Arc::new(Cache::new(settings)));
    }

    pub(crate) fn check_cache_names(&mut self) {
        for (name, span) in std::mem::take(&mut self.cache_names) {
            let names: Vec<Box<str>> = self
                .config
                .caches
                .iter()
                .map(|cache| cache.settings.name.clone())
                .collect();
            if names.contains(&name) {
                continue;
            }
            let near = suggest::nearest(&name, names.iter().map(|name| &**name));
            let told = Diagnostic::error(
                &codes::UNKNOWN_CACHE,
                span,
                format!("unable to find the cache '{name}'"),
            )
            .label("no `cache` section has this name");
            self.report(told.did_you_mean(span, near));
        }
    }
}

/// Returns the cache of the current section, or an error outside of such a section, which the
/// keyword table prevents.
fn draft<'l>(loader: &'l mut Loader, args: &Args<'_>) -> Result<&'l mut CacheDraft, Diagnostic> {
    let span = args.line().span;
    loader.sections.cache.as_mut().ok_or_else(|| {
        Diagnostic::error(
            &codes::SECTION_NAME,
            span,
            "this line belongs in a 'cache' section",
        )
    })
}

fn total(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let megabytes = args.count("<megabytes>", 1..=TOTAL_MAX_MB)?;
    draft(loader, args)?.settings.total_max = (megabytes as usize) << 20;
    args.end()
}

fn object(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let span = args.peek().map_or(args.line().span, |word| word.span);
    let bytes = args.size("<bytes>")?;
    draft(loader, args)?.object_max = Some((bytes, span));
    args.end()
}

fn age(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let seconds = args.count("<seconds>", 0..=i32::MAX as u32)?;
    draft(loader, args)?.settings.age_max_s = seconds;
    args.end()
}

fn vary(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let word = args.required("'on' or 'off'")?;
    let on = match word.str() {
        "on" => true,
        "off" => false,
        other => {
            return Err(Diagnostic::error(
                &codes::BAD_VALUE,
                word.span,
                format!("'process-vary' expects 'on' or 'off', not '{other}'"),
            )
            .label("not understood"));
        }
    };
    draft(loader, args)?.settings.vary = on;
    args.end()
}

fn secondary(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let number = args.count("<number>", 1..=i32::MAX as u32)?;
    draft(loader, args)?.settings.secondary_max = number as usize;
    args.end()
}
