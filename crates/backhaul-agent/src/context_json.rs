//! The JSON forms of a context, and the hash of one of them.

use std::fmt::Write as _;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::context::Context;
use crate::fields::{FieldError, Fields};
use crate::json::{Style, Writer};
use crate::patch::ContextPatch;
use crate::shape::Node;
use crate::shared_object::SharedObject;
use crate::time;

impl Context {
    /// The bare data, without the history, as in a run record. All of it is copied;
    /// [`Context::to_json`] writes it without.
    pub fn to_value(&self) -> Value {
        Value::Object(self.data().to_map())
    }

    /// The bare data as compact JSON, written from where it is.
    ///
    /// ```
    /// use backhaul_agent::Context;
    /// let context = Context::new().set("site", "roof").set("readings", vec![31, 32]);
    /// assert_eq!(context.to_json(), br#"{"site":"roof","readings":[31,32]}"#);
    /// ```
    pub fn to_json(&self) -> Vec<u8> {
        Node::Shared(self.data()).to_vec(Style::Compact)
    }

    /// A context of bare data.
    ///
    /// # Errors
    /// When `value` is not an object.
    pub fn from_value(value: Value) -> Result<Self, FieldError> {
        match value {
            Value::Object(data) => Ok(Self::from(data)),
            other => Err(FieldError::new("", Some(&other), "an object")),
        }
    }

    /// `{"data": …, "patch_history": […]}`: as in a checkpoint.
    pub fn to_checkpoint_value(&self) -> Value {
        self.checkpoint_node().into_value()
    }

    /// What [`Context::to_checkpoint_value`] gives as compact JSON, written from where it is.
    pub fn to_checkpoint_json(&self) -> Vec<u8> {
        self.checkpoint_node().to_vec(Style::Compact)
    }

    /// Reads what [`Context::to_checkpoint_value`] gives, `{"data": …}`, or bare data.
    ///
    /// Bare data whose only key is `data`, holding an object, cannot be told from the
    /// second form and is read as that, as upstream does.
    ///
    /// # Errors
    /// When `value` is not an object, or a patch in it cannot be read.
    ///
    /// ```
    /// use backhaul_agent::{Context, ContextPatch};
    /// let context = Context::new().apply(&ContextPatch::set("n", 1))?;
    /// let restored = Context::from_checkpoint_value(context.to_checkpoint_value())?;
    /// assert_eq!(restored, context);
    /// assert_eq!(restored.get_timeline().len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_checkpoint_value(value: Value) -> Result<Self, FieldError> {
        if !is_checkpoint(&value) {
            return Self::from_value(value);
        }
        let mut fields = Fields::of_document(value, time::now())?;
        let data = fields.object("data")?;
        let patches = fields.list_of("patch_history", ContextPatch::read)?;
        Ok(Self::new_with(data.into(), patches.into_iter().collect()))
    }

    /// A hex SHA-256 over the data and the ids of the patches, equal to the one in Python.
    /// All of the data is written for it.
    ///
    /// ```
    /// use backhaul_agent::Context;
    /// assert_eq!(
    ///     Context::new().state_hash(),
    ///     "2b7848967e0324c7a47c266224f07ec75f3fad5c99d1434bca24b54f47124910",
    /// );
    /// ```
    pub fn state_hash(&self) -> String {
        let mut data = Writer::sorted();
        self.data().write(&mut data);
        let ids: Vec<&str> = self.get_timeline().map(|patch| patch.id.as_str()).collect();
        let digest = Sha256::new()
            .chain_update(data.into_bytes())
            .chain_update(b"|")
            .chain_update(ids.join(","))
            .finalize();
        digest.iter().fold(String::new(), |mut hex, byte| {
            // Writing to a string cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }

    fn checkpoint_node(&self) -> Node<'_> {
        let history = Node::list(self.get_timeline(), |patch| patch.shape());
        Node::Object(vec![("data", Node::Shared(self.data())), ("patch_history", history)])
    }
}

fn is_checkpoint(value: &Value) -> bool {
    value.as_object().is_some_and(|map| {
        map.get("data").is_some_and(Value::is_object)
            && map.keys().all(|key| key == "data" || key == "patch_history")
    })
}

impl From<Map<String, Value>> for Context {
    fn from(data: Map<String, Value>) -> Self {
        Self::new_with(SharedObject::from(data), Default::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn context(value: Value) -> Context {
        Context::from_value(value).unwrap()
    }

    #[test]
    fn state_hash_equals_that_of_python() {
        assert_eq!(
            context(json!({"b": 1, "a": [1, 2]})).state_hash(),
            "d0f4efffd7111398126fec3adfb76eaa7186619d5b668e0adb0256c7086a3c58"
        );
    }

    #[test]
    fn checkpoint_reader_takes_all_three_forms() {
        let bare = json!({"data": {"x": 1}, "other": 2});
        assert_eq!(Context::from_checkpoint_value(bare.clone()), Ok(context(bare)));
        let wrapped = Context::from_checkpoint_value(json!({"data": {"x": 1}})).unwrap();
        assert_eq!(wrapped, context(json!({"x": 1})));
        let broken = json!({"data": {}, "patch_history": [{"path": "a"}]});
        let error = Context::from_checkpoint_value(broken).unwrap_err();
        assert_eq!(error.path(), "patch_history[0].operation");
    }
}
