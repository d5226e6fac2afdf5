//! NATS JetStream: a server of its own, one stream, one client.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::jetstream::consumer::{self, AckPolicy, PullConsumer};
use async_nats::jetstream::stream::{Config, RetentionPolicy};
use async_nats::jetstream::{self, Message};
use futures_util::StreamExt as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio::runtime::Runtime;

use super::Mode;
use super::store::{Outcome, Store};
use crate::device::Process;

const SUBJECT: &str = "records";
const CONSUMER: &str = "courier";
/// How long nothing comes before nothing is there: a server that cannot read a message does
/// not say so.
const PATIENCE: Duration = Duration::from_millis(500);
/// The same, before the first that comes.
const PATIENCE_AT_FIRST: Duration = Duration::from_secs(5);

pub struct Nats {
    client: jetstream::Context,
    consumer: PullConsumer,
    taken: Mutex<Vec<Message>>,
    has_given: AtomicBool,
    // Ends after the client.
    runtime: Runtime,
    server: Server,
}

/// Ends when this goes.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // Closed as it should be: it may have to write what it holds.
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        let _ = self.0.wait();
    }
}

fn settings(dir: &Path, mode: Mode) -> Outcome<tempfile::NamedTempFile> {
    let sync = if mode == Mode::Relaxed { "" } else { ", sync_interval: always" };
    let file = tempfile::NamedTempFile::new()?;
    let store = dir.display();
    let text = format!("listen: \"127.0.0.1:-1\"\njetstream {{ store_dir: \"{store}\"{sync} }}\n");
    std::fs::write(file.path(), text)?;
    Ok(file)
}

/// Why it cannot be measured here in this mode.
pub fn missing(mode: Mode) -> Option<String> {
    let settings = settings(&std::env::temp_dir(), mode).expect("a file");
    let tested = Command::new("nats-server").arg("-t").arg("-c").arg(settings.path()).output();
    match tested {
        Err(error) => Some(format!("nats-server: {error}")),
        Ok(output) if !output.status.success() => {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said.rsplit_once(": ").map_or(&*said, |(_, last)| last);
            Some(format!("{}: {}", version(), said.trim()))
        }
        Ok(_) => None,
    }
}

fn version() -> String {
    let output = Command::new("nats-server").arg("--version").output();
    output.map_or_else(|_| String::new(), |it| String::from_utf8_lossy(&it.stdout).trim().into())
}

/// A server that listens, and where.
fn serve(dir: &Path, mode: Mode) -> Outcome<(Server, String)> {
    let settings = settings(dir, mode)?;
    let mut command = Command::new("nats-server");
    command.arg("-c").arg(settings.path());
    // It may outlive this process, and must not keep its pipes.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut server = Server(command.spawn()?);
    let mut says = BufReader::new(server.0.stderr.take().expect("piped"));
    let (mut line, mut address) = (String::new(), None);
    while !line.contains("Server is ready") {
        line.clear();
        if says.read_line(&mut line)? == 0 {
            return Err("nats-server ended before it listened".into());
        }
        if let Some((_, at)) = line.split_once("client connections on ") {
            address = Some(at.trim().to_owned());
        }
    }
    std::thread::spawn(move || std::io::copy(&mut says, &mut std::io::sink()));
    Ok((server, address.ok_or("nats-server did not say where it listens")?))
}

pub fn open(dir: &Path, mode: Mode) -> Outcome<Nats> {
    let (server, address) = serve(dir, mode)?;
    let runtime = Runtime::new()?;
    let (client, consumer) = runtime.block_on(async {
        let client = jetstream::new(async_nats::connect(address).await?);
        let stream = client.get_or_create_stream(Config {
            name: SUBJECT.to_owned(),
            subjects: vec![SUBJECT.to_owned()],
            retention: RetentionPolicy::WorkQueue,
            ..Config::default()
        });
        let stream = stream.await?;
        // One that was there keeps back what it handed over before.
        let _ = stream.delete_consumer(CONSUMER).await;
        let consumer = stream.get_or_create_consumer(
            CONSUMER,
            consumer::pull::Config {
                durable_name: Some(CONSUMER.to_owned()),
                ack_policy: AckPolicy::Explicit,
                ack_wait: Duration::from_secs(600),
                max_ack_pending: 10_000_000,
                ..Default::default()
            },
        );
        Outcome::Ok((client, consumer.await?))
    })?;
    Ok(Nats {
        client,
        consumer,
        taken: Mutex::default(),
        has_given: AtomicBool::new(false),
        runtime,
        server,
    })
}

impl Nats {
    fn patience(&self) -> Duration {
        if self.has_given.load(Ordering::Relaxed) { PATIENCE } else { PATIENCE_AT_FIRST }
    }

    async fn next_messages(&self, most: usize) -> Outcome<Vec<Message>> {
        let mut messages = self.consumer.fetch().max_messages(most).messages().await?;
        let mut taken = Vec::with_capacity(most);
        let mut patience = self.patience();
        while let Ok(Some(message)) = tokio::time::timeout(patience, messages.next()).await {
            self.has_given.store(true, Ordering::Relaxed);
            patience = PATIENCE;
            match message {
                Ok(message) => taken.push(message),
                Err(error) if taken.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        Ok(taken)
    }
}

impl Store for Nats {
    fn append(&self, body: &[u8]) -> Outcome<()> {
        let body = body.to_vec().into();
        self.runtime.block_on(async {
            self.client.publish(SUBJECT, body).await?.await?;
            Ok(())
        })
    }

    fn append_all(&self, bodies: &[Vec<u8>]) -> Outcome<()> {
        self.runtime.block_on(async {
            let mut stored = Vec::with_capacity(bodies.len());
            for body in bodies {
                stored.push(self.client.publish(SUBJECT, body.clone().into()).await?);
            }
            for stored in stored {
                stored.await?;
            }
            Ok(())
        })
    }

    fn take(&self, most: usize) -> Outcome<Vec<Vec<u8>>> {
        let messages = self.runtime.block_on(self.next_messages(most))?;
        let bodies = messages.iter().map(|message| message.payload.to_vec()).collect();
        self.taken.lock().expect("not poisoned").extend(messages);
        Ok(bodies)
    }

    fn settle(&self) -> Outcome<()> {
        let taken = std::mem::take(&mut *self.taken.lock().expect("not poisoned"));
        self.runtime.block_on(async {
            for message in taken {
                message.ack().await?;
            }
            Ok(())
        })
    }

    fn server(&self) -> Option<Process> {
        Some(Process::of(&self.server.0))
    }
}
