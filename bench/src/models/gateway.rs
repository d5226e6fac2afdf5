//! The gateways that are measured, each a process of its own.

use std::fmt;
use std::net::TcpListener;
use std::path::Path;

use serde_json::json;

use crate::child::{self, Server};

/// What clients show. LiteLLM refuses keys that are well known.
pub const KEY: &str = "sk-3f1c0b0a77d04be15d2a";
/// How long the primary may take, in seconds: for LiteLLM each try, for backhaul all.
pub const TIMEOUT: u32 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gateway {
    Backhaul,
    /// Without records of calls.
    BackhaulRecordless,
    /// As it comes.
    LiteLlm,
    LiteLlmWithoutRetries,
}

impl fmt::Display for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Gateway::Backhaul => "backhaul serve",
            Gateway::BackhaulRecordless => "backhaul serve, `llm_record = \"off\"`",
            Gateway::LiteLlm => "LiteLLM",
            Gateway::LiteLlmWithoutRetries => "LiteLLM, `num_retries: 0`",
        })
    }
}

/// A model that is asked for, and the base of the server that has it.
pub struct Model<'a> {
    pub name: &'a str,
    pub primary: &'a str,
}

impl Gateway {
    pub fn is_ours(self) -> bool {
        matches!(self, Gateway::Backhaul | Gateway::BackhaulRecordless)
    }

    /// Starts one before a fallback. Ours has the first model's server as the primary of all.
    ///
    /// # Errors
    /// When a peer does not install or start.
    pub fn start(self, dir: &Path, models: &[Model], fallback: &str) -> Result<Server, String> {
        if self.is_ours() {
            return Ok(self.start_backhaul(dir, models[0].primary, fallback));
        }
        let config = dir.join("litellm.yaml");
        std::fs::write(&config, self.litellm_config(models, fallback)).expect("a file");
        let python = child::python_of("scripts/peer-venv", &["litellm"])?;
        let program = Path::new(python.get_program()).with_file_name("litellm");
        let mut command = std::process::Command::new(program);
        command.arg("--config").arg(config);
        command.args(["--host", "127.0.0.1", "--port", &free_port(), "--telemetry", "False"]);
        command.current_dir(dir).env("LITELLM_LOCAL_MODEL_COST_MAP", "True");
        Server::try_start_talking(&mut command)
    }

    fn start_backhaul(self, dir: &Path, primary: &str, fallback: &str) -> Server {
        let mut command = child::backhaul_serve(dir);
        command.args(["--llm-primary", &format!("{primary}/v1")]);
        command.args(["--llm-fallback", &format!("{fallback}/v1")]);
        for key in ["TIMEOUT_SECONDS", "ANSWER_TIMEOUT_SECONDS"] {
            command.env(format!("BACKHAUL_LLM_{key}"), TIMEOUT.to_string());
        }
        if self == Gateway::BackhaulRecordless {
            command.env("BACKHAUL_LLM_RECORD", "off");
        }
        Server::start_talking(&mut command)
    }

    /// JSON, which is YAML too.
    fn litellm_config(self, models: &[Model], fallback: &str) -> String {
        let entry = |name: &str, base: &str| {
            let base = format!("{base}/v1");
            json!({"model_name": name, "litellm_params": {
                "model": format!("openai/{name}"), "api_base": base, "api_key": "sk-none",
                "timeout": TIMEOUT, "stream_timeout": TIMEOUT,
            }})
        };
        let mut list: Vec<_> = models.iter().map(|it| entry(it.name, it.primary)).collect();
        list.push(json!({"model_name": "local", "litellm_params": {
            "model": "openai/local", "api_base": format!("{fallback}/v1"), "api_key": "sk-none",
        }}));
        let fallbacks: Vec<_> = models.iter().map(|it| json!({it.name: ["local"]})).collect();
        let mut router = json!({"fallbacks": fallbacks});
        if self == Gateway::LiteLlmWithoutRetries {
            router["num_retries"] = 0.into();
        }
        let settings = json!({
            "model_list": list, "router_settings": router, "general_settings": {"master_key": KEY},
        });
        settings.to_string()
    }
}

/// One that was free a moment ago.
pub fn free_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port().to_string()
}
