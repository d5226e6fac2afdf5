//! Files, which come as the parts of a form.

use axum::body::Body;
use axum::http::header;
use axum::response::Response;
use multer::Multipart;
use serde_json::json;
use tokio::runtime::Handle;

use super::WeaveCollector;
use super::answers::{self, bad, refusal};
use super::asked::{Asked, project_of};
use crate::intake::Refusal;

/// A file without a name has this one.
const NO_NAME: &str = "file";

/// What the parts of a form say.
#[derive(Default)]
struct Form {
    project_id: Option<String>,
    file: Option<File>,
}

struct File {
    name: Option<String>,
    content_type: Option<String>,
    content: axum::body::Bytes,
}

/// The digest of a file is the same for all servers, so that one which the client expects
/// need not be looked at.
pub(super) fn create(collector: &WeaveCollector, asked: &mut Asked) -> Result<Response, Refusal> {
    let form = read(collector, asked)?;
    let missing =
        |what: &str| bad(format!("the form has no part {what}: expected project_id and file"));
    let project = project_of(&form.project_id.ok_or_else(|| missing("project_id"))?)?;
    let file = form.file.ok_or_else(|| missing("file"))?;
    let created = collector.server().create_file(
        &project,
        file.name.as_deref().unwrap_or(NO_NAME),
        file.content_type.as_deref(),
        &file.content,
    );
    answers::json(&json!({"digest": created.map_err(|error| refusal(&error))?}))
}

/// Blocks.
fn read(collector: &WeaveCollector, asked: &mut Asked) -> Result<Form, Refusal> {
    let content_type = asked.header(header::CONTENT_TYPE).unwrap_or_default();
    let boundary = multer::parse_boundary(content_type).map_err(|error| {
        bad(format!("Content-Type: expected multipart/form-data, found {content_type:?}: {error}"))
    })?;
    asked.decompress(collector.intake())?;
    let body = std::mem::take(&mut asked.body);
    // Its parts are copies.
    if !asked.share.take(body.len()) {
        return Err(Refusal::unavailable("too much is being received at this moment"));
    }
    let parts = Multipart::new(Body::from(body).into_data_stream(), boundary);
    // The whole of it is in memory: nothing is waited for.
    let form = Handle::current().block_on(Form::of_parts(parts));
    form.map_err(|error| bad(format!("the body is no form: {error}")))
}

impl Form {
    async fn of_parts(mut parts: Multipart<'_>) -> multer::Result<Self> {
        let mut form = Self::default();
        while let Some(part) = parts.next_field().await? {
            match part.name() {
                Some("project_id") => form.project_id = Some(part.text().await?),
                Some("file") => {
                    form.file = Some(File {
                        name: part.file_name().map(ToOwned::to_owned),
                        content_type: part.content_type().map(ToString::to_string),
                        content: part.bytes().await?,
                    });
                }
                _ => {}
            }
        }
        Ok(form)
    }
}
