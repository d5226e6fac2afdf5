//! A link between the gateway and the server that breaks off now and then.

use backhaul_testkit::{FaultLink, LinkFault, Point, Prng, weave_agent};

use super::agents::Agent;
use super::same::is_same;
use super::stage::Stage;
use super::{seed, wanted};

/// Where requests break off; the answer that is lost is the one that matters.
const POINTS: [Point; 8] = [
    Point::AnswerLost,
    Point::AnswerLost,
    Point::AnswerLost,
    Point::AnswerHead,
    Point::AnswerBody(1),
    Point::RequestHead,
    Point::RequestByte(700),
    Point::Connection,
];
/// How often a sync may be in vain.
const MOST_SYNCS: usize = 300;

#[test]
fn lost_answers_and_broken_requests_change_nothing() {
    let directly = super::same::newest().directly(&[]);
    for seed in seed()..seed() + wanted(1, 10) {
        let mut random = Prng::new(seed);
        let mut stage = Stage::new("0.52.42");
        stage.start_server();
        let link = FaultLink::to(([127, 0, 0, 1], stage.port()).into()).unwrap();
        let faults = 40;
        for _ in 0..faults {
            link.pass(random.below(2));
            let ending = if random.chance(0.5) { LinkFault::reset } else { LinkFault::close };
            link.next(1, ending(*random.pick(&POINTS)));
        }
        let gateway = stage.gateway_to(&link.url(), "127.0.0.1:0");
        let mut agent = weave_agent("0.54.0").unwrap();
        agent.args(["--url", &format!("http://{}", gateway.address)]);
        stage.at_home(&mut agent);
        Agent::start(agent).ends_well();
        let synced = |_: &usize| stage.sync_to(&link.url()).output().unwrap().status.success();
        let syncs = (1..MOST_SYNCS).find(synced).expect("it does not come to an end");
        let broken = link.counts().faults;
        println!("seed {seed}: {broken} faults, {syncs} syncs");
        // Where little goes wrong at first, all is delivered in a few requests.
        assert!(broken >= 5, "only {broken} requests went wrong");
        is_same("0.54.0", "behind a bad link", &directly, &stage.holdings());
    }
}
