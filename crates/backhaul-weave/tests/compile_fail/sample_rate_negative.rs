use backhaul_weave as weave;

#[weave::op(sample_rate = -0.5)]
fn answer(question: &str) -> String {
    question.to_owned()
}

fn main() {
    answer("why");
}
