//! Files: their bytes, in a form of several parts.

use backhaul_sync::header::{self, HeaderMap, HeaderValue};
use backhaul_sync::{LinkError, Method, Verdict};
use serde_json::Value;

use super::fates::is_no_path;
use super::job::{Job, SHORT};
use crate::digest;
use crate::entry::Entry;
use crate::error::{TraceError, TraceErrorKind};
use crate::remote;

const PATH: &str = "/file/create";
/// What weave up to 0.53 calls it.
const OLD_PATH: &str = "/files/create";

/// Sends a file. A server that has it keeps it as it is, so that it may come twice.
pub(super) async fn deliver(job: &Job, entry: &Entry) -> Result<Verdict, LinkError> {
    let data = entry.value();
    let content = match content_of(job, &data).await? {
        Ok(content) => content,
        Err(error) => return Ok(super::job::unreadable(&error)),
    };
    let form = Form::new(&job.target.real.to_string(), &data, &content);
    let is_new = job.server.file_create.is_likely();
    let said = match form.post(job, if is_new { PATH } else { OLD_PATH }).await {
        Err(error) if is_new && is_no_path(&error) => {
            let said = form.post(job, OLD_PATH).await?;
            job.server.file_create.note(false);
            said
        }
        said => said?,
    };
    let digest = data["digest"].as_str().unwrap_or_default();
    if said["digest"].as_str().is_some_and(|said| said != digest) {
        let reason = format!("the server has it as {}, and it is {digest} here", said["digest"]);
        return Ok(Verdict::Rejected { reason, status: None });
    }
    Ok(Verdict::Delivered)
}

/// The bytes; or why there are none that could ever be sent.
async fn content_of(job: &Job, data: &Value) -> Result<Result<Vec<u8>, TraceError>, LinkError> {
    let (offline, project) = (job.server.offline.clone(), job.target.local.clone());
    let digest = data["digest"].as_str().unwrap_or_default().to_owned();
    let read = tokio::task::spawn_blocking(move || offline.file(&project, &digest)).await;
    match read.map_err(|error| LinkError::busy(error.to_string()))? {
        Err(error) if error.kind() == TraceErrorKind::Store => {
            Err(LinkError::busy(error.to_string()))
        }
        read => Ok(read),
    }
}

/// A form of several parts (RFC 7578).
struct Form {
    boundary: String,
    body: bytes::Bytes,
}

impl Form {
    fn new(project: &str, data: &Value, content: &[u8]) -> Self {
        // The digest of the content cannot stand in the content.
        let boundary = format!("backhaul-{}", digest::of_file(content));
        let name = quoted(data["name"].as_str().unwrap_or("file"));
        let content_type = data["content_type"].as_str().unwrap_or("application/octet-stream");
        let content_type: String = content_type.chars().filter(char::is_ascii_graphic).collect();
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"project_id\"\r\n\r\n\
             {project}\r\n--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; \
             filename=\"{name}\"\r\nContent-Type: {content_type}\r\n\r\n"
        );
        let tail = format!("\r\n--{boundary}--\r\n");
        let body = [head.as_bytes(), content, tail.as_bytes()].concat().into();
        Self { boundary, body }
    }

    async fn post(&self, job: &Job, path: &str) -> Result<Value, LinkError> {
        let content_type = format!("multipart/form-data; boundary={}", self.boundary);
        let content_type = HeaderValue::from_str(&content_type)
            .map_err(|error| LinkError::refused(error.to_string()))?;
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, content_type)]);
        let answer = job.send(Method::POST, path, headers, self.body.clone(), SHORT).await?;
        remote::read(&answer)
    }
}

/// A file's name as browsers have it in such a form (HTML, "multipart form data").
fn quoted(name: &str) -> String {
    name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}
