//! Receives all events of this process from the crate `tracing`, and records them.

use super::journal::Journal;
use super::record::{
    BoundedText, FIELDS_MAX, MESSAGE_BYTES_MAX, SPANS_MAX, TraceRecord, TraceSpan, VALUE_BYTES_MAX,
};
use super::ring::{MappedRing, RingWriter};
use super::{LogLevels, PRINTED};
use crate::lock;
use language::log_levels::LogLevel;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::{self, Debug, Write};
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_core::span::Current;

/// Maximum number of open spans with fields in a process; further ones have none.
const OPEN_SPANS_MAX: usize = 4_096;

/// Outputs for the events of this process besides the ring: the journal, and standard error.
#[derive(Default)]
pub struct EventOutputs {
    pub journal: Option<Journal>,
    /// Prints warnings and errors; None if they do not go to standard error.
    pub print: Option<fn(&str)>,
}

struct EventRecorder {
    outputs: EventOutputs,
    levels: Mutex<LogLevels>,
    ring: OnceLock<MappedRing>,
    spans: Mutex<HashMap<u64, OpenSpan>>,
    last_span: AtomicU64,
}

struct OpenSpan {
    metadata: &'static Metadata<'static>,
    fields: Vec<(String, String)>,
    parent: Option<u64>,
    handles: usize,
}

static RECORDER: OnceLock<EventRecorder> = OnceLock::new();

