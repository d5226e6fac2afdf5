//! Feedback.

use axum::response::Response;
use backhaul_store::{Clock as _, SystemClock, Timestamp};
use backhaul_weave::{Entry, EntryType, ProjectId};
use serde::Serialize;
use serde_json::value::RawValue;

use super::WeaveCollector;
use super::answers;
use super::asked::Asked;
use super::fields::Fields;
use super::ids::NewIds;
use super::storing::{entry, project};
use crate::intake::Refusal;

/// What is answered for each. A server adds the names of an emoji to the payload, for those
/// who look at it there.
#[derive(Serialize)]
struct Created<'a> {
    id: String,
    created_at: String,
    wb_user_id: String,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
}

pub(super) fn create(collector: &WeaveCollector, asked: &mut Asked) -> Result<Response, Refusal> {
    store_one(collector, asked, EntryType::FeedbackCreate)
}

pub(super) fn replace(collector: &WeaveCollector, asked: &mut Asked) -> Result<Response, Refusal> {
    store_one(collector, asked, EntryType::FeedbackReplace)
}

pub(super) fn create_batch(
    collector: &WeaveCollector,
    asked: &mut Asked,
) -> Result<Response, Refusal> {
    #[derive(Serialize)]
    struct Answer<'a> {
        #[serde(borrow)]
        res: Vec<Created<'a>>,
    }
    let mut ids = NewIds::of(asked);
    let body = asked.json(collector.intake())?;
    let (mut entries, mut res) = (Vec::new(), Vec::new());
    for item in Fields::read(&body, "the body")?.objects("batch")? {
        let (entry, created) = read(collector, &item, EntryType::FeedbackCreate, &mut ids)?;
        entries.push(entry);
        res.push(created);
    }
    collector.log_all(entries)?;
    answers::json(&Answer { res })
}

pub(super) fn purge(collector: &WeaveCollector, asked: &mut Asked) -> Result<Response, Refusal> {
    let body = asked.json(collector.intake())?;
    let request = Fields::read(&body, "the body")?;
    request.object("query")?;
    collector.log_request(EntryType::FeedbackPurge, &request)?;
    answers::done()
}

fn store_one(
    collector: &WeaveCollector,
    asked: &mut Asked,
    entry_type: EntryType,
) -> Result<Response, Refusal> {
    let mut ids = NewIds::of(asked);
    let body = asked.json(collector.intake())?;
    let request = Fields::read(&body, "the body")?;
    if entry_type == EntryType::FeedbackReplace {
        request.require_text("feedback_id", "the id of the feedback that is replaced")?;
    }
    let (entry, created) = read(collector, &request, entry_type, &mut ids)?;
    collector.log_all(vec![entry])?;
    answers::json(&created)
}

fn read<'a>(
    collector: &WeaveCollector,
    feedback: &Fields<'a>,
    entry_type: EntryType,
    ids: &mut NewIds,
) -> Result<((ProjectId, Entry), Created<'a>), Refusal> {
    let project = project(feedback)?;
    feedback.require_text("weave_ref", "what it is about")?;
    feedback.require_text("feedback_type", "its type, such as wandb.note.1")?;
    let payload = serde_json::from_str(feedback.object("payload")?.as_text()).ok();
    let now: Timestamp = SystemClock::new().now().wall;
    let (id, data) = match feedback.text("id")? {
        Some(id) => (id, entry(entry_type, feedback.as_text())?),
        None => {
            let id = ids.next();
            let data = entry(entry_type, &feedback.with(&[("id", &id)]))?;
            (id, data)
        }
    };
    let wb_user_id = collector.known().username();
    let created = Created { id, created_at: now.to_string(), wb_user_id, payload };
    Ok(((project, data.at(now)), created))
}
