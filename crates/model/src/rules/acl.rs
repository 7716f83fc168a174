//! Compiles ACLs: the named tests of a section, and those that HAProxy predefines. Several lines
//! with one name are alternatives. A condition refers to the ACL by name, so a later line of the
//! same name extends it; the end of the section makes the ACL final.

use super::codes;
use super::condition::TestResult;
use super::matching::Method;
use super::pattern::Patterned;
use super::usage::Usage;
use super::value::SampleValue;
use crate::codes as load_codes;
use crate::compiled::condition::{Acl, Test};
use crate::compiled::{AdmissionLine, Expression};
use crate::rules::draft::ConfigDraft;
use crate::transaction::ProxyStream;
use crate::transaction::trace::Term;
use language::arguments::Built;
use language::{ConfigWord, Diagnostic, Span};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

impl Test {
    /// Parses a test from its words: `path_beg -i /static /images`.
    ///
    /// # Errors
    /// The fetch is missing. The expression or a flag is invalid. A file cannot be read. A matching
    /// method is missing, or cannot compare values of this type. A pattern is invalid.
    pub fn parse(
        loader: &mut ConfigDraft,
        words: &[ConfigWord],
        whole: Span,
        usage: Option<Usage>,
    ) -> Result<Test, Diagnostic> {
        let Some((first, rest)) = words.split_first() else {
            return Err(Diagnostic::error(
                &codes::EXPRESSION_SYNTAX,
                whole,
                "missing fetch method in ACL expression",
            )
            .label("expected a sample fetch"));
        };
        let parsed = Expression::parse_test(loader, first, usage)?;
        let expression = parsed.expression;
        let mut patterned = Patterned::read(loader, rest)?;
        patterned.versions = expression.gives_versions();
        let method = match (patterned.method, parsed.method) {
            (Some((method, _)), _) => method,
            // Derives the matching method from the output type: a converter changes the type, and
            // with it the default method.
            (None, Some(method)) => method,
            (None, None) => {
                Method::usual(expression.output()).ok_or_else(|| method_needed(&expression))?
            }
        };
        if !expression.output().casts_to(method.wants()) {
            let at = patterned.method.map_or(first.span, |(_, span)| span);
            return Err(types_do_not_fit(&expression, method, at));
        }
        warn_of_patterns(loader, first, method, &patterned);
        if let Some(list) = expression
            .compares_groups()
            .filter(|_| method == Method::Str)
        {
            patterned.note_groups(loader, list, rest);
        }
        let (lists, how) = (patterned.note(loader, first), patterned.how(method));
        let patterns = patterned.compile(loader, method)?;
        let live = loader.config.lists.user(how, lists);
        Ok(Test {
            expression,
            patterns,
            live,
        })
    }

    fn has(&self, value: &SampleValue<'_>) -> bool {
        if self.live.is_changed() {
            return self.live.find(value).is_some();
        }
        self.patterns.find(value).is_some()
    }

    pub fn run(&self, stream: &ProxyStream) -> TestResult {
        self.find(stream, |value| self.has(value))
    }

    fn run_noting(&self, stream: &ProxyStream, term: &mut Term) -> TestResult {
        self.find(stream, |value| {
            value.with_text(|text| term.compare(text));
            self.has(value)
        })
    }

    fn find(
        &self,
        stream: &ProxyStream,
        mut has: impl FnMut(&SampleValue<'_>) -> bool,
    ) -> TestResult {
        if self.expression.any(stream, &mut |value| has(&value)) {
            TestResult::Pass
        } else if self.expression.may_change(stream) {
            TestResult::Miss
        } else {
            TestResult::Fail
        }
    }

    fn fits(&self, usage: Usage) -> bool {
        self.expression.needs().usage().meets(usage)
    }
}

fn types_do_not_fit(expression: &Expression, method: Method, at: Span) -> Diagnostic {
    Diagnostic::error(
        &codes::TYPES_DO_NOT_FIT,
        at,
        format!(
            "matching method cannot be used with sample fetch '{}'",
            expression.fetch_name()
        ),
    )
    .label(format!(
        "compares values of type {}, but these are of type {}",
        method.wants().name(),
        expression.output().name()
    ))
}

/// Reports missing patterns, and patterns that are never compared.
fn warn_of_patterns(
    loader: &mut ConfigDraft,
    first: &ConfigWord,
    method: Method,
    patterned: &Patterned,
) {
    let needs_none = matches!(method, Method::Found | Method::Bool);
    if patterned.is_empty() && !patterned.ended && !needs_none {
        loader.report(
            Diagnostic::warning(
                &codes::NO_PATTERNS,
                first.span,
                format!("'{}' has no patterns, so it is never true", first.text()),
            )
            .label("expected patterns after it")
            .help("write `-m found` to test for existence, `-m bool` to test a number as a boolean, or `--` if this \
                is intended"),
        );
    }
    if let (true, Some(span)) = (needs_none, patterned.first_word) {
        loader.report(
            Diagnostic::warning(
                &codes::IGNORED_PATTERNS,
                span,
                format!("'{}' ignores its patterns", first.text()),
            )
            .label("has no effect")
            .help("remove the patterns, or add a matching method before them: `-m str`"),
        );
    }
}

fn method_needed(expression: &Expression) -> Diagnostic {
    Diagnostic::error(
        &codes::MATCH_METHOD_NEEDED,
        expression.span,
        format!(
            "matching method must be given with '-m' for sample fetch '{}'",
            expression.fetch_name()
        ),
    )
    .label(format!("its value has type {}", expression.output().name()))
    .help("add `-m str`, `-m bin`, `-m found` or another method after it")
}

impl Acl {
    fn new(name: &str, span: Span) -> Self {
        Acl {
            name: name.into(),
            span,
            draft: Mutex::default(),
            tests: OnceLock::new(),
            lines: Mutex::default(),
            used: AtomicBool::new(false),
        }
    }

