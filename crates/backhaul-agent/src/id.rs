//! Ids of calls, patches and links.

use uuid::Uuid;

/// `prefix_` and 16 hex digits.
///
/// Upstream takes 8 digits, of which ten thousand in one history collide with a chance of
/// one in a hundred; readers take an id as it is, so that more digits cost nothing.
pub(crate) fn generate(prefix: &str) -> String {
    let (high, _) = Uuid::new_v4().as_u64_pair();
    // The version digit, which is always 4, is in this half: sixty random bits are left.
    format!("{prefix}_{high:016x}")
}

#[cfg(test)]
mod tests {
    #[test]
    fn ids_have_a_prefix_and_sixteen_digits() {
        let id = super::generate("call");
        let digits = id.strip_prefix("call_").unwrap();
        assert_eq!(digits.len(), 16);
        assert!(digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_ne!(id, super::generate("call"));
    }
}
