//! Settings that are lists: TOML's in the file; in variables and flags JSON, or words.

use backhaul_llm::LlmErrorKind;
use backhaul_sync::{CheckUrl, RuleConfig};
use serde::Deserialize;
use serde_json::Value;
use toml::de::DeValue;

use super::kind::{Given, Kind, Shape};
use super::models::ModelPlace;
use super::pattern::Pattern;

impl Kind for Vec<CheckUrl> {
    const SHAPE: Shape = Shape::List;
    const EXPECTED: &'static str = "addresses, such as https://hub/healthz, in the file as a list";

    fn read(given: Given<'_>) -> Option<Self> {
        let text = given.text.to_str()?.trim();
        let addresses = match text.starts_with('[') {
            true => serde_json::from_str(text).ok()?,
            false => text.split([',', ' ']).filter(|word| !word.is_empty()).map(plain).collect(),
        };
        Vec::into_iter(addresses).map(Address::parse).collect()
    }

    fn text(&self) -> Option<String> {
        let shown: Vec<String> = self.iter().map(ToString::to_string).collect();
        (!shown.is_empty()).then(|| shown.join(" "))
    }
}

impl Kind for Vec<ModelPlace> {
    const SHAPE: Shape = Shape::List;
    const EXPECTED: &'static str =
        "http://host:port/v1 or a path that ends in .gguf, several as a list";

    /// A path is relative to the folder of the file that it stands in.
    fn read(given: Given<'_>) -> Option<Self> {
        let places = words(given)?.into_iter().map(|word| word.parse::<ModelPlace>().ok());
        let below = |place| match (place, given.base) {
            (ModelPlace::File(path), Some(base)) => ModelPlace::File(base.join(path)),
            (place, _) => place,
        };
        places.map(|place| place.map(below)).collect()
    }

    fn text(&self) -> Option<String> {
        let shown: Vec<String> = self.iter().map(ToString::to_string).collect();
        (!shown.is_empty()).then(|| shown.join(" "))
    }
}

impl Kind for Vec<LlmErrorKind> {
    const SHAPE: Shape = Shape::List;
    const EXPECTED: &'static str = "kinds of errors, such as unreachable timeout busy";

    fn read(given: Given<'_>) -> Option<Self> {
        let kind = |word: &String| LlmErrorKind::ALL.into_iter().find(|kind| kind.name() == word);
        words(given)?.iter().map(kind).collect()
    }

    fn text(&self) -> Option<String> {
        let shown: Vec<&str> = self.iter().map(|kind| kind.name()).collect();
        Some(shown.join(" "))
    }
}

impl Kind for Vec<Pattern> {
    const SHAPE: Shape = Shape::List;
    const EXPECTED: &'static str = "a regular expression, several as a list";

    fn read(given: Given<'_>) -> Option<Self> {
        patterns(given)?.iter().map(|pattern| pattern.parse().ok()).collect()
    }

    fn mistake(given: Given<'_>) -> Option<String> {
        patterns(given)?.iter().find_map(|text| {
            let error = text.parse::<Pattern>().err()?;
            Some(format!("{text:?} is no pattern to strike out: {error}"))
        })
    }

    fn text(&self) -> Option<String> {
        let shown: Vec<String> = self.iter().map(ToString::to_string).collect();
        (!shown.is_empty()).then(|| serde_json::to_string(&shown).ok())?
    }
}

/// In JSON, or one alone, which may have blanks and begin with a bracket.
fn patterns(given: Given<'_>) -> Option<Vec<String>> {
    let text = given.text.to_str()?.trim();
    Some(serde_json::from_str(text).unwrap_or_else(|_| vec![text.to_owned()]))
}

/// A list of texts: in JSON, or words with blanks or commas between them.
fn words(given: Given<'_>) -> Option<Vec<String>> {
    let text = given.text.to_str()?.trim();
    match text.starts_with('[') {
        true => serde_json::from_str(text).ok(),
        false => {
            let words = text.split([',', ' ']).filter(|word| !word.is_empty());
            Some(words.map(ToOwned::to_owned).collect())
        }
    }
}

/// An address to ask, as it stands in a list.
#[derive(Deserialize)]
#[serde(untagged)]
enum Address {
    Plain(String),
    Expecting(Expecting),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expecting {
    url: String,
    /// What the body of a good answer begins with.
    expect: String,
}

fn plain(word: &str) -> Address {
    Address::Plain(word.to_owned())
}

impl Address {
    fn parse(self) -> Option<CheckUrl> {
        match self {
            Address::Plain(url) => url.parse().ok(),
            Address::Expecting(Expecting { url, expect }) => {
                Some(url.parse::<CheckUrl>().ok()?.expecting(expect))
            }
        }
    }
}

impl Kind for Vec<RuleConfig> {
    const SHAPE: Shape = Shape::List;
    const EXPECTED: &'static str = "a list of rules, each with name, field and what it gives";

    fn read(given: Given<'_>) -> Option<Self> {
        serde_json::from_str(given.text.to_str()?).ok()
    }

    fn mistake(given: Given<'_>) -> Option<String> {
        let rules: Vec<Value> = serde_json::from_str(given.text.to_str()?).ok()?;
        rules.iter().find_map(|rule| {
            let error = RuleConfig::deserialize(rule).err()?;
            let name = rule.get("name").map(|name| format!("rule {name}: ")).unwrap_or_default();
            Some(format!("{name}{error}"))
        })
    }

    fn text(&self) -> Option<String> {
        (!self.is_empty()).then(|| serde_json::to_string(self).unwrap_or_default())
    }
}

/// A list or table of TOML in JSON. Times become texts.
pub(super) fn json_of(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| Value::from(number.as_str()), Value::from),
        DeValue::Float(number) => match number.as_str().parse::<f64>() {
            Ok(number) => Value::from(number),
            Err(_) => Value::from(number.as_str()),
        },
        DeValue::Boolean(truth) => Value::from(*truth),
        DeValue::Datetime(time) => Value::from(time.to_string()),
        DeValue::Array(items) => items.iter().map(|item| json_of(item.get_ref())).collect(),
        DeValue::Table(table) => {
            let entries = table.iter();
            entries
                .map(|(key, value)| (key.get_ref().to_string(), json_of(value.get_ref())))
                .collect()
        }
    }
}
