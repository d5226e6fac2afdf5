//! What is said later of calls, objects and models: names, deletion, tags, costs.

use serde_json::{Value, json};

use super::arguments::LONGEST_DISPLAY_NAME;
use super::call::Call;
use super::object_ref::ObjectRef;
use super::weave_client::required;
use crate::entry::{Entry, EntryType};
use crate::error::{TraceError, TraceErrorKind};

impl Call {
    /// Gives the call another name to be shown by, of at most 1,024 characters; an empty one
    /// takes it away.
    ///
    /// # Errors
    /// [`InvalidInput`](TraceErrorKind::InvalidInput) for a longer one, and where the disk takes
    /// nothing.
    pub fn set_display_name(&self, name: &str) -> Result<(), TraceError> {
        let length = name.chars().count();
        if length > LONGEST_DISPLAY_NAME {
            let expected = format!("expected at most {LONGEST_DISPLAY_NAME}");
            let message = format!("the name has {length} characters: {expected}");
            return Err(TraceError::new(TraceErrorKind::InvalidInput, message));
        }
        let recorder = self.recorder();
        let data = json!({
            "project_id": recorder.project.to_string(),
            "call_id": self.id(),
            "display_name": name,
        });
        // A server does nothing for a call that it has not seen.
        recorder.flush()?;
        recorder.log(EntryType::CallUpdate, &data)
    }

    /// Deletes the call, and those below it.
    ///
    /// # Errors
    /// Where the disk takes nothing.
    pub fn delete(&self) -> Result<(), TraceError> {
        let recorder = self.recorder();
        let data = json!({"project_id": recorder.project.to_string(), "call_ids": [self.id()]});
        recorder.flush()?;
        recorder.log(EntryType::CallsDelete, &data)
    }
}

/// Adds tags to a version of an object.
///
/// # Errors
/// Where there is no client, and where the disk takes nothing.
pub fn add_tags(object: &ObjectRef, tags: &[&str]) -> Result<(), TraceError> {
    let data = json!({
        "project_id": object.project().to_string(),
        "object_id": object.name(),
        "digest": object.digest(),
        "tags": tags,
    });
    log_of(object, EntryType::ObjTags, &data)
}

/// Gives a version of an object aliases, which each lead to one version of it.
///
/// # Errors
/// Where there is no client, and where the disk takes nothing.
pub fn set_aliases(object: &ObjectRef, aliases: &[&str]) -> Result<(), TraceError> {
    let data = json!({
        "project_id": object.project().to_string(),
        "object_id": object.name(),
        "digest": object.digest(),
        "aliases": aliases,
    });
    log_of(object, EntryType::ObjAliases, &data)
}

/// Deletes a version of an object.
///
/// # Errors
/// Where there is no client, and where the disk takes nothing.
pub fn delete_object_version(object: &ObjectRef) -> Result<(), TraceError> {
    let data = json!({
        "project_id": object.project().to_string(),
        "object_id": object.name(),
        "digests": [object.digest()],
    });
    log_of(object, EntryType::ObjDelete, &data)
}

fn log_of(object: &ObjectRef, entry_type: EntryType, data: &Value) -> Result<(), TraceError> {
    if object.name().is_empty() {
        let message = format!("{object} is a table: expected an object");
        return Err(TraceError::new(TraceErrorKind::InvalidInput, message));
    }
    let client = required()?;
    client.server().log(object.project(), &[Entry::of_value(entry_type, data)])?;
    Ok(())
}

/// What a model costs, from a time on. Prices are for one token.
///
/// ```
/// # use backhaul_weave as weave;
/// # let dir = tempfile::tempdir()?;
/// weave::init("my_team/my_project").offline(true).offline_dir(dir.path()).start()?;
/// weave::Cost::of("local-3b").prompt(0.0).completion(1e-6).add()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "a cost is stored by add()"]
pub struct Cost {
    model: String,
    prompt: f64,
    completion: f64,
    unit: String,
    provider: String,
}

impl Cost {
    /// Of a model: nothing, in USD, of the provider `default`.
    pub fn of(model: impl Into<String>) -> Self {
        let (unit, provider) = ("USD".to_owned(), "default".to_owned());
        Self { model: model.into(), prompt: 0.0, completion: 0.0, unit, provider }
    }

    /// Of a token of the prompt.
    pub fn prompt(mut self, cost: f64) -> Self {
        self.prompt = cost;
        self
    }

    /// Of a token of the answer.
    pub fn completion(mut self, cost: f64) -> Self {
        self.completion = cost;
        self
    }

    /// In another unit than USD.
    pub fn unit(mut self, unit: impl Into<String>) -> Self {
        self.unit = unit.into();
        self
    }

    /// Of a provider.
    pub fn provider(mut self, provider: impl Into<String>) -> Self {
        self.provider = provider.into();
        self
    }

    /// Stores it, from now on.
    ///
    /// # Errors
    /// [`InvalidInput`](TraceErrorKind::InvalidInput) for a cost that is no number of 0 or
    /// more, and where there is no client; and where the disk takes nothing.
    pub fn add(self) -> Result<(), TraceError> {
        for cost in [self.prompt, self.completion] {
            if !cost.is_finite() || cost < 0.0 {
                let message = format!("{cost} is no cost of a token: expected 0 or more");
                return Err(TraceError::new(TraceErrorKind::InvalidInput, message));
            }
        }
        let client = required()?;
        let now = client.server().clock().now().wall;
        let data = json!({
            "project_id": client.project().to_string(),
            "costs": {self.model: {
                "prompt_token_cost": self.prompt,
                "completion_token_cost": self.completion,
                "prompt_token_cost_unit": self.unit,
                "completion_token_cost_unit": self.unit,
                "effective_date": now.to_string(),
                "provider_id": self.provider,
            }},
        });
        client.recorder().log(EntryType::CostCreate, &data)
    }
}
