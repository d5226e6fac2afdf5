//! The name that was meant.

/// The name of those that are there that is closest to `wanted`, if any is near: one
/// letter in three may be wrong, and what stands before or behind may be missing.
pub(super) fn closest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |name: &str| match wanted.len() > 3 && name.contains(wanted) {
        true => 1,
        false => strsim::damerau_levenshtein(wanted, name),
    };
    names
        .map(|name| (distance(name), name))
        .filter(|(distance, name)| *distance <= name.len().min(wanted.len()).div_ceil(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// `: did you mean …?`, or nothing.
pub(super) fn hint(meant: Option<&str>) -> String {
    meant.map_or_else(String::new, |name| format!(": did you mean {name}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_name_is_meant_and_a_strange_one_means_none() {
        let names = ["batch_size", "batch_bytes", "max_retries", "log"];
        for (wanted, meant) in [
            ("batchsize", Some("batch_size")),
            ("max_retires", Some("max_retries")),
            ("max_retry", Some("max_retries")),
            ("batch_byte", Some("batch_bytes")),
            ("lgo", Some("log")),
            ("retries", Some("max_retries")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(closest(wanted, names.into_iter()), meant, "{wanted}");
        }
    }
}
