//! Implements a complete part of the platform as an example: parses `counter` sections, runs a role
//! that counts, and shows the counts by its own command.

use configuration::{
    ConfigurationPart, Context, Exchange, ObjectCount, RoleInput, RoleInterface, SectionTable,
    Sections, Tabled, TabledDraft,
};
use evenkeel::{Feature, Subcommand};
use language::arguments::{Args, ArgumentCodes, Built};
use language::keyword::{Documented, Family, Keyword};
use language::value::TimeUnit;
use language::{Code, ConfigLine};
use part::codec;
use part::report::{Grade, NumberRow, StatusReport, Subject};
use part::row::{Entry, Environment, RoleRow};
use part::work::{self, Work};
use serde::{Deserialize, Serialize};
use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

const NAME: &str = "counter";

/// Row of this part in the table of a binary.
pub static COUNTERS: Feature = Feature {
    part: &PART,
    role: Some(&ROLE),
    commands: &[Subcommand {
        name: "counters",
        define: |command| evenkeel::status_options(command.about("Show how far the counters are")),
        run: |matches| evenkeel::status_of_part(NAME, matches),
    }],
};

static PART: ConfigurationPart = ConfigurationPart {
    name: NAME,
    sections: Sections {
        names: &[("counter", "Something that is counted, so often.")],
        ..Sections::NONE
    },
    documented: || {
        let section = Documented {
            kind: "section",
            name: "counter",
            places: &["file"],
            syntax: "counter <name>",
            doc: "Counts from zero, by `step` in each interval of `every`, until the program ends. A reload keeps the \
                count.",
            example: "counter visitors\n    every 1s\n    step 2",
            family: "Counters",
            built: true,
        };
        let lines = TABLES[0].documented();
        std::iter::once(section).chain(lines).collect()
    },
    codes: || codes::CODES.to_vec(),
    exports: &[],
    begin: |_| Box::new(TabledDraft::new(SampleSectionDraft::default())),
    run: Some(RoleInterface {
        role_input: |built, _| {
            let counters = built.downcast_ref::<Counters>()?;
            (!counters.is_empty()).then(|| RoleInput {
                payload: codec::encode(counters),
                size: ObjectCount::new(counters.len(), "counters", "counters"),
                ..RoleInput::default()
            })
        },
        leftover_input: configuration::no_leftovers,
        difference: |before, now| {
            let read = |bytes: Option<&[u8]>| codec::decode::<Counters>(bytes?).ok();
            let before = read(before).unwrap_or_default();
            let now = read(now).unwrap_or_default();
            let gone = before.difference(&now).map(|one| ('-', one));
            let new = now.difference(&before).map(|one| ('+', one));
            let line =
                |(sign, (name, _)): (char, &(String, Counter))| format!("{sign} counter {name}");
            gone.chain(new).map(line).collect()
        },
        refusals: |_| Vec::new(),
    }),
};

static ROLE: RoleRow = RoleRow::plain(
    NAME,
    Entry {
        argument: "counter-role",
        process_title: "evenkeel: counter",
        display_name: "counter role",
        environment: Environment::Few,
    },
    work::main::<Counting>,
    "counters",
);

/// Counters of a configuration, each with its name.
type Counters = BTreeSet<(String, Counter)>;

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
struct Counter {
    every_ms: u64,
    step: u64,
}

#[derive(Debug, Default)]
struct SampleSectionDraft(Vec<(String, Counter)>);

type SampleLineBuilder = configuration::DraftLineBuilder<SampleSectionDraft>;

static LINES: &[Family<SampleLineBuilder>] = &[(
    "Counters",
    &[
        Keyword {
            places: &["counter"],
            syntax: "every <time>",
            doc: "The interval: the counter grows once in it. A time without a unit is in milliseconds; the default is 1s.",
            example: "every 500ms",
            build: |draft, args| {
                let every = args.time_ms(TimeUnit::Milliseconds)?;
                args.end()?;
                draft.last(|counter| counter.every_ms = u64::from(every).max(1));
                Ok(())
            },
        },
        Keyword {
            places: &["counter"],
            syntax: "step <number>",
            doc: "By how much the counter grows in each interval, from 1 to 1000; the default is 1. A reload may change it.",
            example: "step 10",
            build: |draft, args| {
                let step = args.count("a step", 1..=1_000)?;
                args.end()?;
                draft.last(|counter| counter.step = step.into());
                Ok(())
            },
        },
    ],
)];

