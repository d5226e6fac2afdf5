//! The cloud's model, in a process of its own: the testkit's server that goes wrong by number.

use std::io;
use std::time::Duration;

use backhaul_testkit::{FaultServer, LlmScript};

use crate::child::{self, Asked};

/// Longer than anybody here waits for a head.
const SLOW: Duration = Duration::from_secs(30);

/// One that runs until this is dropped.
pub struct Primary {
    pub url: String,
    asked: Asked,
}

impl Primary {
    pub fn start() -> Self {
        let asked = Asked::start(&mut child::own("models-primary"));
        Self { url: asked.url.clone(), asked }
    }

    /// The calls that came since it was asked last.
    pub fn take_calls(&mut self) -> u64 {
        self.asked.ask("").parse().expect("a count")
    }
}

/// The child: tells its address, and how many calls came whenever it is asked.
pub fn run_child() {
    let script = LlmScript::new();
    script.set_delay(SLOW);
    let server = FaultServer::llm(&script).expect("a server");
    println!("{}", server.url());
    for _ in io::stdin().lines() {
        let requests = server.take_requests();
        println!("{}", requests.iter().filter(|it| it.method() == "POST").count());
    }
    // Not until answers that are held back have come.
    std::process::exit(0);
}
