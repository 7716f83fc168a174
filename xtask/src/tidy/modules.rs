//! Reads the dependencies between the modules below the root of a crate, from the imports and paths
//! in their files, without tests. The check resolves names and no types, so a method call on a
//! value is no dependency.

use super::tree::Tree;
use proc_macro2::{TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, ImplItem, Item, ItemMod, ItemUse, Macro, Path, Stmt, UseTree};

/// Modules of a crate, and the dependencies between them.
#[derive(Debug, Default)]
pub(super) struct Floor {
    /// Number of lines of code of each module, without tests and blank lines; the root has an empty
    /// name.
    pub(super) lines: BTreeMap<String, usize>,
    /// Number of uses of one module by another.
    pub(super) arrows: BTreeMap<(String, String), usize>,
}

impl Floor {
    /// Returns the number of lines of code of the crate.
    pub(super) fn lines_of_code(&self) -> usize {
        self.lines.values().sum()
    }

    /// Returns the groups of at least two modules that depend on each other, directly or
    /// indirectly.
    pub(super) fn cycles(&self) -> Vec<BTreeSet<&str>> {
        let mut left: BTreeSet<&str> = self.lines.keys().map(String::as_str).collect();
        let mut cycles = Vec::new();
        while let Some(first) = left.pop_first() {
            let above = self.reached(first, false);
            let mut group: BTreeSet<&str> = self.reached(first, true);
            group.retain(|module| above.contains(module));
            left.retain(|module| !group.contains(module));
            if group.len() > 1 {
                cycles.push(group);
            }
        }
        cycles
    }

    /// Returns the modules that can be reached along the dependencies, or against them, including
    /// the first one.
    fn reached<'a>(&'a self, from: &'a str, along: bool) -> BTreeSet<&'a str> {
        let mut reached = BTreeSet::from([from]);
        let mut next = vec![from];
        while let Some(at) = next.pop() {
            for (from, to) in self.arrows.keys() {
                let (from, to) = if along { (from, to) } else { (to, from) };
                if from == at && reached.insert(to) {
                    next.push(to);
                }
            }
        }
        reached
    }
}

/// Returns the modules of all crates in `crates/`, by the names of the crates' folders.
pub(super) fn floors(tree: &Tree) -> BTreeMap<String, Floor> {
    let mut crates: BTreeMap<String, Vec<SourceFile>> = BTreeMap::new();
    for file in &tree.files {
        let Some((krate, path)) = file
            .path
            .strip_prefix("crates/")
            .and_then(|path| path.split_once("/src/"))
        else {
            continue;
        };
        let Some(stem) = path.strip_suffix(".rs") else {
            continue;
        };
        let mut module: Vec<String> = stem.split('/').map(str::to_owned).collect();
        module.pop_if(|last| matches!(last.as_str(), "mod" | "lib" | "main"));
        // Skips a file that syn cannot parse, which does not compile either.
        let Ok(syntax) = syn::parse_file(&file.text) else {
            continue;
        };
        let code = file.code.clone().unwrap_or_default();
        let files = crates.entry(krate.to_owned()).or_default();
        files.push(SourceFile {
            module,
            syntax,
            code,
        });
    }
    let floor = |(krate, files): (String, Vec<SourceFile>)| (krate, floor(&files));
    crates.into_iter().map(floor).collect()
}

/// A parsed file with the path of its module.
struct SourceFile {
    /// Module path from the root; empty for the root.
    module: Vec<String>,
    syntax: syn::File,
    /// The text without comments and literals.
    code: String,
}

