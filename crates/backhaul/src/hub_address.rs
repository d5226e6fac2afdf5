//! The address of a hub, in one form.

/// What the address of an intake ends with. The address of the hub alone does as well.
const INTAKE: &str = "/v1/runs";

/// The address of the hub alone, as it may be shown and compared: without its intake, and
/// without credentials.
pub(crate) fn shown(url: &str) -> String {
    let hub = url.trim().trim_end_matches('/');
    let hub = hub.strip_suffix(INTAKE).unwrap_or(hub).trim_end_matches('/');
    let Some((scheme, rest)) = hub.split_once("://") else { return hub.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{}://{}{path}", scheme.to_ascii_lowercase(), host.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn one_hub_is_shown_in_one_way_and_without_a_password() {
        for url in ["http://hub:7117", "HTTP://Hub:7117/", "http://hub:7117/v1/runs/"] {
            assert_eq!(shown(url), "http://hub:7117");
        }
        assert_eq!(shown("https://u:p@ss@hub/Base/v1/runs"), "https://hub/Base");
    }
}
