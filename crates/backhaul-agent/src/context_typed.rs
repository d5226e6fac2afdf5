//! Contexts and the types of a program.

use std::any::type_name;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::context::Context;
use crate::context_error::ContextError;
use crate::fields::describe;

impl Context {
    /// The value at `path` as a `T`; `None` when there is nothing. A stored `null` is read,
    /// so that it is an error unless `T` takes it, as an `Option` does.
    ///
    /// # Errors
    /// [`ContextError::WrongType`], which says where, what was found and what was expected.
    ///
    /// ```
    /// use backhaul_agent::Context;
    ///
    /// let context = Context::new().set("sensors.roof.celsius", 31.5).set("site", "north");
    /// assert_eq!(context.get_as::<f64>("sensors.roof.celsius")?, Some(31.5));
    /// assert_eq!(context.get_as::<f64>("sensors.cellar.celsius")?, None);
    /// let error = context.get_as::<f64>("site").unwrap_err();
    /// assert!(error.to_string().starts_with("`site`: found \"north\", expected f64"), "{error}");
    /// # Ok::<(), backhaul_agent::ContextError>(())
    /// ```
    pub fn get_as<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, ContextError> {
        self.get(path).map(|value| read(path, value)).transpose()
    }

    /// The whole data as a `T`. It is copied on the way; the history is left out.
    ///
    /// # Errors
    /// [`ContextError::WrongType`], with an empty path.
    ///
    /// ```
    /// use backhaul_agent::Context;
    /// use std::collections::BTreeMap;
    ///
    /// let context = Context::new().set("roof", 31.5).set("cellar", 12.0);
    /// let readings: BTreeMap<String, f64> = context.to_typed()?;
    /// assert_eq!(readings["cellar"], 12.0);
    /// # Ok::<(), backhaul_agent::ContextError>(())
    /// ```
    pub fn to_typed<T: DeserializeOwned>(&self) -> Result<T, ContextError> {
        read("", self.to_value())
    }

    /// Puts the JSON of `value` at `path`, as [`Context::set`] does. NaN and the infinities,
    /// which `serde` has no form for, become `null`; `json::float` keeps them.
    ///
    /// # Errors
    /// [`ContextError::NotJson`] when `value` cannot be written as JSON.
    ///
    /// ```
    /// use backhaul_agent::Context;
    /// use serde_json::json;
    /// use std::collections::BTreeMap;
    ///
    /// let readings = BTreeMap::from([("cellar", 12), ("roof", 31)]);
    /// let context = Context::new().set_as("sensors", &readings)?;
    /// assert_eq!(context.to_value(), json!({"sensors": {"cellar": 12, "roof": 31}}));
    /// # Ok::<(), backhaul_agent::ContextError>(())
    /// ```
    pub fn set_as<T: Serialize + ?Sized>(
        &self,
        path: &str,
        value: &T,
    ) -> Result<Self, ContextError> {
        let value = serde_json::to_value(value).map_err(|error| ContextError::NotJson {
            path: path.to_owned(),
            found: type_name::<T>(),
            reason: error.to_string(),
        })?;
        Ok(self.set(path, value))
    }
}

fn read<T: DeserializeOwned>(path: &str, value: Value) -> Result<T, ContextError> {
    let found = describe(&value);
    T::deserialize(value).map_err(|error| ContextError::WrongType {
        path: path.to_owned(),
        found,
        expected: type_name::<T>(),
        reason: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn error_names_path_found_and_expected() {
        let context = Context::new().set("a.list", vec![1]);
        let error = context.get_as::<bool>("a.list").unwrap_err();
        let ContextError::WrongType { path, found, expected, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!((path.as_str(), found.as_str(), *expected), ("a.list", "a list", "bool"));
    }

    #[test]
    fn null_is_read_and_nothing_is_none() {
        let context = Context::new().set("none", Value::Null);
        assert_eq!(context.get_as::<Option<u8>>("none"), Ok(Some(None)));
        assert!(context.get_as::<u8>("none").is_err());
        assert_eq!(context.get_as::<u8>("missing"), Ok(None));
    }

    #[test]
    fn what_json_has_no_form_for_is_refused() {
        let pairs = HashMap::from([((1, 2), 3)]);
        let error = Context::new().set_as("pairs", &pairs).unwrap_err();
        assert!(error.to_string().starts_with("`pairs`: found "), "{error}");
    }
}