    pub(super) fn anonymous(test: Test, span: Span) -> Arc<Self> {
        Acl::single("", test, span)
    }

    fn single(name: &str, test: Test, span: Span) -> Arc<Self> {
        let acl = Acl::new(name, span);
        // Cannot fail, because the tests of a new ACL are not set yet.
        let _ = acl.tests.set(Box::new([test]));
        Arc::new(acl)
    }

    pub(super) fn never(span: Span) -> Arc<Self> {
        Arc::new(Acl::new("", span))
    }

    pub(crate) fn lines(&self) -> Vec<AdmissionLine> {
        let lines = self.lines.lock();
        lines.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add(&self, test: Test, line: AdmissionLine) {
        self.lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(line);
        self.draft
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(test);
    }

    fn seal(&self) {
        let draft = std::mem::take(&mut *self.draft.lock().unwrap_or_else(PoisonError::into_inner));
        // Ignores a second call, which a copied section makes: the tests of the first call stay.
        let _ = self.tests.set(draft.into());
    }

    pub fn run(&self, stream: &ProxyStream) -> TestResult {
        self.find(|test| test.run(stream))
    }

    pub(super) fn run_noting(&self, stream: &ProxyStream, term: &mut Term) -> TestResult {
        self.find(|test| test.run_noting(stream, term))
    }

    fn find(&self, mut run: impl FnMut(&Test) -> TestResult) -> TestResult {
        let mut outcome = TestResult::Fail;
        for test in self.tests.get().map_or(&[][..], |tests| tests) {
            outcome = outcome.max(run(test));
            if outcome == TestResult::Pass {
                break;
            }
        }
        outcome
    }

    /// Returns the name of a fetch that never has a value in rules of this usage, if that is true
    /// for all tests.
    pub(super) fn never_in(&self, usage: Usage) -> Option<&'static str> {
        let name_if_none = |tests: &[Test]| {
            let first = tests.first()?;
            (!tests.iter().any(|test| test.fits(usage))).then(|| first.expression.fetch_name())
        };
        match self.tests.get() {
            Some(tests) => name_if_none(tests),
            None => name_if_none(&self.draft.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }
}

/// Named ACLs of a section.
#[derive(Clone, Debug, Default)]
pub struct AclTable {
    named: HashMap<Box<str>, Arc<Acl>>,
    /// ACLs in the order of the file.
    order: Vec<Arc<Acl>>,
    /// Predefined ACLs in use, so that each is compiled once.
    predefined: HashMap<&'static str, Arc<Acl>>,
    /// Names of ACLs in the `defaults` section, which are not visible here.
    hidden: Vec<(Box<str>, Span)>,
}

impl AclTable {
    /// Makes the ACLs final at the end of the section, and returns warnings about unused ones.
    pub fn seal(self) -> Vec<Diagnostic> {
        let mut told = Vec::new();
        for acl in &self.order {
            acl.seal();
            if !acl.used.load(Relaxed) {
                told.push(
                    Diagnostic::warning(
                        &load_codes::UNUSED_ACL,
                        acl.span,
                        format!("ACL '{}' is never used", acl.name),
                    )
                    .label("no condition of this section uses it"),
                );
            }
        }
        told
    }

    /// Returns the table that a proxy inherits from its defaults. It contains no ACL, since the
    /// ACLs of a `defaults` apply to its own rules only. The names are kept for better error
    /// messages.
    pub fn inherited(&self) -> Self {
        AclTable {
            hidden: self
                .order
                .iter()
                .map(|acl| (acl.name.clone(), acl.span))
                .collect(),
            ..AclTable::default()
        }
    }

    fn named(&mut self, name: &str, span: Span) -> &Acl {
        let order = &mut self.order;
        self.named.entry(name.into()).or_insert_with(|| {
            let acl = Arc::new(Acl::new(name, span));
            order.push(acl.clone());
            acl
        })
    }

    pub fn add(&mut self, name: &str, span: Span, test: Test, line: AdmissionLine) {
        self.named(name, span).add(test, line);
    }

    /// Declares an ACL whose line was refused and marks it as used, which avoids further
    /// diagnostics about it.
    pub fn declare(&mut self, name: &str, span: Span) {
        self.named(name, span).used.store(true, Relaxed);
    }

    /// Marks an ACL as used if the word, from a refused line, is its name. This avoids a misleading
    /// warning about an unused ACL.
    pub fn mention(&self, word: &str) {
        if let Some(acl) = self.named.get(word) {
            acl.used.store(true, Relaxed);
        }
    }

    pub fn contains(&self, name: &str) -> bool {
        self.named.contains_key(name)
    }

    /// Returns the names that the section defines, for "did you mean" hints.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.order.iter().map(|acl| &*acl.name)
    }

    pub(super) fn hidden(&self, name: &str) -> Option<Span> {
        self.hidden
            .iter()
            .find(|(hidden, _)| **hidden == *name)
            .map(|(_, span)| *span)
    }
}

impl ConfigDraft {
    /// Returns the ACL with a name: the section's own, or a predefined one.
    pub(super) fn acl(&mut self, name: &str) -> Option<Arc<Acl>> {
        if let Some(acl) = self.acls.named.get(name) {
            acl.used.store(true, Relaxed);
            return Some(acl.clone());
        }
        if let Some(acl) = self.acls.predefined.get(name) {
            return Some(acl.clone());
        }
        let (known, words) = PREDEFINED.iter().find(|(known, _)| *known == name)?;
        let built_in = |bytes: &str| ConfigWord {
            bytes: bytes.into(),
            span: Span::default(),
        };
        let words: Vec<ConfigWord> = words.iter().map(|word| built_in(word)).collect();
        let test = Test::parse(self, &words, Span::default(), None).ok()?;
        let acl = Acl::single(known, test, Span::default());
        self.acls.predefined.insert(known, acl.clone());
        Some(acl)
    }
}

/// Predefined ACLs, with the words of their test.
pub static PREDEFINED: &[(&str, &[&str])] = &[
    ("FALSE", &["always_false"]),
    ("HTTP", &["req.proto_http"]),
    ("HTTP_1.0", &["req.ver", "1.0"]),
    ("HTTP_1.1", &["req.ver", "1.1"]),
    ("HTTP_2.0", &["req.ver", "2.0"]),
    ("HTTP_3.0", &["req.ver", "3.0"]),
    ("HTTP_CONTENT", &["req.hdr_val(content-length)", "gt", "0"]),
    ("HTTP_URL_ABS", &["url_reg", "^[^/:]*://"]),
    ("HTTP_URL_SLASH", &["url_beg", "/"]),
    ("HTTP_URL_STAR", &["url", "*"]),
    ("LOCALHOST", &["src", "127.0.0.1/8", "::1"]),
    ("METH_CONNECT", &["method", "CONNECT"]),
    ("METH_DELETE", &["method", "DELETE"]),
    ("METH_GET", &["method", "GET", "HEAD"]),
    ("METH_HEAD", &["method", "HEAD"]),
    ("METH_OPTIONS", &["method", "OPTIONS"]),
    ("METH_POST", &["method", "POST"]),
    ("METH_PUT", &["method", "PUT"]),
    ("METH_TRACE", &["method", "TRACE"]),
    ("RDP_COOKIE", &["req.rdp_cookie_cnt", "gt", "0"]),
    ("REQ_CONTENT", &["req.len", "gt", "0"]),
    ("TRUE", &["always_true"]),
    ("WAIT_END", &["wait_end"]),
];

/// Checks that a word is a valid name of an ACL.
///
/// # Errors
/// The word has a byte that is not allowed, or is `or`.
pub fn check_name(word: &ConfigWord) -> Built {
    let wrong = |message: String| Diagnostic::error(&codes::BAD_ACL_NAME, word.span, message);
    if let Some(bad) = word
        .bytes
        .iter()
        .find(|b| !(b.is_ascii_alphanumeric() || b"-_.:".contains(b)))
    {
        return Err(wrong(format!(
            "character '{}' is not permitted in acl name '{}'",
            char::from(*bad),
            word.text()
        ))
        .label("allowed are letters, digits, `-`, `_`, `.` and `:`"));
    }
    if word.bytes.eq_ignore_ascii_case(b"or") {
        return Err(
            wrong(format!("acl name '{}' will never match", word.text()))
                .label("'or' separates the alternatives of a condition"),
        );
    }
    Ok(())
}
