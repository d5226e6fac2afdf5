//! Addresses as people may see them.

/// An address without what stands before its host: a name and a password.
///
/// ```
/// assert_eq!(backhaul_sync::shown_url("https://user:secret@host/x"), "https://host/x");
/// ```
pub fn shown_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let authority = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let host = rest.get(..authority).and_then(|text| text.rfind('@')).map_or(0, |at| at + 1);
    format!("{scheme}://{}", rest.get(host..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::shown_url;

    #[test]
    fn passwords_in_addresses_are_never_shown() {
        for (url, shown) in [
            ("https://u:p@hub/x", "https://hub/x"),
            ("https://hub/x@y", "https://hub/x@y"),
            ("http://u:p@a@hub", "http://hub"),
            ("nonsense", "nonsense"),
        ] {
            assert_eq!(shown_url(url), shown);
        }
    }
}
