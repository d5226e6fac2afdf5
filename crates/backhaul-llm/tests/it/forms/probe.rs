//! The clients of OpenAI and Anthropic for Python, with a test in place of the server.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use backhaul_llm::{Form, FormRequest, LlmError};
use serde_json::{Value, json};

use super::{Piece, events_of, stamp};

const CRATE: &str = env!("CARGO_MANIFEST_DIR");

/// What a client is answered.
pub(super) struct Answer {
    status: u16,
    kind: &'static str,
    body: String,
}

impl Answer {
    pub(super) fn whole(body: &Value) -> Self {
        Self { status: 200, kind: "application/json", body: body.to_string() }
    }

    /// A chat completion in the request's form.
    pub(super) fn of(request: &FormRequest, answer: &backhaul_llm::CompletionResult) -> Self {
        Self::whole(&request.answer(answer, &stamp()).unwrap())
    }

    pub(super) fn pieces(request: &FormRequest, pieces: Vec<Piece>) -> Self {
        Self { status: 200, kind: "text/event-stream", body: events_of(request, pieces) }
    }

    pub(super) fn error(form: Form, error: &LlmError) -> Self {
        let (status, body) = form.error(error);
        Self { status, ..Self::whole(&body) }
    }
}

pub(super) struct Probe {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Probe {
    pub(super) fn start() -> Self {
        let script = Path::new(CRATE).join("../../scripts/llm-venv");
        let made = Command::new(script).stderr(Stdio::inherit()).output().unwrap();
        assert!(made.status.success(), "scripts/llm-venv: {}", made.status);
        let python = String::from_utf8(made.stdout).unwrap();
        let mut child = Command::new(python.trim())
            .arg(Path::new(CRATE).join("tests/it/forms_probe.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().unwrap());
        Self { child, stdin, stdout: BufReader::new(stdout) }
    }

    /// Has a client call a method. `answer` gives what it is answered. Returns what the client
    /// makes of that.
    pub(super) fn call(
        &mut self,
        method: &str,
        arguments: &Value,
        answer: impl FnOnce(&str, Value) -> Answer,
    ) -> Value {
        let (client, method) = method.split_once('.').unwrap();
        self.write(&json!({ "client": client, "method": method, "arguments": arguments }));
        let request = self.read();
        let answer = answer(request["path"].as_str().unwrap(), request["body"].clone());
        self.write(&json!({ "status": answer.status, "type": answer.kind, "body": answer.body }));
        self.read()
    }

    /// The same, for the forms.
    pub(super) fn ask(
        &mut self,
        method: &str,
        arguments: &Value,
        answer: impl FnOnce(&FormRequest) -> Answer,
    ) -> Value {
        self.call(method, arguments, |path, body| {
            let form = Form::of_path(path).unwrap();
            match form.read(body) {
                Ok(request) => answer(&request),
                Err(error) => Answer::error(form, &error),
            }
        })
    }

    fn write(&mut self, line: &Value) {
        writeln!(self.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    fn read(&mut self) -> Value {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}
