//! Several processes that log to one project, in one folder, at once.

use super::agents::{Agent, calls_missing, steady};
use super::library::Logger;
use super::stage::Stage;
use super::wanted;

#[test]
fn processes_that_log_to_one_project_at_once_lose_and_double_nothing() {
    let mut stage = Stage::new("0.52.42");
    let names = ["ada", "grace"];
    let mut agents = names.map(|name| {
        let mut agent = steady(&stage, name, None);
        Agent::start(stage.around(agent.args(["--at-least", "25"])))
    });
    agents.iter_mut().for_each(|agent| drop(agent.says("logging")));
    let mut logger = Logger::new(&stage);
    for _ in 0..wanted(100, 1_000) {
        logger.log(2);
    }
    let numbers = agents.map(Agent::finishes);
    stage.start_server();
    stage.sync();
    let held = stage.held();
    println!("{} calls of a library, {numbers:?} numbers of agents", logger.calls().len());
    let mut unpaid = logger.unpaid(&held);
    for (name, numbers) in names.into_iter().zip(numbers) {
        unpaid.extend(calls_missing(&held, name, numbers));
        let notes = held.feedback.iter().filter(|item| {
            item["payload"]["note"].as_str().is_some_and(|note| note.starts_with(name))
        });
        assert_eq!(notes.count() as u64, numbers / 5, "notes of {name}");
        assert_eq!(held.versions()[name].len() as u64, numbers / 10, "versions of {name}");
        let rows = held.versions()[format!("{name}-rows").as_str()].len();
        assert_eq!(rows as u64, numbers / 20, "data sets of {name}");
    }
    assert!(unpaid.is_empty(), "{}", unpaid.join("\n"));
}
