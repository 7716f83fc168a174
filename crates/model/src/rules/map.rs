//! Reads and compiles maps: files of keys and values in which converters look values up.

use super::fetch::borrowed;
use super::list_file::{Collected, ListFile};
use super::live::{How, Live};
use super::matching::Method;
use super::shared::MapKey;
use super::value::{Sample, SampleValue};
use super::{codes, pattern};
use crate::compiled::map::Map;
use crate::rules::draft::ConfigDraft;
pub(super) use crate::sample::map::filled;
pub use crate::sample::map::{Gives, parse};
use language::{Diagnostic, Span};
use std::sync::Arc;

impl Map {
    /// Returns the map in a file for a matching method. It is read now, or was read for an earlier
    /// line.
    ///
    /// # Errors
    /// The file cannot be read. A value is not of the type that the map returns, or a key is
    /// invalid for the matching method.
    pub fn read(
        loader: &mut ConfigDraft,
        name: &str,
        span: Span,
        method: Method,
        gives: Gives,
    ) -> Result<Arc<Self>, Diagnostic> {
        let key = MapKey {
            name: name.into(),
            path: loader.path_of(name, span),
            method,
            gives,
        };
        if let Some(map) = loader.shared.maps.get(&key) {
            return Ok(Arc::clone(map));
        }
        let map = Arc::new(Map::compile(loader, name, span, method, gives)?);
        loader.shared.maps.insert(key, Arc::clone(&map));
        Ok(map)
    }

    fn compile(
        loader: &mut ConfigDraft,
        name: &str,
        span: Span,
        method: Method,
        gives: Gives,
    ) -> Result<Self, Diagnostic> {
        let file = loader.read_list(name, span)?;
        let mut values = Vec::new();
        let mut wrong = None;
        for (entry, key, value) in file.pairs() {
            if gives == Gives::Key {
                values.push(SampleValue::Str(key.to_vec().into()));
                continue;
            }
            let Some(value) = parse(gives, value) else {
                let text = String::from_utf8_lossy(value);
                wrong = Some((entry, format!("'{text}' is not {}", gives.what())));
                break;
            };
            values.push(value);
        }
        if let Some((entry, message)) = wrong {
            file.wrong(
                loader,
                entry,
                span,
                Diagnostic::error(&codes::BAD_MAP, span, message),
            );
            return Err(Diagnostic::error(
                &codes::BAD_MAP,
                span,
                format!("map file '{name}' cannot be used"),
            )
            .label("it has an invalid line")
            .help("correct the line of the file shown above"));
        }
        let file_name = file.name.clone();
        let live = note(loader, &file, span, method, gives);
        let mut collected = Collected::default();
        collected.file(file, span, true);
        let keys = pattern::compile(loader, method, collected, false, false)?;
        Ok(Map {
            file: file_name,
            keys,
            values,
            live,
        })
    }

    pub fn find(&self, key: &SampleValue<'_>) -> Sample<'_> {
        if self.live.is_changed() {
            return self.live.find(key)?.1;
        }
        self.values.get(self.keys.find(key)?).map(borrowed)
    }

    /// Returns the value of a key, with the groups of its regular expression inserted.
    pub fn fill(&self, key: &SampleValue<'_>) -> Sample<'static> {
        if self.live.is_changed() {
            return self.live.fill(key);
        }
        let at = self.keys.find(key)?;
        filled(&self.keys, at, key, self.values.get(at)?)
    }

    pub fn len(&self) -> usize {
        self.values.len()
    }

    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

/// Registers a map in the lists that operators can change.
fn note(
    loader: &ConfigDraft,
    file: &ListFile,
    span: Span,
    method: Method,
    gives: Gives,
) -> Arc<Live> {
    let used_by = format!(
        "pattern loaded from file '{}' used by map at file '{}' line {}",
        file.name,
        loader.context.sources.file(span.file).name,
        loader.context.sources.position(span).line
    );
    let entries = file
        .pairs()
        .map(|(_, key, value)| (key.into(), Some(value.into())));
    let name = Some(file.name.clone());
    let list = loader.config.lists.add(name, true, used_by, entries);
    let how = How {
        method,
        ignore_case: false,
        versions: false,
        gives: Some(gives),
    };
    loader.config.lists.user(how, vec![list])
}