static TABLES: [SectionTable<SampleSectionDraft>; 1] = [SectionTable::new("counter", LINES, begin)];

mod codes {
    use language::arguments::ArgumentCodes;

    pub(super) static OF_ARGUMENTS: ArgumentCodes = ArgumentCodes::plain(&ARGUMENTS, &VALUE);

    language::codes! {
        UNKNOWN = "E0990", "unknown keyword of a counter section",
            "The first word of the line is not a keyword of the `counter` section. `evenkeel keyword counter` lists them.";
        ARGUMENTS = "E0991", "wrong number of arguments in a counter section",
            "The keyword needs another argument, or the line has too many. The message shows its syntax.";
        VALUE = "E0992", "invalid value in a counter section",
            "The keyword does not accept this value: it is not a time or not a number, or it is out of range.";
    }
}

fn begin(draft: &mut SampleSectionDraft, head: &ConfigLine) -> Built {
    let mut args = Args::new(head, 1, "counter", "counter <name>", &codes::OF_ARGUMENTS);
    let name = args.required("the counter's name")?.text().into_owned();
    args.end()?;
    let (every_ms, step) = (1_000, 1);
    draft.0.push((name, Counter { every_ms, step }));
    Ok(())
}

impl SampleSectionDraft {
    fn last(&mut self, set: impl FnOnce(&mut Counter)) {
        if let Some((_, counter)) = self.0.last_mut() {
            set(counter);
        }
    }
}

impl Tabled for SampleSectionDraft {
    const OF_ARGUMENTS: &'static ArgumentCodes = &codes::OF_ARGUMENTS;
    const UNKNOWN: &'static Code = &codes::UNKNOWN;

    fn sections() -> &'static [SectionTable<Self>] {
        &TABLES
    }

    fn finish(self, _: &mut Context, _: &mut Exchange) -> Box<dyn Any> {
        Box::new(self.0.into_iter().collect::<Counters>())
    }
}

struct Counting {
    counters: BTreeMap<String, (Counter, Instant)>,
    counts: BTreeMap<String, u64>,
}

impl Work for Counting {
    fn start(payload: &[u8], state: Option<&[u8]>) -> Result<Counting, String> {
        let mut counting = Counting {
            counters: BTreeMap::new(),
            counts: state
                .and_then(|state| codec::decode(state).ok())
                .unwrap_or_default(),
        };
        counting.change(payload)?;
        Ok(counting)
    }

    fn change(&mut self, payload: &[u8]) -> Result<(), String> {
        let counters: Counters = codec::decode(payload).map_err(|error| error.to_string())?;
        let now = Instant::now();
        let due = |one: Counter| (one.clone(), now + Duration::from_millis(one.every_ms));
        let all = counters.into_iter().map(|(name, one)| (name, due(one)));
        self.counters = all.collect();
        self.counts
            .retain(|name, _| self.counters.contains_key(name));
        Ok(())
    }

    fn next_due(&self) -> Option<Instant> {
        self.counters.values().map(|(_, due)| *due).min()
    }

    fn run_due_work(&mut self) {
        let now = Instant::now();
        for (name, (counter, due)) in &mut self.counters {
            if *due <= now {
                *due += Duration::from_millis(counter.every_ms);
                *self.counts.entry(name.clone()).or_default() += counter.step;
            }
        }
    }

    fn state(&self) -> Vec<u8> {
        codec::encode(&self.counts)
    }

    fn report(&self) -> StatusReport {
        let subject = |name: &String| {
            let count = self.counts.get(name).copied().unwrap_or_default();
            let subject = Subject::new("counter", name).state("counting", Grade::Good);
            subject.label("counter").number("count", count)
        };
        let row = NumberRow::new("count", "evenkeel_counter_total", "The count.");
        StatusReport {
            part: NAME.to_owned(),
            subjects: self.counters.keys().map(subject).collect(),
            rows: vec![row],
            ..StatusReport::default()
        }
    }
}
