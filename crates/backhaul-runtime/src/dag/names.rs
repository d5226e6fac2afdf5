//! The name that was meant.

/// `: did you mean …?` with the closest of the names, or nothing if none is near.
pub(super) fn hint<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> String {
    let meant = closest(wanted, names);
    meant.map_or_else(String::new, |name| format!(": did you mean `{name}`?"))
}

/// The name that is closest to `wanted`, if any is near: one letter in three may be wrong, and
/// what stands before or behind may be missing.
fn closest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |name: &str| match wanted.len() > 3 && name.contains(wanted) {
        true => 1,
        false => strsim::damerau_levenshtein(wanted, name),
    };
    names
        .filter(|name| name.len() <= MAX_LENGTH && wanted.len() <= MAX_LENGTH)
        .map(|name| (distance(name), name))
        .filter(|(distance, name)| *distance <= name.len().min(wanted.len()).div_ceil(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Longer names are not compared: the time grows with the square of the length.
const MAX_LENGTH: usize = 100;
