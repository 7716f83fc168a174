use super::Family;
pub static FAMILY: Family = Family::named("cookie");