fn floor(files: &[SourceFile]) -> Floor {
    let mut tests = BTreeSet::new();
    let mut reexports = BTreeMap::new();
    let tops: BTreeSet<String> = files
        .iter()
        .filter_map(|file| file.module.first().cloned())
        .collect();
    for file in files {
        for item in &file.syntax.items {
            match item {
                Item::Mod(module) if is_for_tests(&module.attrs) => {
                    let name = module.ident.to_string();
                    tests.insert([&file.module[..], &[name]].concat());
                }
                Item::Use(import) if file.module.is_empty() => {
                    for path in paths(&import.tree) {
                        let first = path.first().filter(|first| tops.contains(*first));
                        if let (Some(first), Some(last)) = (first, path.last()) {
                            reexports.insert(last.clone(), first.clone());
                        }
                    }
                }
                _ => {}
            }
        }
    }
    let mut floor = Floor::default();
    for file in files {
        let is_test = (1..=file.module.len()).any(|n| tests.contains(&file.module[..n]));
        if is_test {
            continue;
        }
        let mut reader = Reader {
            module: file.module.clone(),
            tops: &tops,
            reexports: &reexports,
            known: Vec::new(),
            test_lines: BTreeSet::new(),
        };
        reader.visit_file(&file.syntax);
        let lines = file.code.lines().zip(1..);
        let lines =
            lines.filter(|(line, at)| !line.trim().is_empty() && !reader.test_lines.contains(at));
        let top = file.module.first().cloned().unwrap_or_default();
        *floor.lines.entry(top.clone()).or_default() += lines.count();
        for to in reader.known {
            if !top.is_empty() && to != top {
                *floor.arrows.entry((top.clone(), to)).or_default() += 1;
            }
        }
    }
    floor
}

/// Collects the modules that a file names.
struct Reader<'f> {
    /// Module of the current code, including modules within the file.
    module: Vec<String>,
    tops: &'f BTreeSet<String>,
    /// Imports of the root, by the module that they come from.
    reexports: &'f BTreeMap<String, String>,
    /// Modules below the root that were named.
    known: Vec<String>,
    test_lines: BTreeSet<usize>,
}

impl Reader<'_> {
    /// Records a dependency on the module of a path.
    fn names(&mut self, path: &[String]) {
        let mut rest = path;
        let mut base: Vec<String> = match path.first().map(String::as_str) {
            Some("crate") => Vec::new(),
            Some("super" | "self") => self.module.clone(),
            _ => return,
        };
        while let [first, more @ ..] = rest {
            match first.as_str() {
                "super" => _ = base.pop(),
                "self" | "crate" => {}
                _ => break,
            }
            rest = more;
        }
        base.extend_from_slice(rest);
        let Some(first) = base.first() else { return };
        let top = if self.tops.contains(first) {
            Some(first)
        } else {
            self.reexports.get(first)
        };
        self.known.extend(top.cloned());
    }

    /// Returns whether an item is for tests only, and records its lines.
    fn skips(&mut self, attributes: &[Attribute], item: &impl Spanned) -> bool {
        let skips = is_for_tests(attributes);
        if skips {
            let begin = attributes.first().map_or(item.span(), Spanned::span);
            let lines = begin.start().line..=item.span().end().line;
            self.test_lines.extend(lines);
        }
        skips
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if !self.skips(attributes(item), item) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let attributes = match item {
            ImplItem::Fn(item) => &item.attrs[..],
            ImplItem::Const(item) => &item.attrs,
            _ => &[],
        };
        if !self.skips(attributes, item) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_stmt(&mut self, statement: &'ast Stmt) {
        let attributes = match statement {
            Stmt::Local(local) => &local.attrs[..],
            _ => &[],
        };
        if !self.skips(attributes, statement) {
            visit::visit_stmt(self, statement);
        }
    }

    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        self.module.push(module.ident.to_string());
        visit::visit_item_mod(self, module);
        self.module.pop();
    }

    fn visit_item_use(&mut self, import: &'ast ItemUse) {
        for path in paths(&import.tree) {
            self.names(&path);
        }
    }

    fn visit_path(&mut self, path: &'ast Path) {
        let names = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string());
        self.names(&names.collect::<Vec<_>>());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, called: &'ast Macro) {
        for path in paths_of_tokens(called.tokens.clone()) {
            self.names(&path);
        }
        visit::visit_macro(self, called);
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Returns whether an item is compiled for tests only.
fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let tokens = match &attribute.meta {
            syn::Meta::List(list) if list.path.is_ident("cfg") => list.tokens.to_string(),
            _ => return false,
        };
        let tokens = tokens.replace(' ', "");
        // Includes code for tests of other crates, which has the feature `testing`.
        tokens == "test"
            || tokens.starts_with("all(test")
            || tokens == "any(test,feature=\"testing\")"
    })
}

