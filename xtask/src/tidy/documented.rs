//! Public types and functions of the crates have documentation. Fields and variants need none:
//! the contract belongs to the type.

use super::tree::Tree;
use super::{Finding, Wrong};
use syn::{Attribute, ImplItem, Item, TraitItem, Visibility};

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for (file, _) in tree.rust() {
        let is_library = file.path.starts_with("crates/") && file.path.contains("/src/");
        // The compiler reports a file that does not parse.
        let Some(syntax) = is_library
            .then(|| syn::parse_file(&file.text).ok())
            .flatten()
        else {
            continue;
        };
        let mut undocumented = Vec::new();
        read(&syntax.items, &mut undocumented);
        found.extend(undocumented.into_iter().map(|(line, name)| Finding {
            file: file.path.clone(),
            line,
            wrong: Wrong::Undocumented { name },
        }));
    }
    found
}

/// Adds line and name of each public type and function without documentation.
fn read(items: &[Item], found: &mut Vec<(usize, String)>) {
    for item in items {
        let (attributes, visibility, name) = match item {
            Item::Struct(one) => (&one.attrs, &one.vis, &one.ident),
            Item::Enum(one) => (&one.attrs, &one.vis, &one.ident),
            Item::Fn(one) => (&one.attrs, &one.vis, &one.sig.ident),
            Item::Trait(one) => {
                for part in &one.items {
                    if let TraitItem::Fn(function) = part
                        && is_public(&one.vis)
                        && !is_documented(&function.attrs)
                    {
                        found.push(at(&function.sig.ident));
                    }
                }
                (&one.attrs, &one.vis, &one.ident)
            }
            Item::Impl(one) if one.trait_.is_none() => {
                for part in &one.items {
                    if let ImplItem::Fn(function) = part
                        && is_public(&function.vis)
                        && !is_documented(&function.attrs)
                    {
                        found.push(at(&function.sig.ident));
                    }
                }
                continue;
            }
            Item::Mod(one) if !is_for_tests(&one.attrs) => {
                let content = one.content.as_ref();
                read(content.map_or(&[][..], |(_, items)| items), found);
                continue;
            }
            _ => continue,
        };
        if is_public(visibility) && !is_documented(attributes) && !is_for_tests(attributes) {
            found.push(at(name));
        }
    }
}

fn at(name: &syn::Ident) -> (usize, String) {
    (name.span().start().line, name.to_string())
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

fn is_documented(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|one| one.path().is_ident("doc"))
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    let is_test = |one: &Attribute| {
        one.path().is_ident("cfg")
            && one
                .meta
                .require_list()
                .is_ok_and(|list| list.tokens.to_string() == "test")
    };
    attributes.iter().any(is_test)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_types_and_functions_need_documentation() {
        let text = "//! A.\npub struct A { pub a: u8 }\n/// B.\npub enum B { C }\nimpl B { pub fn d() {} fn e() {} }\n\
                    pub trait F { fn g(); }\n#[cfg(test)]\nmod tests { pub fn h() {} }\npub(crate) fn i() {}\n";
        let of = |path: &str| {
            let found = check(&Tree::of(&[(path, text)])).into_iter();
            let found = found.map(|one| (one.line, one.wrong.to_string()));
            found.map(|(line, wrong)| {
                format!("{line} {}", wrong.split(' ').next().unwrap_or_default())
            })
        };
        let found: Vec<String> = of("crates/a/src/lib.rs").collect();
        assert_eq!(found, ["2 A", "5 d", "6 g", "6 F"]);
        assert_eq!(of("tests/a.rs").count(), 0);
    }
}
