use backhaul_weave as weave;

#[weave::op]
const ANSWER: i32 = 42;

fn main() {
    let _ = ANSWER;
}