/// Returns the paths of an import.
fn paths(tree: &UseTree) -> Vec<Vec<String>> {
    match tree {
        UseTree::Path(path) => {
            let first = path.ident.to_string();
            let rest = paths(&path.tree).into_iter();
            rest.map(|rest| [vec![first.clone()], rest].concat())
                .collect()
        }
        UseTree::Name(name) => vec![vec![name.ident.to_string()]],
        UseTree::Rename(name) => vec![vec![name.ident.to_string()]],
        UseTree::Glob(_) => vec![Vec::new()],
        UseTree::Group(group) => group.items.iter().flat_map(paths).collect(),
    }
}

/// Returns the paths of more than one word among the tokens of a macro call.
fn paths_of_tokens(tokens: TokenStream) -> Vec<Vec<String>> {
    let (mut found, mut path): (Vec<Vec<String>>, Vec<String>) = Default::default();
    let mut follows = false;
    for token in tokens {
        match token {
            TokenTree::Ident(name) => {
                if !follows {
                    found.push(std::mem::take(&mut path));
                }
                path.push(name.to_string());
                follows = false;
            }
            TokenTree::Punct(mark) => follows = mark.as_char() == ':' && !path.is_empty(),
            TokenTree::Group(group) => {
                found.extend(paths_of_tokens(group.stream()));
                follows = false;
            }
            TokenTree::Literal(_) => follows = false,
        }
    }
    found.push(path);
    found.retain(|path| path.len() > 1);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(files: &[(&str, &str)]) -> Floor {
        let files: Vec<SourceFile> = files
            .iter()
            .map(|(module, text)| SourceFile {
                module: module
                    .split("::")
                    .filter(|name| !name.is_empty())
                    .map(str::to_owned)
                    .collect(),
                syntax: syn::parse_file(text).unwrap(),
                code: super::super::scan::blank(text),
            })
            .collect();
        floor(&files)
    }

    fn arrows(floor: &Floor) -> Vec<String> {
        let arrows = floor.arrows.iter();
        arrows
            .map(|((from, to), n)| format!("{from} {to} {n}"))
            .collect()
    }

    #[test]
    fn every_way_to_name_a_module_is_an_arrow() {
        let floor = read(&[
            ("", "mod a; mod b; mod c; mod d; pub use c::Thing;"),
            (
                "a",
                "use crate::{b::{self, One}, Thing};\nfn f() { crate::b::two(); println!(\"{}\", crate::d::x()); }",
            ),
            ("b", "use super::c as other;\npub struct One;"),
            (
                "c::inner",
                "use super::super::d; use super::own; use std::fmt;",
            ),
            ("d", ""),
        ]);
        assert_eq!(
            arrows(&floor),
            ["a b 3", "a c 1", "a d 1", "b c 1", "c d 1"]
        );
        assert!(floor.cycles().is_empty());
    }

    #[test]
    fn a_cycle_is_found_and_what_only_tests_name_is_none() {
        let files = [
            ("", "mod a; mod b; mod c; mod d;"),
            ("a", "use crate::b::X;"),
            ("b", "fn f() -> crate::c::Y { todo() }"),
            ("c", "impl Y { fn g() { super::a::h() } }"),
            ("d", "use crate::a;"),
        ];
        let cycles = read(&files);
        let cycles = cycles.cycles();
        assert_eq!(cycles, [BTreeSet::from(["a", "b", "c"])]);
        let mut files = files;
        files[3].1 = "#[cfg(test)]\nmod tests { use crate::a; }\nimpl Y { #[cfg(test)] fn g() { super::a::h() } }";
        assert!(read(&files).cycles().is_empty());
        files[3].1 = "#[cfg(test)]\nmod tests;";
        let mut files = files.to_vec();
        files.push(("c::tests", "use crate::a;"));
        assert!(read(&files).cycles().is_empty());
    }

    #[test]
    fn lines_of_code_are_those_that_are_neither_blank_nor_tests() {
        let floor = read(&[(
            "a",
            "//! Head.\n\n/// One.\nfn one() {\n}\n\n#[cfg(test)]\nmod tests {\n    fn x() {}\n}\n",
        )]);
        assert_eq!(floor.lines_of_code(), 2);
    }
}
