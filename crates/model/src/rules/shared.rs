//! Compiles each list or map that several lines of a configuration name only once, and shares it
//! among these lines. Failures are not cached, so that each line reports its own error. No files
//! are read here.

use super::matching::{Method, Patterns};
use crate::compiled::Map;
use crate::sample::map::Gives;
use language::difference::SecretUses;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

/// Key of a compiled map, under the file name that lines give.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct MapKey {
    pub name: Box<str>,
    pub path: PathBuf,
    pub method: Method,
    pub gives: Gives,
}

/// Key of patterns that come from files alone.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ListKey {
    pub paths: Vec<PathBuf>,
    /// True if the files are maps, of which only the keys are used.
    pub map: bool,
    pub method: Method,
    pub ignore_case: bool,
    pub lookup: bool,
    pub versions: bool,
}

/// Lists and maps compiled so far. The cache is dropped after loading; then only the lines share
/// its values.
#[derive(Debug, Default)]
pub struct CompiledLists {
    pub(crate) maps: HashMap<MapKey, Arc<Map>>,
    pub(crate) lists: HashMap<ListKey, Arc<Patterns>>,
    /// The lists whose lines no diagnostic may quote, once a list had an error.
    pub(crate) secret: Option<SecretUses>,
}

#[cfg(test)]
mod tests {
    use crate::compiled::Map;
    use crate::rules::matching::Method;
    use crate::rules::pattern::Patterned;
    use crate::sample::map::Gives;
    use crate::transaction::sample;
    use language::{ConfigWord, Span};
    use std::sync::Arc;

    #[test]
    fn a_file_that_many_lines_name_is_compiled_once_for_each_way_of_reading_it() {
        let path = std::env::temp_dir().join(format!("evenkeel-shared-{}", std::process::id()));
        std::fs::write(&path, "x 1\ny 2\n").unwrap();
        let mut draft = sample::draft();
        let name = path.display().to_string();
        let word = |text: &str| ConfigWord {
            bytes: text.replace("FILE", &name).into(),
            span: Span::default(),
        };
        let mut list = |line: &str, method: Method| {
            let words: Vec<ConfigWord> = line.split(' ').map(word).collect();
            let read = Patterned::read(&mut draft, &words).unwrap();
            read.compile(&mut draft, method).unwrap()
        };
        let first = list("-i -f FILE", Method::Str);
        assert!(Arc::ptr_eq(&first, &list("-i -f FILE", Method::Str)));
        for (other, method) in [
            ("-f FILE", Method::Str),
            ("-i -f FILE", Method::Beg),
            ("-i -M -f FILE", Method::Str),
            ("-i -f FILE -f FILE", Method::Str),
            ("-i -f FILE z", Method::Str),
        ] {
            assert!(!Arc::ptr_eq(&first, &list(other, method)), "{other}");
        }
        let mut map =
            |method, gives| Map::read(&mut draft, &name, Span::default(), method, gives).unwrap();
        let first = map(Method::Str, Gives::Int);
        assert!(Arc::ptr_eq(&first, &map(Method::Str, Gives::Int)));
        assert!(!Arc::ptr_eq(&first, &map(Method::Beg, Gives::Int)));
        assert!(!Arc::ptr_eq(&first, &map(Method::Str, Gives::Text)));
        std::fs::remove_file(&path).unwrap();
    }
}
