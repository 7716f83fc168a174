//! Derives the id of a virtual router from a section's name, and finds a free id if that one is
//! taken.

/// Returns the id of a name: from 1 to 255, the same on every machine and forever (32-bit FNV-1a).
/// The result must never change, because two releases of evenkeel would not accept each other's
/// adverts.
pub(super) fn of_name(name: &str) -> u8 {
    let hash = part::fnv::fnv1a_32(name.bytes());
    u8::try_from(hash % 255).unwrap_or(0) + 1
}

/// Returns the first free id, starting with that of the name; None if all are taken.
pub(super) fn free(name: &str, taken: impl Fn(u8) -> bool) -> Option<u8> {
    let first = u16::from(of_name(name));
    (0..255)
        .map(|n| u8::try_from((first - 1 + n) % 255).unwrap_or(0) + 1)
        .find(|id| !taken(*id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_names_never_change() {
        // Checks the values that the first release of evenkeel computed.
        assert_eq!(
            ["www", "mail", "a", "b", ""].map(of_name),
            [14, 146, 71, 8, 2]
        );
        assert!((0..2_000).all(|n| of_name(&n.to_string()) != 0));
    }

    #[test]
    fn a_free_id_is_the_next_one_that_nobody_has() {
        let www = of_name("www");
        assert_eq!(free("www", |_| false), Some(www));
        assert_eq!(free("www", |id| id == www), Some(www % 255 + 1));
        assert_eq!(free("www", |_| true), None);
    }
}
