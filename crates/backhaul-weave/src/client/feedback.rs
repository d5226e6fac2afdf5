//! What people and programs say of calls and objects.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::call::Call;
use super::object_ref::ObjectRef;
use super::recorder::Recorder;
use super::weave_client::required;
use crate::entry::{Entry, EntryType};
use crate::error::{TraceError, TraceErrorKind};
use crate::project::ProjectId;
use crate::refs;

/// Most characters of a note, as at Weave's server.
const LONGEST_NOTE: usize = 1024;
/// What Weave keeps for itself.
const RESERVED: &str = "wandb.";

/// Says something of a call or an object. Made by [`Call::feedback`] and [`feedback`].
///
/// Each piece is on stable storage when it has an id. Its time is that of the server when it
/// gets there: Weave has no way to say when it was given.
///
/// ```
/// # use backhaul_weave as weave;
/// # let dir = tempfile::tempdir()?;
/// weave::init("my_team/my_project").offline(true).offline_dir(dir.path()).start()?;
/// let (_, call) = weave::with_call(|| weave::call("add").run(|| 42));
/// if let Some(call) = call {
///     call.feedback().add_reaction("👍")?;
///     call.feedback().add_note("As expected.")?;
///     call.feedback().add("field-report", &serde_json::json!({"weather": "rain"}))?;
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Feedback {
    recorder: Arc<Recorder>,
    project: ProjectId,
    address: String,
    creator: Option<String>,
}

impl Call {
    /// To say something of this call.
    pub fn feedback(&self) -> Feedback {
        let recorder = Arc::clone(self.recorder());
        let project = recorder.project.clone();
        Feedback { recorder, project, address: self.address(), creator: None }
    }
}

/// To say something of what has an address: a call, an object or a part of one.
///
/// # Errors
/// [`InvalidInput`](TraceErrorKind::InvalidInput) for what is no address, and where there is no
/// client.
pub fn feedback(address: impl ToString) -> Result<Feedback, TraceError> {
    let address = address.to_string();
    let Some((project, _)) = refs::parts(&address) else {
        return Err(invalid(format!("{address:?} is no address: expected weave:///…")));
    };
    let recorder = Arc::clone(required()?.recorder());
    Ok(Feedback { recorder, project, address, creator: None })
}

impl Feedback {
    /// The same in somebody's name.
    #[must_use]
    pub fn by(mut self, creator: impl Into<String>) -> Self {
        self.creator = Some(creator.into());
        self
    }

    /// A reaction: one emoji. Gives its id.
    ///
    /// # Errors
    /// [`InvalidInput`](TraceErrorKind::InvalidInput) for what cannot be one, and where the disk
    /// takes nothing.
    pub fn add_reaction(&self, emoji: &str) -> Result<String, TraceError> {
        if emoji.is_empty() || emoji.chars().any(|letter| letter.is_alphabetic()) {
            return Err(invalid(format!("{emoji:?} is no reaction: expected one emoji")));
        }
        self.store("wandb.reaction.1", json!({"emoji": emoji}), Map::new())
    }

    /// A note of 1 to 1,024 characters. Gives its id.
    ///
    /// # Errors
    /// [`InvalidInput`](TraceErrorKind::InvalidInput) for an empty or a longer one, and where
    /// the disk takes nothing.
    pub fn add_note(&self, note: &str) -> Result<String, TraceError> {
        let length = note.chars().count();
        if !(1..=LONGEST_NOTE).contains(&length) {
            let expected = format!("expected 1 to {LONGEST_NOTE}");
            return Err(invalid(format!("the note has {length} characters: {expected}")));
        }
        self.store("wandb.note.1", json!({"note": note}), Map::new())
    }

    /// Anything else, of a type of your own. Gives its id.
    ///
    /// # Errors
    /// [`InvalidInput`](TraceErrorKind::InvalidInput) for a type that begins with `wandb.`, and
    /// for a payload that is no map; and where the disk takes nothing.
    pub fn add(
        &self,
        feedback_type: &str,
        payload: &(impl Serialize + ?Sized),
    ) -> Result<String, TraceError> {
        if feedback_type.is_empty() || feedback_type.starts_with(RESERVED) {
            let expected = format!("expected one that does not begin with {RESERVED}");
            return Err(invalid(format!("{feedback_type:?} is no type of feedback: {expected}")));
        }
        self.store(feedback_type, value_of(payload)?, Map::new())
    }

    /// An annotation: a value by a specification, an `AnnotationSpec` that is
    /// [published](crate::publish). Gives its id.
    ///
    /// # Errors
    /// Where the disk takes nothing, and for a value that is not serialized.
    pub fn annotate(
        &self,
        specification: &ObjectRef,
        value: impl Serialize,
    ) -> Result<String, TraceError> {
        let feedback_type = format!("wandb.annotation.{}", specification.name());
        let mut more = Map::new();
        more.insert("annotation_ref".to_owned(), specification.to_string().into());
        self.store(&feedback_type, json!({"value": value_of(&value)?}), more)
    }

    /// A score: what an op, by its own call, came to when it looked at this. Gives its id.
    ///
    /// # Errors
    /// [`InvalidInput`](TraceErrorKind::InvalidInput) where the call is none of an op of the
    /// program's code, and where the disk takes nothing.
    pub fn add_score(&self, by: &Call, output: impl Serialize) -> Result<String, TraceError> {
        let Some(runnable) = by.op_address() else {
            return Err(invalid("a score is given by an op: the call is one by hand".to_owned()));
        };
        let feedback_type = format!("wandb.runnable.{}", by.op_name());
        let mut more = Map::new();
        more.insert("runnable_ref".to_owned(), runnable.into());
        more.insert("call_ref".to_owned(), by.address().into());
        self.store(&feedback_type, json!({"output": value_of(&output)?}), more)
    }

    fn store(
        &self,
        feedback_type: &str,
        payload: Value,
        more: Map<String, Value>,
    ) -> Result<String, TraceError> {
        if !payload.is_object() {
            return Err(invalid(format!("the payload of feedback is a map: found {payload}")));
        }
        let id = Uuid::now_v7().to_string();
        let mut said = json!({
            "id": id,
            "project_id": self.project.to_string(),
            "weave_ref": self.address,
            "feedback_type": feedback_type,
            "payload": payload,
        });
        if let (Some(said), Some(creator)) = (said.as_object_mut(), &self.creator) {
            said.insert("creator".to_owned(), creator.as_str().into());
        }
        if let Some(said) = said.as_object_mut() {
            said.extend(more);
        }
        let entry = Entry::of_value(EntryType::FeedbackCreate, &said);
        self.recorder.server.log(&self.project, &[entry])?;
        Ok(id)
    }
}

fn value_of(value: &(impl Serialize + ?Sized)) -> Result<Value, TraceError> {
    serde_json::to_value(value).map_err(|error| invalid(format!("not serialized: {error}")))
}

fn invalid(message: String) -> TraceError {
    TraceError::new(TraceErrorKind::InvalidInput, message)
}
