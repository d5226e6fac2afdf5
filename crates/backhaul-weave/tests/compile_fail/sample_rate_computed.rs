use backhaul_weave as weave;

const RATE: f64 = 0.5;

#[weave::op(sample_rate = RATE)]
fn answer(question: &str) -> String {
    question.to_owned()
}

fn main() {
    answer(&RATE.to_string());
}