thread_local! {
    /// The spans in which this thread is, the innermost last.
    static ENTERED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// Starts the recording. A second call has no effect.
pub fn begin(outputs: EventOutputs, ring: Option<MappedRing>, levels: LogLevels) {
    let recorder = EventRecorder {
        outputs,
        levels: Mutex::new(levels),
        ring: ring.map_or_else(OnceLock::new, OnceLock::from),
        spans: Mutex::default(),
        last_span: AtomicU64::new(0),
    };
    if RECORDER.set(recorder).is_err() {
        return;
    }
    // Ignores a failure: this process has set no other subscriber.
    let _ = tracing::subscriber::set_global_default(ProcessSubscriber);
}

pub fn set_levels(levels: LogLevels) {
    let Some(recorder) = RECORDER.get() else {
        return;
    };
    let is_same = std::mem::replace(&mut *lock(&recorder.levels), levels.clone()) == levels;
    if !is_same {
        tracing_core::callsite::rebuild_interest_cache();
    }
}

/// Continues in the ring of another supervisor, or in the ring of this process from before it
/// executed another program (`has_events`). Returns the writer of the ring; None if the memory is not
/// a ring, or if this process records no events.
pub fn replace_ring(memory: &OwnedFd, has_events: bool) -> Option<RingWriter> {
    let recorder = RECORDER.get()?;
    match recorder.ring.get() {
        Some(ring) => {
            let is_there = ring.replace(memory, has_events);
            is_there.then_some(ring.writer)
        }
        None => {
            let ring = MappedRing::open(memory)?;
            let writer = ring.writer;
            // Ignores a failure: only the thread that reads the channel sets a ring.
            let _ = recorder.ring.set(ring);
            Some(writer)
        }
    }
}

impl EventRecorder {
    fn is_enabled(&self, metadata: &Metadata<'_>) -> bool {
        let level = lock(&self.levels).level_of(metadata.target());
        is_within(*metadata.level(), level)
    }

    fn record(&self, record: TraceRecord, metadata: &Metadata<'_>) {
        // Records printed messages only in the ring: the log has them already.
        if metadata.target() != PRINTED {
            if let Some(journal) = &self.outputs.journal
                && !journal.send(&record)
                && let Some(ring) = self.ring.get()
            {
                ring.writer.count_lost();
            }
            if let Some(write) = self
                .outputs
                .print
                .filter(|_| *metadata.level() <= Level::WARN)
            {
                print(&record, write);
            }
        }
        if let Some(ring) = self.ring.get() {
            ring.writer.write(&record.encode());
        }
    }

    /// Returns the spans of an event, the innermost first.
    fn spans_of(&self, first: Option<u64>) -> Vec<TraceSpan> {
        let Some(mut id) = first else {
            return Vec::new();
        };
        let spans = lock(&self.spans);
        let mut found = Vec::new();
        while let Some(span) = spans.get(&id) {
            found.push(TraceSpan {
                id,
                name: span.metadata.name().to_owned(),
                fields: span.fields.clone(),
            });
            match span.parent {
                Some(parent) if found.len() < SPANS_MAX => id = parent,
                _ => break,
            }
        }
        found
    }
}

/// Prints a warning or an error in the form of other messages, within the rate limit of the log.
fn print(record: &TraceRecord, write: fn(&str)) {
    let word = match record.level {
        ..=1 => "error: ",
        _ => "warning: ",
    };
    let target = record.target.split("::").next().unwrap_or_default();
    let mut line = format!("evenkeel: {word}{target}: {}", record.message);
    for (name, value) in record.all_fields() {
        // Ignores the result: writing to a string cannot fail.
        let _ = write!(line, " {name}={value}");
    }
    write(&format!("{}\n", line.replace(char::is_control, " ")));
}

fn is_within(level: Level, at: LogLevel) -> bool {
    LevelFilter::from_level(level) <= filter(at)
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

fn number(level: Level) -> u8 {
    match level {
        Level::ERROR => 1,
        Level::WARN => 2,
        Level::INFO => 3,
        Level::DEBUG => 4,
        Level::TRACE => 5,
    }
}

/// The subscriber of `tracing`, which uses [`RECORDER`].
struct ProcessSubscriber;

impl ProcessSubscriber {
    fn recorder(&self) -> Option<&'static EventRecorder> {
        RECORDER.get()
    }
}

impl Subscriber for ProcessSubscriber {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.enabled(metadata) {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.recorder().is_some_and(|one| one.is_enabled(metadata))
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let highest = self.recorder().map(|one| lock(&one.levels).highest());
        Some(highest.map_or(LevelFilter::OFF, filter))
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let Some(recorder) = self.recorder() else {
            return Id::from_u64(1);
        };
        let id = recorder.last_span.fetch_add(1, Ordering::Relaxed) + 1;
        let parent = match attributes.parent() {
            Some(parent) => Some(parent.into_u64()),
            None if attributes.is_contextual() => innermost(),
            None => None,
        };
        let mut fields = FieldValues::default();
        attributes.record(&mut fields);
        let mut spans = lock(&recorder.spans);
        if spans.len() < OPEN_SPANS_MAX {
            if let Some(parent) = parent.and_then(|parent| spans.get_mut(&parent)) {
                parent.handles += 1;
            }
            let open = OpenSpan {
                metadata: attributes.metadata(),
                fields: fields.fields,
                parent,
                handles: 1,
            };
            spans.insert(id, open);
        }
        Id::from_non_zero_u64(NonZeroU64::new(id).unwrap_or(NonZeroU64::MIN))
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        let mut fields = FieldValues::default();
        values.record(&mut fields);
        let Some(recorder) = self.recorder() else {
            return;
        };
        if let Some(open) = lock(&recorder.spans).get_mut(&span.into_u64()) {
            for (name, value) in fields.fields {
                open.fields.retain(|(known, _)| *known != name);
                if open.fields.len() < FIELDS_MAX {
                    open.fields.push((name, value));
                }
            }
        }
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let Some(recorder) = self.recorder() else {
            return;
        };
        let metadata = event.metadata();
        let mut values = FieldValues::default();
        event.record(&mut values);
        let span = match event.parent() {
            Some(parent) => Some(parent.into_u64()),
            None if event.is_contextual() => innermost(),
            None => None,
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |time| time.as_micros());
        let record = TraceRecord {
            time_us: i64::try_from(now).unwrap_or(i64::MAX),
            level: number(*metadata.level()),
            process: std::process::id(),
            target: metadata.target().to_owned(),
            message: values.message,
            fields: values.fields,
            spans: recorder.spans_of(span),
            is_cut: values.is_cut,
        };
        recorder.record(record, metadata);
    }

    fn enter(&self, span: &Id) {
        ENTERED.with_borrow_mut(|entered| entered.push(span.into_u64()));
    }

    fn exit(&self, span: &Id) {
        ENTERED.with_borrow_mut(|entered| {
            let last = entered.iter().rposition(|one| *one == span.into_u64());
            last.map(|at| entered.remove(at));
        });
    }

    fn clone_span(&self, span: &Id) -> Id {
        if let Some(recorder) = self.recorder()
            && let Some(open) = lock(&recorder.spans).get_mut(&span.into_u64())
        {
            open.handles += 1;
        }
        span.clone()
    }

    fn try_close(&self, span: Id) -> bool {
        let Some(recorder) = self.recorder() else {
            return false;
        };
        let mut spans = lock(&recorder.spans);
        let mut next = Some(span.into_u64());
        let mut is_closed = false;
        // Releases the parent of each closed span.
        while let Some(id) = next.take() {
            let Some(open) = spans.get_mut(&id) else {
                break;
            };
            open.handles = open.handles.saturating_sub(1);
            if open.handles == 0 {
                is_closed |= id == span.into_u64();
                next = spans.remove(&id).and_then(|closed| closed.parent);
            }
        }
        is_closed
    }

    fn current_span(&self) -> Current {
        let metadata = self.recorder().zip(innermost()).and_then(|(recorder, id)| {
            let spans = lock(&recorder.spans);
            spans.get(&id).map(|span| (id, span.metadata))
        });
        match metadata {
            Some((id, metadata)) => Current::new(Id::from_u64(id), metadata),
            None => Current::none(),
        }
    }
}

fn innermost() -> Option<u64> {
    // Returns no span for a thread that is ending, whose list of spans is gone.
    let innermost = ENTERED.try_with(|entered| entered.borrow().last().copied());
    innermost.unwrap_or_default()
}

/// Message and fields of an event, within their bounds.
#[derive(Default)]
struct FieldValues {
    message: String,
    fields: Vec<(String, String)>,
    is_cut: bool,
}

impl FieldValues {
    fn add(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        let is_message = field.name() == "message";
        if !is_message && self.fields.len() >= FIELDS_MAX {
            self.is_cut = true;
            return;
        }
        let bytes_max = if is_message {
            MESSAGE_BYTES_MAX
        } else {
            VALUE_BYTES_MAX
        };
        let mut text = BoundedText::new(bytes_max);
        // Ignores an error, which means that the text was cut.
        let _ = text.write_fmt(value);
        self.is_cut |= text.is_cut;
        if is_message {
            self.message = text.text;
        } else {
            self.fields.push((field.name().to_owned(), text.text));
        }
    }
}

impl Visit for FieldValues {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, format_args!("{value}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::ring::{self, RingContents};
    use std::alloc::{GlobalAlloc, Layout, System};
    use std::cell::Cell;

    /// Counts the allocations of the current thread.
    struct CountingAllocator;

    thread_local! {
        static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
    }

    // SAFETY: all calls go to the system's allocator unchanged.
    unsafe impl GlobalAlloc for CountingAllocator {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            // Counts no allocations of a thread that is ending, whose counter is gone.
            let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
            // SAFETY: as required of the caller.
            unsafe { System.alloc(layout) }
        }

        unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
            // SAFETY: as required of the caller.
            unsafe { System.dealloc(at, layout) }
        }
    }

    #[global_allocator]
    static ALLOCATOR: CountingAllocator = CountingAllocator;

    /// Increments a counter when it is formatted.
    struct Formatted<'c>(&'c Cell<usize>);

    impl fmt::Display for Formatted<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.set(self.0.get() + 1);
            f.write_str("formatted")
        }
    }

    fn parse(text: &str) -> LogLevels {
        LogLevels::parse(text).expect("valid levels")
    }

    /// A single test, because the recorder belongs to the process.
    #[test]
    fn events_are_recorded_at_their_levels() {
        let memory = ring::create().expect("memory");
        let ring = MappedRing::open(&memory);
        begin(EventOutputs::default(), ring, parse("info"));
        let records = || {
            let contents = RingContents::read(&memory).expect("a ring");
            let own = contents.records.into_iter().map(|one| one.record);
            own.filter(|one| one.target == "volume").collect::<Vec<_>>()
        };
        let spans = || lock(&RECORDER.get().expect("a recorder").spans).len();

        // Records an event with its fields, its spans, and the operation of the outer span.
        let resync = tracing::info_span!(target: "volume", "resync", op = "7f3a9c", done = tracing::field::Empty);
        resync.record("done", 50);
        resync.in_scope(|| {
            let step = tracing::info_span!(target: "volume", "step", number = 3);
            let _entered = step.enter();
            tracing::info!(target: "volume", volume = %"disk1", blocks = 12_u64, reason = ?Some(1), "copied");
        });
        assert_eq!(spans(), 1);
        drop(resync);
        assert_eq!(spans(), 0);
        let [record] = &records()[..] else {
            panic!("{:?}", records());
        };
        assert_eq!((record.level, &*record.message), (3, "copied"));
        assert_eq!(record.operation(), Some("7f3a9c"));
        let wanted = [
            ("volume", "disk1"),
            ("blocks", "12"),
            ("reason", "Some(1)"),
            ("number", "3"),
            ("op", "7f3a9c"),
            ("done", "50"),
        ];
        assert_eq!(record.all_fields(), wanted);
        assert_eq!(record.process, std::process::id());

        // Changes the levels several times for events of one place in the code: an event that is
        // off costs no allocation.
        let count = Cell::new(0);
        let place = |volume: &str| {
            tracing::debug!(target: "volume", volume, text = %Formatted(&count), "detail");
        };
        place("off");
        let before = ALLOCATIONS.get();
        for _ in 0..1_000 {
            place("off");
        }
        assert_eq!(ALLOCATIONS.get(), before, "an event that is off allocates");
        assert_eq!((count.get(), records().len()), (0, 1));
        // Sets another target to debug, so that only the cached decision for this place keeps its
        // event off.
        set_levels(parse("info,cluster=debug"));
        let before = ALLOCATIONS.get();
        for _ in 0..1_000 {
            place("off");
        }
        assert_eq!(ALLOCATIONS.get(), before, "an event that is off allocates");
        assert_eq!((count.get(), records().len()), (0, 1));
        set_levels(parse("info,volume=debug"));
        place("on");
        assert_eq!((count.get(), records().len()), (1, 2));
        assert!(tracing::enabled!(target: "volume::mirror", Level::DEBUG));
        assert!(!tracing::enabled!(target: "volume::mirror", Level::TRACE));
        assert!(!tracing::enabled!(target: "openraft", Level::ERROR));
        set_levels(parse("info"));
        place("off");
        assert_eq!(count.get(), 1);

        // Replaces the ring by one of another supervisor: it gets the earlier events, and a printed
        // message.
        let other = ring::create().expect("memory");
        assert!(replace_ring(&other, false).is_some());
        crate::trace::record_message(Level::WARN, "printed");
        let contents = RingContents::read(&other).expect("a ring");
        let has = |message, level| {
            let mut records = contents.records.iter().map(|one| &one.record);
            records.any(|one| one.message == message && one.level == level)
        };
        assert!(has("printed", 2) && has("detail", 4));
    }
}
